"""The ratings that chapters share."""

from __future__ import annotations

from typing import Any

from mflib.ratings import Ratings
from mflib.synthetic import Truth, make_low_rank_ratings, seeded


def lecture_ratings(seed: int = 0, **changes: Any) -> tuple[Ratings, Truth]:
    """Make the ratings of chapters 1 to 6, whose truth is known.

    Parameters
    ----------
    seed : int
        Another one draws another truth, and other ratings of it.
    **changes
        Settings of :func:`mflib.make_low_rank_ratings` that differ, such as
        ``density``, ``sigma``, ``bias_tau`` or ``popularity``.

    Returns
    -------
    ratings : Ratings
        Of 300 users and 200 items; 20 % of the cells are known.
    truth : Truth
        Its factors have rank 4.
    """
    settings = {"density": 0.2, "tau": 0.7, "sigma": 0.5} | changes
    return make_low_rank_ratings(300, 200, rank=4, generator=seeded(seed), **settings)
