"""Headless Chromium, and a server on this machine, for pages of the built site."""

import gzip
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SITE = Path(__file__).parents[1] / "_build" / "html"
# The first is the same browser without windows, and starts a page in less time.
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
]
COMPRESSED = {".html", ".css", ".js", ".svg", ".json", ".txt", ".inv"}


@contextmanager
def chromium() -> Iterator["Browser"]:
    """Start Chromium; FileNotFoundError where there is none."""
    from playwright.sync_api import sync_playwright

    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        raise FileNotFoundError(
            f"no browser: none of {', '.join(CHROMIUM)} is on the PATH "
            "(Debian: apt-get install chromium)"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()


class Compressing(SimpleHTTPRequestHandler):
    """Compresses text, as a static host does."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args) -> None:
        pass

    def handle(self) -> None:
        with suppress(ConnectionError):  # a window was closed
            super().handle()

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        body = content(path)
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(path))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        if path.suffix in COMPRESSED:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        self.wfile.write(body)


@cache
def content(path: Path) -> bytes:
    body = path.read_bytes()
    return gzip.compress(body, mtime=0) if path.suffix in COMPRESSED else body


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder from this machine, and give its address."""
    content.cache_clear()
    handler = partial(Compressing, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def pages(site: Path = SITE) -> list[str]:
    """Return the pages' paths, without the fragments that the theme includes."""
    found = (path.relative_to(site) for path in site.rglob("*.html"))
    return sorted(path.as_posix() for path in found if path.parent.name != "_static")
