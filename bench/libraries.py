"""One adapter for each way to fit a factorization; `make bench` calls them alike.

This file is imported in each library's own environment, so each adapter imports its
library only when it is called. λ is always that of the book's J (slide S7); each
adapter converts it to the library's own unit. Where a library weights the penalty by a
row's number of ratings, its weight is that of a row with TYPICAL_COUNT ratings.
"""

# ruff: noqa: D103 -- an adapter does what its name says

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

THREADS = int(os.environ.get("BENCH_THREADS", "2"))
TYPICAL_COUNT = 150
LEARNING_RATE = 0.02  # of Adam, in mflib.fit and in the plain loops alike
STARS = (0.5, 5.0)


class Data(NamedTuple):
    """Triples to learn from, sorted by user, and the size of their matrix."""

    users: np.ndarray
    items: np.ndarray
    values: np.ndarray
    n_users: int
    n_items: int


Predict = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Fitted(NamedTuple):
    """What an adapter returns.

    ``span`` is seconds and passes where the library says itself when a pass ends, so
    that its set-up can be left out; None where it does not.
    """

    predict: Predict | None
    span: tuple[float, float] | None = None


Fit = Callable[..., Fitted]
Prepare = Callable[[Data], Any]


@dataclass(frozen=True)
class Entry:
    """One row of the table.

    Attributes
    ----------
    name, library : str
    kind : {"gradient", "ALS", "Gibbs"}
        Entries of one kind are measured in turn, one round after the other.
    unit : str
        What one pass is.
    prepare, fit : callable
        From triples to the library's own form of them; and from that to a model.
    cost, accuracy : dict or None
        Settings for the synthetic ratings; and, for MovieLens, the library's own
        defaults. None: not measured there.
    budgets : tuple of int
        Passes at which the error is looked at.
    share : dict
        At this many ratings, a pass is measured on this share of it.
    threads : int
    """

    name: str
    library: str
    kind: str
    unit: str
    prepare: Prepare
    fit: Fit
    cost: dict[str, Any] | None = None
    accuracy: dict[str, Any] | None = None
    budgets: tuple[int, ...] = ()
    share: dict[int, float] = field(default_factory=dict)
    threads: int = THREADS


def given(**settings: Any) -> dict[str, Any]:
    """Return the settings that were given; the library's default holds for the rest."""
    return {name: value for name, value in settings.items() if value is not None}


def per_rating(lam: float | None) -> float | None:
    """Convert λ to a penalty that counts once for each rating of a row."""
    return None if lam is None else lam / (2 * TYPICAL_COUNT)


def padded(rows: np.ndarray) -> np.ndarray:
    """Add a row of zeros, which place -1 leads to."""
    return np.concatenate([rows, np.zeros_like(rows[:1])])


def prediction(
    mean: float, b: Any, c: Any, U: Any, V: Any, user: Any = None, item: Any = None
) -> Predict:
    """Return a function that predicts by a mean, biases and factors.

    ``user`` and ``item`` turn ids into rows, -1 where an id is unknown.
    """

    def predict(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        u, i = user(users) if user else users, item(items) if item else items
        taste = (padded(U)[u] * padded(V)[i]).sum(1)
        return mean + padded(b)[u] + padded(c)[i] + taste

    return predict


class Stamps:
    """A callback that notes when passes end."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, *_: object) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())

    @property
    def span(self) -> tuple[float, float] | None:
        """Seconds, and passes, from the first note to the last."""
        passes = len(self.times) - 1
        return (self.times[-1] - self.times[0], passes) if passes > 0 else None


# -- mflib, and the loops that people write in PyTorch ---------------------------------


@contextmanager
def noted_passes(module: str) -> Iterator[Stamps]:
    """Note the ends of passes in place of the module's progress bar."""
    stamps = Stamps()

    def bar(passes: Iterable[int], **_: object) -> Iterator[int]:
        for one in passes:
            yield one
            stamps()

    with mock.patch.object(sys.modules[f"mflib.{module}"], "tqdm", bar):
        yield stamps


def mflib_ratings(data: Data) -> Any:
    import torch

    import mflib

    triples = map(torch.from_numpy, data[:3])
    return mflib.Ratings(*triples, n_users=data.n_users, n_items=data.n_items)


def mflib_model(model: Any, span: tuple[float, float] | None = None) -> Fitted:
    import torch

    def predict(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            pairs = torch.from_numpy(users), torch.from_numpy(items)
            return model(*pairs).numpy()

    return Fitted(predict, span)


def mflib_als(
    ratings: Any,
    passes: int,
    rank: int,
    lam: float,
    biases: bool = True,
    per_rating: bool = False,
) -> Fitted:
    import mflib

    penalty = {"lam": 0.0, "lam_per_rating": lam / TYPICAL_COUNT}
    with noted_passes("als") as stamps:
        model, _ = mflib.als(
            ratings,
            rank=rank,
            **(penalty if per_rating else {"lam": lam}),
            sweeps=passes,
            biases=biases,
            mean=float(ratings.values.mean()),
            generator=mflib.seeded(0),
        )
    return mflib_model(model, stamps.span)


def mflib_fit(
    ratings: Any, passes: int, rank: int, lam: float, biases: bool = True
) -> Fitted:
    import torch

    import mflib

    mean = float(ratings.values.mean())
    sizes = (ratings.n_users, ratings.n_items, rank)
    model = mflib.MF(*sizes, biases=biases, mean=mean, generator=mflib.seeded(0))
    adam = torch.optim.Adam(
        model.parameters(), lr=LEARNING_RATE, weight_decay=lam / len(ratings)
    )
    with noted_passes("training") as stamps:
        mflib.fit(model, ratings, optimizer=adam, epochs=passes)
    return mflib_model(model, stamps.span)


def mflib_gibbs(ratings: Any, passes: int, rank: int, lam: None = None) -> Fitted:
    import mflib

    # As myFM, which discards the first five samples: the mean of the others.
    burn_in = min(5, passes - 1)
    with noted_passes("gibbs") as stamps:
        posterior, _ = mflib.gibbs(
            ratings,
            rank=rank,
            samples=passes - burn_in,
            burn_in=burn_in,
            generator=mflib.seeded(0),
        )
    return mflib_model(posterior, stamps.span)


def torch_triples(data: Data) -> Any:
    import torch

    return [torch.from_numpy(part) for part in data[:3]], data.n_users, data.n_items


def plain_loop(
    ready: Any,
    passes: int,
    rank: int = 16,
    lam: float = 0.0,
    batch_size: int | None = 1024,
    loader: bool = True,
    biases: bool = False,
    share: float = 1.0,
) -> Fitted:
    """Run the loop of many tutorials: nn.Embedding, Adam, and a DataLoader or none."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    (users, items, values), n_users, n_items = ready
    torch.manual_seed(0)

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.U, self.V = nn.Embedding(n_users, rank), nn.Embedding(n_items, rank)
            self.b, self.c = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)
            for factors in (self.U, self.V):
                nn.init.normal_(factors.weight, std=0.1)
            for bias in (self.b, self.c):
                nn.init.zeros_(bias.weight)
            self.mean = float(values.mean())

        def forward(self, u: Any, i: Any) -> Any:
            taste = (self.U(u) * self.V(i)).sum(1) + self.mean
            return taste + (self.b(u) + self.c(i)).squeeze(1) if biases else taste

    model, criterion = Model(), nn.MSELoss()
    learned = list(model.parameters())[: 4 if biases else 2]
    weight_decay = lam / len(values)
    optimizer = torch.optim.Adam(learned, lr=LEARNING_RATE, weight_decay=weight_decay)
    if share < 1:
        some = torch.randperm(len(values))[: round(share * len(values))]
        users, items, values = users[some], items[some], values[some]

    def batches() -> Iterable[Any]:
        if batch_size is None:
            return [(users, items, values)]
        if loader:
            dataset = TensorDataset(users, items, values)
            return DataLoader(dataset, batch_size=batch_size, shuffle=True)
        places = torch.randperm(len(values)).split(batch_size)
        return ((users[at], items[at], values[at]) for at in places)

    start = time.perf_counter()
    for _ in range(passes):
        for u, i, r in batches():
            optimizer.zero_grad()
            loss = criterion(model(u, i), r)
            loss.backward()
            optimizer.step()
    return mflib_model(model, (time.perf_counter() - start, passes * share))


# -- the libraries ---------------------------------------------------------------------


def surprise_trainset(data: Data) -> Any:
    import pandas as pd
    from surprise import Dataset, Reader

    frame = pd.DataFrame(dict(zip("uir", data[:3], strict=True)))
    trainset = Dataset.load_from_df(
        frame, Reader(rating_scale=STARS)
    ).build_full_trainset()
    assert trainset.global_mean  # computed once, here
    return trainset


def surprise_svd(
    trainset: Any, passes: int | None, rank: int | None = None, lam: float | None = None
) -> Fitted:
    from surprise import SVD

    settings = given(n_factors=rank, n_epochs=passes, reg_all=per_rating(lam))
    algorithm = SVD(random_state=0, **settings)
    start = time.perf_counter()
    algorithm.fit(trainset)
    span = (time.perf_counter() - start, algorithm.n_epochs)

    def places(rows: range, raw: Callable[[int], Any], ids: np.ndarray) -> np.ndarray:
        known = {raw(row): row for row in rows}
        return np.array([known.get(one, -1) for one in ids.tolist()])

    user = partial(places, trainset.all_users(), trainset.to_raw_uid)
    item = partial(places, trainset.all_items(), trainset.to_raw_iid)
    tables = algorithm.bu, algorithm.bi, algorithm.pu, algorithm.qi
    return Fitted(prediction(trainset.global_mean, *tables, user, item), span)


def cornac_dataset(data: Data) -> Any:
    from collections import OrderedDict

    from cornac.data import Dataset

    # The ids are counted from 0 already; rows without ratings keep their place.
    return Dataset(
        data.n_users,
        data.n_items,
        OrderedDict((i, i) for i in range(data.n_users)),
        OrderedDict((i, i) for i in range(data.n_items)),
        (data.users, data.items, data.values),
    )


def cornac_mf(
    dataset: Any, passes: int | None, rank: int | None = None, lam: float | None = None
) -> Fitted:
    from cornac.models import MF

    settings = given(k=rank, max_iter=passes, lambda_reg=per_rating(lam))
    model = MF(num_threads=THREADS, **settings).fit(dataset)

    tables = model.u_biases, model.i_biases, model.u_factors, model.i_factors
    return Fitted(prediction(model.global_mean, *tables))


def sparse_matrix(data: Data) -> Any:
    from scipy.sparse import coo_matrix

    shape = (data.n_users, data.n_items)
    # int32, as scipy would choose: no library has to convert them.
    places = (data.users.astype(np.int32), data.items.astype(np.int32))
    return coo_matrix((data.values, places), shape=shape)


def cmfrec_cmf(
    matrix: Any, passes: int | None, rank: int | None = None, lam: float | None = None
) -> Fitted:
    from cmfrec import CMF

    settings = given(k=rank, niter=passes, lambda_=None if lam is None else lam / 2)
    model = CMF(
        nthreads=THREADS, precompute_for_predictions=False, verbose=False, **settings
    ).fit(matrix)
    # It leaves a bias of 1 where there are no ratings; as the others, predict the mean.
    for axis, bias, factors in (
        (1, model.user_bias_, model.A_),
        (0, model.item_bias_, model.B_),
    ):
        empty = matrix.getnnz(axis) == 0
        bias[empty] = factors[empty] = 0
    return Fitted(lambda users, items: model.predict(users, items))


def lenskit_dataset(data: Data) -> Any:
    import pandas as pd
    from lenskit.data import from_interactions_df

    columns = ("user_id", "item_id", "rating")
    frame = pd.DataFrame(dict(zip(columns, data[:3], strict=True)))
    return from_interactions_df(frame)


def lenskit_als(
    dataset: Any, passes: int | None, rank: int | None = None, lam: float | None = None
) -> Fitted:
    from lenskit.als import BiasedMFScorer
    from lenskit.training import TrainingOptions

    settings = given(embedding_size=rank, epochs=passes, regularization=per_rating(lam))
    model = BiasedMFScorer(**settings)
    # As its train(), which says nothing of the time that each epoch takes.
    trainer = model.create_trainer(dataset, TrainingOptions(rng=0))
    stamps = Stamps()
    stamps()
    for _ in range(model.config.epochs):
        trainer.train_epoch()
        stamps()
    trainer.finalize()

    user, item = (
        partial(ids.numbers, missing="negative") for ids in (model.users, model.items)
    )
    tables = model.bias.user_biases, model.bias.item_biases
    tables += model.user_embeddings, model.item_embeddings
    predict = prediction(model.bias.global_bias, *tables, user, item)
    return Fitted(predict, stamps.span)


def implicit_als(matrix: Any, passes: int, rank: int, lam: float) -> Fitted:
    from implicit.als import AlternatingLeastSquares

    model = AlternatingLeastSquares(
        factors=rank,
        regularization=lam / 2,
        iterations=passes,
        num_threads=THREADS,
        random_state=0,
    )
    stamps = Stamps()
    model.fit(matrix, show_progress=False, callback=stamps)
    return Fitted(None, stamps.span)


def one_hot(data: Data) -> Any:
    from scipy.sparse import csr_matrix

    n = len(data.values)
    columns = np.stack([data.users, data.items + data.n_users], axis=1).ravel()
    rows = np.arange(0, 2 * n + 1, 2)
    shape = (n, data.n_users + data.n_items)
    return csr_matrix((np.ones(2 * n), columns, rows), shape=shape), data


def myfm_gibbs(ready: Any, passes: int, rank: int, lam: None = None) -> Fitted:
    from myfm import MyFMRegressor

    x, data = ready
    stamps = Stamps()

    def callback(*_: object) -> tuple[bool, None]:
        stamps()
        return False, None

    model = MyFMRegressor(rank=rank, random_seed=0)
    model.fit(
        x,
        data.values.astype(float),
        n_iter=passes,
        n_kept_samples=max(passes - 5, 1),
        group_shapes=[data.n_users, data.n_items],
        callback=callback,
    )

    def predict(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        pairs = data._replace(users=users, items=items, values=np.ones(len(users)))
        return model.predict(one_hot(pairs)[0])

    return Fitted(predict, stamps.span)


SGD_BUDGETS = (2, 5, 10, 20, 50, 100)
ADAM_BUDGETS = (5, 10, 20, 40, 80, 160)
ALS_BUDGETS = (1, 2, 3, 5, 10, 20)
GIBBS_BUDGETS = (10, 20, 50, 100, 200)
SAME = {"rank": 16, "lam": 24.0}
A_TENTH = {10_000_000: 0.1}

# fmt: off
ENTRIES = [
    Entry("mflib fit", "mflib", "gradient", "epoch of Adam, full batch",
          mflib_ratings, mflib_fit, SAME | {"biases": False}, {}, ADAM_BUDGETS),
    Entry("plain loop", "PyTorch", "gradient", "epoch of Adam, full batch",
          torch_triples, plain_loop, SAME | {"batch_size": None},
          {"passes": 100, "batch_size": None, "biases": True}, ADAM_BUDGETS),
    Entry("plain loop, batches", "PyTorch", "gradient",
          "epoch of Adam, batches of 1024 by index",
          torch_triples, plain_loop, SAME | {"loader": False}, share=A_TENTH),
    Entry("plain loop, DataLoader", "PyTorch", "gradient",
          "epoch of Adam, batches of 1024", torch_triples, plain_loop, SAME,
          {"passes": 10, "biases": True}, (1, 2, 5, 10), share=A_TENTH),
    Entry("cornac MF", "cornac", "gradient", "epoch of SGD, with biases",
          cornac_dataset, cornac_mf, SAME, {}, SGD_BUDGETS),
    Entry("scikit-surprise SVD", "scikit-surprise", "gradient",
          "epoch of SGD, with biases",
          surprise_trainset, surprise_svd, SAME, {}, SGD_BUDGETS, threads=1),
    Entry("mflib als", "mflib", "ALS", "sweep of ALS",
          mflib_ratings, mflib_als, SAME | {"biases": False}),
    Entry("mflib als, biases", "mflib", "ALS", "sweep of ALS, with biases",
          mflib_ratings, mflib_als, SAME, {}, ALS_BUDGETS),
    Entry("mflib als, weighted λ", "mflib", "ALS", "sweep of ALS, with biases",
          mflib_ratings, mflib_als, None, {"per_rating": True}, ALS_BUDGETS),
    Entry("LensKit BiasedMF", "lenskit", "ALS",
          "sweep of ALS, biases taken off before",
          lenskit_dataset, lenskit_als, SAME, {}, ALS_BUDGETS),
    Entry("cmfrec CMF", "cmfrec", "ALS",
          "sweep of ALS by conjugate gradients, with biases",
          sparse_matrix, cmfrec_cmf, SAME, {}, ALS_BUDGETS),
    Entry("implicit ALS", "implicit", "ALS",
          "sweep of ALS by conjugate gradients, another loss",
          lambda data: sparse_matrix(data).tocsr(), implicit_als, SAME),
    Entry("mflib gibbs", "mflib", "Gibbs", "sample, with biases",
          mflib_ratings, mflib_gibbs, {"rank": 16}, {}, GIBBS_BUDGETS),
    Entry("myFM", "myfm", "Gibbs", "sample, with biases",
          one_hot, myfm_gibbs, {"rank": 16}, {}, GIBBS_BUDGETS, threads=1),
]
# fmt: on
BY_NAME = {entry.name: entry for entry in ENTRIES}
