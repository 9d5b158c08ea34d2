"""Headless Chromium, folders served from this machine, and what pages do wrong."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

SITE = Path(__file__).parents[2] / "_build" / "html"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
SCHEMES = ("light", "dark")
WIDTHS = (1280, 390)

# Resolves once fonts and pictures in sight have come.
SETTLED = """async () => {
  await document.fonts.ready;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}"""


def pytest_collection_modifyitems(items) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("browser")


def pytest_generate_tests(metafunc) -> None:
    """Run a test that takes ``path`` on every page, ``slider_path`` on some."""
    # Pages only: _static holds fragments that the theme includes.
    pages = sorted(
        page for page in SITE.rglob("*.html") if page.parent.name != "_static"
    )
    with_slider = [
        page
        for page in pages
        if 'class="mflib-slider"' in page.read_text(encoding="utf-8")
    ]
    for name, found, reason in (
        ("path", pages, f"no site in {SITE}: run make book"),
        ("slider_path", with_slider, f"no page in {SITE} has a slider"),
    ):
        if name in metafunc.fixturenames:
            paths = [str(page.relative_to(SITE)) for page in found]
            nothing = pytest.param("", marks=pytest.mark.skip(reason=reason))
            metafunc.parametrize(name, paths or [nothing])


@pytest.fixture(scope="session")
def browser():
    sync_api = pytest.importorskip(
        "playwright.sync_api",
        reason="no playwright: pip install -r requirements/browser.txt",
    )
    found = [path for path in map(shutil.which, CHROMIUM) if path]
    if not found:
        pytest.skip(f"no browser: none of {', '.join(CHROMIUM)} is on the PATH")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=found[0], args=FLAGS)
        yield chromium
        chromium.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder from this machine, and give its address."""
    with ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=folder)
    ) as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    with served(SITE) as address:
        yield address


class Visit:
    """A page in a window of its own that reaches this machine and no other.

    ``problems`` lists, as they happen, requests to other hosts, requests that failed,
    and errors in the console.
    """

    def __init__(self, browser, *, width: int = 1280, scheme: str = "light", **more):
        self.problems: list[str] = []
        self.context = browser.new_context(
            viewport={"width": width, "height": 844}, color_scheme=scheme, **more
        )
        self.context.route("**/*", self._keep_local)
        self.page = self.context.new_page()
        self.page.set_default_timeout(20_000)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.problems.append(f"error: {error}"))
        self.page.on("response", self._look_at)
        self.page.on(
            "requestfailed", lambda r: self.problems.append(f"request failed: {r.url}")
        )

    def _keep_local(self, route) -> None:
        if urlsplit(route.request.url).hostname == "127.0.0.1":
            route.continue_()
        else:
            self.problems.append(f"request to another host: {route.request.url}")
            route.abort()

    def _hear(self, message) -> None:
        if message.type == "error":
            self.problems.append(f"console error: {message.text}")

    def _look_at(self, response) -> None:
        if response.status >= 400:
            self.problems.append(f"status {response.status}: {response.url}")

    def open(self, url: str) -> None:
        self.page.goto(url, wait_until="networkidle")
        self.page.evaluate(SETTLED)

    def overflow(self) -> int:
        """Return by how many pixels the page is wider than its window."""
        return self.page.evaluate("""() => {
          const page = document.documentElement;
          return page.scrollWidth - page.clientWidth;
        }""")


@pytest.fixture
def visit(browser):
    """A function that opens windows, all closed when the test ends."""
    opened = []

    def new(**how) -> Visit:
        opened.append(Visit(browser, **how))
        return opened[-1]

    yield new
    for one in opened:
        one.context.close()
