"""Finding, unfolding and copying, as a reader with a keyboard does."""

import json
from pathlib import Path

import pytest

from tests.browser.conftest import PHONE, SITE, served

ROOT = SITE.parents[1]

# The element with the keyboard: which fold it opens, and how one sees it is there.
FOCUS = """() => {
  const at = document.activeElement;
  const shown = [null, "::after"].some((part) => { // a card's link is drawn around it
    const { outlineStyle: style, outlineWidth, boxShadow } = getComputedStyle(at, part);
    return (style !== "none" && parseFloat(outlineWidth)) || boxShadow !== "none";
  });
  return {
    body: at === document.body,
    summary: at.matches("summary"),
    open: at.matches("summary") && at.parentElement.open,
    seen: shown
      && at.checkVisibility({ opacityProperty: true, visibilityProperty: true }),
    html: at.outerHTML.slice(0, 200),
  };
}"""


def walk(page) -> list[str]:
    """Go through a page by Tab, open each fold by Enter or Space; say what fails."""
    faults, folds = [], 0
    for _ in range(1500):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUS)
        if at["body"]:
            break
        if not at["seen"]:
            faults.append(f"no mark of the focus: {at['html']}")
        if at["summary"] and not at["open"]:
            page.keyboard.press("Space" if folds % 2 else "Enter")
            folds += 1
    else:
        faults.append(f"Tab does not leave the page, it is at {at['html']}")
    closed = page.locator("details:not([open]) > summary").evaluate_all(
        "found => found.map((summary) => summary.innerText)"
    )
    scrolling = page.evaluate("""() =>
      Array.from(document.querySelectorAll("main *")).filter((e) =>
        e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0 && e.checkVisibility()
        && ["auto", "scroll"].includes(getComputedStyle(e).overflowX)
        && !(e.tabIndex === 0 && e.getAttribute("aria-label")))
      .map((e) => e.outerHTML.slice(0, 200))""")
    return (
        faults
        + [f"still folded: {text}" for text in closed]
        + [f"out of the keyboard's reach: {html}" for html in scrolling]
    )


FOLD = "<main><details><summary>Show</summary><p>More</p></details></main>"


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (FOLD, None),
        (FOLD.replace("<summary>", '<summary tabindex="-1">'), "still folded: Show"),
        (FOLD + "<style>summary { outline: none }</style>", "no mark of the focus"),
        (
            '<button onkeydown="event.preventDefault()">A trap</button>',
            "Tab does not leave the page",
        ),
        (
            '<main><div style="overflow: auto"><p style="width: 999px">Wide',
            "out of the keyboard's reach",
        ),
    ],
)
def test_what_keys_do_not_reach_is_seen(visit, content, fault) -> None:
    here = visit(**PHONE)
    here.page.set_content(f"<!doctype html>{content}")
    faults = walk(here.page)
    if fault is None:
        assert faults == []
    else:
        assert any(one.startswith(fault) for one in faults), faults


# -- finding --------------------------------------------------------------------------


def search(page, words: str) -> list[str]:
    """Type words into the search, and return the pages that it lists."""
    page.keyboard.press("Control+k")
    page.locator("#pst-search-dialog input").wait_for()
    page.keyboard.type(words)
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=*")
    page.locator("#search-results p.search-summary").wait_for()
    page.wait_for_function(
        """() => !/^(Searching|Preparing|검색 중|검색 준비)/.test(
          document.querySelector("#search-results h2").textContent)"""
    )
    return page.locator("#search-results li a").evaluate_all(
        "found => found.map((a) => a.href)"
    )


@pytest.mark.parametrize("words", ["weight decay", "Frobenius"])
def test_search_finds(visit, site, words) -> None:
    here = visit(**PHONE)
    here.open(f"{site}/chapters/intro.html")
    found = search(here.page, words)
    assert found
    here.page.locator("#search-results li a").first.click()
    here.page.wait_for_url("**/chapters/**")
    text = here.page.locator("main").text_content().lower()
    assert all(word in text for word in words.lower().split())
    assert here.problems == []


# Two syllables, compounds as one word and as two, Korean beside English
@pytest.mark.parametrize(
    "words",
    ["학습", "정규", "행렬분해", "행렬 분해", "가중치감쇠", "적합", "학습 rate"],
)
def test_search_finds_korean_words(visit, site, words) -> None:
    here = visit()
    here.open(f"{site}/chapters/intro.html")
    found = search(here.page, words)
    assert any("appendix/glossary.html" in address for address in found)
    assert here.problems == []


@pytest.mark.parametrize("words", ["zyzzyva", "분행렬", "뷁쉛"])
def test_search_finds_nothing_else(visit, site, words) -> None:
    here = visit()
    here.open(f"{site}/chapters/intro.html")
    assert search(here.page, words) == []


# -- copying --------------------------------------------------------------------------


def copied(page) -> list[str]:
    """Click every button that copies a cell's code, and return what arrives."""
    return page.evaluate("""async () => {
      const arrived = [];
      for (const button of document.querySelectorAll(".cell_input .copybtn")) {
        await navigator.clipboard.writeText("nothing");
        button.click();
        let text = "nothing";
        for (let n = 0; n < 20 && text === "nothing"; n++) {
          await new Promise((done) => setTimeout(done, 10 * n)); // a busy machine
          text = await navigator.clipboard.readText();
        }
        arrived.push(text);
      }
      return arrived;
    }""")


def shown_sources(notebook: Path) -> list[str]:
    hidden = {"remove-input", "remove-cell"}
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [
        "".join(cell["source"]).strip()
        for cell in cells
        if cell["cell_type"] == "code"
        and not hidden & set(cell["metadata"].get("tags", []))
    ]


def test_copied_code_is_the_cells(visit, site, path) -> None:
    notebook = (ROOT / path).with_suffix(".ipynb")
    if not notebook.exists():
        pytest.skip(f"{path} is not made from a notebook")
    here = visit(permissions=["clipboard-read", "clipboard-write"])
    here.open(f"{site}/{path}")
    here.open_folds()
    here.page.locator(".copybtn").first.wait_for(state="attached")
    assert [text.strip() for text in copied(here.page)] == shown_sources(notebook)


def test_a_button_that_copies_nothing_is_seen(visit, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(
        """<!doctype html><div class="cell_input"><pre>1 + 1</pre>
        <button class="copybtn" onclick="navigator.clipboard.writeText('1 + 1')">Copy
        </button><button class="copybtn">Copy</button></div>"""
    )
    here = visit(permissions=["clipboard-read", "clipboard-write"])
    with served(tmp_path) as address:
        here.open(f"{address}/page.html")
        assert copied(here.page) == ["1 + 1", "nothing"]


# -- buttons of the page, on a phone --------------------------------------------------


def tab_to(page, selector: str) -> None:
    for _ in range(300):
        page.keyboard.press("Tab")
        if page.evaluate("s => document.activeElement.matches(s)", selector):
            return
        if page.evaluate("document.activeElement === document.body"):
            break  # the end of the page
    raise AssertionError(f"Tab never reaches {selector}")


def use_buttons(page) -> None:
    """Switch the colours, open and close both drawers, and go on, by keys alone."""
    tab_to(page, ".primary-toggle")
    use_drawer(page, ".primary-toggle", "#pst-primary-sidebar-modal")
    tab_to(page, ".theme-switch-button")
    themes = []
    for key in ("Enter", "Space", "Enter"):
        page.keyboard.press(key)
        themes.append(page.evaluate("document.documentElement.dataset.mode"))
        page.wait_for_function(
            "s => document.activeElement.matches(s)", arg=".theme-switch-button"
        )
    assert sorted(themes) == ["auto", "dark", "light"]
    tab_to(page, ".secondary-toggle")
    use_drawer(page, ".secondary-toggle", "#pst-secondary-sidebar-modal")
    page.keyboard.press("Tab")
    assert page.evaluate("s => !document.activeElement.matches(s)", ".secondary-toggle")


def use_drawer(page, button: str, drawer: str) -> None:
    page.keyboard.press("Enter")
    page.wait_for_function("s => document.querySelector(s).open", arg=drawer)
    page.keyboard.press("Tab")
    assert page.evaluate("s => !!document.activeElement.closest(s)", drawer)
    page.keyboard.press("Escape")
    page.wait_for_function("s => !document.querySelector(s).open", arg=drawer)
    page.wait_for_function("s => document.activeElement.matches(s)", arg=button)


def test_buttons_by_keyboard(visit, site) -> None:
    here = visit(**PHONE)
    here.open(f"{site}/chapters/03-l1-l2.html")
    use_buttons(here.page)
    assert here.problems == []


@pytest.mark.parametrize(
    "broken",
    [
        ".primary-toggle { visibility: hidden }",
        ".theme-switch-button { display: none !important }",
    ],
)
def test_a_button_out_of_reach_is_seen(visit, site, broken) -> None:
    here = visit(**PHONE)
    here.open(f"{site}/chapters/intro.html")
    here.page.add_style_tag(content=broken)
    with pytest.raises(AssertionError, match="Tab never reaches"):
        use_buttons(here.page)


def skip_link(page) -> str:
    """Follow the first link by keys, and return where the next Tab leads."""
    page.keyboard.press("Tab")
    link = page.locator(":focus")
    page.wait_for_function(
        """() => {
          const box = document.activeElement.getBoundingClientRect();
          return box.height > 0 && box.top >= 0 && box.left >= 0;
        }""",
        timeout=3000,
    )
    assert link.inner_text() in ("Skip to main content", "본문으로 건너뛰기")
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    return page.evaluate(
        "document.activeElement.closest('main') ? 'main' : 'elsewhere'"
    )


def test_skip_link(visit, site, kind_path) -> None:
    here = visit()
    here.open(f"{site}/{kind_path}")
    if kind_path.endswith("search.html"):  # which puts the keyboard into its own field
        pytest.skip("the search page starts in its search field")
    assert skip_link(here.page) == "main"


def test_a_skip_link_to_nowhere_is_seen(visit) -> None:
    here = visit()
    here.page.set_content(
        '<a href="#gone">Skip to main content</a><a href="#">Menu</a>'
        "<main><button>Text</button></main>"
    )
    assert skip_link(here.page) == "elsewhere"


# -- what stays where it is ------------------------------------------------------------

DRAWER = "#pst-secondary-sidebar-modal"


def follow_section(page) -> bool:
    """Tap an entry of the section list; return whether the list is still open."""
    page.locator(".secondary-toggle").first.click()
    page.wait_for_function("s => document.querySelector(s).open", arg=DRAWER)
    page.locator(f"{DRAWER} a[href^='#']").nth(2).click()
    page.wait_for_function("() => location.hash && scrollY > 0")
    return page.evaluate("s => document.querySelector(s).open", DRAWER)


@pytest.mark.parametrize("scripts", [True, False])
def test_section_list_closes(visit, site, scripts) -> None:
    here = visit(**PHONE)
    if not scripts:  # without ours, it stays: the test sees that
        here.context.route("**/book.js*", lambda route: route.fulfill(body=""))
    here.open(f"{site}/chapters/03-l1-l2.html")
    assert follow_section(here.page) is not scripts


def copy_by_key(page) -> bool:
    """Copy a cell by keyboard; return whether the button still has the keyboard."""
    button = page.locator(".cell_input .copybtn:visible").last
    button.focus()
    page.keyboard.press("Enter")
    page.locator(".copybtn[data-tooltip='Copied!']").wait_for()
    page.evaluate("() => new Promise((done) => setTimeout(done))")
    return button.evaluate("button => button === document.activeElement")


@pytest.mark.parametrize("scripts", [True, False])
def test_copying_keeps_the_keyboard(visit, site, scripts) -> None:
    here = visit(permissions=["clipboard-read", "clipboard-write"])
    if not scripts:
        here.context.route("**/book.js*", lambda route: route.fulfill(body=""))
    here.open(f"{site}/chapters/03-l1-l2.html")
    here.open_folds()
    assert copy_by_key(here.page) is scripts


STOPS = """() => Array.from(document.querySelectorAll("main [tabindex='0']"))
  .filter((e) => e.checkVisibility() && e.scrollWidth <= e.clientWidth).length"""


def test_what_does_not_scroll_is_no_stop(visit, site) -> None:
    here = visit(**PHONE)
    here.open(f"{site}/chapters/03-l1-l2.html")
    assert here.page.locator("[data-more]").count()
    assert here.page.evaluate(STOPS) == 0
    here.page.set_viewport_size({"width": 2000, "height": 844})
    here.page.wait_for_function("() => !document.querySelector('[data-more]')")
    assert here.page.evaluate(STOPS) == 0
    here.page.locator("main p").first.evaluate("p => { p.tabIndex = 0; }")
    assert here.page.evaluate(STOPS) == 1


def test_search_results_are_announced_and_read_like_the_page(visit, site) -> None:
    here = visit()
    here.open(f"{site}/search.html?q=weight+decay")
    here.page.locator(".search-summary:focus").wait_for()
    here.page.locator("#search-results p.context").first.wait_for()
    excerpts = " ".join(here.page.locator("p.context").all_text_contents())
    assert "weight" in excerpts
    assert "\\lambda" not in excerpts
