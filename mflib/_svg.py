"""Pieces of a picture in SVG, for :func:`mflib.slider_figure`: axes, lines and dots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

Array = NDArray[np.float64]

# A panel, and in it the rectangle of the data, in the panel's own pixels.
WIDTH, HEIGHT = 340, 248
LEFT, RIGHT, TOP, BOTTOM = 44, 334, 28, 206

# A curve that leaves this rectangle is cut off by an inner <svg>: that needs no id.
CLIPPED = (
    f'<svg x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}" '
    f'viewBox="{LEFT} {TOP} {RIGHT - LEFT} {BOTTOM - TOP}">'
)

DASHES = {"-": "none", "--": "7 4", "-.": "8 4 2 4", ":": "2 4"}


@dataclass(frozen=True)
class Axis:
    """A scale from data, or their logarithms to base 10, to a panel's pixels."""

    low: float
    high: float
    begin: int
    end: int
    log: bool = False

    @classmethod
    def around(
        cls,
        data: Iterable[Array],
        begin: int,
        end: int,
        *,
        room: float = 0.06,
        log: bool = False,
        stays: Array | None = None,
    ) -> Axis:
        """Make the axis that shows the data, and some room around them.

        Where ``stays`` holds anything, all of that is shown, and data that go farther
        from it than a quarter of its height leave the picture.
        """
        every = np.concatenate([part.ravel() for part in data])
        low, high = float(every.min()), float(every.max())
        if stays is not None and stays.size:
            least, most = float(stays.min()), float(stays.max())
            more = 0.25 * (most - least)
            low = min(least, max(low, least - more))
            high = max(most, min(high, most + more))
        more = room * (high - low) or 0.5
        return cls(low - more, high + more, begin, end, log)

    def pixels(self, values: Array) -> Array:
        """Return where values are drawn, to tenths of a pixel, a panel off at most."""
        share = np.clip((values - self.low) / (self.high - self.low), -1, 2)
        places = self.begin + share * (self.end - self.begin)
        # Off the round numbers, which would be rounded up or down by their last bit.
        return np.round(places + 0.0137, 1) + 0.0

    def ticks(self) -> list[tuple[float, str]]:
        """Return places of ticks in pixels, and their labels."""
        if self.log:
            subs = (1,) if self.high - self.low >= 2 else (1, 2, 5)
            ticks = LogLocator(subs=subs, numticks=7).tick_values(
                10**self.low, 10**self.high
            )
            places, labels = np.log10(ticks), [short(tick) for tick in ticks]
        else:
            locator = MaxNLocator(5, steps=[1, 2, 5, 10])
            places = np.asarray(locator.tick_values(self.low, self.high))
            digits = max(0, -math.floor(math.log10(places[1] - places[0]) + 1e-9))
            rounded = places.round(digits) + 0.0  # no -0
            labels = [f"{tick:.{digits}f}".replace("-", "−") for tick in rounded]
        inside = (places >= self.low) & (places <= self.high)
        at = self.pixels(places).tolist()
        return [(at[i], labels[i]) for i in np.flatnonzero(inside)]


def panel(
    across: Axis,
    up: Axis,
    xlabel: str,
    ylabel: str,
    content: str,
    legend: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return a legend, and below it the axes and what is drawn between them."""
    grid = "".join(f"M{LEFT} {y}H{RIGHT}" for y, _ in up.ticks())
    grid += "".join(f"M{x} {TOP}V{BOTTOM}" for x, _ in across.ticks())
    texts: list[tuple[float, float, str, str]]
    texts = [(x, BOTTOM + 17, "middle", text) for x, text in across.ticks()]
    texts += [(LEFT - 7, y + 4, "end", text) for y, text in up.ticks()]
    texts += [
        ((LEFT + RIGHT) / 2, HEIGHT - 8, "middle", xlabel),
        (4, 15, "start", ylabel),
    ]
    samples = "".join(
        f'<span><svg viewBox="0 0 28 12" aria-hidden="true">{sample(look)}</svg>'
        f"{escape(name)}</span>"
        for name, look in legend.items()
    )
    name = escape(f"{ylabel} over {xlabel}: {', '.join(legend)}")
    return "\n".join(
        [
            f'<div class="legend">{samples}</div>',
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">',
            f'<path d="{grid}" stroke="#e5e5e5"/>',
            f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="#222"/>',
            *(
                f'<text x="{x:g}" y="{y:g}" text-anchor="{side}">{escape(text)}</text>'
                for x, y, side, text in texts
            ),
            f"{content}</svg>",
        ]
    )


def sample(look: Mapping[str, Any]) -> str:
    """Return a short piece of the line for the legend."""
    if look["linestyle"] == "o":
        return dot(14, 6, look, 'r="3.5" stroke="#222"')
    return line(np.array([0, 28]), np.array([6, 6]), look)


def line(x: Array, y: Array, look: Mapping[str, Any], more: str = "") -> str:
    """Return a line through points, drawn as in ``LINES``."""
    places = " ".join(f"{a:g},{b:g}" for a, b in zip(x, y, strict=True))
    return (
        f'<polyline {more} points="{places}" stroke="{look["color"]}" '
        f'stroke-dasharray="{DASHES[look["linestyle"]]}"/>'
    )


def dot(x: float, y: float, look: Mapping[str, Any], more: str) -> str:
    """Return a dot; ``more`` holds its radius and stroke."""
    return f'<circle cx="{x:g}" cy="{y:g}" fill="{look["color"]}" {more}/>'


def short(value: float) -> str:
    """Write a number in three digits at most, as in code: 100, 0.316, 1e-4."""
    if value and not 1e-3 <= abs(value) < 1e5:
        digits, power = f"{value:.2e}".split("e")
        return f"{float(digits):g}e{int(power)}"
    return f"{float(f'{value:.3g}'):g}"
