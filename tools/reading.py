"""How long chapters take to read.

    python -m tools.reading            print the minutes of every chapter
    python -m tools.reading --write    and put them into the chapters' heads

A student reads 130 words a minute, and needs 5 seconds for a line of code and a minute
for a displayed formula, a table or a figure. Formulas are not counted as words, nor is
what is folded away, except the answers of self-checks. Exercises are not counted.
"""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbformat import NotebookNode

from tools import headings
from tools.chapters import canonical_bytes, read

CHAPTERS = Path(__file__).parents[1] / "chapters"
WORDS_A_MINUTE, SECONDS_A_LINE, MINUTES_A_BLOCK = 130, 5, 1
LECTURE = range(1, 7)  # the chapters whose core has a budget
CORE_MINUTES = 120

MARKDOWN = MarkdownIt("commonmark").enable("table").use(dollarmath_plugin)
MARKDOWN.use(amsmath_plugin)

NOT_COUNTED = {"exercises"}  # sections, by their anchors
BLOCKS = {"math_block", "math_block_label", "amsmath", "table_open", "image"}
HIDE_INPUT = {"hide-input", "hide-cell", "remove-input", "remove-cell"}
HIDE_OUTPUT = {"hide-output", "hide-cell", "remove-output", "remove-cell"}

HTML_TAG = re.compile(r"<[^>]*>")
# In the line below the title, between the slides and the time to run
HEAD = re.compile(
    r"^(\*.+ · )(?:core \d+ minutes, all \d+|\d+ minutes to read)( · )", re.M
)


@dataclass
class Load:
    """What a reader has to get through."""

    words: int = 0
    lines: int = 0  # of visible code
    blocks: int = 0  # displayed formulas, tables, figures

    def __add__(self, other: "Load") -> "Load":
        return Load(
            self.words + other.words,
            self.lines + other.lines,
            self.blocks + other.blocks,
        )

    @property
    def minutes(self) -> float:
        return (
            self.words / WORDS_A_MINUTE
            + self.lines * SECONDS_A_LINE / 60
            + self.blocks * MINUTES_A_BLOCK
        )


# -- what there is to read ------------------------------------------------------------


def count_words(text: str) -> int:
    """Count what holds a letter or digit between white space."""
    return sum(any(sign.isalnum() for sign in word) for word in text.split())


def count_lines(code: str) -> int:
    return sum(bool(line.strip()) for line in code.splitlines())


def text_of(inline: Token) -> str:
    """Return a paragraph as it is read; a formula is a sign that is no word."""
    parts = []
    for child in inline.children or []:
        if child.type in ("text", "code_inline"):
            parts.append(child.content)
        elif child.type in ("softbreak", "hardbreak"):
            parts.append(" ")
        elif child.type.startswith("math_"):
            parts.append("…")
    return "".join(parts)


def load_of(tokens: Iterable[Token]) -> Load:
    """Return the load of Markdown."""
    load = Load()
    for token in tokens:
        if token.type == "inline":
            load.words += count_words(text_of(token))
            load.blocks += sum(c.type in BLOCKS for c in token.children or [])
        elif token.type == "html_block":
            load.words += count_words(HTML_TAG.sub(" ", token.content))
        elif token.type == "fence":
            load.lines += count_lines(token.content)
        elif token.type in BLOCKS:
            load.blocks += 1
    return load


def load_of_code(cell: NotebookNode) -> Load:
    """Return the load of a code cell and of what it shows."""
    tags, load = set(cell.metadata.get("tags", [])), Load()
    if not tags & HIDE_INPUT:
        load.lines += count_lines(cell.source)
    caption = cell.metadata.get("mystnb", {}).get("figure", {}).get("caption", "")
    load += load_of(MARKDOWN.parse(caption))
    if not tags & HIDE_OUTPUT:
        for output in cell.outputs:
            load += load_of_output(output.get("data", {}))
    return load


def load_of_output(data: dict[str, str]) -> Load:
    if any(mime.startswith("image/") for mime in data):
        return Load(blocks=1)
    html = data.get("text/html", "")
    if "mflib-slider" in html or "<table" in html:
        return Load(blocks=1)
    return load_of(MARKDOWN.parse(data.get("text/markdown", "")))


def loads(cells: Iterable[NotebookNode]) -> Iterator[tuple[str, Load]]:
    """Return the load of a chapter, piece by piece, each with "core" or "extra".

    What has no tag is core: the head and the take-aways.
    """
    above = tag = "core"
    counted = True
    for cell in cells:
        if cell.cell_type == "code":
            if counted:
                yield tag, load_of_code(cell)
            continue
        tokens = MARKDOWN.parse(cell.source)
        for token, following in zip(tokens, [*tokens[1:], None], strict=True):
            if token.type == "heading_open" and token.tag in ("h1", "h2", "h3"):
                assert following is not None  # the heading's text
                _, own = headings.split(following.content)
                if token.tag != "h3":
                    above = headings.TAGS.get(own, "core")
                    counted = headings.slug(following.content) not in NOT_COUNTED
                tag = headings.TAGS.get(own, above)
            if counted:
                yield tag, load_of([token])


def minutes(cells: Iterable[NotebookNode]) -> tuple[float, float]:
    """Return the minutes that a chapter's core takes, and all of it."""
    found = list(loads(cells))
    core = sum((load for tag, load in found if tag == "core"), Load())
    return core.minutes, sum((load for _, load in found), Load()).minutes


# -- what the head says ---------------------------------------------------------------


def with_minutes(head: str, core: float, whole: float) -> str:
    """Return a chapter's first cell with these minutes in the line below its title."""
    said = rf"\g<1>core {round(core)} minutes, all {round(whole)}\g<2>"
    new, found = HEAD.subn(said, head, count=1)
    if not found:
        raise ValueError(
            "the line below the title does not give the minutes, "
            "as in *… · core 20 minutes, all 40 · 20 seconds to run*"
        )
    return new


def number(chapter: Path) -> int:
    return int(chapter.name.partition("-")[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all chapters")
    parser.add_argument("--write", action="store_true", help="into the chapters' heads")
    options = parser.parse_args()
    print(f"{'minutes':36}{'core':>6}{'all':>6}{'words':>8}{'lines':>7}{'blocks':>8}")
    lecture = 0.0
    for path in options.notebooks or sorted(CHAPTERS.glob("[0-9]*.ipynb")):
        notebook = read(path)
        core, whole = minutes(notebook.cells)
        lecture += core * (number(path) in LECTURE)
        load = sum((load for _, load in loads(notebook.cells)), Load())
        print(
            f"{path.stem:36}{core:6.1f}{whole:6.1f}"
            f"{load.words:8}{load.lines:7}{load.blocks:8}"
        )
        if options.write:
            head = notebook.cells[0]
            try:
                head.source = with_minutes(head.source, core, whole)
            except ValueError as error:
                sys.exit(f"{path}: {error}")
            path.write_bytes(canonical_bytes(notebook))
    print(f"{f'core of chapters 1 to 6, {CORE_MINUTES} allowed':36}{lecture:6.1f}")


if __name__ == "__main__":
    main()
