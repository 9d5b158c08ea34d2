"""Links of the built site lead somewhere; read from its files, without a browser."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.browser.conftest import SITE


def dead_links(site: Path) -> list[str]:
    """Return links to files and anchors that a folder of pages does not have."""
    from bs4 import BeautifulSoup

    pages = {
        page.resolve(): BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser")
        for page in site.rglob("*.html")
        if page.parent.name != "_static"  # fragments that the theme includes
    }
    anchors = {
        page: {e["id"] for e in soup.select("[id]")}
        | {e["name"] for e in soup.select("a[name]")}
        for page, soup in pages.items()
    }
    dead = []
    for page, soup in pages.items():
        links = [e["href"] for e in soup.select("[href]")]
        links += [e["src"] for e in soup.select("[src]")]
        for link in sorted(set(links)):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            path = unquote(parts.path)
            target = (page.parent / path).resolve() if path else page
            anchor = unquote(parts.fragment)
            if not target.is_file() or (
                anchor and target in anchors and anchor not in anchors[target]
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
