"""Links of the built site lead somewhere; read from its files, without a browser."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser.conftest import SITE


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs) -> None:
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.add(value)
            elif name == "id" or (tag, name) == ("a", "name"):
                self.anchors.add(value)


def dead_links(site: Path) -> list[str]:
    """Return links to files and anchors that a folder of pages does not have."""
    pages = {
        path.resolve(): Page(path)
        for path in site.rglob("*.html")
        if path.parent.name != "_static"  # fragments that the theme includes
    }
    dead = []
    for page, found in pages.items():
        for link in sorted(found.links):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path)
            target = (page.parent / path).resolve() if path else page
            anchor = unquote(parts.fragment)
            if not target.is_file() or (
                anchor and target in pages and anchor not in pages[target].anchors
            ):
                dead.append(f"{page.relative_to(site.resolve())}: {link}")
    return dead


def test_links_and_anchors_resolve() -> None:
    if not SITE.is_dir():
        pytest.skip(f"no site in {SITE}: run make book")
    assert dead_links(SITE) == []


def test_a_dead_link_is_seen(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "there.html").write_text('<h1 id="a b">There</h1>')
    (tmp_path / "page.html").write_text(
        '<p id="here"><a href="#here">.</a><a href="#">.</a><a href="#nowhere">.</a>'
        '<a href="sub/there.html#a%20b">.</a><a href="sub/there.html#b">.</a>'
        '<a href="gone.html">.</a><img src="gone.png"><a href="https://a.org/b">.</a>'
    )
    assert dead_links(tmp_path) == [
        f"page.html: {link}"
        for link in ("#nowhere", "gone.html", "gone.png", "sub/there.html#b")
    ]
