"""The ratings that are fitted, as files of triples that every environment can read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

import mflib

# Users and items as in MovieLens of that size.
SHAPES = {
    100_000: (1_000, 1_700),
    1_000_000: (6_000, 3_700),
    10_000_000: (70_000, 10_700),
}
SPLIT = (0.7, 0.1, 0.2)


def synthetic(size: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw ratings whose counts follow power laws, sorted by user as MovieLens is.

    Users and items are drawn with weights (place + offset)^-exponent, pairs that come
    twice are dropped, and the ids are shuffled. The stars are those of rank 8.
    """
    n_users, n_items = SHAPES[size]
    rng = np.random.default_rng(seed)

    def weights(n: int, exponent: float) -> np.ndarray:
        weight = (np.arange(n) + 0.01 * n + 1) ** -exponent
        return rng.permutation(weight / weight.sum())

    user_weights, item_weights = weights(n_users, 0.8), weights(n_items, 1.0)
    cells = np.empty(0, dtype=np.int64)
    while len(cells) < size:
        more = size // 2
        users = rng.choice(n_users, more, p=user_weights)
        items = rng.choice(n_items, more, p=item_weights)
        cells = np.unique(np.concatenate([cells, users * n_items + items]))
    cells = np.sort(rng.choice(cells, size, replace=False))
    users, items = cells // n_items, cells % n_items
    u = rng.standard_normal((n_users, 9), dtype=np.float32) / 3
    v = rng.standard_normal((n_items, 9), dtype=np.float32)
    v[:, 0] = 1
    taste = np.concatenate(
        [
            np.einsum("nk,nk->n", u[a], v[b])
            for a, b in zip(
                np.array_split(users, 20), np.array_split(items, 20), strict=True
            )
        ]
    )
    stars = 3.5 + taste + 0.5 * rng.standard_normal(size, dtype=np.float32)
    values = (np.round(2 * stars) / 2).clip(0.5, 5).astype(np.float32)
    return {
        "n_users": np.array(n_users),
        "n_items": np.array(n_items),
        "train_users": users,
        "train_items": items,
        "train_values": values,
    }


def movielens() -> dict[str, np.ndarray]:
    """Split ml-latest-small as the chapter on MovieLens does."""
    ratings, _ = mflib.fetch_movielens()
    parts = ratings.split(*SPLIT, generator=mflib.seeded(0), stratify="user")
    arrays = {
        "n_users": np.array(ratings.n_users),
        "n_items": np.array(ratings.n_items),
    }
    for name, part in zip(("train", "validation", "test"), parts, strict=True):
        arrays[f"{name}_users"] = part.users.numpy()
        arrays[f"{name}_items"] = part.items.numpy()
        arrays[f"{name}_values"] = part.values.numpy().astype(np.float32)
    return arrays


def saved(name: str, folder: Path) -> Path:
    """Return the file of a set, "movielens" or a number of ratings; make it first."""
    path = folder / f"{name}.npz"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        arrays = movielens() if name == "movielens" else synthetic(int(name))
        np.savez(path, **arrays)
    return path
