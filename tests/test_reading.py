"""Chapters say how long they take, what is core, and ask short questions.

Each check lists what is wrong with a chapter. It runs on every chapter, and on a small
one with one thing broken, where it must find something.
"""

import io
import re
import tokenize
from collections.abc import Iterator
from itertools import pairwise

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell

from tools import headings, reading

NOTEBOOKS = sorted(reading.CHAPTERS.glob("[0-9]*.ipynb"))
PAGES = sorted(reading.CHAPTERS.rglob("*.md"))
LONGEST = 35  # words of a sentence
SELF_CHECKS = 5  # of a chapter, at least
UNTAGGED = {"Take-aways", "Exercises"}

HEAD = re.compile(r"^\*.+ · core (\d+) minutes, all (\d+) · .+\*$", re.M)
SELF_CHECK = re.compile(
    r"(?:\A|(?<=\n\n))\*\*Self-check (\d+)\.(\d+)\.\*\* "
    r"(?:[^\n]|\n(?!\*\*Self-check|<details))+\n\n"
    r'<details class="self-check"><summary>Answer</summary>\n\n'
    r"((?:[^\n]|\n(?!</?details))+)\n\n</details>(?=\n\n|\Z)"
)
# Not the 2 of L2 or S2
NUMBER = re.compile(r"(?<![\w.,])\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?(?!\w)")
# Of a sentence
END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)[.!?][\"')”’]*\s+")

Cells = list[nbformat.NotebookNode]


def is_text(cell: nbformat.NotebookNode) -> bool:
    return cell.cell_type == "markdown"


# -- the checks -----------------------------------------------------------------------


def wrong_minutes(chapter: int, cells: Cells) -> Iterator[str]:
    said = HEAD.search(cells[0].source)
    if not said:
        yield "the line below the title does not give the minutes of core and all"
        return
    for what, printed, counted in zip(
        ("core", "all"), map(int, said.groups()), reading.minutes(cells), strict=True
    ):
        if abs(printed - counted) > max(1, counted / 10):
            yield f"{what}: {printed} minutes printed, {counted:.1f} counted"


def wrong_tags(chapter: int, cells: Cells) -> Iterator[str]:
    """Sections without a tag, and subsections that repeat their section's."""
    above = ""
    for cell in filter(is_text, cells):
        tokens = reading.MARKDOWN.parse(cell.source)
        for token, text in pairwise(tokens):
            if token.type != "heading_open" or token.level:
                continue
            title, tag = headings.split(text.content)
            if token.tag == "h2":
                above = tag
                if bool(tag) == (title in UNTAGGED):
                    yield f"{title}: tagged {tag!r}"
            elif tag and (token.tag != "h3" or tag == above):
                yield f"{title}: needs no {tag!r}"


def self_checks(cells: Cells) -> Iterator[tuple[re.Match, nbformat.NotebookNode]]:
    """Return the self-checks of a chapter, each with the code that follows."""
    for i, cell in enumerate(cells):
        if is_text(cell):
            code = next((c for c in cells[i:] if not is_text(c)), new_code_cell())
            yield from ((found, code) for found in SELF_CHECK.finditer(cell.source))


def wrong_self_checks(chapter: int, cells: Cells) -> Iterator[str]:
    text = "\n".join(cell.source for cell in filter(is_text, cells))
    found = [(int(m[1]), int(m[2])) for m, _ in self_checks(cells)]
    for sign in ("**Self-check", 'class="self-check"'):
        if text.count(sign) != len(found):
            yield f"{text.count(sign)} times {sign}, {len(found)} in the right form"
    if found != [(chapter, i) for i in range(1, len(found) + 1)]:
        yield f"numbered {found}"
    if len(found) < SELF_CHECKS:
        yield f"{len(found)} self-checks, {SELF_CHECKS} needed"


def unchecked_answers(chapter: int, cells: Cells) -> Iterator[str]:
    """Answers in numbers that no assertion right after them holds."""
    for found, code in self_checks(cells):
        bold = re.match(r"\*\*(.+?)\*\*", found[3], re.S)
        numbers = [] if bold is None else NUMBER.findall(bold[1])
        where = f"{found[1]}.{found[2]}"
        if numbers and ("assert" not in code.source or not is_folded(code)):
            yield f"{where}: no folded assertion follows"
        for number in numbers:
            if not is_in_code(number, code.source):
                yield f"{where}: the code that follows does not hold {number}"


def is_folded(cell: nbformat.NotebookNode) -> bool:
    return "hide-input" in cell.metadata.get("tags", []) and not cell.outputs


def is_in_code(number: str, code: str) -> bool:
    """Whether code has a number as a literal, or in one of its texts."""
    texts = []
    for token in tokenize.generate_tokens(io.StringIO(code).readline):
        if token.type not in (tokenize.COMMENT, tokenize.NAME, tokenize.OP):
            texts.append(token.string.replace("_", ""))
    wanted = float(number.replace(",", ""))
    values = (v.replace(",", "") for text in texts for v in NUMBER.findall(text))
    return any(float(value) in (wanted, wanted / 100) for value in values)


def sentences(text: str) -> Iterator[str]:
    """Return the sentences of Markdown: a paragraph, entry or cell of a table ends one.

    A formula is a sign that is no word.
    """
    for token in reading.MARKDOWN.parse(text):
        if token.type == "inline":
            words = reading.text_of(token)
        elif token.type == "html_block":
            words = reading.HTML_TAG.sub(" ", token.content)
        else:
            continue
        if words.startswith("Sections: "):  # a list of links, on the slide map
            continue
        yield from END.split(words)


def too_long(text: str) -> Iterator[str]:
    for sentence in sentences(text):
        if (count := reading.count_words(sentence)) > LONGEST:
            yield f"{count} words: {' '.join(sentence.split())}"


def long_sentences(chapter: int, cells: Cells) -> Iterator[str]:
    for cell in cells:
        figure = cell.metadata.get("mystnb", {}).get("figure", {})
        yield from too_long(cell.source if is_text(cell) else figure.get("caption", ""))


CHECKS = [
    wrong_minutes,
    wrong_tags,
    wrong_self_checks,
    unchecked_answers,
    long_sentences,
]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem[:2])
def test_a_chapter_reads_well(path, check) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert list(check(reading.number(path), cells)) == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_page_has_a_long_sentence(path) -> None:
    assert list(too_long(path.read_text(encoding="utf-8"))) == []


def test_the_core_of_the_lecture_is_short() -> None:
    lecture = [p for p in NOTEBOOKS if reading.number(p) in reading.LECTURE]
    core = [
        reading.minutes(nbformat.read(path, as_version=4).cells)[0] for path in lecture
    ]
    assert len(core) == len(reading.LECTURE)
    assert sum(core) <= reading.CORE_MINUTES


# -- what is broken is found ----------------------------------------------------------

WORDS = "word " * 30
TEXT = [
    """# Title

*[Slide S1](x.md) · core 2 minutes, all 6 · 2 seconds to run*

Here is [a link](a-b-c) and `code`.""",
    """## One · core

### Same

A short sentence with $x + y$. Another one.

$$
x = 1
$$

**Self-check 7.1.** What is
it?

<details class="self-check"><summary>Answer</summary>

**12,800.** Since $x$ is.

</details>

**Self-check 7.2.** How much?

<details class="self-check"><summary>Answer</summary>

**24 %, or 0.5 in L2.** A quarter.

</details>""",
    """assert 8 * 1_600 == 12_800
assert f"{0.24:.0%}" == "24%" and 0.50""",
    f"""## Two · extra

| a | b |
|---|---|
| {WORDS} | {WORDS} |

**Self-check 7.3.** Why? **Not a number.**

<details class="self-check"><summary>Answer</summary>

**Because.** There are 17.

</details>""",
    """x = 1
x""",
    f"""### Deeper · core

{WORDS}. {WORDS}""",
    """**Self-check 7.4.** Why?

<details class="self-check"><summary>Answer</summary>

Because.

</details>

**Self-check 7.5.** Why?

<details class="self-check"><summary>Answer</summary>

**S2.** Because.

</details>

## Take-aways

- One.

## Exercises

### Exercise 1

Read."""
    + WORDS,
]


def small_chapter(old: str = "", new: str = "") -> Cells:
    """Return a chapter in good order, but for one text put in place of another."""
    assert not old or any(old in text for text in TEXT)
    cells = []
    for text in TEXT:
        text = text.replace(old, new) if old else text
        if text.startswith(("#", "*")):
            cells.append(new_markdown_cell(text))
        else:
            cells.append(new_code_cell(text))
    asserts, shows = (cell for cell in cells if not is_text(cell))
    asserts.metadata.tags = ["hide-input"]
    caption = {"caption": f"{WORDS}with $x$."}
    shows.metadata.mystnb = {"figure": caption}
    shows.outputs = [
        nbformat.v4.new_output("display_data", data={"image/png": ""}),
        nbformat.v4.new_output("stream", text=WORDS),
        nbformat.v4.new_output("execute_result", data={"text/html": "<table>"}),
    ]
    return cells


@pytest.mark.parametrize("check", CHECKS)
def test_a_chapter_in_good_order_passes(check) -> None:
    assert list(check(7, small_chapter())) == []


def test_what_is_counted() -> None:
    core, extra = reading.Load(), reading.Load()
    for tag, load in reading.loads(small_chapter()):
        if tag == "core":
            core += load
        else:
            extra += load
    assert core == reading.Load(words=123, lines=0, blocks=1)
    assert extra == reading.Load(words=106, lines=2, blocks=3)
    one_of_each = reading.Load(words=130, lines=12, blocks=1)
    assert one_of_each.minutes == pytest.approx(3)


@pytest.mark.parametrize(
    ("tag", "minutes"), [("hide-input", 1), ("hide-output", 2), ("hide-cell", 0)]
)
def test_what_is_folded_takes_no_time(tag, minutes) -> None:
    cell = new_code_cell("x\n\n" * 24, metadata={"tags": [tag]})
    data = {"text/markdown": "```python\n" + "x\n" * 12 + "```"}
    cell.outputs = [nbformat.v4.new_output("execute_result", data=data)]
    assert reading.load_of_code(cell).minutes == pytest.approx(minutes)


@pytest.mark.parametrize(
    ("check", "old", "new", "problem"),
    [
        (wrong_minutes, "core 2 minutes, ", "", "does not give the minutes"),
        (wrong_minutes, "core 2", "core 5", r"core: 5 minutes printed, 1\.9 counted"),
        (wrong_minutes, "all 6", "all 9", "all: 9 minutes printed"),
        (wrong_tags, "One · core", "One", "One: tagged ''"),
        (wrong_tags, "Take-aways", "Take-aways · core", "Take-aways: tagged 'core'"),
        (wrong_tags, "### Same", "### Same · core", "Same: needs no 'core'"),
        (wrong_tags, "### Deeper", "#### Deeper", "Deeper: needs no 'core'"),
        (wrong_self_checks, "check 7.4.**", "check 7.4**", "in the right form"),
        (wrong_self_checks, 'class="self-check"', "", "in the right form"),
        (wrong_self_checks, "Answer<", "Solution<", "in the right form"),
        (wrong_self_checks, "</details>\n\n**", "</details>\n**", "in the right form"),
        (wrong_self_checks, "7.3", "7.6", "numbered"),
        (wrong_self_checks, "7.3", "3.3", "numbered"),
        (wrong_self_checks, "**Self-check 7.5.**", "", "4 self-checks, 5 needed"),
        (unchecked_answers, "12_800", "12_801", "7.1: .* does not hold 12,800"),
        (unchecked_answers, "0.50", "0.51", "7.2: .* does not hold 0.5"),
        (
            unchecked_answers,
            '0.24:.0%}" == "24',
            '0.25:.0%}" == "25',
            "7.2: .* does not hold 24",
        ),
        (unchecked_answers, "Because.**", "At 17.**", "7.3: no folded assertion"),
        (unchecked_answers, "assert ", "", "7.1: no folded assertion"),
        (long_sentences, "A short", WORDS + "this is A short", "36 words"),
        (long_sentences, "One.", f"{WORDS}`a` b, c d e f.", "36 words"),
        (long_sentences, "a link", f"a {WORDS} of words", "37 words"),
    ],
)
def test_what_is_broken_is_found(check, old, new, problem) -> None:
    found = list(check(7, small_chapter(old, new)))
    assert any(re.search(problem, x, re.S) for x in found), found


@pytest.mark.parametrize(
    ("head", "new"),
    [
        ("*S1 · 40 minutes to read · run*", "*S1 · core 21 minutes, all 48 · run*"),
        ("*a · b · core 1 minutes, all 2 · run*", "*a · b · core 21 minutes, all 48 ·"),
        ("*S1 · run*", None),
    ],
)
def test_the_head_is_written(head, new) -> None:
    if new is None:
        with pytest.raises(ValueError, match="does not give the minutes"):
            reading.with_minutes(head, 20.7, 48.2)
    else:
        assert reading.with_minutes(head, 20.7, 48.2).startswith(new)
