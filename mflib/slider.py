"""A figure with a slider that needs no kernel: a fit and its errors as λ moves.

All of it is in the cell's own output: an SVG picture, a native range input and a few
lines of JavaScript, which are in ``slider.html``. Nothing is loaded from anywhere, and
no element needs an id, so that any number of these figures can share a page.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from html import escape
from importlib.resources import files
from itertools import cycle
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import HTML
from numpy.typing import ArrayLike

from mflib import _checks, _svg
from mflib._svg import Array
from mflib.plotting import LINES, PALETTE

POINTS = {"color": PALETTE[1], "linestyle": "o"}
TRUTH = LINES["noise floor"]  # what a fit should find is dotted in every chapter


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
        Where the fits are drawn, rising.
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
        If numbers are not finite, not rising, or not of these shapes.
    """
    if not isinstance(errors, pd.DataFrame) or errors.index.name is None:
        raise ValueError(
            "errors must be a DataFrame whose index is named, got "
            f'{type(errors).__name__}; use pd.Index(values, name="λ")'
        )
    values = _rising("errors.index", errors.index)
    if values[0] <= 0:
        raise ValueError(
            f"errors.index must be positive, its axis is logarithmic, got {values[0]}; "
            "leave that row out"
        )
    heights = _numbers("errors", errors, (len(values), max(errors.shape[1], 1)))
    across = _rising("x", x)
    if not isinstance(fits, Mapping) or not fits:
        raise ValueError(
            f'fits must hold a curve, got {fits!r:.80}; pass {{"fit": array}}'
        )
    for name, text in (
        ("description", description),
        ("xlabel", xlabel),
        ("ylabel", ylabel),
        ("ylabel_errors", ylabel_errors),
    ):
        _checks.instance(name, text, str, "say it in words")
    curves = {
        name: _numbers(f"fits[{name!r}]", rows, (len(values), len(across)))
        for name, rows in fits.items()
    }
    true = None if truth is None else _numbers("truth", truth, across.shape)
    dots_x = dots_y = np.empty(0)
    if points is not None:
        if not isinstance(points, tuple | list) or len(points) != 2:
            raise ValueError(f"points must be a pair (x, y), got {points!r:.80}")
        dots_x = _numbers("points[0]", points[0])
        dots_y = _numbers("points[1]", points[1], dots_x.shape)
    if _checks.count("start", start, least=0) >= len(values):
        raise ValueError(
            f"start must be below {len(values)}, the rows of errors, got {start}"
        )

    label, columns = str(errors.index.name), [str(name) for name in errors.columns]
    looks = _looks([*curves, *columns])

    stays = dots_y if true is None else np.append(dots_y, true)
    in_x = _svg.Axis.around([across, dots_x], _svg.LEFT, _svg.RIGHT, room=0.03)
    in_y = _svg.Axis.around(curves.values(), _svg.BOTTOM, _svg.TOP, stays=stays)
    in_value = _svg.Axis.around(
        [np.log10(values)], _svg.LEFT, _svg.RIGHT, room=0.03, log=True
    )
    in_error = _svg.Axis.around([heights], _svg.BOTTOM, _svg.TOP)
    fit_x, value_x = in_x.pixels(across), in_value.pixels(np.log10(values))
    fit_y = [in_y.pixels(rows) for rows in curves.values()]
    error_y = in_error.pixels(heights)
    names = [f"{label} = {_svg.short(value)}" for value in values]
    cells = [[f"{error:#.3g}".rstrip(".") for error in row] for row in heights]
    frames = [
        {
            "fits": [rows[i].tolist() for rows in fit_y],
            "at": value_x[i],
            "dots": error_y[i].tolist(),
            "value": name,
            "text": f"{name}: "
            + ", ".join(f"{k} {v}" for k, v in zip(columns, cells[i], strict=True)),
        }
        for i, name in enumerate(names)
    ]

    left = "" if true is None else _svg.line(fit_x, in_y.pixels(true), TRUTH)
    for at, height in zip(in_x.pixels(dots_x), in_y.pixels(dots_y), strict=True):
        left += _svg.dot(at, height, POINTS, 'r="3.5" stroke="#222"')
    left += _svg.CLIPPED
    for name, rows in zip(curves, fit_y, strict=True):
        left += _svg.line(fit_x, rows[start], looks[name], 'class="fit"')
    left += "</svg>"
    right = ""
    for name, column in zip(columns, error_y.T, strict=True):
        right += _svg.line(value_x, column, looks[name])
    right += f'<g class="marker" transform="translate({value_x[start]})">'
    right += f'<path d="M0 {_svg.TOP}V{_svg.BOTTOM}" stroke="#222" stroke-width="1.2"/>'
    for name, height in zip(columns, error_y[start], strict=True):
        right += _svg.dot(0, height, looks[name], 'class="dot" r="5" stroke="#fff"')
    right += "</g>"

    shown = {name: looks[name] for name in curves}
    shown |= {} if points is None else {"data": POINTS}
    shown |= {} if true is None else {"truth": TRUTH}
    parts = {
        "description": escape(description),
        "frames": escape(
            json.dumps(
                {"x": fit_x.tolist(), "frames": frames},
                ensure_ascii=False,
                separators=(",", ":"),
            )
        ),
        "color": looks[next(iter(curves))]["color"],
        "fits": _svg.panel(in_x, in_y, xlabel, ylabel, left, shown),
        "errors": _svg.panel(
            in_value,
            in_error,
            label,
            ylabel_errors,
            right,
            {k: looks[k] for k in columns},
        ),
        "label": escape(label),
        "last": str(len(values) - 1),
        "start": str(start),
        "value": escape(names[start]),
        "text": escape(str(frames[start]["text"])),
        "head": _row([label, *columns], "th"),
        "rows": "\n".join(
            _row([_svg.short(value), *row])
            for value, row in zip(values, cells, strict=True)
        ),
    }
    template = files("mflib").joinpath("slider.html").read_text(encoding="utf-8")
    return HTML(re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template))


def _numbers(
    name: str, values: ArrayLike, shape: tuple[int, ...] | None = None
) -> Array:
    try:
        if np.iscomplexobj(np.asarray(values)):
            raise TypeError("complex numbers have no order")
        array = np.asarray(values, dtype=float)
    except (RuntimeError, TypeError, ValueError) as error:  # torch's, with a gradient
        raise TypeError(
            f"{name} must hold numbers, got {values!r:.80}; give an array of them"
        ) from error
    shape = (array.size,) if shape is None else shape
    if array.shape != shape:
        raise ValueError(
            f"{name} must have shape {shape}, got {array.shape} from {values!r:.80}; "
            "give it one row per row of errors, one entry per place in x"
        )
    if not np.isfinite(array).all():
        bad = array[~np.isfinite(array)][0]
        raise ValueError(f"{name} must be finite, got {bad}; leave such rows out")
    return array


def _rising(name: str, values: ArrayLike) -> Array:
    array = _numbers(name, values)
    if len(array) < 2:
        raise ValueError(f"{name} must hold at least 2 values, got {len(array)}")
    if (falls := np.diff(array) <= 0).any():
        at = int(falls.argmax())
        raise ValueError(
            f"{name} must rise, got {array[at]:g} and then {array[at + 1]:g}; sort it "
            "and drop what is there twice"
        )
    return array


def _looks(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Give each name its line: that of the book, or the palette's next colour."""
    colors = cycle(color for color in PALETTE if color != POINTS["color"])
    dashes = cycle(_svg.DASHES)
    return {
        name: LINES.get(name) or {"color": next(colors), "linestyle": next(dashes)}
        for name in dict.fromkeys(names)
    }


def _row(cells: Sequence[str], tag: str = "td") -> str:
    """Return a row of the table; its first cell, and all of its head, are headers."""
    first, *others = map(escape, cells)
    scope = "col" if tag == "th" else "row"
    rest = "".join(f"<{tag}>{cell}</{tag}>" for cell in others)
    return f'<tr><th scope="{scope}">{first}</th>{rest}</tr>'
