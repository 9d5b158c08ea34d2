"""The ratings as a sparse matrix: fast products and Gram matrices, one row per user."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from mflib.model import MF
from mflib.ratings import Ratings

with warnings.catch_warnings():  # torch says once per process that CSR is in beta
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1), check_invariants=False)


class SparseRows:
    """Entries of a sparse matrix, sorted by row (compressed sparse rows, CSR).

    Parameters
    ----------
    rows, columns, values : Tensor, shape (n,)
        Of each entry: users, items and ratings, or items, users and ratings.
    n_rows, n_columns : int

    Attributes
    ----------
    counts : Tensor, shape (n_rows,)
        How many entries each row has.
    starts : Tensor, shape (n_rows + 1,)
        Where each row's entries begin, once sorted by row.
    columns, values : Tensor, shape (n,)
        Of each entry, sorted by row.
    """

    def __init__(
        self,
        rows: Tensor,
        columns: Tensor,
        values: Tensor,
        n_rows: int,
        n_columns: int,
    ) -> None:
        self.shape = (n_rows, n_columns)
        self.counts = torch.bincount(rows, minlength=n_rows)
        ends = self.counts.cumsum(0).to(torch.int32)  # 32 bits: half the memory to read
        self.starts = torch.cat([ends.new_zeros(1), ends])
        sorted_already = bool((rows[1:] >= rows[:-1]).all())
        self._order = None if sorted_already else rows.argsort(stable=True)
        self.columns = self.sorted(columns.to(torch.int32))
        self.values = self.sorted(values)

    def sorted(self, values: Tensor) -> Tensor:
        """Return values, given in the order of the triples, sorted by row."""
        return values if self._order is None else values.index_select(0, self._order)

    def unsorted(self, values: Tensor) -> Tensor:
        """Undo :meth:`sorted`."""
        if self._order is None:
            return values
        return torch.empty_like(values).index_copy_(0, self._order, values)

    def matrix(self, values: Tensor) -> Tensor:
        """Return the sparse matrix with these values, which are sorted by row."""
        return torch.sparse_csr_tensor(
            self.starts, self.columns, values, self.shape, check_invariants=False
        )

    def add_products(self, values: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Add u_i . v_j to the value of each entry, in place, and return the values."""
        pattern = self.matrix(values)
        torch.sparse.sampled_addmm(pattern, u, v.mT, out=pattern)
        return values

    @cached_property
    def size_classes(self) -> list[tuple[Tensor, Tensor]]:
        """Rows with similar counts: their ids (B,), and their columns (B, L).

        Shorter rows are padded by the column n_columns, which does not exist: less
        than a third of the places. Rows without entries are in no class.
        """
        padding = self.columns.new_tensor([self.shape[1]])
        columns = torch.cat([self.columns, padding])
        size = (self.counts.log() / math.log(1.5)).ceil()
        classes = []
        for one in size[self.counts > 0].unique():
            ids = (size == one).nonzero().squeeze(1)
            counts = self.counts[ids, None]
            offsets = torch.arange(int(counts.max()))
            places = self.starts[ids, None] + offsets
            classes.append((ids, columns[places.where(offsets < counts, -1)]))
        return classes

    def grams(
        self, features: Tensor, chunk: int = 2**20
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of rows with the sum of x x^T over each row's entries.

        A batch is overwritten by the next.

        Parameters
        ----------
        features : Tensor, shape (n_columns, p)
            The x of each column.
        chunk : int
            Numbers that the features gathered at a time, or their Gram matrices, may
            be: what fits the processor's cache. It bounds the memory, too.

        Yields
        ------
        ids : Tensor, shape (B,)
        gram : Tensor, shape (B, p, p)
        """
        p = features.shape[1]
        features = torch.cat([features, features.new_zeros(1, p)])  # padding adds zero
        gram = features.new_empty(max(chunk // p**2, 1), p, p)
        ready: list[Tensor] = []  # ids of the rows whose Gram matrices it holds
        filled = 0
        for ids, columns in self.size_classes:
            size = min(max(chunk // (p * columns.shape[1]), 1), len(gram))
            for some, theirs in zip(ids.split(size), columns.split(size), strict=True):
                if filled + len(some) > len(gram):
                    yield torch.cat(ready), gram[:filled]
                    ready, filled = [], 0
                mine = gram[filled : filled + len(some)].zero_()
                # Long rows in pieces, whose Gram matrices add up.
                for piece in theirs.split(max(chunk // p, 1), dim=1):
                    x = nn.functional.embedding(piece, features)
                    mine.baddbmm_(x.mT, x)
                ready.append(some)
                filled += len(some)
        if ready:
            yield torch.cat(ready), gram[:filled]


def both_sides(ratings: Ratings, values: Tensor) -> tuple[SparseRows, SparseRows]:
    """Return values at the ratings' places, sorted by user, and sorted by item."""
    users, n_users = ratings.users, ratings.n_users
    items, n_items = ratings.items, ratings.n_items
    return (
        SparseRows(users, items, values, n_users, n_items),
        SparseRows(items, users, values, n_items, n_users),
    )


class _Products(torch.autograd.Function):
    """mean + u_i . v_j of each rating, with sparse products for its gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        u: Tensor,
        v: Tensor,
        mean: float,
        users: SparseRows,
        items: SparseRows,
    ) -> Tensor:
        ctx.save_for_backward(u, v)
        ctx.users, ctx.items = users, items
        predictions = u.new_full(users.columns.shape, mean)
        return users.unsorted(users.add_products(predictions, u, v))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        u, v = ctx.saved_tensors
        grad_u = ctx.users.matrix(ctx.users.sorted(grad)) @ v
        grad_v = ctx.items.matrix(ctx.items.sorted(grad)) @ u
        return grad_u, grad_v, None, None, None


def full_batch(model: nn.Module, ratings: Ratings) -> Callable[[], Tensor] | None:
    """Return a fast equivalent of ``model(ratings.users, ratings.items)``, or None.

    Equal up to rounding: it adds in another order. It exists for a plain :class:`MF`,
    where all predictions are entries of one matrix product, and their gradients are two
    products with a sparse matrix.
    """
    if not _is_plain(model):
        return None
    assert isinstance(model, MF)
    users, items = both_sides(ratings, ratings.values)
    mean = float(model.mean)

    def predict() -> Tensor:
        u, v = model.U.weight, model.V.weight
        if model.user_bias is not None and model.item_bias is not None:
            b, c = model.user_bias.weight, model.item_bias.weight
            # u.v + b + c = [u, b, 1] . [v, 1, c]
            u = torch.cat([u, b, torch.ones_like(b)], dim=1)
            v = torch.cat([v, torch.ones_like(c), c], dim=1)
        products: Tensor = _Products.apply(u, v, mean, users, items)  # type: ignore[no-untyped-call]
        return products

    return predict


def _is_plain(model: nn.Module) -> bool:
    """Whether a model is MF itself, unhooked, with embeddings of the usual kind."""
    embeddings = list(model.children())
    return (
        type(model) is MF
        and not any(
            value  # a hook, or a forward method of its own
            for module in model.modules()
            for name, value in vars(module).items()
            if "forward" in name or "backward" in name
        )
        and all(
            type(e) is nn.Embedding
            and not (e.sparse or e.scale_grad_by_freq or e.max_norm)
            and e.padding_idx is None
            and e.weight.device.type == "cpu"
            for e in embeddings
        )
        and {e.weight.dtype for e in embeddings} in ({torch.float32}, {torch.float64})
    )
