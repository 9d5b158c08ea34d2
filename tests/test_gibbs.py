"""gibbs: the sampler draws from the posterior it claims, and says what it returns."""

import dataclasses
import os
import sys

import numpy as np
import pandas as pd
import pytest
import torch

from mflib import (
    Prior,
    Ratings,
    als,
    fetch_movielens,
    gibbs,
    gibbs_step,
    make_low_rank_ratings,
    rmse,
    seeded,
)
from mflib.gibbs import (
    Factors,
    Sample,
    draw_factors,
    draw_hyperparameters,
    prior_scale,
    stack,
)
from mflib.sparse import CSR, SparseRatings

# One computation done twice may differ by rounding: a math library takes its order from
# the processor and from where in memory the numbers lie. Few steps, numbers of order 1.
ROUNDING = {"rtol": 0, "atol": 1e-10}

PRIOR = Prior(noise=0.8, factors=0.9, biases=0.7, dof=12)


def prior_draw(data, n_users, n_items, generator):
    """Draw all unknowns from the prior, and ratings from them: no sampler involved."""
    scale = prior_scale(PRIOR, data)

    def gamma(size):  # precision: chi-square(dof) / (dof scale^2), by torch's own Gamma
        shape = torch.full(size, PRIOR.dof / 2)
        return 2 * torch._standard_gamma(shape, generator=generator)

    def rows(n):
        precision = gamma(scale.shape) / (PRIOR.dof * scale**2)
        mean = torch.randn(len(scale), generator=generator) / precision.sqrt()
        noise = torch.randn(n, len(scale), generator=generator)
        return Factors(mean + noise / precision.sqrt(), mean, precision)

    alpha = gamma((1,))[0] / (PRIOR.dof * PRIOR.noise**2)
    return Sample(rows(n_users), rows(n_items), alpha)


def predictions(state, cells, k=2):
    u, v = state.users.values[cells.users], state.items.values[cells.items]
    return (u[:, :k] * v[:, :k]).sum(-1) + u[:, k:].sum(-1) + v[:, k:].sum(-1)


def rate(state, cells, generator):
    noise = torch.randn(len(cells), generator=generator)
    values = predictions(state, cells) + noise / state.alpha.sqrt()
    return dataclasses.replace(cells, values=values)


def statistics(state, ratings):
    u, v = state.users, state.items
    return [
        float(state.alpha.log()),
        float(u.precision.log().mean()),
        float(v.precision.log().mean()),
        float(v.precision[-1].log()),
        float(torch.tanh(u.mean).sum()),
        float(torch.tanh(v.mean[-1])),
        float(torch.tanh(u.values).mean()),
        float(u.values.abs().clamp(max=5).mean()),
        float(v.values[:, -1].abs().clamp(max=5).mean()),
        float(torch.tanh(predictions(state, ratings)).mean()),
        float(ratings.values.abs().clamp(max=10).mean()),
        float(torch.tanh(ratings.values * predictions(state, ratings)).mean()),
    ]


def sparse(ratings, biases=True):
    return SparseRatings(ratings, rank=2, biases=biases, mean=0.0)


@pytest.mark.parametrize("biases", [True, False])
def test_joint_distribution(biases):
    # Geweke (2004, doi:10.1198/016214504000001132): alternating a sweep given the
    # ratings with new ratings given the state must leave the prior as it is. Any error
    # in any conditional moves some statistic. 12 statistics, a bound of 4.5 standard
    # errors, which are themselves estimated, from 50 batches: a correct sampler fails
    # with a seed in at most 12 P(|t_49| > 4.5) = 0.0005. The seed here is fixed.
    cells = torch.cartesian_prod(torch.arange(5), torch.arange(4))[::2]
    # User 4 has no rating in half of the design's cells; item sizes differ.
    known = Ratings(
        cells[:, 0], cells[:, 1], torch.zeros(len(cells)), n_users=6, n_items=5
    )
    data, generator = sparse(known, biases), seeded(0)

    forward = []
    for _ in range(8000):
        state = prior_draw(data, 6, 5, generator)
        forward.append(statistics(state, rate(state, known, generator)))
    forward = np.array(forward)

    chain, state = [], prior_draw(data, 6, 5, generator)
    for _ in range(5000):
        rated = rate(state, known, generator)
        chain.append(statistics(state, rated))
        for side in (data.by_user, data.by_item):
            side.values = side.sorted(rated.values)
        state = gibbs_step(state, data, PRIOR, generator)
    batches = np.array(chain).reshape(50, 100, -1).mean(1)

    difference = batches.mean(0) - forward.mean(0)
    variance = batches.var(0, ddof=1) / 50 + forward.var(0, ddof=1) / len(forward)
    z = difference / variance**0.5
    assert np.abs(z).max() < 4.5, z.round(1)


def test_rows_are_drawn_from_the_closed_form():
    generator = seeded(0)
    train, _ = make_low_rank_ratings(4, 30, 2, density=0.4, generator=generator)
    features = torch.randn(30, 3, generator=generator)
    prior_mean = torch.tensor([0.5, -0.2, 0.1])
    rows = Factors(torch.zeros(5, 3), prior_mean, torch.tensor([1.0, 2.0, 4.0]))
    alpha = torch.tensor(2.5)
    by_user = CSR(train.users, train.items, train.values, 5, 30)

    def draw(generator):
        return draw_factors(rows, by_user, by_user.values, features, alpha, generator)

    for i in range(5):  # the last has no ratings
        mine = train.users == i
        x, t = features[train.items[mine]], train.values[mine]
        precision = alpha * x.T @ x + torch.diag(rows.precision)
        moment = alpha * x.T @ t + rows.precision * prior_mean
        mean = torch.linalg.solve(precision, moment)
        # The draw is an affine map of its noise: undo it, and find the noise itself.
        noise = torch.randn(5, 3, generator=seeded(7))[i]
        factor = torch.linalg.cholesky(precision)
        recovered = factor.T @ (draw(seeded(7))[i] - mean)
        torch.testing.assert_close(recovered, noise, rtol=0, atol=1e-10)


def test_scales_are_drawn_from_the_normal_gamma_posterior():
    # 20,000 draws against the closed form's moments. False alarms of a seed: means, 5
    # standard errors, 2 * 6e-7; variances, 0.1 is 7 of theirs, nothing to that.
    values = torch.randn(5, 1, generator=seeded(0)) * 0.5 + 3.0
    prior, generator = Prior(noise=1.0, factors=2.0, biases=1.0, dof=3), seeded(1)
    one = Ratings([0], [0], [1.0], n_users=1, n_items=1)
    data, dof = SparseRatings(one, rank=1, biases=False, mean=0.0), prior.dof
    draws = [
        draw_hyperparameters(values, data, prior, generator) for _ in range(20_000)
    ]
    mean = torch.stack([m for m, _ in draws])[:, 0]
    precision = torch.stack([p for _, p in draws])[:, 0]
    n, average = 5, values.mean()
    rest = (values - average).square().sum() + n / (n + 1) * average**2
    rate = (dof * 4.0 + rest) / 2
    shape = (dof + n) / 2
    assert abs(precision.mean() - shape / rate) < 5 * precision.std() / 20_000**0.5
    assert abs(precision.var() / (shape / rate**2) - 1) < 0.1
    assert abs(mean.mean() - n / (n + 1) * average) < 5 * mean.std() / 20_000**0.5
    expected = rate / (shape - 1) / (n + 1)
    assert abs(mean.var() / expected - 1) < 0.1


@pytest.fixture(scope="module")
def fitted():
    ratings, truth = make_low_rank_ratings(
        120, 80, 3, density=0.3, tau=0.8, sigma=0.5, bias_tau=0.4, generator=seeded(0)
    )
    train, test = ratings.split(0.8, 0.2, generator=seeded(1))
    posterior, history = gibbs(
        train, rank=3, samples=60, burn_in=40, generator=seeded(2), test=test
    )
    return train, test, truth, posterior, history


def test_recovers_the_scales(fitted):
    # Two scales within 3.5 of the posterior's standard deviations: a false alarm with
    # 0.001 of seeds, were it normal and the truth a draw from the prior.
    _, _, truth, posterior, history = fitted
    for name in ("sigma", "tau"):
        draws = history[name]
        assert abs(draws.mean() - getattr(truth, name)) < 3.5 * draws.std()
        np.testing.assert_allclose(draws, getattr(posterior, name), rtol=1e-12)


def test_the_running_mean_ends_at_the_posterior_mean(fitted):
    train, test, _, posterior, history = fitted
    assert history["test"].iloc[-1] == pytest.approx(rmse(posterior, test), rel=1e-9)
    assert history["train"].iloc[-1] == pytest.approx(rmse(posterior, train), rel=1e-9)
    assert history["test"].iloc[-1] < history["test"].iloc[0]
    assert list(history.columns) == ["sigma", "tau", "train", "test"]
    assert history.index.name == "sample"


def test_moments_are_those_of_the_samples(fitted):
    _, test, _, posterior, _ = fitted
    users, items = test.users[:50], test.items[:50]
    each = torch.stack(
        [
            (posterior.U[s, users] * posterior.V[s, items]).sum(-1)
            + posterior.b[s, users]
            + posterior.c[s, items]
            + posterior.mean
            for s in range(len(posterior.sigma))
        ]
    )
    mean, variance = posterior.moments(users, items)
    torch.testing.assert_close(mean, each.mean(0))
    torch.testing.assert_close(variance, each.var(0, correction=0))


def test_intervals_cover_what_they_say(fitted):
    # 576 test ratings, each in its interval or not: off by more than 0.05 by chance
    # with 0.017 (level 0.5), 0.0025 (0.8) and 5e-7 (0.95) of seeds, 0.02 in all.
    _, test, _, posterior, _ = fitted
    widths = []
    for level in (0.5, 0.8, 0.95):
        low, high = posterior.interval(test.users, test.items, level)
        covered = ((test.values > low) & (test.values < high)).double().mean()
        assert abs(covered - level) < 0.05
        widths.append((high - low).mean())
    assert widths == sorted(widths)
    with pytest.raises(ValueError, match="level must be below 1, got 1"):
        posterior.interval(test.users, test.items, 1.0)


def test_users_without_ratings_get_the_mean_and_wide_intervals():
    train = Ratings([0, 0, 1], [0, 1, 1], [4.0, 2.0, 3.0], n_users=3, n_items=3)
    posterior, _ = gibbs(train, rank=2, samples=300, generator=seeded(0))
    pairs = torch.tensor([0, 2]), torch.tensor([0, 2])
    low, high = posterior.interval(*pairs)
    assert torch.isfinite(low).all()
    assert torch.isfinite(high).all()
    assert (high - low)[1] > (high - low)[0]


def test_the_seed_decides_and_thinning_keeps_every_other(fitted):
    train, _, _, _, _ = fitted
    arguments = {"rank": 2, "burn_in": 3, "biases": False}
    first, _ = gibbs(train, samples=4, generator=seeded(5), **arguments)
    again, _ = gibbs(train, samples=4, generator=seeded(5), **arguments)
    other, _ = gibbs(train, samples=4, generator=seeded(6), **arguments)
    thin, _ = gibbs(train, samples=2, thin=2, generator=seeded(5), **arguments)
    torch.testing.assert_close(first.U, again.U, **ROUNDING)
    assert not torch.equal(first.U, other.U)
    torch.testing.assert_close(first.U[1::2], thin.U, **ROUNDING)
    assert first.U.shape == (4, 120, 2)
    assert not first.b.any()


def test_ratings_all_equal_and_a_single_one_are_no_problem():
    for n in (1, 6):
        train = Ratings(range(n), [0] * n, [3.0] * n, n_users=n, n_items=1)
        posterior, history = gibbs(train, rank=1, samples=5, generator=seeded(0))
        assert np.isfinite(history).all(axis=None)
        assert torch.isfinite(posterior(train.users, train.items)).all()


def test_an_interrupt_leaves_the_samples_so_far(monkeypatch, fitted):
    train, test, _, _, _ = fitted
    arguments = {"rank": 2, "burn_in": 2, "test": test}
    whole, history = gibbs(train, samples=3, generator=seeded(1), **arguments)
    sweeps = []

    def interrupted(*given):
        sweeps.append(given)
        if len(sweeps) == stop:
            raise KeyboardInterrupt
        return gibbs_step(*given)

    monkeypatch.setattr(sys.modules["mflib.gibbs"], "gibbs_step", interrupted)
    stop = 6  # the fourth sample's
    with pytest.warns(RuntimeWarning, match="interrupted: 3 of 9 samples"):
        posterior, short = gibbs(train, samples=9, generator=seeded(1), **arguments)
    pd.testing.assert_frame_equal(short, history, rtol=1e-9)
    torch.testing.assert_close(posterior.U, whole.U, **ROUNDING)
    sweeps.clear()
    stop = 3  # the first sample's: there is nothing to return
    with pytest.raises(KeyboardInterrupt):
        gibbs(train, samples=9, generator=seeded(1), **arguments)


def test_defaults_are_those_of_the_docstring(fitted, capsys):
    train, _, _, _, _ = fitted
    short, _ = gibbs(train, rank=1, generator=seeded(0))
    stated = {"samples": 200, "burn_in": 50, "thin": 1, "biases": True, "mean": "train"}
    assert short.mean == pytest.approx(float(train.values.mean()))
    whole, _ = gibbs(train, rank=1, generator=seeded(0), **stated)
    # 250 sweeps: rounding has grown since the first.
    torch.testing.assert_close(short.U, whole.U, rtol=0, atol=1e-6)
    assert capsys.readouterr() == ("", "")
    gibbs(train, rank=1, samples=2, burn_in=1, progress=True, generator=seeded(0))
    assert "3/3" in capsys.readouterr().err


def test_tau_is_the_scale_of_the_products():
    # U and V of scales 4 and 1/4 predict as two of scale 1 do.
    def side(scale):
        precision = torch.tensor([scale**-2.0, 1.0])
        return Factors(torch.ones(3, 2), torch.zeros(2), precision)

    state = Sample(side(4.0), side(0.25), torch.tensor(4.0))
    train = Ratings([0], [0], [1.0], n_users=3, n_items=3)
    posterior = stack([state, state], 1, 2.0, train)
    torch.testing.assert_close(posterior.tau, torch.ones(2))
    torch.testing.assert_close(posterior.sigma, torch.full((2,), 0.5))
    for bias in (posterior.b, posterior.c):
        torch.testing.assert_close(bias, torch.ones(2, 3, dtype=bias.dtype))
    without = stack([state], 2, 2.0, train)
    assert without.b.shape == without.c.shape == (1, 3)
    assert not without.b.any()
    assert not without.c.any()


def test_computes_in_the_dtype_asked_for(fitted):
    train, _, _, _, _ = fitted
    arguments = {"rank": 1, "samples": 2, "burn_in": 0}
    narrow, _ = gibbs(train, dtype=torch.float32, generator=seeded(0), **arguments)
    assert narrow.U.dtype == narrow.sigma.dtype == torch.float32
    wide, _ = gibbs(train, generator=seeded(0), **arguments)
    assert wide.U.dtype == torch.float64
    single = dataclasses.replace(train, values=train.values.float())
    posterior, _ = gibbs(single, generator=seeded(0), **arguments)
    low, _ = posterior.interval(train.users, train.items)
    assert posterior.U.dtype == posterior.sigma.dtype == low.dtype == torch.float32


@pytest.mark.skipif(
    not os.path.isdir(os.path.join(os.environ.get("MFLIB_DATA", ""), "ml-latest-small"))
    or not os.environ.get("MFLIB_DATA"),
    reason="MFLIB_DATA names no folder that holds ml-latest-small",
)
def test_on_movielens_the_posterior_mean_beats_als():
    ratings, _ = fetch_movielens()
    train, validation, test = ratings.split(
        0.7, 0.1, 0.2, generator=seeded(0), stratify="user"
    )
    arguments = {"rank": 8, "biases": True, "mean": "train", "validation": validation}
    best = min(
        (
            als(train, lam=lam, generator=seeded(2), **arguments)
            for lam in (12, 16, 24, 32)
        ),
        key=lambda run: run[1]["validation"].iloc[-1],
    )
    posterior, _ = gibbs(train, rank=8, generator=seeded(2))
    assert rmse(posterior, test) < rmse(best[0], test) - 0.005
