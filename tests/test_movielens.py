"""fetch_movielens: where it looks, what it survives, and the reader's own files.

No test uses the internet or the real cache: downloads come from a server in a thread.
"""

import csv
import errno
import hashlib
import io
import logging
import os
import subprocess
import sys
import threading
import time
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pandas as pd
import pooch
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

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


def send(body: bytes, *, length: int | None = None, status: int = 200, **headers: str):
    """Return a reply of the server; a length above the body's cuts it in the middle."""

    def reply(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(length or len(body)))
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return reply


class Server(ThreadingHTTPServer):
    """Answer every request with ``reply``, and remember what was asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.reply = send(SMALL_ZIP)
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request, client_address) -> None:
        """Say nothing when a client hangs up: some tests make it do so."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.reply(self)

    def log_message(self, *args) -> None:
        pass


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
    monkeypatch.setitem(movielens.HASHES, "latest-small", {"zip": sha256(SMALL_ZIP)})
    monkeypatch.setitem(movielens.SIZES, "latest-small", 4)
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
    hashes = {
        "zip": sha256(SMALL_ZIP),
        "ratings": sha256(RATINGS.encode()),
        "films": sha256(MOVIES.encode()),
    }
    monkeypatch.setitem(movielens.HASHES, "latest-small", hashes)
    return folder


def files_below(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def check_small(ratings, films) -> None:
    assert list(ratings.user_labels) == [2, 7]
    assert list(ratings.item_labels) == [10, 50, 300]
    assert ratings.to_frame().to_numpy().tolist() == [
        [7, 50, 4.0],
        [2, 10, 0.5],
        [7, 10, 3.5],
        [2, 300, 5.0],
    ]
    assert list(films.columns) == ["movieId", "title", "genres"]
    assert list(films["movieId"]) == [10, 50, 300]
    assert list(films["title"]) == TITLES
    assert films["genres"][1] == "Adventure|Animation"
    assert films.index.equals(pd.RangeIndex(3))


# Where it looks


def test_data_folder_comes_first(folder, cache, server):
    cache.mkdir(parents=True)
    (cache / "ml-latest-small.zip").write_bytes(b"not looked at")
    check_small(*fetch_movielens())
    assert server.asked == []
    assert (cache / "ml-latest-small.zip").read_bytes() == b"not looked at"


def test_data_folder_may_begin_with_tilde(folder, monkeypatch, tmp_path, server):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.setenv("MFLIB_DATA", "~/data")
    check_small(*fetch_movielens())
    assert server.asked == []


def test_cache_comes_before_download(cache, server):
    cache.mkdir(parents=True)
    (cache / "ml-latest-small.zip").write_bytes(SMALL_ZIP)
    check_small(*fetch_movielens())
    assert server.asked == []


def test_download_happens_once(cache, server):
    check_small(*fetch_movielens("latest-small"))
    check_small(*fetch_movielens("latest-small"))
    assert server.asked == ["/ml-latest-small.zip"]
    assert files_below(cache) == ["ml-latest-small.zip"]
    assert (cache / "ml-latest-small.zip").read_bytes() == SMALL_ZIP


def test_empty_variable_is_no_folder(monkeypatch, tmp_path, folder, server):
    monkeypatch.chdir(folder.parent)
    monkeypatch.setenv("MFLIB_DATA", "")
    check_small(*fetch_movielens())
    assert server.asked == ["/ml-latest-small.zip"]


def test_incomplete_folder_is_passed_over(folder, server):
    (folder / "movies.csv").unlink()
    check_small(*fetch_movielens())
    assert server.asked == ["/ml-latest-small.zip"]


@pytest.mark.parametrize("file", ["ratings.csv", "movies.csv"])
def test_other_version_in_folder_is_refused(folder, server, file):
    content = (folder / file).read_bytes().replace(b"10,", b"11,")
    (folder / file).write_bytes(content)
    expected = sha256((RATINGS if file == "ratings.csv" else MOVIES).encode())
    with pytest.raises(DataUnavailableError, match="not the version") as caught:
        fetch_movielens()
    message = str(caught.value)
    for part in (str(folder / file), sha256(content), expected, f"remove {folder}"):
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


# What can go wrong on the way


FAULTS = {
    "404": (send(b"no such file", status=404), "404"),
    "500": (send(b"out of order", status=500), "500"),
    "cut": (send(SMALL_ZIP[:200], length=len(SMALL_ZIP)), "IncompleteRead"),
    "short": (send(SMALL_ZIP[:200]), "hash"),
    "long": (send(SMALL_ZIP + b"more", length=len(SMALL_ZIP) - 9), "hash"),
    "no gzip": (send(b"PK", **{"Content-Encoding": "gzip"}), "ContentDecodingError"),
    "nowhere": (send(b"", status=302, Location="http://[x"), "ValueError"),
    "other": (send(b"<html>please log in</html>"), "hash"),
    "nothing": (send(b""), "hash"),
    "loop": (send(b"", status=302, Location="/ml-latest-small.zip"), "TooManyRedir"),
    "away": (send(b"", status=302, Location="file:///etc/hosts"), "InvalidSchema"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_failed_download_is_explained_and_leaves_nothing(fault, cache, server):
    server.reply, why = FAULTS[fault]
    with pytest.raises(DataUnavailableError) as caught:
        fetch_movielens()
    message = str(caught.value)
    for part in (
        why,
        "'latest-small'",
        "$MFLIB_DATA (not set)",
        str(cache),
        server.url + "ml-latest-small.zip",
        "https://grouplens.org/datasets/movielens/",
        "set MFLIB_DATA",
    ):
        assert part in message
    assert caught.value.__cause__ is not None
    assert files_below(cache) == []

    server.reply = send(SMALL_ZIP)
    check_small(*fetch_movielens())


def test_refused_connection(monkeypatch, cache):
    with Server() as closed:
        url = closed.url
    monkeypatch.setattr(movielens, "BASE_URL", url)
    monkeypatch.setenv("MFLIB_DATA", "elsewhere")
    with pytest.raises(DataUnavailableError, match=r"in elsewhere.*ConnectionError"):
        fetch_movielens()
    assert files_below(cache) == []


@pytest.mark.parametrize("sent", [b"", SMALL_ZIP[:100]], ids=["at once", "midway"])
def test_server_that_falls_silent(monkeypatch, cache, server, sent):
    assert max(movielens.TIMEOUT) <= 15
    monkeypatch.setattr(movielens, "TIMEOUT", (0.2, 0.2))
    done = threading.Event()

    def stall(handler):
        if sent:
            send(sent, length=len(SMALL_ZIP))(handler)
        done.wait(20)

    server.reply = stall
    start = time.monotonic()
    try:
        with pytest.raises(DataUnavailableError, match=r"[Tt]imed? ?out"):
            fetch_movielens()
    finally:
        done.set()
    assert time.monotonic() - start < 10
    assert files_below(cache) == []


def test_slow_server_is_waited_for(monkeypatch, server):
    # Five pieces, each sooner than the limit, all of them later.
    monkeypatch.setattr(movielens, "TIMEOUT", (5, 0.5))

    def drip(handler):
        send(b"", length=len(SMALL_ZIP))(handler)
        step = len(SMALL_ZIP) // 4
        for start in range(0, len(SMALL_ZIP), step):
            time.sleep(0.15)
            handler.wfile.write(SMALL_ZIP[start : start + step])

    server.reply = drip
    check_small(*fetch_movielens())


def test_archive_with_another_checksum_is_never_opened(cache, monkeypatch, server):
    def refuse(*args):
        raise AssertionError("opened")

    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    monkeypatch.setattr(zipfile, "Path", refuse)
    server.reply = send(SMALL_ZIP + b"!")  # a zip file still
    with pytest.raises(DataUnavailableError, match="does not match the known hash"):
        fetch_movielens()
    assert files_below(cache) == []


def test_link_in_place_of_the_archive_is_replaced_not_followed(cache, tmp_path):
    (tmp_path / "precious").write_text("kept")
    cache.mkdir(parents=True)
    (cache / "ml-latest-small.zip").symlink_to(tmp_path / "precious")
    check_small(*fetch_movielens())
    assert (tmp_path / "precious").read_text() == "kept"
    assert not (cache / "ml-latest-small.zip").is_symlink()


def test_folder_in_place_of_the_archive(cache):
    (cache / "ml-latest-small.zip").mkdir(parents=True)
    with pytest.raises(DataUnavailableError, match=r"set MFLIB_DATA"):
        fetch_movielens()
    assert files_below(cache) == []


def test_damaged_archive_in_cache_is_fetched_again(cache, server):
    cache.mkdir(parents=True)
    (cache / "ml-latest-small.zip").write_bytes(SMALL_ZIP[:-30])
    check_small(*fetch_movielens())
    assert server.asked == ["/ml-latest-small.zip"]
    assert (cache / "ml-latest-small.zip").read_bytes() == SMALL_ZIP


def test_damaged_archive_in_cache_is_never_read(cache, server):
    other = SMALL_ZIP + b"!"  # a zip file still, but not the pinned one
    cache.mkdir(parents=True)
    (cache / "ml-latest-small.zip").write_bytes(other)
    server.reply = send(b"", status=503)
    with pytest.raises(DataUnavailableError, match="503"):
        fetch_movielens()
    assert files_below(cache) == ["ml-latest-small.zip"]


def test_cache_that_cannot_be_written(cache):
    # A file in the folder's place stops the administrator too, unlike permissions.
    cache.parent.mkdir(parents=True)
    cache.write_text("in the way")
    with pytest.raises(DataUnavailableError, match=r"Error.*set MFLIB_DATA") as caught:
        fetch_movielens()
    assert isinstance(caught.value.__cause__, OSError)
    assert str(cache) in str(caught.value)


def test_cache_that_is_read_only_but_has_the_data(cache, monkeypatch):
    cache.mkdir(parents=True)
    (cache / "ml-latest-small.zip").write_bytes(SMALL_ZIP)

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr("tempfile.NamedTemporaryFile", refuse)
    check_small(*fetch_movielens())
    (cache / "ml-latest-small.zip").unlink()
    with pytest.raises(DataUnavailableError, match="PermissionError"):
        fetch_movielens()


def test_full_disk(cache, monkeypatch):
    def fill(self, url, output_file, pooch, check_only=False):
        Path(output_file).write_bytes(SMALL_ZIP[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(pooch.HTTPDownloader, "__call__", fill)
        with pytest.raises(DataUnavailableError, match="No space left") as caught:
            fetch_movielens()
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert files_below(cache) == []
    check_small(*fetch_movielens())


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0,
    reason="an administrator may write to a read-only folder",
)
def test_folder_without_permission(cache):
    check_small(*fetch_movielens())
    cache.chmod(0o555)
    try:
        check_small(*fetch_movielens())
        cache.chmod(0o755)
        (cache / "ml-latest-small.zip").unlink()
        cache.chmod(0o555)
        with pytest.raises(DataUnavailableError, match="PermissionError"):
            fetch_movielens()
    finally:
        cache.chmod(0o755)


def test_disk_that_takes_no_more(cache, server):
    # The system itself refuses the 101st byte of any file.
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(DataUnavailableError, match="File too large") as caught:
            fetch_movielens()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert isinstance(caught.value.__cause__, OSError)
    assert files_below(cache) == []
    check_small(*fetch_movielens())


def test_two_processes_at_once(cache, server):
    both_asked = threading.Barrier(2, timeout=60)

    def reply(handler):
        both_asked.wait()
        send(SMALL_ZIP)(handler)

    server.reply = reply
    script = f"""
import pooch
from pathlib import Path
from mflib import fetch_movielens, movielens
pooch.os_cache = lambda project: Path({str(cache.parent)!r}) / project
movielens.BASE_URL = {server.url!r}
movielens.HASHES["latest-small"] = {movielens.HASHES["latest-small"]!r}
movielens.SIZES["latest-small"] = 4
ratings, films = fetch_movielens()
print(len(ratings), list(films["movieId"]))
"""
    path = str(Path(movielens.__file__).parents[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    results = [process.communicate(timeout=120) for process in processes]
    assert results == [("4 [10, 50, 300]\n", "")] * 2
    assert len(server.asked) == 2
    assert files_below(cache) == ["ml-latest-small.zip"]
    assert (cache / "ml-latest-small.zip").read_bytes() == SMALL_ZIP


def test_hostile_archive_writes_nothing(cache, monkeypatch, server, tmp_path):
    inside = tmp_path / "cwd"
    inside.mkdir()
    monkeypatch.chdir(inside)
    link = zipfile.ZipInfo("ml-latest-small/link")
    link.external_attr = 0o120777 << 16  # a symbolic link
    file = io.BytesIO(
        make_zip(
            {
                "../evil.txt": "evil",
                "ml-latest-small/../../../evil.txt": "evil",
                str(tmp_path / "evil.txt"): "evil",
                "ml-latest-small/ratings.csv": RATINGS,
                "ml-latest-small/movies.csv": MOVIES,
            }
        )
    )
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(link, str(tmp_path))
    content = file.getvalue()
    server.reply = send(content)
    monkeypatch.setitem(movielens.HASHES, "latest-small", {"zip": sha256(content)})
    check_small(*fetch_movielens())
    assert files_below(tmp_path) == [str(Path("cache", "mflib", "ml-latest-small.zip"))]


# The other data sets


def fetch_fake(name, members, encoding, server, monkeypatch, size=2):
    content = make_zip(members, encoding)
    monkeypatch.setitem(movielens.SIZES, name, size)
    server.reply = send(content)
    monkeypatch.setitem(movielens.HASHES, name, {"zip": sha256(content)})
    return fetch_movielens(name)


def test_100k(server, monkeypatch):
    # id, title, release date, video date, address, then 19 genres
    drama, both = "0|" * 8 + "1|" + "0|" * 9 + "0", "0|0|1|" + "0|" * 15 + "1"
    members = {
        "ml-100k/u.data": "196\t242\t3\t881250949\n22\t3\t1\t878887116\n",
        "ml-100k/u.item": f'3|"Wild" Amélie (1996)|1-Jan-1996||http://x|{drama}\n'
        f"4|Unrated (1995)|1-Jan-1995||http://x|{drama}\n"
        f"242|Kolya (1996)|24-Jan-1997||http://x|{both}\n",
    }
    ratings, films = fetch_fake("100k", members, "latin-1", server, monkeypatch)
    assert ratings.to_frame().to_numpy().tolist() == [[196, 242, 3.0], [22, 3, 1.0]]
    assert films.to_dict("list") == {
        "movieId": [3, 242],
        "title": ['"Wild" Amélie (1996)', "Kolya (1996)"],
        "genres": ["Drama", "Adventure|Western"],
    }
    assert server.asked == ["/ml-100k.zip"]


def test_1m(server, monkeypatch):
    # \x85 is "…" in Windows' latin-1, but a line break to str.splitlines.
    members = {
        "ml-1m/ratings.dat": "1::1193::5::978300760\r\n2::9::3::978302109\r\n",
        "ml-1m/movies.dat": "9::Star: \x85 Amélie (2000)::Animation|Children's\r\n"
        '1193::"One" Flew: Over (1975)::Drama\r\n',
    }
    ratings, films = fetch_fake("1m", members, "latin-1", server, monkeypatch)
    assert ratings.to_frame().to_numpy().tolist() == [[1, 1193, 5.0], [2, 9, 3.0]]
    assert films.to_dict("list") == {
        "movieId": [9, 1193],
        "title": ["Star: \x85 Amélie (2000)", '"One" Flew: Over (1975)'],
        "genres": ["Animation|Children's", "Drama"],
    }
    assert server.asked == ["/ml-1m.zip"]


def test_32m(server, monkeypatch):
    members = {"ml-32m/ratings.csv": RATINGS, "ml-32m/movies.csv": MOVIES}
    check_small(*fetch_fake("32m", members, "utf-8", server, monkeypatch, 4))
    assert server.asked == ["/ml-32m.zip"]


def test_md5_of_100k_in_folder(monkeypatch, tmp_path, server):
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k" / "u.data").write_text("196\t242\t3\t881250949\n")
    (tmp_path / "ml-100k" / "u.item").write_text("242|Kolya|||" + "|0" * 19)
    monkeypatch.setenv("MFLIB_DATA", str(tmp_path))
    with pytest.raises(DataUnavailableError, match="expected 6e47046882bad158b0efbb8"):
        fetch_movielens("100k")
    line = b"196\t242\t3\t881250949\n"
    digest = hashlib.md5(line, usedforsecurity=False).hexdigest()
    monkeypatch.setitem(movielens.HASHES, "100k", {"ratings": f"md5:{digest}"})
    monkeypatch.setitem(movielens.SIZES, "100k", 1)
    _, films = fetch_movielens("100k")
    assert films.to_dict("list") == {
        "movieId": [242],
        "title": ["Kolya"],
        "genres": [""],
    }
    assert server.asked == []


RATINGS_1M = "1::1193::5::978300760\n2::1193::3::978298413\n"


@pytest.fixture
def folder_1m(monkeypatch, tmp_path) -> Path:
    """Unpack a data set that has no checksums of its files into $MFLIB_DATA."""
    folder = tmp_path / "ml-1m"
    folder.mkdir()
    (folder / "ratings.dat").write_text(RATINGS_1M)
    (folder / "movies.dat").write_text("1193::One Flew::Drama\n")
    monkeypatch.setenv("MFLIB_DATA", str(tmp_path))
    monkeypatch.setitem(movielens.SIZES, "1m", 2)
    assert len(fetch_movielens("1m")[0]) == 2
    return folder


def test_known_numbers_of_ratings(monkeypatch, folder_1m):
    monkeypatch.undo()
    monkeypatch.setenv("MFLIB_DATA", str(folder_1m.parent))
    assert movielens.SIZES == {
        "latest-small": 100_836,
        "100k": 100_000,
        "1m": 1_000_209,
        "32m": 32_000_204,
    }
    with pytest.raises(DataUnavailableError) as caught:
        fetch_movielens("1m")
    assert str(caught.value) == (
        f"{folder_1m / 'ratings.dat'} is damaged: it has 2 ratings, expected "
        "1,000,209; get ml-1m.zip from https://grouplens.org/datasets/movielens/ and "
        "unpack it anew"
    )


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "it has 0 ratings, expected 2"),
        ("1::1193::5::978300760\n", "it has 1 ratings, expected 2"),
        (RATINGS_1M + "3::1193::1::978298413\n", "it has 3 ratings, expected 2"),
        ("<html>\n<p>Log in</p>\n", "expected 7 and found 1"),
        (RATINGS_1M.replace("5::", "five::"), "line 1: rating is five"),
        (RATINGS_1M.replace("3::9", "inf::9"), "line 2: rating is inf"),
        (RATINGS_1M.replace("2::", "2.5::"), "line 2: userId is 2.5"),
        (RATINGS_1M.replace("2::1193", "2::"), "line 2: movieId is nan"),
        (RATINGS_1M.replace("2::", "2\xe9::"), "line 2: userId is 2\ufffd"),
        (RATINGS_1M.replace("\n2", "\n\n2"), "it has 3 ratings, expected 2"),
        ("\n" + RATINGS_1M[:22], "line 1: userId is nan"),
        ("1::1193::5::978300760\n2::11", "line 2: rating is nan"),
        (RATINGS_1M.replace("2::", "1::"), "userId 1 with movieId 1193 twice"),
        ("9" * 20 + RATINGS_1M, f"line 1: userId is {'9' * 20}"),
        (RATINGS_1M.replace("::", "\t"), "expected 7 and found 1"),
        (RATINGS_1M.replace("1::1193::5", '1::1193::"5'), "EOF inside string"),
    ],
)
def test_damaged_ratings_without_a_checksum(folder_1m, content, why):
    (folder_1m / "ratings.dat").write_bytes(content.encode("latin-1"))
    with pytest.raises(DataUnavailableError) as caught:
        fetch_movielens("1m")
    message = str(caught.value)
    assert message.startswith(f"{folder_1m / 'ratings.dat'} is damaged: ")
    assert why in message
    assert "get ml-1m.zip from https://grouplens.org/datasets/movielens/" in message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "line 1 has 1 fields, not 3"),
        ("1193::One Flew", "line 1 has 2 fields, not 3"),
        ("\n1193::One Flew::Drama\n", "line 1 has 1 fields, not 3"),
        ("9::Somewhere else::Drama\n", "film 1193, which has ratings, is not there"),
        ("1193::One::Drama\n1193::Two::Drama\n", "not unique"),
        ("one::One Flew::Drama\n", "'one'"),
        ("9" * 20 + "::One Flew::Drama\n", "too large"),
    ],
)
def test_damaged_films_without_a_checksum(folder_1m, content, why):
    (folder_1m / "movies.dat").write_text(content)
    with pytest.raises(DataUnavailableError) as caught:
        fetch_movielens("1m")
    assert str(caught.value).startswith(f"{folder_1m / 'movies.dat'} is damaged: ")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (MOVIES.replace("movieId", "id"), "columns are ['id', 'title', 'genres'], not"),
        (MOVIES.replace("title", "movieId"), "columns are ['movieId', 'movieId', "),
        (MOVIES.replace("Comedy|", '"Comedy|'), "film 10, which has ratings, is not"),
        (MOVIES.replace("Comedy|", '"Comedy|' + "x" * 140_000), "larger than field"),
        (MOVIES[: MOVIES.index(",Adventure")], "line 5 has 2 fields, not 3"),
        (MOVIES[: MOVIES.index("50,Toy")], "film 50, which has ratings, is not there"),
        (MOVIES.replace("Toy Story", "Toy, Story"), "line 5 has 4 fields, not 3"),
        (MOVIES.replace("10,", "\n10,"), "line 3 has 0 fields, not 3"),
        (MOVIES.encode("latin-1"), "line 2 is not utf-8"),
        (b"", "line 1 has 0 fields, not 3"),
    ],
)
def test_damaged_table_of_films(monkeypatch, tmp_path, content, why):
    (tmp_path / "ml-32m").mkdir()
    (tmp_path / "ml-32m" / "ratings.csv").write_text(RATINGS)
    path = tmp_path / "ml-32m" / "movies.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    monkeypatch.setenv("MFLIB_DATA", str(tmp_path))
    monkeypatch.setitem(movielens.SIZES, "32m", 4)
    with pytest.raises(DataUnavailableError) as caught:
        fetch_movielens("32m")
    assert str(caught.value).startswith(f"{path} is damaged: ")
    assert why in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.removesuffix("\n"),
    ],
    ids=["BOM", "CRLF", "no last newline"],
)
def test_files_that_an_editor_has_saved(monkeypatch, tmp_path, change):
    folder = tmp_path / "ml-32m"
    folder.mkdir()
    (folder / "ratings.csv").write_bytes(change(RATINGS).encode())
    (folder / "movies.csv").write_bytes(change(MOVIES).encode())
    monkeypatch.setenv("MFLIB_DATA", str(tmp_path))
    monkeypatch.setitem(movielens.SIZES, "32m", 4)
    check_small(*fetch_movielens("32m"))


def test_columns_in_another_order(monkeypatch, tmp_path):
    folder = tmp_path / "ml-32m"
    folder.mkdir()
    for file, text in (("ratings.csv", RATINGS), ("movies.csv", MOVIES)):
        table = pd.read_csv(io.StringIO(text), keep_default_na=False)
        table[table.columns[::-1]].to_csv(folder / file, index=False)
    monkeypatch.setenv("MFLIB_DATA", str(tmp_path))
    monkeypatch.setitem(movielens.SIZES, "32m", 4)
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
    stars = ratings.to_frame()["rating"]
    assert sorted(stars.unique()) == [k / 2 for k in range(1, 11)]
    assert server.asked == []


# The reader's own file

OWN = "userId,movieId,rating\nann,x,3.5\nbob,x,4\nann,y,5\n"


def write(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "own.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("as_text", [True, False])
def test_own_file(tmp_path, as_text, server):
    path = write(tmp_path, OWN)
    ratings, films = fetch_movielens(str(path) if as_text else path)
    assert ratings.to_frame().to_numpy().tolist() == [
        ["ann", "x", 3.5],
        ["bob", "x", 4.0],
        ["ann", "y", 5.0],
    ]
    assert films.to_dict("list") == {"movieId": ["x", "y"], "title": ["x", "y"]}
    assert server.asked == []


@pytest.mark.parametrize(
    "content",
    [
        "\ufeff" + OWN,
        OWN.replace("\n", "\r\n"),
        OWN.replace("\n", "\r"),
        OWN.replace("\n", "\n\n"),
        OWN.rstrip("\n"),
        "rating ,note,movieId, userId\n"
        '3.5,"a\nb, c","x", ann\n 4 ,,x,bob\n5,"",y,ann\n',
    ],
    ids=["BOM", "CRLF", "CR", "blank lines", "no last newline", "more columns"],
)
def test_own_file_written_by_other_programs(tmp_path, content):
    ratings, _ = fetch_movielens(write(tmp_path, content))
    plain, _ = fetch_movielens(write(tmp_path, OWN))
    assert ratings.to_frame().equals(plain.to_frame())


def test_own_columns(tmp_path):
    path = write(tmp_path, "stars,who,what\n3,1,20\n4,1,3\n")
    ratings, films = fetch_movielens(path, columns=("who", "what", "stars"))
    assert ratings.to_frame().to_numpy().tolist() == [[1, 20, 3.0], [1, 3, 4.0]]
    assert films.to_dict("list") == {"movieId": [3, 20], "title": ["3", "20"]}


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
    ratings, films = fetch_movielens(write(tmp_path, "userId,movieId,rating\n" + rows))
    assert list(ratings.user_labels) == labels
    assert films["title"].tolist() == ["1"]


HEAD = "userId,movieId,rating\n"


@pytest.mark.parametrize(
    ("content", "line", "why"),
    [
        ("", 1, "columns are []"),
        ("\ufeff", 1, "columns are []"),
        (
            "user,movieId,rating\na,x,3\n",
            1,
            "columns are ['user', 'movieId', 'rating']",
        ),
        ("userId;movieId;rating\na;x;3\n", 1, "columns are ['userId;movieId;rating']"),
        ("userId,movieId,rating,rating\na,x,3,4\n", 1, "'rating') once"),
        ("ann,x,3.5\nbob,x,4\n", 1, "columns are ['ann', 'x', '3.5']"),
        (HEAD, 2, "before any rating"),
        (HEAD + "\n\n", 4, "before any rating"),
        (HEAD + "a,x,3\nb,x,good\n", 3, "rating 'good' is not a number"),
        (HEAD + "a,x,3\nb,x,\n", 3, "rating '' is not a number"),
        (HEAD + 'a,x,3\nb,x,"3,5"\n', 3, "rating '3,5' is not a number"),
        (HEAD + "a,x,3\nb,x,3,5\n", 3, "4 fields, not 3"),
        (HEAD + "a,x,3\nb,x\n", 3, "2 fields, not 3"),
        (HEAD + "a,x,nan\n", 2, "rating 'nan' is not a number"),
        (HEAD + "a,x,inf\n", 2, "rating 'inf' is not a number"),
        (HEAD + "a,x,1e999\n", 2, "rating '1e999' is not a number"),
        (HEAD + "a,x,4_5\n", 2, "rating '4_5' is not a number"),
        (HEAD + "a,x,\u0664\n", 2, "rating '\u0664' is not a number"),
        (HEAD + "a,x,0x1\n", 2, "rating '0x1' is not a number"),
        (HEAD + "a,x,3\n ,x,4\n", 3, "id of the user or of the item is missing"),
        (HEAD + "a,x,3\nb,,4\n", 3, "id of the user or of the item is missing"),
        (HEAD + "a,x,3\nb,x,3\n a,x ,4\n", 4, "'a' rated 'x' on line 2 too"),
        (HEAD + "\n\na,x,3\n\nb,x,?\n", 6, "rating '?' is not a number"),
        (HEAD + '"a\nb",x,3\n"c\nd",x,?\n', 4, "rating '?' is not a number"),
        (HEAD + 'a,x,3\nb,"x,3\nc,x,3\n', 3, "unexpected end of data"),
        ((HEAD + "a,x,3\nRené,x,3\n").encode("latin-1"), 3, "not UTF-8"),
        ((HEAD + "a,x,3\n").encode("utf-16"), 1, "not UTF-8"),
        (b"\x1f\x8b\x08\x00", 1, "not UTF-8"),
        ((HEAD + "a,x,3\n" * 20_000 + "\xe9").encode("latin-1"), 20_002, "not UTF-8"),
        (HEAD + "a,x,3\n" + 'b,"x,3\n' + "c,x,3\n" * 30_000, 3, "mark left open?"),
        (HEAD + "a,x,3\nb,x,1e308\nc,x,-2e308\n", 4, "rating '-2e308' is not"),
        (HEAD + "a,x,3\nb,x,3\n\nb,x,4\na,x,3\n", 5, "'b' rated 'x' on line 3 too"),
    ],
)
def test_own_file_with_a_fault(tmp_path, content, line, why):
    path = write(tmp_path, content)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"own\.csv, line") as caught:
        fetch_movielens(path)
    assert str(caught.value).startswith(f"{path}, line {line}: ")
    assert why in str(caught.value)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "columns", [("userId", "userId", "rating"), ("userId", "rating"), "abc", ()]
)
def test_own_columns_that_are_not_three(tmp_path, columns):
    with pytest.raises(ValueError, match=r"line 1: .*columns=\(user, item, rating\)"):
        fetch_movielens(write(tmp_path, OWN), columns=columns)


def test_own_rating_that_the_default_dtype_cannot_hold(tmp_path):
    path = write(tmp_path, HEAD + "a,x,3\nb,x,1e39\n")
    assert fetch_movielens(path)[0].values.tolist() == [3, 1e39]
    torch.set_default_dtype(torch.float32)
    try:
        with pytest.raises(ValueError, match="line 3: rating '1e39' is not a number"):
            fetch_movielens(path)
    finally:
        torch.set_default_dtype(torch.float64)


@pytest.mark.parametrize(
    "name",
    ["latest", "no/such/file.csv", "", ".", None, 100, [], "a" * 5000, "a\0b", b"own"],
)
def test_neither_data_set_nor_file(name, server):
    with pytest.raises(
        ValueError, match="'latest-small', '100k', '1m', '32m'"
    ) as caught:
        fetch_movielens(name)
    assert f"name={name!r}" in str(caught.value)
    assert server.asked == []


IDS = st.text(
    st.characters(codec="utf-8") | st.sampled_from("0123456789-"), min_size=1
).filter(lambda text: text == text.strip())


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(IDS, IDS, st.floats(-1e6, 1e6, width=32)),
        min_size=1,
        unique_by=lambda row: row[:2],
    )
)
def test_whatever_is_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("own") / "own.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([movielens.COLUMNS, *rows])
    ratings, films = fetch_movielens(path)
    read = ratings.to_frame()
    assert list(map(str, read["user"])) == [user for user, _, _ in rows]
    assert list(map(str, read["item"])) == [item for _, item, _ in rows]
    assert list(read["rating"]) == [rating for _, _, rating in rows]
    assert list(films["title"]) == list(map(str, ratings.item_labels))
