"""What only the book's pages need: one style, shared ratings and figures, sources."""

from mflib.book.conventions import CONVENTIONS, convert, converter, row_lam
from mflib.book.data import lecture_ratings
from mflib.book.figures import plot_errors, plot_observed
from mflib.book.slider import slider_figure
from mflib.book.source import show_source
from mflib.book.style import LINES, PALETTE, use_style

__all__ = [
    "CONVENTIONS",
    "LINES",
    "PALETTE",
    "convert",
    "converter",
    "lecture_ratings",
    "plot_errors",
    "plot_observed",
    "row_lam",
    "show_source",
    "slider_figure",
    "use_style",
]
