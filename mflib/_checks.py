"""Checks of arguments that public functions make before they compute.

Each message names the argument, shows the value and says what to do instead.
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

MOST = 2**31 - 1  # sparse matrices count rows, columns and entries in 32 bits
INTS = (torch.int32, torch.int64)
FLOATS = (torch.float32, torch.float64)


def count(name: str, value: Any, *, least: int = 1, most: int = MOST) -> int:
    """Return ``value`` as an int, if it is a whole number in the range."""
    if not isinstance(value, int | np.integer):
        raise TypeError(f"{name} must be a whole number, got {value!r}; pass an int")
    if not least <= value <= most:
        raise ValueError(
            f"{name} must be at least {least} and at most {most}, got {value}"
        )
    return int(value)


def counts(*, least: int = 1, **values: Any) -> list[int]:
    """Return the values as ints, if all are whole numbers in the range."""
    return [count(name, value, least=least) for name, value in values.items()]


def real(
    name: str, value: Any, *, least: float = -math.inf, above: float = -math.inf
) -> float:
    """Return ``value`` as a float, if it is finite and in the range."""
    if not isinstance(value, numbers.Real | Tensor):
        raise TypeError(f"{name} must be a number, got {value!r}; pass a float")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {number}")
    if number < least:
        raise ValueError(f"{name} must be at least {least:g}, got {number}")
    if number <= above:
        raise ValueError(f"{name} must be greater than {above:g}, got {number}")
    return number


def choice(name: str, value: Any, *choices: Any) -> None:
    """Raise unless ``value`` is one of the choices."""
    if value not in choices:
        options = " or ".join(map(repr, choices))
        raise ValueError(f"{name} must be {options}, got {value!r}")


def instance(name: str, value: Any, kind: type, advice: str) -> None:
    """Raise unless ``value`` is of this kind."""
    if not isinstance(value, kind):
        raise TypeError(
            f"{name} must be a {kind.__module__.split('.')[0]}.{kind.__name__}, got "
            f"{value!r:.80} of type {type(value).__name__}; {advice}"
        )


def generator(value: Any) -> None:
    """Raise unless ``value`` is a source of random numbers."""
    instance("generator", value, torch.Generator, "for example mflib.seeded(0)")


def vector(name: str, values: Any) -> Tensor:
    """Return a copy of ``values`` as a 1-D tensor on the CPU: int64, or floats."""
    if isinstance(values, Tensor):
        tensor = values.detach().to("cpu", copy=True)
    else:
        array = np.asarray(values)
        if array.dtype.kind not in "iuf" or isinstance(values, np.ma.MaskedArray):
            raise TypeError(
                f"{name} must hold numbers, got dtype {array.dtype}; "
                "drop missing values and convert text first"
            )
        kind = np.float64 if array.dtype.kind == "f" else np.int64
        tensor = torch.from_numpy(array.astype(kind))
    if tensor.ndim != 1:
        raise ValueError(
            f"{name} must be 1-D, got shape {tuple(tensor.shape)}; give one entry per "
            "rating"
        )
    return tensor if tensor.is_floating_point() else tensor.to(torch.int64)


def ids(name: str, values: Any, size: int, advice: str) -> Tensor:
    """Return ``values`` as int64 ids, if they all lie in ``range(size)``."""
    given = vector(name, values)
    whole = given.to(torch.int64)
    right = whole.clamp(0, size - 1) == given
    every(right, name, f"whole numbers from 0 to {size - 1}", given, advice)
    return whole


def ratings(name: str, values: Any) -> Tensor:
    """Return ``values`` as floats, if they are all finite."""
    given = vector(name, values)
    if not isinstance(values, Tensor) or given.dtype not in FLOATS:
        given = given.to(torch.get_default_dtype())
    advice = "leave unknown ratings out instead of marking them"
    every(given.isfinite(), name, "finite", given, advice)
    return given


def every(right: Tensor, name: str, rule: str, values: Tensor, advice: str) -> None:
    """Raise unless all of a vector's values are right, and show the first other."""
    if not right.all():
        at = int((~right).nonzero()[0])
        raise ValueError(
            f"{name} must be {rule}, got {values[at].item()} at position {at}; {advice}"
        )


def pairs(users: Any, items: Any, u: Tensor, v: Tensor) -> None:
    """Raise unless these are tensors of ids: rows of u and of v."""
    for name, value, rows in (("users", users, u), ("items", items, v)):
        if not isinstance(value, Tensor) or value.dtype not in INTS:
            raise TypeError(
                f"{name} must be a tensor of whole numbers, got {value!r:.80}; "
                "number your own labels with Ratings.encode"
            )
        advice = f"the model has {len(rows)} {name}, leave out the others"
        ids(name, value.flatten(), len(rows), advice)


def finite(names: str, result: Tensor) -> Tensor:
    """Return a result, if all its numbers are finite."""
    broken = result[~result.isfinite()]
    if len(broken):
        raise ValueError(
            f"{names} must give finite numbers, got {broken[0].item()}; leave such "
            "entries out, or scale down"
        )
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
