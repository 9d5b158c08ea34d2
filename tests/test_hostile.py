"""What mflib promises of bad input: one table per kind of argument.

For each kind, the table says what is refused, and which arguments of which functions
are of that kind. Refused means a ValueError or TypeError of mflib's own that names the
argument, shows the value and says what to do; and nothing of the caller's has changed,
nor torch's global source of random numbers. CONTRIBUTING.md has the table in short.
"""

import inspect
import math
import re
import traceback
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

import mflib
from mflib import MF, Prior, Ratings, seeded

PACKAGE = str(Path(mflib.__file__).parent)
NAN, INF = math.nan, math.inf


# -- good arguments -------------------------------------------------------------------


def frame(**columns) -> pd.DataFrame:
    good = {"user": ["a", "b"], "item": [1, 2], "rating": [3.0, 4.0], "time": [1, 2]}
    return pd.DataFrame(good | columns)


def rated(n_users=6, n_items=5, **labels) -> Ratings:
    """Every second cell, but for user 1 and item 2, who have no ratings."""
    grid = torch.cartesian_prod(torch.arange(n_users), torch.arange(n_items))[::2]
    grid = grid[(grid[:, 0] != 1) & (grid[:, 1] != 2)]
    values = torch.randn(len(grid), generator=seeded(0)) + 3
    return Ratings(*grid.T, values, n_users=n_users, n_items=n_items, **labels)


TRAIN = rated(user_labels=list("abcdef"), item_labels=list("vwxyz"))


def model(value: float = 1.0, n_users: int = 6, rank: int = 2) -> MF:
    made = MF(n_users, 5, rank, generator=seeded(1))
    with torch.no_grad():
        made.U.weight[0, 0] = value
    return made


def posterior() -> mflib.Posterior:
    generator = seeded(0)
    return mflib.gibbs(rated(), rank=2, samples=3, burn_in=1, generator=generator)[0]


def truth() -> mflib.Truth:
    return mflib.make_low_rank_ratings(6, 5, 1, density=1.0, generator=seeded(0))[1]


def fit(model, optimizer=None, **arguments):
    """Call fit with an optimizer of the model's own."""
    if optimizer is None and isinstance(model, nn.Module):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return mflib.fit(model, optimizer=optimizer, **arguments)


def split(fraction, **arguments):
    return rated().split(fraction, 0.5, **arguments)


def pairs() -> dict[str, Any]:
    return {"users": torch.tensor([0, 3]), "items": torch.tensor([4, 2])}


def triples() -> dict[str, Any]:
    values = {"users": [0, 1, 1], "items": [0, 0, 2], "values": [1.0, 2.0, 3.0]}
    return values | {"n_users": 3, "n_items": 3}


def measured() -> dict[str, Any]:
    return {"model": model(), "ratings": rated()}


def labelled() -> MF:
    made = model()
    made.item_labels = TRAIN.item_labels
    return made


def drawn(**arguments) -> Callable[[], dict[str, Any]]:
    return lambda: arguments | {"generator": seeded(0)}


CALLS: dict[str, tuple[Callable[..., Any], Callable[[], dict[str, Any]]]] = {
    "MF": (MF, drawn(n_users=6, n_items=5, rank=2)),
    "MF()": (lambda **pair: model()(**pair), pairs),
    "Posterior()": (lambda **pair: posterior()(**pair), pairs),
    "Posterior.interval": (lambda **given: posterior().interval(**given), pairs),
    "Prior": (Prior, lambda: {"noise": 1.0, "factors": 1.0, "biases": 1.0}),
    "Ratings": (Ratings, triples),
    "Ratings.encode": (
        TRAIN.encode,
        lambda: {"users": ["b", "a"], "items": ["x", "v"]},
    ),
    "Ratings.from_frame": (Ratings.from_frame, lambda: {"frame": frame()}),
    "Ratings.split": (split, drawn(fraction=0.5)),
    "Ratings.subset": (rated().subset, lambda: {"chosen": torch.tensor([0, 2])}),
    "Truth()": (lambda **pair: truth()(**pair), pairs),
    "als": (mflib.als, drawn(train=TRAIN, rank=2, lam=1.0, sweeps=2)),
    "bias_baseline": (mflib.bias_baseline, lambda: {"train": rated()}),
    "fetch_movielens": (mflib.fetch_movielens, lambda: {"name": "latest-small"}),
    "fit": (fit, lambda: drawn(train=TRAIN, epochs=2)() | {"model": model()}),
    "fold_in": (
        mflib.fold_in,
        lambda: {"model": model(), "items": [0, 3], "values": [1.0, 2.0], "lam": 1.0},
    ),
    "gibbs": (mflib.gibbs, drawn(train=TRAIN, rank=2, samples=2, burn_in=1)),
    "l1_penalty": (mflib.l1_penalty, lambda: {"parameters": [torch.ones(2)]}),
    "l2_penalty": (mflib.l2_penalty, lambda: {"parameters": [torch.ones(2)]}),
    "mae": (mflib.mae, measured),
    "make_low_rank_ratings": (
        mflib.make_low_rank_ratings,
        drawn(n_users=6, n_items=5, rank=2, density=0.5),
    ),
    "objective": (mflib.objective, measured),
    "recommend": (
        mflib.recommend,
        lambda: {"model": model(), "train": TRAIN, "user": "a"},
    ),
    "rmse": (mflib.rmse, measured),
    "seeded": (seeded, lambda: {"seed": 0}),
    "similar": (mflib.similar, lambda: {"model": labelled(), "item": "v"}),
    "soft_threshold": (
        mflib.soft_threshold,
        lambda: {"values": torch.ones(2), "threshold": 0.5},
    ),
}


# -- what is refused, by kind of argument ---------------------------------------------


class Kind(NamedTuple):
    """What is refused of a kind of argument, and the arguments that are of it."""

    refused: dict[str, Any]
    taken: str  # call(argument, …), …

    def arguments(self) -> list[tuple[str, str]]:
        """Return the pairs of a call and an argument."""
        calls = re.findall(r"([\w.]+(?:\(\))?)\(([\w, ]+)\)", self.taken)
        return [(name, argument) for name, row in calls for argument in row.split(", ")]


NO_NUMBER = {"text": "3", "a list": [1], "NaN": NAN, "inf": INF}
NEGATIVE = {"negative": -0.5}
NO_IDS = {
    "text": ["a", "b", "c"],
    "a missing value": [0, 1, None],
    "NaN": [0, 1, NAN],
    "inf": [0, 1, INF],
    "a table": [[0], [1], [2]],
}
KINDS = {
    "count": Kind(
        {"negative": -1, "a fraction": 2.5, "text": "2", "beyond 64 bits": 2**70},
        "MF(n_users, n_items, rank), Prior(dof, user_dof), Ratings(n_users, n_items), "
        "als(rank, sweeps, cg_steps, every), bias_baseline(sweeps), "
        "fit(epochs, batch_size), gibbs(rank, samples, burn_in, thin), "
        "make_low_rank_ratings(n_users, n_items, rank), recommend(n), seeded(seed), "
        "similar(n)",
    ),
    "number": Kind(
        NO_NUMBER, "MF(mean), als(mean), gibbs(mean), make_low_rank_ratings(mean)"
    ),
    "number, at least 0": Kind(
        NO_NUMBER | NEGATIVE,
        "MF(init_std), als(lam, lam_per_rating, init_std), bias_baseline(lam), "
        "make_low_rank_ratings(tau, sigma, bias_tau), objective(lam, lam_per_rating), "
        "soft_threshold(threshold)",
    ),
    "number above 0": Kind(
        NO_NUMBER | NEGATIVE | {"zero": 0.0},
        "Posterior.interval(level), Prior(noise, factors, biases), "
        "Ratings.split(fraction), fold_in(lam), make_low_rank_ratings(density)",
    ),
    "ids, counted from 0": Kind(
        NO_IDS | {"negative": [0, 1, -1], "too large": [0, 1, 99], "half": [0, 1, 0.5]},
        "Ratings(users, items), Ratings.subset(chosen), fold_in(items)",
    ),
    "values of ratings": Kind(
        NO_IDS | {"too few": [1.0], "masked": np.ma.masked_array([1.0, 2.0, 3.0])},
        "Ratings(values), fold_in(values)",
    ),
    "ids to predict for": Kind(
        {
            "a list": [0, 1],
            "negative": torch.tensor([0, -1]),
            "too large": torch.tensor([0, 6]),
            "fractions": torch.tensor([0.0, 0.5]),
        },
        "MF()(users, items), Posterior()(users, items), Posterior.interval(users, "
        "items), Truth()(users, items)",
    ),
    "ratings": Kind(
        {"None": None, "a table": frame(), "a number": 3},
        "als(train), bias_baseline(train), fit(train), gibbs(train), mae(ratings), "
        "objective(ratings), recommend(train), rmse(ratings)",
    ),
    "held-out part": Kind(
        {
            "a table": frame(),
            "another size": rated(7),
            "other users": rated(user_labels=list("abcdeg")),
            "other items": rated(item_labels=list("vwxy!")),
        },
        "als(validation, test), fit(validation, test), gibbs(validation, test)",
    ),
    "labels of ids": Kind(
        {"too few": ["a", "b"], "one twice": ["a", "a", "b"]},
        "Ratings(user_labels, item_labels)",
    ),
    "labels to look up": Kind(
        {"unknown": ["a", "?"], "missing": ["a", None], "lists": [["a"], ["b"]]},
        "Ratings.encode(users, items)",
    ),
    "one label": Kind({"unknown": "?"}, "recommend(user), similar(item)"),
    "ratings with labels": Kind(
        {"without": rated(), "others": TRAIN, "a table": frame()},
        "Ratings.from_frame(like)",
    ),
    "generator": Kind(
        {"a seed": 0, "NumPy's": np.random.default_rng(0)},
        "MF(generator), Ratings.split(generator), als(generator), fit(generator), "
        "gibbs(generator), make_low_rank_ratings(generator)",
    ),
    "table of ratings": Kind(
        {
            "no table": [[1, 2, 3]],
            "no row": frame()[:0],
            "a column lacks": frame().drop(columns="item"),
            "a column twice": pd.concat([frame(), frame()], axis=1),
            "an id lacks": frame(user=["a", None]),
            "a rating lacks": frame(rating=[NAN, 1.0]),
            "an infinite rating": frame(rating=[INF, 1.0]),
            "a rating in text": frame(rating=["3", "4"]),
            "a pair twice": frame(user=["a", "a"], item=[1, 1]),
            "an id as number and text": frame(user=[1, "1"]),
            "ids that do not sort": frame(user=[["a"], ["b"]]),
        },
        "Ratings.from_frame(frame)",
    ),
    "name of a column": Kind(
        {"of none": "no such", "of another's": "rating"},
        "Ratings.from_frame(user, item, time)",
    ),
    "model": Kind(
        {
            "a number": 3,
            "another size": model(n_users=7),
            "NaN in it": model(NAN),
            "inf in it": model(INF),
        },
        "als(init), fit(model), objective(model)",
    ),
    "one of some words": Kind(
        {"another": "no such", "a number": 3},
        "Ratings.split(stratify), als(dtype, prior_mean), fetch_movielens(name), "
        "fold_in(prior_mean), gibbs(dtype, noise), objective(prior_mean), "
        "make_low_rank_ratings(popularity)",
    ),
    "object of a class": Kind(
        {"a number": 3, "text": "one"},
        "fit(optimizer), fold_in(model), gibbs(prior), similar(model)",
    ),
    "tensors": Kind(
        {"none of them": []}, "l1_penalty(parameters), l2_penalty(parameters)"
    ),
}
# Of these, a bad one meets Python's or torch's own error, or its function's own tests.
FREE = "biases clip columns criterion progress rated rating times"
FREE_OF = {(name, "model") for name in ("rmse", "mae", "recommend")}
FREE_OF |= {("soft_threshold", "values"), ("fold_in", "lam_per_rating")}
# What a message may call an argument instead.
ALSO = {
    "fraction": "fractions",
    "frame": "user|item|users",
    "init": "model",
    "like": "labels",
    "model": "optimizer",
    "time": "frame",
    "user": "users",
    "users": "labels",
    "item": "items|item",
}


CASES = [
    pytest.param(name, argument, value, id=f"{kind}: {name}({argument}={label})")
    for kind, table in KINDS.items()
    for name, argument in table.arguments()
    for label, value in table.refused.items()
]


def frozen(value: Any) -> Any:
    """Return what can be compared with the same after a call."""
    if isinstance(value, torch.Generator | np.random.Generator):
        return None  # it is there to be used
    if isinstance(value, nn.Module):
        return frozen(value.state_dict())
    if isinstance(value, Tensor | np.ndarray):
        return str(value.dtype), tuple(value.shape), repr(value.tolist())
    if isinstance(value, pd.DataFrame):
        return str(value.dtypes), repr(value.index), repr(value.to_numpy().tolist())
    if is_dataclass(value):
        return [frozen(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, dict):
        return {key: frozen(entry) for key, entry in value.items()}
    return repr(value)


def faults(error: Exception, argument: str, value: Any) -> list[str]:
    """Return what is wrong with an error."""
    found, message = [], str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    if not isinstance(error, ValueError | TypeError):
        found.append(f"{type(error).__name__} is no ValueError or TypeError")
    if not last.filename.startswith(PACKAGE):
        found.append(f"raised in {last.filename}")
    if not re.search(rf"\b({argument}|{ALSO.get(argument, argument)})\b", message):
        found.append(f"does not name {argument}")
    if not re.search(r"\bgot\b|\bholds?\b|\bhas\b|=|is empty", message):
        found.append("does not show the value")
    if type(value) in (int, float, str) and f"{value}"[:20] not in message:
        found.append(f"does not show {value}")
    if not re.search(
        r"must|give|pass |take |use |leave|drop|choose|[mM]ake|keep|lower", message
    ):
        found.append("does not say what to do")
    return found


def hold(arguments: dict[str, Any]) -> tuple[Any, ...]:
    return frozen(arguments), torch.get_rng_state().tolist()


@pytest.mark.parametrize(("name", "argument", "value"), CASES)
def test_what_is_refused(name, argument, value):
    function, good = CALLS[name]
    arguments = good() | {argument: value}
    before = hold(arguments)
    with pytest.raises(Exception) as caught:  # noqa: PT011
        function(**arguments)
    assert faults(caught.value, argument, value) == [], caught.value
    assert hold(arguments) == before


SAME_NUMBERS = {
    "count": [np.int64(3)],
    "number": [np.float32(0.5), np.float64(0.5), torch.tensor(0.5)],
}


@pytest.mark.parametrize("name", [name for name in CALLS if name != "fetch_movielens"])
def test_good_arguments_are_left_as_they_were(name):
    function, good = CALLS[name]
    arguments = good()
    before = hold({key: value for key, value in arguments.items() if key != "model"})
    function(**arguments)
    after = {key: value for key, value in arguments.items() if key != "model"}
    assert hold(after) == before
    if name != "fit":  # which is there to change its model
        assert frozen(arguments) == frozen(good())
    for kind, table in KINDS.items():
        numbers = SAME_NUMBERS.get(kind.split()[0].strip(","), [])
        for call, argument in table.arguments():
            for number in numbers if call == name else []:
                function(**good() | {argument: number})


def test_no_function_and_no_argument_is_forgotten():
    called = {name.split("(")[0].split(".")[0] for name in CALLS}
    # Errors, and a step that gibbs checks for.
    others = {"DataUnavailableError", "DivergenceError", "gibbs_step"}
    assert called | others == set(mflib.__all__)
    listed = {pair for kind in KINDS.values() for pair in kind.arguments()}
    for name in set(mflib.__all__) & set(CALLS):
        for argument in inspect.signature(getattr(mflib, name)).parameters:
            known = {(name, argument)} & (listed | FREE_OF) or argument in FREE.split()
            assert known, (name, argument)
