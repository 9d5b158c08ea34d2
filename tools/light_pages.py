"""A Sphinx extension: pages that load what they use, and nothing that moves the text.

Figures say how large they are and load when they come near; those of several panels
can scroll, and data frames have one row of headers; fonts, and the icons' style
sheet, keep the signs that the pages show, and the style sheet of formulas holds their
two main fonts; figures are stored in fewer bytes, pixel by pixel the same.
"""

import base64
import html
import io
import logging
import re
from pathlib import Path

from fontTools import subset
from PIL import Image
from sphinx.errors import ExtensionError
from sphinx.util.images import get_image_size

from tools.katex_math import KATEX

# KaTeX's fonts carry a date that fontTools doubts, once for each font.
logging.getLogger("fontTools.ttLib").setLevel(logging.ERROR)

ICONS = [
    f"vendor/fontawesome/webfonts/fa-{name}" for name in ("solid-900", "brands-400")
]
IMAGE = re.compile(r'<img (?=[^>]*src="(?:\.\./)*_images/([^"]+)")')
# Two panels or more: on a phone they scroll, at a size one can read (book.css).
WIDE = 700  # pixels
FIGURE = re.compile(r"(<figure\b[^>]*>\s*)(<img [^>]*>)")
FRAME_HEAD = re.compile(
    r'(<table [^>]*class="dataframe">\s*)<thead>(.*?)</thead>', re.S
)
ROW = re.compile(r"<tr[^>]*>(.*?)</tr>", re.S)
CELL = re.compile(r"<th>(.*?)</th>", re.S)
SCRIPT = re.compile(r'<script [^>]*src="([^"]+)"')
# The menu with the page's files, whose entries the theme calls by their suffixes
DOWNLOADS = {
    ".ipynb": "This page as a notebook (.ipynb)",
    ".md": "This page as text (.md)",
    ".pdf": "Print this page",
}
# KaTeX's fonts that most formulas need. They stand in its style sheet, to be there when
# a page is first painted: a line that wraps anew in its font moves all that follows.
IN_STYLE = {"KaTeX_Main-Regular", "KaTeX_Math-Italic"}
# Its other fonts, by the classes of what is set in them
KATEX_FONTS = {
    r"mathbf|textbf": "Main-Bold",
    r"boldsymbol": "Math-BoldItalic",
    r"mathit|textit": "Main-Italic",
    r"amsrm|mathbb|textbb": "AMS-Regular",
    r"mathcal": "Caligraphic-Regular",
    r"mathtt|texttt": "Typewriter-Regular",
    r"mathsf|textsf": "SansSerif-Regular",
    r"size1|small-op": "Size1-Regular",
    r"delimsizing size2|large-op": "Size2-Regular",
    r"delimsizing size3": "Size3-Regular",
    r"delimsizing size4|delim-size4": "Size4-Regular",
}

# A rule of Font Awesome's that gives one icon its sign, for all of the icon's names
ICON_RULE = re.compile(
    r'((?:\.fa-[\w-]+:{1,2}before,?)+)\{content:"(\\?[^"]+)"\}', re.ASCII
)
# Where the theme's script looks for what scrolls
TAB_STOPS = re.compile(r'document\.querySelectorAll\(\["pre",[^\]]*\]\.join\(", "\)\)')
CONTENT = re.compile(r"content:\s*\"\\([0-9a-f]{4})\"")


def wrap_wide(figure: re.Match) -> str:
    """Put a picture that is too wide for a phone into a box that scrolls."""
    size = re.search(r' width="(\d+)"', figure[2])
    if size is None or int(size[1]) < WIDE:
        return figure[0]
    return f'{figure[1]}<div class="wide-figure">{figure[2]}</div>'


def merge_heads(head: re.Match) -> str:
    """Put the name of a data frame's index into the corner, which is empty above it.

    pandas gives that name a row of its own, in which all other headers are empty.
    """
    rows = [CELL.findall(row) for row in ROW.findall(head[2])]
    if len(rows) != 2 or len(rows[0]) != len(rows[1]) or any(rows[1][1:]):
        return head[0]
    (axis, *columns), (name, *_) = rows
    corner = f"{name} (columns: {axis})" if axis else name
    cells = "".join(f'<th scope="col">{cell}</th>' for cell in [corner, *columns])
    return f"{head[1]}<thead><tr>{cells}</tr></thead>"


def name_downloads(buttons: list[dict]) -> None:
    for button in buttons:
        if button.get("label") == "download-buttons":
            for entry in button["buttons"]:
                entry["text"] = DOWNLOADS.get(entry["text"], entry["text"])
                entry["tooltip"] = None  # it would repeat the words


def prepare_page(app, pagename, templatename, context, doctree) -> None:
    body = context.get("body", "")
    sources = {name: source for source, name in app.builder.images.items()}

    def attributes(match: re.Match) -> str:
        source = sources.get(match[1])
        size = source and get_image_size(Path(app.srcdir, source))
        size = f'width="{size[0]}" height="{size[1]}" ' if size else ""
        return f'<img loading="lazy" decoding="async" {size}'

    body = IMAGE.sub(attributes, body)
    body = FIGURE.sub(wrap_wide, body)
    context["body"] = FRAME_HEAD.sub(merge_heads, body)
    name_downloads(context.get("header_buttons", []))
    tags = [context["js_tag"](script) for script in context["script_files"]]
    context["preloaded_scripts"] = SCRIPT.findall(" ".join(tags))
    context["preloaded_fonts"] = [f"{icons}.woff" for icons in ICONS]
    context["preloaded_fonts"] += [
        f"katex/fonts/KaTeX_{font}.woff"
        for classes, font in KATEX_FONTS.items()
        if re.search(rf'class="(?:[^"]* )?(?:{classes})[" ]', body)
    ]


def write_font(source: Path, target: Path, signs: set[int]) -> None:
    """Write a TrueType font with these signs alone."""
    # As WOFF: WOFF2 would need one more package, to save a kilobyte.
    options = subset.Options(flavor="woff", layout_features=[])
    font = subset.load_font(source, options)
    subsetter = subset.Subsetter(options)
    subsetter.populate(unicodes=signs)
    subsetter.subset(font)
    subset.save_font(font, target, options)


def keep_used_icons(static: Path, texts: list[str]) -> None:
    """Reduce the icon fonts, and their style sheet, to the icons in use."""
    scripts = [path.read_text(encoding="utf-8") for path in static.rglob("*.js")]
    used = {
        name for text in texts + scripts for name in re.findall(r"\bfa-[\w-]+", text)
    }
    signs = set()

    def keep(rule: re.Match) -> str:
        if used.isdisjoint(re.findall(r"fa-[\w-]+", rule[1])):
            return ""
        code = rule[2]
        signs.add(int(code[1:], 16) if code.startswith("\\") else ord(code))
        return rule[0]

    for style in [*static.glob("*.css"), *static.glob("styles/*.css")]:
        before = style.read_text(encoding="utf-8")
        after = ICON_RULE.sub(keep, before)
        signs.update(int(code, 16) for code in CONTENT.findall(after))
        for icons in ICONS:
            after = after.replace(
                f'url(../{icons}.woff2) format("woff2"),url(../{icons}.ttf) '
                'format("truetype")',
                f'url(../{icons}.woff) format("woff")',
            )
        if after != before:
            style.write_text(after, encoding="utf-8")
    for icons in ICONS:
        write_font(static / f"{icons}.ttf", static / f"{icons}.woff", signs)


def keep_used_signs(static: Path, texts: list[str]) -> None:
    """Reduce KaTeX's fonts to the signs that some page holds."""
    signs = {ord(sign) for text in texts for sign in html.unescape(text)}
    style = static / "katex" / "katex.min.css"
    rules = style.read_text(encoding="utf-8")
    for font in static.glob("katex/fonts/*.woff2"):
        small = font.with_suffix(".woff")
        write_font(KATEX / "fonts" / f"{font.stem}.ttf", small, signs)
        address = f"fonts/{small.name}"
        if font.stem in IN_STYLE:
            data = base64.b64encode(small.read_bytes()).decode()
            address = f"data:font/woff;base64,{data}"
            small.unlink()
        rules = rules.replace(
            f'url(fonts/{font.name}) format("woff2")', f'url({address}) format("woff")'
        )
        font.unlink()
    style.write_text(rules, encoding="utf-8")


def shrink(path: Path) -> None:
    """Store a PNG in fewer bytes, with the same pixels, where that can be done."""
    before = path.read_bytes()
    picture = Image.open(io.BytesIO(before))
    picture.load()
    plain = picture
    if picture.mode == "RGBA" and picture.getextrema()[3] == (255, 255):
        plain = picture.convert("RGB")
    if plain.mode == "RGB" and (colours := plain.getcolors(256)):
        palette = Image.new("P", (1, 1))
        flat = [value for _, colour in colours for value in colour]
        palette.putpalette(flat)
        plain = plain.quantize(palette=palette, dither=Image.Dither.NONE)
    after = io.BytesIO()
    plain.save(after, "PNG", optimize=True)
    same = plain.convert("RGBA").tobytes() == picture.convert("RGBA").tobytes()
    if same and len(after.getvalue()) < len(before):
        path.write_bytes(after.getvalue())


def leave_tab_stops(static: Path) -> None:
    """Keep the theme from measuring all that might scroll, before a page is ready.

    Each change makes the browser lay the page out again. assets/book.js does the same
    later, all measuring first, and gives names to what scrolls.
    """
    script = static / "scripts" / "pydata-sphinx-theme.js"
    text = TAB_STOPS.sub("[]", script.read_text(encoding="utf-8"))
    if "[].forEach(e=>{e.tabIndex=" not in text:  # a second build finds it done
        raise ExtensionError(f"{script.name} does not set tab stops where it did")
    script.write_text(text, encoding="utf-8")


def finish(app, exception) -> None:
    if exception is None and app.builder.format == "html":
        site = Path(app.outdir)
        texts = [page.read_text(encoding="utf-8") for page in site.rglob("*.html")]
        leave_tab_stops(site / "_static")
        keep_used_icons(site / "_static", texts)
        keep_used_signs(site / "_static", texts)
        for picture in site.glob("_images/*.png"):
            shrink(picture)


def setup(app) -> dict[str, object]:
    app.connect("html-page-context", prepare_page, priority=900)
    app.connect("build-finished", finish)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
