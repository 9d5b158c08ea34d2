"""als: each half is the exact minimum, J never rises, hard rows are handled."""

import dataclasses
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mflib import (
    MF,
    Ratings,
    als,
    fold_in,
    make_low_rank_ratings,
    objective,
    rmse,
    seeded,
)
from mflib.als import Pull, solve_ridge, solve_rows
from mflib.sparse import CSR

# One computation done twice may differ by rounding: a math library takes its order from
# the processor and from where in memory the numbers lie. Few steps, numbers of order 1.
ROUNDING = {"rtol": 0, "atol": 1e-10}


@settings(max_examples=30)
@given(
    seed=st.integers(0, 2**31),
    rank=st.integers(1, 6),
    lam=st.sampled_from([0.0, 1e-14, 1e-11, 1e-8, 1e-5, 0.1, 1.0, 50.0]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    biases=st.booleans(),
    lam_per_rating=st.sampled_from([0.0, 1e-8, 0.05, 2.0]),
    prior_mean=st.sampled_from(["zero", "learned"]),
    density=st.floats(0.05, 1.0),
    cg_steps=st.sampled_from([0, 0, 1, 2, 5]),
)
def test_the_objective_never_rises(
    seed, rank, lam, dtype, biases, lam_per_rating, prior_mean, density, cg_steps
):
    penalty = {"lam_per_rating": lam_per_rating, "prior_mean": prior_mean}
    train, _ = make_low_rank_ratings(
        15, 10, rank=2, density=density, mean=3.0, generator=seeded(seed)
    )
    train = dataclasses.replace(train, values=train.values.to(dtype))
    model, history = als(
        train,
        rank=rank,
        lam=lam,
        sweeps=6,
        cg_steps=cg_steps,
        biases=biases,
        mean=3.0,
        generator=seeded(seed),
        **penalty,
    )
    J = history["objective"]
    # Rounding, relative to the start.
    rounding = 1e-5 if dtype == torch.float32 else 1e-9
    assert (J.diff().dropna() <= rounding * J[0]).all()
    assert model.U.weight.dtype == dtype
    end = objective(model, train, lam, **penalty)
    assert J.iloc[-1] == pytest.approx(end.item(), rel=1e-4, abs=rounding * J[0])
    assert all(torch.isfinite(p).all() for p in model.parameters())


def test_defaults_and_the_start_are_those_of_the_docstring(capsys):
    train, _ = make_low_rank_ratings(9, 7, 1, density=0.6, generator=seeded(0))
    stated = {"sweeps": 20, "biases": False, "mean": 0.0}
    stated |= {"lam_per_rating": 0.0, "prior_mean": "zero"}
    short, history = als(train, rank=2, lam=1.0, generator=seeded(1))
    whole, same = als(train, rank=2, lam=1.0, generator=seeded(1), **stated)
    torch.testing.assert_close(short.U.weight, whole.U.weight, **ROUNDING)
    pd.testing.assert_frame_equal(history, same, rtol=1e-9)
    assert capsys.readouterr() == ("", "")
    other = {"rank": 2, "lam": 1.0, "sweeps": 0, "mean": 3.5, "init_std": 0.5}
    start, _ = als(train, progress=True, generator=seeded(1), **other)
    untrained = MF(9, 7, 2, mean=3.5, init_std=0.5, generator=seeded(1))
    assert torch.equal(start.U.weight, untrained.U.weight)
    assert start.mean == 3.5
    als(train, rank=2, lam=1.0, sweeps=3, progress=True, generator=seeded(1))
    assert "3/3" in capsys.readouterr().err


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize(("lam", "lam_per_rating"), [(2.0, 0.0), (0.0, 2.0), (1, 0.1)])
def test_the_last_half_is_a_stationary_point(biases, lam, lam_per_rating):
    train, _ = make_low_rank_ratings(
        40, 30, rank=2, density=0.3, mean=1.0, bias_tau=0.5, generator=seeded(0)
    )
    model, _ = als(
        train,
        rank=3,
        lam=lam,
        lam_per_rating=lam_per_rating,
        sweeps=3,
        biases=biases,
        mean=1.0,
        generator=seeded(1),
    )
    objective(model, train, lam, lam_per_rating=lam_per_rating).backward()
    assert model.V.weight.grad.abs().max() < 1e-10  # solved last
    assert model.U.weight.grad.abs().max() > 1e-6  # not yet at the minimum
    if biases:
        assert model.item_bias.weight.grad.abs().max() < 1e-10
        assert model.item_bias.weight.abs().max() > 0.1


def test_rows_are_the_closed_form():
    train, _ = make_low_rank_ratings(
        25, 60, rank=2, density=0.3, popularity="power-law", generator=seeded(0)
    )
    features = torch.randn(60, 4, generator=seeded(1))
    penalty = torch.rand(25, generator=seeded(2)) + 0.1
    rows = CSR(train.users, train.items, train.values, 25, 60)
    w = solve_ridge(rows, rows.values, features, penalty)
    for i in range(25):
        mine = train.users == i
        x, t = features[train.items[mine]], train.values[mine]
        closed = torch.linalg.solve(x.T @ x + penalty[i] * torch.eye(4), x.T @ t)
        torch.testing.assert_close(w[i], closed, rtol=0, atol=1e-12)


# Conjugate gradients end at the solution after as many steps as unknowns.
@pytest.mark.parametrize("cg_steps", [0, 3])
@pytest.mark.parametrize("learned", [False, True])
def test_rows_are_pulled_to_their_center(learned, cg_steps):
    train, _ = make_low_rank_ratings(25, 60, 2, density=0.1, generator=seeded(0))
    train = dataclasses.replace(train, n_users=27)  # the last two have no rating
    features = torch.randn(60, 3, generator=seeded(1))
    start = torch.randn(27, 3, generator=seeded(2)) + 2.0
    pull = Pull(torch.rand(27, generator=seeded(3)) + 0.1, learned)
    center = pull.weights @ start / pull.weights.sum() * learned
    ratings = CSR(train.users, train.items, train.values, 27, 60)
    rows = solve_rows(ratings, ratings.values, features, pull, start, cg_steps)
    for i in range(25):
        mine = train.users == i
        x, t = features[train.items[mine]], train.values[mine]
        a = pull.weights[i]
        moment = x.T @ t + a * center
        closed = torch.linalg.solve(x.T @ x + a * torch.eye(3), moment)
        torch.testing.assert_close(rows[i], closed, rtol=0, atol=1e-11)
    new_center = pull.center(rows)
    torch.testing.assert_close(rows[25:], new_center.expand(2, 3), **ROUNDING)
    assert new_center.any() == learned


def test_rows_meet_at_a_minimum_of_the_objective():
    # With the centers learned, too, many sweeps end where no gradient is left.
    train, _ = make_low_rank_ratings(
        40, 30, rank=2, density=0.5, mean=1.0, bias_tau=0.5, generator=seeded(0)
    )
    penalty = {"lam": 2.0, "lam_per_rating": 0.2, "prior_mean": "learned"}
    model, _ = als(
        *(train,),
        **{"rank": 2, "biases": True, "sweeps": 800, "generator": seeded(1)},
        **penalty,
    )
    objective(model, train, penalty.pop("lam"), **penalty).backward()
    for parameter in model.parameters():
        assert parameter.grad.abs().max() < 1e-5


def test_a_learned_center_is_found():
    # Users alike, and few ratings each: pulled to their average they lose nothing.
    v = torch.randn(40, 2, generator=seeded(0))
    taste = torch.tensor([1.5, -1.0])
    u = taste + 0.1 * torch.randn(300, 2, generator=seeded(1))
    cells = torch.rand(300, 40, generator=seeded(2)) < 0.15
    users, items = cells.nonzero(as_tuple=True)
    values = (u @ v.T)[cells] + 0.5 * torch.randn(len(users), generator=seeded(3))
    ratings = Ratings(users, items, values, n_users=301, n_items=40)  # one has none
    train, test = ratings.split(0.7, 0.3, generator=seeded(4))
    arguments = {"rank": 2, "lam": 4.0, "test": test, "generator": seeded(5)}
    zero, plain = als(train, **arguments)
    model, learned = als(train, prior_mean="learned", **arguments)
    assert learned["test"].iloc[-1] < plain["test"].iloc[-1] - 0.02
    new = torch.tensor([300]), torch.arange(40)
    assert not zero(*new).any()
    assert (model(*new) - v @ taste).square().mean().sqrt() < 0.2
    person = fold_in(model, [0], [0.0], lam=1e9, prior_mean="learned")
    average = model.U.weight.mean(0)
    torch.testing.assert_close(person.U.weight[0], average, rtol=0, atol=1e-6)


def test_complete_data_and_no_penalty_reach_the_truncated_svd():
    full, _ = make_low_rank_ratings(30, 20, 3, density=1.0, generator=seeded(0))
    matrix, _ = full.dense()
    left_out = (torch.linalg.svdvals(matrix)[3:] ** 2).sum().item()
    _, history = als(full, rank=3, lam=0.0, sweeps=100, generator=seeded(1))
    assert history["objective"].iloc[-1] == pytest.approx(left_out, rel=1e-9)


def test_rows_without_ratings_and_with_fewer_than_rank():
    train = Ratings([0, 2, 2], [1, 1, 3], [1.0, 2.0, 4.0], n_users=4, n_items=5)
    for lam in (0.0, 1.0):
        model, history = als(train, rank=3, lam=lam, biases=True, generator=seeded(0))
        for row in (1, 3):
            assert not model.U.weight[row].any()
            assert not model.user_bias.weight[row].any()
        assert np.isfinite(history).all(axis=None)
    # Without a penalty, three ratings are fitted exactly.
    _, history = als(train, rank=3, lam=0.0, generator=seeded(0))
    assert history["train"].iloc[-1] < 1e-10


def test_the_generator_decides_the_start():
    train, _ = make_low_rank_ratings(30, 20, 2, density=0.5, generator=seeded(0))
    ends = [
        als(train, rank=2, lam=1.0, sweeps=1, generator=seeded(s))[0].V.weight
        for s in (1, 1, 2)
    ]
    torch.testing.assert_close(ends[0], ends[1], **ROUNDING)
    assert not torch.equal(ends[0], ends[2])


def test_an_interrupt_leaves_the_last_complete_sweep(monkeypatch):
    train, _ = make_low_rank_ratings(30, 20, 2, density=0.5, generator=seeded(0))
    arguments = {"rank": 2, "lam": 1.0, "biases": True}
    whole, history = als(train, sweeps=2, generator=seeded(1), **arguments)
    calls = []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 6:  # the items' half of the third sweep
            raise KeyboardInterrupt
        return solve_ridge(*given)

    monkeypatch.setattr(sys.modules["mflib.als"], "solve_ridge", interrupted)
    with pytest.warns(RuntimeWarning, match="interrupted: 2 of 9 sweeps"):
        model, short = als(train, sweeps=9, generator=seeded(1), **arguments)
    pd.testing.assert_frame_equal(short, history, rtol=1e-9)
    for mine, theirs in zip(model.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, **ROUNDING)


def test_computes_in_the_dtype_asked_for():
    train, _ = make_low_rank_ratings(30, 20, 2, density=0.5, generator=seeded(0))
    arguments = {"rank": 2, "lam": 1.0, "sweeps": 5, "mean": 0.1}
    wide, exact = als(train, generator=seeded(1), **arguments)
    narrow, close = als(train, generator=seeded(1), dtype=torch.float32, **arguments)
    assert wide.U.weight.dtype == torch.float64  # the ratings' own
    assert narrow.U.weight.dtype == torch.float32
    np.testing.assert_allclose(exact, close, rtol=1e-4)
    assert not np.array_equal(exact, close)
    with pytest.raises(ValueError, match=r"dtype must be torch.float32 or .*float16"):
        als(train, dtype=torch.float16, **arguments)


def test_few_steps_of_conjugate_gradients_end_where_exact_solutions_do():
    train, _ = make_low_rank_ratings(60, 40, 2, density=0.4, generator=seeded(0))
    arguments = {"rank": 3, "lam": 4.0, "biases": True, "prior_mean": "learned"}
    exact, _ = als(train, sweeps=300, generator=seeded(1), **arguments)
    for cg_steps in (1, 2):
        near, history = als(
            train, sweeps=300, cg_steps=cg_steps, generator=seeded(1), **arguments
        )
        assert (history["objective"].diff()[1:3] < 0).all()
        pairs = torch.arange(60)[:, None], torch.arange(40)
        difference = near(*pairs) - exact(*pairs)  # the factors may be turned
        assert difference.abs().max() < 1e-6


@pytest.mark.parametrize(("every", "rows"), [(1, range(8)), (3, [0, 3, 6, 7]), (0, [])])
def test_errors_are_measured_as_often_as_asked(rated, every, rows):
    arguments = {"rank": 2, "lam": 1.0, "sweeps": 7}
    model, history = als(rated, generator=seeded(1), every=every, **arguments)
    same, each = als(rated, generator=seeded(1), **arguments)
    assert list(history.index) == list(rows)
    if every:
        pd.testing.assert_frame_equal(history, each.loc[history.index])
    torch.testing.assert_close(model.U.weight, same.U.weight)


def test_the_errors_are_those_of_the_model():
    ratings, _ = make_low_rank_ratings(30, 20, 2, density=0.5, generator=seeded(0))
    train, test = ratings.split(0.7, 0.3, generator=seeded(0))
    _, history = als(train, rank=2, lam=1.0, sweeps=3, validation=test, test=test)
    assert list(history.columns) == ["objective", "train", "validation", "test"]
    assert history.index.name == "sweep"
    assert len(history) == 4
    for biases in (False, True):
        model, history = als(
            train, rank=2, lam=1.0, biases=biases, mean=0.5, test=test, sweeps=3
        )
        assert history["train"].iloc[-1] == pytest.approx(rmse(model, train))
        assert history["test"].iloc[-1] == pytest.approx(rmse(model, test))


@pytest.fixture
def rated():
    """Raw ratings, far from zero."""
    return make_low_rank_ratings(
        40, 30, 2, density=0.4, sigma=0.3, mean=3.5, bias_tau=0.5, generator=seeded(0)
    )[0]


@pytest.mark.parametrize("biases", [False, True])
def test_goes_on_from_a_model(rated, biases):
    arguments = {"rank": 2, "lam": 1.0, "biases": biases}
    whole, history = als(
        rated, sweeps=5, mean="train", generator=seeded(1), **arguments
    )
    model, first = als(rated, sweeps=2, mean="train", generator=seeded(1), **arguments)
    before = [p.detach().clone() for p in model.parameters()]
    more, second = als(rated, sweeps=3, init=model, **arguments)
    for mine, theirs in zip(more.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, **ROUNDING)
    torch.testing.assert_close(more.mean, whole.mean, **ROUNDING)
    together = [*first["objective"], *second["objective"][1:]]
    np.testing.assert_allclose(together, history["objective"], rtol=1e-10)
    assert second["objective"].is_monotonic_decreasing
    for old, parameter in zip(before, model.parameters(), strict=True):
        assert torch.equal(old, parameter)  # the one given stays as it was


def test_goes_on_from_models_of_its_kind_only(rated):
    for rank, biases in ((3, False), (2, True)):
        init = MF(40, 30, rank, biases=biases)
        with pytest.raises(ValueError, match=r"^init must have rank=2 and b"):
            als(rated, rank=2, lam=1.0, init=init)


def test_the_training_mean_may_be_the_constant(rated):
    arguments = {"rank": 2, "lam": 1.0, "sweeps": 2}
    mean = float(rated.values.mean())
    model, history = als(rated, mean="train", generator=seeded(1), **arguments)
    same, expected = als(rated, mean=mean, generator=seeded(1), **arguments)
    assert [float(m.mean) for m in (model, same)] == pytest.approx([mean, mean])
    torch.testing.assert_close(model.V.weight, same.V.weight, **ROUNDING)
    pd.testing.assert_frame_equal(history, expected, rtol=1e-9)


@pytest.mark.parametrize("biases", [False, True])
def test_someone_new_gets_the_row_of_a_user_with_the_same_ratings(rated, biases):
    arguments = {"rank": 2, "lam": 2.0, "biases": biases, "mean": "train"}
    model, _ = als(rated, sweeps=400, generator=seeded(1), **arguments)
    mine = rated.users == 7
    person = fold_in(model, rated.items[mine], rated.values[mine], lam=2.0)
    everything = torch.arange(30)
    torch.testing.assert_close(
        person(torch.tensor(0), everything), model(torch.tensor(7), everything)
    )
    assert person.U.weight.shape == (1, 2)
    assert torch.equal(person.V.weight, model.V.weight)
    # By hand: ridge regression on v_j (and 1), whose constant is mean (+ c_j).
    x, t = model.V.weight[rated.items[mine]], rated.values[mine] - model.mean
    row = person.U.weight[0]
    if biases:
        t = t - model.item_bias.weight[rated.items[mine], 0]
        x = torch.cat([x, torch.ones(len(x), 1)], dim=1)
        row = torch.cat([row, person.user_bias.weight[0]])
    closed = torch.linalg.solve(x.T @ x + torch.eye(x.shape[1]), x.T @ t)
    torch.testing.assert_close(row, closed, rtol=0, atol=1e-10)


def test_someone_new_is_in_the_precision_and_labels_of_the_model(rated):
    labels = {"item_labels": [f"film {j}" for j in range(30)]}
    train = dataclasses.replace(rated, values=rated.values.float(), **labels)
    model, _ = als(train, rank=2, lam=2.0, sweeps=2, generator=seeded(1))
    person = fold_in(model, [3, 5], [4.0, 2.5], lam=2.0)
    assert person.U.weight.dtype == torch.float32
    assert person.item_labels is model.item_labels
    assert person.user_labels is None
    with pytest.raises(ValueError, match=r"items hold.* twice"):
        fold_in(model, [3, 3], [4.0, 2.5], lam=2.0)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"rank": 0}, ValueError),
        ({"lam": -0.1}, ValueError),
        ({"lam": float("nan")}, ValueError),
        ({"lam_per_rating": -1e-9}, ValueError),
        ({"prior_mean": 0.0}, ValueError),
        ({"sweeps": -1}, ValueError),
        ({"sweeps": 2.5}, TypeError),
        ({"cg_steps": -1}, ValueError),
        ({"every": 0.5}, TypeError),
    ],
)
def test_refuses_bad_arguments(change, error):
    train = Ratings([0], [0], [1.0], n_users=1, n_items=1)
    with pytest.raises(error, match=next(iter(change))):
        als(train, **{"rank": 1, "lam": 1.0, **change})
