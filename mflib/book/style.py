"""One look for all figures of the book, and one colour for each thing."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from cycler import cycler

# Colours of Okabe & Ito (Wong 2011, doi:10.1038/nmeth.1618) and of Paul Tol, told apart
# by colour-blind readers; things that share a figure differ in line style too.
LINES: dict[str, dict[str, Any]] = {
    "train": {"color": "#0072b2", "linestyle": "-"},
    "validation": {"color": "#009e73", "linestyle": "-."},
    "test": {"color": "#d55e00", "linestyle": "--"},
    "noise floor": {"color": "#595959", "linestyle": ":"},
    "ALS": {"color": "#332288", "linestyle": "-"},
    "Adam": {"color": "#aa4499", "linestyle": "--"},
    "AdamW": {"color": "#7a6a00", "linestyle": "-."},
    "SGD": {"color": "#000000", "linestyle": ":"},
    "Gibbs": {"color": "#56b4e9", "linestyle": "-"},
    "prior": {"color": "#117733", "linestyle": "--"},
    "likelihood": {"color": "#a35a00", "linestyle": ":"},
    "posterior": {"color": "#4b0092", "linestyle": "-"},
    "MLE": {"color": "#a35a00", "linestyle": ":"},  # the likelihood's peak
    "MAP": {"color": "#4b0092", "linestyle": "-"},  # the posterior's peak
}
"""How a thing is drawn, in every chapter."""

PALETTE = ["#882255", "#44aa99", "#b8860b", "#6699cc", "#661100"]
"""Colours for things without a line of their own in ``LINES``, in order of use."""


def use_style() -> None:
    """Set the book's style for all figures that follow.

    Fonts that you have chosen before, as titles in Korean need them, stay. All else is
    the book's; set what a projector needs, such as ``font.size``, after this call.
    """
    fonts = mpl.rcParams.find_all(r"^font\.(?!size)|^axes\.unicode_minus$")
    mpl.rcdefaults()
    mpl.rcParams.update(fonts)
    mpl.rcParams.update(
        {
            "figure.figsize": (6.4, 3.6),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "figure.facecolor": "white",
            "savefig.facecolor": "white",
            "axes.prop_cycle": cycler(color=PALETTE),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#e5e5e5",
            "axes.axisbelow": True,
            "font.size": 11,
            "axes.titlesize": 11,
            "legend.frameon": False,
            "lines.linewidth": 2,
        }
    )
