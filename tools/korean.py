"""Keep the Korean edition in step with the English one, which it copies code from.

    python -m tools.korean                  copy anew, and say what is left to translate
    python -m tools.korean --check          the same, and change nothing
    python -m tools.korean --start PAGE     begin a page: all English, to be translated
    python -m tools.korean --export PAGE    print the words of a page, to be translated
    python -m tools.korean --import FILE    take such words back, translated
    python -m tools.korean --accept PAGE    the Korean holds for the English of today

A page of ``ko/chapters`` has the parts of its twin in ``chapters``: a notebook's cells,
or the sections of a page in Markdown. Each part names the English one that it
translates by its id (of a section: its hash), which depends on all of its text. So when
the English changes, the Korean part is stale until somebody has looked at it. Nothing
is executed: code and outputs are copied, and only comments in code may be Korean.
"""

from __future__ import annotations

import argparse
import difflib
import hashlib
import re
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import yaml
from nbformat import NotebookNode

from tools.chapters import KERNELSPEC, read
from tools.korean_checks import (
    MARKDOWN,
    NUMBER,
    blocks_of_comments,
    code_differences,
    differences,
    figure_differences,
    has_hangul,
    tree,
    with_comments,
    wordless,
)

ROOT = Path(__file__).parents[1]
ENGLISH, KOREAN = ROOT / "chapters", ROOT / "ko" / "chapters"
GLOSSARY = "glossary.md"  # which names other words for its terms
EDITION = ROOT / "ko" / "edition.yml"

# In a page of Markdown: what a section translates
MARK = re.compile(r"^<!-- translates (\S+?)( same)? -->$", re.M)
# In the files for translators: what comes below
BLOCK = re.compile(
    r"^<!-- (page|cell|section|code|caption|alt|english) (\S+?)"
    r"( same| todo| stale)? -->$"
)
# Below a chapter's title: its slides, and the minutes that it takes
HEAD_LINE = re.compile(r"^\*[^\n]*?( · [^\n]*)\*$", re.M)
VERSIONS = 60  # of an English page, to find the words that a stale part translates


@dataclass
class Part:
    """A cell of a notebook, or a section of a page in Markdown."""

    key: str  # of the English part
    kind: str  # cell, code or section
    text: str
    same: bool = False  # nothing in it is to be translated
    figure: dict[str, str] = field(default_factory=dict)  # caption and alt
    figure_key: str = ""  # of the English caption and alt text
    comments: dict[str, str] = field(default_factory=dict)  # English: Korean


Pair = tuple[Part | None, Part | None]


def hashed(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@cache
def edition() -> dict[str, Any]:
    """Return the words of the edition that stand in no page."""
    return yaml.safe_load(EDITION.read_text(encoding="utf-8"))


# -- pages and their parts ------------------------------------------------------------


def pages() -> list[Path]:
    """Return the English pages of the book, as _toc.yml lists them."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    names = [toc["root"]]
    names += [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    found = [
        ENGLISH.parent / f"{name}{end}" for name in names for end in (".ipynb", ".md")
    ]
    return [path for path in found if path.exists()]


def twin(english: Path) -> Path:
    return KOREAN / english.relative_to(ENGLISH)


def parts(path: Path) -> list[Part]:
    """Return the parts of a page; a Korean one's have the keys of the English."""
    if path.suffix == ".ipynb":
        return cells_parts(read(path))
    return sections_parts(path.read_text(encoding="utf-8"))


def parts_of_text(name: str, text: str) -> list[Part]:
    if name.endswith(".ipynb"):
        return cells_parts(nbformat.reads(text, as_version=4))
    return sections_parts(text)


def cells_parts(notebook: NotebookNode) -> list[Part]:
    found = []
    # Not the stored ids: those of an edited notebook are old until make chapters.
    ids = cell_ids(notebook.cells)
    for cell, own in zip(notebook.cells, ids, strict=True):
        kind = "code" if cell.cell_type == "code" else "cell"
        mystnb, data = cell.metadata.get("mystnb", {}), cell.metadata
        part = Part(data.get("translates", own), kind, cell.source.strip("\n"))
        part.same = data.get("translation") == "same"
        part.comments = dict(data.get("translates_comments", {}))
        if "figure" in mystnb:
            part.figure = {
                "caption": mystnb["figure"].get("caption", ""),
                "alt": mystnb.get("image", {}).get("alt", ""),
            }
            part.figure_key = data.get("translates_figure", figure_hash(part))
        found.append(part)
    return found


def cell_ids(cells: list[NotebookNode]) -> list[str]:
    """Return the canonical ids of cells, as tools/chapters.py makes them."""
    return numbered(hashed(f"{c.cell_type}\n{c.source.strip(chr(10))}") for c in cells)


def numbered(keys: Iterable[str]) -> list[str]:
    """Return keys, told apart where they come again."""
    seen: Counter[str] = Counter()
    found = []
    for key in keys:
        seen[key] += 1
        found.append(key if seen[key] == 1 else f"{key}-{seen[key]}")
    return found


def figure_hash(part: Part) -> str:
    return hashed("\n".join(part.figure.values())) if part.figure else ""


def sections_parts(text: str) -> list[Part]:
    lines = text.splitlines()
    starts = [
        token.map[0]
        for token in MARKDOWN.parse(text)
        if token.type == "heading_open" and token.level == 0
    ]
    if any(line.strip() for line in lines[: starts[0] if starts else None]):
        starts = [0, *starts]
    ends = [*starts[1:], len(lines)]
    texts = [
        "\n".join(lines[a:b]).strip("\n") for a, b in zip(starts, ends, strict=True)
    ]
    found = []
    for own, key in zip(texts, numbered(map(hashed, texts)), strict=True):
        if mark := MARK.search(own):
            before, after = own[: mark.start()], own[mark.end() :]
            own = f"{before.rstrip()}\n\n{after.lstrip()}".strip("\n")
        part = Part(mark[1] if mark else key, "section", own)
        part.same = bool(mark and mark[2])
        found.append(part)
    return found


def align(english: list[Part], korean: list[Part]) -> list[Pair]:
    """Put parts beside each other: by key, and what is left by its place.

    A Korean part whose English one has changed goes with the new part that follows the
    same part and is of the same kind.
    """
    by_key = {part.key: part for part in korean}
    known = {part.key for part in english}
    waiting: defaultdict[tuple[str, str], list[Part]] = defaultdict(list)
    last = ""
    for part in korean:
        if part.key in known:
            last = part.key
        else:
            waiting[last, part.kind].append(part)
    pairs: list[Pair] = []
    last = ""
    for part in english:
        if part.key in by_key:
            last = part.key
            pairs.append((part, by_key[part.key]))
        else:
            there = waiting[last, part.kind]
            pairs.append((part, there.pop(0) if there else None))
    pairs += [(None, part) for rest in waiting.values() for part in rest]
    return pairs


# -- writing --------------------------------------------------------------------------


def merged(english: Part, korean: Part | None) -> Part:
    """Return the Korean part as it is to be stored: the English one where none is."""
    if korean is None:
        korean = Part(english.key, english.kind, english.text)
    new = Part(english.key, english.kind, english.text, same=korean.same)
    if english.kind == "code":
        new.comments = comments_of(english, korean)
        new.text = with_comments(english.text, {**common_comments(), **new.comments})
    elif is_translated(korean) and not wordless(english.text):
        new.key, new.text = korean.key, korean.text
    if english.figure:
        new.figure, new.figure_key = english.figure, english.figure_key
        if has_hangul("".join(korean.figure.values())):
            new.figure, new.figure_key = korean.figure, korean.figure_key
    return new


def is_translated(part: Part) -> bool:
    return part.same or has_hangul(part.text)


def comments_of(english: Part, korean: Part) -> dict[str, str]:
    """Return the Korean of the comments that the English code has now.

    Those in the cell itself come first, where its code is the English one.
    """
    found = korean.comments
    ours = blocks_of_comments(english.text)
    theirs = blocks_of_comments(korean.text)
    if korean.key == english.key and len(ours) == len(theirs):
        pairs = zip(ours, theirs, strict=True)
        found = {a.text: b.text for a, b in pairs if a.text != b.text}
    here = {block.text for block in ours}
    common = common_comments()
    return {a: b for a, b in found.items() if a in here and common.get(a) != b}


def common_comments() -> dict[str, str]:
    return edition().get("comments", {})


def stored(english: Path, korean: list[Part]) -> bytes:
    """Return the Korean page's file: the English one with these parts in it."""
    pairs = align(parts(english), korean)
    new = [merged(ours, theirs) for ours, theirs in pairs if ours is not None]
    if english.suffix == ".md":
        text = "\n\n".join(map(marked, new)) + "\n"
    else:
        text = notebook_text(read(english), new)
    return text.encode()


def marked(part: Part) -> str:
    """Return a section with its mark, below its heading."""
    first, _, rest = part.text.partition("\n")
    mark = f"<!-- translates {part.key}{' same' * part.same} -->"
    if not first.startswith("#"):
        return f"{mark}\n\n{part.text}"
    return "\n\n".join(filter(None, [first, mark, rest.strip("\n")]))


def notebook_text(notebook: NotebookNode, korean: list[Part]) -> str:
    cells = []
    for ours, part in zip(notebook.cells, korean, strict=True):
        cell = deepcopy(ours)
        cell.source = part.text
        data = cell.metadata
        data.translates = part.key
        if part.same:
            data.translation = "same"
        if part.comments:
            data.translates_comments = dict(sorted(part.comments.items()))
        if part.figure:
            data.translates_figure = part.figure_key
            data.mystnb.figure.caption = part.figure["caption"]
            data.mystnb.setdefault("image", NotebookNode()).alt = part.figure["alt"]
        for name in ("code_prompt_show", "code_prompt_hide"):
            words = data.get("mystnb", {}).get(name)
            if words:
                data.mystnb[name] = fold(words)
        cells.append(cell)
    for cell, own in zip(cells, cell_ids(cells), strict=True):
        cell.id = own
    metadata = {"kernelspec": KERNELSPEC, "language_info": {"name": "python"}}
    if "mflib" in notebook.metadata:
        metadata["mflib"] = notebook.metadata["mflib"]
    new = NotebookNode(cells=cells, metadata=metadata, nbformat=4, nbformat_minor=5)
    text: str = nbformat.writes(nbformat.from_dict(new), version=4)
    return text.rstrip("\n") + "\n"


def fold(english: str) -> str:
    """Return in Korean what a fold says, or its English where no words are known."""
    words = edition()["folds"]
    verb, _, what = english.partition(" ")
    name = what.removeprefix("the source of ")
    there = words["source"].format(name) if name != what else words.get(what)
    if verb not in words or there is None:
        return english
    korean: str = words[verb].format(there)
    return korean


def write(path: Path, content: bytes) -> bool:
    """Write a page, and return whether that changed it."""
    if path.exists() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return True


# -- what is wrong --------------------------------------------------------------------


@dataclass
class Problem:
    key: str
    what: str
    english: str = ""
    korean: str = ""
    stale: str = ""  # the key of the English text that the Korean translates


def problems(
    english: list[Part], korean: list[Part], *, variants: bool = False
) -> Iterator[Problem]:
    """Say which parts of a page are missing, stale, extra, or differ."""
    for ours, theirs in align(english, korean):
        if ours is None:
            yield Problem(theirs.key, "extra: no English part like it", "", theirs.text)
        elif theirs is None:
            yield Problem(ours.key, "missing", ours.text)
        elif ours.kind == "code":
            yield from code_problems(ours, theirs)
        elif theirs.key != ours.key:
            yield Problem(ours.key, "stale", ours.text, theirs.text, stale=theirs.key)
        else:
            how = {"same": theirs.same, "variants": variants}
            for what in differences(ours.text, theirs.text, **how):
                yield Problem(ours.key, what, ours.text, theirs.text)
        if ours and theirs and ours.figure:
            yield from figure_problems(ours, theirs)


def code_problems(ours: Part, theirs: Part) -> Iterator[Problem]:
    if theirs.key != ours.key:
        yield Problem(ours.key, "stale code: run make korean", ours.text, theirs.text)
    for what in code_differences(ours.text, theirs.text):
        yield Problem(ours.key, what, ours.text, theirs.text)


def figure_problems(ours: Part, theirs: Part) -> Iterator[Problem]:
    texts = ["\n".join(part.figure.values()) for part in (ours, theirs)]
    if has_hangul(texts[1]) and theirs.figure_key != ours.figure_key:
        old = theirs.figure_key
        yield Problem(ours.key, "stale caption or alt text", *texts, stale=old)
        return
    for name, text in ours.figure.items():
        for what in figure_differences(text, theirs.figure.get(name, "")):
            there = theirs.figure.get(name, "")
            yield Problem(ours.key, f"{name}: {what}", text, there)


def copy_problems(english: NotebookNode, korean: NotebookNode) -> Iterator[Problem]:
    """Say where outputs, counts, tags or the notebooks' own metadata differ."""
    if len(english.cells) != len(korean.cells):
        yield Problem(
            "notebook", f"{len(korean.cells)} cells, not {len(english.cells)}"
        )
        return
    if english.metadata != korean.metadata:
        yield Problem("notebook", "other metadata of the notebook")
    for ours, theirs in zip(english.cells, korean.cells, strict=True):
        for name in ("cell_type", "outputs", "execution_count", "attachments"):
            if ours.get(name) != theirs.get(name):
                yield Problem(ours.id, f"other {name}")
        for name, words in ours.metadata.get("mystnb", {}).items():
            if isinstance(words, str) and not has_hangul(fold(words)):
                yield Problem(ours.id, f"{name}: ko/edition.yml has no {words!r}")
        if ours.metadata.get("tags") != theirs.metadata.get("tags"):
            yield Problem(ours.id, "other tags")


def page_problems(english: Path) -> Iterator[Problem]:
    path = twin(english)
    if not path.exists():
        yield Problem("page", f"missing: begin it by --start {english.name}")
        return
    korean = parts(path)
    variants = english.name == GLOSSARY
    yield from problems(parts(english), korean, variants=variants)
    if english.suffix == ".ipynb":
        yield from copy_problems(read(english), read(path))
    if stored(english, korean) != path.read_bytes():
        yield Problem("page", "not as the tool writes it: run make korean")


# -- reports --------------------------------------------------------------------------


def earlier(english: Path, key: str) -> str | None:
    """Return the text of an English part that is no longer there, from git."""
    name = english.relative_to(ENGLISH.parent).as_posix()

    def git(*command: str) -> str:
        line = ["git", *command]
        done = subprocess.run(
            line, cwd=ENGLISH.parent, capture_output=True, check=False
        )
        return done.stdout.decode() if done.returncode == 0 else ""

    log = git("log", f"-{VERSIONS}", "--format=%H", "--", name).split()
    for commit in log:
        text = git("show", f"{commit}:{name}")
        for part in parts_of_text(name, text) if text else []:
            if part.key == key:
                return part.text
            if part.figure_key == key:
                return "\n".join(part.figure.values())
    return None


def show(english: Path, problem: Problem) -> str:
    """Return a problem in words, a stale part with what has changed in English."""
    lines = [f"ko/{english.relative_to(ENGLISH.parent)}: {problem.key}: {problem.what}"]
    if problem.stale:
        old = earlier(english, problem.stale)
        lines += ["  The English now:" if old is None else "  The English changed:"]
        if old is None:
            changed: Iterator[str] = iter(problem.english.splitlines())
        else:
            before, now = old.splitlines(), problem.english.splitlines()
            changed = (line for line in difflib.ndiff(before, now) if line[0] != "?")
        lines += [f"    {line}" for line in changed]
        lines += ["  The Korean:"]
        lines += [f"    {line}" for line in problem.korean.splitlines()]
    return "\n".join(lines)


# -- the files for translators --------------------------------------------------------


def export(english: Path, *, both: bool = False) -> str:
    """Return the words of a page, each part below a line with its key.

    With ``both``, and where a part is stale, the English stands above the Korean.
    """
    korean = parts(twin(english)) if twin(english).exists() else []
    out = [f"<!-- page {english.relative_to(ENGLISH).as_posix()} -->"]

    def add(
        kind: str, key: str, now: str, there: str, is_stale: bool, same: bool
    ) -> None:
        how = " same" if same else " stale" if is_stale else ""
        if not same and not has_hangul(there):
            how, there = " todo", now
        if is_stale or (both and how != " todo"):
            out.append(f"<!-- english {key} -->\n{now}")
        out.append(f"<!-- {kind} {key}{how} -->\n{there}")

    for ours, theirs in align(parts(english), korean):
        if ours is None or (ours.kind != "code" and wordless(ours.text)):
            continue
        theirs = theirs or Part(ours.key, ours.kind, ours.text)
        if ours.kind != "code":
            stale = theirs.key != ours.key
            add(ours.kind, ours.key, ours.text, theirs.text, stale, theirs.same)
        else:
            common = common_comments()
            own = [b for b in blocks_of_comments(ours.text) if b.text not in common]
            if own:
                now = fenced(ours.text)
                there = fenced(merged(ours, theirs).text)
                add("code", ours.key, now, there, False, False)
        for name, text in ours.figure.items():
            stale = theirs.figure_key != ours.figure_key
            add(name, ours.key, text, theirs.figure.get(name, ""), stale, False)
    return "\n\n".join(out) + "\n"


def same_comments(english: str, korean: str) -> bool:
    """Return whether code is the same, with as many comments."""
    counts = [len(blocks_of_comments(code)) for code in (english, korean)]
    return counts[0] == counts[1] and tree(english) == tree(korean)


def fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def blocks(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield kind, key, state and text of what a translator's file holds."""
    head, lines = None, []
    for line in [*text.splitlines(), None]:
        found = BLOCK.match(line) if line is not None else None
        if line is None or found:
            if head:
                words = "\n".join(lines).strip("\n")
                yield head[1], head[2], (head[3] or "").strip(), words
            head, lines = found, []
        else:
            lines.append(line)


def take(text: str) -> tuple[Path, list[str]]:
    """Store the words of a translator's file; return the page, and what is odd."""
    found = list(blocks(text))
    if not found or found[0][0] != "page":
        raise SystemExit("The first line must be <!-- page NAME -->, as --export gives")
    english = ENGLISH / found[0][1]
    ours = {part.key: part for part in parts(english)}
    korean = parts(twin(english)) if twin(english).exists() else []
    # What is not translated comes from the English, when the page is stored.
    korean = [part for part in korean if part.kind == "code" or is_translated(part)]
    odd: list[str] = []
    at = 0  # where a part goes that the page lacks: behind the one before it
    # Each is known by the key of the English that it goes with; if stale, by its own.
    known = {part.key: part for part in korean}
    pairs = align(list(ours.values()), korean)
    known |= {a.key: b for a, b in pairs if a and b}
    for kind, key, how, words in found[1:]:
        if kind == "english":
            continue
        if key not in known:
            words_kind = kind if kind in ("cell", "section") else "code"
            text = ours[key].text if key in ours else ""
            known[key] = Part(key, words_kind, text)
            korean.insert(at, known[key])
        part = known[key]
        at = korean.index(part) + 1
        if kind in ("cell", "section"):
            if how == "same" or has_hangul(words):
                part.key, part.text, part.same = key, words, how == "same"
        elif kind == "code":
            code = re.sub(r"\A```python\n|\n```\Z", "", words)
            if key in ours and not same_comments(ours[key].text, code):
                odd.append(f"code {key}: other code, or number of comments: left out")
            else:
                part.key, part.text = key, code
        elif has_hangul(words):
            part.figure = {**part.figure, kind: words}
            part.figure_key = ours[key].figure_key if key in ours else "gone"
    write(twin(english), stored(english, korean))
    return english, odd


# -- the command ----------------------------------------------------------------------


def find(name: str) -> Path:
    """Return the English page of a name: a path in either edition, or its beginning."""
    stem = Path(name).name
    there = [page for page in pages() if page.name.startswith(stem)]
    if len(there) != 1:
        raise SystemExit(f"{name}: {[page.name for page in there]} begin so, not one")
    return there[0]


def accept(english: Path) -> None:
    """Let the stale parts of a page hold for the English as it is now."""
    korean = parts(twin(english))
    for ours, theirs in align(parts(english), korean):
        if ours and theirs:
            theirs.key = ours.key
            if has_hangul("".join(theirs.figure.values())):
                theirs.figure_key = ours.figure_key
    write(twin(english), stored(english, korean))


def refresh(english: Path) -> None:
    path = twin(english)
    korean = parts(path)
    for ours, theirs in align(parts(english), korean):
        if theirs is None or theirs.kind == "code":
            continue
        if ours is None:
            print(f"{path}: taken out, as its English is gone:\n{theirs.text}\n")
        elif theirs.key != ours.key and HEAD_LINE.search(ours.text):
            old = earlier(english, theirs.key)
            if old and (new := with_minutes(old, ours.text, theirs.text)):
                theirs.key, theirs.text = ours.key, new
    if write(path, stored(english, korean)):
        print(f"ko/{english.relative_to(ENGLISH.parent)}: copied anew")


def with_minutes(old: str, new: str, korean: str) -> str | None:
    """Return a chapter's head with the minutes of the new English one.

    None where more than those differ: tools/reading.py counts them again and again.
    """
    before, after, there = (HEAD_LINE.search(text) for text in (old, new, korean))
    if not (before and after and there) or before[0] == after[0]:
        return None
    if HEAD_LINE.sub("", old) != HEAD_LINE.sub("", new):
        return None
    if NUMBER.sub("0", before[1]) != NUMBER.sub("0", after[1]):
        return None
    numbers = NUMBER.findall(after[1])
    if NUMBER.findall(there[1]) != NUMBER.findall(before[1]):
        return None
    line = NUMBER.sub(lambda _: numbers.pop(0), there[1])
    return korean[: there.start(1)] + line + korean[there.end(1) :]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.partition("\n")[0],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("pages", nargs="*", help="default: all that have begun")
    how = parser.add_mutually_exclusive_group()
    for name in ("check", "start", "export", "import", "accept"):
        how.add_argument(f"--{name}", action="store_true", dest=f"do_{name}")
    parser.add_argument("--both", action="store_true", help="--export: both languages")
    options = parser.parse_args()
    if options.do_import:
        chosen = []
        for name in options.pages:
            english, odd = take(Path(name).read_text(encoding="utf-8"))
            chosen.append(english)
            print(*odd, sep="\n", end="\n" * bool(odd))
    else:
        chosen = [find(name) for name in options.pages] or pages()
    if options.do_export:
        print("\n".join(export(page, both=options.both) for page in chosen), end="")
        return 0
    failed = False
    for page in chosen:
        if options.do_start and not twin(page).exists():
            write(twin(page), stored(page, []))
        if options.do_accept:
            accept(page)
        if not twin(page).exists():
            if not options.do_start:
                print(f"ko/{page.relative_to(ENGLISH.parent)}: missing")
                failed = True
            continue
        if not options.do_check:
            refresh(page)
        found = list(page_problems(page))
        failed |= bool(found)
        print(
            *(show(page, problem) for problem in found),
            sep="\n",
            end="\n" * bool(found),
        )
    return int(failed and not options.do_start)


if __name__ == "__main__":
    sys.exit(main())
