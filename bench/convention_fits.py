"""Long fits with one λ in each library, each in a process of its own.

This file runs in each library's own environment, so each fit imports its library only
when it is called. It leaves what was fitted as tables: factors U and V, biases b and c,
and the mean; ``bench.conventions`` measures what λ they were fitted with.
"""

# ruff: noqa: D103 -- a fit does what its name says

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .libraries import (
    Data,
    cornac_dataset,
    lenskit_dataset,
    one_hot,
    sparse_matrix,
    surprise_trainset,
)

Tables = dict[str, Any]
RANK = 4


def tables(mean: float, b: Any, c: Any, U: Any, V: Any) -> Tables:
    """Return what was fitted as float64 arrays."""
    names = ("mean", "b", "c", "U", "V")
    return dict(zip(names, map(np.float64, (mean, b, c, U, V)), strict=True))


def ordered(rows: np.ndarray, ids: Any, n: int) -> np.ndarray:
    """Return rows in the order of ids 0 to n - 1; zeros where there is none."""
    found = np.zeros((n, *np.shape(rows)[1:]))
    found[np.asarray(ids)] = rows
    return found


# -- PyTorch ---------------------------------------------------------------------------


def torch_fit(
    data: Data, _: Tables, optimizer: str, wd: float, lrs: dict[float, int], **more: Any
) -> Tables:
    """Take full-batch steps on the mean squared error, at one rate after the other."""
    import torch

    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    users, items = torch.from_numpy(data.users), torch.from_numpy(data.items)
    values, mean = torch.from_numpy(data.values), data.values.mean()
    sizes = ((data.n_users, RANK), (data.n_items, RANK), (data.n_users,))
    U, V, b, c = (
        (std * torch.randn(size)).requires_grad_()
        for size, std in zip((*sizes, (data.n_items,)), (0.3, 0.3, 0, 0), strict=True)
    )
    criterion = torch.nn.MSELoss()
    for lr, epochs in lrs.items():
        one = getattr(torch.optim, optimizer)(
            [U, V, b, c], lr=float(lr), weight_decay=wd, **more
        )
        for _ in range(epochs):
            one.zero_grad()
            taste = (U[users] * V[items]).sum(1)
            criterion(mean + b[users] + c[items] + taste, values).backward()
            one.step()
    return tables(mean, *(x.detach().numpy() for x in (b, c, U, V)))


# -- scikit-learn: one regression for each user, on factors of items that are given ----


def ridge(data: Data, given: Tables, alpha: float) -> Tables:
    from sklearn.linear_model import Ridge

    return rows_of(data, given, data.values, Ridge(alpha=alpha))


def logistic(data: Data, given: Tables, C: float, solver: str) -> Tables:
    from sklearn.linear_model import LogisticRegression

    liked = (data.values > 0).astype(float)
    model = LogisticRegression(C=C, solver=solver, tol=1e-10, max_iter=10_000)
    return rows_of(data, given, liked, model)


def rows_of(data: Data, given: Tables, targets: np.ndarray, model: Any) -> Tables:
    U, b = np.zeros((data.n_users, RANK)), np.zeros(data.n_users)
    for i in np.unique(data.users):
        mine = data.users == i
        if len(np.unique(targets[mine])) > 1:  # two classes, or two values
            model.fit(given["V"][data.items[mine]], targets[mine])
            U[i], b[i] = np.ravel(model.coef_), np.ravel(model.intercept_)[0]
    return tables(0.0, b, np.zeros(data.n_items), U, given["V"])


# -- the recommenders ------------------------------------------------------------------


def surprise(data: Data, _: Tables, reg: float, lr: float, epochs: int) -> Tables:
    from surprise import SVD

    trainset = surprise_trainset(data)
    model = SVD(RANK, epochs, reg_all=reg, lr_all=lr, random_state=0).fit(trainset)
    users = [trainset.to_raw_uid(row) for row in trainset.all_users()]
    items = [trainset.to_raw_iid(row) for row in trainset.all_items()]
    sides = (model.bu, users), (model.bi, items), (model.pu, users), (model.qi, items)
    sizes = (data.n_users, data.n_items) * 2
    found = [ordered(*side, n) for side, n in zip(sides, sizes, strict=True)]
    return tables(trainset.global_mean, *found)


def cornac(data: Data, _: Tables, reg: float, lr: float, epochs: int) -> Tables:
    from cornac.models import MF

    model = MF(
        k=RANK, max_iter=epochs, learning_rate=lr, lambda_reg=reg, num_threads=1, seed=0
    ).fit(cornac_dataset(data))
    sides = model.u_biases, model.i_biases, model.u_factors, model.i_factors
    return tables(model.global_mean, *sides)


def lenskit(data: Data, _: Tables, reg: float, damping: float, epochs: int) -> Tables:
    from lenskit.als import BiasedMFScorer
    from lenskit.training import TrainingOptions

    model = BiasedMFScorer(
        embedding_size=RANK, epochs=epochs, regularization=reg, damping=damping
    )
    model.train(lenskit_dataset(data), TrainingOptions(rng=0))
    users, items = model.users.ids(), model.items.ids()
    found = [
        ordered(model.bias.user_biases, users, data.n_users),
        ordered(model.bias.item_biases, items, data.n_items),
        ordered(model.user_embeddings, users, data.n_users),
        ordered(model.item_embeddings, items, data.n_items),
    ]
    return tables(model.bias.global_bias, *found)


def cmfrec(data: Data, _: Tables, lam: float, scaled: bool, epochs: int) -> Tables:
    from cmfrec import CMF

    model = CMF(
        RANK, lam, scale_lam=scaled, niter=epochs, use_cg=False, use_float=False
    )
    model.fit(sparse_matrix(data))
    sides = model.user_bias_, model.item_bias_, model.A_, model.B_
    return tables(model.glob_mean_, *sides)


def implicit(data: Data, _: Tables, reg: float, epochs: int) -> Tables:
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        RANK,
        regularization=reg,
        iterations=epochs,
        dtype=np.float64,
        use_cg=False,
        num_threads=1,
        random_state=0,
    )
    # Its ratings are confidences, which are positive.
    confidence = sparse_matrix(data._replace(values=np.exp(data.values))).tocsr()
    model.fit(confidence, show_progress=False)
    zeros = np.zeros(data.n_users), np.zeros(data.n_items)
    return tables(0.0, *zeros, model.user_factors, model.item_factors)


def spark(data: Data, _: Tables, reg: float, epochs: int) -> Tables:
    import tempfile

    from pyspark.ml.recommendation import ALS

    import mflib

    from .spark import session, to_mf, to_spark

    mean, sizes = data.values.mean(), (data.n_users, data.n_items)
    centred = mflib.Ratings(
        data.users, data.items, data.values - mean, n_users=sizes[0], n_items=sizes[1]
    )
    setting = {"maxIter": epochs, "regParam": reg, "checkpointInterval": 5, "seed": 0}
    with tempfile.TemporaryDirectory() as folder, session("local[1]", folder) as here:
        als = ALS(rank=RANK, **setting).setNumBlocks(2)
        model = to_mf(als.fit(to_spark(here, centred)), *sizes, mean)
    factors = model.U.weight.detach().numpy(), model.V.weight.detach().numpy()
    return tables(mean, *map(np.zeros, sizes), *factors)


def myfm(data: Data, _: Tables, samples: int) -> Tables:
    """Sample, and stack the samples: all tables get a first axis, hyperparameters too.

    A factorization machine of users and items is the model with biases: its weights w
    are b and c, the rows of its V are u_i and v_j. Each column d of U has a mean and a
    precision of its own, and each column of V.
    """
    from myfm import MyFMRegressor

    x, _ = one_hot(data)
    groups = [data.n_users, data.n_items]
    model = MyFMRegressor(rank=RANK, random_seed=0)
    kept = samples * 4 // 5
    model.fit(x, data.values, n_iter=samples, n_kept_samples=kept, group_shapes=groups)
    drawn = model.predictor_.samples
    w, V = np.stack([s.w for s in drawn]), np.stack([s.V for s in drawn])
    n = data.n_users
    trace = model.get_hyper_trace().iloc[-len(drawn) :]
    found = tables(0.0, w[:, :n], w[:, n:], V[:, :n], V[:, n:])
    found["mean"] = np.array([s.w0 for s in drawn])
    found["noise_precision"] = trace["alpha"].to_numpy()
    for group, name in enumerate("UV"):
        for what in ("mu", "lambda"):
            columns = [f"{what}_V[{group},{d}]" for d in range(RANK)]
            found[f"{what}_{name}"] = trace[columns].to_numpy()
    return found


@dataclass(frozen=True)
class Case:
    """One fit, and what it is expected to minimise.

    Attributes
    ----------
    name : str
    convention : str
        Its key in ``mflib/book/conventions.json``.
    library : str
        In whose environment it runs.
    fit : callable
    setting : dict
        Its arguments; ``value`` names the one that the convention is about.
    value : str
    loss : {"known", "all", "log", "samples"}
        What λ_i is measured against.
    mflib : dict or None
        The arguments with which :func:`mflib.als` minimises the same J.
    biases : {"with the factors", "before", "none"}
        When biases are fitted.
    tables : str
        The tables that are fitted, and not given.
    """

    name: str
    convention: str
    library: str
    fit: Callable[..., Tables]
    setting: dict[str, Any]
    value: str = ""
    loss: str = "known"
    mflib: dict[str, Any] | None = field(default=None)
    biases: str = "with the factors"
    tables: str = "UVbc"


LAM, PER_RATING = 6.0, 0.3  # of S7's J, with which all are to agree
WITH_BIASES = {"lam": LAM, "biases": True}
WEIGHTED = {"lam": 0.0, "lam_per_rating": PER_RATING}
WEIGHTED_BIASES = WEIGHTED | {"biases": True}
HALF = {"reg": PER_RATING / 2}
# fmt: off
CASES = [
    Case("PyTorch SGD", "torch", "torch", torch_fit,
         {"optimizer": "SGD", "wd": "LAM / n", "lrs": {"10": 2_000}, "momentum": 0.9},
         "wd", mflib=WITH_BIASES),
    Case("PyTorch Adam", "torch", "torch", torch_fit,
         {"optimizer": "Adam", "wd": "LAM / n",
          "lrs": {"0.02": 1_000, "0.002": 1_000}}, "wd", mflib=WITH_BIASES),
    Case("PyTorch AdamW", "adamw", "torch", torch_fit,
         {"optimizer": "AdamW", "wd": 1.0,
          "lrs": {"0.02": 1_000, "0.002": 1_000}}, "wd"),
    Case("scikit-learn Ridge", "ridge", "scikit-learn", ridge,
         {"alpha": LAM / 2}, "alpha", tables="Ub"),
    Case("scikit-learn LogisticRegression", "logistic", "scikit-learn", logistic,
         {"C": 1 / LAM, "solver": "lbfgs"}, "C", "log", tables="Ub"),
    Case("… by liblinear", "liblinear", "scikit-learn", logistic,
         {"C": 1 / LAM, "solver": "liblinear"}, "C", "log", tables="Ub"),
    Case("scikit-surprise SVD", "surprise", "scikit-surprise", surprise,
         HALF | {"lr": 0.0005, "epochs": 24_000}, "reg", mflib=WEIGHTED_BIASES),
    Case("cornac MF", "cornac", "cornac", cornac,
         HALF | {"lr": 0.0005, "epochs": 24_000}, "reg", mflib=WEIGHTED_BIASES),
    Case("LensKit BiasedMF", "lenskit", "lenskit", lenskit,
         HALF | {"damping": 5.0, "epochs": 300}, "reg", mflib=WEIGHTED,
         biases="before"),
    Case("Spark ML ALS", "spark", "pyspark", spark,
         HALF | {"epochs": 60}, "reg", mflib=WEIGHTED, biases="none"),
    Case("cmfrec CMF", "cmfrec", "cmfrec", cmfrec,
         {"lam": LAM / 2, "scaled": False, "epochs": 300}, "lam", mflib=WITH_BIASES),
    Case("cmfrec CMF, scale_lam", "cmfrec scaled", "cmfrec", cmfrec,
         {"lam": PER_RATING / 2, "scaled": True, "epochs": 300}, "lam",
         mflib=WEIGHTED_BIASES),
    Case("implicit ALS", "implicit", "implicit", implicit,
         {"reg": LAM / 2, "epochs": 300}, "reg", "all", biases="none"),
    Case("myFM", "myfm", "myfm", myfm, {"samples": 10_000}, "", "samples"),
]
# fmt: on
BY_NAME = {case.name: case for case in CASES}


def main(name: str, source: str, target: str) -> None:
    """Fit a case to the ratings of a file, and write its tables to another."""
    warnings.simplefilter("ignore")
    with np.load(source) as file:
        data = Data(
            *(file[part] for part in ("users", "items", "values")), *file["shape"]
        )
        given = {"V": file["V"]}
    case = BY_NAME[name]
    setting = {
        key: LAM / len(data.values) if value == "LAM / n" else value
        for key, value in case.setting.items()
    }
    Path(target).unlink(missing_ok=True)
    np.savez(target, **case.fit(data, given, **setting))


if __name__ == "__main__":
    main(*sys.argv[1:])
