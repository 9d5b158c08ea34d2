"""Real ratings: the MovieLens data sets, or a CSV file of the reader's own."""

from __future__ import annotations

import csv
import os
import re
import zipfile
from array import array
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pooch
import torch
from torch import Tensor

from mflib import _checks
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


class DataUnavailableError(OSError):
    """Data that are neither at hand, nor whole, nor to be had by a download."""


def _films_csv(file: IO[bytes]) -> pd.DataFrame:
    header, *rows = _fields(file, "utf-8-sig", ",", 3)
    if sorted(header) != sorted(FILM_COLUMNS):
        raise ValueError(f"the columns are {header}, not {FILM_COLUMNS}")
    return pd.DataFrame(rows, columns=header)


def _films_100k(file: IO[bytes]) -> pd.DataFrame:
    genres = GENRES.split("|")
    rows = [  # after five columns of text, a 0 or 1 for each genre
        (film[0], film[1], "|".join(compress(genres, map(int, film[5:]))))
        for film in _fields(file, "latin-1", "|", 5 + len(genres))
    ]
    return pd.DataFrame(rows, columns=FILM_COLUMNS)


def _films_1m(file: IO[bytes]) -> pd.DataFrame:
    return pd.DataFrame(_fields(file, "latin-1", "::", 3), columns=FILM_COLUMNS)


def _fields(file: IO[bytes], code: str, separator: str, number: int) -> list[list[str]]:
    # Not by pandas: it completes rows that are too short, and "NA" is no name to it.
    content = file.read()
    try:
        text = content.decode(code)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"line {line} is not {code.removesuffix('-sig')}") from error
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    quoted = separator == ","
    rows = list(csv.reader(lines) if quoted else (x.split(separator) for x in lines))
    for line, row in enumerate(rows, 1):
        if len(row) != number:
            raise ValueError(f"line {line} has {len(row)} fields, not {number}")
    return rows


# The archive's folder; its two files; how the first is laid out: if it has no header,
# its separator, number of columns and the three that count; what reads the second.
EDITIONS: dict[str, tuple[str, str, str, Any, Any]] = {
    "latest-small": ("ml-latest-small", "ratings.csv", "movies.csv", None, _films_csv),
    "100k": ("ml-100k", "u.data", "u.item", ("\t", 4, [0, 1, 2]), _films_100k),
    # Split at ":", which leaves empty columns: pandas is slow at splitting at "::".
    "1m": ("ml-1m", "ratings.dat", "movies.dat", (":", 7, [0, 2, 4]), _films_1m),
    "32m": ("ml-32m", "ratings.csv", "movies.csv", None, _films_csv),
}
SIZES = {"latest-small": 100_836, "100k": 100_000, "1m": 1_000_209, "32m": 32_000_204}
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
    # os.path.isfile, unlike Path.is_file, says no to a name that no file can have.
    if not isinstance(name, str | os.PathLike) or not os.path.isfile(name):
        raise ValueError(
            f"name={name!r} is neither a data set nor an existing file; use one of "
            f"{', '.join(map(repr, EDITIONS))}, or the path of a CSV file"
        )
    _checks.instance("columns", columns, Sequence, f"for example {COLUMNS}")
    ratings = _read_own_csv(Path(name), columns)
    labels = pd.Series(ratings.item_labels)
    return ratings, pd.DataFrame({"movieId": labels, "title": labels.astype(str)})


def _read_edition(name: str) -> tuple[Ratings, pd.DataFrame]:
    _, ratings_file, films_file, layout, read_films = EDITIONS[name]
    place = _data_folder(name) or _cached_archive(name)
    path = place / ratings_file
    try:
        with path.open("rb") as file:
            frame = _read_ratings(file, layout, SIZES[name])
        ratings = Ratings.from_frame(frame, user="userId", item="movieId")
        path = place / films_file
        with path.open("rb") as file:
            films = read_films(file).astype({"movieId": "int64"})
        rated = pd.DataFrame({"movieId": ratings.item_labels})
        without = rated["movieId"][~rated["movieId"].isin(films["movieId"])]
        if len(without):
            raise ValueError(f"film {without.iloc[0]}, which has ratings, is not there")
        films = rated.merge(films[FILM_COLUMNS], validate="1:1")
    except (ArithmeticError, LookupError, TypeError, ValueError, csv.Error) as error:
        raise DataUnavailableError(
            f"{path} is damaged: {error}; get {EDITIONS[name][0]}.zip from "
            f"{DOWNLOAD_PAGE} and unpack it anew"
        ) from error
    return ratings, films


def _read_ratings(file: IO[bytes], layout: Any, size: int) -> pd.DataFrame:
    options: dict[str, Any] = {"usecols": COLUMNS}
    if layout:
        separator, width, where = layout
        options = {"sep": separator, "names": range(width), "usecols": where}
    # What is no number, a blank line among it, is found below, with its line.
    options |= {"skip_blank_lines": False, "encoding_errors": "replace"}
    frame: pd.DataFrame = pd.read_csv(file, **options)
    if layout:
        frame.columns = pd.Index(COLUMNS)
    if len(frame) != size:
        raise ValueError(f"it has {len(frame):,} ratings, expected {size:,}")
    for column in COLUMNS:
        values = pd.to_numeric(frame[column], errors="coerce").to_numpy()
        if column == "rating":
            broken = ~np.isfinite(values)
        else:
            broken = (values % 1 != 0) | (abs(values) >= 2**63)
        if broken.any():
            row = int(broken.argmax())
            raise ValueError(
                f"line {row + (1 if layout else 2)}: {column} is {frame[column][row]}"
            )
        frame[column] = values if column == "rating" else values.astype("int64")
    return frame


def _data_folder(name: str) -> Path | None:
    """Find the folder in $MFLIB_DATA and check its files."""
    folder_name, ratings, films, *_ = EDITIONS[name]
    data = os.environ.get("MFLIB_DATA", "")
    folder = Path(os.path.expanduser(data), folder_name)
    files = {"ratings": folder / ratings, "films": folder / films}
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


def _read_own_csv(path: Path, columns: tuple[str, str, str]) -> Ratings:
    """Read the reader's file; a fault is reported with the line it is on."""
    largest = torch.finfo(torch.get_default_dtype()).max
    # Ids are kept once, in a dict that numbers them; a row takes 32 bytes.
    users: dict[str, int] = {}
    items: dict[str, int] = {}
    user_of, item_of, values, lines = array("q"), array("q"), array("d"), array("q")
    line = 1
    _check_utf8(path)
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:  # Excel writes a BOM
            # csv.reader, unlike pandas, knows a row's line and its number of fields.
            reader = csv.reader(file, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            where = [header.index(name) for name in columns if header.count(name) == 1]
            if len(set(where)) != 3:
                raise ValueError(
                    f"the columns are {header}, but must hold each of {columns} once; "
                    "name yours with columns=(user, item, rating), and separate them "
                    "by commas"
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
                    if not NUMBER.fullmatch(rating) or abs(float(rating)) > largest:
                        raise ValueError(
                            f"rating {rating!r} is not a number such as 3.5"
                        )
                    user_of.append(users.setdefault(user, len(users)))
                    item_of.append(items.setdefault(item, len(items)))
                    values.append(float(rating))
                    lines.append(line)
                line = reader.line_num + 1  # where the next row begins
        if not values:
            raise ValueError("the file ends before any rating")
        pairs = pd.DataFrame({"user": user_of, "item": item_of})
        repeated = pairs.duplicated().to_numpy()
        if repeated.any():
            second = int(repeated.argmax())
            first = int((pairs == pairs.iloc[second]).all(axis=1).to_numpy().argmax())
            line = lines[second]
            raise ValueError(
                f"{list(users)[user_of[second]]!r} rated "
                f"{list(items)[item_of[second]]!r} on line {lines[first]} too"
            )
    except (csv.Error, ValueError) as error:
        hint = "; is a quotation mark left open?" * isinstance(error, csv.Error)
        raise ValueError(f"{path}, line {line}: {error}{hint}") from error
    user_numbers, user_labels = _sorted(users)
    item_numbers, item_labels = _sorted(items)
    return Ratings(
        user_numbers[torch.frombuffer(user_of, dtype=torch.int64)],
        item_numbers[torch.frombuffer(item_of, dtype=torch.int64)],
        torch.tensor(values, dtype=torch.get_default_dtype()),
        n_users=len(users),
        n_items=len(items),
        user_labels=user_labels,
        item_labels=item_labels,
    )


def _check_utf8(path: Path) -> None:
    with path.open("rb") as file:
        for line, content in enumerate(file, 1):
            try:
                content.decode()
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"{path}, line {line}: not UTF-8; save it as CSV in UTF-8"
                ) from error


def _sorted(ids: dict[str, int]) -> tuple[Tensor, pd.Index]:
    """Return each id's place among all of them, sorted, and these."""
    whole = all(map(WHOLE.fullmatch, ids))
    labels = pd.Index(list(ids), dtype="int64" if whole else None)
    places, labels = pd.factorize(labels, sort=True)
    return torch.from_numpy(places), labels
