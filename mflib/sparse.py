"""The ratings as sparse matrices, by user and by item: products and Gram matrices."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from mflib import _checks
from mflib.ratings import Ratings

with warnings.catch_warnings():  # torch says once per process that CSR is in beta
    warnings.simplefilter("ignore")
    torch.sparse_csr_tensor([0, 0], [], [], (1, 1), check_invariants=False)


class CSR:
    """A sparse matrix: its entries sorted by row (compressed sparse rows).

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
        self, rows: Tensor, columns: Tensor, values: Tensor, n_rows: int, n_columns: int
    ) -> None:
        self.shape = (n_rows, n_columns)
        # Narrow numbers sort in half the time.
        rows = rows.to(torch.int16 if n_rows < 2**15 else torch.int32)
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
        # PyTorch multiplies rows of fewer than eight numbers one at a time.
        u, v = (nn.functional.pad(x, (0, max(8 - x.shape[1], 0))) for x in (u, v))
        pattern = self.matrix(values)
        torch.sparse.sampled_addmm(pattern, u, v.mT, out=pattern)
        return values

    @cached_property
    def size_classes(self) -> list[tuple[Tensor, Tensor]]:
        """Rows with similar counts: their ids (B,), and their columns (B, L).

        Shorter rows are padded with the column n_columns, which does not exist: less
        than a third of the columns. Rows without entries are in no class.
        """
        columns = nn.functional.pad(self.columns, (0, 1), value=self.shape[1])
        log_size = (self.counts.log() / math.log(1.5)).ceil()
        classes = []
        for level in log_size[self.counts > 0].unique():
            ids = (log_size == level).nonzero().squeeze(1)
            counts = self.counts[ids, None]
            offsets = torch.arange(int(counts.max()))
            places = self.starts[ids, None] + offsets
            padded = places.where(offsets < counts, -1)  # the last is the padding
            classes.append((ids, columns[padded]))
        return classes

    def grams(
        self, features: Tensor, chunk: int = 2**19
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield batches of rows with the sum of x x^T over each row's entries.

        Parameters
        ----------
        features : Tensor, shape (n_columns, p)
            The x of each column.
        chunk : int
            The most numbers gathered at a time, of features or of Gram matrices: what
            fits the processor's cache. It bounds the memory, too.

        Yields
        ------
        ids : Tensor, shape (B,)
        gram : Tensor, shape (B, p, p)
        """
        p = features.shape[1]
        if max(self.shape) * p**2 <= 2 * chunk:
            # The cache holds the x x^T of all columns: a sparse product adds them up.
            squares = (features[:, :, None] * features[:, None, :]).flatten(1)
            sums = self.matrix(features.new_ones(len(self.columns))) @ squares
            ids = self.counts.nonzero().squeeze(1)
            yield ids, sums[ids].view(-1, p, p)
            return
        features = torch.cat([features, features.new_zeros(1, p)])  # padding adds zero
        for ids, columns in self.size_classes:
            size = max(chunk // (p * max(p, columns.shape[1])), 1)
            for some, theirs in zip(ids.split(size), columns.split(size), strict=True):
                # Long rows in pieces, whose Gram matrices add up.
                gram = features.new_zeros(len(some), p, p)
                for piece in theirs.split(max(chunk // p, 1), dim=1):
                    x = nn.functional.embedding(piece, features)
                    gram.baddbmm_(x.mT, x)
                yield some, gram


class SparseRatings:
    """Ratings less a mean, sorted by user and by item, with or without biases.

    All functions that take or return ``users`` mean one matrix with a row per user:
    u_i, then b_i where there are biases; ``items`` likewise.
    """

    def __init__(
        self,
        ratings: Ratings,
        *,
        rank: int,
        biases: bool,
        mean: float,
        dtype: torch.dtype | None = None,
    ) -> None:
        dtype = ratings.values.dtype if dtype is None else dtype
        _checks.choice("dtype", dtype, torch.float32, torch.float64)
        values = (ratings.values - mean).to(dtype)
        users, n_users = ratings.users, ratings.n_users
        items, n_items = ratings.items, ratings.n_items
        self.rank, self.biases, self.dtype = rank, biases, dtype
        self.by_user = CSR(users, items, values, n_users, n_items)
        self.by_item = CSR(items, users, values, n_items, n_users)

    def __len__(self) -> int:
        return len(self.by_user.values)

    def user_regressions(self, items: Tensor) -> tuple[CSR, Tensor, Tensor]:
        """Return the ratings by user, with the targets and features of regressions.

        Given items, each user's row is the coefficients of a linear regression: of the
        ratings, less c_j, on v_j, and on a 1 for b_i.
        """
        return self._regressions(self.by_user, items)

    def item_regressions(self, users: Tensor) -> tuple[CSR, Tensor, Tensor]:
        """Return the same by item, given users."""
        return self._regressions(self.by_item, users)

    def _regressions(self, side: CSR, others: Tensor) -> tuple[CSR, Tensor, Tensor]:
        k = self.rank  # what follows, if anything, is the bias
        features = torch.cat([others[:, :k], torch.ones_like(others[:, k:])], dim=1)
        biases = others[:, k:].sum(1).index_select(0, side.columns)
        return side, side.values - biases, features

    def errors(self, users: Tensor, items: Tensor) -> Tensor:
        """Return prediction less rating of each entry, sorted by user."""
        b, (v, c) = users[:, self.rank :], items.tensor_split([self.rank], dim=1)
        # u.v + b + c = [u, b, 1] . [v, 1, c]
        users = torch.cat([users, torch.ones_like(b)], dim=1)
        items = torch.cat([v, torch.ones_like(c), c], dim=1)
        return self.by_user.add_products(-self.by_user.values, users, items)


def sparse(
    parts: dict[str, Ratings], dtype: torch.dtype | None, **how: Any
) -> dict[str, SparseRatings]:
    """Return the ratings of each part, as sparse matrices, all of one dtype."""
    dtype = parts["train"].values.dtype if dtype is None else dtype
    return {k: SparseRatings(part, dtype=dtype, **how) for k, part in parts.items()}
