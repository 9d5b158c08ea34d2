"""Alternating least squares: the same objective J, each half a linear solve."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from mflib import _checks
from mflib.model import MF, measured_parts, objective, rmse
from mflib.ratings import Ratings

Batch = tuple[Tensor, Tensor, Tensor]
Side = tuple[nn.Embedding, nn.Embedding | None]


def als(
    train: Ratings,
    *,
    rank: int,
    lam: float,
    sweeps: int = 20,
    biases: bool = False,
    mean: float = 0.0,
    count_weighted: bool = False,
    init_std: float = 0.1,
    generator: torch.Generator | None = None,
    validation: Ratings | None = None,
    test: Ratings | None = None,
    progress: bool = False,
) -> tuple[MF, pd.DataFrame]:
    """Minimise slide S7's J by solving for all u_i, then for all v_j, in turn.

    With V fixed, J is one ridge regression per user, whose minimiser has a closed
    form; with U fixed, one per item. So J never rises.

    Parameters
    ----------
    train : Ratings
        The ratings to learn from.
    rank : int
        The number k of factors of each user and item.
    lam : float
        The weight of the penalty in J, at least 0 (:func:`objective`). At 0, each
        solve takes the smallest of its minimisers.
    sweeps : int, default 20
        How often both halves are solved.
    biases, mean, init_std, generator
        As for :class:`MF`. Biases are solved together with the factors and carry the
        same penalty.
    count_weighted : bool, default False
        Multiply each row's penalty by its number of ratings, as :func:`objective`.
    validation, test : Ratings, optional
        Also measured after every sweep; never learned from.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    model : MF
        Users and items without ratings have zero factors and zero biases.
    history : pandas.DataFrame
        One row per sweep, from 0 (the start): J in column ``objective``, and RMSE in
        columns train, validation and test as given.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or the parts differ in size.

    Examples
    --------
    >>> from mflib import make_low_rank_ratings, seeded
    >>> ratings, truth = make_low_rank_ratings(
    ...     60, 40, 2, density=0.5, sigma=0.5, generator=seeded(0)
    ... )
    >>> model, history = als(
    ...     ratings, rank=2, lam=0.5, sweeps=10, generator=seeded(1)
    ... )
    >>> history["objective"].is_monotonic_decreasing
    True
    """
    lam = _checks.real("lam", lam, least=0.0)
    sweeps = _checks.count("sweeps", sweeps, least=0)
    model = MF(
        train.n_users,
        train.n_items,
        rank,
        biases=biases,
        mean=mean,
        init_std=init_std,
        generator=generator,
    ).to(train.values.dtype)
    parts = measured_parts(train, validation, test)

    def record() -> dict[str, float]:
        j = objective(model, train, lam, count_weighted=count_weighted)
        errors = {name: rmse(model, part) for name, part in parts.items()}
        return {"objective": float(j), **errors}

    users, items, targets = train.users, train.items, train.values - model.mean
    user_side = (model.U, model.user_bias)
    item_side = (model.V, model.item_bias)
    with torch.no_grad():
        halves = (
            _Half(users, items, targets, user_side, item_side, lam, count_weighted),
            _Half(items, users, targets, item_side, user_side, lam, count_weighted),
        )
        history = [record()]
        for _ in tqdm(range(sweeps), disable=not progress):
            for half in halves:
                half.solve()
            history.append(record())
    return model, pd.DataFrame(history).rename_axis("sweep")


class _Half:
    """The ridge regressions of one side, the rows, with the other side held fixed."""

    def __init__(
        self,
        rows: Tensor,
        columns: Tensor,
        targets: Tensor,
        own: Side,
        other: Side,
        lam: float,
        count_weighted: bool,
    ) -> None:
        n_rows = own[0].num_embeddings
        counts = torch.bincount(rows, minlength=n_rows)
        weights = counts if count_weighted else torch.ones_like(counts)
        self.penalty = (lam / 2 * weights).to(targets.dtype)
        width = own[0].embedding_dim + (own[1] is not None)
        self.batches = list(row_batches(rows, n_rows, width))
        self.columns, self.targets = columns, targets
        self.own, self.other = own, other

    def solve(self) -> None:
        """Set the rows' factors and biases to the minimiser of J."""
        (factors, bias), (other_factors, other_bias) = self.own, self.other
        features, targets = other_factors.weight, self.targets
        if other_bias is not None:
            # r - mean - c_j = u_i . v_j + b_i * 1: the bias is one more entry of u_i,
            # whose feature is always 1.
            targets = targets - other_bias.weight[self.columns, 0]
            features = torch.cat([features, torch.ones_like(other_bias.weight)], dim=1)
        w = ridge_rows(self.batches, self.columns, targets, features, self.penalty)
        factors.weight.copy_(w[:, : factors.embedding_dim])
        if bias is not None:
            bias.weight.copy_(w[:, factors.embedding_dim :])


def row_batches(
    rows: Tensor, n_rows: int, width: int, chunk: int = 2**22
) -> Iterator[Batch]:
    """Yield batches of rows with similar numbers of ratings, padded to equal length.

    Parameters
    ----------
    rows : Tensor, shape (n,)
        The row of each rating.
    n_rows : int
        How many rows there are; those without ratings are in no batch.
    width : int
        Numbers per entry, and rows and columns of a row's Gram matrix.
    chunk : int
        Numbers that a batch's entries, or its Gram matrices, may need: it bounds the
        memory, except that a batch has at least one row.

    Yields
    ------
    ids : Tensor, shape (B,)
        The rows of this batch.
    entries : Tensor, shape (B, L)
        Positions of their ratings, in the order of the triples, padded.
    present : Tensor of bool, shape (B, L)
        False where an entry is padding: fewer than half of them.
    """
    counts = torch.bincount(rows, minlength=n_rows)
    order = rows.argsort(stable=True)
    starts = counts.cumsum(0) - counts
    # Rows of 1, 2, 3-4, 5-8, ... ratings share a batch.
    size_class = torch.ceil(torch.log2(counts.to(torch.float64)))
    for size in size_class[counts > 0].unique():
        ids = (size_class == size).nonzero().squeeze(1)
        length = int(counts[ids].max())
        for batch in ids.split(max(chunk // (width * max(length, width)), 1)):
            offsets = torch.arange(length)
            present = offsets < counts[batch, None]
            places = starts[batch, None] + offsets
            yield batch, order[places.where(present, 0)], present


def gather(
    batch: Batch, columns: Tensor, targets: Tensor, features: Tensor
) -> tuple[Tensor, Tensor]:
    """Return features (B, L, p) and targets (B, L, 1) of a batch; padding is zero."""
    _, entries, present = batch
    x = features[columns[entries]] * present[..., None]
    return x, (targets[entries] * present)[..., None]


def ridge_rows(
    batches: Iterable[Batch],
    columns: Tensor,
    targets: Tensor,
    features: Tensor,
    penalty: Tensor,
) -> Tensor:
    """Solve one ridge regression for each row of a sparse matrix.

    Parameters
    ----------
    batches : iterable
        From :func:`row_batches`.
    columns, targets : Tensor, shape (n,)
        Column and target t of each entry.
    features : Tensor, shape (n_columns, p)
        The features x of each column.
    penalty : Tensor, shape (n_rows,)
        The a of each row, at least 0.

    Returns
    -------
    Tensor, shape (n_rows, p)
        For each row the w that minimises sum (t - x . w)^2 + a ||w||^2; where that
        leaves a choice, the smallest.
    """
    width = features.shape[1]
    identity = torch.eye(width, dtype=features.dtype)
    tiny = 10 * width * torch.finfo(features.dtype).eps  # of rounding in a Gram matrix
    solution = features.new_zeros(len(penalty), width)
    for batch in batches:
        ids = batch[0]
        x, t = gather(batch, columns, targets, features)
        a = penalty[ids, None, None]
        gram = x.mT @ x
        scale = gram.diagonal(dim1=1, dim2=2).amax(1)[:, None, None]
        if (a > tiny * scale).all():
            factor = torch.linalg.cholesky(gram + a * identity)
            w = torch.cholesky_solve(x.mT @ t, factor)
        else:  # the Gram matrix may be singular: least squares on [x; sqrt(a) I]
            x = torch.cat([x, a.sqrt() * identity], dim=1)
            t = torch.cat([t, t.new_zeros(len(t), width, 1)], dim=1)
            w = torch.linalg.lstsq(x, t, driver="gelsd").solution
        solution[ids] = w.squeeze(-1)
    return solution
