"""Gibbs sampling: the whole posterior of a matrix factorization, not its peak alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from torch import Tensor
from torch.linalg import solve_triangular
from tqdm import tqdm

from mflib import _checks
from mflib.als import Data
from mflib.model import measured_parts
from mflib.posterior import Posterior
from mflib.ratings import Ratings
from mflib.sparse import SparseRows


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
            _checks.real(name, getattr(self, name), above=1 / _checks.LARGEST)
        _checks.count("dof", self.dof)


@dataclass(frozen=True, eq=False)
class Rows:
    """One side's coordinates, and the normal distribution that they come from.

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
class State:
    """All unknowns at one step of the sampler."""

    users: Rows
    items: Rows
    noise_precision: Tensor


@_checks.usual_modes(gradients=False)
def gibbs(
    train: Ratings,
    *,
    rank: int,
    samples: int = 200,
    burn_in: int = 50,
    thin: int = 1,
    biases: bool = True,
    mean: float | None = None,
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
    mean : float, optional
        A constant in all predictions; the mean of the training ratings by default.
    prior : Prior, optional
        By default, scales of the order of the training ratings' own spread, each
        worth two observations.
    generator : torch.Generator
        Source of all random numbers.
    validation, test : Ratings, optional
        Predicted by the mean of the samples so far; never learned from.
    dtype : torch.float32 or torch.float64, optional
        Of all computations; the ratings' own by default.
    progress : bool, default False
        Show a progress bar.

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
        If an argument is out of range, or the parts differ in size.

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
    rank = _checks.count("rank", rank)
    samples = _checks.count("samples", samples)
    burn_in = _checks.count("burn_in", burn_in, least=0)
    thin = _checks.count("thin", thin)
    biases = _checks.flag("biases", biases)
    progress = _checks.flag("progress", progress)
    _checks.generator("generator", generator)
    measured = measured_parts(train, validation, test)
    dtype = train.values.dtype if dtype is None else dtype  # of all parts
    center = _checks.real("mean", train.values.mean() if mean is None else mean)
    if prior is None:
        spread = max(float((train.values - center).square().mean().sqrt()), 1e-3)
        prior = Prior(noise=spread, factors=(spread**2 / rank) ** 0.25, biases=spread)
    _checks.instance("prior", prior, Prior, "for example Prior(1.0, 1.0, 1.0)")
    parts = {
        name: Data(part, rank, biases, center, dtype) for name, part in measured.items()
    }
    data = parts["train"]
    scale = prior_scale(prior, data)

    def start(n_rows: int) -> Rows:
        values = scale * normal((n_rows, len(scale)), generator, scale.dtype)
        return Rows(values, torch.zeros_like(scale), scale**-2)

    names = f"{rank=}, {mean=}, {prior=} and the ratings in train, validation and test"
    noise_precision = torch.tensor(prior.noise**-2, dtype=scale.dtype)
    with _checks.within_bounds(names):
        state = State(start(train.n_users), start(train.n_items), noise_precision)
    totals = {
        name: torch.zeros_like(part.by_user.values) for name, part in parts.items()
    }
    states: list[State] = []
    history: list[dict[str, float]] = []
    steps = range(1, burn_in + samples * thin + 1)
    try:
        with _checks.within_bounds(names):
            for step in tqdm(steps, disable=not progress):
                state = gibbs_sweep(state, data, prior, generator)
                if step <= burn_in or (step - burn_in) % thin:
                    continue
                states.append(state)
                latest = collect([state], rank, center)
                row = {"sigma": float(latest.sigma), "tau": float(latest.tau)}
                for name, part in parts.items():
                    # The error of a mean of predictions is the mean of their errors.
                    totals[name] += part.errors(state.users.values, state.items.values)
                    row[name] = float(totals[name].square().mean().sqrt() / len(states))
                _checks.finite(names, torch.tensor(list(row.values())))
                history.append(row)
    except KeyboardInterrupt:
        if not history:
            raise
        _checks.warn_interrupted(len(history), samples, "samples")
    table = pd.DataFrame(
        history, index=pd.RangeIndex(1, len(history) + 1, name="sample")
    )
    posterior = replace(
        collect(states[: len(history)], rank, center),
        user_labels=train.user_labels,
        item_labels=train.item_labels,
    )
    return posterior, table


def prior_scale(prior: Prior, data: Data) -> Tensor:
    """Return the prior scale of each coordinate of a row: factors, then bias."""
    scales = [prior.factors] * data.rank + [prior.biases] * data.biases
    return torch.tensor(scales, dtype=data.dtype)


def gibbs_sweep(
    state: State, data: Data, prior: Prior, generator: torch.Generator
) -> State:
    """Draw all unknowns once, each given all others; gibbs makes state and data."""
    _checks.instance("state", state, State, "its first one is a draw from the prior")
    _checks.instance("data", data, Data, "make it with mflib.als.Data(ratings, rank)")
    _checks.instance("prior", prior, Prior, "for example Prior(1.0, 1.0, 1.0)")
    users, items, alpha = state.users, state.items, state.noise_precision
    scale = prior_scale(prior, data)

    values = draw_rows(users, *data.user_half(items.values), alpha, generator)
    users = Rows(values, *draw_scales(values, scale, prior.dof, generator))

    values = draw_rows(items, *data.item_half(users.values), alpha, generator)
    items = Rows(values, *draw_scales(values, scale, prior.dof, generator))

    errors = data.errors(users.values, items.values)
    total = prior.dof * prior.noise**2 + errors.square().sum()
    drawn = chi_square(prior.dof + len(errors), 1, generator, total.dtype)
    return State(users, items, drawn[0] / total)


def draw_rows(
    rows: Rows,
    ratings: SparseRows,
    targets: Tensor,
    features: Tensor,
    noise_precision: Tensor,
    generator: torch.Generator,
) -> Tensor:
    """Draw each row from its normal distribution given everything else.

    Its precision matrix is P = alpha sum x x^T + diag(precision), its mean
    P^-1 (alpha sum t x + precision * mean), with the sums over the row's ratings.

    Parameters
    ----------
    rows : Rows
        Only ``mean`` and ``precision`` are used, and the shape of ``values``.
    ratings, targets, features
        As for ``mflib.als.ridge_rows``.
    noise_precision : Tensor
        alpha = 1 / sigma^2.
    generator : torch.Generator

    Returns
    -------
    Tensor, shape (n_rows, p)
    """
    _checks.instance("rows", rows, Rows, "they hold a side's coordinates")
    _checks.instance("ratings", ratings, SparseRows, "as for mflib.als.ridge_rows")
    _checks.generator("generator", generator)
    dtype, (n, m), p = ratings.values.dtype, ratings.shape, len(rows.mean)
    for name, value, shape in (
        ("rows.values", rows.values, (n, p)),
        ("rows.mean", rows.mean, (p,)),
        ("rows.precision", rows.precision, (p,)),
        ("targets", targets, (len(ratings.values),)),
        ("features", features, (m, p)),
        ("noise_precision", noise_precision, ()),
    ):
        _checks.tensor(name, value, shape=shape, dtype=dtype)
    for name, value in (
        ("rows.precision", rows.precision),
        ("noise_precision", noise_precision),
    ):
        if not (value > 0).all():
            raise ValueError(f"{name} must be greater than 0, got {value}")
    noise = normal(rows.values.shape, generator, targets.dtype)
    drawn = rows.mean + noise / rows.precision.sqrt()  # rows without ratings
    moments = noise_precision * (ratings.matrix(targets) @ features)
    moments += rows.precision * rows.mean
    names = "targets, features, noise_precision and rows"
    with _checks.within_bounds(names):
        for ids, gram in ratings.grams(features):
            precision = noise_precision * gram + torch.diag(rows.precision)
            # LAPACKs differ in whether they refuse an infinite matrix.
            _checks.finite(names, precision.diagonal(dim1=1, dim2=2))
            factor = torch.linalg.cholesky(precision)
            # P = L L^T: L^-T times standard normal noise has covariance P^-1.
            half = solve_triangular(factor, moments[ids, :, None], upper=False)
            half += noise[ids, :, None]
            drawn[ids] = solve_triangular(factor.mT, half, upper=True).squeeze(-1)
    return _checks.finite(names, drawn)


def draw_scales(
    values: Tensor, scale: Tensor, dof: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Draw mean and precision of each coordinate, given all rows (normal-Gamma)."""
    n, p = values.shape
    average = values.mean(0)
    squares = (values - average).square().sum(0) + n / (n + 1) * average.square()
    drawn = chi_square(dof + n, p, generator, values.dtype)
    precision = drawn / (dof * scale.square() + squares)
    noise = normal((p,), generator, values.dtype)
    return n / (n + 1) * average + noise / ((n + 1) * precision).sqrt(), precision


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


def collect(states: list[State], rank: int, mean: float) -> Posterior:
    """Stack samples into tensors, factors and biases apart."""
    u = torch.stack([state.users.values for state in states])
    v = torch.stack([state.items.values for state in states])
    precisions = torch.stack(
        [(s.users.precision * s.items.precision)[:rank] for s in states]
    )
    no_bias = torch.zeros(1, dtype=u.dtype)
    return Posterior(
        U=u[..., :rank],
        V=v[..., :rank],
        b=u[..., rank] if u.shape[2] > rank else no_bias.expand(u.shape[:2]),
        c=v[..., rank] if v.shape[2] > rank else no_bias.expand(v.shape[:2]),
        sigma=torch.stack([s.noise_precision for s in states]) ** -0.5,
        tau=(precisions**-0.5).mean(1).sqrt(),
        mean=mean,
    )
