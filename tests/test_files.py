"""The reader's own tables and CSV files: how they are read, what is said of faults."""

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mflib
from mflib import (
    MF,
    Ratings,
    als,
    bias_baseline,
    fetch_movielens,
    fit,
    gibbs,
    make_low_rank_ratings,
    seeded,
)

# Tables

STARS = [1.0, 2.0, 3.0]


def table(**columns) -> pd.DataFrame:
    return pd.DataFrame(
        {"user": [3, 1, 3], "item": [10, 10, 20], "rating": STARS} | columns
    )


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
        ([True, False, True], [False, True]),
        ([1.5, -2.0, 1.5], [-2.0, 1.5]),
        (pd.arrays.SparseArray([3, 1, 3]), [1, 3]),
        ([(1, 2), (0, 1), (1, 2)], [(0, 1), (1, 2)]),
    ],
)
def test_ids_of_any_kind_that_sorts(ids, labels):
    frame = table(user=ids)
    before = frame.copy(deep=True)
    ratings = Ratings.from_frame(frame)
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
    ("frame", "why"),
    [
        (table().set_index("user"), "one column 'user' .*, got .'item', 'rating'."),
        (table(user=[(1, 2), "a", 3]), r"frame\.astype\({'user': str}\)"),
        (table(user=pd.array([1, None, 1], dtype="Int64")), "'user'.* in row 1"),
        (table(user=pd.Categorical(["a", None, "b"])), "'user'.* in row 1"),
        (table(rating=pd.array([1, 2, None], dtype="Int64")), "'rating'.* in row 2"),
        (table(rating=[True, False, True]), "'rating'.* must hold numbers"),
        (table(rating=[1, np.inf, 3]), "'rating'.* must be finite, got inf at pos.* 1"),
        (table(item=[10] * 3), r"pair \[3, 10\] twice, at positions 0 and 2; .*keep="),
    ],
)
def test_what_is_refused(frame, why):  # tests/test_hostile.py has the rest
    with pytest.raises((ValueError, TypeError), match=why):
        Ratings.from_frame(frame)


@pytest.mark.parametrize(
    "ids", [[5, "5", 6], [5, "5.0", 6], [7, "x", "007"], [2.5, "2.5", 1]]
)
@pytest.mark.parametrize("kind", [list, pd.Categorical])
def test_a_number_and_a_text_that_read_the_same(ids, kind):
    frame = table(item=pd.Series(kind(ids), dtype=None if kind is not list else object))
    with pytest.raises(ValueError, match=r"dtype=\{'item': str\}") as caught:
        Ratings.from_frame(frame)
    assert str(caught.value).startswith("'item' holds '")


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
        (people(["cho", "dan"], [1, 3]), "'user' holds 'dan' in row 1"),
        (people(["cho", "ann"], [9, 3]), "'item' holds 9 in row 0"),
        (people(["cho"], ["1"]), "'item' holds '1' in row 0"),
    ],
)
def test_labels_that_like_lacks_are_named(later, words):
    with pytest.raises(ValueError, match=rf"{words}.*like lacks.*leave it out"):
        Ratings.from_frame(later, like=TRAIN)


def test_a_fault_that_two_files_make():
    # As many people in each, but not the same: once measured as if they were.
    known, _ = make_low_rank_ratings(40, 30, 2, density=0.6, generator=seeded(0))
    frame = known.to_frame()
    train = frame.sample(frac=0.7, random_state=0)
    parts = train[train.user != 0], frame.drop(train.index).query("user != 39")
    first, second = map(Ratings.from_frame, parts)
    assert (first.n_users, first.n_items) == (second.n_users, second.n_items)
    with pytest.raises(ValueError, match="user_labels of test and train must be the"):
        als(first, rank=2, lam=0.5, test=second)


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


@pytest.mark.parametrize(
    ("part", "other", "side", "old", "new"),
    [
        ("validation", OTHER_USERS, "user", "'cho'", "'dan'"),
        ("test", OTHER_ITEMS, "item", "3", "4"),
    ],
)
@pytest.mark.parametrize("fitter", ["fit", "als", "gibbs"])
def test_parts_whose_labels_differ_are_refused(fitter, part, other, side, old, new):
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


def test_what_goes_with_what():
    plain = Ratings([0], [1], [3.0], n_users=3, n_items=3)
    model, history = als(TRAIN, rank=1, lam=1.0, sweeps=1, test=plain)
    assert history["test"].notna().all()
    assert mflib.rmse(model, plain) > 0
    same = TRAIN.to_frame().astype({"user": object, "item": "Int64"})
    assert mflib.rmse(model, Ratings.from_frame(same)) > 0
    small = Ratings.from_frame(people(["ann"], [1]))  # two ways are named
    with pytest.raises(ValueError, match=r"MF\(ratings\.n_users.*like=train\)"):
        mflib.rmse(model, small)
    with pytest.raises(ValueError, match="of test and validation must be the same"):
        als(plain, rank=1, lam=1.0, sweeps=1, validation=TRAIN, test=OTHER_USERS)


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
        (["a", "b", "c"], r"^when must hold numbers"),
        ([1, None, 3], r"'when'\] has no value in row 1"),
    ],
)
def test_times_that_are_no_numbers(column, words):
    with pytest.raises((TypeError, ValueError), match=words):
        Ratings.from_frame(table(item=[1, 2, 3], when=column), time="when")


# A CSV file

HEAD, TIMES = "userId,movieId,rating\n", "userId,movieId,rating,time\n"
OWN = HEAD + "ann,x,3.5\nbob,x,4\nann,y,5\n"


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "own.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("form", [Path, str, lambda path: f"~/{path.name}"])
def test_own_file(tmp_path, form, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    ratings, films = fetch_movielens(form(write(tmp_path, OWN)))
    assert ratings.to_frame().to_numpy().tolist() == [
        ["ann", "x", 3.5],
        ["bob", "x", 4.0],
        ["ann", "y", 5.0],
    ]
    assert films.to_dict("list") == {"movieId": ["x", "y"], "title": ["x", "y"]}


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + OWN,
        OWN.replace("\n", "\r\n"),
        OWN.replace("\n", "\r"),
        "\n" + OWN.replace("\n", "\n\n"),
        OWN.rstrip("\n"),
        "rating ,note,movieId, userId\n"
        '3.5,"a\nb, c","x", ann\n 4 ,,x,bob\n5,"",y,ann\n',
        'userId,movieId,rating,note,note\nann,x,3.5,"a;b",\nbob,x,4,,\nann,y,5,,\n',
    ],
    ids=["BOM", "CRLF", "CR", "blank", "no last newline", "more columns", "notes"],
)
def test_own_file_written_by_other_programs(tmp_path, content):
    ratings, _ = fetch_movielens(write(tmp_path, content))
    plain, _ = fetch_movielens(write(tmp_path, OWN))
    assert ratings.to_frame().equals(plain.to_frame())


def test_own_columns(tmp_path):
    path = write(tmp_path, "별점,who,what,when\n3,1,20,5\n4,1,3,-6\n")
    ratings, films = fetch_movielens(path, columns=["who", "what", "별점"])
    assert ratings.to_frame().to_numpy().tolist() == [[1, 20, 3.0], [1, 3, 4.0]]
    assert films.to_dict("list") == {"movieId": [3, 20], "title": ["3", "20"]}
    timed, _ = fetch_movielens(path, columns=("who", "what", "별점", "when"))
    assert timed.times.tolist() == [5, -6]


@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        (["10", "9", "-3", "0"], [-3, 0, 9, 10]),
        (["7", "007"], ["007", "7"]),
        (["7", "7.0", "NA"], ["7", "7.0", "NA"]),
        (["9" * 20, "1"], ["1", "9" * 20]),  # too large for a 64-bit number
    ],
)
def test_own_ids_are_never_merged(tmp_path, ids, labels):
    rows = "".join(f"{user},1,3\n" for user in ids)
    ratings, films = fetch_movielens(write(tmp_path, HEAD + rows))
    assert list(ratings.user_labels) == labels
    assert films["title"].tolist() == ["1"]


# What is said of a fault: rows are counted from 0, lines (pandas') from 1.
@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "No columns"),
        ("user,movieId,rating\na,x,3\n", "one column 'userId' .*got .'user', "),
        ("ann,x,3.5\nbob,x,4\n", "one column 'userId' .*got .'ann', 'x', '3.5'"),
        (HEAD + "\n\n", "no rows"),
        (HEAD + "a,x,3\nb,x,\n", "'rating'.* no value in row 1"),
        *(
            (HEAD + f"a,x,3\nb,x,{rating}\n", f"{rating}' at position 1")
            for rating in ("good", "nan", "4_5", "\u0664", "0x1", "NA", "3 4")
        ),
        (HEAD + 'a,x,3\nb,x,"3,5"\n', "'3,5' at position 1"),
        *(
            (HEAD + f"a,x,3\nb,x,{rating}\n", "must be finite, got -?inf at position 1")
            for rating in ("inf", "1e999", "-2e308")
        ),
        (HEAD + "a,x,3\nb,x,3,5\n", "3 fields in line 3, saw 4"),
        (HEAD + "a,x,3,\nb,x,3,\n", "first row has more fields"),
        (HEAD + "a,x,3\nb,x\n", "'rating'.* no value in row 1"),
        (TIMES + "a,x,3,1\nb,x,3,\n", "'time'.* no value in row 1"),
        (TIMES + "a,x,3,1\nb,x,3,2020-01-01\n", "time must hold numbers"),
        (HEAD + "a,x,3\n ,x,4\n", "'userId'.* no value in row 1"),
        (HEAD + "\n\na,x,3\n\nb,,4\n", "'movieId'.* no value in row 1"),
        (HEAD + 'a,x,3\nb,"x,3\nc,x,3\n', "inside string starting at row 2"),
        ((HEAD + "철수,x,3\n").encode("cp949"), "'utf-8' codec.* encoding="),
        ((HEAD + "a,x,3\n").encode("utf-16"), "'utf-8' codec.* encoding="),
        (b"\x1f\x8b\x08\x00", "'utf-8' codec"),  # gzip
        (HEAD + "a,x,3\nb,x,3\n a,x ,4\n", "'a', 'x'. twice, at positions 0 and 2"),
    ],
)
def test_own_file_with_a_fault(tmp_path, content, why):
    path = write(tmp_path, content)
    before = path.read_bytes()
    columns = ("userId", "movieId", "rating", "time")[
        : 4 if TIMES in str(content) else 3
    ]
    with pytest.raises(ValueError, match=re.compile(why, re.DOTALL)) as caught:
        fetch_movielens(path, columns=columns)
    assert str(caught.value).startswith(f"{path} (rows counted from 0): ")
    assert "Change the file, or read it with pandas.read_csv" in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("quoted", [True, False])
def test_another_separator_is_named_with_the_way_through_pandas(
    tmp_path, separator, quoted
):
    rows = [["User-ID", "ISBN", "Book-Rating"], ["1001", "0345X", "5"], ["7", "9", "8"]]
    quote = '"{}"' if quoted else "{}"
    path = write(
        tmp_path, "".join(separator.join(map(quote.format, r)) + "\n" for r in rows)
    )
    with pytest.raises(ValueError, match="the separator seems to be") as caught:
        fetch_movielens(path, columns=("User-ID", "ISBN", "Book-Rating"))
    assert f"the separator seems to be {separator!r}, not" in str(caught.value)
    names = {"pandas": pd, "mflib": mflib}
    lines = [x.strip() for x in str(caught.value).splitlines() if x.startswith(" ")]
    exec("\n".join(lines), names)  # noqa: S102
    assert names["ratings"].to_frame()["rating"].tolist() == [5.0, 8.0]


WIDE = "name,Film A,Film B,Film C\nann,5,,3\nbob,4,2,\ncho,,1,4\n"


def test_a_wide_sheet_is_told_how_to_become_long(tmp_path):
    path = write(tmp_path, WIDE)
    for read in (
        lambda: fetch_movielens(path),
        lambda: Ratings.from_frame(pd.read_csv(path), user="name"),
    ):
        with pytest.raises(ValueError, match="make the table long first") as caught:
            read()
        (line, call) = re.findall(r"first: (.*), then (Rat[^)]*\))", str(caught.value))[
            0
        ]
        names = {"pandas": pd, "Ratings": Ratings, "frame": pd.read_csv(path)}
        exec(line, names)  # noqa: S102
        assert len(eval(call, names)) == 6  # noqa: S307


@pytest.mark.parametrize(
    "columns", [("userId", "userId", "rating"), ("userId", "rating"), "abc", ()]
)
def test_own_columns_that_are_not_three(tmp_path, columns):
    with pytest.raises(ValueError, match=r"column"):
        fetch_movielens(write(tmp_path, OWN), columns=columns)


@pytest.mark.parametrize(
    "name", ["latest", "no/such/file.csv", "", ".", None, 100, "a" * 5000, "a\0b"]
)
def test_neither_data_set_nor_file(name):
    with pytest.raises(
        ValueError, match="'latest-small', '100k', '1m', '32m'"
    ) as caught:
        fetch_movielens(name)
    assert f"name={name!r}" in str(caught.value)


IDS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0")
    | st.sampled_from('0123456789-,;"\n\r\t'),
    min_size=1,
).filter(lambda text: text == text.strip())


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(IDS, IDS, st.floats(-1e6, 1e6), st.integers(-(2**50), 2**50)),
        min_size=1,
        unique_by=lambda row: row[:2],
    )
)
def test_whatever_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("own") / "own.csv"
    columns = ("userId", "movieId", "rating", "time")
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *rows])
    ratings, films = fetch_movielens(path, columns=columns)
    read = ratings.to_frame()
    assert list(map(str, read["user"])) == [row[0] for row in rows]
    assert list(map(str, read["item"])) == [row[1] for row in rows]
    assert list(read["rating"]) == [row[2] for row in rows]
    assert list(read["time"]) == [row[3] for row in rows]
    assert list(films["title"]) == list(map(str, ratings.item_labels))
