"""The back matter agrees with the chapters, links lead somewhere, cells are short.

Each check is a function that lists what is wrong. It runs on the book as it is, and on
the same with one thing broken, where it must find something.
"""

import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import nbformat
import pytest
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from pybtex.database import parse_string

from tools import headings

CHAPTERS = Path(__file__).parents[1] / "chapters"
MARKDOWN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
ANCHORS = 3  # heading levels with an anchor: myst_heading_anchors in _config.yml

GLOSSARY = "appendix/glossary.md"
INSTRUCTORS = "appendix/for-instructors.md"
SLIDE_MAP = "appendix/slide-map.md"
ERRATA = "appendix/errata.md"
REFERENCES = "appendix/references.md"
BIB = "appendix/references.bib"

NOTATION = "appendix/notation.md"

N_SLIDES, N_ERRATA = 14, 13

# What TeX reads as one
TOKEN = re.compile(
    r"\\(?:begin|end|text|mathrm|operatorname|mathbb|mathbf|mathcal)\{[^}]*\}"
    r"|\\[a-zA-Z]+|\\.|\bd[a-z]\b|\S"
)

Book = dict[str, str]
"""The text of each page, by its path below chapters/ (of a notebook, its Markdown)."""


class Link(NamedTuple):
    page: str
    section: str
    target: str
    anchor: str


class Section(NamedTuple):
    level: int
    title: str  # without its tag
    tag: str  # "core", "extra" or none
    text: str  # with its subsections


@cache
def read_book() -> Book:
    book = {BIB: (CHAPTERS / BIB).read_text(encoding="utf-8")}
    for path in sorted(CHAPTERS.rglob("*")):
        name = path.relative_to(CHAPTERS).as_posix()
        if ".ipynb_checkpoints" in path.parts:
            continue
        if path.suffix == ".md":
            book[name] = path.read_text(encoding="utf-8")
        elif path.suffix == ".ipynb":
            cells = nbformat.read(path, as_version=4).cells
            book[name] = "\n\n".join(c.source for c in cells if c.cell_type != "code")
    return book


@cache
def sections(text: str) -> dict[str, Section]:
    """Return the sections of a page by their anchors, which are made as MyST does."""
    tokens = MARKDOWN.parse(text)
    lines = text.splitlines()
    heads = [
        (int(token.tag[1]), token.map[0], tokens[i + 1])
        for i, token in enumerate(tokens)
        if token.type == "heading_open" and token.level == 0
    ]
    found: dict[str, Section] = {}
    for i, (level, start, inline) in enumerate(heads):
        following = (line for above, line, _ in heads[i + 1 :] if above <= level)
        end = next(following, len(lines))
        title = "".join(
            child.content
            for child in inline.children
            if child.type in ("text", "code_inline")
        )
        anchor, n = headings.slug(title), 1
        while anchor in found:
            anchor, n = f"{anchor}-{n}", n + 1
        title, tag = headings.split(title)
        found[anchor] = Section(level, title, tag, "\n".join(lines[start:end]))
    return found


@cache
def links_of(page: str, text: str) -> list[Link]:
    """Return the links of a page to places in the book, in order."""
    found, section, anchors = [], "", iter(sections(text))
    for token in MARKDOWN.parse(text):
        if token.type == "heading_open" and token.level == 0:
            section = next(anchors)
        for child in token.children or []:
            href = unquote(child.attrGet("href") or "")
            if child.type == "link_open" and not re.match(r"\w+:", href):
                path, _, anchor = href.partition("#")
                target = resolve(page, path) if path else page
                found.append(Link(page, section, target, anchor))
    return found


def resolve(page: str, path: str) -> str:
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path))


def links(book: Book) -> Iterator[Link]:
    for page, text in book.items():
        if page != BIB:
            yield from links_of(page, text)


def slides_in(line: str) -> set[int]:
    return {int(number) for number in re.findall(r"\bS(\d+)\b", line)}


def numbers_in(pattern: str, text: str) -> set[int]:
    return {int(number) for number in re.findall(pattern, text)}


# -- the checks -----------------------------------------------------------------------


def dead_links(book: Book) -> Iterator[str]:
    for link in links(book):
        if link.target not in book:
            yield f"{link.page}: no page {link.target}"
        elif link.anchor:
            section = sections(book[link.target]).get(link.anchor)
            if section is None or section.level > ANCHORS:
                yield f"{link.page}: no anchor {link.target}#{link.anchor}"


def slide_problems(book: Book) -> Iterator[str]:
    """Slides on the map, in the chapters' second lines, on the cards of the intro."""
    entries = [s for s in sections(book[SLIDE_MAP]).values() if s.level == 2]
    heads = [entry.title.partition(":")[0] for entry in entries]
    if heads != [f"S{n}" for n in range(1, N_SLIDES + 1)]:
        yield f"slides on the map: {heads}"

    mapped: dict[str, set[int]] = {p: set() for p in book if p.endswith(".ipynb")}
    for entry in entries:
        number = slides_in(entry.title).pop()
        covered, _, more = entry.text.partition("- Sections:")[2].partition("\n- ")
        for link in links_of(SLIDE_MAP, covered):
            mapped.get(link.target, set()).add(number)
        noted = numbers_in(r"\[E(\d+)\]", more)
        named = {
            int(e.title.partition(":")[0][1:])
            for e in sections(book[ERRATA]).values()
            if e.level == 2 and number in slides_in(e.text.partition("**Right.**")[0])
        }
        if noted != named:
            yield f"S{number}: errata {noted} on the map, {named} on their page"

    for page, slides in mapped.items():
        line = next(
            (x for x in book[page].splitlines() if re.match(r"\*\w|\*\[", x)), None
        )
        if line is None:
            yield f"{page}: has no line in italics with its slides below the title"
            continue
        if slides_in(line) != slides:
            yield f"{page}: says {slides_in(line)}, the map says {slides}"
        stem = page.removesuffix(".ipynb")
        card = re.search(rf":link: {stem}\n.*?\n\*(.+?)\*\n", book["intro.md"], re.S)
        if card is None or slides_in(card[1]) != slides:
            yield f"intro.md: the card of {page} does not say {slides}"


def errata_problems(book: Book) -> Iterator[str]:
    entries = [s for s in sections(book[ERRATA]).values() if s.level == 2]
    heads = [entry.title.partition(":")[0] for entry in entries]
    if heads != [f"E{n}" for n in range(1, N_ERRATA + 1)]:
        yield f"errata: {heads}"
    for head, entry in zip(heads, entries, strict=True):
        if not slides_in(entry.text.partition("**Right.**")[0]):
            yield f"{head}: names no slide"
        proof = entry.text.partition("**Proof.**")[2]
        texts = [
            sections(book[link.target])[link.anchor].text
            for link in links_of(ERRATA, proof)
            if link.target.endswith(".ipynb")
            and link.anchor in sections(book.get(link.target, ""))
        ]
        if not any(re.search(rf"\b{head}\b", text) for text in texts):
            yield f"{head}: no linked section speaks of it"
    # JupyterLab writes its own anchors of headings; on a box it takes this attribute.
    for page in book:
        for anchor in re.findall(r'data-jupyter-id="([^"]*)"', book[page]):
            section = sections(book[page]).get(anchor)
            if section is None or f'"{anchor}"' not in section.text:
                yield f"{page}: a box says that it is in {anchor}"


def glossary_problems(book: Book) -> Iterator[str]:
    found = [link for link in links(book) if link.target == GLOSSARY]
    for anchor, entry in sections(book[GLOSSARY]).items():
        if entry.level != 3:
            continue
        if not re.search(r'<span lang="ko">[^<]*[가-힣]', entry.text):
            yield f"{entry.title}: no Korean"
        here = {(x.page, x.section) for x in found if x.anchor == anchor}
        if len([x for x in found if x.anchor == anchor]) != 1:
            yield f"{entry.title}: {len(here)} links to it, not one"
        *_, last = [("", "")] + [
            (x.target, x.anchor) for x in links_of(GLOSSARY, entry.text)
        ]
        if last not in here:
            yield f"{entry.title}: sends to {last}, but is linked from {here}"


def reference_problems(book: Book) -> Iterator[str]:
    entries = parse_string(book[BIB], "bibtex").entries
    shown = Counter(re.findall(r':filter: key == "(\w+)"', book[REFERENCES]))
    for key in entries.keys() | shown.keys():
        if key not in entries or shown[key] != 1:
            yield f"{key}: in the file {key in entries}, on the page {shown[key]} times"
    cited = {x.anchor for x in links(book) if x.target == REFERENCES}
    for anchor, section in sections(book[REFERENCES]).items():
        if section.level != 2:
            continue
        key = re.search(r'key == "(\w+)"', section.text)
        if key is None or key[1] not in entries:
            yield f"{section.title}: shows no entry"
            continue
        entry = entries[key[1]]
        people = [" ".join(p.last_names) for p in entry.persons["author"]]
        if not section.title.startswith(people[0]):
            yield f"{section.title}: the first author of {key[1]} is {people[0]}"
        if not section.title.endswith(entry.fields["year"]):
            yield f"{section.title}: {key[1]} is of {entry.fields['year']}"
        if anchor not in cited:
            yield f"{section.title}: cited nowhere"


def tokens(tex: str) -> str:
    """Return the tokens of a formula, with a space after each and all norms alike."""
    return "".join(
        f"{token} " for token in TOKEN.findall(re.sub(r"\\[lr]Vert", r"\\|", tex))
    )


@cache
def formulas(text: str) -> list[tuple[str, str]]:
    """Return the formulas of a page in order, each with the anchor of its section."""
    found, section, anchors = [], "", iter(sections(text))
    for token in MARKDOWN.parse(text):
        if token.type == "heading_open" and token.level == 0:
            section = next(anchors)
        for part in (token, *(token.children or [])):
            if part.type.startswith("math"):
                found.append((section, tokens(part.content)))
    return found


def notation_problems(book: Book) -> Iterator[str]:
    """Symbols whose first use in the book is not in a section that their rows name."""
    named: dict[str, set[tuple[str, str]]] = {}
    for row in re.findall(r"^\| \$.*", book[NOTATION], re.M):
        symbols, *_, where = row.strip("| ").split(" | ")
        for _, symbol in formulas(symbols):
            links = {(x.target, x.anchor) for x in links_of(NOTATION, where)}
            named.setdefault(symbol, set()).update(links)
    uses = [
        ((page, anchor), formula)
        for page, text in sorted(book.items())
        if page[0].isdigit()
        for anchor, formula in formulas(text)
    ]
    for symbol, rows in named.items():
        # With an index, a hat or a bar it would be another symbol.
        use = re.compile(rf"(?<!\S)(?<!\\hat )(?<!\\bar ){re.escape(symbol)}(?!_ )")
        first = next((place for place, tex in uses if use.search(tex)), None)
        if first and first not in rows:
            yield f"{symbol}: used first in {first}, named are {sorted(rows)}"


@cache
def cells_of_sections(page: str) -> dict[str, set[int]]:
    """Return the numbers of the code cells in each section of a notebook."""
    cells = nbformat.read(CHAPTERS / page, as_version=4).cells
    text = "\n\n".join(
        f"<cell {c.execution_count}>" if c.cell_type == "code" else c.source
        for c in cells
    )
    return {
        anchor: numbers_in(r"<cell (\d+)>", section.text)
        for anchor, section in sections(text).items()
    }


def cell_problems(book: Book) -> Iterator[str]:
    """Cells that instructors are sent to by number, and that are elsewhere."""
    for line in book[INSTRUCTORS].splitlines():
        targets = re.findall(r"\(\.\./([\w-]+\.ipynb)#([^)]+)\)", line)
        there = [cells_of_sections(page).get(anchor, set()) for page, anchor in targets]
        for number in numbers_in(r"(?<!\])\[(\d+)\](?!\()", line):
            if number not in set().union(*there):
                yield f"cell [{number}] is in none of {targets}"


CHECKS = [
    cell_problems,
    dead_links,
    notation_problems,
    slide_problems,
    errata_problems,
    glossary_problems,
    reference_problems,
]


@pytest.mark.parametrize("check", CHECKS)
def test_the_book_is_whole(check) -> None:
    assert list(check(read_book())) == []


CHAPTER_1 = "01-matrix-factorization.ipynb"
CHAPTER_3, CHAPTER_4 = "03-l1-l2.ipynb", "04-networks-and-factorization.ipynb"


@pytest.mark.parametrize(
    ("check", "page", "old", "new", "problem"),
    [
        (cell_problems, INSTRUCTORS, "cell [3]", "cell [99]", r"\[99\] is in none"),
        (dead_links, "intro.md", "(appendix/notation.md)", "(notation.md)", "no page"),
        (dead_links, CHAPTER_1, "#sparse)", "#dense)", "no anchor .*#dense"),
        (dead_links, CHAPTER_4, "### Squared or not", "### Squares", "no anchor"),
        (dead_links, CHAPTER_4, "### Squared or", "#### Squared or", "no anchor"),
        (notation_problems, NOTATION, "#gradients-by-hand", "#take-aways", "first in"),
        (notation_problems, CHAPTER_1, "# Matrix", "# The weight $B$, matrix", "B :"),
        (slide_problems, SLIDE_MAP, "## S4:", "## S5:", "slides on the map"),
        (slide_problems, SLIDE_MAP, "../02-", "../01-", "the map says"),
        (slide_problems, SLIDE_MAP, "[E2](", "[E3](", r"errata \{3\} on the"),
        (slide_problems, CHAPTER_1, "*[Slides S1", "*[Slides S3", "the map says"),
        (slide_problems, CHAPTER_1, "*[Slides S1", "[Slides S1", "no line in italics"),
        (slide_problems, "intro.md", "*Slide S8*", "*Slide S9*", "the card of 05-"),
        (errata_problems, ERRATA, "## E7:", "## E8:", "errata: "),
        (errata_problems, ERRATA, "#squared-or-not", "#neural", "E2: no linked"),
        (errata_problems, CHAPTER_3, "note E12", "note", "E12: no linked section"),
        (
            errata_problems,
            CHAPTER_4,
            '"squared-or',
            '"not',
            "a box says that it is in not",
        ),
        (errata_problems, ERRATA, "**Slide S12.**", "**Slide.**", "E2: names no slide"),
        (glossary_problems, GLOSSARY, "행렬 분해", "haengnyeol", "no Korean"),
        (glossary_problems, CHAPTER_1, "glossary.md#sparse", "x", "sparse: 0 links"),
        (glossary_problems, GLOSSARY, "#the-table)", "#baselines)", "bootstrap: sends"),
        (reference_problems, BIB, "{koren2009", "{koren", "koren2009: in the file"),
        (reference_problems, BIB, "{Wong, Bang}", "{Bang, W.}", "the first author"),
        (reference_problems, BIB, "{1936}", "{1937}", "eckart1936 is of 1937"),
        (reference_problems, CHAPTER_1, "references.md#hoerl", "x", "cited nowhere"),
    ],
)
def test_what_is_broken_is_found(check, page, old, new, problem) -> None:
    book = read_book()
    assert old in book[page]
    broken = {**book, page: book[page].replace(old, new)}
    found = list(check(broken))
    assert any(re.search(problem, x) for x in found), found


# -- the code -------------------------------------------------------------------------

LONGEST = 15  # lines of a cell that a reader sees
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell"}


def long_cells(cells: list[nbformat.NotebookNode]) -> Iterator[str]:
    for number, cell in enumerate(cells, start=1):
        if cell.cell_type == "code" and not FOLDED & set(cell.metadata.get("tags", [])):
            lines = [line for line in cell.source.splitlines() if line.strip()]
            if len(lines) > LONGEST:
                yield f"cell {number}: {len(lines)} lines, from {lines[0]!r}"


def unfit_folds(cells: list[nbformat.NotebookNode]) -> Iterator[str]:
    """Folds that hide more than drawing and assertions, or assertions unseen."""
    for number, cell in enumerate(cells, start=1):
        tags = set(cell.metadata.get("tags", []))
        if "remove-input" in tags:
            yield f"cell {number}: a reader cannot open it, tag it hide-input"
        elif "hide-input" in tags and not cell.outputs and "assert" not in cell.source:
            yield f"cell {number}: folded, and neither shows nor asserts"


def unnamed_solutions(cells: list[nbformat.NotebookNode]) -> Iterator[str]:
    """Folded solutions whose button does not say what they are."""
    exercise = False
    for number, cell in enumerate(cells, start=1):
        if headings := re.findall("^##+ .*", cell.source, re.M):
            exercise = "Exercise" in headings[-1]
        elif exercise and "hide-cell" in cell.metadata.get("tags", []):
            said = cell.metadata.get("mystnb", {}).get("code_prompt_show")
            if said != "Show the solution":
                yield f"cell {number}: {said}"


NOTEBOOKS = sorted(CHAPTERS.glob("*.ipynb"))


@pytest.mark.parametrize("check", [long_cells, unfit_folds, unnamed_solutions])
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_what_a_reader_sees_of_the_code(path: Path, check) -> None:
    assert list(check(nbformat.read(path, as_version=4).cells)) == []


def test_a_solution_without_a_name_is_found() -> None:
    cell = nbformat.v4.new_code_cell("1 + 1", metadata={"tags": ["hide-cell"]})
    exercise = nbformat.v4.new_markdown_cell("## Exercises\n\n### Exercise 1: add")
    assert list(unnamed_solutions([exercise, cell])) == ["cell 2: None"]
    assert list(unnamed_solutions([cell])) == []


@pytest.mark.parametrize(
    ("check", "lines", "tag", "found"),
    [
        (long_cells, LONGEST, None, False),
        (long_cells, LONGEST + 1, None, True),
        (long_cells, LONGEST + 1, "hide-input", False),
        (unfit_folds, 1, "hide-input", True),
        (unfit_folds, 1, "remove-input", True),
        (unfit_folds, 1, "hide-cell", False),
    ],
)
def test_what_a_reader_should_not_see_is_found(check, lines, tag, found) -> None:
    cell = nbformat.v4.new_code_cell("x = 1\n\n" * lines)
    cell.metadata.tags = [tag] if tag else []
    assert bool(list(check([cell]))) is found
