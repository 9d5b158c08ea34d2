"""What the Gibbs sampler believes before it sees a rating, and where it starts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mflib import _checks
from mflib.draws import normal
from mflib.rated import Rated, unrated
from mflib.ratings import Ratings
from mflib.sparse import SparseRatings


@dataclass(frozen=True)
class Prior:
    """What is believed of the scales before any rating is seen.

    A precision (1 / variance) has a Gamma distribution: that of a variance estimated
    from ``dof`` earlier observations, which came out as the square of the scale given
    here. The mean of the rows' coordinates is zero, as certain as one row makes it.

    Attributes
    ----------
    noise, factors, biases : float
        The scales: of the noise, of the entries of u_i and v_j, of b_i and c_j.
    dof : int, default 2
        How many observations each of these beliefs is worth.
    user_dof : int, default 4
        Where each user has a noise of their own: how many of a user's observations the
        typical noise is worth. The larger, the more alike users are.
    """

    noise: float
    factors: float
    biases: float
    dof: int = 2
    user_dof: int = 4

    def __post_init__(self) -> None:
        for name in ("noise", "factors", "biases"):
            _checks.real(name, getattr(self, name), above=0.0)
        _checks.counts(dof=self.dof, user_dof=self.user_dof)


@dataclass(frozen=True, eq=False)
class Factors:
    """One side's factors (and biases), and the normal distribution they come from.

    Attributes
    ----------
    values : Tensor, shape (n_rows, p)
        u_i (or v_j), followed by the bias where there is one.
    mean, precision : Tensor, shape (p,)
        Of the distribution of each coordinate.
    rated : Rated, optional
        What moves each row's mean, by what the row has rated (or was rated by).
    """

    values: Tensor
    mean: Tensor
    precision: Tensor
    rated: Rated | None = None

    @property
    def centers(self) -> Tensor:
        """The mean of each row: (p,) where all have the same, or (n_rows, p)."""
        return self.mean if self.rated is None else self.mean + self.rated.shift


@dataclass(frozen=True, eq=False)
class Sample:
    """A value for each unknown.

    Attributes
    ----------
    users, items : Factors
    alpha : Tensor, shape () or (n_users,)
        The precision 1 / sigma^2 of the noise: of all ratings, or of each user's.
    typical : Tensor, optional
        Where each user has a noise of their own, the precision they gather around.
    """

    users: Factors
    items: Factors
    alpha: Tensor
    typical: Tensor | None = None

    @property
    def sigma(self) -> Tensor:
        """The standard deviation of the noise, or of a typical user's."""
        return (self.alpha if self.typical is None else self.typical) ** -0.5


def default_prior(train: Ratings, mean: float, rank: int) -> Prior:
    """Return scales of the order of the ratings' own spread around the mean."""
    spread = max(float((train.values - mean).square().mean().sqrt()), 1e-3)
    return Prior(noise=spread, factors=(spread**2 / rank) ** 0.25, biases=spread)


def prior_scale(prior: Prior, data: SparseRatings) -> Tensor:
    """Return the prior scale of each coordinate of a row: factors, then bias."""
    scales = [prior.factors] * data.rank + [prior.biases] * data.biases
    return torch.tensor(scales, dtype=data.dtype)


def sample_prior(
    prior: Prior,
    data: SparseRatings,
    generator: torch.Generator,
    *,
    noise: str = "one",
    rated: bool = False,
) -> Sample:
    """Draw factors with the prior's scales, to start from."""
    scale = prior_scale(prior, data)
    mean, precision = torch.zeros_like(scale), scale**-2
    users, items = (
        Factors(
            scale * normal((side.shape[0], len(scale)), generator, scale.dtype),
            mean,
            precision,
            unrated(side, precision) if rated else None,
        )
        for side in (data.by_user, data.by_item)
    )
    alpha = torch.tensor(prior.noise**-2, dtype=scale.dtype)
    if noise == "one":
        return Sample(users, items, alpha)
    return Sample(users, items, alpha.expand(len(users.values)), alpha)
