"""Tables of ratings: their columns, their labels as numbers, their times."""

from __future__ import annotations

from numbers import Real
from typing import Any

import pandas as pd

from mflib import _checks


def check_columns(frame: pd.DataFrame, names: list[str]) -> None:
    """Raise unless a table has rows, and each column once, without missing values."""
    _checks.instance("frame", frame, pd.DataFrame, "use pandas.DataFrame(…)")
    columns = frame.columns.tolist()
    for name in names:
        if columns.count(name) != 1 or names.count(name) != 1:
            raise ValueError(
                f"frame must have one column {name!r} for each of user, item, rating "
                f"(and time), got {columns} for {names}; pass user=, item=, rating= "
                f"and time={wide_advice(columns, names)}"
            )
        missing = frame[name].isna().to_numpy()
        if missing.any():
            raise ValueError(
                f"frame[{name!r}] has no value in row {int(missing.argmax())}; "
                "drop the rows that lack one: frame.dropna()"
            )
    if frame.empty:
        raise ValueError("frame has no rows: give at least one rating")


def wide_advice(columns: list[Any], names: list[str]) -> str:
    """Say how a sheet with a column per item becomes one row per rating."""
    if len(columns) < 3 or sum(name in columns for name in names) > 1:
        return ""
    return (
        ". If each item has a column of its own, make the table long first: "
        f'frame = frame.melt({columns[0]!r}, var_name="item", value_name="rating")'
        f".dropna(), then Ratings.from_frame(frame, user={columns[0]!r})"
    )


def numbered(
    name: str, column: pd.Series, labels: pd.Index | None, owner: str = "like"
) -> tuple[Any, pd.Index]:
    """Return each label's place in the owner's labels, or else in sorted order."""
    try:
        if labels is None:
            places, found = pd.factorize(column, sort=True)
            check_one_type(name, list(found))
            return places, pd.Index(found)
        places = labels.get_indexer(pd.Index(column))
    except TypeError as error:  # lists; a mixture without an order
        raise TypeError(
            f"{name!r} holds ids that do not sort ({error}); make them text, as by "
            f"frame.astype({{{name!r}: str}})"
        ) from error
    unknown = places < 0
    if unknown.any():
        at = int(unknown.argmax())
        (label,) = column.iloc[[at]].tolist()
        raise ValueError(
            f"{name!r} holds {label!r} in row {at}, which {owner} lacks, whose "
            f"labels are of dtype {labels.dtype}; leave it out"
        )
    return places, labels


def check_one_type(name: str, labels: list[Any]) -> None:
    """Raise if a number and a text read the same: most likely they are one id."""
    texts = pd.Series([x for x in labels if isinstance(x, str)], dtype=object)
    numbers = [x for x in labels if isinstance(x, Real)]
    same = texts[pd.to_numeric(texts, errors="coerce").isin(numbers)]
    if len(same):
        raise ValueError(
            f"{name!r} holds {same.iloc[0]!r} as text and as a number: one id, or two? "
            f"Make it text, by pandas.read_csv(path, dtype={{{name!r}: str}})"
        )


def seconds(column: pd.Series) -> pd.Series:
    """Return times as numbers: dates as seconds since 1970, in UTC."""
    if pd.api.types.is_datetime64_any_dtype(column):
        utc = pd.to_datetime(column, utc=True)
        return utc.astype("datetime64[s, UTC]").astype("int64")
    return column
