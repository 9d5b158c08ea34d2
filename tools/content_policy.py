"""Let the pages of the built site run their own inline scripts, and no others.

Their Content-Security-Policy (``tools/templates/layout.html``) allows every inline script.
This puts the hashes of those that a page holds in the place of that: a script that comes
into a page later, from a search's words in its address for example, does not run.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from pathlib import Path

from bs4 import BeautifulSoup

SITE = Path(__file__).parents[1] / "_build" / "html"
LOOSE = "script-src 'self' file: 'unsafe-inline';"


def source(script: str) -> str:
    """Return how a policy names an inline script."""
    # As a browser reads it: a file's line ends are all line feeds.
    script = script.replace("\r\n", "\n").replace("\r", "\n")
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def sources(page: str) -> list[str]:
    """Return the sources of all inline scripts and event handlers of a page."""
    soup = BeautifulSoup(page, "html.parser")
    scripts = {source(s.get_text()) for s in soup.select("script:not([src])")}
    handlers = {
        source(value)
        for tag in soup.find_all(True)
        for name, value in tag.attrs.items()
        if name.startswith("on")
    }
    # Hashes of handlers count only where a policy says so.
    return sorted(scripts | handlers) + ["'unsafe-hashes'"] * bool(handlers)


def tighten(page: str) -> str:
    strict = " ".join(["script-src 'self' file:", *sources(page)])
    return page.replace(LOOSE, f"{strict};", 1)


def main(site: Path = SITE) -> int:
    found = 0
    for path in site.rglob("*.html"):
        # newline="": the bytes that a browser gets are those that were hashed
        with path.open(encoding="utf-8", newline="") as file:
            page = file.read()
        if LOOSE in page:
            with path.open("w", encoding="utf-8", newline="") as file:
                file.write(tighten(page))
            found += 1
    if not found:
        print(f"No page in {site} has the policy of tools/templates/layout.html")
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main())
