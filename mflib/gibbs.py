"""Gibbs sampling: the whole posterior of a matrix factorization, not its peak alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import pandas as pd
import torch
from torch import Tensor
from torch.linalg import solve_triangular
from tqdm import tqdm

from mflib import _checks
from mflib.draws import chi_square, normal
from mflib.model import center, check_parts
from mflib.noise import draw_noise, equally_noisy
from mflib.posterior import Posterior
from mflib.prior import Factors, Prior, Sample, default_prior, prior_scale, sample_prior
from mflib.rated import Rated, draw_rated
from mflib.ratings import Ratings
from mflib.sparse import CSR, SparseRatings, sparse


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
    noise: Literal["one", "per user"] = "one",
    rated: bool = False,
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
    noise : {"one", "per user"}, default "one"
        Whether all ratings have the same noise, or each user's have their own
        (Lakshminarayanan, Bouchard & Archambeau 2011).
    rated : bool, default False
        Let what a user has rated, whatever the stars, say where to expect u_i and b_i,
        and who has rated an item the same of v_j and c_j (Salakhutdinov & Mnih 2007).
        Only pairs in train count as rated. Its shares in the history move slowly.
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
        One row per sample kept: ``sigma`` and ``tau`` of that sample; with `rated`, the
        share of the prior variance of u (of v) that it accounts for, ``rated_users``
        (``rated_items``); and the RMSE of the mean prediction so far, for each of
        train, validation and test given.

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
    _checks.counts(least=0, burn_in=burn_in)
    _checks.counts(rank=rank, samples=samples, thin=thin)
    _checks.generator(generator)
    measured = check_parts(train, validation, test)
    mean = center(mean, train)
    prior = default_prior(train, mean, rank) if prior is None else prior
    _checks.instance("prior", prior, Prior, "for example Prior(1.0, 1.0, 1.0)")
    parts = sparse(measured, dtype, rank=rank, biases=biases, mean=mean)
    totals = {name: torch.zeros_like(p.by_user.values) for name, p in parts.items()}
    _checks.choice("noise", noise, "one", "per user")
    sample = sample_prior(prior, parts["train"], generator, noise=noise, rated=rated)
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
    alpha, users, items = sample.alpha, sample.users, sample.items
    by_user, by_item = data.by_user, data.by_item

    regressions = data.user_regressions(items.values)
    values = draw_factors(users, *regressions, alpha, generator)
    users = replace(users, values=values)
    users = draw_row_prior(users, (by_user, by_item), data, prior, generator)

    regressions = data.item_regressions(users.values)
    values = draw_factors(items, *equally_noisy(alpha, *regressions), generator)
    items = replace(items, values=values)
    items = draw_row_prior(items, (by_item, by_user), data, prior, generator)

    errors = data.errors(users.values, items.values)
    noise = draw_noise(sample, errors, by_user.counts, prior, generator)
    return Sample(users, items, *noise)


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
    P^-1 (alpha sum t x + precision * center), with the sums over the row's ratings.

    Parameters
    ----------
    factors : Factors
        All but the numbers in ``values``.
    ratings, targets, features
        As for ``mflib.als.solve_ridge``.
    alpha : Tensor, shape () or (n_rows,)
        The precision of the noise.
    generator : torch.Generator

    Returns
    -------
    Tensor, shape (n_rows, p)
    """
    noise = normal(factors.values.shape, generator, targets.dtype)
    alpha = alpha.expand(len(noise))
    drawn = factors.centers + noise / factors.precision.sqrt()  # rows without ratings
    moments = alpha[:, None] * (ratings.matrix(targets) @ features)
    moments += factors.precision * factors.centers
    for ids, gram in ratings.grams(features):
        precision = alpha[ids, None, None] * gram + torch.diag(factors.precision)
        factor = torch.linalg.cholesky(precision)
        # P = L L^T: L^-T times standard normal noise has covariance P^-1.
        half = solve_triangular(factor, moments[ids, :, None], upper=False)
        half += noise[ids, :, None]
        drawn[ids] = solve_triangular(factor.mT, half, upper=True).squeeze(-1)
    return drawn


def draw_row_prior(
    factors: Factors,
    sides: tuple[CSR, CSR],
    data: SparseRatings,
    prior: Prior,
    generator: torch.Generator,
) -> Factors:
    """Draw the distribution that one side's rows come from, given these rows.

    ``sides`` are the ratings sorted by these rows, and by the others.
    """
    values, rated = factors.values, factors.rated
    mean, precision = draw_hyperparameters(values, data, prior, generator, rated)
    if rated is not None:
        away = values - mean
        rated = draw_rated(rated, away, precision, sides, prior.dof, generator)
    return Factors(values, mean, precision, rated)


def draw_hyperparameters(
    values: Tensor,
    data: SparseRatings,
    prior: Prior,
    generator: torch.Generator,
    rated: Rated | None = None,
) -> tuple[Tensor, Tensor]:
    """Draw mean and precision of each coordinate, given all rows (normal-Gamma)."""
    (n, p), dof = values.shape, prior.dof + len(values)
    if rated is not None:
        values = values - rated.shift
    average = values.mean(0)
    squares = (values - average).square().sum(0) + n / (n + 1) * average.square()
    if rated is not None:  # the y_j have a multiple of this precision
        dof += len(rated.values)
        squares += rated.ratio * rated.values.square().sum(0)
    drawn = chi_square(dof, p, generator, values.dtype)
    precision = drawn / (prior.dof * prior_scale(prior, data).square() + squares)
    noise = normal((p,), generator, values.dtype)
    return n / (n + 1) * average + noise / ((n + 1) * precision).sqrt(), precision


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
    row = {"sigma": float(sample.sigma), "tau": float(tau(sample, rank))}
    for name, side in (("users", sample.users), ("items", sample.items)):
        if side.rated is not None:
            row[f"rated_{name}"] = float((1 / (1 + side.rated.ratio))[:rank].mean())
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
    user_sigma = torch.stack([sample.alpha for sample in samples]) ** -0.5
    return Posterior(
        U=u[..., :rank],
        V=v[..., :rank],
        b=u[..., rank:].sum(-1),  # zero where there are no biases
        c=v[..., rank:].sum(-1),
        sigma=torch.stack([sample.sigma for sample in samples]),
        tau=torch.stack([tau(sample, rank) for sample in samples]),
        mean=mean,
        user_sigma=None if samples[0].typical is None else user_sigma,
        user_labels=train.user_labels,
        item_labels=train.item_labels,
    )
