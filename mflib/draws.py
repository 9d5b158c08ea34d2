"""Random numbers: normal ones, and the sums of squares that precisions are drawn by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def normal(
    shape: Sequence[int], generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Draw standard normal numbers."""
    return torch.randn(shape, generator=generator, dtype=dtype)


def chi_square(
    dof: int, size: int, generator: torch.Generator, dtype: torch.dtype
) -> Tensor:
    """Draw chi-square numbers: sums of dof squared standard normal ones."""
    return normal((dof, size), generator, dtype).square().sum(0)


def chi_squares(dofs: Tensor, generator: torch.Generator, dtype: torch.dtype) -> Tensor:
    """Draw one chi-square number for each number of degrees of freedom."""
    squares = normal((int(dofs.sum()),), generator, dtype).square()
    return torch.segment_reduce(squares, "sum", lengths=dofs)
