"""Make the small pictures of "The lecture on one page" and of the introduction's cards.

    python -m tools.small_figures [folder]

Each is a figure of a chapter, as it is stored there, made small: whole on the one page,
which names them, and a cut of a panel on the card of each chapter.
"""

import base64
import io
import re
import sys
from pathlib import Path

from PIL import Image

from tools.chapters import read

CHAPTERS = Path(__file__).parents[1] / "chapters"
PAGE = CHAPTERS / "appendix" / "one-page.md"
WHOLE, CARDS = Path("appendix", "one-page"), Path("cards")
WIDTH, CARD_WIDTH, COLOURS = 640, 480, 32
# What a card shows of a figure, as shares of it: from the left, from the top, and the
# width. It is twice as wide as high.
CUTS = {
    "fig-sparse": (0.56, 0.09, 0.43),
    "fig-lecture-overfitting": (0.13, 0.08, 0.85),
    "fig-geometry": (0.57, 0.18, 0.37),
    "fig-network": (0.075, 0.34, 0.41),
    "fig-best-lambda": (0.11, 0.1, 0.85),
    "fig-gradient-fields": (0.085, 0.2, 0.275),
    "fig-movielens-map": (0.06, 0.1, 0.94),
    "fig-prior-noise": (0.12, 0.1, 0.86),
    "fig-one-lambda": (0.62, 0.06, 0.37),
    "fig-time-against-error": (0.388, 0.165, 0.295),
}


def names() -> list[str]:
    """Return the names of the figures on the page, in order."""
    return re.findall(r"\(one-page/([\w-]+)\.png\)", PAGE.read_text("utf-8"))


def stored_figures() -> dict[str, Image.Image]:
    """Return the figures that chapters store, by name."""
    found: dict[str, Image.Image] = {}
    for path in sorted(CHAPTERS.glob("[0-9]*.ipynb")):
        for cell in read(path).cells:
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            for output in cell.get("outputs", []) if name else []:
                if png := output.get("data", {}).get("image/png"):
                    found[name] = Image.open(io.BytesIO(base64.b64decode(png)))
    return found


def small(
    figure: Image.Image, width: int = WIDTH, box: tuple[float, ...] | None = None
) -> Image.Image:
    """Return a figure, or a box of it, so many pixels wide and on white."""
    figure = figure.convert("RGBA")
    white = Image.new("RGBA", figure.size, "white")
    white.alpha_composite(figure)
    left, top, right, bottom = box or (0, 0, *figure.size)
    size = width, round((bottom - top) * width / (right - left))
    shrunk = white.convert("RGB").resize(size, Image.Resampling.LANCZOS, box)
    palette = Image.Quantize.MAXCOVERAGE  # keeps the colours of thin lines
    return shrunk.quantize(COLOURS, palette, dither=Image.Dither.NONE)


def card(name: str, figure: Image.Image) -> Image.Image:
    """Return the cut of a figure that is on its chapter's card."""
    left, top, width = (share * figure.width for share in CUTS[name])
    top = top / figure.width * figure.height
    return small(figure, CARD_WIDTH, (left, top, left + width, top + width / 2))


def pictures() -> dict[Path, Image.Image]:
    """Return all small pictures, by their paths below ``chapters``."""
    figures = stored_figures()
    whole = {WHOLE / f"{name}.png": small(figures[name]) for name in names()}
    return whole | {CARDS / f"{name}.png": card(name, figures[name]) for name in CUTS}


def main(folder: Path = CHAPTERS) -> None:
    for path, picture in pictures().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        picture.save(folder / path, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
