"""The noise of the ratings: one for all, or one for each user."""

from __future__ import annotations

import torch
from torch import Tensor

from mflib.draws import chi_square, chi_squares
from mflib.prior import Prior, Sample
from mflib.sparse import CSR


def draw_noise(
    sample: Sample,
    errors: Tensor,
    counts: Tensor,
    prior: Prior,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor | None]:
    """Draw the precision of the noise, and where each user has one, the typical one.

    Parameters
    ----------
    sample : Sample
        Only its noise is used.
    errors : Tensor, shape (n,)
        Of all ratings, sorted by user.
    counts : Tensor, shape (n_users,)
        How many ratings each user has.
    prior : Prior
    generator : torch.Generator
    """
    if sample.typical is None:
        total = prior.dof * prior.noise**2 + errors.square().sum()
        drawn = chi_square(prior.dof + len(errors), 1, generator, total.dtype)[0]
        return drawn / total, None
    typical = draw_typical(sample.alpha, prior, generator)
    return draw_alphas(errors, counts, typical, prior, generator), typical


def draw_alphas(
    errors: Tensor,
    counts: Tensor,
    typical: Tensor,
    prior: Prior,
    generator: torch.Generator,
) -> Tensor:
    """Draw the precision of each user's noise, given their errors (Gamma)."""
    squares = torch.segment_reduce(errors.square(), "sum", lengths=counts)
    total = prior.user_dof / typical + squares
    return chi_squares(prior.user_dof + counts, generator, errors.dtype) / total


def draw_typical(alphas: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
    """Draw the precision that the users' own gather around.

    Each of them is Gamma, with this mean and user_dof / 2 as its shape. The variance
    1 / typical has a Gamma distribution, too, before and after they are known.
    """
    dof = prior.dof + prior.user_dof * len(alphas)
    total = prior.dof / prior.noise**2 + prior.user_dof * alphas.sum()
    return total / chi_square(dof, 1, generator, alphas.dtype)[0]


def equally_noisy(
    alpha: Tensor, ratings: CSR, targets: Tensor, features: Tensor
) -> tuple[CSR, Tensor, Tensor, Tensor]:
    """Return regressions on users, such that the noise of all entries is one.

    Where each user has a noise of their own, their features and targets are multiplied
    by the root of its precision, and the noise that is left has precision 1.
    """
    if alpha.ndim == 0:
        return ratings, targets, features, alpha
    root = alpha.sqrt()
    targets = targets * root.index_select(0, ratings.columns)
    return ratings, targets, features * root[:, None], torch.ones_like(root[0])
