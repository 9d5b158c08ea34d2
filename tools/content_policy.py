"""Let the pages of the built site run their own inline scripts, and no others.

Their Content-Security-Policy (``tools/templates/layout.html``) allows every inline
script. This puts the hashes of those that a page holds in the place of that: a script
that comes into a page later, from a search's words in its address for example, does
not run.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

from bs4 import BeautifulSoup
from bs4.filter import ElementFilter

SITE = Path(__file__).parents[1] / "_build" / "html"
LOOSE = "script-src 'self' file: 'unsafe-inline';"


def source(script: str) -> str:
    """Return how a policy names an inline script."""
    # As a browser reads it: a file's line ends are all line feeds.
    script = script.replace("\r\n", "\n").replace("\r", "\n")
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


class Scripts(ElementFilter):
    """What of a page holds scripts: to parse the rest takes most of the time."""

    def allow_tag_creation(self, nsprefix, name, attrs) -> bool:
        return name == "script" or any(key.startswith("on") for key in attrs or ())

    def allow_string_creation(self, string) -> bool:
        return False


def scripts(page: BeautifulSoup) -> set[str]:
    return {source(s.get_text()) for s in page.select("script:not([src])")}


def handlers(page: BeautifulSoup) -> set[str]:
    """Return the sources of what stands in attributes such as ``onclick``."""
    return {
        source(value)
        for tag in page.find_all(True)
        for name, value in tag.attrs.items()
        if name.startswith("on")
    }


def tighten(pages: list[str]) -> list[str]:
    """Return the pages with policies that name their scripts."""
    parsed = [
        BeautifulSoup(page, "html.parser", parse_only=Scripts()) for page in pages
    ]
    # Of all pages, as the search reads excerpts out of them. They count where a policy
    # says 'unsafe-hashes'.
    attributes = sorted(set().union(*map(handlers, parsed)))
    if attributes:
        attributes.append("'unsafe-hashes'")
    strict = [
        " ".join(["script-src 'self' file:", *sorted(scripts(page)), *attributes])
        for page in parsed
    ]
    return [
        page.replace(LOOSE, f"{rule};", 1)
        for page, rule in zip(pages, strict, strict=True)
    ]


def main(site: Path = SITE) -> int:
    # newline="": a browser hashes what is in the file
    pages = {}
    for path in sorted(site.rglob("*.html")):
        with path.open(encoding="utf-8", newline="") as file:
            pages[path] = file.read()
    changed = 0
    for path, page in zip(pages, tighten(list(pages.values())), strict=True):
        if page != pages[path]:
            changed += 1
            with path.open("w", encoding="utf-8", newline="") as file:
                file.write(page)
    if not changed:
        print(f"No page in {site} has the policy of tools/templates/layout.html")
    return 0 if changed else 1


if __name__ == "__main__":
    sys.exit(main())
