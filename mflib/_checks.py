"""Checks of arguments, made once at the door of each public function.

Every message names the argument, the value and what to do instead.
"""

import math
import numbers
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.linalg import LinAlgError  # type: ignore[attr-defined]

MOST = 2**31 - 1  # rows, columns and entries of a sparse matrix are counted in 32 bits
LARGEST = 1e100  # its square is a number, too


def count(name: str, value: Any, *, least: int = 1, most: int = MOST) -> int:
    """Return ``value`` as an int, or refuse what is no whole number in the range."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole:
        raise TypeError(
            f"{name} must be a whole number, got {value!r} of type "
            f"{type(value).__name__}; pass an int"
        )
    if value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, got {value}")
    return int(value)


def flag(name: str, value: Any) -> bool:
    """Return ``value`` as a bool, or refuse what is neither True nor False."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


def instance(name: str, value: Any, kind: type, advice: str) -> None:
    """Refuse what is not of a kind."""
    if not isinstance(value, kind):
        package = kind.__module__.split(".")[0].replace("builtins", "")
        raise TypeError(
            f"{name} must be a {package}{'.' * bool(package)}{kind.__name__}, got "
            f"{value!r:.80} of type {type(value).__name__}; {advice}"
        )


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
    try:
        number = float(value)
    except OverflowError:  # a whole number with hundreds of digits
        number = math.inf
    if not abs(number) <= LARGEST:  # NaN is not, either
        raise ValueError(
            f"{name} must be finite, at most {LARGEST:g} in size, got {number}"
        )
    if number < least:
        raise ValueError(f"{name} must be at least {least:g}, got {value}")
    if number <= above:
        raise ValueError(f"{name} must be greater than {above:g}, got {value}")
    return number


def vector(name: str, values: Any) -> Tensor:
    """Return a 1-D tensor on the CPU, a copy of ``values``."""
    if isinstance(values, Tensor):
        tensor = values.detach().to("cpu", copy=True)
    else:
        try:
            array = np.asarray(values)
        except ValueError as error:  # lists of several lengths
            raise ValueError(f"{name} must be 1-D, got {values!r:.80}") from error
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
            f"{name} must be 1-D, got shape {tuple(tensor.shape)} from "
            f"{values!r:.80}; give one entry per rating"
        )
    return tensor


def ids(
    name: str,
    values: Any,
    size: int,
    size_name: str,
    advice: str = "raise {}, or number the ids with Ratings.from_frame",
) -> Tensor:
    """Return ``values`` as int64 ids, all of them in ``range(size)``."""
    tensor = vector(name, values)
    if tensor.is_floating_point():
        broken = ~torch.isfinite(tensor) | (tensor != tensor.round())
        if broken.any():
            at = int(broken.nonzero()[0])
            raise ValueError(
                f"{name} must hold whole numbers, got {tensor[at].item()} at "
                f"position {at}; {advice.format(size_name)}"
            )
    outside = (tensor < 0) | (tensor >= size)
    if outside.any():
        at = int(outside.nonzero()[0])
        raise ValueError(
            f"{name} must lie between 0 and {size_name} - 1 = {size - 1}, got "
            f"{tensor[at].item()} at position {at}; {advice.format(size_name)}"
        )
    return tensor.to(torch.int64)


def generator(name: str, value: Any) -> torch.Generator:
    """Return ``value``, or refuse what is not a torch.Generator."""
    instance(name, value, torch.Generator, "for example mflib.seeded(0)")
    generator: torch.Generator = value
    return generator


def pairs(users: Any, items: Any, u: Tensor, v: Tensor) -> torch.Size:
    """Return the shape of the pairs of ids of users and items, rows of u and of v."""
    for name, value, rows in (("users", users, u), ("items", items, v)):
        if not isinstance(value, Tensor) or value.dtype not in (
            torch.int32,
            torch.int64,
        ):
            kind = getattr(value, "dtype", type(value).__name__)
            raise TypeError(
                f"{name} must be a tensor of ids, got {value!r:.80} of {kind}; "
                "use torch.tensor(ids) with whole numbers"
            )
        if value.device != rows.device:
            raise ValueError(
                f"{name} must be on the model's device {rows.device}, got "
                f"{value.device}; move the model with .to('{value.device}')"
            )
        size = len(rows)
        outside = (value < 0) | (value >= size)
        if outside.any():
            raise ValueError(
                f"{name} must lie between 0 and {size - 1}, got "
                f"{value[outside][0].item()}; the model has {size} {name}, leave "
                "out the others"
            )
    try:
        shape: torch.Size = torch.broadcast_shapes(users.shape, items.shape)
    except RuntimeError as error:
        raise ValueError(
            "users and items must have shapes that broadcast, got "
            f"{tuple(users.shape)} and {tuple(items.shape)}; give one pair per rating"
        ) from error
    return shape


def tensor(
    name: str,
    value: Any,
    *,
    shape: tuple[int, ...] | None = None,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Return ``value``, or refuse what is no tensor of finite real numbers."""
    instance(name, value, Tensor, "use torch.tensor")
    if value.is_complex() or value.dtype == torch.bool or value.layout != torch.strided:
        raise TypeError(
            f"{name} must hold real numbers, got {value.layout} of {value.dtype}; "
            "use a dense tensor of floats"
        )
    if shape is not None and value.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {tuple(value.shape)}")
    if dtype is not None and value.dtype != dtype:
        raise TypeError(f"{name} must have dtype {dtype}, got {value.dtype}")
    return finite(name, value)


def finite(
    names: str, result: Tensor, advice: str = "leave such entries out, or scale down"
) -> Tensor:
    """Return a result, or say whose fault it is that it is infinite or NaN."""
    broken = ~torch.isfinite(result.detach())
    if broken.any():
        got = result.detach()[broken].flatten()[0].item()
        raise ValueError(f"{names} must give finite numbers, got {got}; {advice}")
    return result


@contextmanager
def usual_modes(*, gradients: bool) -> Iterator[None]:
    """Compute on the CPU and in full precision, whatever modes the caller has set.

    These are no_grad and inference_mode, autocast, and a default device.
    """
    elsewhere = torch.empty(0).device.type != "cpu"
    with (
        torch.inference_mode(False),
        torch.set_grad_enabled(gradients),
        torch.autocast("cpu", enabled=False),
        torch.device("cpu") if elsewhere else nullcontext(),  # it slows every call
    ):
        yield


def warn_interrupted(done: int, asked: int, what: str) -> None:
    """Tell the caller of a function under usual_modes that it returns early."""
    warnings.warn(
        f"interrupted: {done} of {asked} {what} are complete, and returned",
        RuntimeWarning,
        stacklevel=4,
    )


@contextmanager
def within_bounds(names: str) -> Iterator[None]:
    """Say whose fault it is that torch runs out of memory or of finite numbers."""
    try:
        yield
    except RuntimeError as error:
        text = str(error)
        if isinstance(error, LinAlgError):
            limit = "the range of numbers"
        elif "alloc" in text or "Storage size" in text:
            limit = "memory"
        else:
            raise
        raise ValueError(
            f"{names} must be small enough for {limit}, got {text.splitlines()[0]!r} "
            "from torch; choose smaller ones"
        ) from error
