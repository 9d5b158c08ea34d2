"""A translation that any text has at once: a Hangul word in front of its own words."""

import re

MARK = "한글"
# What must stay as it is: code, formulas, HTML, directives and their options, links
KEPT = re.compile(
    r"```.*?```|\$\$.*?\$\$(?: \([\w-]+\))?|\$[^$]+\$|`[^`]+`|<!--.*?-->|<[^>]+>"
    r"|^:+\{[\w-]+\}|^:[\w-]*alt:|^:[\w-]+:[^\n]*$|^:{3,}$|\]\([^)]*\)|<https?:[^>]*>",
    re.M | re.S,
)
TAGS = {" · core": " · 핵심", " · extra": " · 심화"}


def translated(text: str) -> str:
    """Return a text in Markdown with a Hangul word in each of its lines."""
    for tag, korean in TAGS.items():
        text = re.sub(rf"(?m)^(#+ .*){re.escape(tag)}$", rf"\1{korean}", text)
    found, at = [], 0
    for kept in KEPT.finditer(text):
        own = comments(kept[0]) if kept[0].startswith("```python") else kept[0]
        found += [marked(text[at : kept.start()]), own]
        at = kept.end()
    return "".join([*found, marked(text[at:])])


def marked(words: str) -> str:
    return re.sub(r"[A-Za-z][a-z]+(?:[ \n]+[A-Za-z]+){0,3}", rf"{MARK} \g<0>", words)


def comments(code: str) -> str:
    return re.sub(r"(?m)(^|\s)# (.+)$", rf"\1# {MARK}", code)


def translated_file(exported: str) -> str:
    """Return what --export prints, translated."""
    out = []
    for block in re.split(r"(?m)^(?=<!-- \w+ \S+(?: \w+)? -->$)", exported):
        head, _, text = block.partition("\n")
        if head.startswith("<!-- code"):
            text = comments(text)
        elif not head.startswith(("<!-- page", "<!-- english")):
            text = translated(text)
        out.append(f"{head.replace(' todo', '')}\n{text}")
    return "".join(out)
