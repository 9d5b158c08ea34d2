"""Real ratings: the MovieLens data sets, or a CSV file of the reader's own."""

from __future__ import annotations

import csv
import os
import zipfile
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pooch
from pooch.hashes import hash_matches

from mflib.ratings import Ratings

BASE_URL = "https://files.grouplens.org/datasets/movielens/"
DOWNLOAD_PAGE = "https://grouplens.org/datasets/movielens/"
TIMEOUT = (10, 15)  # seconds: to connect, and to wait for each next piece
COLUMNS = ("userId", "movieId", "rating")
FIELDS = [*COLUMNS, "timestamp"]
FILM_FIELDS = ["movieId", "title", "genres"]
WHOLE = "0|-?[1-9][0-9]{0,17}"  # "007" and "7" are two ids, not one
GENRES = (  # of 100k, in the order of their columns
    "unknown|Action|Adventure|Animation|Children's|Comedy|Crime|Documentary|Drama|"
    "Fantasy|Film-Noir|Horror|Musical|Mystery|Romance|Sci-Fi|Thriller|War|Western"
)


class DataUnavailableError(OSError):
    """MovieLens can neither be found nor downloaded, or its files are damaged."""


class Edition(NamedTuple):
    """One of the MovieLens data sets: its files, and how pandas reads them."""

    folder: str
    n_ratings: int
    ratings: str
    films: str
    read_ratings: dict[str, Any]
    read_films: dict[str, Any]
    zip_hash: str  # checksums, SHA-256 unless they say otherwise
    ratings_hash: str | None = None
    films_hash: str | None = None


# Split at ":", which leaves empty columns: pandas is slow at splitting at "::".
COLONS = {"sep": ":", "names": ["userId", 1, "movieId", 3, "rating", 5, "timestamp"]}
TABS = {"sep": "\t", "names": FIELDS}
BARS = {"sep": "|", "names": ["movieId", "title", 2, 3, 4, *GENRES.split("|")]}
FILMS = {"sep": "::", "names": FILM_FIELDS, "engine": "python"}
EDITIONS = {
    "latest-small": Edition(  # replaced at times, and the book prints its numbers
        *("ml-latest-small", 100_836, "ratings.csv", "movies.csv", {}, {}),
        zip_hash="696d65a3dfceac7c45750ad32df2c259311949efec81f0f144fdfb91ebc9e436",
        ratings_hash="aa289ca83157595d0df6aea1be6a4ded676ddc4385472e8313a8ed9805352646",
        films_hash="5a5f32dd9bb3797b8e728a1b98958789d2b13f294a69fdfbc5727f8a9611aa07",
    ),
    "100k": Edition(
        *("ml-100k", 100_000, "u.data", "u.item", TABS, BARS),
        zip_hash="sha1:cd4dcac4241c8a4ad7badc7ca635da8a69dddb83",
        ratings_hash="md5:6e47046882bad158b0efbb84cd5cb987",
    ),
    "1m": Edition(
        *("ml-1m", 1_000_209, "ratings.dat", "movies.dat", COLONS, FILMS),
        zip_hash="a6898adb50b9ca05aa231689da44c217cb524e7ebd39d264c56e2832f2c54e20",
    ),
    "32m": Edition(
        *("ml-32m", 32_000_204, "ratings.csv", "movies.csv", {}, {}),
        zip_hash="e4a68655d7386b8f95f2f2424b2ff975dfdd15ffd59e0d864a14dca43e99d6ee",
    ),
}


def fetch_movielens(
    name: str | os.PathLike[str] = "latest-small", *, columns: Sequence[str] = COLUMNS
) -> tuple[Ratings, pd.DataFrame]:
    """Ratings of films by people, with the films' titles.

    MovieLens is looked for in the folder ``$MFLIB_DATA/ml-…``, then in mflib's
    cache, and only then downloaded, once, into that cache.

    Parameters
    ----------
    name : str or path, default "latest-small"
        "latest-small" (100,836 ratings), "100k", "1m" or "32m"; or the path of your
        own file: comma-separated, UTF-8, with the names of its columns in line 1.
    columns : sequence of three or four str, default ("userId", "movieId", "rating")
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
        If `name` is neither, or your own file has a fault (the message says what and
        where).
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
        return _read_edition(EDITIONS[name])
    path = os.path.expanduser(name) if isinstance(name, str | os.PathLike) else ""
    # os.path.isfile, unlike Path.is_file, says no to a name that no file can have.
    if not os.path.isfile(path):
        raise ValueError(
            f"name={name!r} is neither a data set nor an existing file; use one of "
            f"{', '.join(map(repr, EDITIONS))}, or the path of a CSV file"
        )
    if len(columns) not in (3, 4):
        raise ValueError(
            "columns must name those of user, item and rating, and perhaps time, got "
            f"{columns}; for example {COLUMNS}"
        )
    ratings = _read_own_csv(Path(path), list(columns))
    labels = pd.Series(ratings.item_labels)
    return ratings, pd.DataFrame({"movieId": labels, "title": labels.astype(str)})


def _read_edition(edition: Edition) -> tuple[Ratings, pd.DataFrame]:
    place = _data_folder(edition) or _cached_archive(edition)
    numbers = dict.fromkeys(FIELDS, "int64") | {"rating": "float64"}
    try:
        with (place / edition.ratings).open("rb") as file:
            frame = pd.read_csv(
                file, usecols=FIELDS, dtype=numbers, **edition.read_ratings
            )
        if len(frame) != edition.n_ratings:
            raise ValueError(f"{len(frame):,} ratings, expected {edition.n_ratings:,}")
        ratings = Ratings.from_frame(
            frame, user="userId", item="movieId", time="timestamp"
        )
        with (place / edition.films).open("rb") as file:
            films = _read_films(file, edition.read_films)
        rated = pd.DataFrame({"movieId": ratings.item_labels})
        films = rated.merge(films, how="left", validate="1:1")
        if films.isna().any(axis=None):
            raise ValueError("a film that was rated has no title, or no genres")
        return ratings, films
    except (LookupError, TypeError, ValueError) as error:
        raise DataUnavailableError(
            f"{place} is damaged: {error}; get {edition.folder}.zip from "
            f"{DOWNLOAD_PAGE} and unpack it anew"
        ) from error


def _read_films(file: Any, options: dict[str, Any]) -> pd.DataFrame:
    if options:  # no header and no quotation marks
        options = {"encoding": "latin-1", "quoting": csv.QUOTE_NONE} | options
    # "NA" is a title; what is empty, or cut short, is missing.
    films: pd.DataFrame = pd.read_csv(
        file, keep_default_na=False, na_values=[""], **options
    )
    if "genres" not in films:  # of 100k: a 0 or 1 for each
        genres = GENRES.split("|")
        flags = films[genres].to_numpy()
        films["genres"] = ["|".join(compress(genres, row)) for row in flags]
    return films[FILM_FIELDS]


def _data_folder(edition: Edition) -> Path | None:
    """Find the folder in $MFLIB_DATA and check its files."""
    data = os.environ.get("MFLIB_DATA", "")
    folder = Path(data, edition.folder).expanduser()
    files = {
        folder / edition.ratings: edition.ratings_hash,
        folder / edition.films: edition.films_hash,
    }
    if not data or not all(path.is_file() for path in files):
        return None
    for path, known in files.items():
        if not hash_matches(path, known):
            raise DataUnavailableError(
                f"{path} is not the version that this book uses, whose checksum is "
                f"{known}; remove {folder} to have that version downloaded, or read "
                "any ratings.csv by giving its path as name"
            )
    return folder


def _cached_archive(edition: Edition) -> zipfile.Path:
    """Open the archive in the cache, downloaded if missing; it is never extracted."""
    cache, url = pooch.os_cache("mflib"), f"{BASE_URL}{edition.folder}.zip"
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # its "Downloading..." would be stderr in a notebook
    try:
        # pooch writes to a temporary file and renames it once its hash is right: the
        # cache holds a whole archive or none.
        path = pooch.retrieve(
            url,
            known_hash=edition.zip_hash,
            fname=f"{edition.folder}.zip",
            path=cache,
            # Not streamed: requests then closes the connection whatever the answer.
            downloader=pooch.HTTPDownloader(timeout=TIMEOUT, stream=False),
        )
    except (OSError, ValueError) as error:  # network or disk; a wrong hash
        data = os.environ.get("MFLIB_DATA") or "$MFLIB_DATA (not set)"
        raise DataUnavailableError(
            f"{edition.folder} was not found: no folder with its files in {data}, no "
            f"intact {edition.folder}.zip in {cache}, and downloading {url} failed "
            f"({type(error).__name__}: {error}). Unpack {edition.folder}.zip from "
            f"{DOWNLOAD_PAGE} and set MFLIB_DATA to the folder that contains it."
        ) from error
    finally:
        logger.setLevel(level)
    return zipfile.Path(path, f"{edition.folder}/")


def _read_own_csv(path: Path, columns: list[str]) -> Ratings:
    """Read a file as text, so that nothing is guessed, then make numbers of numbers."""
    roles = dict(zip(("user", "item", "rating", "time"), columns, strict=False))
    try:
        _check_separator(path, roles)
        frame = pd.read_csv(
            path,
            dtype=str,
            keep_default_na=False,  # "NA" may be an id
            na_values=[""],
            encoding="utf-8-sig",  # Excel writes a BOM
            compression=None,
        )
        if not isinstance(frame.index, pd.RangeIndex):
            raise ValueError("the first row has more fields than the header has names")
        frame.columns = frame.columns.str.strip()
        for name in frame.columns.intersection(columns):
            frame[name] = frame[name].str.strip().replace("", None)
            if name == roles["rating"]:
                frame[name] = pd.to_numeric(frame[name])
            elif frame[name].str.fullmatch(WHOLE).all():
                frame[name] = frame[name].astype("int64")
        return Ratings.from_frame(frame, **roles)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"{path} (rows counted from 0): {error}. Change the file, or read it with "
            "pandas.read_csv(path, encoding=…) and use Ratings.from_frame"
        ) from error


def _check_separator(path: Path, roles: dict[str, str]) -> None:
    """Raise if a file's first line has more of another separator than commas."""
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        header = file.readline()
    separator = max(",;\t|", key=header.count)
    if separator != ",":
        names = ", ".join(f"{role}={name!r}" for role, name in roles.items())
        raise ValueError(
            f"the separator seems to be {separator!r}, not ','; use\n"
            f"    frame = pandas.read_csv({str(path)!r}, sep={separator!r})\n"
            f"    ratings = mflib.Ratings.from_frame(frame, {names})\n"
            "and in the first of these decimal=',' too where numbers are like 3,5"
        )
