"""The two penalties of the lecture, and the step that makes exact zeros."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from mflib import _checks


def l1_penalty(parameters: Tensor | Iterable[Tensor]) -> Tensor:
    """Sum of the absolute values of all entries: ||w||_1 (slide S5).

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor

    Returns
    -------
    Tensor
        A scalar that gradients flow through.
    """
    return torch.stack([w.abs().sum() for w in _tensors(parameters)]).sum()


def l2_penalty(parameters: Tensor | Iterable[Tensor]) -> Tensor:
    """Sum of the squares of all entries: ||w||_2^2, or ||W||_F^2 (slides S5 to S7).

    It is the square of the norm, and has no factor 1/2.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor

    Returns
    -------
    Tensor
        A scalar that gradients flow through.
    """
    return torch.stack([w.square().sum() for w in _tensors(parameters)]).sum()


def soft_threshold(values: Tensor, threshold: float) -> Tensor:
    """Move every entry towards zero by ``threshold``, and stop there.

    The proximal step of the L1 norm: for each entry a, the w that minimises
    ``(w - a)^2 / 2 + threshold * |w|``
    (Beck & Teboulle 2009, doi:10.1137/080716542).

    Parameters
    ----------
    values : Tensor
    threshold : float
        At least 0.

    Returns
    -------
    Tensor
        Of the same shape; entries within ``threshold`` of zero are exactly zero.

    Examples
    --------
    >>> import torch
    >>> soft_threshold(torch.tensor([-2.0, 0.5, 3.0]), 1.0)
    tensor([-1.,  0.,  2.])
    """
    threshold = _checks.real("threshold", threshold, least=0.0)
    return values.sign() * (values.abs() - threshold).clamp(min=0)


def weighted_mean(rows: Tensor, weights: Tensor) -> Tensor:
    """Return the m that minimises sum weight_i ||row_i - m||^2; 0 without weight."""
    total = weights.sum()
    mean: Tensor = (weights[:, None] * rows).sum(0) / total.where(total > 0, 1.0)
    return mean


def _tensors(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    if not tensors:
        raise ValueError(
            "parameters is empty: pass at least one tensor (a generator such as "
            "model.parameters() can be read only once)"
        )
    return tensors
