"""The observed ratings: a list of (user, item, value) triples, checked once."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mflib import _checks
from mflib.tables import check_columns, numbered, seconds


@dataclass(frozen=True, eq=False)
class Ratings:
    """The observed entries of a sparse N x M rating matrix.

    Parameters
    ----------
    users, items : array-like of int, shape (n,)
        Row and column of each rating, counted from 0.
    values : array-like of float, shape (n,)
        The ratings, finite, in any unit. A tensor of float32 or float64 keeps its
        dtype; anything else takes torch's default. Every number is a rating: where
        your data mark "not rated" by a number such as -1, drop those rows first.
    n_users, n_items : int
        N and M. Users and items without any rating are allowed.
    user_labels, item_labels : pandas.Index, optional
        Your own ids, one per user and one per item, all different.
    times : array-like of numbers, shape (n,), optional
        When each rating was given, such as seconds since 1970.

    Raises
    ------
    ValueError
        If there is no rating, lengths differ, an id is out of range or not whole, a
        rating is not finite, or a (user, item) pair appears twice.
    TypeError
        If an argument does not hold numbers.

    Notes
    -----
    The triples are copied, to the CPU: later changes to the arguments do not reach
    them.

    Examples
    --------
    >>> ratings = Ratings([0, 0, 1], [0, 2, 1], [4.0, 3.5, 5.0], n_users=2, n_items=3)
    >>> ratings
    Ratings(3 ratings, 2 users, 3 items, density 50.00%)
    >>> matrix, mask = ratings.dense()
    >>> matrix.tolist()
    [[4.0, 0.0, 3.5], [0.0, 5.0, 0.0]]
    """

    users: Tensor
    items: Tensor
    values: Tensor
    _: KW_ONLY
    n_users: int
    n_items: int
    user_labels: pd.Index | None = None
    item_labels: pd.Index | None = None
    times: Tensor | None = None

    @torch.inference_mode(False)  # values made under it could not be learned from
    def __post_init__(self) -> None:
        n_users, n_items = _checks.counts(n_users=self.n_users, n_items=self.n_items)
        advice = "number your own labels with Ratings.from_frame, or raise "
        checked: dict[str, Any] = {
            "users": _checks.ids("users", self.users, n_users, advice + "n_users"),
            "items": _checks.ids("items", self.items, n_items, advice + "n_items"),
            "values": _checks.ratings("values", self.values),
        }
        if self.times is not None:
            checked["times"] = _checks.vector("times", self.times)
        lengths = {name: len(vector) for name, vector in checked.items()}
        if len(set(lengths.values())) > 1 or 0 in lengths.values():
            raise ValueError(
                "users, items, values (and times) must have the same length, at least "
                f"1, got {lengths}; give one entry per rating"
            )
        checked |= {"n_users": n_users, "n_items": n_items}
        for name, size in (("user_labels", n_users), ("item_labels", n_items)):
            checked[name] = one_per_id(name, getattr(self, name), size)
        vars(self).update(checked)  # the class is frozen
        self._check_pairs()

    def _check_pairs(self) -> None:
        """Raise if a user has rated an item twice."""
        cells = self.users * self.n_items + self.items
        if (cells[1:] > cells[:-1]).all():  # sorted: no pair can be there twice
            return
        cells, order = cells.sort(stable=True)
        repeats = (cells[1:] == cells[:-1]).nonzero()
        if len(repeats):
            first, second = order[repeats[0, 0]], order[repeats[0, 0] + 1]
            pair = self.to_frame().astype(object).iloc[int(second)].tolist()[:2]
            raise ValueError(
                f"users and items hold the pair {pair} twice, at positions {first} and "
                f"{second}; keep one rating per pair, such as the last row of a table: "
                'frame.drop_duplicates([user, item], keep="last")'
            )

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return (
            f"Ratings({len(self):,} ratings, {self.n_users:,} users, "
            f"{self.n_items:,} items, density {self.density:.2%})"
        )

    @property
    def density(self) -> float:
        """Share of the N x M cells that are observed."""
        return len(self) / (self.n_users * self.n_items)

    @classmethod
    def from_frame(
        cls,
        frame: pd.DataFrame,
        *,
        user: str = "user",
        item: str = "item",
        rating: str = "rating",
        time: str | None = None,
        like: Ratings | None = None,
    ) -> Ratings:
        """Make ratings from a table: number its users and items, keep their ids.

        Parameters
        ----------
        frame : pandas.DataFrame
            One row per rating.
        user, item, rating : str
            Its columns. Ids may be of any kind that sorts; ratings are numbers.
        time : str, optional
            The column of `times`: whole numbers, or dates.
        like : Ratings, optional
            Number users and items as these ratings do, so that both tables fit one
            model. By default ids are numbered in sorted order.

        Returns
        -------
        Ratings
            With ``user_labels`` and ``item_labels``.

        Raises
        ------
        ValueError
            If a column, an id or a rating is missing, a (user, item) pair appears
            twice, an id is there both as a number and as text, `like` lacks an id,
            or the ratings are not valid.
        TypeError
            If `frame` is not a DataFrame, its ids do not sort, or its ratings are not
            numeric.

        Examples
        --------
        >>> frame = pd.DataFrame(
        ...     {"user": ["ann", "bob"], "item": ["x", "y"], "rating": [4.0, 3.0]}
        ... )
        >>> train = Ratings.from_frame(frame)
        >>> later = pd.DataFrame({"user": ["bob"], "item": ["x"], "rating": [5.0]})
        >>> Ratings.from_frame(later, like=train).users.tolist()
        [1]
        """
        check_columns(frame, [user, item, rating, *([] if time is None else [time])])
        known = (None, None) if like is None else known_labels("like", like)
        users, user_labels = numbered(user, frame[user], known[0])
        items, item_labels = numbered(item, frame[item], known[1])
        return cls(
            users,
            items,
            _checks.ratings(f"frame[{rating!r}]", frame[rating]),
            n_users=len(user_labels),
            n_items=len(item_labels),
            user_labels=user_labels,
            item_labels=item_labels,
            times=None if time is None else _checks.vector(time, seconds(frame[time])),
        )

    def encode(self, users: Any, items: Any) -> tuple[Tensor, Tensor]:
        """Return the ids that models take of your own labels.

        Parameters
        ----------
        users, items : array-like, shape (n,)
            Labels: entries of ``user_labels`` and of ``item_labels``.

        Returns
        -------
        users, items : Tensor of int64, shape (n,)

        Raises
        ------
        ValueError
            If these ratings have no labels, or lack one of those given.

        Examples
        --------
        >>> frame = pd.DataFrame({"user": ["ann"], "item": ["x"], "rating": [4.0]})
        >>> Ratings.from_frame(frame).encode(["ann"], ["x"])
        (tensor([0]), tensor([0]))
        """
        user_labels, item_labels = known_labels("ratings", self)
        user_ids, _ = numbered("users", pd.Series(users), user_labels, "ratings")
        item_ids, _ = numbered("items", pd.Series(items), item_labels, "ratings")
        return torch.from_numpy(user_ids), torch.from_numpy(item_ids)

    def to_frame(self) -> pd.DataFrame:
        """Return a table with columns user, item, rating and, where known, time.

        Its users and items are the labels.
        """
        columns = {"user": self.users, "item": self.items, "rating": self.values}
        frame = pd.DataFrame({name: ids.numpy() for name, ids in columns.items()})
        if self.user_labels is not None:
            frame["user"] = self.user_labels[self.users.numpy()]
        if self.item_labels is not None:
            frame["item"] = self.item_labels[self.items.numpy()]
        return frame if self.times is None else frame.assign(time=self.times.numpy())

    def dense(self) -> tuple[Tensor, Tensor]:
        """Return R (0 where unobserved) and the mask I, both of shape (N, M)."""
        matrix = self.values.new_zeros(self.n_users, self.n_items)
        mask = torch.zeros_like(matrix)
        matrix[self.users, self.items] = self.values
        mask[self.users, self.items] = 1.0
        return matrix, mask

    def subset(self, chosen: Any) -> Ratings:
        """Return the ratings at some positions, or under a mask.

        The matrix keeps its size and labels, so ids mean the same in every subset.

        Parameters
        ----------
        chosen : array-like of int or of bool
            Positions; or a mask, one bool per rating, such as ``ratings.times < cut``.
            Tensors, arrays, lists and columns of a table will do; a column's index
            is not looked at.
        """
        n, positions = len(self), np.asarray(chosen)
        if positions.dtype == bool:
            if positions.shape != (n,):
                raise ValueError(
                    f"chosen must be a mask of shape ({n},), one bool per rating, got "
                    f"shape {positions.shape}"
                )
            positions = positions.nonzero()[0]
        advice = "give positions, or a mask of one bool per rating"
        chosen = _checks.ids("chosen", positions, n, advice)
        if not len(chosen):
            raise ValueError("chosen must select at least one rating, got none")
        return replace(
            self,
            users=self.users[chosen],
            items=self.items[chosen],
            values=self.values[chosen],
            times=None if self.times is None else self.times[chosen],
        )

    def split(
        self,
        *fractions: float,
        generator: torch.Generator,
        stratify: Literal["user"] | None = None,
    ) -> tuple[Ratings, ...]:
        """Split into disjoint random parts that together are the whole.

        Parameters
        ----------
        *fractions : float
            The share of each part: two or more, each positive, summing to 1.
        generator : torch.Generator
            Source of the shuffle: the same state gives the same parts.
        stratify : {"user", None}
            With "user", each user's own ratings are divided in these shares, to
            within one rating: a small part may have none of a user with few.

        Returns
        -------
        tuple of Ratings
            One per fraction, each in the order of the original triples.

        Raises
        ------
        ValueError
            If the fractions are not as above, or a part would be empty.
        """
        _checks.generator(generator)
        _checks.choice("stratify", stratify, None, "user")
        shares = [_checks.real("fractions", f, above=0.0) for f in fractions]
        if len(shares) < 2 or abs(sum(shares) - 1.0) > 1e-9:
            raise ValueError(
                f"fractions must be two or more shares that sum to 1, got {fractions}"
            )
        n = len(self)
        position = torch.empty(n, dtype=torch.float64)
        shuffle = torch.randperm(n, generator=generator)
        if stratify is None:
            position[shuffle] = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        else:
            # Number each user's ratings in this order, and spread them evenly over
            # [0, 1) from a random start.
            users = self.users[shuffle]
            number = pd.Series(users).groupby(users.numpy()).cumcount().to_numpy()
            start = torch.rand(self.n_users, generator=generator, dtype=torch.float64)
            counts = torch.bincount(users)
            position[shuffle] = (torch.tensor(number) + start[users]) / counts[users]
        edges = torch.tensor(shares, dtype=torch.float64).cumsum(0)[:-1]
        part = torch.bucketize(position, edges, right=True)
        sizes = torch.bincount(part, minlength=len(shares))
        if (sizes == 0).any():
            raise ValueError(
                f"fractions {fractions} of {n} ratings leave a part empty; "
                "give more ratings or larger shares"
            )
        return tuple(self.subset(part == p) for p in range(len(shares)))


def one_per_id(name: str, labels: Any, size: int) -> pd.Index | None:
    """Return labels as an index, if there is one for each id, all different."""
    if labels is None:
        return None
    # Parts of one table share their labels.
    index: pd.Index = labels if isinstance(labels, pd.Index) else pd.Index(labels)
    if len(index) != size or not index.is_unique:
        raise ValueError(
            f"{name} must have {size} different entries, one per id, got "
            f"{len(index)}, {index.nunique()} of them different"
        )
    return index


def known_labels(name: str, given: Any) -> tuple[pd.Index, pd.Index]:
    """Return the labels of ratings, which must have them."""
    users, items = (getattr(given, f"{side}_labels", None) for side in ("user", "item"))
    if users is None or items is None:
        raise ValueError(
            f"{name} must have labels of users and items, got {given!r:.80}; make it "
            "with Ratings.from_frame"
        )
    return users, items
