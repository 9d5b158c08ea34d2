"""Headings with a tag: the anchor is without it, and readers see it."""

import subprocess
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tests import tiny_book
from tools import headings


@pytest.mark.parametrize(
    ("title", "words", "tag", "slug"),
    [
        ("Gradients by hand · core", "Gradients by hand", "core", "gradients-by-hand"),
        ("λ and η · extra", "λ and η", "extra", "λ-and-η"),
        ("경사 하강법 · 핵심", "경사 하강법", "핵심", "경사-하강법"),
        ("심화 · 심화", "심화", "심화", "심화"),
        ("The core", "The core", "", "the-core"),
        ("Left · core · right", "Left · core · right", "", "left--core--right"),
        ("Apple·core", "Apple·core", "", "applecore"),
    ],
)
def test_a_tag_is_no_part_of_the_anchor(title, words, tag, slug) -> None:
    assert headings.split(title) == (words, tag)
    assert headings.slug(title) == slug


PAGE = """# Title

[one](#by-hand), [two](#by-hand-1), [three](#the-norm-of-),
[](#by-hand), [there](other.md#read-λ-twice)

## By hand · core

### By hand

### The norm of $w$ · extra

#### Deeper · extra
"""
OTHER = """# Other

## Read `λ` *twice* · 심화

[back](page.md#by-hand), [](#read-λ-twice)
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("book")
    done = tiny_book.build(folder, {"page.md": PAGE, "other.md": OTHER})
    assert done.returncode == 0, done.stdout
    return folder / "_build" / "html"


def read(site: Path, name: str) -> BeautifulSoup:
    page = (site / "chapters" / f"{name}.html").read_text(encoding="utf-8")
    return BeautifulSoup(page, "html.parser")


def test_sections_have_their_anchors_for_ids(site: Path) -> None:
    page, other = read(site, "page"), read(site, "other")
    ids = [s["id"] for s in page.select("article section")]
    assert ids[:4] == ["title", "by-hand", "by-hand-1", "the-norm-of-"]
    links = [a["href"] for a in page.select("article p a.reference")]
    assert links[:4] == ["#by-hand", "#by-hand-1", "#the-norm-of-", "#by-hand"]
    assert links[4] == "other.html#read-λ-twice"
    assert [s["id"] for s in other.select("article section")] == [
        "other",
        "read-λ-twice",
    ]


def test_readers_see_the_tags(site: Path) -> None:
    page, other = read(site, "page"), read(site, "other")
    shown = [
        (tag.parent.name, tag["class"], tag.get_text())
        for tag in [
            *page.select("article .section-tag"),
            *other.select("h2 .section-tag"),
        ]
    ]
    assert shown == [
        ("h2", ["section-tag", "core"], " · core"),
        ("h3", ["section-tag", "extra"], " · extra"),
        ("h4", ["section-tag", "extra"], " · extra"),
        ("h2", ["section-tag", "extra"], " · 심화"),
    ]
    contents = page.select("nav.page-toc a")
    assert " ".join(contents[0].get_text().split()) == "By hand · core"
    assert contents[0].select_one(".section-tag.core")
    assert not contents[1].select(".section-tag")
    # The text of a link that has none of its own is the heading's words.
    assert page.select("article p a.reference")[3].get_text() == "By hand"


def test_links_without_a_place_are_found(tmp_path: Path) -> None:
    page = "# Title\n\n[there](#by-hand-core)\n\n## By hand · core\n"
    done: subprocess.CompletedProcess = tiny_book.build(tmp_path, {"page.md": page})
    assert done.returncode != 0
    assert "by-hand-core" in done.stdout
