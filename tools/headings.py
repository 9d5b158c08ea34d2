"""A Sphinx extension: headings say what is core, and anchors do not.

A heading in a chapter may end in a tag, as in "Gradients by hand · core". The site and
the PDF show the tag small, and the section's anchor is made without it: the same that
a link in Markdown names.
"""

import re
from typing import Any

from docutils import nodes
from myst_parser.mdit_to_docutils.base import default_slugify
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

# What a heading may end in, and what it is in the pages' classes
TAGS = {"core": "core", "extra": "extra", "핵심": "core", "심화": "extra"}
TAG = re.compile(rf"\s·\s({'|'.join(TAGS)})$")


# Of a translated edition's headings, without tags: the English ones, which give anchors
ENGLISH: dict[str, str] = {}


def split(title: str) -> tuple[str, str]:
    """Return a heading without its tag, and the tag as it is written, if any."""
    tag = TAG.search(title)
    return (title[: tag.start()], tag[1]) if tag else (title, "")


def slug(title: str) -> str:
    """Return the anchor of a heading, as MyST makes it (myst_heading_slug_func)."""
    plain = split(title)[0]
    return default_slugify(ENGLISH.get(plain, plain))


class TagHeadings(SphinxTransform):
    """Sets each section's id to its anchor, and its tag apart from the heading."""

    default_priority = 100  # before targets and links look at ids

    def apply(self, **kwargs: Any) -> None:
        slugs = getattr(self.document, "myst_slugs", {})
        for section in self.document.findall(nodes.section):
            title = section[0]
            if title.children and isinstance(title[-1], nodes.Text):
                words, tag = split(title[-1])
                if tag:
                    title[-1] = nodes.Text(words)
                    # The sign is part of the tag, for readers who hear the heading.
                    classes = ["section-tag", TAGS[tag]]
                    title += nodes.inline("", f" · {tag}", classes=classes)
            if anchor := section.get("slug"):
                for old in section["ids"]:
                    self.document.ids.pop(old)
                section["ids"] = [anchor]
                self.document.ids[anchor] = section
                line, _, words = slugs[anchor]
                slugs[anchor] = (line, anchor, split(words)[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_transform(TagHeadings)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
