"""gibbs with a noise for each user and who rated what: its draws are those claimed."""

import dataclasses
import functools
import sys

import numpy as np
import pytest
import torch

from mflib import Prior, Ratings, gibbs, gibbs_step, rmse, seeded
from mflib.draws import chi_square, chi_squares, normal
from mflib.gibbs import draw_factors, draw_hyperparameters
from mflib.noise import draw_alphas, draw_typical, equally_noisy
from mflib.prior import Factors, Sample, prior_scale
from mflib.rated import Rated, conjugate_gradients, draw_rated, sums_of_rated, unrated
from mflib.sparse import CSR, SparseRatings

PRIOR = Prior(noise=0.8, factors=0.9, biases=0.7, dof=8, user_dof=3)
MODULES = {name: sys.modules[f"mflib.{name}"] for name in ("gibbs", "noise", "rated")}

N, M = 21, 14
CELLS = torch.cartesian_prod(torch.arange(N - 1), torch.arange(M - 1))[::3]
NONE = torch.zeros(len(CELLS), dtype=torch.float64)
KNOWN = Ratings(*CELLS.T, NONE, n_users=N, n_items=M)  # the last of each have none


def sums(cells):
    """Return F of users and of items, as dense matrices."""
    _, mask = cells.dense()
    return [m / m.sum(1, keepdim=True).clamp(min=1).sqrt() for m in (mask, mask.T)]


# -- the joint distribution -----------------------------------------------------------


def prior_draw(data, generator):
    """Draw all unknowns from the prior: no sampler involved."""
    scale = prior_scale(PRIOR, data)

    def gamma(dof, size):  # of mean 1
        shape = torch.full(size, dof / 2)
        return 2 / dof * torch._standard_gamma(shape, generator=generator)

    def rows(F):
        n, m = F.shape
        precision = gamma(PRIOR.dof, scale.shape) / scale**2
        mean = torch.randn(len(scale), generator=generator) / precision.sqrt()
        ratio = gamma(PRIOR.dof, scale.shape)
        y = torch.randn(m, len(scale), generator=generator) / (ratio * precision).sqrt()
        noise = torch.randn(n, len(scale), generator=generator) / precision.sqrt()
        rated = Rated(y, ratio, F @ y)
        return Factors(mean + F @ y + noise, mean, precision, rated)

    users, items = (rows(F) for F in sums(KNOWN))
    typical = 1 / (gamma(PRIOR.dof, (1,))[0] * PRIOR.noise**2)
    alpha = typical * gamma(PRIOR.user_dof, (len(users.values),))
    return Sample(users, items, alpha, typical)


def predictions(state, k=2):
    u, v = state.users.values[KNOWN.users], state.items.values[KNOWN.items]
    return (u[:, :k] * v[:, :k]).sum(-1) + u[:, k:].sum(-1) + v[:, k:].sum(-1)


def rate(state, generator):
    noise = torch.randn(len(KNOWN), generator=generator)
    values = predictions(state) + noise / state.alpha.sqrt()[KNOWN.users]
    return dataclasses.replace(KNOWN, values=values)


def statistics(state, ratings):
    """Numbers that the prior determines; logarithms and bounds tame their tails."""
    errors = ratings.values - predictions(state)
    squares = errors.square() * state.alpha[KNOWN.users]
    found = [state.typical.log(), state.alpha.log().mean(), state.alpha.log().var()]
    found += [state.alpha[-1].log(), squares.clamp(max=8).mean()]
    found += [predictions(state).tanh().mean(), predictions(state).abs().log().mean()]
    found += [(errors * predictions(state)).tanh().mean()]
    for side in (state.users, state.items):
        y, ratio, shift = side.rated.values, side.rated.ratio, side.rated.shift
        around = (side.values - side.mean - shift) * side.precision.sqrt()
        found += [
            side.precision.log().mean(),
            side.precision.log().square().mean(),
            (side.mean * side.precision.sqrt()).square().clamp(max=8).mean(),
            around.square().clamp(max=8).mean(),
            ratio.log().mean(),
            (y.square() * side.precision * ratio).clamp(max=8).mean(),
            (shift.square() * side.precision * ratio).clamp(max=8).mean(),
            (shift * around).tanh().mean(),
            (y.square() * side.precision * ratio).mean(0).log().square().mean(),
        ]
    return torch.stack(found)


def drift(replications, biases=True, steps=3):
    """Return by how many standard errors each statistic has moved from the prior's.

    Geweke (2004, doi:10.1198/016214504000001132): ratings drawn given the state, and
    then a sweep given the ratings, leave the prior as it is. Each replication starts
    with a draw from the prior, so that all are independent.
    """
    generator, moved = seeded(0), []

    def data(ratings):
        return SparseRatings(ratings, rank=2, biases=biases, mean=0.0)

    for _ in range(replications):
        state = prior_draw(data(KNOWN), generator)
        ratings = rate(state, generator)
        before = statistics(state, ratings)
        for step in range(steps):
            ratings = rate(state, generator) if step else ratings
            state = gibbs_step(state, data(ratings), PRIOR, generator)
        moved.append(statistics(state, ratings) - before)
    moved = torch.stack(moved)
    return moved.mean(0) / moved.std(0) * replications**0.5


@pytest.mark.parametrize("biases", [True, False])
def test_joint_distribution(biases):
    # 26 statistics: a correct sampler has one beyond 4.5 with 0.0002 of seeds.
    z = drift(400, biases)
    assert z.abs().max() < 4.5, z


def without_own_ratings(errors, counts, typical, prior, generator):
    return draw_alphas(0 * errors, counts, typical, prior, generator)


def of_doubled_noises(alphas, prior, generator):
    return draw_typical(2 * alphas, prior, generator)


def targets_alone(alpha, ratings, targets, features):
    ratings, targets, _, one = equally_noisy(alpha, ratings, targets, features)
    return ratings, targets, features, one


def average_noise(alpha, ratings, targets, features):
    return ratings, targets, features, alpha.mean()


def twice_y(values, data, prior, generator, rated):
    rated = dataclasses.replace(rated, ratio=2 * rated.ratio)
    return draw_hyperparameters(values, data, prior, generator, rated)


def blind_to_the_shift(values, data, prior, generator, rated):
    return draw_hyperparameters(
        *(values, data, prior, generator),
        dataclasses.replace(rated, shift=0 * rated.shift),
    )


def stopped_early(*arguments, **options):
    return conjugate_gradients(*arguments, **options, steps=1)


def unweighted(side, other, dtype):
    F, F_T = sums_of_rated(side, other, dtype)
    return F, other.matrix(torch.ones_like(F_T.values()))


def no_noise(shape, generator, dtype):
    return 0 * normal(shape, generator, dtype)


MUTANTS = {
    "alphas without their ratings": ("noise", "draw_alphas", without_own_ratings),
    "typical of doubled noises": ("noise", "draw_typical", of_doubled_noises),
    "features not weighted": ("gibbs", "equally_noisy", targets_alone),
    "one noise for items": ("gibbs", "equally_noisy", average_noise),
    "precision from twice y": ("gibbs", "draw_hyperparameters", twice_y),
    "mean blind to the shift": ("gibbs", "draw_hyperparameters", blind_to_the_shift),
    "one step of the solver": ("rated", "conjugate_gradients", stopped_early),
    "transpose not weighted": ("rated", "sums_of_rated", unweighted),
    "no noise on the right": ("rated", "normal", no_noise),
}


@pytest.mark.parametrize(("module", "name", "wrong"), MUTANTS.values(), ids=MUTANTS)
def test_a_wrong_draw_moves_the_joint_distribution(monkeypatch, module, name, wrong):
    monkeypatch.setattr(MODULES[module], name, wrong)
    for replications in (30, 100, 300):  # as many as it takes
        z = drift(replications).abs().max()
        if z > 5:
            break
    assert z > 5


# -- each draw against its closed form ------------------------------------------------


def test_who_rated_what_is_drawn_from_the_closed_form(monkeypatch):
    data = SparseRatings(KNOWN, rank=2, biases=False, mean=0.0)
    sides = (data.by_user, data.by_item)
    rows = torch.randn(N, 2, generator=seeded(0))
    precision, ratio = torch.tensor([2.0, 0.5]), torch.tensor([0.3, 3.0])
    start = dataclasses.replace(unrated(data.by_user, precision), ratio=ratio)
    exact = functools.partial(conjugate_gradients, tolerance=1e-14)
    monkeypatch.setattr(MODULES["rated"], "conjugate_gradients", exact)

    def values(noise):  # an affine map of N + M numbers of noise: find it
        pieces = iter(noise.split([N, M]))
        monkeypatch.setattr(
            MODULES["rated"], "normal", lambda *_: next(pieces)[:, None].expand(-1, 2)
        )
        # The ratio is drawn from chi-square numbers, which need none of these.
        drawn = draw_rated(start, rows, precision, sides, 2, seeded(1))
        torch.testing.assert_close(drawn.shift, F @ drawn.values)
        return drawn.values

    F = sums(KNOWN)[0]
    mean = values(torch.zeros(N + M))
    spread = torch.stack([values(noise) - mean for noise in torch.eye(N + M)])
    for f in range(2):
        wanted = precision[f] * (F.T @ F + ratio[f] * torch.eye(M))
        moment = precision[f] * F.T @ rows[:, f]
        close = {"rtol": 0, "atol": 1e-10}
        solution = torch.linalg.solve(wanted, moment)
        torch.testing.assert_close(mean[:, f], solution, **close)
        covariance = spread[..., f].T @ spread[..., f]
        torch.testing.assert_close(covariance, torch.linalg.inv(wanted), **close)


def test_the_ratio_is_drawn_from_its_gamma_distribution(monkeypatch):
    # Given y = 0 and a prior worth 8: Gamma(shape (8 + M) / 2, rate 8 / 2).
    data = SparseRatings(KNOWN, rank=2, biases=False, mean=0.0)
    sides, generator = (data.by_user, data.by_item), seeded(0)
    one = torch.ones(4000)
    zero = lambda matrix, right, diagonal: torch.zeros_like(right)  # noqa: E731
    monkeypatch.setattr(MODULES["rated"], "conjugate_gradients", zero)
    start = unrated(data.by_user, one)
    ratio = draw_rated(start, one.expand(N, -1), one, sides, 8, generator).ratio
    assert ratio.mean() == pytest.approx((8 + M) / 8, rel=0.05)
    assert ratio.var() == pytest.approx((8 + M) / 2 / 4**2, rel=0.15)


def test_the_rows_precision_is_drawn_from_rows_and_y():
    prior = Prior(noise=1.0, factors=0.5, biases=1.0, dof=3)
    data = SparseRatings(KNOWN, rank=4000, biases=False, mean=0.0)
    y, rows, shift = (torch.randn(n, 1, generator=seeded(n)) for n in (7, 9, 9))
    rated = Rated(y, torch.tensor([1.7]), shift)
    mean, precision = draw_hyperparameters(
        *((rows + shift).expand(9, 4000), data, prior, seeded(0)),
        rated=Rated(*(x.expand(*x.shape[:-1], 4000) for x in vars(rated).values())),
    )
    average = rows.mean()
    total = (rows - average).square().sum() + 9 / 10 * average**2
    total += 1.7 * y.square().sum() + 3 * 0.5**2
    assert precision.mean() == pytest.approx(float((3 + 9 + 7) / total), rel=0.03)
    assert precision.var() == pytest.approx(float(2 * 19 / total**2), rel=0.15)
    assert mean.mean() == pytest.approx(float(9 / 10 * average), abs=0.03)


def test_the_solver_is_close_to_the_exact_solution():
    generator = seeded(0)
    mask = torch.rand(120, 300, generator=generator) < 0.5 / torch.arange(1, 301) ** 0.5
    users, items = mask.nonzero(as_tuple=True)
    cells = Ratings(users, items, torch.zeros(len(users)), n_users=120, n_items=300)
    for F in sums(cells):
        ratio = torch.tensor([0.2, 1.0, 20.0])
        right = torch.randn(F.shape[1], 3, generator=generator)
        gram = F.T @ F
        diagonal = gram.diagonal()[:, None] + ratio
        found = conjugate_gradients(
            lambda y, gram=gram, ratio=ratio: gram @ y + ratio * y, right, diagonal
        )
        for f in range(3):
            matrix = gram + ratio[f] * torch.eye(len(gram))
            exact = torch.linalg.solve(matrix, right[:, f])
            assert (found[:, f] - exact).norm() < 5e-3 * exact.norm()


def test_noises_are_drawn_from_their_gamma_distributions():
    n, prior = 20_000, Prior(noise=0.5, factors=1.0, biases=1.0, dof=4, user_dof=6)
    errors = torch.tensor([1.0, -2.0, 0.5]).repeat(n)
    counts = torch.full((n,), 3)
    alphas = draw_alphas(errors, counts, torch.tensor(2.0), prior, seeded(0))
    shape, rate_ = (6 + 3) / 2, (6 / 2.0 + 5.25) / 2
    assert alphas.mean() == pytest.approx(shape / rate_, rel=0.02)
    assert alphas.var() == pytest.approx(shape / rate_**2, rel=0.06)
    three, generator = torch.tensor([1.0, 2.0, 4.0]), seeded(1)
    variances = torch.stack(
        [1 / draw_typical(three, prior, generator) for _ in range(5000)]
    )
    shape, rate_ = (4 + 3 * 6) / 2, (4 / 0.25 + 6 * 7.0) / 2
    assert variances.mean() == pytest.approx(shape / rate_, rel=0.03)
    assert variances.var() == pytest.approx(shape / rate_**2, rel=0.1)


def test_chi_squares_have_their_degrees_of_freedom():
    dofs = torch.tensor([1, 4, 30]).repeat(5000)
    drawn = chi_squares(dofs, seeded(0), torch.float64).reshape(5000, 3)
    np.testing.assert_allclose(drawn.mean(0), [1, 4, 30], rtol=0.1)
    np.testing.assert_allclose(drawn.var(0), [2, 8, 60], rtol=0.15)
    four = chi_square(4, 5000, seeded(1), torch.float64)
    assert four.mean() == pytest.approx(4, rel=0.1)


@pytest.mark.parametrize("side", ["users", "items"])
def test_rows_are_drawn_with_each_users_own_noise(side):
    generator = seeded(0)
    n, m = (N, M) if side == "users" else (M, N)
    rows = KNOWN.users if side == "users" else KNOWN.items
    columns = KNOWN.items if side == "users" else KNOWN.users
    values = torch.randn(len(KNOWN), generator=generator)
    features = torch.randn(m, 3, generator=generator)
    alpha = torch.rand(N, generator=generator) + 0.5
    rated = Rated(features, torch.ones(3), torch.randn(n, 3, generator=generator))
    factors = Factors(torch.zeros(n, 3), torch.ones(3), torch.full((3,), 2.0), rated)
    ratings = CSR(rows, columns, values, n, m)
    regressions = ratings, ratings.values, features
    weighted = (
        (*regressions, alpha) if side == "users" else equally_noisy(alpha, *regressions)
    )
    drawn = draw_factors(factors, *weighted, seeded(7))
    noise = torch.randn(n, 3, generator=seeded(7))
    for i in range(n):
        mine = rows == i
        x, t, a = features[columns[mine]], values[mine], alpha[KNOWN.users[mine]]
        precision = (x.T * a) @ x + 2 * torch.eye(3)
        moment = (x.T * a) @ t + 2 * (1.0 + rated.shift[i])
        mean = torch.linalg.solve(precision, moment)
        half = torch.linalg.cholesky(precision).T @ (drawn[i] - mean)
        torch.testing.assert_close(half, noise[i], rtol=0, atol=1e-10)


# -- known truth ----------------------------------------------------------------------


def known_truth(density, n=400, m=150, k=2):
    """Ratings whose users differ in noise, and whose cells say something of taste."""
    generator = seeded(0)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    place = torch.rand(n, m, generator=generator)
    train, test = place < density, place > 0.6
    F = train / train.sum(1, keepdim=True).clamp(min=1).sqrt()
    u = F @ (0.8 * randn(m, k)) + 0.4 * randn(n, k)
    v, b, c = randn(m, k), 0.3 * randn(n, 1), 0.3 * randn(m)
    sigma = (0.45 * randn(n)).exp() * 0.6
    values = u @ v.T + b + c + sigma[:, None] * randn(n, m)

    def part(cells):
        ids = cells.nonzero(as_tuple=True)
        return Ratings(*ids, values[cells], n_users=n, n_items=m)

    return part(train), part(test), sigma


SETTINGS = {
    "plain": {},
    "noise": {"noise": "per user"},
    "both": {"noise": "per user", "rated": True},
}


def fit_all(train):
    return {
        name: gibbs(train, rank=2, samples=100, generator=seeded(1), **setting)
        for name, setting in SETTINGS.items()
    }


def test_what_was_rated_helps_where_ratings_are_few():
    train, test, _ = known_truth(density=0.12)  # 18 ratings a user
    fits = fit_all(train)
    error = {name: rmse(posterior, test) for name, (posterior, _) in fits.items()}
    assert error["both"] < error["noise"] - 0.005 < error["plain"] - 0.05, error
    posterior, history = fits["both"]
    assert list(history) == ["sigma", "tau", "rated_users", "rated_items", "train"]
    np.testing.assert_allclose(history["sigma"], posterior.sigma, rtol=1e-12)
    share = 0.8**2 / (0.8**2 + 0.4**2)
    assert history["rated_users"].mean() == pytest.approx(share, abs=0.1)
    assert history["rated_items"].mean() < 0.45  # the truth has none


def test_each_users_noise_is_found_and_intervals_cover_for_each_quarter():
    train, test, sigma = known_truth(density=0.55, n=320, m=300)  # 165 a user
    fits = {name: posterior for name, (posterior, _) in fit_all(train).items()}
    found = fits["both"].user_sigma.log().mean(0)
    assert np.corrcoef(found, sigma.log())[0, 1] > 0.95
    assert (found - sigma.log()).mean().abs() < 0.03
    # 9,600 test ratings a quarter: a standard error of 0.4 points.
    quarter = sigma.argsort().argsort()[test.users] * 4 // len(sigma)

    def covered(posterior):
        low, high = posterior.interval(test.users, test.items, 0.8)
        inside = ((test.values > low) & (test.values < high)).double()
        return np.array([float(inside[quarter == q].mean()) for q in range(4)])

    assert np.abs(covered(fits["both"]) - 0.8).max() < 0.02
    plain = covered(fits["plain"])
    assert plain[0] > 0.88
    assert plain[3] < 0.7


def test_nothing_is_as_large_as_the_matrix():
    n, m = 50_000, 40_000  # 2 billion cells
    ids = torch.arange(200)
    train = Ratings(ids, ids % 7, ids.double() % 5, n_users=n, n_items=m)
    posterior, history = gibbs(
        *(train,),
        **{"rank": 1, "samples": 1, "burn_in": 1, "noise": "per user", "rated": True},
        generator=seeded(0),
    )
    assert np.isfinite(history).all(axis=None)
    assert posterior.user_sigma.shape == (1, n)


def test_options_can_be_had_apart_and_in_float32():
    train = dataclasses.replace(
        KNOWN, values=torch.arange(len(KNOWN), dtype=torch.float32)
    )
    arguments = {"rank": 2, "samples": 2, "burn_in": 1, "generator": seeded(0)}
    noise, _ = gibbs(train, noise="per user", **arguments)
    rated, history = gibbs(train, rated=True, biases=False, **arguments)
    assert noise.user_sigma.dtype == rated.U.dtype == torch.float32
    assert rated.user_sigma is None
    assert list(history) == ["sigma", "tau", "rated_users", "rated_items", "train"]
    with pytest.raises(ValueError, match="noise must be 'one' or 'per user'"):
        gibbs(train, noise="per item", **arguments)
    with pytest.raises(ValueError, match="user_dof"):
        Prior(noise=1.0, factors=1.0, biases=1.0, user_dof=0)
