"""How heavy the pages of the built site are: ``make weights``.

Each page is opened in headless Chromium from a server on this machine that compresses
text, as a static host does. Counted is what goes over the wire, with heads: on a first
visit, and as the next page after the introduction. The times are those of a slow phone
and are only printed; bytes and layout shift have budgets, and this program fails when
one is exceeded.
"""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SITE = Path(__file__).parents[1] / "_build" / "html"
START = "chapters/intro.html"

FIRST_KB, NEXT_KB, SHIFT = 600, 250, 0.02

PHONE, DESK = 390, 1280
SLOW = {"latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
SLOWER_CPU = 4

COMPRESSED = {".html", ".css", ".js", ".svg", ".json", ".txt", ".inv"}

# Layout shift that no key or tap explains, from the first paint on.
OBSERVE = """(() => {
  window.layoutShift = 0;
  new PerformanceObserver((list) => {
    for (const shift of list.getEntries())
      if (!shift.hadRecentInput) window.layoutShift += shift.value;
  }).observe({type: "layout-shift", buffered: true});
})();"""

# To the end of the page, in steps, with time for what comes into sight to load.
SCROLL = """async () => {
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  for (let y = 0; y < document.documentElement.scrollHeight; y += 600) {
    window.scrollTo({top: y, behavior: "instant"});
    await pause(30);
  }
  await pause(300);
}"""


class Compressing(SimpleHTTPRequestHandler):
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
    """Serve a folder from this machine, compressed, and give its address."""
    content.cache_clear()
    handler = partial(Compressing, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        http.daemon_threads = True
        threading.Thread(target=http.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()


def pages(site: Path) -> list[str]:
    """Return the pages' paths. The first address only goes on to the introduction."""
    found = {str(path.relative_to(site)) for path in site.rglob("*.html")}
    return sorted(p for p in found if p != "index.html" and "_static/" not in p)


@dataclass
class Weight:
    page: str
    first: float  # kilobytes over the wire, the larger of phone and desk
    next: float
    requests: int
    seconds: float  # to DOMContentLoaded, on a slow phone
    shift: float  # with scrolling to the end, the larger of phone and desk

    def problems(self) -> list[str]:
        budgets = [
            ("first visit, KB", self.first, FIRST_KB),
            ("next page, KB", self.next, NEXT_KB),
            ("layout shift", self.shift, SHIFT),
        ]
        return [
            f"{self.page}: {name}: {value:.4g}, {most} allowed"
            for name, value, most in budgets
            if value > most
        ]


class Window:
    """A browser window with an empty cache that counts what it loads."""

    def __init__(self, browser, width: int, *, slower_cpu: float = 0) -> None:
        """Open it; with ``slower_cpu``, on a slow network and with a CPU so slow."""
        self.context = browser.new_context(viewport={"width": width, "height": 844})
        self.context.add_init_script(OBSERVE)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.bytes = self.requests = 0
        chrome = self.context.new_cdp_session(self.page)
        chrome.send("Network.enable")
        chrome.on("Network.loadingFinished", self._count)
        if slower_cpu:
            chrome.send("Network.emulateNetworkConditions", {"offline": False, **SLOW})
            chrome.send("Emulation.setCPUThrottlingRate", {"rate": slower_cpu})

    def _count(self, event) -> None:
        if event["encodedDataLength"]:  # else it came from the cache
            self.bytes += event["encodedDataLength"]
            self.requests += 1

    def open(self, url: str) -> float:
        """Open a page, and return the kilobytes that it takes."""
        before = self.bytes
        self.page.goto(url, wait_until="networkidle")
        self.page.evaluate("document.fonts.ready.then(() => 0)")
        self.page.wait_for_load_state("networkidle")
        return (self.bytes - before) / 1000

    def seconds(self) -> float:
        return (
            self.page.evaluate(
                "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
            )
            / 1000
        )

    def shift(self) -> float:
        self.page.evaluate(SCROLL)
        self.page.wait_for_load_state("networkidle")
        return self.page.evaluate("window.layoutShift")


def weigh(
    browser, address: str, page: str, *, start: str = START, slower_cpu: float = 1
) -> Weight:
    """Weigh a page; ``seconds`` are those of a slow phone if ``slower_cpu`` says so."""
    url = f"{address}/{page}"
    phone = Window(browser, PHONE, slower_cpu=slower_cpu)
    desk = Window(browser, DESK)
    warm = Window(browser, PHONE)
    try:
        first = max(phone.open(url), desk.open(url))
        warm.open(f"{address}/{start}")
        return Weight(
            page=page,
            first=first,
            requests=phone.requests,
            next=warm.open(url) if page != start else 0.0,
            seconds=phone.seconds(),
            shift=max(phone.shift(), desk.shift()),
        )
    finally:
        for window in (phone, desk, warm):
            window.context.close()


def main() -> int:
    from playwright.sync_api import sync_playwright

    from tests.browser.conftest import CHROMIUM, FLAGS, shutil

    chromium = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if chromium is None:
        print(f"No browser: none of {', '.join(CHROMIUM)} is on the PATH")
        return 2
    found = pages(SITE)
    if not found:
        print(f"No site in {SITE}: run make book")
        return 2
    problems = []
    print(f"{'page':40}{'first':>6}{'next':>7}{'req-':>7}{'DOM':>9}{'layout':>8}")
    print(f"{'':40}{'KB':>6}{'KB':>7}{'uests':>7}{'ready s':>9}{'shift':>8}")
    with served(SITE) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for page in found:
            w = weigh(browser, address, page, slower_cpu=SLOWER_CPU)
            print(
                f"{w.page:40}{w.first:6.0f}{w.next:7.0f}{w.requests:7}"
                f"{w.seconds:9.1f}{w.shift:8.3f}",
                flush=True,
            )
            problems += w.problems()
        browser.close()
    print(f"{'budget':40}{FIRST_KB:6}{NEXT_KB:7}{'':16}{SHIFT:8}")
    for problem in problems:
        print(problem)
    return bool(problems)


if __name__ == "__main__":
    raise SystemExit(main())
