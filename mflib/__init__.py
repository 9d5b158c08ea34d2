"""The shared code of the book, meant to be read: begin with MF, fit and als."""

from mflib.als import als
from mflib.baselines import bias_baseline
from mflib.gibbs import Prior, draw_rows, gibbs, gibbs_sweep
from mflib.model import MF, mae, objective, rmse
from mflib.movielens import DataUnavailableError, fetch_movielens
from mflib.penalties import l1_penalty, l2_penalty, soft_threshold
from mflib.posterior import Posterior
from mflib.ratings import Ratings
from mflib.synthetic import Truth, make_low_rank_ratings, seeded
from mflib.training import DivergenceError, fit

__all__ = [
    "MF",
    "DataUnavailableError",
    "DivergenceError",
    "Posterior",
    "Prior",
    "Ratings",
    "Truth",
    "als",
    "bias_baseline",
    "draw_rows",
    "fetch_movielens",
    "fit",
    "gibbs",
    "gibbs_sweep",
    "l1_penalty",
    "l2_penalty",
    "mae",
    "make_low_rank_ratings",
    "objective",
    "rmse",
    "seeded",
    "soft_threshold",
]
