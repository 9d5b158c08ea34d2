"""The observed ratings: a list of (user, item, value) triples, checked once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mflib import _checks


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
    times : array-like of int, shape (n,), optional
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
        n_users = _checks.count("n_users", self.n_users)
        n_items = _checks.count("n_items", self.n_items)
        users = _checks.ids("users", self.users, n_users, "n_users")
        items = _checks.ids("items", self.items, n_items, "n_items")
        values = _checks.vector("values", self.values)
        widths = torch.float32, torch.float64
        if not (isinstance(self.values, Tensor) and values.dtype in widths):
            values = values.to(torch.get_default_dtype())
        if not len(users) == len(items) == len(values):
            raise ValueError(
                "users, items and values must have the same length, got "
                f"{len(users)}, {len(items)} and {len(values)}"
            )
        times = None if self.times is None else _checks.vector("times", self.times)
        if times is not None and (
            times.is_floating_point() or len(times) != len(users)
        ):
            raise ValueError(
                f"times must be {len(users)} whole numbers, one per rating, got "
                f"{len(times)} of {times.dtype}; round them, for example to seconds"
            )
        if len(values) == 0:
            raise ValueError("values is empty: give at least one rating")
        infinite = ~torch.isfinite(values)
        if infinite.any():
            at = int(infinite.nonzero()[0])
            raise ValueError(
                f"values must be finite, got {values[at].item()} at position {at}; "
                "leave unknown ratings out instead of marking them"
            )
        largest = float(values.abs().max())
        if largest > _checks.LARGEST or not values.square().sum().isfinite():
            raise ValueError(
                f"values must be at most {_checks.LARGEST:g} in size, and the sum of "
                f"their squares finite, got {largest:g} in {values.dtype}; give them "
                "in a larger unit"
            )
        cells = users * n_items + items
        if not (cells[1:] > cells[:-1]).all():  # sorted ones cannot hold a pair twice
            cells, positions = cells.sort(stable=True)
            repeats = (cells[1:] == cells[:-1]).nonzero()
        else:
            repeats = cells.new_zeros(0)
        if len(repeats):
            first, second = positions[repeats[0, 0]], positions[repeats[0, 0] + 1]
            raise ValueError(
                f"users and items hold the pair ({users[first]}, {items[first]}) "
                f"twice, at positions {first} and {second}; keep one rating per pair"
            )
        checked: dict[str, Any] = {"users": users, "items": items, "values": values}
        checked |= {"n_users": n_users, "n_items": n_items, "times": times}
        for name, size in (("user_labels", n_users), ("item_labels", n_items)):
            if getattr(self, name) is not None:
                try:
                    labels = getattr(self, name)
                    # Kept as it is, so that parts share it: cheap to compare.
                    if not isinstance(labels, pd.Index):
                        labels = pd.Index(labels)
                    checked[name] = labels
                    unique = labels.is_unique
                except (TypeError, ValueError) as error:  # a number; lists; a table
                    raise TypeError(
                        f"{name} must be a pandas.Index, got "
                        f"{getattr(self, name)!r:.80} ({error})"
                    ) from error
                if len(labels) != size or not unique:
                    raise ValueError(
                        f"{name} must have {size} different entries, one per id, "
                        f"got {len(labels)}, {labels.nunique()} of them different"
                    )
        for name, value in checked.items():
            object.__setattr__(self, name, value)

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
            model. By default ids are numbered in the order of their kind.

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
            If `frame` is no table, its ids do not sort, or its ratings are no numbers.

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
        names = {"user": user, "item": item, "rating": rating}
        if time is not None:
            names["time"] = time
        _check_columns(frame, names)
        user_labels = item_labels = None
        if like is not None:
            _checks.instance("like", like, Ratings, "make it with Ratings.from_frame")
            user_labels, item_labels = like.user_labels, like.item_labels
            if user_labels is None or item_labels is None:
                raise ValueError(
                    f"like must have labels of users and items, got {like} without; "
                    "make it with Ratings.from_frame"
                )
        users, user_labels = _numbered(frame, user, "user_labels", user_labels)
        items, item_labels = _numbered(frame, item, "item_labels", item_labels)
        repeated = frame.duplicated([user, item]).to_numpy()
        if repeated.any():
            at = int(repeated.argmax())
            pair = [frame[name].iloc[[at]].tolist()[0] for name in (user, item)]
            raise ValueError(
                f"frame holds {user} {pair[0]!r} with {item} {pair[1]!r} twice, the "
                f"second time in row {at}; keep one rating per pair, such as the last: "
                f'frame.drop_duplicates([{user!r}, {item!r}], keep="last")'
            )
        values = _checks.vector(f"frame[{rating!r}]", frame[rating])
        return cls(
            _checks.vector("users", users),
            _checks.vector("items", items),
            values.to(torch.get_default_dtype()),
            n_users=len(user_labels),
            n_items=len(item_labels),
            user_labels=user_labels,
            item_labels=item_labels,
            times=None if time is None else _times(frame[time]),
        )

    def to_frame(self) -> pd.DataFrame:
        """Return a table with columns user, item, rating and, where known, time.

        Its users and items are the labels.
        """
        users, items = self.users.numpy(), self.items.numpy()
        frame = pd.DataFrame(
            {
                "user": users if self.user_labels is None else self.user_labels[users],
                "item": items if self.item_labels is None else self.item_labels[items],
                "rating": self.values.numpy(),
            }
        )
        return frame if self.times is None else frame.assign(time=self.times.numpy())

    def dense(self) -> tuple[Tensor, Tensor]:
        """Return R (0 where unobserved) and the mask I, both of shape (N, M)."""
        with _checks.within_bounds(f"n_users={self.n_users} * n_items={self.n_items}"):
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
        n = len(self)
        listed = not isinstance(chosen, Tensor) and pd.api.types.is_list_like(chosen)
        if listed and pd.api.types.infer_dtype(chosen) == "boolean":
            missing = pd.isna(np.asarray(chosen))
            if missing.any():
                raise ValueError(
                    f"chosen has no value at position {missing.argmax()}; make it "
                    "False: chosen.fillna(False)"
                )
            chosen = torch.tensor(np.asarray(chosen, dtype=bool))
        if isinstance(chosen, Tensor) and chosen.dtype == torch.bool:
            if chosen.shape != (n,):
                raise ValueError(
                    f"chosen must be a mask of shape ({n},), one entry per rating, "
                    f"got shape {tuple(chosen.shape)}"
                )
            chosen = chosen.nonzero().flatten()
        else:
            advice = "give positions, or a mask of one bool per rating"
            chosen = _checks.ids("chosen", chosen, n, f"{n} ratings", advice)
        if not len(chosen):
            raise ValueError("chosen must select at least one rating, got none")
        return Ratings(
            self.users[chosen],
            self.items[chosen],
            self.values[chosen],
            n_users=self.n_users,
            n_items=self.n_items,
            user_labels=self.user_labels,
            item_labels=self.item_labels,
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
        _checks.generator("generator", generator)
        shares = [_checks.real("fractions", f, above=0.0) for f in fractions]
        if len(shares) < 2 or abs(sum(shares) - 1.0) > 1e-9:
            raise ValueError(
                f"fractions must be two or more shares that sum to 1, got {fractions}"
            )
        if stratify not in (None, "user"):
            raise ValueError(f'stratify must be "user" or None, got {stratify!r}')
        n = len(self)
        position = torch.empty(n, dtype=torch.float64)
        shuffle = torch.randperm(n, generator=generator)
        if stratify is None:
            position[shuffle] = (torch.arange(n, dtype=torch.float64) + 0.5) / n
        else:
            # Shuffle, then sort by user: each user's ratings stand together in random
            # order. Spread them evenly over [0, 1) from a random start.
            order = shuffle[self.users[shuffle].argsort(stable=True)]
            counts = torch.bincount(self.users, minlength=self.n_users)
            starts = counts.cumsum(0) - counts
            user = self.users[order]
            within = torch.arange(n) - starts[user]
            offset = torch.rand(self.n_users, generator=generator, dtype=torch.float64)
            position[order] = (within + offset[user]) / counts[user]
        edges = torch.tensor(shares, dtype=torch.float64).cumsum(0)[:-1]
        part = torch.bucketize(position, edges, right=True)
        sizes = torch.bincount(part, minlength=len(shares))
        if (sizes == 0).any():
            raise ValueError(
                f"fractions {fractions} of {n} ratings leave a part empty; "
                "give more ratings or larger shares"
            )
        return tuple(self.subset(part == p) for p in range(len(shares)))


def _check_columns(frame: pd.DataFrame, names: dict[str, str]) -> None:
    """Raise unless a table has rows, and each column once, without missing values."""
    _checks.instance("frame", frame, pd.DataFrame, "use pandas.DataFrame(…)")
    columns = frame.columns.tolist()
    for role, name in names.items():
        if not pd.api.types.is_hashable(name):
            raise TypeError(
                f"{role} must be the name of a column, got {name!r:.80}; pass a str"
            )
    for name in names.values():
        if columns.count(name) != 1:
            found = f"{columns.count(name)} columns" * (name in columns)
            advice = wide_advice(columns, names.values())
            raise ValueError(
                f"frame has {found or 'no column'} {name!r}, only {columns}; "
                f"name the columns with {'=, '.join(names)}={advice}"
            )
    if len(set(names.values())) != len(names):
        raise ValueError(
            f"{', '.join(names)} must be different columns, got {[*names.values()]}"
        )
    if frame.empty:
        raise ValueError("frame has no rows: give at least one rating")
    for name in names.values():
        missing = frame[name].isna().to_numpy()
        if missing.any():
            raise ValueError(
                f"frame[{name!r}] has no value in row {int(missing.argmax())}; "
                "drop the rows that lack one: frame.dropna()"
            )


def wide_advice(columns: list[Any], names: Iterable[str], table: str = "frame") -> str:
    """Say how a sheet with a column per item becomes one row per rating."""
    if len(columns) < 3 or sum(name in columns for name in names) > 1:
        return ""
    return (
        ". If each item has a column of its own, make the table long first: "
        f'frame = {table}.melt({columns[0]!r}, var_name="item", value_name="rating")'
        f".dropna(), then Ratings.from_frame(frame, user={columns[0]!r})"
    )


def _numbered(
    frame: pd.DataFrame, name: str, side: str, labels: pd.Index | None
) -> tuple[Any, pd.Index]:
    """Return each id's number, by given labels or in the order of its kind."""
    try:
        if labels is None:
            places, found = pd.factorize(frame[name], sort=True)
            _check_one_type(name, list(found))
            return places, pd.Index(found)
        places = labels.get_indexer(pd.Index(frame[name]))
    except TypeError as error:  # lists; a mixture without an order
        raise TypeError(
            f"frame[{name!r}] holds ids that do not sort "
            f"({error}); make them text, as by frame.astype({{{name!r}: str}})"
        ) from error
    unknown = places < 0
    if unknown.any():
        at = int(unknown.argmax())
        (label,) = frame[name].iloc[[at]].tolist()
        raise ValueError(
            f"frame[{name!r}] holds {label!r} in row {at}, "
            f"which like.{side}, of dtype {labels.dtype}, lacks; drop such rows: "
            f"frame[frame[{name!r}].isin(like.{side})]"
        )
    return places, labels


def _check_one_type(name: str, labels: list[Any]) -> None:
    """Raise if a number and a text read the same: most likely they are one id."""
    texts = pd.Series([x for x in labels if isinstance(x, str)], dtype=object)
    numbers = [x for x in labels if isinstance(x, Real)]
    same = texts[pd.to_numeric(texts, errors="coerce").isin(numbers)]
    if len(same):
        raise ValueError(
            f"frame[{name!r}] holds {same.iloc[0]!r} as text and as a number, which "
            "would be two ids; read the file with "
            f"pandas.read_csv(path, dtype={{{name!r}: str}})"
        )


def _times(column: pd.Series) -> Any:
    """Return times as numbers: dates as seconds since 1970, in UTC."""
    if isinstance(column.dtype, pd.DatetimeTZDtype):
        column = column.dt.tz_convert(None)
    if pd.api.types.is_datetime64_dtype(column):
        column = column.astype("datetime64[s]").astype("int64")
    return column
