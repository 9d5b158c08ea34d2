"""Ratings.from_frame: tables as pandas may hold them, and what they are taken for."""

import numpy as np
import pandas as pd
import pytest

from mflib import Ratings

STARS = [1.0, 2.0, 3.0]


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame(
        {"user": [3, 1, 3], "item": [10, 10, 20], "rating": STARS} | columns
    )


def read_only(values) -> np.ndarray:
    array = np.array(values)
    array.setflags(write=False)
    return array


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        ([-3, 2**62, -3], [-3, 2**62]),
        (np.array([2**64 - 1, 5, 2**64 - 1], dtype="uint64"), [5, 2**64 - 1]),
        ([2**70, 5, 2**70], [5, 2**70]),
        (pd.array([3, 1, 3], dtype="Int64"), [1, 3]),
        (pd.array(["b", "a", "b"], dtype="string"), ["a", "b"]),
        (["1", 1, "1"], [1, "1"]),  # two ids, and numbers before text
        (pd.Categorical(["b", "a", "b"], categories=["z", "b", "a"]), ["b", "a"]),
        (pd.to_datetime(["2020-01-02", "2020-01-01", "2020-01-02"]), None),
        ([True, False, True], [False, True]),
        ([1.5, -2.0, 1.5], [-2.0, 1.5]),
        (pd.arrays.SparseArray([3, 1, 3]), [1, 3]),
        (read_only([3, 1, 3]), [1, 3]),
        ([(1, 2), (0, 1), (1, 2)], [(0, 1), (1, 2)]),
    ],
)
def test_ids_of_any_kind_that_sorts(ids, labels):
    frame = table(user=ids)
    before = frame.copy(deep=True)
    ratings = Ratings.from_frame(frame)
    if labels is not None:
        assert list(ratings.user_labels) == labels
    assert ratings.to_frame()["user"].tolist() == frame["user"].tolist()
    assert ratings.to_frame()["rating"].tolist() == STARS
    ratings.users[0], ratings.values[0] = 0, 9.0
    pd.testing.assert_frame_equal(frame, before)


@pytest.mark.parametrize(
    "stars",
    [
        pd.array([1, 2, 3], dtype="Int8"),
        pd.array(STARS, dtype="Float32"),
        np.array(STARS, dtype=">f4"),
        pd.Categorical(STARS),
        pd.arrays.SparseArray(STARS),
        read_only(STARS),
    ],
)
def test_ratings_of_any_kind_of_number(stars):
    assert Ratings.from_frame(table(rating=stars)).values.tolist() == STARS


@pytest.mark.parametrize(
    "index", [[5, 5, 5], pd.MultiIndex.from_tuples([(1, 2), (1, 2), (3, 4)])]
)
def test_the_index_does_not_matter(index):
    frame = table().set_index(pd.Index(index))
    assert Ratings.from_frame(frame).to_frame().equals(table())
    frame["item"] = [10, 10, np.nan]
    with pytest.raises(ValueError, match="no value in row 2"):
        Ratings.from_frame(frame)


@pytest.mark.parametrize(
    ("frame", "error", "why"),
    [
        (None, TypeError, "must be a pandas.DataFrame, got None of"),
        ({"user": [1]}, TypeError, "must be a pandas.DataFrame, got {"),
        (table().iloc[:0], ValueError, "frame has no rows"),
        (pd.DataFrame(columns=["user", "item", "rating"]), ValueError, "no rows"),
        (table().set_index("user"), ValueError, "no column 'user'"),
        (pd.concat([table(), table()], axis=1), ValueError, "2 columns 'user'"),
        (
            table().set_axis(
                pd.MultiIndex.from_product([table().columns, ["x"]]), axis=1
            ),
            ValueError,
            "no column 'user', only [('user', 'x')",
        ),
        (
            table(user=[[1], [2], [3]]),
            TypeError,
            "do not sort (unhashable type: 'list'",
        ),
        (table(user=[(1, 2), "a", 3]), TypeError, "frame.astype({'user': str})"),
        (table(user=pd.array([1, None, 1], dtype="Int64")), ValueError, "in row 1"),
        (table(user=pd.Categorical(["a", None, "b"])), ValueError, "in row 1"),
        (table(rating=pd.array([1, 2, None], dtype="Int64")), ValueError, "in row 2"),
        (table(rating=["1", "2", "3"]), TypeError, "must hold numbers"),
        (table(rating=[True, False, True]), TypeError, "must hold numbers"),
        (table(rating=pd.to_datetime([1, 2, 3])), TypeError, "must hold numbers"),
        (table(rating=[1, np.inf, 3]), ValueError, "must be finite, got inf"),
        (table(item=[10, 10, 10]), ValueError, "user 3 with item 10 twice"),
    ],
)
def test_what_is_refused(frame, error, why):
    with pytest.raises(error) as caught:
        Ratings.from_frame(frame)
    assert why in str(caught.value)


def test_one_column_for_two_roles():
    with pytest.raises(
        ValueError, match=r"must be three columns, got \['item', 'item'"
    ):
        Ratings.from_frame(table(), user="item")
