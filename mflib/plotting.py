"""The figures that chapters share: one style, one colour for each thing."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from cycler import cycler
from matplotlib.axes import Axes
from numpy.typing import NDArray

from mflib import _checks
from mflib.ratings import Ratings

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


def plot_errors(
    errors: pd.DataFrame,
    *,
    noise_floor: float | None = None,
    ylabel: str = "RMSE",
    ax: Axes | None = None,
) -> Axes:
    """Draw errors over epochs, rank, penalty, or whatever the index holds.

    Parameters
    ----------
    errors : pandas.DataFrame
        One line per column, such as those of :func:`mflib.fit`; the index, whose name
        labels the axis, is horizontal. Columns named in ``LINES`` have their own look.
        The lowest point of a validation or test line is marked.
    noise_floor : float, optional
        Draw a horizontal line here.
    ylabel : str
        What is measured, with its unit.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
    """
    curves = _curves(errors)
    if noise_floor is not None:
        noise_floor = _checks.real("noise_floor", noise_floor)
    ax = _axes(ax)
    x = errors.index.to_numpy()
    for name, y in curves.items():
        line = LINES.get(name, {})
        ax.plot(x, y, label=name, **line)
        if name in ("validation", "test"):
            lowest = np.nanargmin(y)
            ax.plot(x[lowest], y[lowest], "o", color=line["color"])
    if noise_floor is not None:
        ax.axhline(noise_floor, label="noise floor", **LINES["noise floor"])
    ax.set(xlabel=str(errors.index.name or ""), ylabel=ylabel)
    ax.legend()
    return ax


def plot_observed(ratings: Ratings, *, ax: Axes | None = None) -> Axes:
    """Draw which cells of the rating matrix are observed: one dot per rating.

    Parameters
    ----------
    ratings : Ratings
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure by default.

    Returns
    -------
    matplotlib.axes.Axes
        Users downwards, items to the right.
    """
    _checks.instance("ratings", ratings, Ratings, "make them with Ratings(…)")
    ax = _axes(ax)
    dot = 1000 / max(ratings.n_users, ratings.n_items)  # smaller in a larger matrix
    ax.scatter(
        ratings.items, ratings.users, s=dot, color=PALETTE[0], marker="s", linewidths=0
    )
    ax.set(
        xlim=(-0.5, ratings.n_items - 0.5),
        ylim=(ratings.n_users - 0.5, -0.5),
        xlabel="item j",
        ylabel="user i",
    )
    ax.grid(False)
    return ax


def _axes(ax: Axes | None) -> Axes:
    if ax is None:
        return plt.figure().add_subplot()
    _checks.instance("ax", ax, Axes, "for example plt.figure().add_subplot()")
    return ax


def _curves(errors: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Return the columns by name; NaN, which leaves a gap, is allowed, infinity not."""
    _checks.instance("errors", errors, pd.DataFrame, "as mflib.fit returns")
    if errors.empty or not errors.columns.is_unique:
        raise ValueError(
            "errors must have rows, and columns with different names, got shape "
            f"{errors.shape} and names {errors.columns.tolist()}; give one per line"
        )
    curves = {}
    for name in errors.columns:
        try:
            curves[name] = errors[name].to_numpy(dtype=float, na_value=np.nan)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"errors[{name!r}] must hold numbers, got dtype "
                f"{errors[name].dtype}; drop that column"
            ) from error
        y = curves[name]
        if np.isinf(y).any() or np.isnan(y).all():
            raise ValueError(
                f"errors[{name!r}] must be finite, with NaN for gaps alone, got "
                f"{y[~np.isfinite(y)][0]}; drop it"
            )
    return curves
