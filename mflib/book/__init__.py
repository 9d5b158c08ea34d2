"""What only the book's pages need: one style, the figures they share, their sources."""

from mflib.book.figures import plot_errors, plot_observed
from mflib.book.slider import slider_figure
from mflib.book.source import show_source
from mflib.book.style import LINES, PALETTE, use_style

__all__ = [
    "LINES",
    "PALETTE",
    "plot_errors",
    "plot_observed",
    "show_source",
    "slider_figure",
    "use_style",
]
