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


class Fitted(NamedTuple):
    """What an adapter returns.

    ``span`` is seconds and passes where the library says itself when a pass ends, so
    that its set-up can be left out; None where it does not.
    """

    predict: Callable[[np.ndarray, np.ndarray], np.ndarray] | None
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

    def inner(ids: np.ndarray, number: Callable[[int], int]) -> np.ndarray:
        known = {}
        for raw in np.unique(ids).tolist():
            try:
                known[raw] = number(raw)
            except ValueError:
                known[raw] = -1
        return np.array([known[raw] for raw in ids.tolist()])

    def predict(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        u = inner(users, trainset.to_inner_uid)
        i = inner(items, trainset.to_inner_iid)
        taste = (algorithm.pu[u] * algorithm.qi[i]).sum(1)
        biases = np.where(u < 0, 0, algorithm.bu[u]) + np.where(
            i < 0, 0, algorithm.bi[i]
        )
        return trainset.global_mean + biases + np.where((u < 0) | (i < 0), 0, taste)

    return Fitted(predict, span)


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

    def predict(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        taste = (model.u_factors[users] * model.i_factors[items]).sum(1)
        return model.global_mean + model.u_biases[users] + model.i_biases[items] + taste

    return Fitted(predict)


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

    def padded(rows: np.ndarray) -> np.ndarray:  # place -1, for the unknown: zeros
        return np.concatenate([rows, np.zeros_like(rows[:1])])

    def predict(users: np.ndarray, items: np.ndarray) -> np.ndarray:
        u = model.users.numbers(users, missing="negative")
        i = model.items.numbers(items, missing="negative")
        taste = padded(model.user_embeddings)[u] * padded(model.item_embeddings)[i]
        biases = padded(model.bias.user_biases)[u] + padded(model.bias.item_biases)[i]
        return model.bias.global_bias + biases + taste.sum(1)

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

ENTRIES = [
    Entry(
        name="mflib fit",
        library="mflib",
        kind="gradient",
        unit="epoch of Adam, full batch",
        prepare=mflib_ratings,
        fit=mflib_fit,
        cost=SAME | {"biases": False},
        accuracy={},
        budgets=ADAM_BUDGETS,
    ),
    Entry(
        name="plain loop",
        library="PyTorch",
        kind="gradient",
        unit="epoch of Adam, full batch",
        prepare=torch_triples,
        fit=plain_loop,
        cost=SAME | {"batch_size": None},
        accuracy={"passes": 100, "batch_size": None, "biases": True},
        budgets=ADAM_BUDGETS,
    ),
    Entry(
        name="plain loop, batches",
        library="PyTorch",
        kind="gradient",
        unit="epoch of Adam, batches of 1024 by index",
        prepare=torch_triples,
        fit=plain_loop,
        cost=SAME | {"loader": False},
        share={10_000_000: 0.1},
    ),
    Entry(
        name="plain loop, DataLoader",
        library="PyTorch",
        kind="gradient",
        unit="epoch of Adam, batches of 1024",
        prepare=torch_triples,
        fit=plain_loop,
        cost=SAME,
        accuracy={"passes": 10, "biases": True},
        budgets=(1, 2, 5, 10),
        share={10_000_000: 0.1},
    ),
    Entry(
        name="cornac MF",
        library="cornac",
        kind="gradient",
        unit="epoch of SGD, with biases",
        prepare=cornac_dataset,
        fit=cornac_mf,
        cost=SAME,
        accuracy={},
        budgets=SGD_BUDGETS,
    ),
    Entry(
        name="scikit-surprise SVD",
        library="scikit-surprise",
        kind="gradient",
        unit="epoch of SGD, with biases",
        prepare=surprise_trainset,
        fit=surprise_svd,
        cost=SAME,
        accuracy={},
        budgets=SGD_BUDGETS,
        threads=1,
    ),
    Entry(
        name="mflib als",
        library="mflib",
        kind="ALS",
        unit="sweep of ALS",
        prepare=mflib_ratings,
        fit=mflib_als,
        cost=SAME | {"biases": False},
    ),
    Entry(
        name="mflib als, biases",
        library="mflib",
        kind="ALS",
        unit="sweep of ALS, with biases",
        prepare=mflib_ratings,
        fit=mflib_als,
        cost=SAME,
        accuracy={},
        budgets=ALS_BUDGETS,
    ),
    Entry(
        name="mflib als, weighted λ",
        library="mflib",
        kind="ALS",
        unit="sweep of ALS, with biases",
        prepare=mflib_ratings,
        fit=mflib_als,
        accuracy={"per_rating": True},
        budgets=ALS_BUDGETS,
    ),
    Entry(
        name="LensKit BiasedMF",
        library="lenskit",
        kind="ALS",
        unit="sweep of ALS, biases taken off before",
        prepare=lenskit_dataset,
        fit=lenskit_als,
        cost=SAME,
        accuracy={},
        budgets=ALS_BUDGETS,
    ),
    Entry(
        name="cmfrec CMF",
        library="cmfrec",
        kind="ALS",
        unit="sweep of ALS by conjugate gradients, with biases",
        prepare=sparse_matrix,
        fit=cmfrec_cmf,
        cost=SAME,
        accuracy={},
        budgets=ALS_BUDGETS,
    ),
    Entry(
        name="implicit ALS",
        library="implicit",
        kind="ALS",
        unit="sweep of ALS by conjugate gradients, another loss",
        prepare=lambda data: sparse_matrix(data).tocsr(),
        fit=implicit_als,
        cost=SAME,
    ),
    Entry(
        name="mflib gibbs",
        library="mflib",
        kind="Gibbs",
        unit="sample, with biases",
        prepare=mflib_ratings,
        fit=mflib_gibbs,
        cost={"rank": 16},
        accuracy={},
        budgets=GIBBS_BUDGETS,
    ),
    Entry(
        name="myFM",
        library="myfm",
        kind="Gibbs",
        unit="sample, with biases",
        prepare=one_hot,
        fit=myfm_gibbs,
        cost={"rank": 16},
        accuracy={},
        budgets=GIBBS_BUDGETS,
        threads=1,
    ),
]
BY_NAME = {entry.name: entry for entry in ENTRIES}
