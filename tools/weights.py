"""How heavy the pages of the built site are: ``make weights``.

Each page is opened in headless Chromium from a server on this machine that compresses
text, as a static host does. Counted is what goes over the wire, with heads: on a first
visit, and as the next page after the introduction. Fonts come after the first paint, as
on a slow network, so that text which they move is seen. Bytes and layout shift have
budgets. The times are those of a slow phone. They depend on this machine and on what
else it does, so each chapter is timed beside the page that Jupyter Book makes of it by
itself: their ratio has a budget. This program fails when one is exceeded.
"""

import re
from dataclasses import dataclass

from tools import stock
from tools.browser import SITE, chromium, pages, served

START = "chapters/intro.html"
FIRST_KB, NEXT_KB, SHIFT, RATIO = 600, 250, 0.02, 0.4
ROUNDS = 3
CHAPTER = re.compile(r"chapters/\d[^/]*\.html")
PHONE, DESK = 390, 1280
SLOW = {"latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 93_750}
SLOWER_CPU = 4

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
  for (let y = 0; y < document.documentElement.scrollHeight; y += 800) {
    window.scrollTo({top: y, behavior: "instant"});
    await pause(30);
  }
  await pause(300);
  return window.layoutShift;
}"""
PAINTED = """new Promise((done) =>
  requestAnimationFrame(() => setTimeout(() => done(0), 50)))"""
READY = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd / 1000"


@dataclass
class Weight:
    page: str
    first: float  # kilobytes over the wire, the larger of phone and desk
    next: float  # on the phone, of addresses that the introduction does not load
    requests: int
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

    def __init__(self, browser, width: int) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 844})
        self.context.add_init_script(OBSERVE)
        self.page = self.context.new_page()
        self.page.set_default_timeout(60_000)
        self.address: dict[str, str] = {}  # by request
        self.bytes: dict[str, int] = {}  # by request
        self.late: list[str] | None = []  # requests for fonts, until the first paint
        self.chrome = self.context.new_cdp_session(self.page)
        self.chrome.send("Network.enable")
        self.chrome.on("Network.requestWillBeSent", self._name)
        self.chrome.on("Network.loadingFinished", self._count)
        self.chrome.on("Fetch.requestPaused", self._hold)
        self.chrome.send("Fetch.enable", {"patterns": [{"urlPattern": "*.woff*"}]})

    def _hold(self, event) -> None:
        if self.late is None:
            self._let_go(event["requestId"])
        else:
            self.late.append(event["requestId"])

    def _let_go(self, request: str) -> None:
        self.chrome.send("Fetch.continueRequest", {"requestId": request})

    def _name(self, event) -> None:
        self.address[event["requestId"]] = event["request"]["url"]

    def _count(self, event) -> None:
        if event["encodedDataLength"]:  # else it came from the cache
            self.bytes[event["requestId"]] = event["encodedDataLength"]

    def open(self, url: str) -> dict[str, float]:
        """Open a page, and return the kilobytes of each address that it loads."""
        self.page.goto(url, wait_until="domcontentloaded")
        self.page.evaluate(PAINTED)
        held, self.late = self.late, None
        for request in held or []:
            self._let_go(request)
        self.page.wait_for_load_state("networkidle")
        self.page.evaluate("document.fonts.ready.then(() => 0)")
        kilobytes: dict[str, float] = {}
        for request, size in self.bytes.items():
            name = self.address[request]
            kilobytes[name] = kilobytes.get(name, 0) + size / 1000
        return kilobytes


def loaded(browser, url: str) -> set[str]:
    """Return the addresses that a page loads on a phone: the browser's cache, then."""
    window = Window(browser, PHONE)
    try:
        return set(window.open(url))
    finally:
        window.context.close()


def edition(page: str) -> str:
    """Return the folder of the edition that a page is in: each has its own start."""
    return "ko/" if page.startswith("ko/") else ""


def known(browser, address: str) -> dict[str, set[str]]:
    """Return the addresses that a reader has who comes from an edition's start."""
    starts = {edition(page): edition(page) + START for page in pages()}
    return {
        folder: loaded(browser, f"{address}/{start}")
        for folder, start in starts.items()
    }


def weigh(browser, address: str, page: str, known: set[str]) -> Weight:
    """Weigh a page, for a reader with and without the addresses ``known`` cached."""
    phone = Window(browser, PHONE)
    desk = Window(browser, DESK)
    try:
        on_phone, on_desk = (w.open(f"{address}/{page}") for w in (phone, desk))
        return Weight(
            page=page,
            first=max(sum(on_phone.values()), sum(on_desk.values())),
            next=sum(on_phone[url] for url in on_phone.keys() - known),
            requests=len(on_phone),
            shift=max(window.page.evaluate(SCROLL) for window in (phone, desk)),
        )
    finally:
        phone.context.close()
        desk.context.close()


def seconds_to_ready(browser, url: str) -> float:
    """Return when a page's text can be read and used, on a slow phone."""
    context = browser.new_context(viewport={"width": PHONE, "height": 844})
    try:
        page = context.new_page()
        page.set_default_timeout(60_000)
        chrome = context.new_cdp_session(page)
        chrome.send("Network.enable")
        chrome.send("Network.emulateNetworkConditions", {"offline": False, **SLOW})
        chrome.send("Emulation.setCPUThrottlingRate", {"rate": SLOWER_CPU})
        page.goto(url, wait_until="load")
        return page.evaluate(READY)
    finally:
        context.close()


def compare(browser, ours: str, theirs: str) -> tuple[float, float]:
    """Return the least seconds that either page took, in turns."""
    rounds = [
        [seconds_to_ready(browser, url) for url in (ours, theirs)]
        for _ in range(ROUNDS)
    ]
    least, stock_least = map(min, zip(*rounds, strict=True))
    return least, stock_least


def too_slow(page: str, seconds: float, stock_seconds: float) -> list[str]:
    ratio = seconds / stock_seconds
    if ratio <= RATIO:
        return []
    return [f"{page}: {ratio:.2f} of the stock page's time, {RATIO} allowed"]


def main() -> int:
    # Without those that lead to START
    found = [page for page in pages() if not page.endswith("index.html")]
    if not found:
        print(f"No site in {SITE}: run make book")
        return 2
    print("Building the stock pages")
    theirs = stock.build()
    problems = []
    print(f"{'page':40}{'first':>6}{'next':>7}{'req-':>7}{'layout':>8}")
    print(f"{'':40}{'KB':>6}{'KB':>7}{'uests':>7}{'shift':>8}")
    with served(SITE) as address, served(theirs) as other, chromium() as browser:
        there = known(browser, address)
        for page in found:
            w = weigh(browser, address, page, there[edition(page)])
            print(
                f"{w.page:40}{w.first:6.0f}{w.next:7.0f}{w.requests:7}{w.shift:8.3f}",
                flush=True,
            )
            problems += w.problems()
        print(f"{'budget':40}{FIRST_KB:6}{NEXT_KB:7}{'':7}{SHIFT:8}\n")
        print(f"{'DOM ready, seconds':40}{'ours':>6}{'stock':>7}{'ratio':>7}")
        for page in filter(CHAPTER.fullmatch, found):
            ours, stock_s = compare(browser, f"{address}/{page}", f"{other}/{page}")
            print(
                f"{page:40}{ours:6.1f}{stock_s:7.1f}{ours / stock_s:7.2f}", flush=True
            )
            problems += too_slow(page, ours, stock_s)
    print(f"{'budget':40}{'':13}{RATIO:7}", *problems, sep="\n")
    return bool(problems)


if __name__ == "__main__":
    raise SystemExit(main())
