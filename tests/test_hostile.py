"""Hostile arguments to every public name: a right answer, or an error that helps.

For each argument, each kind of hostile value is tried in turn. Allowed is a finite
result of the right shape, or an error of mflib's own that names the argument, shows the
value and says what to do. Whatever happens, what the caller gave stays as it was, and
so does torch's global source of random numbers where a generator was given.

``MFLIB_HOSTILE_TABLE=file`` has the table of what was tried written to that file.
"""

import inspect
import math
import os
import re
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from IPython.display import HTML, Markdown
from matplotlib.axes import Axes
from torch import Tensor, nn

import mflib
from mflib import MF, DivergenceError, Prior, Ratings, seeded
from mflib.als import Data
from mflib.gibbs import Rows, State, prior_scale

PACKAGE = str(Path(mflib.__file__).parent)
NAN, INF = math.nan, math.inf
TRIED: dict[tuple[str, str, str], dict[str, None]] = {}


@pytest.fixture(autouse=True, scope="module")
def outcomes():
    plt.switch_backend("agg")
    yield
    plt.close("all")
    if path := os.environ.get("MFLIB_HOSTILE_TABLE"):
        Path(path).write_text(table(), encoding="utf-8")


def table() -> str:
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}
    for (name, argument, label), happened in TRIED.items():
        kinds = rows.setdefault((name, argument), {})
        kinds.setdefault(" or ".join(sorted(happened)), []).append(label)
    lines = ["| call | argument | what happens to which values |", "|---|---|---|"]
    for (name, argument), kinds in rows.items():
        what = "; ".join(f"{key}: {', '.join(kinds[key])}" for key in sorted(kinds))
        lines.append(f"| `{name}` | `{argument}` | {what} |")
    return "\n".join(lines) + "\n"


# -- hostile values, by kind ----------------------------------------------------------

NO_NUMBER = {
    "None": st.none(),
    "text": st.text(max_size=5),
    "a list": st.lists(st.integers(), max_size=2),
    "True": st.just(True),
    "complex": st.just(1j),
    "pandas' NA": st.just(pd.NA),
}
NUMBERS = NO_NUMBER | {
    "NaN": st.just(NAN),
    "±inf": st.sampled_from([INF, -INF, np.float32(INF), torch.tensor(INF)]),
    "0": st.sampled_from([0, 0.0, -0.0]),
    "negative": st.floats(-1e100, -1e-100),
    "huge": st.sampled_from([1e99, 1e200, -1e308, 10**400]),
    "tiny": st.sampled_from([5e-324, 1e-200, 1e-90]),
    "any float": st.floats(),
}
COUNTS = NO_NUMBER | {
    "NaN": st.just(NAN),
    "±inf": st.sampled_from([INF, -INF]),
    "0": st.just(0),
    "negative": st.integers(max_value=-1),
    "huge": st.integers(min_value=2**31),
    "no whole number": st.floats(0.1, 9.9),
    "a whole float": st.just(2.0),
    "a NumPy integer": st.sampled_from([np.int8(2), np.uint64(2)]),
}
FLAGS = {
    k: v for k, v in NUMBERS.items() if k in ("None", "text", "NaN", "0", "a list")
}
GENERATORS = {
    "a seed": st.integers(),
    "text": st.text(max_size=3),
    "NumPy's": st.builds(np.random.default_rng, st.just(0)),
}
OBJECTS = {
    "None": st.none(),
    "a number": st.floats(-9, 9),
    "text": st.text(max_size=5),
    "a list": st.lists(st.floats(), max_size=3),
    "a tensor": st.builds(torch.zeros, st.just(3)),
    "a frame": st.builds(pd.DataFrame),
}
DTYPES = {
    "text": st.just("float64"),
    "NumPy's": st.just(np.float64),
    "too narrow": st.sampled_from([torch.float16, torch.bfloat16, torch.int64]),
    "float32": st.just(torch.float32),
}


def without(label: str, kinds: Mapping) -> dict[str, st.SearchStrategy]:
    return {key: kind for key, kind in kinds.items() if key != label}


def cells(n_users: int = 6, n_items: int = 5) -> tuple[Tensor, Tensor]:
    """Every second cell, but for user 1 and item 2, who have no ratings."""
    grid = torch.cartesian_prod(torch.arange(n_users), torch.arange(n_items))[::2]
    grid = grid[(grid[:, 0] != 1) & (grid[:, 1] != 2)]
    return grid[:, 0], grid[:, 1]


def rated(values=None, dtype=None, n_users=6, n_items=5) -> Ratings:
    users, items = cells(n_users, n_items)
    if values is None:
        values = torch.randn(len(users), generator=seeded(0), dtype=dtype) + 3
    return Ratings(users, items, values, n_users=n_users, n_items=n_items)


def full(value: float, dtype=None) -> Ratings:
    return rated(torch.full((len(cells()[0]),), value, dtype=dtype))


RATINGS = OBJECTS | {
    "all equal": st.builds(full, st.sampled_from([0.0, 3.0, -1e9])),
    "a single one": st.builds(
        lambda: Ratings([3], [4], [2.0], n_users=6, n_items=5),
    ),
    "huge": st.builds(full, st.sampled_from([1e77, 1e99])),
    "tiny": st.builds(full, st.sampled_from([1e-300, 1e-30])),
    "float32": st.builds(rated, dtype=st.just(torch.float32)),
    "huge in float32": st.builds(full, st.just(1e18), st.just(torch.float32)),
}
PARTS = without("None", RATINGS) | {
    "of another size": st.builds(rated, n_users=st.just(7)),
}


def arrays(elements: st.SearchStrategy, n: int) -> dict[str, st.SearchStrategy]:
    """Hostile arrays of a length n, whose good entries are these elements."""
    some = st.lists(elements, min_size=n, max_size=n)

    def spoilt(bad):
        return some.map(lambda entries: np.array([*entries[1:], bad], dtype=float))

    def read_only(entries):
        array = np.repeat(np.array(entries), 2)[::2]  # and not contiguous
        array.setflags(write=False)
        return array

    return {
        "None": st.none(),
        "a number": st.floats(-9, 9),
        "text": st.text(min_size=1, max_size=5),
        "empty": st.just([]),
        "one entry": elements.map(lambda e: [e]),
        "NaN in it": spoilt(NAN),
        "±inf in it": st.sampled_from([INF, -INF]).flatmap(spoilt),
        "negative": spoilt(-1.0),
        "huge": st.sampled_from([1e300, 2.0**70]).flatmap(spoilt),
        "half": spoilt(0.5),
        "of text": some.map(lambda entries: list(map(str, entries))),
        "of bool": st.just([True] * n),
        "of objects with None": some.map(lambda entries: [*entries[1:], None]),
        "pandas with missing": some.map(
            lambda entries: pd.Series([*entries[1:], None], dtype="Float64")
        ),
        "complex": st.just(torch.ones(n, dtype=torch.complex64)),
        "a column": some.map(lambda entries: np.array(entries)[:, None]),
        "lists of lists": st.just([[1], [1, 2]]),
        "read-only, strided": some.map(read_only),
        "float32": some.map(lambda entries: np.array(entries, dtype="f4")),
        "int8": some.map(lambda entries: np.array(entries).astype("i1")),
        "requires a gradient": some.map(
            lambda entries: torch.tensor(entries, dtype=float, requires_grad=True)
        ),
    }


PAIRS = {  # ids to predict for, where a model has 6 users and 5 items
    "None": st.none(),
    "a number": st.just(2),
    "a list": st.just([0, 1]),
    "negative": st.integers(-(2**63), -1).map(lambda i: torch.tensor([0, i])),
    "huge": st.integers(6, 2**63 - 1).map(lambda i: torch.tensor([0, i])),
    "floats": st.just(torch.tensor([0.0, NAN])),
    "bool": st.just(torch.tensor([True, False])),
    "uint8": st.just(torch.tensor([1, 0], dtype=torch.uint8)),
    "one id": st.builds(lambda: torch.tensor([1])),
    "empty": st.builds(lambda: torch.tensor([], dtype=torch.int64)),
    "without ratings": st.builds(lambda: torch.tensor([1, 2])),
    "int32": st.just(torch.tensor([1, 2], dtype=torch.int32)),
    "not contiguous": st.builds(lambda: torch.tensor([[1, 2], [2, 3]]).T[0]),
}
TENSORS = {
    "None": st.none(),
    "a number": st.floats(-9, 9),
    "a list": st.just([1.0, 2.0]),
    "NaN in it": st.builds(lambda: torch.tensor([1.0, NAN])),
    "±inf in it": st.builds(lambda: torch.tensor([-INF, INF])),
    "huge": st.builds(lambda: torch.tensor([1e300, 1.0])),
    "empty": st.builds(lambda: torch.tensor([])),
    "complex": st.builds(lambda: torch.tensor([1j])),
    "bool": st.builds(lambda: torch.tensor([True])),
    "of whole numbers": st.builds(lambda: torch.tensor([1, -2])),
    "sparse": st.builds(lambda: torch.eye(2).to_sparse()),
    "not contiguous": st.builds(lambda: torch.randn(4, 2)[::2].T),
}
MODELS = without("a tensor", OBJECTS) | {
    "of another size": st.builds(lambda: MF(7, 5, 2)),
    "with NaN": st.builds(lambda: spoilt_model(NAN)),
    "with inf": st.builds(lambda: spoilt_model(INF)),
    "huge factors": st.builds(lambda: spoilt_model(1e200)),
    "rank above N and M": st.builds(lambda: MF(6, 5, 20, generator=seeded(0))),
}
CALLED = MODELS | {
    "returns a column": st.just(lambda users, items: torch.zeros(len(users), 1)),
    "returns a number": st.just(lambda users, items: 3.0),
    "returns NaN": st.just(lambda users, items: torch.full((len(users),), NAN)),
}
FRAMES = {
    "None": st.none(),
    "a list": st.just([1.0]),
    "empty": st.builds(pd.DataFrame),
    "text in it": st.builds(lambda: pd.DataFrame({"test": ["a", "b"]}, named())),
    "all NaN": st.builds(lambda: pd.DataFrame({"test": [NAN, NAN]}, named())),
    "inf in it": st.builds(lambda: pd.DataFrame({"test": [1.0, INF]}, named())),
    "missing in it": st.builds(
        lambda: pd.DataFrame({"test": pd.array([1.0, None], "Float64")}, named())
    ),
    "one row": st.builds(lambda: pd.DataFrame({"test": [1.0]}, named()[:1])),
    "one name twice": st.builds(
        lambda: pd.DataFrame([[1.0, 2.0]] * 2, named(), columns=["a", "a"])
    ),
}


def named() -> pd.Index:
    return pd.Index([1.0, 2.0], name="λ")


def spoilt_model(value: float) -> MF:
    model = good_model()
    with torch.no_grad():
        model.U.weight[0, 0] = value
        model.V.weight[:, 0] = value
    return model


# -- the calls ------------------------------------------------------------------------


@dataclass
class Call:
    """How to call a public name well, and what each argument may be instead."""

    function: Callable[..., Any]
    good: Callable[[], dict[str, Any]]
    hostile: dict[str, Mapping[str, st.SearchStrategy]]
    right: Callable[[Any, dict[str, Any]], bool]
    also: dict[str, str] | None = None  # what messages may call an argument instead
    changes: tuple[str, ...] = ()  # what the function is there to change


def good_model(biases: bool = True) -> MF:
    return MF(6, 5, 2, biases=biases, generator=seeded(1))


def data_and_state() -> tuple[Data, State]:
    data = Data(rated(), 2)
    scale = prior_scale(Prior(1.0, 1.0, 1.0), data)
    users, items = (torch.randn(n, 3, generator=seeded(n)) for n in (6, 5))
    return data, State(
        Rows(users, torch.zeros(3), scale),
        Rows(items, torch.zeros(3), scale),
        torch.tensor(1.0),
    )


def rows_call() -> dict[str, Any]:
    data, state = data_and_state()
    names = ("ratings", "targets", "features")
    half = dict(zip(names, data.user_half(state.items.values), strict=True))
    noise = state.alpha
    return {
        "rows": state.users,
        **half,
        "alpha": noise,
        "generator": seeded(0),
    }


def fit_call() -> dict[str, Any]:
    model = good_model()
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    return {
        "model": model,
        "train": rated(),
        "optimizer": adam,
        "epochs": 2,
        "generator": seeded(0),
    }


def fit_any(lr=None, **arguments):
    """Call fit; an optimizer is made for the model where there is none."""
    if lr is not None:
        arguments["optimizer"] = torch.optim.SGD(arguments["model"].parameters(), lr)
    model = arguments["model"]
    if isinstance(model, nn.Module) and "own" in arguments:
        arguments["optimizer"] = torch.optim.SGD(model.parameters(), 0.01)
    arguments.pop("own", None)
    return mflib.fit(**arguments)


def fitted_posterior() -> mflib.Posterior:
    generator = seeded(0)
    return mflib.gibbs(rated(), rank=2, samples=3, burn_in=1, generator=generator)[0]


def csv_file() -> Path:
    return CSV


CSV = Path()


@pytest.fixture(autouse=True, scope="module")
def csv(tmp_path_factory):
    global CSV
    CSV = tmp_path_factory.mktemp("hostile") / "own.csv"
    CSV.write_text("userId,movieId,rating\n1,2,3\n1,3,4\n2,2,5\n", encoding="utf-8")


def two() -> dict[str, Tensor]:
    return {"users": torch.tensor([0, 3]), "items": torch.tensor([4, 2])}


def frame() -> pd.DataFrame:
    return pd.DataFrame({"user": ["a", "b"], "item": [1, 1], "rating": [3.0, 4.0]})


def slider_call() -> dict[str, Any]:
    return {
        "errors": pd.DataFrame({"train": [1.0, 2.0]}, named()),
        "x": [0.0, 1.0, 2.0],
        "fits": {"fit": [[0.0, 1.0, 2.0], [1.0, 1.0, 1.0]]},
        "description": "moves",
        "points": ([0.0, 1.0], [0.0, 1.0]),
        "truth": [0.0, 0.5, 1.0],
    }


def of_pairs(result, arguments) -> bool:
    results = result if isinstance(result, tuple) else (result,)
    shape = torch.broadcast_shapes(*(arguments[n].shape for n in ("users", "items")))
    return all(r.shape == shape for r in results)


def of_size(result, arguments) -> bool:
    model, history = result
    names = ["objective", "train", "validation", "test"]
    given = [n for n in names if n in arguments or n in ("objective", "train")]
    return (
        model.U.weight.shape == (6, arguments["rank"])
        and model.V.weight.shape == (5, arguments["rank"])
        and model.U.weight.dtype in (torch.float32, torch.float64)
        and list(history.columns) == given
        and len(history) == arguments.get("sweeps", 20) + 1
    )


MF_ARGUMENTS = {
    "rank": COUNTS | {"above N and M": st.integers(7, 40), "huge": st.just(2**31)},
    "mean": NUMBERS,
    "init_std": NUMBERS,
    "generator": GENERATORS,
}
FITTED = {"train": RATINGS, "validation": PARTS, "test": PARTS, "progress": FLAGS}
CALLS = {
    "MF": Call(
        MF,
        lambda: {"n_users": 6, "n_items": 5, "rank": 2, "generator": seeded(0)},
        {"n_users": COUNTS, "n_items": COUNTS, "biases": FLAGS, **MF_ARGUMENTS},
        lambda model, a: (
            model.U.weight.shape == (a["n_users"], a["rank"])
            and model.V.weight.shape == (a["n_items"], a["rank"])
        ),
    ),
    "MF()": Call(
        lambda **a: good_model()(**a), two, {"users": PAIRS, "items": PAIRS}, of_pairs
    ),
    "Prior": Call(
        Prior,
        lambda: {"noise": 1.0, "factors": 1.0, "biases": 1.0},
        {"noise": NUMBERS, "factors": NUMBERS, "biases": NUMBERS, "dof": COUNTS},
        lambda prior, a: all(getattr(prior, name) == a[name] for name in a),
    ),
    "Posterior()": Call(
        lambda **a: fitted_posterior()(**a),
        two,
        {"users": PAIRS, "items": PAIRS},
        of_pairs,
    ),
    "Posterior.moments": Call(
        lambda **a: fitted_posterior().moments(**a),
        two,
        {"users": PAIRS, "items": PAIRS},
        of_pairs,
    ),
    "Posterior.interval": Call(
        lambda **a: fitted_posterior().interval(**a),
        two,
        {"users": PAIRS, "items": PAIRS, "level": NUMBERS | {"1": st.just(1.0)}},
        of_pairs,
    ),
    "Truth()": Call(
        lambda **a: mflib.make_low_rank_ratings(
            6, 5, 1, density=1.0, generator=seeded(0)
        )[1](**a),
        two,
        {"users": PAIRS, "items": PAIRS},
        of_pairs,
    ),
    "Ratings": Call(
        Ratings,
        lambda: {
            "users": [0, 1, 1],
            "items": [0, 0, 2],
            "values": [1.0, 2.0, 3.0],
            "n_users": 3,
            "n_items": 3,
        },
        {
            "users": arrays(st.integers(0, 2), 3)
            | {"a pair twice": st.just([1, 1, 1]), "above N": st.just([0, 3, 1])},
            "items": arrays(st.integers(0, 2), 3),
            "values": arrays(st.floats(-9, 9), 3),
            "n_users": COUNTS,
            "n_items": COUNTS,
            "user_labels": OBJECTS | {"NaN twice": st.just([1.0, NAN, NAN])},
            "item_labels": OBJECTS | {"lists": st.just([[1], [2], [3]])},
            "times": arrays(st.integers(0, 9), 3),
        },
        lambda r, a: (
            r.users.dtype == r.items.dtype == torch.int64
            and r.users.shape == r.items.shape == r.values.shape == (3,)
            and r.values.is_floating_point()
            and not r.values.requires_grad
        ),
    ),
    "Ratings.from_frame": Call(
        Ratings.from_frame,
        lambda: {"frame": frame()},
        {
            "frame": {
                **OBJECTS,
                "missing ids": st.builds(lambda: frame().assign(user=["a", None])),
                "missing ratings": st.builds(lambda: frame().assign(rating=[NAN, 1])),
                "infinite ratings": st.builds(lambda: frame().assign(rating=[INF, 1])),
                "pandas' NA": st.builds(
                    lambda: frame().assign(rating=pd.array([1, None], "Int64"))
                ),
                "text": st.builds(lambda: frame().assign(rating=["3", "4"])),
                "a pair twice": st.builds(lambda: frame().assign(user=["a", "a"])),
                "one row": st.builds(lambda: frame()[:1]),
                "ids of two kinds": st.builds(lambda: frame().assign(user=[1, "a"])),
            },
            "user": OBJECTS | {"another's": st.just("item")},
            "item": OBJECTS,
            "rating": OBJECTS,
            "time": OBJECTS | {"another's": st.just("item")},
            "like": without("None", RATINGS),
        },
        lambda r, a: len(r) == len(a["frame"]),
        also={"frame": r"frame|values", "user": "user|frame"},
    ),
    "Ratings.subset": Call(
        lambda **a: rated().subset(**a),
        lambda: {"chosen": torch.tensor([0, 2])},
        {
            "chosen": OBJECTS
            | arrays(st.sampled_from([0, 1]), 2)
            | {
                "a mask that is too short": st.just(torch.tensor([True])),
                "a mask of none": st.builds(lambda: torch.zeros(10, dtype=bool)),
                "one twice": st.just(torch.tensor([1, 1])),
            }
        },
        lambda r, a: len(r) == len(a["chosen"]),
        also={"chosen": "chosen|twice"},
    ),
    "Ratings.dense": Call(
        lambda n: Ratings([0], [0], [1.0], n_users=n, n_items=n).dense(),
        lambda: {"n": 5},
        {"n": {"too large for memory": st.just(2**31 - 1)}},
        lambda result, a: all(r.shape == (a["n"], a["n"]) for r in result),
        also={"n": "n_users"},
    ),
    "Ratings.split": Call(
        lambda share, **a: rated().split(share, 0.5, **a),
        lambda: {"share": 0.5, "generator": seeded(0)},
        {
            "share": NUMBERS | {"a part stays empty": st.just(1e-9)},
            "generator": GENERATORS | {"None": st.none()},
            "stratify": {"text": st.text(), "True": st.just(True), "0": st.just(0)},
        },
        lambda parts, a: sum(map(len, parts)) == len(rated()),
        also={"share": "fractions"},
    ),
    "als": Call(
        mflib.als,
        lambda: {
            "train": rated(),
            "rank": 2,
            "lam": 1.0,
            "sweeps": 2,
            "generator": seeded(0),
        },
        {
            **FITTED,
            **MF_ARGUMENTS,
            "lam": NUMBERS,
            "lam_per_rating": NUMBERS,
            "prior_mean": {"text": st.text(), "None": st.none()},
            "sweeps": COUNTS,
            "biases": FLAGS,
            "dtype": DTYPES,
        },
        of_size,
        also={"train": "train|ratings", "test": "test|ratings"},
    ),
    "bias_baseline": Call(
        mflib.bias_baseline,
        lambda: {"train": rated()},
        {"train": RATINGS, "lam": NUMBERS, "sweeps": COUNTS},
        lambda model, a: model.user_bias.weight.shape == (6, 1),
    ),
    "draw_factors": Call(
        mflib.draw_factors,
        rows_call,
        {
            "rows": OBJECTS
            | {
                "with NaN": st.builds(
                    lambda: Rows(
                        torch.zeros(6, 3), torch.full((3,), NAN), torch.ones(3)
                    )
                ),
                "no precision": st.builds(
                    lambda: Rows(torch.zeros(6, 3), torch.zeros(3), torch.zeros(3))
                ),
                "another size": st.builds(
                    lambda: Rows(torch.zeros(7, 3), torch.zeros(3), torch.ones(3))
                ),
            },
            "ratings": OBJECTS,
            "targets": TENSORS,
            "features": TENSORS,
            "alpha": NUMBERS
            | {
                f"a tensor with {value}": st.just(torch.tensor(value))
                for value in (NAN, INF, 0.0, -1.0, 1e300)
            },
            "generator": GENERATORS,
        },
        lambda drawn, a: drawn.shape == (6, 3),
    ),
    "fetch_movielens": Call(
        mflib.fetch_movielens,
        lambda: {"name": csv_file()},
        {
            "name": OBJECTS | {"no file": st.just("none.csv"), "NUL": st.just("\0")},
            "columns": OBJECTS
            | {"of numbers": st.just((1, 2, 3)), "one twice": st.just(("rating",) * 3)},
        },
        lambda result, a: len(result[0]) == 3,
    ),
    "fit": Call(
        fit_any,
        fit_call,
        {
            "model": MODELS,
            **FITTED,
            "optimizer": OBJECTS
            | {"of another model": st.builds(lambda: fit_call()["optimizer"])},
            "lr": {"diverges": st.sampled_from([1e3, 1e9, 1e200])},
            "epochs": COUNTS,
            "criterion": without("None", OBJECTS)
            | {
                "returns no scalar": st.just(nn.MSELoss(reduction="none")),
                "returns a number": st.just(lambda p, r: 1.0),
                "returns NaN": st.just(lambda p, r: p.sum() * NAN),
                "is constant": st.just(lambda p, r: torch.tensor(1.0)),
            },
            "batch_size": without("None", COUNTS),
            "generator": GENERATORS,
        },
        lambda history, a: history.shape[0] == a["epochs"] + 1,
        also={"lr": "learning rate", "model": "model|optimizer"},
        changes=("model", "optimizer"),
    ),
    "gibbs": Call(
        mflib.gibbs,
        lambda: {
            "train": rated(),
            "rank": 2,
            "samples": 2,
            "burn_in": 1,
            "generator": seeded(0),
        },
        {
            **FITTED,
            "rank": MF_ARGUMENTS["rank"],
            "samples": COUNTS,
            "burn_in": COUNTS,
            "thin": COUNTS,
            "biases": FLAGS,
            "mean": NUMBERS,
            "prior": without("None", OBJECTS)
            | {
                "tiny scales": st.builds(Prior, *[st.just(1e-90)] * 3),
                "huge scales": st.builds(Prior, *[st.just(1e90)] * 3),
            },
            "generator": GENERATORS | {"None": st.none()},
            "dtype": DTYPES,
        },
        lambda result, a: (
            result[0].U.shape == (a["samples"], 6, a["rank"])
            and len(result[1]) == a["samples"]
        ),
        also={"train": "train|ratings", "test": "test|ratings"},
    ),
    "gibbs_step": Call(
        mflib.gibbs_step,
        lambda: {
            "state": data_and_state()[1],
            "data": data_and_state()[0],
            "prior": Prior(1.0, 1.0, 1.0),
            "generator": seeded(0),
        },
        {
            "state": OBJECTS
            | {
                "with NaN": st.builds(
                    lambda: State(
                        data_and_state()[1].users,
                        data_and_state()[1].items,
                        torch.tensor(NAN),
                    )
                )
            },
            "data": OBJECTS,
            "prior": OBJECTS,
            "generator": GENERATORS,
        },
        lambda state, a: state.users.values.shape == (6, 3),
        also={"state": "state|alpha"},
    ),
    "l1_penalty": Call(
        mflib.l1_penalty,
        lambda: {"parameters": torch.ones(2)},
        {"parameters": TENSORS | {"an empty list": st.just([])}},
        lambda total, a: total.shape == (),
    ),
    "l2_penalty": Call(
        mflib.l2_penalty,
        lambda: {"parameters": torch.ones(2)},
        {"parameters": TENSORS | {"an empty list": st.just([])}},
        lambda total, a: total.shape == (),
    ),
    "soft_threshold": Call(
        mflib.soft_threshold,
        lambda: {"values": torch.ones(2), "threshold": 0.5},
        {"values": TENSORS, "threshold": NUMBERS},
        lambda result, a: result.shape == a["values"].shape,
    ),
    "make_low_rank_ratings": Call(
        mflib.make_low_rank_ratings,
        lambda: {
            "n_users": 6,
            "n_items": 5,
            "rank": 2,
            "density": 0.5,
            "generator": seeded(0),
        },
        {
            "n_users": COUNTS | {"too many cells": st.just(2**31 - 1)},
            "n_items": COUNTS,
            "rank": MF_ARGUMENTS["rank"],
            "density": NUMBERS | {"above 1": st.floats(1.001, 99)},
            "tau": NUMBERS,
            "sigma": NUMBERS,
            "mean": NUMBERS,
            "bias_tau": NUMBERS,
            "popularity": {"text": st.text(), "None": st.none()},
            "generator": GENERATORS | {"None": st.none()},
        },
        lambda result, a: (
            len(result[0]) == round(a["density"] * a["n_users"] * a["n_items"])
        ),
    ),
    "objective": Call(
        mflib.objective,
        lambda: {"model": good_model(), "ratings": rated()},
        {
            "model": CALLED,
            "ratings": RATINGS,
            "lam": NUMBERS,
            "lam_per_rating": NUMBERS,
            "prior_mean": {"text": st.text(), "None": st.none()},
        },
        lambda J, a: J.shape == (),
    ),
    "plot_errors": Call(
        mflib.plot_errors,
        lambda: {"errors": pd.DataFrame({"train": [1.0, 2.0]})},
        {
            "errors": FRAMES,
            "noise_floor": without("None", NUMBERS),
            "ylabel": without("text", OBJECTS),
            "ax": without("None", OBJECTS),
        },
        lambda ax, a: len(ax.lines) >= 1,
    ),
    "plot_observed": Call(
        mflib.plot_observed,
        lambda: {"ratings": rated()},
        {"ratings": RATINGS, "ax": without("None", OBJECTS)},
        lambda ax, a: len(ax.collections[0].get_offsets()) == len(a["ratings"]),
    ),
    "seeded": Call(
        mflib.seeded,
        lambda: {"seed": 0},
        {"seed": COUNTS | {"huge": st.integers(min_value=2**40)}},
        lambda generator, a: generator.initial_seed() == a["seed"],
    ),
    "show_source": Call(
        mflib.show_source,
        lambda: {"thing": mflib.fit},
        {"thing": OBJECTS | {"built in": st.sampled_from([len, int])}},
        lambda shown, a: "def fit" in shown.data,
    ),
    "slider_figure": Call(
        mflib.slider_figure,
        slider_call,
        {
            "errors": FRAMES,
            "x": arrays(st.floats(0, 1), 3) | {"falling": st.just([2.0, 1.0, 0.0])},
            "fits": OBJECTS
            | {
                "wrong shape": st.just({"fit": [1.0]}),
                "NaN": st.just({"fit": [[NAN] * 3] * 2}),
                "text": st.just({"fit": "abc"}),
            },
            "description": without("text", OBJECTS),
            "points": without("None", OBJECTS)
            | {
                "two lengths": st.just(([1.0], [1.0, 2.0])),
                "NaN": st.just(([NAN],) * 2),
            },
            "truth": {
                k: v for k, v in arrays(st.floats(0, 1), 3).items() if k != "None"
            },
            "xlabel": without("text", OBJECTS),
            "ylabel": without("text", OBJECTS),
            "ylabel_errors": without("text", OBJECTS),
            "start": COUNTS | {"above": st.just(2)},
        },
        lambda html, a: "<svg" in html.data,
    ),
    "use_style": Call(mflib.use_style, dict, {}, lambda result, a: result is None),
}
for measure in ("rmse", "mae"):
    CALLS[measure] = Call(
        getattr(mflib, measure),
        lambda: {"model": good_model(), "ratings": rated()},
        {
            "model": CALLED,
            "ratings": RATINGS,
            "clip": without("None", OBJECTS)
            | {
                "NaN": st.just((NAN, 5.0)),
                "falling": st.just((5.0, 1.0)),
                "three": st.just((1.0, 2.0, 3.0)),
            },
        },
        lambda error, a: error >= 0,
    )

# Nothing to call: two tables of looks, and errors, which mflib itself makes.
NO_CALL = {"LINES", "PALETTE", "DataUnavailableError", "DivergenceError"}
# gibbs makes a Posterior, make_low_rank_ratings a Truth; their methods are in CALLS.


def test_no_public_name_and_no_argument_is_forgotten():
    tried = {name.split("(")[0].split(".")[0] for name in CALLS}
    assert tried | NO_CALL == set(mflib.__all__)
    for name, call in CALLS.items():
        if name in mflib.__all__ and name != "fit":
            assert set(inspect.signature(call.function).parameters) == set(
                call.hostile
            ), name
        for argument in call.good():
            assert name == "fit" or argument in call.hostile


# -- what must hold -------------------------------------------------------------------


def frozen(value: Any) -> Any:
    """Return what can be compared with the same after a call."""
    if isinstance(value, torch.Generator):
        return None  # it is there to be used
    if isinstance(value, nn.Module):
        return frozen(value.state_dict())
    if isinstance(value, Tensor):
        dense = value.detach().to_dense()
        return (
            str(value.dtype),
            tuple(value.shape),
            dense.resolve_conj().tolist().__repr__(),
        )
    if isinstance(value, np.ndarray):
        return (
            str(value.dtype),
            value.shape,
            value.flags.writeable,
            repr(value.tolist()),
        )
    if isinstance(value, pd.DataFrame | pd.Series):
        types = value.dtypes if isinstance(value, pd.DataFrame) else value.dtype
        return str(types), repr(value.index.tolist()), repr(value.to_numpy().tolist())
    if is_dataclass(value):
        return [frozen(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, dict):
        return {key: frozen(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(entry) for entry in value]
    return repr(value)


def all_finite(value: Any) -> bool:
    if isinstance(value, nn.Module):
        return all(torch.isfinite(entry).all() for entry in value.state_dict().values())
    if isinstance(value, Tensor):
        return bool(torch.isfinite(value).all())
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, pd.DataFrame):
        return bool(np.isfinite(value.select_dtypes("number")).all(axis=None))
    if is_dataclass(value):
        return all(all_finite(getattr(value, f.name)) for f in fields(value))
    if isinstance(value, tuple):
        return all(map(all_finite, value))
    known = (
        Axes,
        HTML,
        Markdown,
        torch.Generator,
        pd.Index,
        int,
        np.integer,
        type(None),
    )
    assert value is None or isinstance(value, known), f"what is a {type(value)}?"
    return True


def faults(error: Exception, argument: str, value: Any, also: str = "") -> list[str]:
    """Return what is wrong with an error."""
    found, message = [], str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    if not isinstance(error, ValueError | TypeError | mflib.DataUnavailableError):
        found.append(f"{type(error).__name__} is no error of ours")
    if not last.filename.startswith(PACKAGE):
        found.append(f"raised in {last.filename}")
    if not re.search(rf"\b({also or argument})\b", message):
        found.append(f"does not name {argument}")
    if not re.search(r"\bgot\b|\bholds?\b|\bhas\b|=|is empty|error of", message):
        found.append("does not show the value")
    if type(value) in (int, float) and abs(value) < 2**60 and argument != "lr":
        shown = message.replace(",", "")
        if str(value) not in shown and f"{value:g}" not in shown:
            found.append(f"does not show {value}")
    if not re.search(
        r"must|give|pass |take |use |leave|drop|choose|make|keep|lower|name ", message
    ):
        found.append("does not say what to do")
    return found


def outcome(call: Call, argument: str, value: Any) -> str:
    """Make the call and return what happened, or fail."""
    arguments = call.good() | {argument: value}
    if call.function is fit_any and argument == "model":
        arguments["own"] = True
    before, source = frozen(arguments), torch.get_rng_state()
    also = (call.also or {}).get(argument, "")
    diverged = False
    try:
        result = call.function(**arguments)
    except Exception as error:
        diverged = isinstance(error, DivergenceError)
        wrong = faults(error, argument, value, also)
        if wrong:
            raise AssertionError(f"{type(error).__name__}: {error}\n{wrong}") from None
        happened = f"`{type(error).__name__}`"
        changed = call.changes if diverged or "criterion" in arguments else ()
    else:
        assert all_finite(result), result
        assert call.right(result, arguments), result
        happened, changed = "a finite result", call.changes
    after = frozen(arguments)
    for name in before:
        assert name in changed or after[name] == before[name], f"{name} was changed"
    assert torch.equal(torch.get_rng_state(), source), "drew from the global source"
    plt.close("all")
    return happened


CASES = [(name, argument) for name, call in CALLS.items() for argument in call.hostile]


@pytest.mark.parametrize(("name", "argument"), CASES)
@settings(
    max_examples=4,
    phases=[Phase.generate],  # the values are small already
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_hostile_arguments(name, argument, data):
    call = CALLS[name]
    for label, strategy in call.hostile[argument].items():
        value = data.draw(strategy, label)
        try:
            happened = outcome(call, argument, value)
        except AssertionError as error:
            raise AssertionError(
                f"{name}({argument}={value!r:.200}), {label}: {error}"
            ) from error
        TRIED.setdefault((name, argument, label), {})[happened] = None
