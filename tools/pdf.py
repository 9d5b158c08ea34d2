"""Print the built site as one PDF: ``make book``, then this.

The pages of ``_build/html`` are joined in the order of the sidebar, their worked
solutions moved to the end, and printed by headless Chromium. The site then links to
the file, because the link is written together with it.
"""

from __future__ import annotations

import argparse
import copy
import io
import re
import sys
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import TYPE_CHECKING
from urllib.parse import urldefrag, urljoin

from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader

from tools.browser import SITE, chromium

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAME = "matrix-factorization.pdf"
START = "chapters/intro.html"

# What is between the pages' margins (print.css), at 96 pixels per inch.
WIDTH = 680

# Lines of code or output that stay on one page.
SHORT = 20

# What this puts into the book of the Korean edition
KOREAN = {
    "Solutions": "연습 문제 풀이",
    "Solution, page ": "풀이, 쪽 ",
    "Back to the exercise": "문제로 돌아가기",
    "Contents": "목차",
    "About this book": "이 책에 대하여",
    "The whole book as a PDF": "책 전체를 PDF로",
    "pages": "쪽",
}
EXERCISE = re.compile(r"(?:Exercise|연습 문제) \d")

# Once all is typeset: shrink what is wider than the paper.
FIT = """async () => {
  await document.fonts.ready;
  const wide = "table, .katex-display, div.math";
  for (const thing of document.querySelectorAll(wide)) {
    let room = thing.parentElement;
    while (getComputedStyle(room).display === "inline") room = room.parentElement;
    const style = getComputedStyle(room);
    const space = room.clientWidth
      - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const need = Math.max(thing.scrollWidth, thing.getBoundingClientRect().width);
    if (need > space + 1) thing.style.zoom = space / need;
  }
}"""


# -- one page of all pages ------------------------------------------------------------


def read(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def say(words: str, page: BeautifulSoup) -> str:
    """Return words in the language of a page."""
    korean = page.html is not None and page.html.get("lang") == "ko"
    return KOREAN[words] if korean else words


def contents(site: Path) -> list[tuple[str, Path]]:
    """Return the pages of the book, each with the caption of its part."""
    caption, pages = "", []
    start = site / START
    sidebar = read(start).select_one("nav.bd-docs-nav")
    for entry in sidebar.select(".caption-text, a.reference.internal"):
        if entry.name == "span":
            caption = entry.get_text(strip=True)
        else:
            page, _ = urldefrag(urljoin(start.as_uri(), entry["href"]))
            pages.append((caption, start.parent / Path(page[len("file://") :])))
    return pages


def anchor(page: Path, fragment: str = "") -> str:
    """Name a place in the book: ids are unique on their own page only.

    In ASCII, since Chromium's names of other places cannot be looked up.
    """
    name = f"{page.stem}--{fragment}" if fragment else page.stem
    return re.sub(r"[^\x20-\x7e]", lambda sign: f"u{ord(sign[0]):x}", name)


def article(page: Path, pages: set[Path], head: Tag) -> Tag:
    """Return what a page says, with links that hold in the book.

    The style sheets that it needs are added to the book's.
    """
    whole = read(page)
    known = {link["href"] for link in head.select("link[rel=stylesheet]")}
    for link in whole.head.select("link[rel=stylesheet]"):
        link["href"] = urljoin(page.as_uri(), link["href"])
        if link["href"] not in known:
            head.append(link.extract())
    body = whole.select_one("article.bd-article")
    body.name, body["class"], body["id"] = "div", "chapter", anchor(page)
    for thing in body.select("script, a.headerlink, .toctree-wrapper, .viewcode-link"):
        thing.decompose()
    for thing in body.select("[id]"):
        thing["id"] = anchor(page, thing["id"])
    for name in ("aria-labelledby", "aria-describedby"):
        for thing in body.select(f"[{name}]"):
            thing[name] = " ".join(anchor(page, i) for i in thing[name].split())
    for image in body.select("img[src]"):
        image["src"] = urljoin(page.as_uri(), image["src"])
    for link in body.select("a[href]"):
        address, fragment = urldefrag(urljoin(page.as_uri(), link["href"]))
        if not address.startswith("file:"):
            continue
        target = Path(address[len("file://") :])
        if target in pages:
            link["href"] = f"#{anchor(target, fragment)}"
        else:  # a page of the site that the book does not have
            link.unwrap()
    # What the site folds away is shown: hidden code, and the sliders' tables.
    for folded in body.select("details:not(.solution)"):
        folded["open"] = ""
    for folded in body.select("details.hide"):
        folded.summary.decompose()
        folded.unwrap()
    for answer in body.select("details.self-check"):
        answer.summary.decompose()
        answer.name = "div"
    for code in body.select(".cell_input, .cell_output"):
        if code.get_text().count("\n") <= SHORT:
            code["class"].append("short")
    return body


def move_solutions(book: BeautifulSoup, bodies: list[Tag]) -> Tag | None:
    """Move the worked solutions into a chapter of their own, linked both ways."""
    chapter = book.new_tag("div", attrs={"class": "chapter", "id": "solutions"})
    chapter.append(book.new_tag("h1", string=say("Solutions", book)))
    for body in bodies:
        found = [
            (section, parts)
            for section in body.select("section:has(> h3)")
            if EXERCISE.search(section.h3.get_text())
            and (parts := section.select(".tag_hide-cell, details.solution"))
        ]
        if not found:
            continue
        title = book.new_tag("h2")
        title.extend(copy.copy(body.h1).contents)
        chapter.append(title)
        for section, parts in found:
            name = f"solution--{section['id']}"
            there = book.new_tag("p", attrs={"class": "to-solution"})
            there.append(link := book.new_tag("a", href=f"#{name}"))
            link.append(say("Solution, page ", book))
            link.append(book.new_tag("span", attrs={"data-of": name}))
            parts[0].insert_before(there)
            solution = book.new_tag("section", id=name)
            heading = copy.copy(section.h3)
            for number in heading.select(".section-number"):
                number.decompose()
            solution.append(heading)
            for part in parts:
                if part.name == "details":
                    part.summary.decompose()
                    part.name = "div"
                solution.append(part.extract())
            back = book.new_tag("p", attrs={"class": "to-exercise"})
            back.append(link := book.new_tag("a", href=f"#{section['id']}"))
            link.append(say("Back to the exercise", book))
            solution.append(back)
            chapter.append(solution)
    return chapter if chapter.h2 else None


def front(book: BeautifulSoup, title: str, parts: list[tuple[str, Tag]]) -> Tag:
    """Return the title, and the contents with room for their page numbers."""
    page = book.new_tag("div", attrs={"class": "front"})
    page.append(book.new_tag("p", attrs={"class": "title"}, string=title))
    page.append(book.new_tag("h1", id="contents", string=say("Contents", book)))
    nav = book.new_tag("nav", attrs={"aria-labelledby": "contents"})
    page.append(nav)
    last, entries = "", None
    for caption, body in parts:
        if entries is None or caption != last:
            if caption:
                nav.append(book.new_tag("p", attrs={"class": "part"}, string=caption))
            nav.append(entries := book.new_tag("ul"))
            last = caption
        entries.append(entry := line(book, body["id"], body.h1))
        if sections := body.select("h2"):
            entry.append(below := book.new_tag("ul"))
            for heading in sections:
                if "id" not in heading.attrs:
                    section = heading.find_parent("section")
                    first = section is not None and section.find("h2") is heading
                    heading["id"] = (
                        f"{section['id']}--title"
                        if first
                        else f"{body['id']}--{len(below.contents)}"
                    )
                below.append(line(book, heading["id"], heading))
    return page


def line(book: BeautifulSoup, target: str, heading: Tag) -> Tag:
    entry = book.new_tag("li")
    entry.append(link := book.new_tag("a", href=f"#{target}"))
    text = book.new_tag("span", attrs={"class": "name"})
    text.extend(copy.copy(heading).contents)
    link.append(text)
    link.append(book.new_tag("span", attrs={"class": "page", "data-of": target}))
    return entry


def join(site: Path) -> BeautifulSoup:
    """Return the whole book as one document, whose addresses are absolute."""
    parts = contents(site)
    pages = {page for _, page in parts}
    start = parts[0][1]
    book = read(start)
    for thing in book.head.select("link[rel=stylesheet]"):
        thing["href"] = urljoin(start.as_uri(), thing["href"])
    for script in book.select("script"):
        script.decompose()
    for thing in book.head.select("link:not([rel=stylesheet])"):
        thing.decompose()
    book.html["data-theme"] = book.html["data-mode"] = "light"
    title = book.find("h1").find(string=True).strip()
    book.title.string = title

    bodies = [article(page, pages, book.head) for _, page in parts]
    bodies[0].h1.string = say("About this book", book)
    entries = [
        (caption, body) for (caption, _), body in zip(parts, bodies, strict=True)
    ]
    if solutions := move_solutions(book, bodies):
        entries.append((entries[-1][0], solutions))
    book.body.clear()
    book.body["class"] = "book"
    main = book.new_tag("main", attrs={"class": "bd-content book-pages"})
    book.body.append(main)
    main.append(front(book, title, entries))
    main.extend(body for _, body in entries)
    rules = [running_title(number, body) for number, (_, body) in enumerate(entries)]
    book.head.append(book.new_tag("style", string="\n".join(rules)))
    if lost := dead_links(book):
        raise SystemExit(f"links to places that the book does not have: {lost}")
    return book


def dead_links(book: BeautifulSoup) -> list[str]:
    places = {thing["id"] for thing in book.select("[id]")}
    targets = {link["href"][1:] for link in book.select("a[href^='#']")}
    return sorted(targets - places)


def running_title(number: int, body: Tag) -> str:
    """Return the rules that name a chapter at the foot of its pages."""
    name = re.sub(r'(["\\])', r"\\\1", " ".join(body.h1.get_text().split()))
    return (
        f'.chapter[id="{body["id"]}"] {{ page: chapter-{number}; }}\n'
        f'@page chapter-{number} {{ @bottom-left {{ content: "{name}"; }} }}'
    )


# -- paper ----------------------------------------------------------------------------


def page_numbers(pdf: bytes) -> dict[str, int]:
    """Return on which page, from 1, each place that is linked to stands."""
    reader = PdfReader(io.BytesIO(pdf))
    return {
        name.removeprefix("/"): reader.get_destination_page_number(place) + 1
        for name, place in reader.named_destinations.items()
    }


def print_book(browser: Browser, book: BeautifulSoup, site: Path) -> bytes:
    """Print twice: only the first print tells the page numbers in the contents."""
    window = {"width": WIDTH, "height": 1000}
    with (
        # Beside the site, not in it: only there may the browser read the site's files.
        NamedTemporaryFile(suffix=".html", dir=site.parent) as source,
        browser.new_page(viewport=window, color_scheme="light", offline=True) as page,
    ):
        source.write(str(book).encode())
        source.flush()
        page.emulate_media(media="print", color_scheme="light")
        page.goto(Path(source.name).as_uri(), wait_until="load")
        page.evaluate(FIT)
        how = {"prefer_css_page_size": True, "tagged": True, "outline": True}
        numbers = page_numbers(page.pdf(**how))
        page.evaluate(
            """numbers => {
              for (const place of document.querySelectorAll("[data-of]"))
                place.textContent = numbers[place.dataset.of] ?? "";
            }""",
            numbers,
        )
        return page.pdf(**how)


def link_from(page: Path, name: str, n_pages: int) -> None:
    """Write a link to the PDF below a page's title; there is one, however often."""
    text = page.read_text(encoding="utf-8")
    text = re.sub(r'\n<p class="pdf">.*?</p>', "", text)
    whole = BeautifulSoup(text, "html.parser")
    what, pages = (say(words, whole) for words in ("The whole book as a PDF", "pages"))
    link = f'\n<p class="pdf"><a href="../{name}">{what}</a> ({n_pages} {pages})</p>'
    text, n = re.subn(r"(<article.*?</h1>)", rf"\1{link}", text, count=1, flags=re.S)
    if not n:
        raise SystemExit(f"{page} has no title to put the link below")
    page.write_text(text, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--site", type=Path, default=SITE)
    site = parser.parse_args().site.resolve()
    if not (site / START).exists():
        sys.exit(f"no site in {site}: run make book")
    editions = [site, *(folder for folder in [site / "ko"] if folder.is_dir())]
    try:
        with chromium() as browser:
            for edition in editions:
                write(browser, edition)
    except FileNotFoundError as error:
        sys.exit(f"The PDF is printed by Chromium: {error}")


def write(browser: Browser, site: Path) -> None:
    """Print a site's book into it, and link to that."""
    pdf = print_book(browser, join(site), site)
    out = site / NAME
    out.write_bytes(pdf)
    n_pages = len(PdfReader(io.BytesIO(pdf)).pages)
    link_from(site / START, NAME, n_pages)
    print(f"{out}: {n_pages} pages, {len(pdf) / 2**20:.1f} MB")


if __name__ == "__main__":
    main()
