"""Gibbs sampling: the whole posterior of a matrix factorization, not its peak alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd
import torch
from torch import Tensor
from torch.linalg import solve_triangular
from tqdm import tqdm

from mflib import _checks
from mflib.model import center, check_parts
from mflib.posterior import Posterior
from mflib.ratings import Ratings
from mflib.sparse import CSR, SparseRatings


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
    """

    noise: float
    factors: float
    biases: float
    dof: int = 2

    def __post_init__(self) -> None:
        for name in ("noise", "factors", "biases"):
            _checks.real(name, getattr(self, name), above=0.0)
        _checks.count("dof", self.dof)


@dataclass(frozen=True, eq=False)
class Factors:
    """One side's factors (and biases), and the normal distribution they come from.

    Attributes
    ----------
    values : Tensor, shape (n_rows, p)
        u_i (or v_j), followed by the bias where there is one.
    mean, precision : Tensor, shape (p,)
        Of the distribution of each coordinate.
    """

    values: Tensor
    mean: Tensor
    precision: Tensor


@dataclass(frozen=True, eq=False)
class Sample:
    """A value for each unknown; alpha = 1 / sigma^2 is the precision of the noise."""

    users: Factors
    items: Factors
    alpha: Tensor


@_checks.usual_modes(gradients=False)
def gibbs(
    train: Ratings,
    *,
    rank: int,
    samples: int = 200,
    burn_in: int = 50,
    thin: int = 1,
    biases: bool = True,
    mean: float | Literal["train"] = "train",
    prior: Prior | None = None,
    generator: torch.Generator,
    validation: Ratings | None = None,
    test: Ratings | None = None,
    dtype: torch.dtype | None = None,
    progress: bool = False,
) -> tuple[Posterior, pd.DataFrame]:
    """Draw factors, biases, their scales and the noise from their posterior.

    Each sweep draws every unknown from its distribution given all others: all u_i
    (with b_i), all v_j (with c_j), and the mean and precision of each coordinate, as
    Salakhutdinov & Mnih (2008, doi:10.1145/1390156.1390267), with one precision per
    coordinate in place of a full matrix; and the noise, which they keep fixed. An
    interrupt (KeyboardInterrupt) ends it with the samples kept so far, if there is one,
    and a RuntimeWarning.

    Parameters
    ----------
    train : Ratings
        The ratings to learn from.
    rank : int
        The number k of factors of each user and item.
    samples : int, default 200
        How many samples to keep.
    burn_in : int, default 50
        Sweeps to discard first.
    thin : int, default 1
        Keep every thin-th sweep after that.
    biases : bool, default True
        Include b_i and c_j.
    mean : float or "train", default "train"
        A constant in all predictions; by default the mean of the training ratings.
    prior : Prior, optional
        By default, scales of the order of the training ratings' own spread, each
        worth two observations.
    generator : torch.Generator
        Source of all random numbers.
    validation, test, dtype, progress
        As for :func:`als`; predictions are the mean of the samples so far.

    Returns
    -------
    posterior : Posterior
        It holds all samples: samples * (N + M) * (k + 1) numbers.
    history : pandas.DataFrame
        One row per sample kept: ``sigma`` and ``tau`` of that sample, and the RMSE of
        the mean prediction so far, for each of train, validation and test given.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or the parts differ in size or labels.

    Examples
    --------
    >>> from mflib import make_low_rank_ratings, seeded
    >>> ratings, truth = make_low_rank_ratings(
    ...     60, 40, 2, density=0.5, sigma=0.5, generator=seeded(0)
    ... )
    >>> posterior, history = gibbs(
    ...     ratings, rank=2, samples=100, burn_in=50, generator=seeded(1)
    ... )
    >>> print(f"{float(posterior.sigma.mean()):.1f}")  # the ratings' noise
    0.5
    >>> low, high = posterior.interval(ratings.users, ratings.items, level=0.9)
    >>> bool((low < high).all())
    True
    """
    check_sampling(rank, samples, burn_in, thin, generator)
    measured = check_parts(train, validation, test)
    mean = center(mean, train)
    prior = default_prior(train, mean, rank) if prior is None else prior
    _checks.instance("prior", prior, Prior, "for example Prior(1.0, 1.0, 1.0)")
    dtype = train.values.dtype if dtype is None else dtype  # of all parts
    parts = {
        name: SparseRatings(part, rank=rank, biases=biases, mean=mean, dtype=dtype)
        for name, part in measured.items()
    }
    totals = {name: torch.zeros_like(p.by_user.values) for name, p in parts.items()}
    sample = sample_prior(prior, parts["train"], generator)
    kept: list[Sample] = []
    history: list[dict[str, float]] = []
    try:
        for step in tqdm(range(burn_in + samples * thin), disable=not progress):
            sample = gibbs_step(sample, parts["train"], prior, generator)
            if step >= burn_in and (step + 1 - burn_in) % thin == 0:
                kept.append(sample)
                history.append(measure(sample, parts, totals, len(kept)))
    except KeyboardInterrupt:
        if not history:
            raise
        _checks.warn_interrupted(len(history), samples, "samples")
    posterior = stack(kept[: len(history)], rank, mean, train)
    index = pd.RangeIndex(1, len(history) + 1, name="sample")
    return posterior, pd.DataFrame(history, index=index)


def gibbs_step(
    sample: Sample, data: SparseRatings, prior: Prior, generator: torch.Generator
) -> Sample:
    """Draw all unknowns once, each from its distribution given all others."""
    alpha, items = sample.alpha, sample.items

    regressions = data.user_regressions(items.values)
    values = draw_factors(sample.users, *regressions, alpha, generator)
    users = Factors(values, *draw_hyperparameters(values, data, prior, generator))

    regressions = data.item_regressions(users.values)
    values = draw_factors(items, *regressions, alpha, generator)
    items = Factors(values, *draw_hyperparameters(values, data, prior, generator))

    errors = data.errors(users.values, items.values)
    return Sample(users, items, draw_alpha(errors, prior, generator))


def draw_factors(
    factors: Factors,
    ratings: CSR,
    targets: Tensor,
    features: Tensor,
    alpha: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Draw each row of factors from its normal distribution given everything else.

    Its precision matrix is P = alpha sum x x^T + diag(precision), its mean
    P^-1 (alpha sum t x + precision * mean), with the sums over the row's ratings.

    Parameters
    ----------
    factors : Factors
        Only ``mean`` and ``precision`` are used, and the shape of ``values``.
    ratings, targets, features
        As for ``mflib.als.solve_ridge``.
    alpha : Tensor
        The precision of the noise.
    generator : torch.Generator

    Returns
    -------
    Tensor, shape (n_rows, p)
    """
    noise = normal(factors.values.shape, generator, targets.dtype)
    drawn = factors.mean + noise / factors.precision.sqrt()  # rows without ratings
    moments = alpha * (ratings.matrix(targets) @ features)
    moments += factors.precision * factors.mean
    for ids, gram in ratings.grams(features):
        precision = alpha * gram + torch.diag(factors.precision)
        factor = torch.linalg.cholesky(precision)
        # P = L L^T: L^-T times standard normal noise has covariance P^-1.
        half = solve_triangular(factor, moments[ids, :, None], upper=False)
        half += noise[ids, :, None]
        drawn[ids] = solve_triangular(factor.mT, half, upper=True).squeeze(-1)
    return drawn


def draw_hyperparameters(
    values: Tensor, data: SparseRatings, prior: Prior, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw mean and precision of each coordinate, given all rows (normal-Gamma)."""
    n, p = values.shape
    average = values.mean(0)
    squares = (values - average).square().sum(0) + n / (n + 1) * average.square()
    drawn = chi_square(prior.dof + n, p, generator, values.dtype)
    precision = drawn / (prior.dof * prior_scale(prior, data).square() + squares)
    noise = normal((p,), generator, values.dtype)
    return n / (n + 1) * average + noise / ((n + 1) * precision).sqrt(), precision


def draw_alpha(errors: Tensor, prior: Prior, generator: torch.Generator) -> Tensor:
    """Draw the precision of the noise, given the errors of all ratings (Gamma)."""
    total = prior.dof * prior.noise**2 + errors.square().sum()
    return chi_square(prior.dof + len(errors), 1, generator, total.dtype)[0] / total


def prior_scale(prior: Prior, data: SparseRatings) -> Tensor:
    """Return the prior scale of each coordinate of a row: factors, then bias."""
    scales = [prior.factors] * data.rank + [prior.biases] * data.biases
    return torch.tensor(scales, dtype=data.dtype)


def default_prior(train: Ratings, mean: float, rank: int) -> Prior:
    """Return scales of the order of the ratings' own spread around the mean."""
    spread = max(float((train.values - mean).square().mean().sqrt()), 1e-3)
    return Prior(noise=spread, factors=(spread**2 / rank) ** 0.25, biases=spread)


def sample_prior(
    prior: Prior, data: SparseRatings, generator: torch.Generator
) -> Sample:
    """Draw factors with the prior's scales, to start from."""
    scale = prior_scale(prior, data)
    mean, precision = torch.zeros_like(scale), scale**-2
    users, items = (
        Factors(
            scale * normal((n, len(scale)), generator, scale.dtype), mean, precision
        )
        for n in data.by_user.shape
    )
    return Sample(users, items, torch.tensor(prior.noise**-2, dtype=scale.dtype))


def measure(
    sample: Sample,
    parts: dict[str, SparseRatings],
    totals: dict[str, Tensor],
    count: int,
) -> dict[str, float]:
    """Return a sample's scales, and the RMSE of the mean of all ``count`` predictions.

    ``totals`` holds each part's sum of errors so far: the error of a mean of
    predictions is the mean of their errors.
    """
    rank = parts["train"].rank
    row = {"sigma": float(sample.alpha**-0.5), "tau": float(tau(sample, rank))}
    for name, part in parts.items():
        totals[name] += part.errors(sample.users.values, sample.items.values)
        row[name] = float(totals[name].square().mean().sqrt() / count)
    _checks.finite("train and prior", torch.tensor(list(row.values())))
    return row


def tau(sample: Sample, rank: int) -> Tensor:
    """Return the scale of the factors: the data determine only that of u times v."""
    precisions = (sample.users.precision * sample.items.precision)[:rank]
    return (precisions**-0.5).mean().sqrt()


def stack(samples: list[Sample], rank: int, mean: float, train: Ratings) -> Posterior:
    """Stack samples into tensors, factors and biases apart."""
    u = torch.stack([sample.users.values for sample in samples])
    v = torch.stack([sample.items.values for sample in samples])
    no_bias = torch.zeros(1, dtype=u.dtype)
    return Posterior(
        U=u[..., :rank],
        V=v[..., :rank],
        b=u[..., rank] if u.shape[2] > rank else no_bias.expand(u.shape[:2]),
        c=v[..., rank] if v.shape[2] > rank else no_bias.expand(v.shape[:2]),
        sigma=torch.stack([sample.alpha for sample in samples]) ** -0.5,
        tau=torch.stack([tau(sample, rank) for sample in samples]),
        mean=mean,
        user_labels=train.user_labels,
        item_labels=train.item_labels,
    )


def check_sampling(
    rank: int, samples: int, burn_in: int, thin: int, generator: torch.Generator
) -> None:
    """Raise unless these are arguments that :func:`gibbs` can sample with."""
    _checks.count("rank", rank)
    _checks.count("samples", samples)
    _checks.count("burn_in", burn_in, least=0)
    _checks.count("thin", thin)
    _checks.generator(generator)


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
