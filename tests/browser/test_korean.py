"""The two editions side by side: the same sections, a switch, search and paper."""

import io
import re
from pathlib import Path
from posixpath import normpath

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from tests.browser.conftest import SITE
from tests.browser.test_reading import search
from tools import pdf
from tools.browser import pages

KO = SITE / "ko"
PAGES = [page for page in pages() if not page.startswith("ko/")]
CHAPTER = "chapters/05-gaussian-prior.html"
needs_site = pytest.mark.skipif(not KO.is_dir(), reason=f"no site in {KO}: make book")


# -- two sites ------------------------------------------------------------------------


def unlike(english: str, korean: str, page: str) -> list[str]:
    """Say in what two pages differ that must not, or are the same that must not be."""
    found = []
    if [LANG.search(text)[1] for text in (english, korean)] != ["en", "ko"]:
        found.append("lang")
    ours, theirs = (ID.findall(text) for text in (english, korean))
    if ours != theirs:
        found.append(f"ids: {sorted(set(ours) ^ set(theirs))}")
    up = "../" * page.count("/")
    for text, lang, other in ((english, "ko", "ko/"), (korean, "en", "../")):
        target = f"{up}{other}{page}"
        for kind, pattern in (("alternate", ALTERNATE), ("switch", SWITCH)):
            tags = [dict(ATTRIBUTE.findall(tag)) for tag in pattern.findall(text)]
            links = {tag["hreflang"]: normpath(tag["href"]) for tag in tags}
            if links.get(lang) != target:
                found.append(f"{kind} leads to {links}, not {target}")
    return found


# As the templates write them: to parse all pages takes a minute.
LANG = re.compile(r'<html[^>]* lang="(\w+)"')
ID = re.compile(r'<[^>]* id="(?!id\d+")([^"]*)"')  # but those that Sphinx counts
ALTERNATE = re.compile(r'<link rel="alternate"[^>]*>')
SWITCH = re.compile(r'<a class="[^"]*language-switch"[^>]*>')
ATTRIBUTE = re.compile(r'(\w+)="([^"]*)"')


@needs_site
def test_each_page_has_a_twin_with_the_same_sections() -> None:
    found = {}
    for page in PAGES:
        if page == "index.html":
            continue
        assert (KO / page).is_file(), page
        pair = ((folder / page).read_text(encoding="utf-8") for folder in (SITE, KO))
        found[page] = unlike(*pair, page)
    assert {page: one for page, one in found.items() if one} == {}


@needs_site
def test_the_buttons_open_the_korean_notebook() -> None:
    page = BeautifulSoup((KO / CHAPTER).read_text(encoding="utf-8"), "html.parser")
    name = f"ko/{Path(CHAPTER).with_suffix('.ipynb')}"
    addresses = [a["href"] for a in page.select(".bd-header-article a[href^=https]")]
    for host in ("mybinder.org", "colab.research.google.com"):
        assert [a for a in addresses if host in a and a.endswith(name)], host


EN = """<html lang="en"><link rel="alternate" hreflang="ko" href="../ko/a/b.html">
<a class="language-switch" hreflang="ko" href="../ko/a/b.html"></a><p id="x"></html>"""
KR = EN.replace('lang="en"', 'lang="ko"', 1).replace('hreflang="ko"', 'hreflang="en"')
KR = KR.replace("../ko/", "../../")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("", "", None),
        ('id="x"', 'id="y"', "ids: "),
        ('lang="ko"', 'lang="en"', "lang"),
        ("../../a", "../a", "alternate"),
        ('switch" hreflang="en"', 'switch" hreflang="ko"', "switch"),
    ],
)
def test_what_differs_is_seen(old: str, new: str, problem: str | None) -> None:
    found = unlike(EN, KR.replace(old, new, 1), "a/b.html")
    assert (found == []) if problem is None else (problem in found[0])


# -- the switch -----------------------------------------------------------------------


@needs_site
def test_the_switch_leads_to_the_same_section_and_is_remembered(visit, site) -> None:
    here = visit()
    page = here.page
    here.open(f"{site}/{CHAPTER}")
    sections = page.locator(".bd-article section section[id]")
    name = sections.nth(2).get_attribute("id")
    page.evaluate("id => document.getElementById(id).scrollIntoView()", name)
    page.locator("a.language-switch").click()
    page.wait_for_url(f"**/ko/{CHAPTER}#*")
    assert page.evaluate("decodeURIComponent(location.hash)") == f"#{name}"
    page.wait_for_load_state("networkidle")
    here.open(f"{site}/index.html")
    page.wait_for_url("**/ko/chapters/intro.html")
    page.wait_for_load_state("networkidle")
    page.locator("a.language-switch").click()
    page.wait_for_function("location.pathname === '/chapters/intro.html'")
    page.wait_for_load_state("networkidle")
    here.open(f"{site}/index.html")
    page.wait_for_function("location.pathname === '/chapters/intro.html'")
    # The browser gives up fetching an icon when the page goes.
    assert [p for p in here.problems if "favicon" not in p] == []


@needs_site
def test_a_korean_browser_begins_in_korean(visit, site) -> None:
    here = visit(locale="ko-KR")
    here.open(f"{site}/index.html")
    here.page.wait_for_url("**/ko/chapters/intro.html")
    assert here.problems == []


# -- furniture, search and paper ------------------------------------------------------

NAMES = re.compile("English|Ctrl|Binder|Colab|GitHub|MovieLens|mflib")


@needs_site
def test_what_surrounds_a_page_is_korean(visit, site) -> None:
    here = visit()
    here.open(f"{site}/ko/{CHAPTER}")
    page = here.page
    page.locator(".theme-switch-button").first.click()
    words = page.locator(
        ".bd-header-article :is(a, button), .bd-sidebar-primary :is(a, button),"
        " .bd-footer p, #pst-back-to-top, .copybtn, [data-scrolls],"
        " .cell details.hide > summary"
    ).evaluate_all(
        """found => found.map((e) => [e.getAttribute("aria-label"), e.title,
          e.dataset.bsOriginalTitle, e.innerText].filter(Boolean).join(" "))"""
    )
    others = [w for w in words if not re.search("[가-힣]", w)]
    assert [w for w in others if re.search("[A-Za-z]{2}", NAMES.sub("", w))] == []
    assert here.problems == []


@needs_site
@pytest.mark.parametrize("words", ["규제", "규제는", "행렬분해", "Frobenius"])
def test_search_finds_in_the_korean_edition(visit, site, words) -> None:
    here = visit()
    here.open(f"{site}/ko/chapters/intro.html")
    found = search(here.page, words)
    assert found
    assert all("/ko/" in address for address in found)
    assert here.problems == []


@needs_site
def test_the_korean_book_on_paper(browser, monkeypatch) -> None:
    whole = pdf.join(KO)  # which refuses dead links
    assert whole.html["lang"] == "ko"
    titles = [h.get_text() for h in whole.select("h1")]
    assert {*pdf.KOREAN.values()} >= {titles[0], titles[1], titles[-1]}
    # Two pages of the book stand for all: tests/browser/test_pdf.py prints the other.
    first, *others = pdf.contents(KO)
    glossary = next(part for part in others if part[1].stem == "glossary")
    monkeypatch.setattr(pdf, "contents", lambda site: [first, glossary])
    printed = PdfReader(io.BytesIO(pdf.print_book(browser, pdf.join(KO), KO)))
    assert printed.trailer["/Root"]["/Lang"] == "ko"
    # pypdf puts spaces between words where the page has none.
    text = "".join("".join(page.extract_text().split()) for page in printed.pages)
    assert "목차" in text
    assert "이책에대하여" in text
