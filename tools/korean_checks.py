"""What a Korean text must share with the English one that it translates.

Each function lists in what two texts differ: in links, formulas, code, numbers, HTML
and structure. What they say in words, a reader must compare.
"""

from __future__ import annotations

import ast
import csv
import io
import re
import tokenize
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

from IPython.core.inputtransformer2 import TransformerManager
from markdown_it import MarkdownIt
from markdown_it.token import Token
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin

TERMS = Path(__file__).parents[1] / "ko" / "terms.csv"

# Text, as the book's pages are read: with formulas and directives
MARKDOWN = (
    MarkdownIt("commonmark")
    .enable("table")
    .use(dollarmath_plugin)
    .use(amsmath_plugin)
    .use(colon_fence_plugin)
)
COUNTED = ("li", "tr", "th", "td", "blockquote", "hr")
MATH = re.compile("math_(inline|inline_double|block|block_label)|amsmath")
TAGS = {"core": "핵심", "extra": "심화"}
TAG = re.compile(r"\s·\s(core|extra|핵심|심화)$")

HANGUL = re.compile(r"[가-힣]")
NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
WORD = re.compile(r"\b[A-Za-z][a-z]+\b")  # not MovieLens or RMSE
CITED = re.compile(r", \d{4}$")  # of a heading that names a work by authors and year
STRAY = re.compile(r"\*|\$|\]\(|`")
IN_WORDS = re.compile(r"\\(?:text|textbf|textit|mathrm)\{[^{}]*\}")
# Words that make a text one to translate: names and single terms may stay English
FEW, COMMENT = 5, 3
WIDTH = 88  # of a line of code, in columns: Hangul takes two


def has_hangul(text: str) -> bool:
    return bool(HANGUL.search(text))


def english_words(text: str) -> int:
    text = re.sub(r"\S*[\w)][_.(=]\w\S*", "", text)  # names such as mflib.book
    return len(WORD.findall(text))


# -- what a text holds ----------------------------------------------------------------


class Tags(HTMLParser):
    """The tags of some HTML, with what no language changes, and its texts."""

    WORDS = ("alt", "title", "aria-label", "lang", "hreflang")

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        # A link to the other edition leads elsewhere in each.
        words = (*self.WORDS, "href") if "hreflang" in names else self.WORDS
        kept = sorted(f'{name}="{v}"' for name, v in attrs if name not in words)
        self.tags.append("<" + " ".join([tag, *kept]) + ">")

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append(data.strip())


class Content:
    """What stands in a text in Markdown, by kind."""

    def __init__(self, text: str) -> None:
        self.links: Counter[str] = Counter()
        self.math: Counter[str] = Counter()
        self.code: Counter[str] = Counter()
        self.fences: list[tuple[str, str]] = []
        self.headings: list[tuple[int, str]] = []
        self.directives: list[str] = []
        self.tags: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.paragraphs: list[str] = []  # the words of each, without code and math
        self.titles: list[str] = []  # the texts of HTML, such as a box's title
        self._read(text)

    def _read(self, text: str) -> None:
        tokens = MARKDOWN.parse(text)
        for i, token in enumerate(tokens):
            if token.type == "heading_open":
                title = "".join(
                    child.content
                    for child in tokens[i + 1].children or []
                    if child.type in ("text", "code_inline")
                )
                self.headings.append((int(token.tag[1]), title))
            if token.nesting == 1 and token.tag in COUNTED:
                self.counts[token.tag] += 1
            self._take(token)

    def _take(self, token: Token) -> None:
        if token.type == "inline":
            words = []
            for child in token.children or []:
                self._take(child)
                if child.type == "text":
                    words.append(child.content)
                elif child.type in ("softbreak", "hardbreak"):
                    words.append("\n")
                else:
                    words.append(" ")
            self.paragraphs.append("".join(words))
        elif MATH.fullmatch(token.type):
            self.math[plain_math(token.content) + f" {token.info}".rstrip()] += 1
        elif token.type == "code_inline":
            self.code[token.content] += 1
        elif token.type in ("link_open", "image"):
            self.links[unquote(str(token.attrGet("href") or token.attrGet("src")))] += 1
            if token.type == "image":
                self.paragraphs.append(token.content)
        elif token.type in ("fence", "code_block"):
            self.fences.append((token.info, token.content))
        elif token.type == "colon_fence":
            self._take_directive(token)
        elif token.type in ("html_inline", "html_block"):
            parser = Tags()
            parser.feed(token.content)
            parser.close()
            self.tags.update(parser.tags)
            self.titles += parser.texts

    def _take_directive(self, token: Token) -> None:
        name, _, title = token.info.partition("}")
        has_title = name in ("{grid-item-card", "{admonition", "{dropdown", "{card")
        self.directives.append(name + ("" if has_title else title))
        if has_title and title.strip():
            self.titles.append(title.strip())
        options = re.match(r"(?:\s*:[\w-]+:.*\n)*", token.content)
        head = options[0] if options else ""
        for name, value in re.findall(r":([\w-]+):[ \t]*(.*)", head):
            worded = name.endswith("alt")
            self.directives.append(f":{name}:" if worded else f":{name}: {value}")
            if worded:
                self.titles.append(value)
        self._read(token.content[len(head) :])

    def numbers(self) -> Counter[str]:
        words = "\n".join([*self.paragraphs, *self.titles])
        return Counter(NUMBER.findall(words))


def plain_math(tex: str) -> str:
    """Return a formula without white space, and without the words in it."""
    return re.sub(r"\s+", "", IN_WORDS.sub(r"\\text{}", tex))


def wordless(content: Content | str) -> bool:
    """Return whether there is nothing to translate, as in a heading of a letter."""
    if isinstance(content, str):
        content = Content(content)
    return not any(map(english_words, [*content.paragraphs, *content.titles]))


# -- text -----------------------------------------------------------------------------


def differences(
    english: str, korean: str, *, same: bool = False, variants: bool = False
) -> Iterator[str]:
    """Say in what a Korean text differs from the English where it may not.

    With ``same``, nothing is to be translated; with ``variants``, a text may name
    other words for a term, as the glossary does.
    """
    a, b = Content(english), Content(korean)
    for what, ours, theirs in (
        ("links", a.links, b.links),
        ("formulas", a.math, b.math),
        ("code spans", a.code, b.code),
        ("HTML tags", a.tags, b.tags),
        ("items", a.counts, b.counts),
    ):
        yield from unlike(what, ours, theirs)
    if a.directives != b.directives:
        yield f"directives: {b.directives}, not {a.directives}"
    if missing := a.numbers() - b.numbers():
        yield f"numbers that are missing: {sorted(missing.elements())}"
    yield from heading_differences(a, b)
    yield from fence_differences(a, b)
    if same or wordless(a):
        return
    if not has_hangul(korean):
        yield "not translated (if nothing is to be: mark it as the same)"
        return
    for text in b.paragraphs:
        if english_words(text) >= FEW and not has_hangul(text):
            yield f"not translated: {' '.join(text.split())[:60]!r}"
    for text in b.titles:
        if english_words(text) and text in a.titles and not has_hangul(text):
            yield f"title or answer not translated: {text!r}"
    yield from stray_signs(a, b)
    if not variants:
        yield from wrong_terms("\n".join([*b.paragraphs, *b.titles]))


def unlike(what: str, ours: Counter[str], theirs: Counter[str]) -> Iterator[str]:
    if missing := sorted((ours - theirs).elements()):
        yield f"{what} that are missing: {missing}"
    if more := sorted((theirs - ours).elements()):
        yield f"{what} that the English has not: {more}"


def heading_differences(a: Content, b: Content) -> Iterator[str]:
    if [level for level, _ in a.headings] != [level for level, _ in b.headings]:
        yield f"headings: {b.headings}, not {a.headings}"
        return
    for (_, ours), (_, theirs) in zip(a.headings, b.headings, strict=True):
        tags = [found[1] if (found := TAG.search(t)) else "" for t in (ours, theirs)]
        if TAGS.get(tags[0], "") != tags[1]:
            yield f"heading {theirs!r}: must end in · {TAGS.get(tags[0], 'no tag')}"
        if (
            english_words(ours) > 1
            and ours == theirs
            and not CITED.search(ours)
            and has_hangul("".join(b.paragraphs))
        ):
            yield f"heading not translated: {theirs!r}"


def fence_differences(a: Content, b: Content) -> Iterator[str]:
    if [info for info, _ in a.fences] != [info for info, _ in b.fences]:
        yield f"blocks of code: {b.fences}, not {a.fences}"
        return
    for (info, ours), (_, theirs) in zip(a.fences, b.fences, strict=True):
        if info == "python":
            yield from code_differences(ours, theirs)
        elif info.startswith("{"):
            if ours != theirs:
                yield f"other content of {info}"
        elif without_remarks(ours) != without_remarks(theirs):
            yield f"other commands: {theirs!r}"


def without_remarks(commands: str) -> str:
    return re.sub(r"(?m)(?:^|\s+)#.*$", "", commands)


def stray_signs(a: Content, b: Content) -> Iterator[str]:
    """Find signs that should have been emphasis, a formula, a link or beside a word.

    CommonMark closes no emphasis after punctuation that a letter follows, such as a
    Korean particle: write **행렬 분해**(matrix factorization)는.
    """
    ours = Counter(STRAY.findall("\n".join(a.paragraphs)))
    for text in b.paragraphs:
        here = Counter(STRAY.findall(text))
        if here - ours:
            sign = next(iter(here - ours))
            at = text.index(sign)
            yield f"stray {sign!r}: …{text[max(0, at - 15) : at + 25]!r}…"
        for word in re.findall(r"(\S*[가-힣])\n\(", text):
            yield f"a space between {word!r} and its bracket: the line ends there"
    for tex in b.math:
        if has_hangul(tex):
            yield f"Hangul in a formula outside \\text{{}}: {tex!r}"


# -- terms ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Term:
    english: str
    korean: str
    wrong: tuple[str, ...]


@cache
def terms() -> list[Term]:
    """Return the table of terms: English, Korean, and what the Korean must not be."""
    if not TERMS.exists():
        return []
    with TERMS.open(encoding="utf-8", newline="") as file:
        return [
            Term(
                row["english"],
                row["korean"],
                tuple(filter(None, (w.strip() for w in row["wrong"].split(";")))),
            )
            for row in csv.DictReader(file)
        ]


def wrong_terms(korean: str) -> Iterator[str]:
    for term in terms():
        for wrong in term.wrong:
            if re.search(wrong, korean):
                yield f"{term.english}: {wrong!r} stands for {term.korean!r}"


# -- captions and alt text ------------------------------------------------------------


def figure_differences(english: str, korean: str) -> Iterator[str]:
    """Say in what a caption or an alt text differs where it may not."""
    yield from differences(english, korean)


# -- code and its comments ------------------------------------------------------------


@dataclass(frozen=True)
class Comment:
    """A comment behind code, or lines of comments below each other."""

    first: int  # lines, from 0
    last: int
    column: int
    text: str


def blocks_of_comments(code: str) -> list[Comment]:
    lines = code.splitlines()
    # Magics are no Python: a statement stands for each.
    python = [re.sub(r"^(\s*)[%!].*", r"\1pass", line) for line in lines]
    found: list[Comment] = []
    reader = io.StringIO("\n".join(python) + "\n").readline
    for token in tokenize.generate_tokens(reader):
        if token.type != tokenize.COMMENT:
            continue
        (row, column), row = token.start, token.start[0] - 1
        alone = not lines[row][:column].strip()
        last = found[-1] if found else None
        if (
            alone
            and last
            and (last.last, last.column) == (row - 1, column)
            and not lines[last.last][: last.column].strip()
        ):
            text = f"{last.text}\n{token.string}"
            found[-1] = Comment(last.first, row, column, text)
        else:
            found.append(Comment(row, row, column, token.string))
    return found


def with_comments(code: str, korean: Mapping[str, str]) -> str:
    """Return code with those comments in place of its own that are translated."""
    lines = code.splitlines()
    for comment in reversed(blocks_of_comments(code)):
        if comment.text not in korean:
            continue
        before = lines[comment.first][: comment.column]
        new = korean[comment.text].splitlines()
        lines[comment.first : comment.last + 1] = [before + new[0]] + [
            " " * comment.column + line for line in new[1:]
        ]
    return "\n".join(lines)


def code_differences(english: str, korean: str) -> Iterator[str]:
    """Say where code is not the same but for its comments, or these are English."""
    if tree(english) != tree(korean):
        yield "other code"
        return
    ours = {block.text for block in blocks_of_comments(english)}
    for block in blocks_of_comments(korean):
        if block.text in ours and english_words(block.text) >= COMMENT:
            yield f"comment not translated: {block.text!r}"
    for line in korean.splitlines():
        if has_hangul(line) and width(line) > WIDTH:
            yield f"line of {width(line)} columns, {WIDTH} at most: {line!r}"


def tree(code: str) -> str:
    """Return code as Python understands it, without comments."""
    try:
        return ast.dump(ast.parse(TransformerManager().transform_cell(code)))
    except SyntaxError as error:
        return f"no Python: {error}"


def width(line: str) -> int:
    return sum(1 + (unicodedata.east_asian_width(c) in "WF") for c in line)
