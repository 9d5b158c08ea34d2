"""Headless Chromium, folders served from this machine, and what pages do wrong."""

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tools.browser import SITE, chromium, pages, served

SCHEMES = ("light", "dark")
# One page of each kind, for what is the same on all of a kind
KINDS = {
    "chapters/intro.html",
    "chapters/05-gaussian-prior.html",
    "chapters/appendix/glossary.html",
    "search.html",
}
# The pages of the Korean edition that stand for all, with that of the most formulas
KOREAN = {f"ko/{page}" for page in KINDS if "glossary" not in page}
KOREAN |= {"ko/chapters/appendix/notation.html"}
WIDTHS = (1280, 390)
PHONE = {"width": 390, "reduced_motion": "reduce"}

# Resolves once fonts and pictures in sight have come.
SETTLED = """async () => {
  await document.fonts.ready;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
}"""

# Text that a reader sees and that should have been typeset: a dollar sign, or a
# backslash with a letter or bracket, outside code. What is typeset keeps its TeX in an
# annotation.
RAW_TEX = r"""() => {
  const skipped =
    "script, style, noscript, annotation, .katex-mathml, code";
  const isCode = (e) => e.closest(".highlight") && !e.closest(".highlight-myst-ansi");
  const seen = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { parentElement: parent, data } = walker.currentNode;
    const at = data.search(/\$|\\[a-zA-Z()\[\]{}]/);
    if (at >= 0 && !parent.closest(skipped) && !isCode(parent)) {
      seen.push(data.slice(Math.max(0, at - 20), at + 40));
    }
  }
  return seen;
}"""

# Pictures of the text whose alternative is missing or is the name of a file.
WITHOUT_ALT = r"""() => Array.from(document.querySelectorAll("main img"))
  .filter(({ alt }) => !/\s/.test(alt.trim()) || /\.(png|svg|jpe?g|gif)\b/.test(alt))
  .map((image) => image.outerHTML)"""

# Pictures in sight that are drawn wider or narrower than they are, by more than 2 %.
SQUEEZED = """async () => {
  const seen = Array.from(document.querySelectorAll("main img"))
    .filter((picture) => picture.checkVisibility());
  for (const picture of seen) picture.loading = "eager";
  await Promise.all(seen.map((picture) => picture.decode()));
  return seen.filter((picture) => {
    const style = getComputedStyle(picture);
    const inner = (size, ...sides) =>
      size - sides.reduce((sum, side) => sum + parseFloat(style[`padding${side}`]), 0);
    const drawn = inner(picture.clientWidth, "Left", "Right")
      / inner(picture.clientHeight, "Top", "Bottom");
    const real = picture.naturalWidth / picture.naturalHeight;
    return !(Math.abs(drawn / real - 1) <= 0.02);
  }).map((picture) => picture.outerHTML);
}"""

# Formulas in the text that a line's end parts from the signs that touch them.
PARTED = """() => Array.from(document.querySelectorAll("main .joined"))
  .filter((joined) => joined.checkVisibility())
  .filter((joined) => {
    const parts = Array.from(joined.querySelectorAll(".katex-base"))
      .map((part) => part.getBoundingClientRect());
    const beside = (text, at) => {
      const sign = new Range();
      sign.setStart(text, at);
      sign.setEnd(text, at + 1);
      return sign.getBoundingClientRect().left;
    };
    const [before, after] = [joined.firstChild, joined.lastChild];
    return before.length && beside(before, before.length - 1) >= parts[0].left
      || after.length && beside(after, 0) < parts.at(-1).right - 1;
  }).map((joined) => joined.textContent)"""

# axe looks at the colours of every element with words, which takes most of its time.
# Those that look alike on the same ground need one look: mark all but the first.
MARK_ALIKE = """() => {
  const known = new Map([[null, ["", 1]]]);
  const ground = (e) => { // what is behind it, and how much of it shows
    if (!known.has(e)) {
      const { backgroundColor: own, opacity } = getComputedStyle(e);
      const [behind, shown] = ground(e.parentElement);
      const clear = own === "rgba(0, 0, 0, 0)" ? behind : behind + own;
      known.set(e, [own.startsWith("rgba") ? clear : own, shown * opacity]);
    }
    return known.get(e);
  };
  for (const head of document.querySelectorAll("th, [role='rowheader']")) {
    head.toggleAttribute("data-formula", head.querySelector("math") !== null);
  }
  const seen = new Set();
  for (const e of document.querySelectorAll("body *")) {
    const texts = Array.from(e.childNodes).filter((node) => node.nodeType === 3);
    if (!texts.some((text) => text.data.trim()) || !e.checkVisibility()) continue;
    const { color, fontSize, fontWeight } = getComputedStyle(e);
    const looks = [color, fontSize, fontWeight, ground(e)].join();
    e.toggleAttribute("data-alike", seen.has(looks));
    seen.add(looks);
  }
}"""

# And it takes MathML for nothing: a header that is a formula would be empty.
ONE_OF_ALIKE = """;axe.configure({
  rules: [
    { id: "color-contrast", selector: ":not([data-alike])" },
    {
      id: "empty-table-header",
      selector: "th:not([role]):not([data-formula]),"
        + "[role='rowheader']:not([data-formula])",
    },
  ]
})"""

OPEN_FOLDS = """async () => {
  for (const fold of document.querySelectorAll("details")) fold.open = true;
  await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
  await Promise.all(document.getAnimations().map((a) => a.finished.catch(() => 0)));
}"""

AXE = {
    "resultTypes": ["violations"],
    "preload": False,  # it would ask for style sheets again, at other addresses
    "rules": {"label-content-name-mismatch": {"enabled": True}},
}
COLOURS = {**AXE, "rules": {}, "runOnly": ["color-contrast"]}

ENDED = """() => Promise.all(
  document.getAnimations().map((a) => a.finished.catch(() => 0))).then(() => 0)"""


def pytest_collection_modifyitems(items) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker("browser")


def pytest_generate_tests(metafunc) -> None:
    """Run a test that takes ``path`` on every page, one that takes another on some.

    ``kind_path`` is one page of each kind, ``slider_path`` each page with a slider.
    """
    # mflib's sources are pages made alike: one stands for them. So do a few pages for
    # the Korean edition, whose figures, code and furniture are the English ones.
    found = [
        p
        for p in pages()
        if (not p.startswith("ko/") or p in KOREAN)
        and ("_modules/" not in p or p.endswith("/als.html"))
    ]
    sliders = [
        p
        for p in found
        if not p.startswith("ko/")
        and 'class="mflib-slider"' in (SITE / p).read_text("utf-8")
    ]
    kinds = [p for p in found if p.removeprefix("ko/") in KINDS]
    lists = {"path": found, "kind_path": kinds, "slider_path": sliders}
    for name, paths in lists.items():
        if name in metafunc.fixturenames:
            reason = f"no such page in {SITE}: run make book"
            nothing = pytest.param("", marks=pytest.mark.skip(reason=reason))
            metafunc.parametrize(name, paths or [nothing])


@pytest.fixture(scope="session")
def browser():
    try:
        with chromium() as browser:
            yield browser
    except (ImportError, FileNotFoundError) as error:
        pytest.skip(f"{error}; playwright: pip install -r requirements/browser.txt")


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
        self.page.on("requestfailed", self._note_failure)

    def _note_failure(self, request) -> None:
        # A page that is left drops what it still waits for: the search, its excerpts.
        if request.failure != "net::ERR_ABORTED":
            self.problems.append(f"request failed: {request.url} {request.failure}")

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

    def raw_tex(self) -> list[str]:
        return self.page.evaluate(RAW_TEX)

    def without_alt(self) -> list[str]:
        return self.page.evaluate(WITHOUT_ALT)

    def headings_fall(self) -> bool:
        """Whether each level of heading is larger than the next."""
        sizes = self.page.evaluate("""() => ["h1", "h2", "h3"]
          .map((name) => `main ${name}:not(#jb-print-docs-body *)`)
          .map((heading) => document.querySelector(heading))
          .filter((heading) => heading?.checkVisibility())
          .map((heading) => parseFloat(getComputedStyle(heading).fontSize))""")
        return sizes == sorted(set(sizes), reverse=True)

    def parted(self) -> list[str]:
        return self.page.evaluate(PARTED)

    def squeezed(self) -> list[str]:
        return self.page.evaluate(SQUEEZED)

    def open_folds(self) -> None:
        self.page.evaluate(OPEN_FOLDS)

    def violations(self, within: str = "html", options=AXE) -> list[str]:
        """Return what axe-core finds wrong in some elements of the page."""
        from axe_playwright_python.base import AXE_SCRIPT
        from axe_playwright_python.sync_playwright import Axe

        if within == "html":
            self.page.evaluate(MARK_ALIKE)
        axe = Axe(AXE_SCRIPT + ONE_OF_ALIKE)
        found = axe.run(self.page, context=within, options=options)
        assert found.response["passes"]  # it has looked
        return [
            f"{v['id']}: {node['html']} {node['failureSummary']}"
            for v in found.response["violations"]
            for node in v["nodes"]
        ]

    def prefer(self, scheme: str) -> None:
        """Change the system's colours, and wait for the page to follow."""
        self.page.emulate_media(color_scheme=scheme)
        self.page.wait_for_function(
            "s => getComputedStyle(document.documentElement).colorScheme === s",
            arg=scheme,
        )
        self.page.evaluate(ENDED)


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
