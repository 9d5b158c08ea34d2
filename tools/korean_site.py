"""Build the Korean edition of the site: a part of ``make book``.

The pages of ``ko/chapters`` are laid over a copy of all else that the English site is
built from, so that every path in them, and in the one ``_config.yml``, leads to the
same place. As a Sphinx extension, this gives Korean headings the English anchors, and
the furniture of the pages Korean words.
"""

from __future__ import annotations

import argparse
import gettext
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from babel.messages import mofile, pofile
from docutils import nodes
from sphinx import locale
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.transforms.post_transforms import SphinxPostTransform

from tools import headings, korean
from tools.korean_checks import Content

ROOT = Path(__file__).parents[1]
LOCALE = ROOT / "ko" / "locale"
JOINER = "\u2060"  # no width, and no break beside it
BEFORE_PARTICLE = re.compile("(?<=[)”’\\]%])(?=[가-힣])")
CATALOGS = ("sphinx", "booktheme")
PAGES = {".ipynb", ".md"}
MESSAGES = """\
Object.assign(Documentation.TRANSLATIONS, {});
Documentation.PLURAL_EXPR = () => 0;
Documentation.LOCALE = "ko";
"""


# -- building -------------------------------------------------------------------------


def config() -> dict[str, Any]:
    """Return the settings of the Korean site: those of the English, in Korean."""
    own = korean.edition()
    new = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    new["title"], new["author"] = own["title"], own["author"]
    new["repository"]["path_to_book"] = "ko"
    sphinx = new["sphinx"]
    sphinx["local_extensions"] = dict.fromkeys(sphinx["local_extensions"], str(ROOT))
    sphinx["local_extensions"]["tools.korean_site"] = str(ROOT)
    settings = sphinx["config"]
    settings["extensions"].append("tools.korean_site")
    settings["language"] = "ko"
    for name in ("nb_code_prompt_show", "nb_code_prompt_hide"):
        settings[name] = korean.fold(settings[name])
    search = own["words"]["Search this book..."]
    settings["html_theme_options"]["search_bar_text"] = search
    settings["html_context"]["other_edition"] = own["other_edition"]
    return new


def contents() -> dict[str, Any]:
    """Return _toc.yml with Korean captions."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    for part in toc["parts"]:
        part["caption"] = korean.edition()["captions"][part["caption"]]
    return toc


def lay_out(folder: Path, pages: Path) -> None:
    """Make a folder that Jupyter Book can build, with the Korean pages in it."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(pages, folder / "chapters")
    for path in korean.ENGLISH.rglob("*"):
        target = folder / "chapters" / path.relative_to(korean.ENGLISH)
        if path.is_file() and path.suffix not in PAGES and not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, target)
    for name in ("assets", "tools/templates"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copy(ROOT / "ko" / "index.html", folder / "assets" / "index.html")
    for name, content in (("_config.yml", config()), ("_toc.yml", contents())):
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        (folder / name).write_text(text, encoding="utf-8")


def missing(pages: Path) -> list[str]:
    """Return the pages of the book that the Korean edition lacks."""
    names = [page.relative_to(korean.ENGLISH) for page in korean.pages()]
    return [f"{pages.name}/{name}" for name in names if not (pages / name).exists()]


def build(folder: Path, pages: Path) -> int:
    """Build the Korean site in a folder, without a warning."""
    if lost := missing(pages):
        print("The Korean edition lacks", ", ".join(lost))
        return 1
    lay_out(folder, pages)
    command = "from jupyter_book.cli.main import main; main()"
    options = ["-W", "-n", "--keep-going", "-q"]
    return subprocess.run(
        [sys.executable, "-c", command, "build", str(folder), *options],
        cwd=ROOT,
        check=False,
    ).returncode


# -- the extension --------------------------------------------------------------------


def english_headings(pages: Path) -> dict[str, str]:
    """Return the English of each Korean heading; ValueError where that is not one."""
    found: dict[str, str] = {}
    for english in korean.pages():
        there = pages / english.relative_to(korean.ENGLISH)
        ours, theirs = (
            [title for part in korean.parts(path) for title in titles(part)]
            for path in (english, there)
        )
        for title, ko in zip(ours, theirs, strict=True):
            plain, ko_plain = (headings.split(t)[0] for t in (title, ko))
            if found.setdefault(ko_plain, plain) != plain:
                raise ValueError(
                    f"{english.name}: the heading {ko_plain!r} stands for {plain!r}, "
                    f"and elsewhere for {found[ko_plain]!r}"
                )
    return found


def titles(part: korean.Part) -> list[str]:
    if part.kind == "code":
        return []
    return [title for _, title in Content(part.text).headings]


class Particles(SphinxPostTransform):
    """Keeps a particle on the line of the bracket or quotation mark that it follows."""

    default_priority = 900

    def run(self, **kwargs: Any) -> None:
        kept = nodes.literal | nodes.math | nodes.FixedTextElement
        for parent in list(self.document.findall(nodes.Element)):
            if isinstance(parent, kept):
                continue
            last = ""
            for at, child in enumerate(parent):
                if isinstance(child, nodes.Text):
                    words = last + child.astext()
                    words = BEFORE_PARTICLE.sub(JOINER, words)
                    parent[at] = nodes.Text(words[len(last) :])
                last = child.astext()[-1:]


def set_words(app: Sphinx) -> None:
    """Put the words of ``ko/locale`` before those of Sphinx and its theme."""
    for name in CATALOGS:
        folder = Path(app.doctreedir) / "locale" / "ko" / "LC_MESSAGES"
        folder.mkdir(parents=True, exist_ok=True)
        target = folder / f"{name}.mo"
        write_mo(LOCALE / "ko" / "LC_MESSAGES" / f"{name}.po", target)
        ours = gettext.translation(name, folder.parents[1], ["ko"])
        # Templates hold the one that is there already.
        locale.translators["general", name]._catalog.update(ours._catalog)


def write_mo(source: Path, target: Path) -> None:
    with source.open("rb") as file:
        catalog = pofile.read_po(file, locale="ko", charset="utf-8")
    with target.open("wb") as file:
        mofile.write_mo(file, catalog)


def write_messages(app: Sphinx, exception: Exception | None) -> None:
    """Give scripts their Korean words without code made from text.

    Sphinx's own function for it is forbidden by the pages' policy.
    """
    path = Path(app.outdir) / "_static" / "translations.js"
    if exception is None and path.exists():
        text = path.read_text(encoding="utf-8")
        catalog = json.loads(text[text.index("{") : text.rindex("}") + 1])
        messages = {name: words for name, words in catalog["messages"].items() if words}
        path.write_text(MESSAGES.format(json.dumps(messages)), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    try:
        headings.ENGLISH.update(english_headings(Path(app.srcdir) / "chapters"))
    except ValueError as error:
        raise ExtensionError(str(error)) from error
    app.add_post_transform(Particles)
    app.connect("builder-inited", set_words)
    app.connect("build-finished", write_messages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, help="where to build; emptied")
    parser.add_argument("--pages", type=Path, default=korean.KOREAN)
    options = parser.parse_args()
    return build(options.folder.resolve(), options.pages.resolve())


if __name__ == "__main__":
    sys.exit(main())
