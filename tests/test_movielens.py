"""fetch_movielens: where it looks, what it reads, and what it says when it cannot.

No test uses the internet or the real cache: downloads come from a server in a thread.
"""

import hashlib
import io
import logging
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pooch
import pytest

from mflib import DataUnavailableError, fetch_movielens, movielens

DATA = os.environ.get("MFLIB_DATA", "")

RATINGS = """userId,movieId,rating,timestamp
7,50,4.0,964982703
2,10,0.5,964981247
7,10,3.5,964982224
2,300,5.0,964983815
"""
MOVIES = """movieId,title,genres
300,"Amélie, again (2001)",Comedy|Romance
10,NA,(no genres listed)
20,Nobody Rated This (1999),Drama
50,Toy Story (1995),Adventure|Animation
"""
TITLES = ["NA", "Toy Story (1995)", "Amélie, again (2001)"]  # of 10, 50, 300


def make_zip(members: dict[str, str], encoding: str = "utf-8") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(zipfile.ZipInfo(name), text.encode(encoding))
    return file.getvalue()


SMALL_ZIP = make_zip(
    {"ml-latest-small/ratings.csv": RATINGS, "ml-latest-small/movies.csv": MOVIES}
)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class Server(ThreadingHTTPServer):
    """Answer every request with ``reply``, and remember what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.reply = (200, SMALL_ZIP, len(SMALL_ZIP))
        self.url = f"http://127.0.0.1:{self.server_port}/"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, body, length = self.server.reply
        self.send_response(status)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args) -> None:
        pass


def change(monkeypatch, name: str, **fields) -> None:
    """Change an edition's size, and its checksums."""
    edition = movielens.EDITIONS[name]._replace(**fields)
    monkeypatch.setitem(movielens.EDITIONS, name, edition)


@pytest.fixture
def server():
    with Server() as server:
        # shutdown() waits for one poll.
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(server, monkeypatch, tmp_path) -> Path:
    """Keep every test away from the real cache, data, proxies and address."""
    folder = tmp_path / "cache" / "mflib"
    monkeypatch.setattr(pooch, "os_cache", lambda project: folder.parent / project)
    monkeypatch.setattr(movielens, "BASE_URL", server.url)
    hashes = {"zip_hash": sha256(SMALL_ZIP), "ratings_hash": None, "films_hash": None}
    change(monkeypatch, "latest-small", n_ratings=4, **hashes)
    monkeypatch.delenv("MFLIB_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("no_proxy", "*")
    return folder


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """Unpack a data set into $MFLIB_DATA, and pin its files' checksums."""
    folder = tmp_path / "data" / "ml-latest-small"
    folder.mkdir(parents=True)
    (folder / "ratings.csv").write_bytes(RATINGS.encode())
    (folder / "movies.csv").write_bytes(MOVIES.encode())
    monkeypatch.setenv("MFLIB_DATA", str(folder.parent))
    ratings, films = sha256(RATINGS.encode()), sha256(MOVIES.encode())
    change(monkeypatch, "latest-small", ratings_hash=ratings, films_hash=films)
    return folder


def files_below(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def check_small(ratings, films) -> None:
    assert list(ratings.user_labels) == [2, 7]
    assert list(ratings.item_labels) == [10, 50, 300]
    assert ratings.to_frame().to_numpy().tolist() == [
        [7, 50, 4.0, 964982703],
        [2, 10, 0.5, 964981247],
        [7, 10, 3.5, 964982224],
        [2, 300, 5.0, 964983815],
    ]
    assert list(films.columns) == ["movieId", "title", "genres"]
    assert list(films["movieId"]) == [10, 50, 300]
    assert list(films["title"]) == TITLES
    assert films["genres"][1] == "Adventure|Animation"
    assert films.index.equals(pd.RangeIndex(3))


# Where it looks


def test_data_folder_comes_first(folder, cache, server, monkeypatch, tmp_path):
    cache.mkdir(parents=True)
    (cache / "ml-latest-small.zip").write_bytes(b"not looked at")
    check_small(*fetch_movielens())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("MFLIB_DATA", "~/data")
    check_small(*fetch_movielens())
    assert server.asked == []


def test_download_happens_once(folder, cache, server):
    (folder / "movies.csv").unlink()  # an incomplete folder is passed over
    check_small(*fetch_movielens("latest-small"))
    check_small(*fetch_movielens("latest-small"))
    assert server.asked == ["/ml-latest-small.zip"]
    assert files_below(cache) == ["ml-latest-small.zip"]


@pytest.mark.parametrize("file", ["ratings.csv", "movies.csv"])
def test_other_version_in_folder_is_refused(folder, server, file):
    content = (folder / file).read_bytes().replace(b"10,", b"11,")
    (folder / file).write_bytes(content)
    expected = sha256((RATINGS if file == "ratings.csv" else MOVIES).encode())
    with pytest.raises(DataUnavailableError, match="not the version") as caught:
        fetch_movielens()
    message = str(caught.value)
    for part in (str(folder / file), expected, f"remove {folder}"):
        assert part in message
    assert server.asked == []


def test_download_is_silent_and_leaves_the_logger_as_it_was():
    logger, records = pooch.get_logger(), []
    handler = logging.Handler()
    handler.emit = records.append
    level = logger.level
    logger.addHandler(handler)
    try:
        logger.setLevel("DEBUG")
        fetch_movielens()
        assert logger.level == logging.DEBUG
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    assert records == []


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ((404, b"no such file", 12), "404"),
        ((200, SMALL_ZIP[:200], len(SMALL_ZIP)), "IncompleteRead"),
        ((200, SMALL_ZIP + b"!", len(SMALL_ZIP) + 1), "hash"),  # a zip file still
    ],
    ids=["missing", "cut short", "another"],
)
def test_the_cache_never_holds_half_a_file(cache, server, reply, why):
    right, server.reply = server.reply, reply
    with pytest.raises(DataUnavailableError) as caught:
        fetch_movielens()
    url = server.url + "ml-latest-small.zip"
    for part in (why, "$MFLIB_DATA (not set)", str(cache), url, "set MFLIB_DATA"):
        assert part in str(caught.value)
    assert files_below(cache) == []
    server.reply = right
    check_small(*fetch_movielens())


# The other data sets


def fetch_fake(name, members, encoding, server, monkeypatch, size=2):
    content = make_zip(members, encoding)
    change(monkeypatch, name, n_ratings=size, zip_hash=sha256(content))
    server.reply = (200, content, len(content))
    return fetch_movielens(name)


# 100k: id, title, release date, video date, address, then 19 genres. 1m: \x85 is "…" in
# Windows' latin-1, but a line break to str.splitlines.
DRAMA, BOTH = "0|" * 8 + "1|" + "0|" * 9 + "0", "0|0|1|" + "0|" * 15 + "1"
EDITIONS = {
    "100k": (
        {
            "ml-100k/u.data": "196\t242\t3\t881250949\n22\t3\t1\t878887116\n",
            "ml-100k/u.item": f'3|"Wild" Amélie (1996)|1-Jan-1996||http://x|{DRAMA}\n'
            f"4|Unrated (1995)|1-Jan-1995||http://x|{DRAMA}\n"
            f"242|Kolya (1996)|24-Jan-1997||http://x|{BOTH}\n",
        },
        [[196, 242, 3.0, 881250949], [22, 3, 1.0, 878887116]],
        [
            [3, '"Wild" Amélie (1996)', "Drama"],
            [242, "Kolya (1996)", "Adventure|Western"],
        ],
    ),
    "1m": (
        {
            "ml-1m/ratings.dat": "1::1193::5::978300760\r\n2::9::3::978302109\r\n",
            "ml-1m/movies.dat": "9::Star: \x85 Amélie (2000)::Comedy|Children's\r\n"
            '1193::"One" Flew: Over (1975)::Drama\r\n',
        },
        [[1, 1193, 5.0, 978300760], [2, 9, 3.0, 978302109]],
        [
            [9, "Star: \x85 Amélie (2000)", "Comedy|Children's"],
            [1193, '"One" Flew: Over (1975)', "Drama"],
        ],
    ),
}


@pytest.mark.parametrize("name", EDITIONS)
def test_other_editions(name, server, monkeypatch):
    members, rows, rows_of_films = EDITIONS[name]
    ratings, films = fetch_fake(name, members, "latin-1", server, monkeypatch)
    assert ratings.to_frame().to_numpy().tolist() == rows
    assert list(films.columns) == ["movieId", "title", "genres"]
    assert films.to_numpy().tolist() == rows_of_films
    assert server.asked == [f"/ml-{name}.zip"]


FOLDERS = {
    "1m": {
        "ratings.dat": "1::1193::5::978300760\n2::1193::3::978298413\n",
        "movies.dat": "1193::One Flew::Drama\n",
    },
    "32m": {"ratings.csv": RATINGS, "movies.csv": MOVIES},
    "100k": {
        "u.data": "196\t242\t3\t881250949\n",
        "u.item": "242|Kolya|||" + "|0" * 19,
    },
}


def unpack(monkeypatch, tmp_path: Path, name: str) -> Path:
    """Unpack a data set into $MFLIB_DATA, where most have no checksums of files."""
    folder = tmp_path / f"ml-{name}"
    folder.mkdir()
    for file, text in FOLDERS[name].items():
        (folder / file).write_text(text, encoding="utf-8")
    monkeypatch.setenv("MFLIB_DATA", str(tmp_path))
    return folder


def test_what_is_known_of_an_edition_is_checked(monkeypatch, tmp_path, server):
    unpack(monkeypatch, tmp_path, "1m")
    with pytest.raises(DataUnavailableError, match=r"2 ratings, expected 1,000,209"):
        fetch_movielens("1m")
    unpack(monkeypatch, tmp_path, "100k")
    with pytest.raises(DataUnavailableError, match="checksum is md5:6e47046882bad158"):
        fetch_movielens("100k")
    line = FOLDERS["100k"]["u.data"].encode()
    digest = hashlib.md5(line, usedforsecurity=False).hexdigest()
    change(monkeypatch, "100k", n_ratings=1, ratings_hash=f"md5:{digest}")
    _, films = fetch_movielens("100k")
    assert films.to_numpy().tolist() == [[242, "Kolya", ""]]
    assert server.asked == []


@pytest.mark.parametrize(
    ("name", "file", "old", "new"),
    [
        ("1m", "ratings.dat", "\n2::1193::3::978298413", ""),  # too few
        ("1m", "ratings.dat", "5::", "five::"),
        ("1m", "ratings.dat", "5::", "inf::"),
        ("1m", "ratings.dat", "2::", "2.5::"),
        ("1m", "ratings.dat", "2::1193", "2::"),
        ("1m", "ratings.dat", "3::978298413\n", ""),  # cut short
        ("1m", "ratings.dat", "2::1193", "1::1193"),  # a pair twice
        ("1m", "ratings.dat", "978298413", "yesterday"),
        ("1m", "ratings.dat", "1::1193::5::978300760", "<html>"),
        ("32m", "ratings.csv", "rating", "stars"),
        ("1m", "movies.dat", "::Drama", ""),
        ("1m", "movies.dat", "1193::One Flew::Drama", ""),
        ("1m", "movies.dat", "1193", "one"),
        ("1m", "movies.dat", "1193::One", "1193::One::Drama\n1193::One"),
        ("32m", "movies.csv", "title", "name"),
        ("32m", "movies.csv", "Toy Story", "Toy, Story"),
        ("32m", "movies.csv", "Toy Story (1995),Adventure|Animation\n", ""),
    ],
)
def test_damaged_files(monkeypatch, tmp_path, name, file, old, new):
    folder = unpack(monkeypatch, tmp_path, name)
    change(monkeypatch, name, n_ratings=2 if name == "1m" else 4)
    fetch_movielens(name)
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(DataUnavailableError) as caught:
        fetch_movielens(name)
    assert str(caught.value).startswith(f"{folder} is damaged: ")
    assert f"get ml-{name}.zip from https://grouplens.org/" in str(caught.value)


@pytest.mark.parametrize(
    "edit",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.removesuffix("\n"),
    ],
    ids=["BOM", "CRLF", "no last newline"],
)
def test_files_that_an_editor_has_saved(monkeypatch, tmp_path, edit):
    folder = unpack(monkeypatch, tmp_path, "32m")
    change(monkeypatch, "32m", n_ratings=4)
    (folder / "ratings.csv").write_bytes(edit(RATINGS).encode())
    (folder / "movies.csv").write_bytes(edit(MOVIES).encode())
    check_small(*fetch_movielens("32m"))


@pytest.mark.skipif(
    not Path(DATA, "ml-latest-small", "ratings.csv").is_file() or not DATA,
    reason="MFLIB_DATA is not a folder that contains ml-latest-small",
)
def test_real_data(monkeypatch, server):
    monkeypatch.undo()  # the real variable and checksums
    monkeypatch.setattr(movielens, "BASE_URL", server.url)
    ratings, films = fetch_movielens()
    assert (len(ratings), ratings.n_users, ratings.n_items) == (100_836, 610, 9_724)
    assert len(films) == 9_724
    assert not films.isna().any().any()
    toy_story = films[films["movieId"] == 1].iloc[0]
    assert toy_story["title"] == "Toy Story (1995)"
    assert films["movieId"].tolist() == ratings.item_labels.tolist()
    dates = pd.to_datetime(ratings.times.numpy(), unit="s")
    assert (dates.min().year, dates.max().year) == (1996, 2018)
    stars = ratings.to_frame()["rating"]
    assert sorted(stars.unique()) == [k / 2 for k in range(1, 11)]
    assert server.asked == []
