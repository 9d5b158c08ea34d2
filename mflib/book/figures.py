"""The figures that chapters share."""

from __future__ import annotations

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes

from mflib import _checks
from mflib.book.style import LINES, PALETTE
from mflib.ratings import Ratings


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
        The lowest point of a validation or test line is marked, unless it is at an end,
        where the line may go on falling.
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
    _checks.instance("errors", errors, pd.DataFrame, "such as the history of mflib.fit")
    ax = ax or plt.figure().add_subplot()
    for name, column in errors.astype(float).items():
        line = LINES.get(str(name), {})
        ax.plot(errors.index, column, label=str(name), **line)
        if name in ("validation", "test"):
            lowest = int(column.argmin())
            if 0 < lowest < len(column) - 1:
                at = errors.index[lowest], column.iloc[lowest]
                ax.plot(*at, "o", color=line["color"])
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
    ax = ax or plt.figure().add_subplot()
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
