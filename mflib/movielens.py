"""Real ratings: the MovieLens data sets, or a CSV file of the reader's own."""

from __future__ import annotations

import csv
import os
import zipfile
from collections.abc import Iterator, Sequence
from itertools import compress, islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pooch
import torch

from mflib import _checks
from mflib.ratings import Ratings, wide_advice

BASE_URL = "https://files.grouplens.org/datasets/movielens/"
DOWNLOAD_PAGE = "https://grouplens.org/datasets/movielens/"
TIMEOUT = (10, 15)  # seconds: to connect, and to wait for each next piece
COLUMNS = ("userId", "movieId", "rating")
WHOLE = "0|-?[1-9][0-9]{0,17}"  # "007" and "7" are two ids, not one
NUMBER = r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?"
GENRES = (  # of 100k, in the order of their columns
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|"
    "Fantasy|Film-Noir|Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"
)


class DataUnavailableError(OSError):
    """Data that are neither at hand, nor whole, nor to be had by a download."""


class Edition(NamedTuple):
    """One of the MovieLens data sets, as it is in its archive."""

    folder: str
    size: int
    ratings: str
    films: str
    read_ratings: dict[str, Any]  # options of pandas.read_csv
    read_films: dict[str, Any]


FIELDS = [*COLUMNS, "timestamp"]
FILM_FIELDS = ["movieId", "title", "genres"]
# Split at ":", which leaves empty columns: pandas is slow at splitting at "::".
COLONS = {"sep": ":", "names": ["userId", 1, "movieId", 3, "rating", 5, "timestamp"]}
EDITIONS = {
    "latest-small": Edition(
        *("ml-latest-small", 100_836, "ratings.csv", "movies.csv"), {}, {}
    ),
    "100k": Edition(
        *("ml-100k", 100_000, "u.data", "u.item"),
        {"sep": "\t", "names": FIELDS},
        {"sep": "|", "names": ["movieId", "title", 2, 3, 4, *GENRES.split("|")]},
    ),
    "1m": Edition(
        *("ml-1m", 1_000_209, "ratings.dat", "movies.dat"),
        COLONS,
        {"sep": "::", "names": FILM_FIELDS, "engine": "python"},
    ),
    "32m": Edition("ml-32m", 32_000_204, "ratings.csv", "movies.csv", {}, {}),
}
HASHES = {  # SHA-256 unless they say otherwise
    "latest-small": {  # GroupLens replaces it at times; the book prints its numbers
        "zip": "696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        "ratings": "aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646",
        "films": "5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07",
    },
    "100k": {
        "zip": "sha1:cd4dcac4241c8a4ad7badc7ca635da8a69dddb83",
        "ratings": "md5:6e47046882bad158b0efbb84cd5cb987",
    },
    "1m": {"zip": "a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20"},
    "32m": {"zip": "e4a68655d7386b8f95f2f2424b2ff975dfdd15ffd59e0d864a14dca43e99d6ee"},
}


def fetch_movielens(
    name: str | os.PathLike[str] = "latest-small",
    *,
    columns: Sequence[str] = COLUMNS,
) -> tuple[Ratings, pd.DataFrame]:
    """Ratings of films by people, with the films' titles.

    MovieLens is looked for in the folder ``$MFLIB_DATA/ml-…``, then in mflib's
    cache, and only then downloaded, once, into that cache.

    Parameters
    ----------
    name : str or path
        "latest-small" (100,836 ratings), "100k", "1m" or "32m"; or the path of your
        own file: comma-separated, UTF-8, with the names of its columns in line 1.
    columns : sequence of three or four str
        The user, item and rating columns of your own file and, if you like, that of
        the time (whole numbers, such as seconds since 1970); others are ignored.

    Returns
    -------
    ratings : Ratings
        With the original ids in ``user_labels`` and ``item_labels``, and of MovieLens
        with ``times``, in seconds since 1970.
    films : pandas.DataFrame
        Row j describes item j: movieId, title, genres ("Comedy|Drama"). For your
        own file there are no genres, and the title is the id as text.

    Raises
    ------
    ValueError
        If `name` is neither, or your own file has a fault (the message says where).
    DataUnavailableError
        If MovieLens can neither be found nor downloaded, or its files are not whole.

    Notes
    -----
    Of your own file, ids that are all whole numbers become numbers; others stay text,
    "007" and "7" two of them. Every number is a rating: drop rows that mark "not
    rated" by a number such as -1 first. Any other table goes through pandas and
    :meth:`Ratings.from_frame`.

    References
    ----------
    F. M. Harper and J. A. Konstan (2015). The MovieLens Datasets: History and
    Context. ACM TiiS 5(4), 19. doi:10.1145/2827872
    """
    if isinstance(name, str) and name in EDITIONS:
        return _read_edition(name)
    path = os.path.expanduser(name) if isinstance(name, str | os.PathLike) else ""
    # os.path.isfile, unlike Path.is_file, says no to a name that no file can have.
    if not os.path.isfile(path):
        raise ValueError(
            f"name={name!r} is neither a data set nor an existing file; use one of "
            f"{', '.join(map(repr, EDITIONS))}, or the path of a CSV file"
        )
    _checks.instance("columns", columns, Sequence, f"for example {COLUMNS}")
    ratings = _read_own_csv(Path(path), list(columns))
    labels = pd.Series(ratings.item_labels)
    return ratings, pd.DataFrame({"movieId": labels, "title": labels.astype(str)})


def _read_edition(name: str) -> tuple[Ratings, pd.DataFrame]:
    edition = EDITIONS[name]
    place = _data_folder(name) or _cached_archive(name)
    numbers = dict.fromkeys(FIELDS, "int64") | {"rating": "float64"}
    path = place / edition.ratings
    try:
        with path.open("rb") as file:
            frame = pd.read_csv(
                file, usecols=FIELDS, dtype=numbers, **edition.read_ratings
            )
        if len(frame) != edition.size:
            raise ValueError(f"{len(frame):,} ratings, expected {edition.size:,}")
        ratings = Ratings.from_frame(
            frame, user="userId", item="movieId", time="timestamp"
        )
        path = place / edition.films
        with path.open("rb") as file:
            films = _read_films(file, edition.read_films)
        rated = pd.DataFrame({"movieId": ratings.item_labels})
        films = rated.merge(films, how="left", validate="1:1")
        if films.isna().any(axis=None):
            at = films.isna().any(axis=1).argmax()
            raise ValueError(f"film {rated['movieId'][at]} is not there, or cut short")
    except (LookupError, OverflowError, TypeError, ValueError) as error:
        raise DataUnavailableError(
            f"{path} is damaged: {error}; get {edition.folder}.zip from "
            f"{DOWNLOAD_PAGE} and unpack it anew"
        ) from error
    return ratings, films


def _read_films(file: Any, options: dict[str, Any]) -> pd.DataFrame:
    if options:  # no header and no quotation marks
        options = {"encoding": "latin-1", "quoting": csv.QUOTE_NONE} | options
    # "NA" is a title; what is empty, or cut short, is missing.
    options = {"keep_default_na": False, "na_values": [""]} | options
    films: pd.DataFrame = pd.read_csv(file, dtype={"movieId": "int64"}, **options)
    if "genres" not in films:  # of 100k: a 0 or 1 for each
        genres = GENRES.split("|")
        flags = films[genres].to_numpy()
        films["genres"] = ["|".join(compress(genres, row)) for row in flags]
    return films[FILM_FIELDS]


def _data_folder(name: str) -> Path | None:
    """Find the folder in $MFLIB_DATA and check its files."""
    edition = EDITIONS[name]
    data = os.environ.get("MFLIB_DATA", "")
    folder = Path(os.path.expanduser(data), edition.folder)
    files = {"ratings": folder / edition.ratings, "films": folder / edition.films}
    if not data or not all(map(os.path.isfile, files.values())):
        return None
    for part in sorted(files.keys() & HASHES[name].keys()):
        algorithm, _, expected = HASHES[name][part].rpartition(":")
        got = pooch.file_hash(files[part], alg=algorithm or "sha256")
        if got != expected:
            raise DataUnavailableError(
                f"{files[part]} is not the version that this book uses: its checksum "
                f"is {got}, expected {expected}; remove {folder} to have that version "
                "downloaded, or read any ratings.csv by giving its path as name"
            )
    return folder


def _cached_archive(name: str) -> zipfile.Path:
    """Open the archive in the cache, downloaded if missing; it is never extracted."""
    folder, cache = EDITIONS[name].folder, pooch.os_cache("mflib")
    url = f"{BASE_URL}{folder}.zip"
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # its "Downloading..." would be stderr in a notebook
    try:
        # pooch writes to a temporary file and renames it once its hash is right: the
        # cache holds a whole archive or none, also with two processes at once.
        path = pooch.retrieve(
            url,
            known_hash=HASHES[name]["zip"],
            fname=f"{folder}.zip",
            path=cache,
            # Not streamed: requests then closes the connection whatever the answer.
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT, stream=False),
        )
    except (OSError, ValueError) as error:  # network or disk; a wrong hash
        data = os.environ.get("MFLIB_DATA") or "$MFLIB_DATA (not set)"
        raise DataUnavailableError(
            f"MovieLens {name!r} is not at hand: no {folder} with its files in {data}, "
            f"no intact {folder}.zip in {cache}, and downloading {url} failed "
            f"({type(error).__name__}: {error}). Unpack {folder}.zip from "
            f"{DOWNLOAD_PAGE} and set MFLIB_DATA to the folder that contains {folder}."
        ) from error
    finally:
        logger.setLevel(level)
    return zipfile.Path(path, f"{folder}/")


def _read_own_csv(path: Path, columns: list[str]) -> Ratings:
    """Read the reader's file as text; a fault is reported with the line it is on."""
    _check_layout(path, columns)
    frame = pd.read_csv(
        path,
        usecols=lambda name: name.strip() in columns,
        dtype=str,
        na_filter=False,
        index_col=False,
        encoding="utf-8-sig",  # Excel writes a BOM
        compression=None,
    ).rename(columns=str.strip)
    frame = frame[columns].apply(lambda column: column.str.strip())
    user, item, rating, *time = columns
    numeric = frame[rating].str.fullmatch(NUMBER)
    stars = frame[rating].where(numeric, "inf").astype("float64")
    faults = [
        ((frame[[user, item]] == "").any(axis=1), "an id is missing"),
        (
            stars.abs() > torch.finfo(torch.get_default_dtype()).max,
            f"{rating!r} must be a number such as 3.5",
        ),
        (
            frame.duplicated([user, item]),
            "the same pair is on a line before; keep one, such as the last: "
            f"frame = pandas.read_csv({str(path)!r}).drop_duplicates("
            f'[{user!r}, {item!r}], keep="last"), then Ratings.from_frame',
        ),
    ]
    for name in time:
        whole = frame[name].str.fullmatch(WHOLE)
        faults.append((~whole, f"{name!r} must be a whole number, such as seconds"))
    for broken, why in faults:
        if broken.any():
            row = int(broken.to_numpy().argmax())
            line, _ = next(islice(_rows(path), row + 1, None))  # the first: the header
            raise ValueError(
                f"{path}, line {line}: {why}; got {frame.iloc[row].tolist()}"
            )
    frame[rating] = stars
    for name in (user, item, *time):
        if frame[name].drop_duplicates().str.fullmatch(WHOLE).all():
            frame[name] = frame[name].astype("int64")
    when = time[0] if time else None
    return Ratings.from_frame(frame, user=user, item=item, rating=rating, time=when)


def _check_layout(path: Path, columns: list[str]) -> None:
    """Raise unless a file has the columns, and as many fields on each line.

    pandas by itself completes rows that are too short, and takes overlong ones where
    it reads only some of the columns.
    """
    _check_utf8(path)
    if len(columns) not in (3, 4):
        raise ValueError(
            "columns must name those of user, item and rating, and perhaps time, got "
            f"{columns}; for example {COLUMNS}"
        )
    with path.open(encoding="utf-8-sig") as text:
        first = text.readline()
    separator = max(",;\t|", key=first.count)
    if separator != ",":
        raise ValueError(
            f"{path}, line 1: the separator seems to be {separator!r}, not ','; use\n"
            f"    frame = pandas.read_csv({str(path)!r}, sep={separator!r})\n"
            f"    ratings = mflib.Ratings.from_frame(frame, user={columns[0]!r}, "
            f"item={columns[1]!r}, rating={columns[2]!r})\n"
            "and in the first of these decimal=',' too where numbers are like 3,5"
        )
    rows = _rows(path)
    header = [cell.strip() for cell in next(rows, (1, []))[1]]
    places = [header.index(name) for name in columns if header.count(name) == 1]
    if len(set(places)) != len(columns):
        table = f"pandas.read_csv({str(path)!r})"
        raise ValueError(
            f"{path}, line 1: the columns are {header}, but must hold each of "
            f"{columns} once; name yours with columns=(user, item, rating)"
            f"{wide_advice(header, columns, table)}"
        )
    line = 1
    for line, row in rows:
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {line}: {len(row)} fields, not {len(header)}; quote "
                "text with commas"
            )
    if line == 1:
        raise ValueError(f"{path}, line 1: the file ends before any rating")


def _check_utf8(path: Path) -> None:
    with path.open("rb") as file:
        for line, content in enumerate(file, 1):
            try:
                content.decode()
                text = b"\0" not in content  # where pandas would end a field
            except UnicodeDecodeError:
                text = False
            if not text:
                raise ValueError(
                    f"{path}, line {line}: not UTF-8; save the file as CSV in UTF-8, "
                    "or read it with pandas.read_csv(path, encoding=…) or "
                    "pandas.read_excel(path), and use Ratings.from_frame"
                )


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows of a CSV file, blank lines apart, each with its first line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader, line = csv.reader(file, strict=True), 1
        try:
            for row in reader:
                if row:
                    yield line, row
                line = reader.line_num + 1
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {line}: {error}; is a quotation mark left open?"
            ) from error
