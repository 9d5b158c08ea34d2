"""Who rated what, as the mean of a row's prior: it speaks before any rating does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mflib.draws import chi_square, normal
from mflib.sparse import CSR


@dataclass(frozen=True, eq=False)
class Rated:
    """How the columns that a row has entries in shift the mean of its prior.

    Row i is shifted by the sum of y_j over its n_i columns j, divided by the root of
    n_i: so a shift varies as much as one y_j (Salakhutdinov & Mnih 2007).

    Attributes
    ----------
    values : Tensor, shape (n_columns, p)
        The y_j: "who rates this film is like ...".
    ratio : Tensor, shape (p,)
        The precision of the y_j's coordinates, whose mean is zero, as a multiple of the
        rows' precision: at 1, the shift explains half of the rows' variance.
    shift : Tensor, shape (n_rows, p)
    """

    values: Tensor
    ratio: Tensor
    shift: Tensor


def unrated(side: CSR, like: Tensor) -> Rated:
    """Return shifts of zero, believed to be small, to start from."""
    rows, columns = (like.new_zeros(n, len(like)) for n in side.shape)
    return Rated(columns, torch.full_like(like, 10.0), rows)


def draw_rated(
    rated: Rated,
    rows: Tensor,
    precision: Tensor,
    sides: tuple[CSR, CSR],
    dof: int,
    generator: torch.Generator,
) -> Rated:
    """Draw all y_j given the rows, and then the ratio of their precision.

    With F the matrix of 1 / sqrt(n_i), one coordinate of all y_j is normal with the
    precision matrix precision (F^T F + ratio I). So is the solution of a linear system
    with that matrix and noise on its right-hand side (Papandreou & Yuille 2010).

    Parameters
    ----------
    rated : Rated
        Only the ratio is used, and the shape of ``values``.
    rows, precision : Tensor, shapes (n_rows, p) and (p,)
        The rows less their mean, and the precision of their distribution.
    sides : (CSR, CSR)
        The ratings sorted by these rows, and by their columns.
    dof : int
        The prior of the ratio: Gamma with mean 1, worth so many observations.
    generator : torch.Generator
    """
    F, F_T = sums_of_rated(*sides, rows.dtype)
    scale, ratio = precision.rsqrt(), rated.ratio
    noisy = rows + scale * normal(rows.shape, generator, rows.dtype)
    noise = scale * normal(rated.values.shape, generator, rows.dtype)
    values = conjugate_gradients(
        lambda y: F_T @ (F @ y) + ratio * y,
        F_T @ noisy + ratio.sqrt() * noise,
        diagonal=squared_sums(*sides, rows.dtype)[:, None] + ratio,
    )
    drawn = chi_square(dof + len(values), len(scale), generator, rows.dtype)
    ratio = drawn / (dof + precision * values.square().sum(0))
    return Rated(values, ratio, F @ values)


def sums_of_rated(side: CSR, other: CSR, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return F, with 1 / sqrt(n_i) at the entries of row i, and its transpose."""
    weights = side.counts.clamp(min=1).to(dtype).rsqrt()
    by_row = weights.repeat_interleave(side.counts)
    return side.matrix(by_row), other.matrix(weights.index_select(0, other.columns))


def squared_sums(side: CSR, other: CSR, dtype: torch.dtype) -> Tensor:
    """Return the diagonal of F^T F."""
    squares = 1 / side.counts.clamp(min=1).to(dtype)
    by_column = squares.index_select(0, other.columns)
    return torch.segment_reduce(by_column, "sum", lengths=other.counts)


def conjugate_gradients(
    matrix: Callable[[Tensor], Tensor],
    right: Tensor,
    diagonal: Tensor,
    steps: int = 50,
    tolerance: float = 1e-3,
    dim: int = 0,
) -> Tensor:
    """Solve a positive definite system for each column of its right-hand side.

    Each residual is divided by the matrix's diagonal (Jacobi's preconditioner). It ends
    when each column's residual is below tolerance times its first one, or after so many
    steps (Hestenes & Stiefel 1952). With dim 1, there is a system for each row.
    """
    tiny = torch.finfo(right.dtype).tiny  # for columns that are solved exactly
    diagonal = diagonal.clamp(min=tiny)
    solution, residual, direction = torch.zeros_like(right), right, right / diagonal
    size = first = (residual * direction).sum(dim, keepdim=True)
    for _ in range(steps):
        image = matrix(direction)
        length = size / (direction * image).sum(dim, keepdim=True).clamp(min=tiny)
        solution = solution + length * direction
        residual = residual - length * image
        scaled = residual / diagonal
        last, size = size, (residual * scaled).sum(dim, keepdim=True)
        if (size <= tolerance**2 * first).all():
            break
        direction = scaled + size / last.clamp(min=tiny) * direction
    return solution
