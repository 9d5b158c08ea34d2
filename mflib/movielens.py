"""Real ratings: the MovieLens data sets, or a CSV file of the reader's own."""

from __future__ import annotations

import csv
import io
import math
import os
import re
import zipfile
from itertools import compress
from pathlib import Path
from typing import IO

import pandas as pd
import pooch

from mflib.ratings import Ratings

BASE_URL = "https://files.grouplens.org/datasets/movielens/"
DOWNLOAD_PAGE = "https://grouplens.org/datasets/movielens/"
TIMEOUT = (10, 15)  # seconds: to connect, and to wait for each next piece
COLUMNS = ("userId", "movieId", "rating")
FILM_COLUMNS = ["movieId", "title", "genres"]
WHOLE = re.compile("0|-?[1-9][0-9]{0,17}")  # "007" and "7" are two ids, not one
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
GENRES = (  # of 100k, in the order of their columns
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|"
    "Fantasy|Film-Noir|Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"
)
Tables = tuple[pd.DataFrame, pd.DataFrame]  # ratings, films


class DataUnavailableError(OSError):
    """Data that are neither at hand, nor whole, nor to be had by a download."""


def _read_csv(ratings: IO[bytes], films: IO[bytes]) -> Tables:
    frame = pd.read_csv(ratings, usecols=list(COLUMNS))
    # A film may be called "NA" or "null": titles are never missing values.
    return frame, pd.read_csv(films, keep_default_na=False)


def _read_100k(ratings: IO[bytes], films: IO[bytes]) -> Tables:
    frame = pd.read_csv(ratings, sep="\t", names=list(COLUMNS), usecols=[0, 1, 2])
    rows = [  # after five columns of text, a 0 or 1 for each genre
        (film[0], film[1], "|".join(compress(GENRES.split("|"), map(int, film[5:]))))
        for film in _latin_fields(films, "|")
    ]
    return frame, pd.DataFrame(rows, columns=FILM_COLUMNS)


def _read_1m(ratings: IO[bytes], films: IO[bytes]) -> Tables:
    # Split at ":", which leaves empty columns: pandas is slow at splitting at "::".
    frame = pd.read_csv(ratings, sep=":", names=list(COLUMNS), usecols=[0, 2, 4])
    return frame, pd.DataFrame(_latin_fields(films, "::"), columns=FILM_COLUMNS)


def _latin_fields(file: IO[bytes], separator: str) -> list[list[str]]:
    text = file.read().decode("latin-1").replace("\r\n", "\n")
    return [line.split(separator) for line in text.split("\n") if line]


EDITIONS = {  # the archive's folder, its two files, and how they are read
    "latest-small": ("ml-latest-small", "ratings.csv", "movies.csv", _read_csv),
    "100k": ("ml-100k", "u.data", "u.item", _read_100k),
    "1m": ("ml-1m", "ratings.dat", "movies.dat", _read_1m),
    "32m": ("ml-32m", "ratings.csv", "movies.csv", _read_csv),
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
    columns: tuple[str, str, str] = COLUMNS,
) -> tuple[Ratings, pd.DataFrame]:
    """Ratings of films by people, with the films' titles.

    MovieLens is looked for in the folder ``$MFLIB_DATA/ml-…``, then in mflib's
    cache, and only then downloaded, once, into that cache.

    Parameters
    ----------
    name : str or path
        "latest-small" (100,836 ratings), "100k", "1m" or "32m"; or the path of your
        own file: comma-separated, UTF-8, with the names of its columns in line 1.
    columns : tuple of three str
        The user, item and rating columns of your own file; others are ignored.

    Returns
    -------
    ratings : Ratings
        With the original ids in ``user_labels`` and ``item_labels``.
    films : pandas.DataFrame
        Row j describes item j: movieId, title, genres ("Comedy|Drama"). For your
        own file there are no genres, and the title is the id as text.

    Raises
    ------
    ValueError
        If `name` is neither, or your own file has a fault (the message says where).
    DataUnavailableError
        If MovieLens can neither be found nor downloaded, or its files are not whole.

    References
    ----------
    F. M. Harper and J. A. Konstan (2015). The MovieLens Datasets: History and
    Context. ACM TiiS 5(4), 19. doi:10.1145/2827872
    """
    if isinstance(name, str) and name in EDITIONS:
        return _read_edition(name)
    if not isinstance(name, str | os.PathLike) or not Path(name).is_file():
        raise ValueError(
            f"name={name!r} is neither a data set nor an existing file; use one of "
            f"{', '.join(map(repr, EDITIONS))}, or the path of a CSV file"
        )
    frame = _read_own_csv(Path(name), columns)
    ratings = Ratings.from_frame(frame, user="userId", item="movieId")
    labels = pd.Series(ratings.item_labels)
    return ratings, pd.DataFrame({"movieId": labels, "title": labels.astype(str)})


def _read_edition(name: str) -> tuple[Ratings, pd.DataFrame]:
    _, ratings_file, films_file, read = EDITIONS[name]
    place = _data_folder(name) or _cached_archive(name)
    ratings_path, films_path = place / ratings_file, place / films_file
    try:
        with ratings_path.open("rb") as lines, films_path.open("rb") as titles:
            frame, films = read(lines, titles)
        ratings = Ratings.from_frame(frame, user="userId", item="movieId")
        rated = pd.DataFrame({"movieId": ratings.item_labels})
        films = rated.merge(films.astype({"movieId": "int64"}), validate="1:1")
        if len(films) < len(rated):
            raise ValueError(f"{films_file} lacks films that have ratings")
    except (LookupError, TypeError, ValueError) as error:
        raise DataUnavailableError(
            f"the files in {place} are damaged: {error}; get them from {DOWNLOAD_PAGE}"
        ) from error
    return ratings, films


def _data_folder(name: str) -> Path | None:
    """Find the folder in $MFLIB_DATA and check its files."""
    folder_name, ratings, films, _ = EDITIONS[name]
    folder = Path(os.environ.get("MFLIB_DATA", ""), folder_name).expanduser()
    files = {"ratings": folder / ratings, "films": folder / films}
    if not os.environ.get("MFLIB_DATA") or not all(map(Path.is_file, files.values())):
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
    folder, cache = EDITIONS[name][0], pooch.os_cache("mflib")
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


def _read_own_csv(path: Path, columns: tuple[str, str, str]) -> pd.DataFrame:
    """Read the reader's file; its first fault is reported with the line it is on."""
    try:
        text = path.read_bytes().decode("utf-8-sig")  # Excel writes a BOM
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ValueError(f"{path}, line {line}: not UTF-8; save it as UTF-8") from error
    # csv.reader, unlike pandas, knows a row's line and its number of fields.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line, values = 1, []
    seen: dict[tuple[str, str], int] = {}
    try:
        header = [cell.strip() for cell in next(reader, [])]
        where = [header.index(name) for name in columns if header.count(name) == 1]
        if len(set(where)) != 3:
            raise ValueError(
                f"the columns are {header}, but must hold each of {columns} once; name "
                "yours with columns=(user, item, rating), and separate them by commas"
            )
        line = reader.line_num + 1
        for row in reader:
            if len(row) not in (0, len(header)):  # a blank line has no fields
                raise ValueError(
                    f"{len(row)} fields, not {len(header)}; quote text with commas"
                )
            if row:
                user, item, rating = (row[column].strip() for column in where)
                if not user or not item:
                    raise ValueError("the id of the user or of the item is missing")
                if not NUMBER.fullmatch(rating) or math.isinf(float(rating)):
                    raise ValueError(f"rating {rating!r} is not a number such as 3.5")
                first = seen.setdefault((user, item), line)
                if first != line:
                    raise ValueError(f"{user!r} rated {item!r} on line {first} too")
                values.append(float(rating))
            line = reader.line_num + 1  # where the next row begins
        if not values:
            raise ValueError("the file ends before any rating")
    except (csv.Error, ValueError) as error:
        raise ValueError(f"{path}, line {line}: {error}") from error
    frame = pd.DataFrame(list(seen), columns=list(COLUMNS[:2])).assign(rating=values)
    for ids in COLUMNS[:2]:
        if all(map(WHOLE.fullmatch, frame[ids])):
            frame[ids] = frame[ids].astype("int64")
    return frame
