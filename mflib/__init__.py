"""The shared code of the book, meant to be read: begin with MF, fit and als."""

from mflib.als import als, fold_in
from mflib.baselines import bias_baseline
from mflib.gibbs import gibbs, gibbs_step
from mflib.lists import recommend, similar
from mflib.model import MF, mae, objective, rmse
from mflib.movielens import DataUnavailableError, fetch_movielens
from mflib.penalties import l1_penalty, l2_penalty, soft_threshold
from mflib.posterior import Posterior
from mflib.prior import Prior
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
    "fetch_movielens",
    "fit",
    "fold_in",
    "gibbs",
    "gibbs_step",
    "l1_penalty",
    "l2_penalty",
    "mae",
    "make_low_rank_ratings",
    "objective",
    "recommend",
    "rmse",
    "seeded",
    "similar",
    "soft_threshold",
]
