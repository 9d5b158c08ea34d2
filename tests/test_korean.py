"""The Korean edition has every page, holds what the English holds, and uses one word.

The checks run on the book, and on a copy of it with a dummy translation, in which one
thing is broken at a time.
"""

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import nbformat
import pytest
import yaml
from docutils.core import publish_doctree

from tests.dummy_korean import MARK, translated_file
from tools import headings, korean, korean_checks, korean_site

GLOSSARY = korean.ENGLISH / "appendix" / "glossary.md"
ALL = korean.pages()
CHAPTER_1, CHAPTER_3 = ALL[1], ALL[3]


# -- the book -------------------------------------------------------------------------


@pytest.mark.parametrize("english", ALL, ids=lambda page: page.stem)
def test_a_page_is_translated(english: Path) -> None:
    found = [korean.show(english, problem) for problem in korean.page_problems(english)]
    assert found == []


def test_there_are_no_other_pages() -> None:
    known = {korean.twin(english) for english in ALL}
    found = set(korean.KOREAN.rglob("*.ipynb")) | set(korean.KOREAN.rglob("*.md"))
    assert {p for p in found if ".ipynb_checkpoints" not in p.parts} <= known


def test_korean_headings_are_told_apart() -> None:
    if lost := korean_site.missing(korean.KOREAN):
        pytest.skip(f"no page {lost[0]}, and test_a_page_is_translated fails")
    assert korean_site.english_headings(korean.KOREAN)


def test_the_site_has_korean_words_for_its_own() -> None:
    config = korean_site.config()
    assert config["sphinx"]["config"]["language"] == "ko"
    captions = [part["caption"] for part in korean_site.contents()["parts"]]
    for words in [config["title"], *captions]:
        assert korean_checks.has_hangul(words)


@pytest.mark.parametrize(
    ("english", "words"),
    [
        ("Show the solution", "풀이 보기"),
        ("Hide the source of mflib.fit", "mflib.fit 소스 코드 숨기기"),
        ("Show what is new", "Show what is new"),
    ],
)
def test_a_fold_is_named_in_korean(english: str, words: str) -> None:
    assert korean.fold(english) == words


def test_a_particle_stays_on_the_line_of_its_bracket() -> None:
    page = publish_doctree("랭크(rank)는 ``f()``\\ 를 (``g``) 씁니다. “말”이 ``a)가``")
    korean_site.Particles(page).run()
    joined = page.astext().replace("\u2060", "|")
    assert joined == "랭크(rank)|는 f()|를 (g) 씁니다. “말”|이 a)가"


# -- terms ----------------------------------------------------------------------------


def test_a_term_stands_once_in_the_table() -> None:
    terms = korean_checks.terms()
    assert max(Counter(term.english for term in terms).values()) == 1
    assert max(Counter(term.korean for term in terms).values()) == 1
    for term in terms:
        assert korean_checks.has_hangul(term.korean), term.english
        assert list(korean_checks.wrong_terms(term.korean)) == []


def test_the_table_has_the_words_of_the_glossary() -> None:
    table = {term.english: term.korean for term in korean_checks.terms()}
    entries = re.findall(
        r'^### (.+)\n\n<span lang="ko">([^<]+)</span>',
        GLOSSARY.read_text(encoding="utf-8"),
        re.M,
    )
    assert len(entries) > 50
    for english, words in entries:
        first = re.sub(r"\([^)]*\)", "", words).partition(",")[0]
        assert table.get(english) == " ".join(first.split()), english


# -- two texts ------------------------------------------------------------------------

ENGLISH = """## The objective J · core

It falls by 12 % over `epochs` of [training](a.md#fit): $J$ is **small**.

- one
- two

$$
J = \\text{error}
$$ (eq-j)

<div class="admonition slide"><p class="admonition-title"><strong>Slide</strong></p>

Right.

</div>

```python
x = 1  # the number of all ratings
```
"""
KOREAN = """## 목적 함수 J · 핵심

[훈련](a.md#fit)하는 `epochs` 동안 12% 줄어듭니다. $J$는 **작습니다**.

- 하나
- 둘

$$
J = \\text{오차}
$$ (eq-j)

<div class="admonition slide"><p class="admonition-title"><strong>슬라이드</strong></p>

맞습니다.

</div>

```python
x = 1  # 평점의 개수
```
"""


def test_a_good_translation_passes() -> None:
    assert list(korean_checks.differences(ENGLISH, KOREAN)) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("a.md#fit", "a.md#fits", "links that are missing: ['a.md#fit']"),
        ("$J$는", "J는", "formulas that are missing: ['J']"),
        ("J = ", "L = ", "formulas that are missing"),
        ("(eq-j)", "(eq-l)", "formulas that are missing"),
        ("\\text{오차}", "오차", "Hangul in a formula"),
        ("`epochs`", "`epoch`", "code spans that are missing"),
        ("12%", "21%", "numbers that are missing: ['12']"),
        ("- 하나\n", "", "items that are missing: ['li']"),
        ("admonition slide", "admonition theorem", "HTML tags that are missing"),
        ("</div>", "", "HTML tags that are missing: ['</div>']"),
        ("<strong>슬라이드", "<strong>Slide", "title or answer not translated: 'Slide"),
        ("## 목적", "### 목적", "headings: "),
        (" · 핵심", "", "must end in · 핵심"),
        (" · 핵심", " · 심화", "must end in · 핵심"),
        ("x = 1", "x = 2", "other code"),
        ("# 평점의 개수", "# the number of all ratings", "comment not translated"),
        ("# 평점의 개수", "# " + 50 * "가", "line of 109 columns"),
        ("**작습니다**.", "**작습니다(small)**는 값입니다.", "stray '*'"),
        ("$J$는", "$J$는 $", "stray '$'"),
        ("**작습니다**.", "작습니다\n(1장).", "a space between '작습니다' and"),
        ("[훈련](a.md#fit)", "[훈련]\\(a.md#fit)", "links that are missing"),
        ("[훈련](a.md#fit)하는", "[훈련](a.md#fit)[훈련](a b)하는", "stray ']('"),
        ("하나", "One of two things that it does", "not translated: 'One of"),
        ("작습니다", "정규화입니다", "stands for '규제'"),
    ],
)
def test_what_differs_is_named(old: str, new: str, problem: str) -> None:
    assert old in KOREAN
    found = list(korean_checks.differences(ENGLISH, KOREAN.replace(old, new)))
    assert any(problem in one for one in found), found


def test_english_passes_only_where_it_is_marked() -> None:
    (found,) = korean_checks.differences("Some words", "Some words")
    assert found.startswith("not translated")
    assert list(korean_checks.differences("Some words", "Some words", same=True)) == []
    assert list(korean_checks.differences("$x = 1$ `code`", "$x = 1$ `code`")) == []


def test_a_heading_that_names_a_work_stays_english() -> None:
    work, other = (f"## Koren and Bell{end}\n\n" for end in (", 2009", ""))
    assert list(korean_checks.differences(work + "Words", work + "글")) == []
    (found,) = korean_checks.differences(other + "Words", other + "글")
    assert found.startswith("heading not translated")


CODE = """\
# One line
# and another
%pip install it
x = "# no comment"  # the end
"""


def test_comments_are_found_and_replaced() -> None:
    blocks = korean_checks.blocks_of_comments(CODE)
    assert [block.text for block in blocks] == [
        "# One line\n# and another",
        "# the end",
    ]
    new = {blocks[0].text: "# 한 줄", blocks[1].text: "# 끝"}
    code = korean_checks.with_comments(CODE, new)
    assert code == '# 한 줄\n%pip install it\nx = "# no comment"  # 끝'
    assert list(korean_checks.code_differences(CODE, code)) == []


# -- a book with a dummy translation --------------------------------------------------


@pytest.fixture(scope="module")
def dummies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the English pages, and all of them in what looks like Korean."""
    folder = tmp_path_factory.mktemp("book")
    shutil.copytree(korean.ENGLISH, folder / "chapters")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(korean, "ENGLISH", folder / "chapters")
        patch.setattr(korean, "KOREAN", folder / "ko" / "chapters")
        for english in korean.pages():
            _, odd = korean.take(translated_file(korean.export(english)))
            assert odd == []
    return folder


@pytest.fixture
def book(dummies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "book"
    shutil.copytree(dummies, folder)
    monkeypatch.setattr(korean, "ENGLISH", folder / "chapters")
    monkeypatch.setattr(korean, "KOREAN", folder / "ko" / "chapters")
    return folder


def problems(english: Path) -> list[str]:
    return [f"{p.key}: {p.what}" for p in korean.page_problems(english)]


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def here(english: Path) -> Path:
    return korean.ENGLISH / english.relative_to(GLOSSARY.parents[1])


def test_every_page_can_be_translated(book: Path) -> None:
    found = {page.name: problems(page) for page in korean.pages()}
    assert {name: one for name, one in found.items() if one} == {}
    assert korean_site.missing(korean.KOREAN) == []


def some_words(path: Path) -> str:
    """Return the beginning of some sentence of a page, without any signs."""
    texts = [part.text for part in korean.parts(path)[1:] if part.kind == "cell"]
    return next(filter(None, map(PLAIN.search, texts)))[0]


PLAIN = re.compile(r"^[A-Z][a-z]+(?: [a-z]+){4}", re.M)


def test_a_changed_sentence_names_its_cell(book: Path) -> None:
    page = here(CHAPTER_1)
    commit(book)
    words = some_words(page)
    edit(page, words, "Quite another word")
    key = next(p.key for p in korean.parts(page) if "Quite another word" in p.text)
    (problem,) = korean.page_problems(page)
    assert (problem.key, problem.what) == (key, "stale")
    shown = korean.show(page, problem)
    assert f"ko/chapters/{page.name}: {key}: stale" in shown
    assert f"- {words}" in shown
    assert "+ Quite another word" in shown
    assert MARK in shown.partition("The Korean:")[2]
    korean.refresh(page)  # which must not settle it
    assert problems(page) == [f"{key}: stale"]
    korean.accept(page)
    assert problems(page) == []


HEAD = "# {}\n\n*[S1 S2](a.md) · {} · {}*\n\n{}"


@pytest.mark.parametrize(
    ("old", "new", "korean_line", "expected"),
    [
        (
            "core 5 minutes, all 9",
            "core 6 minutes, all 12",
            "핵심 5분, 전체 9분",
            "6 12",
        ),
        ("core 5 minutes, all 9", "core 6 minutes, all 9", "핵심 4분, 전체 9분", None),
        ("core 5 minutes, all 9", "all 9", "핵심 5분, 전체 9분", None),
    ],
)
def test_minutes_follow_by_themselves(old, new, korean_line, expected) -> None:
    there = HEAD.format("제목", korean_line, "실행 20초", "글")
    a, b = (HEAD.format("Title", x, "20 seconds to run", "Text") for x in (old, new))
    found = korean.with_minutes(a, b, there)
    if expected is None:
        assert found is None
    else:
        assert re.findall(r"(\d+)분", found) == expected.split()
    assert korean.with_minutes(a, b.replace("Text", "Words"), there) is None
    assert korean.with_minutes(a, a, there) is None


def commit(folder: Path) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "."], [*who, "commit", "-qm", "All"]):
        subprocess.run(["git", *command], cwd=folder, check=True)


def test_a_changed_section_of_a_page_names_it(book: Path) -> None:
    page = here(GLOSSARY)
    section = next(part for part in korean.parts(page) if "### " in part.text)
    word = section.text.split()[-3]
    edit(page, section.text, section.text.replace(word, f"quite {word}"))
    key = next(p.key for p in korean.parts(page) if f"quite {word}" in p.text)
    assert problems(page) == [f"{key}: stale"]


def test_new_and_deleted_cells_are_named(book: Path) -> None:
    page = here(CHAPTER_1)
    notebook = nbformat.read(page, as_version=4)
    words = some_words(page)
    i = next(i for i, c in enumerate(notebook.cells) if words in c.source)
    gone = korean.parts(page)[i].key
    notebook.cells[i + 1 : i + 1] = [nbformat.v4.new_markdown_cell("Something new")]
    nbformat.write(notebook, page)
    found = problems(page)
    assert any(one.endswith(": missing") for one in found)
    korean.refresh(page)
    (found,) = problems(page)
    assert "not translated" in found
    del notebook.cells[i : i + 2]
    nbformat.write(notebook, page)
    assert f"{gone}: extra: no English part like it" in problems(page)
    korean.refresh(page)
    assert problems(page) == []


def code_cell(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    return next(c for c in notebook.cells if "J_loop = 0.0" in c.source)


def test_code_and_outputs_are_copied_and_comments_stay(book: Path) -> None:
    page = here(CHAPTER_1)
    notebook = nbformat.read(page, as_version=4)
    cell = code_cell(notebook)
    cell.source = cell.source.replace("J_loop = 0.0", "J_loop = 0.0 + 0.0")
    cell.outputs = [nbformat.v4.new_output("stream", text="other\n")]
    cell.metadata.mystnb = {"code_prompt_show": "Show what is new"}
    nbformat.write(notebook, page)
    found = problems(page)
    assert any(one.endswith("no 'Show what is new'") for one in found)
    assert any(one.endswith("stale code: run make korean") for one in found)
    assert any(one.endswith("other code") for one in found)
    assert any(one.endswith("other outputs") for one in found)
    before = korean.twin(page).read_text(encoding="utf-8").count(f"# {MARK}")
    del cell.metadata["mystnb"]
    nbformat.write(notebook, page)
    korean.refresh(page)
    assert problems(page) == []
    assert korean.twin(page).read_text(encoding="utf-8").count(f"# {MARK}") == before


def test_a_caption_is_stale_by_itself(book: Path) -> None:
    page = here(CHAPTER_1)
    caption = next(p for p in korean.parts(page) if p.figure).figure["caption"]
    edit(page, caption[:20], "What this shows, and ")
    (found,) = problems(page)
    assert found.endswith("stale caption or alt text")
    korean.refresh(page)
    assert len(problems(page)) == 1


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ('"text/plain"', '"text/html"', "other outputs"),
        ('"execution_count": 2', '"execution_count": 9', "other execution_count"),
        ('"hide-input"', '"hide-cell"', "other tags"),
        ("train.dense()", "test.dense()", "other code"),
        ("appendix/glossary.md#sparse)", "appendix/glossary.md#dense)", "links"),
        (f"{MARK} ", "", "not as the tool writes it"),
    ],
)
def test_what_is_broken_in_a_korean_notebook_is_named(book, old, new, problem) -> None:
    page = here(CHAPTER_1)
    edit(korean.twin(page), old, new)
    assert any(problem in one for one in problems(page)), problems(page)


def test_a_page_that_is_missing_is_named(book: Path) -> None:
    page = here(CHAPTER_1)
    korean.twin(page).unlink()
    assert problems(page) == [f"page: missing: begin it by --start {page.name}"]
    assert korean_site.missing(korean.KOREAN) == [f"chapters/{page.name}"]


@pytest.mark.parametrize("english", [CHAPTER_3, GLOSSARY], ids=["notebook", "page"])
def test_exported_words_come_back_as_they_were(book: Path, english: Path) -> None:
    page = here(english)
    before = korean.twin(page).read_bytes()
    exported = korean.export(page, both=True)
    assert " todo -->" not in exported
    korean.take(exported)
    assert korean.twin(page).read_bytes() == before


def test_words_of_a_changed_english_stay_stale(book: Path) -> None:
    page = here(CHAPTER_1)
    exported = korean.export(page)
    edit(page, some_words(page), "Quite another word")
    korean.twin(page).unlink()
    korean.take(exported)
    (found,) = problems(page)
    assert found.endswith(": stale")


def test_a_heading_that_stands_for_two_is_named(book: Path) -> None:
    folder = korean.KOREAN
    assert korean_site.english_headings(folder)
    titles = [
        title
        for part in korean.parts(korean.twin(here(CHAPTER_3)))
        for title in korean_site.titles(part)
    ]
    first, second = (headings.split(title)[0] for title in titles[1:3])
    edit(korean.twin(here(CHAPTER_3)), second, first)
    with pytest.raises(ValueError, match="stands for"):
        korean_site.english_headings(folder)


def test_the_settings_are_the_english_ones_but_for_words(tmp_path: Path) -> None:
    ours = yaml.safe_load((korean.ROOT / "_config.yml").read_text(encoding="utf-8"))
    new = korean_site.config()
    for name in ("execute", "parse", "launch_buttons", "latex"):
        assert new[name] == ours[name]
    assert new["repository"] == {**ours["repository"], "path_to_book": "ko"}
    changed = {
        name
        for name, value in new["sphinx"]["config"].items()
        if value != ours["sphinx"]["config"].get(name)
    }
    assert changed == {
        "extensions",
        "html_context",
        "html_theme_options",
        "language",
        "nb_code_prompt_hide",
        "nb_code_prompt_show",
    }
