"""A figure with a slider that needs no kernel: a fit and its errors as λ moves.

Matplotlib draws both panels as SVG. The curves, the line that marks the slider's value
and the dots on it are the group "moves" of their panel; a few lines of JavaScript, in
``slider.html``, replace their paths. Nothing is loaded from anywhere.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from IPython.display import HTML
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from mflib.book.figures import plot_errors
from mflib.book.style import LINES, PALETTE, use_style

Array = NDArray[np.float64]

WIDTH, HEIGHT = 340, 252  # of a panel, in pixels
DEFINITION = re.compile(
    r'<clipPath id="(?P<clip>\w+)">.*?</clipPath>'
    r'|<defs> <path id="(?P<mark>\w+)".*?/> </defs>'
)
NUMBER = re.compile(r"-?\d+\.\d\d+(?=[^<>]*>)")  # in a tag, not in a text
MINUS_ZERO = re.compile(r" -0(?=[ \"][^<>]*>)")  # of a path, by rounding
OWN_ID = re.compile(r' id="(?![mp][0-9a-f]{10}")[^"]*"')  # that nothing refers to


def slider_figure(
    errors: pd.DataFrame,
    *,
    x: ArrayLike,
    fits: Mapping[str, ArrayLike],
    description: str,
    points: tuple[ArrayLike, ArrayLike] | None = None,
    truth: ArrayLike | None = None,
    xlabel: str = "x",
    ylabel: str = "y",
    ylabel_errors: str = "RMSE",
    start: int = 0,
) -> HTML:
    """Draw fits beside their errors, with a slider over the errors' index.

    Parameters
    ----------
    errors : pandas.DataFrame
        One row per position of the slider. The index holds the values of what is
        varied, positive and rising; its name, such as λ, labels the slider and the
        (logarithmic) axis. One line per column; those in ``LINES`` have their own look.
    x : array, shape (n_x,)
        Where the fits are drawn, from left to right.
    fits : mapping of str to array, shape (n_values, n_x)
        The curves that the slider redraws, by name: one row per row of ``errors``.
    description : str
        What moving the slider shows, for readers who do not see it.
    points : pair of arrays, optional
        x and y of data, drawn as dots that stay.
    truth : array, shape (n_x,), optional
        What the fits should find, drawn as a dotted line that stays.
    xlabel, ylabel, ylabel_errors : str
        Names of the axes, with their units.
    start : int
        Row of ``errors`` to begin with; without JavaScript, the one that is shown.

    Returns
    -------
    IPython.display.HTML
        The same bytes wherever errors agree to 3 digits and curves to a tenth of a
        pixel, so draw what is solved, not what is still on its way.

    Raises
    ------
    ValueError
        If numbers are not finite or not of these shapes, or the index does not rise.
    """
    values, label = _checked(errors, start), str(errors.index.name)
    x = _numbers("x", x, np.shape(x)[:1])
    curves = {
        name: _numbers(f"fits[{name!r}]", rows, (len(values), len(x)))
        for name, rows in fits.items()
    }
    with mpl.rc_context():
        use_style()
        mpl.rcParams.update({"path.simplify": False, "svg.fonttype": "none"})
        left, right = _panel(), _panel()
        left.set(xlabel=xlabel, ylabel=ylabel)
        if truth is not None:
            curve = _numbers("truth", truth, x.shape)
            left.plot(x, curve, label="truth", **LINES["noise floor"])
        if points is not None:
            dots = _numbers("points", points, (2, *np.shape(points[0])[:1]))
            left.plot(*dots, "o", label="data", color=PALETTE[1], markersize=6)
        plot_errors(errors, ylabel=ylabel_errors, ax=right).set_xscale("log")
        moving = _fits(left, x, curves) + _marks(right, values, errors)
        for part in moving:
            part.ax.plot(part.x[start], part.y[start], gid="moves", **part.look)
        words = _words(errors)
        frames = _frames(words, moving)
        data = json.dumps(frames, ensure_ascii=False, separators=(",", ":"))
        mpl.rcParams["svg.hashsalt"] = data  # the ids of another figure are others
        drawn = {"fits": _svg(left), "errors": _svg(right)}
    texts = {"description": description, "label": label, "data": data}
    texts |= {name: frames[start][name] for name in ("value", "text")}
    template = files("mflib.book").joinpath("slider.html").read_text(encoding="utf-8")
    return HTML(
        Template(template).substitute(
            drawn | {name: escape(text) for name, text in texts.items()},
            table=words.to_html(border=0).replace(' class="dataframe"', ""),
            color=PALETTE[0],
            start=start,
            last=len(values) - 1,
        )
    )


@dataclass(frozen=True)
class _Moving:
    """A line for each position of the slider, as rows of x and y, and its look."""

    ax: Axes
    x: Array
    y: Array
    look: dict[str, Any]

    def path(self, row: int) -> str:
        """Return a row as SVG's path data, as :func:`_svg` does for ``start``."""
        places = self.ax.transData.transform(np.c_[self.x[row], self.y[row]])
        places = (places * (1, -1) + (0, HEIGHT)).clip(-WIDTH, 2 * WIDTH)
        return "M" + "L".join(f"{_tenths(x)} {_tenths(y)}" for x, y in places)


def _checked(errors: pd.DataFrame, start: int) -> Array:
    """Return the index of the errors as numbers."""
    values = _numbers("errors.index", errors.index, errors.shape[:1])
    if errors.index.name is None or (values <= 0).any() or (np.diff(values) <= 0).any():
        raise ValueError(
            "errors.index must have a name and hold positive values that rise, got "
            f'{errors.index!r:.200}; for example pd.Index([0.1, 1, 10], name="λ")'
        )
    _numbers("errors", errors, errors.shape)
    if start not in range(len(values)):
        raise ValueError(
            f"start must be a row of errors, 0 to {len(values) - 1}, got {start!r}"
        )
    return values


def _numbers(name: str, values: Any, shape: tuple[int, ...]) -> Array:
    array = np.asarray(values, dtype=float)
    if array.shape != shape or not np.isfinite(array).all():
        got = f"{values!r:.200} in shape {array.shape}"
        raise ValueError(f"{name} must hold finite numbers in shape {shape}, got {got}")
    return array


def _panel() -> Axes:
    figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72)
    figure.set_layout_engine("none")  # both panels have the same axes
    return figure.add_axes((0.15, 0.18, 0.83, 0.72))


def _fits(ax: Axes, x: Array, curves: Mapping[str, Array]) -> list[_Moving]:
    """Fix the axes on what stays, if anything does: wild curves leave the picture."""
    for rows in curves.values():
        ax.update_datalim(np.c_[np.tile(x, len(rows)), rows.flat], updatey=not ax.lines)
    ax.margins(0.03, 0.2)
    ax.autoscale_view()
    ax.autoscale(False)
    return [
        _Moving(ax, np.tile(x, (len(y), 1)), y, LINES.get(k, {}) | {"label": k})
        for k, y in curves.items()
    ]


def _marks(ax: Axes, values: Array, errors: pd.DataFrame) -> list[_Moving]:
    """Return the line that marks the slider's value, and the dots on it."""
    at, ends = np.c_[values, values], np.tile(ax.get_ylim(), (len(values), 1))
    ax.autoscale(False)
    colors = {line.get_label(): line.get_color() for line in ax.lines}
    marks = [_Moving(ax, at, ends, {"color": "#222222", "linewidth": 1.2})]
    dot = {"linewidth": 11, "solid_capstyle": "round"}  # from a point to itself
    return marks + [
        _Moving(ax, at, np.c_[column, column], dot | {"color": colors[str(name)]})
        for name, column in errors.items()
    ]


def _words(errors: pd.DataFrame) -> pd.DataFrame:
    """Return errors and their index as text, with three digits."""
    words = errors.map(lambda error: f"{error:#.3g}".rstrip("."))
    words.index = pd.Index([f"{float(f'{value:.3g}'):g}" for value in errors.index])
    words.columns.name = errors.index.name
    return words


def _frames(words: pd.DataFrame, moving: list[_Moving]) -> list[dict[str, Any]]:
    """Return what the script shows at each position of the slider."""
    frames = []
    for row, (value, *errors) in enumerate(words.itertuples(name=None)):
        at = f"{words.columns.name} = {value}"
        said = ", ".join(map(" ".join, zip(words.columns, errors, strict=True)))
        paths = [part.path(row) for part in moving]
        frames.append({"paths": paths, "value": at, "text": f"{at}: {said}"})
    return frames


def _svg(ax: Axes) -> str:
    """Return a panel as SVG: its numbers in tenths of a pixel, no needless ids."""
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderpad=0.2)
    file = io.StringIO()
    ax.figure.canvas.print_figure(file, format="svg")
    text = file.getvalue().replace(' id="moves"', ' class="moves"')
    text = OWN_ID.sub("", text[text.index("<g ") :]).replace("xlink:href", "href")
    text = NUMBER.sub(lambda found: _tenths(float(found[0])), " ".join(text.split()))
    text = MINUS_ZERO.sub(" 0", text)
    text = _stable_ids(text, str(mpl.rcParams["svg.hashsalt"]))
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}">' + text.replace("> <", ">\n<")


def _stable_ids(text: str, salt: str) -> str:
    """Name what is defined by what is left of it: Matplotlib hashes all digits."""
    defined = set()
    for found in list(DEFINITION.finditer(text)):
        own = found["clip"] or found["mark"]
        content = found[0].replace(own, "")
        name = "m" + hashlib.sha256((salt + content).encode()).hexdigest()[:10]
        if name in defined:  # it differed in digits that are not there any more
            text = text.replace(found[0], "", 1)
        defined.add(name)
        text = text.replace(own, name)
    return " ".join(text.split())


def _tenths(pixels: float) -> str:
    # Off the round numbers, which would be rounded up or down by their last bit.
    return f"{pixels + 0.0137:.1f}"
