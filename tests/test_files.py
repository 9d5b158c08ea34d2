"""The reader's own tables: how they are read, what is said of faults."""

import re

import numpy as np
import pandas as pd
import pytest
import torch

import mflib
from mflib import MF, Ratings, als, bias_baseline, fetch_movielens, fit, gibbs, seeded

# Tables

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
        (["1", 2, "1"], [2, "1"]),  # numbers before text
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
        (
            table(item=[10, 10, 10]),
            ValueError,
            "user 3 with item 10 twice, the second time in row 2; keep one rating per "
            "pair, such as the last: frame.drop_duplicates(['user', 'item'], "
            'keep="last")',
        ),
    ],
)
def test_what_is_refused(frame, error, why):
    with pytest.raises(error) as caught:
        Ratings.from_frame(frame)
    assert why in str(caught.value)


def test_one_column_for_two_roles():
    with pytest.raises(
        ValueError, match=r"must be different columns, got \['item', 'item'"
    ):
        Ratings.from_frame(table(), user="item")


@pytest.mark.parametrize(
    "ids",
    [[5, "5", 6], [5.0, "5", 6], [5, "5.0", 6], [7, "x", "007"], [2.5, "2.5", 1]],
)
@pytest.mark.parametrize("kind", [list, pd.Categorical])
def test_a_number_and_a_text_that_read_the_same(ids, kind):
    frame = table(item=pd.Series(kind(ids), dtype=None if kind is not list else object))
    with pytest.raises(ValueError, match=r"dtype=\{'item': str\}") as caught:
        Ratings.from_frame(frame)
    assert str(caught.value).startswith("frame['item'] holds '")


def test_a_long_file_whose_ids_pandas_reads_in_two_types(tmp_path):
    path = tmp_path / "mixed.csv"
    rows = [f"u{i // 500},{100_000 + i % 500},3\n" for i in range(300_000)]
    rows[-1] = "x,10000X,3\n"
    path.write_text("user,item,rating\n" + "".join(rows), encoding="utf-8")
    with pytest.warns(pd.errors.DtypeWarning):
        frame = pd.read_csv(path)
    with pytest.raises(ValueError, match="as text and as a number"):
        Ratings.from_frame(frame)
    frame = pd.read_csv(path, dtype={"item": str})  # as the message says
    assert Ratings.from_frame(frame).n_items == 501
    columns = ("user", "item", "rating")
    assert fetch_movielens(path, columns=columns)[0].n_items == 501


# Two tables, one numbering

PEOPLE = ["ann", "bob", "cho"]


def people(names: list[str], items: list[int], **columns) -> pd.DataFrame:
    stars = [float(3 + i % 2) for i in range(len(names))]
    return pd.DataFrame({"user": names, "item": items, "rating": stars} | columns)


TRAIN = Ratings.from_frame(people([*PEOPLE, "ann"], [1, 2, 3, 2]))


def test_like_puts_a_second_table_on_the_first_ones_numbering():
    later = people(["cho", "ann"], [1, 3])
    part = Ratings.from_frame(later, like=TRAIN)
    assert (part.n_users, part.n_items) == (3, 3)
    assert (part.users.tolist(), part.items.tolist()) == ([2, 0], [0, 2])
    assert part.user_labels is TRAIN.user_labels
    pd.testing.assert_frame_equal(part.to_frame(), later, check_dtype=False)


@pytest.mark.parametrize(
    ("later", "words"),
    [
        (people(["cho", "dan"], [1, 3]), ["'user'", "'dan' in row 1", "user_labels"]),
        (people(["cho", "ann"], [9, 3]), ["'item'", "9 in row 0", "item_labels"]),
        (people(["cho"], ["1"]), ["'item'", "'1' in row 0", "dtype int64"]),
        (people(["ann"], [1]).assign(user=1), ["'user'", "1 in row 0"]),
    ],
)
def test_labels_that_like_lacks_are_named(later, words):
    with pytest.raises(ValueError, match=r"drop such rows: frame\[frame") as caught:
        Ratings.from_frame(later, like=TRAIN)
    for word in words:
        assert word in str(caught.value)
    (remedy,) = re.findall(r"rows: (.*)", str(caught.value))
    kept = eval(remedy, {"frame": later, "like": TRAIN})  # noqa: S307
    assert len(kept) == len(later) - 1


@pytest.mark.parametrize("like", [Ratings([0], [0], [1.0], n_users=1, n_items=1), 3])
def test_like_must_have_labels(like):
    with pytest.raises((ValueError, TypeError), match=r"^like must .*from_frame"):
        Ratings.from_frame(people(["ann"], [1]), like=like)


OTHER_USERS = Ratings.from_frame(people(["ann", "bob", "dan", "ann"], [1, 2, 3, 2]))
OTHER_ITEMS = Ratings.from_frame(people([*PEOPLE, "ann"], [1, 2, 4, 2]))


def adam(train: Ratings, **parts: Ratings) -> MF:
    model = MF(train.n_users, train.n_items, 1, generator=seeded(0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    fit(model, train, optimizer=optimizer, epochs=2, **parts)
    return model


FITS = {
    "fit": adam,
    "als": lambda train, **parts: als(train, rank=1, lam=1.0, sweeps=2, **parts)[0],
    "gibbs": lambda train, **parts: gibbs(
        train, rank=1, samples=2, burn_in=1, generator=seeded(0), **parts
    )[0],
    "bias_baseline": bias_baseline,
}


@pytest.mark.parametrize("other", [OTHER_USERS, OTHER_ITEMS])
@pytest.mark.parametrize("part", ["validation", "test"])
@pytest.mark.parametrize("fitter", ["fit", "als", "gibbs"])
def test_parts_whose_labels_differ_are_refused(fitter, part, other):
    side, old, new = (
        ("user", "'cho'", "'dan'") if other is OTHER_USERS else ("item", "3", "4")
    )
    with pytest.raises(ValueError, match=r"subset or split.*like=train\)") as caught:
        FITS[fitter](TRAIN, **{part: other})
    words = f"{side}_labels of {part} and train must be the same, got {new} and {old}"
    assert str(caught.value).startswith(words)


@pytest.mark.parametrize("fitter", FITS)
def test_a_fitted_model_is_measured_on_its_own_labels_only(fitter):
    model = FITS[fitter](TRAIN)
    assert model.user_labels is TRAIN.user_labels
    for measure in (mflib.rmse, mflib.mae):
        measure(model, TRAIN.subset([0, 1]))
        for other in (OTHER_USERS, OTHER_ITEMS):
            with pytest.raises(ValueError, match="of ratings and model must be the"):
                measure(model, other)


def test_ratings_without_labels_go_with_any_of_the_same_size():
    plain = Ratings([0], [1], [3.0], n_users=3, n_items=3)
    model, history = als(TRAIN, rank=1, lam=1.0, sweeps=1, test=plain)
    assert history["test"].notna().all()
    assert mflib.rmse(model, plain) > 0
    with pytest.raises(ValueError, match="of test and validation must be the same"):
        als(plain, rank=1, lam=1.0, sweeps=1, validation=TRAIN, test=OTHER_USERS)


def test_labels_of_the_same_values_are_the_same():
    frame = TRAIN.to_frame().astype({"user": object, "item": "Int64"})
    adam(TRAIN, test=Ratings.from_frame(frame))


def test_a_model_of_another_size_names_both_ways():
    model = adam(TRAIN)
    small = Ratings.from_frame(people(["ann"], [1]))
    with pytest.raises(ValueError, match=r"MF\(ratings\.n_users.*like=train\)"):
        mflib.rmse(model, small)


# Times

DAYS = pd.DatetimeIndex(["2020-01-01", "1969-12-31 23:59:59", "2021-05-05 12:00"])
SECONDS = [1577836800, -1, 1620216000]


@pytest.mark.parametrize(
    "column",
    [
        SECONDS,
        DAYS,
        DAYS.tz_localize("UTC").tz_convert("Asia/Seoul"),
        DAYS.astype("datetime64[s]"),
        pd.array(SECONDS, dtype="Int64"),
    ],
)
def test_times_are_kept(column):
    frame = table(item=[10, 20, 30], when=column)
    ratings = Ratings.from_frame(frame, time="when")
    assert ratings.times.tolist() == SECONDS
    assert ratings.times.dtype == torch.int64
    assert ratings.to_frame()["time"].tolist() == SECONDS
    assert ratings.subset([2, 0]).times.tolist() == [SECONDS[2], SECONDS[0]]
    old = ratings.subset(ratings.times < 0)
    assert old.to_frame().to_numpy().tolist() == [[1, 20, 2.0, -1]]
    parts = ratings.split(0.5, 0.5, generator=seeded(0))
    assert sorted(t for part in parts for t in part.times.tolist()) == sorted(SECONDS)
    assert Ratings.from_frame(frame).times is None
    assert "time" not in Ratings.from_frame(frame).to_frame()


@pytest.mark.parametrize(
    ("column", "words"),
    [
        ([1.5, 2.0, 3.0], r"^times must be 3 whole numbers"),
        (["a", "b", "c"], r"^times must hold numbers"),
        ([1, None, 3], r"'when'\] has no value in row 1"),
    ],
)
def test_times_that_are_no_whole_numbers(column, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Ratings.from_frame(table(item=[1, 2, 3], when=column), time="when")


def test_times_are_one_per_rating():
    with pytest.raises(ValueError, match=r"times must be 1 whole numbers.*got 2"):
        Ratings([0], [0], [1.0], n_users=1, n_items=1, times=[1, 2])
