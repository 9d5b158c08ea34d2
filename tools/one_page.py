"""Make the small pictures of the page "The lecture on one page".

    python -m tools.one_page [folder]

Each is a figure of a chapter, as it is stored there, made small. The page names them.
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
FOLDER = CHAPTERS / "appendix" / "one-page"
WIDTH, COLOURS = 640, 32


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


def small(figure: Image.Image) -> Image.Image:
    """Return a figure on white, as wide as a third of a page needs."""
    figure = figure.convert("RGBA")
    white = Image.new("RGBA", figure.size, "white")
    white.alpha_composite(figure)
    height = round(figure.height * WIDTH / figure.width)
    shrunk = white.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS)
    return shrunk.quantize(colors=COLOURS, dither=Image.Dither.NONE)


def main(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    figures = stored_figures()
    for name in names():
        small(figures[name]).save(folder / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
