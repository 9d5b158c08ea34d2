"""The whole book as one PDF, printed from the built site by ``tools/pdf.py``."""

import io
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from pypdf import PdfReader

from tests.browser.conftest import SITE
from tools import pdf

CUT = 3  # points that a glyph may stand out, such as an italic one


@pytest.fixture(scope="module")
def book() -> BeautifulSoup:
    if not (SITE / pdf.START).exists():
        pytest.skip(f"no site in {SITE}: run make book")
    return pdf.join(SITE)


@pytest.fixture(scope="module")
def printed(browser, book) -> bytes:
    return pdf.print_book(browser, book, SITE)


@pytest.fixture(scope="module")
def reader(printed) -> PdfReader:
    return PdfReader(io.BytesIO(printed))


def print_site(browser, site: Path) -> PdfReader:
    return PdfReader(io.BytesIO(pdf.print_book(browser, pdf.join(site), site)))


def entries(reader: PdfReader) -> list[tuple[int, str, int]]:
    """Return depth, title and page, from 0, of every bookmark."""

    def walk(outline, depth: int) -> Iterator[tuple[int, str, int]]:
        for entry in outline:
            if isinstance(entry, list):
                yield from walk(entry, depth + 1)
            else:
                page = reader.get_destination_page_number(entry)
                yield depth, entry.title, page

    return list(walk(reader.outline, 0))


def words(text: str) -> str:
    """Return text with single spaces, and no ligatures, which a PDF may hold."""
    return " ".join(unicodedata.normalize("NFKC", text).split())


def annotations(reader: PdfReader) -> Iterator[dict]:
    for page in reader.pages:
        for annotation in page.get("/Annots", []):
            yield annotation.get_object()


def problems(reader: PdfReader) -> list[str]:
    """Say what is wrong with any PDF of ours."""
    found = []
    for number, page in enumerate(reader.pages, start=1):
        content = page.get_contents().get_data()
        # Of text or a picture; two texts are the foot of the page.
        shown = re.findall(rb"\b(?:Tj|TJ|Do)\b", content)
        if len(shown) < 3:
            found.append(f"page {number} is blank")
        for font in page.get("/Resources", {}).get("/Font", {}).values():
            font = font.get_object()
            if font["/Subtype"] == "/Type3":  # drawn by the PDF itself
                continue
            for one in font.get("/DescendantFonts", [font]):
                descriptor = one.get_object().get("/FontDescriptor", {})
                if not any(key.startswith("/FontFile") for key in descriptor):
                    found.append(f"page {number}: {font['/BaseFont']} not embedded")
    for annotation in annotations(reader):
        target, action = annotation.get("/Dest"), annotation.get("/A", {})
        if target is not None and target not in reader.named_destinations:
            found.append(f"no place called {target}")
        if action.get("/URI", "").startswith("file:"):
            found.append(f"link to a file: {action['/URI']}")
    return found


def test_whole(reader, printed) -> None:
    assert problems(reader) == []
    assert len(printed) < 20 * 2**20
    root = reader.trailer["/Root"]
    assert root["/MarkInfo"]["/Marked"]
    assert root["/Lang"] == "en"
    for page in reader.pages:
        assert [round(float(side)) for side in page.mediabox[2:]] == [595, 842]


def test_outline_is_that_of_the_book(reader, book) -> None:
    headings = book.select("h1, h2, h3, h4")
    found = entries(reader)
    assert [words(title) for _, title, _ in found] == [
        words(h.get_text()) for h in headings
    ]
    assert [depth for depth, _, _ in found] == [int(h.name[1]) - 1 for h in headings]
    # A bookmark leads to the page with that title, at its top and at its foot.
    for depth, title, page in found:
        if depth == 0 and title != "Contents":
            assert words(reader.pages[page].extract_text()).count(words(title)) > 1


def test_every_page_of_the_sidebar_is_a_chapter(book) -> None:
    chapters = [body["id"] for body in book.select(".chapter")]
    pages = [pdf.anchor(page) for _, page in pdf.contents(SITE)]
    assert len(pages) > 6
    assert chapters == [*pages, "solutions"]


def test_contents_have_the_right_page_numbers(reader, book) -> None:
    """As printed, on the first pages; the bookmarks say the same."""
    last = next(page for _, title, page in entries(reader) if title != "Contents")
    text = words(" ".join(page.extract_text() for page in reader.pages[:last]))
    names = {words(h.get_text()) for h in book.select(".chapter h1")}
    found = [
        (title, page) for _, title, page in entries(reader) if words(title) in names
    ]
    assert len(found) >= len(names)
    for title, page in found[: len(names)]:
        if title != "Solutions":
            assert f"{words(title)} {page + 1}" in text


def test_all_links_are_in(reader, book) -> None:
    """Chromium leaves a link to a place that is not there out, and says nothing."""
    inside = {a["href"][1:] for a in book.select("a[href^='#']") if a.get_text()}
    outside = {a["href"] for a in book.select("a[href^=http]")}
    found = list(annotations(reader))
    assert inside == {a["/Dest"].removeprefix("/") for a in found if "/Dest" in a}
    assert len({a["/A"]["/URI"] for a in found if "/A" in a}) == len(outside)


def test_solutions_are_at_the_end(reader, book) -> None:
    *chapters, solutions = book.select(".chapter")
    exercises = [
        section
        for chapter in chapters
        for section in chapter.select("section:has(> h3)")
        if "Exercise" in section.h3.get_text()
    ]
    assert len(exercises) > 20
    for section in exercises:
        assert not section.select(".cell, details")
        (there,) = section.select(".to-solution a")
        solution = solutions.find(id=there["href"][1:])
        assert solution.select(".cell, .solution")
        assert solution.select_one(".to-exercise a")["href"] == f"#{section['id']}"
    last = [(t, page) for depth, t, page in entries(reader) if depth == 0][-1]
    assert last[0] == "Solutions"
    places = reader.named_destinations
    for section in exercises:
        page = reader.get_destination_page_number(places[f"/solution--{section['id']}"])
        assert page >= last[1]


# -- what is wrong is seen, and mended ------------------------------------------------

PAGE = """<!doctype html><html lang="en"><head><title>{title}</title></head><body>
<nav class="bd-docs-nav"><a class="reference internal" href="intro.html">Start</a>
<p><span class="caption-text">Part</span></p>
<a class="reference internal" href="one.html">1. One</a></nav>
<article class="bd-article"><section id="top"><h1>{title}</h1>{text}</section></article>
</body></html>"""
FILLING = 5 * "<p>Text</p>"


def small_site(folder: Path, text: str) -> Path:
    chapters = folder / "html" / "chapters"
    chapters.mkdir(parents=True)
    for name, content in {"intro": FILLING, "one": FILLING + text}.items():
        page = PAGE.format(title=name.title(), text=content)
        (chapters / f"{name}.html").write_text(page, encoding="utf-8")
    return folder / "html"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("", [], id="nothing wrong"),
        pytest.param(
            f'<p style="height: 600mm"></p>{FILLING}',
            ["page 4 is blank"],
            id="a blank page",
        ),
    ],
)
def test_a_blank_page_is_seen(browser, tmp_path, text, found) -> None:
    site = small_site(tmp_path, text)
    reader = print_site(browser, site)
    assert problems(reader) == found


def test_a_section_with_a_greek_name_has_its_page_number(browser, tmp_path) -> None:
    site = small_site(tmp_path, '<section id="λ-here"><h2>About λ</h2></section>')
    reader = print_site(browser, site)
    assert words(reader.pages[0].extract_text()).endswith("About λ3")


def test_a_dead_link_is_refused(tmp_path) -> None:
    site = small_site(tmp_path, '<p><a href="intro.html#nowhere">there</a></p>')
    with pytest.raises(SystemExit, match="intro--nowhere"):
        pdf.join(site)


def test_ids_are_told_apart_and_other_pages_lose_their_links(tmp_path) -> None:
    links = (
        '<a href="#top">1</a><a href="intro.html#top">2</a><a href="../s.html">3</a>'
    )
    book = pdf.join(small_site(tmp_path, links))
    assert [a["href"] for a in book.select(".chapter a")] == [
        "#one--top",
        "#intro--top",
    ]


def test_answers_of_self_checks_are_printed(browser, tmp_path) -> None:
    fold = '<details class="{}"><summary>Open</summary><p>Answered</p></details>'
    folds = fold.format("self-check") + fold.format("solution")
    reader = print_site(browser, small_site(tmp_path, folds))
    text = " ".join(page.extract_text() for page in reader.pages)
    assert (text.count("Answered"), text.count("Open")) == (1, 1)


def test_what_is_too_wide_is_made_to_fit(browser, tmp_path) -> None:
    cells = "".join(f"<td>{n:010}</td>" for n in range(20))
    site = small_site(tmp_path, f"<table><tr>{cells}</tr></table>")
    for fitting, fits in ((pdf.FIT, True), ("() => 0", False)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(pdf, "FIT", fitting)
            reader = print_site(browser, site)
        right = []
        for page in reader.pages:
            page.extract_text(
                visitor_text=lambda text, cm, tm, font, size, right=right: (
                    right.append(tm[4] * cm[0] + cm[4]) if text.strip() else None
                )
            )
        assert (max(right) < 595 - CUT) == fits


def test_the_site_links_to_the_file_once(tmp_path) -> None:
    page = small_site(tmp_path, "") / pdf.START
    pdf.link_from(page, "a.pdf", 3)
    once = page.read_text(encoding="utf-8")
    assert '<h1>Intro</h1>\n<p class="pdf"><a href="../a.pdf">' in once
    pdf.link_from(page, "a.pdf", 3)
    assert page.read_text(encoding="utf-8") == once
    page.write_text("no title", encoding="utf-8")
    with pytest.raises(SystemExit, match="no title"):
        pdf.link_from(page, "a.pdf", 3)
