"""Checks of arguments, made once at the door of each public function.

Every message names the argument, the value and what to do instead.
"""

import math
import numbers
from typing import Any

import numpy as np
import torch
from torch import Tensor


def count(name: str, value: Any, *, least: int = 1) -> int:
    """Return ``value`` as an int, or refuse what is not a whole number >= least."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole:
        raise TypeError(
            f"{name} must be a whole number, got {value!r} of type "
            f"{type(value).__name__}; pass an int"
        )
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return int(value)


def real(
    name: str, value: Any, *, least: float = -math.inf, above: float = -math.inf
) -> float:
    """Return ``value`` as a float, or refuse what is not finite and in range."""
    if isinstance(value, Tensor) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(
            f"{name} must be a number, got {value!r} of type {type(value).__name__}"
        )
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    if value < least:
        raise ValueError(f"{name} must be at least {least:g}, got {value}")
    if value <= above:
        raise ValueError(f"{name} must be greater than {above:g}, got {value}")
    return float(value)


def vector(name: str, values: Any) -> Tensor:
    """Return a 1-D tensor with a copy of ``values``: the caller's data stay theirs."""
    if isinstance(values, Tensor):
        tensor = values.detach().clone()
    else:
        array = np.asarray(values)
        if array.dtype.kind not in "iuf" or isinstance(values, np.ma.MaskedArray):
            raise TypeError(
                f"{name} must hold numbers, got dtype {array.dtype}; "
                "drop missing values and convert text first"
            )
        # One dtype for whole numbers and one for others, whatever width they came in.
        kind = np.float64 if array.dtype.kind == "f" else np.int64
        tensor = torch.from_numpy(array.astype(kind))
    if tensor.is_complex() or tensor.dtype == torch.bool or tensor.is_sparse:
        raise TypeError(
            f"{name} must hold real numbers, got {tensor.layout} of {tensor.dtype}"
        )
    if not tensor.is_floating_point():
        tensor = tensor.to(torch.int64)
    if tensor.ndim != 1:
        raise ValueError(
            f"{name} must be 1-D, got shape {tuple(tensor.shape)}; "
            "give one entry per rating"
        )
    return tensor


def ids(name: str, values: Any, size: int, size_name: str) -> Tensor:
    """Return ``values`` as int64 ids, all of them in ``range(size)``."""
    tensor = vector(name, values)
    if tensor.is_floating_point():
        broken = ~torch.isfinite(tensor) | (tensor != tensor.round())
        if broken.any():
            at = int(broken.nonzero()[0])
            raise ValueError(
                f"{name} must hold whole numbers, got {tensor[at].item()} at "
                f"position {at}; Ratings.from_frame numbers ids of any kind"
            )
    outside = (tensor < 0) | (tensor >= size)
    if outside.any():
        at = int(outside.nonzero()[0])
        raise ValueError(
            f"{name} must lie between 0 and {size_name} - 1 = {size - 1}, got "
            f"{tensor[at].item()} at position {at}; raise {size_name}, or number "
            "the ids with Ratings.from_frame"
        )
    return tensor.to(torch.int64)


def generator(name: str, value: Any) -> torch.Generator:
    """Return ``value``, or refuse what is not a torch.Generator."""
    if not isinstance(value, torch.Generator):
        raise TypeError(
            f"{name} must be a torch.Generator, got {type(value).__name__}; "
            "for example mflib.seeded(0)"
        )
    return value
