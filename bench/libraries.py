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
LEARNING_RATE = 0.02  # of Adam, where the time of a pass is measured
STARS = (0.5, 5.0)
DISCARDED = 5  # of a Gibbs sampler's passes: the first fifth


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


@dataclass(frozen=True)
class Race:
    """The settings that an entry is tried with on MovieLens, before the search widens.

    ``grid`` has the values of each setting; ``passes`` are tried from the first on,
    until more do not help. ``fixed`` goes with each. Where ``own`` is true, the
    library has defaults for all of it, which are tried, too.
    """

    grid: dict[str, tuple[Any, ...]]
    passes: tuple[int, ...]
    fixed: dict[str, Any] = field(default_factory=dict)
    own: bool = False


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
    cost : dict or None
        The setting for the synthetic ratings. None: not measured there.
    race : Race or None
        The settings for MovieLens. None: not measured there.
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
    race: Race | None = None
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
    ratings: Any, passes: int, rank: int, lam: float, biases: bool = True, **more: Any
) -> Fitted:
    import mflib

    with noted_passes("als") as stamps:
        model, _ = mflib.als(
            ratings,
            rank=rank,
            lam=lam,
            sweeps=passes,
            biases=biases,
            mean="train",
            generator=mflib.seeded(0),
            every=0,
            **more,
        )
    return mflib_model(model, stamps.span)


def mflib_fit(
    ratings: Any,
    passes: int,
    rank: int,
    lam: float,
    lr: float = LEARNING_RATE,
    biases: bool = True,
    batch_size: int | None = None,
) -> Fitted:
    import torch

    import mflib

    mean = float(ratings.values.mean())
    sizes = (ratings.n_users, ratings.n_items, rank)
    model = mflib.MF(*sizes, biases=biases, mean=mean, generator=mflib.seeded(0))
    adam = torch.optim.Adam(model.parameters(), lr, weight_decay=lam / len(ratings))
    how = {"batch_size": batch_size, "generator": mflib.seeded(1)}
    with noted_passes("training") as stamps:
        mflib.fit(model, ratings, optimizer=adam, epochs=passes, **how)
    return mflib_model(model, stamps.span)


def mflib_gibbs(ratings: Any, passes: int, rank: int, **more: Any) -> Fitted:
    import mflib

    with noted_passes("gibbs") as stamps:
        posterior, _ = mflib.gibbs(
            ratings,
            rank=rank,
            samples=passes - passes // DISCARDED,
            burn_in=passes // DISCARDED,
            generator=mflib.seeded(0),
            **more,
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
    lr: float = LEARNING_RATE,
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
    optimizer = torch.optim.Adam(learned, lr=lr, weight_decay=weight_decay)
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
    trainset: Any,
    passes: int | None,
    rank: int | None = None,
    lam: float | None = None,
    lr: float | None = None,
    implicit: bool = False,
) -> Fitted:
    from surprise import SVD, SVDpp

    settings = given(
        n_factors=rank, n_epochs=passes, reg_all=per_rating(lam), lr_all=lr
    )
    if implicit:  # SVD++; without its cache it would be slower still
        algorithm = SVDpp(random_state=0, cache_ratings=True, **settings)
    else:
        algorithm = SVD(random_state=0, **settings)
    start = time.perf_counter()
    algorithm.fit(trainset)
    span = (time.perf_counter() - start, algorithm.n_epochs)
    pu = algorithm.pu
    if implicit:
        pu = pu.copy()
        for user, rated in trainset.ur.items():
            items = [item for item, _ in rated]
            pu[user] += algorithm.yj[items].sum(0) / len(items) ** 0.5

    def places(rows: range, raw: Callable[[int], Any], ids: np.ndarray) -> np.ndarray:
        known = {raw(row): row for row in rows}
        return np.array([known.get(one, -1) for one in ids.tolist()])

    user = partial(places, trainset.all_users(), trainset.to_raw_uid)
    item = partial(places, trainset.all_items(), trainset.to_raw_iid)
    tables = algorithm.bu, algorithm.bi, pu, algorithm.qi
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
    dataset: Any,
    passes: int | None,
    rank: int | None = None,
    lam: float | None = None,
    lr: float | None = None,
) -> Fitted:
    from cornac.models import MF

    settings = given(
        k=rank, max_iter=passes, lambda_reg=per_rating(lam), learning_rate=lr
    )
    if THREADS == 1:
        settings["seed"] = 0  # with more threads no seed would repeat a run
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
    matrix: Any,
    passes: int | None,
    rank: int | None = None,
    lam: float | None = None,
    by_count: bool = False,
    exact_end: bool = True,
    implicit: bool = False,
) -> Fitted:
    from cmfrec import CMF

    lam = per_rating(lam) if by_count else None if lam is None else lam / 2
    settings = given(k=rank, niter=passes, lambda_=lam)
    model = CMF(
        nthreads=THREADS,
        precompute_for_predictions=False,
        verbose=False,
        scale_lam=by_count,
        finalize_chol=exact_end,
        add_implicit_features=implicit,
        **settings,
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


def rated_blocks(data: Data) -> Any:
    """Return each user's features, and each item's: who they are, and who rated what.

    As in myFM's own example for MovieLens 100K: the rated columns of a row have the
    value one divided by the root of their number.
    """
    from scipy.sparse import csr_matrix, diags, eye, hstack

    places, shape = (data.users, data.items), (data.n_users, data.n_items)
    rated = csr_matrix((np.ones(len(data.values)), places), shape=shape)
    sides = []
    for matrix in (rated, rated.T.tocsr()):
        counts = np.maximum(matrix.getnnz(1), 1)
        features = [eye(matrix.shape[0]), diags(counts**-0.5) @ matrix]
        sides.append(hstack(features, format="csr"))
    return sides, data


def myfm_gibbs(ready: Any, passes: int, rank: int) -> Fitted:
    from myfm import MyFMRegressor, RelationBlock

    x, data = ready
    stamps = Stamps()

    def callback(*_: object) -> tuple[bool, None]:
        stamps()
        return False, None

    def features(data: Data) -> dict[str, Any]:
        if not isinstance(x, list):
            return {"X": one_hot(data)[0]}
        ids = (data.users.tolist(), data.items.tolist())
        blocks = [RelationBlock(*pair) for pair in zip(ids, x, strict=True)]
        return {"X": None, "X_rel": blocks}

    groups = [data.n_users, data.n_items]
    model = MyFMRegressor(rank=rank, random_seed=0)
    model.fit(
        **features(data),
        y=data.values.astype(float),
        n_iter=passes,
        n_kept_samples=passes - passes // DISCARDED,
        group_shapes=[*groups, *groups[::-1]] if isinstance(x, list) else groups,
        callback=callback,
    )

    def predict(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        pairs = data._replace(users=users, items=items, values=np.ones(len(users)))
        return model.predict(**features(pairs))

    return Fitted(predict, stamps.span)


SAME = {"rank": 16, "lam": 24.0}
A_TENTH = {10_000_000: 0.1}

RANKS = {"rank": (4, 8, 16, 32, 64)}
POINT = RANKS | {"lam": (12.0, 24.0, 48.0)}
ADAM = POINT | {"rank": (4, 16, 64), "lr": (0.01, 0.02, 0.04)}
SGD = POINT | {"lr": (0.005, 0.01, 0.02)}
OURS = RANKS | {"lam": (6.0, 12.0, 24.0), "lam_per_rating": (0.04, 0.08, 0.16)}
OURS |= {"cg_steps": (1, 2)}
CMFREC = POINT | {"by_count": (False, True), "exact_end": (False, True)}
CMFREC |= {"rank": (4, 16, 64)}
SAMPLED = {"rank": (4, 8, 16)}
SLOW = {"rank": (16,), "lam": (24.0,)}
EPOCHS = (5, 10, 20, 40, 80, 160)
EPOCHS_OF_BATCHES = (1, 2, 3, 5, 8, 12, 20)
EPOCHS_OF_SGD = (1, 2, 5, 10, 20, 50, 100)
SWEEPS = (1, 2, 3, 5, 8, 12, 20)
SAMPLES = (10, 20, 50, 100, 200)
WHO_RATED_WHAT = {"noise": "per user", "rated": True}
BATCHES = {"loader": False, "biases": True, "batch_size": 4096}

# fmt: off
ENTRIES = [
    Entry("mflib fit", "mflib", "gradient", "epoch of Adam, full batch",
          mflib_ratings, mflib_fit, SAME | {"biases": False}, Race(ADAM, EPOCHS)),
    Entry("mflib fit, batches", "mflib", "gradient",
          "epoch of Adam, batches of 4096", mflib_ratings, mflib_fit, None,
          Race(ADAM, EPOCHS_OF_BATCHES, {"batch_size": 4096})),
    Entry("plain loop", "PyTorch", "gradient", "epoch of Adam, full batch",
          torch_triples, plain_loop, SAME | {"batch_size": None},
          Race(SLOW | {"lr": (0.02,)}, (40,), {"batch_size": None, "biases": True})),
    Entry("plain loop, batches", "PyTorch", "gradient",
          "epoch of Adam, batches by index of 1024 (in the race 4096)",
          torch_triples, plain_loop, SAME | {"loader": False},
          Race(ADAM, EPOCHS_OF_BATCHES, BATCHES), share=A_TENTH),
    Entry("plain loop, DataLoader", "PyTorch", "gradient",
          "epoch of Adam, batches of 1024", torch_triples, plain_loop, SAME,
          Race(SLOW | {"lr": (0.01,)}, (1, 2, 5), {"biases": True}), share=A_TENTH),
    Entry("cornac MF", "cornac", "gradient", "epoch of SGD, with biases",
          cornac_dataset, cornac_mf, SAME, Race(SGD, EPOCHS_OF_SGD, own=True)),
    Entry("scikit-surprise SVD", "scikit-surprise", "gradient",
          "epoch of SGD, with biases", surprise_trainset, surprise_svd, SAME,
          Race(SGD | {"rank": (4, 16, 64)}, EPOCHS_OF_SGD, own=True), threads=1),
    Entry("scikit-surprise SVD++", "scikit-surprise", "gradient",
          "epoch of SGD, with biases and who rated what",
          surprise_trainset, surprise_svd, None,
          Race({"rank": (8,), "lam": (24.0,), "lr": (0.01,)}, (5, 10, 20),
               {"implicit": True}, own=True), threads=1),
    Entry("mflib als", "mflib", "ALS", "sweep of ALS",
          mflib_ratings, mflib_als, SAME | {"biases": False},
          Race(OURS, SWEEPS, {"prior_mean": "learned"})),
    Entry("mflib als, plain λ", "mflib", "ALS", "sweep of ALS, with biases",
          mflib_ratings, mflib_als, SAME, Race(POINT, SWEEPS)),
    Entry("LensKit BiasedMF", "lenskit", "ALS",
          "sweep of ALS, biases taken off before",
          lenskit_dataset, lenskit_als, SAME, Race(POINT, SWEEPS, own=True)),
    Entry("cmfrec CMF", "cmfrec", "ALS",
          "sweep of ALS by conjugate gradients, with biases",
          sparse_matrix, cmfrec_cmf, SAME, Race(CMFREC, SWEEPS, own=True)),
    Entry("cmfrec CMF, implicit", "cmfrec", "ALS",
          "the same, and who rated what",
          sparse_matrix, cmfrec_cmf, None,
          Race(CMFREC, SWEEPS, {"implicit": True}, own=True)),
    Entry("implicit ALS", "implicit", "ALS",
          "sweep of ALS by conjugate gradients, another loss",
          lambda data: sparse_matrix(data).tocsr(), implicit_als, SAME),
    Entry("mflib gibbs", "mflib", "Gibbs", "sample, with biases",
          mflib_ratings, mflib_gibbs, {"rank": 16}, Race(SAMPLED, SAMPLES)),
    Entry("mflib gibbs, full", "mflib", "Gibbs",
          "sample, with each user's noise and who rated what",
          mflib_ratings, mflib_gibbs, None, Race(SAMPLED, SAMPLES, WHO_RATED_WHAT)),
    Entry("myFM", "myfm", "Gibbs", "sample, with biases",
          one_hot, myfm_gibbs, {"rank": 16}, Race(SAMPLED, SAMPLES), threads=1),
    Entry("myFM, implicit", "myfm", "Gibbs", "sample, with who rated what",
          rated_blocks, myfm_gibbs, None, Race(SAMPLED, SAMPLES), threads=1),
]
# fmt: on
BY_NAME = {entry.name: entry for entry in ENTRIES}
