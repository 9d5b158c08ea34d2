"""Matrix factorization as a PyTorch module, and the measures every model shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise, zip_longest
from typing import Literal

import pandas as pd
import torch
from torch import Tensor, nn

from mflib import _checks
from mflib.penalties import weighted_mean
from mflib.ratings import Ratings

Predictor = Callable[[Tensor, Tensor], Tensor]
"""Anything called with ids of users and items that returns their predicted ratings."""

ONE_NUMBERING = (
    "make both from one table, by Ratings.from_frame and then subset or split, or put "
    "the second on the first one's numbering: Ratings.from_frame(frame, like=train)"
)


class MF(nn.Module):
    """Predict r_ij as mean + u_i . v_j (+ b_i + c_j).

    Parameters
    ----------
    n_users, n_items, rank : int
        N, M and k.
    biases : bool, default False
        Add a bias b_i per user and c_j per item, starting at zero
        (Koren, Bell & Volinsky 2009, doi:10.1109/MC.2009.263).
    mean : float, default 0
        A constant in the ratings' unit, not trained: often the mean of the training
        ratings.
    init_std : float, default 0.1
        Factors start as draws from N(0, init_std^2).
    generator : torch.Generator, optional
        Source of these draws; torch's global one by default.

    Attributes
    ----------
    U, V : nn.Embedding
        Their ``weight`` has one row u_i (v_j) of length k per user (item): the
        transpose of the lecture's U and V.
    user_bias, item_bias : nn.Embedding or None
        Their ``weight`` has shape (N, 1) and (M, 1).
    rank : int
    biases : bool
    user_labels, item_labels : pandas.Index or None
        Those of the ratings that the model was last fitted to.

    Raises
    ------
    ValueError, TypeError
        If a size is not a positive whole number, or a number is not finite.

    Examples
    --------
    >>> model = MF(3, 4, rank=2, biases=True, mean=3.5, init_std=0.0)
    >>> model(torch.tensor([0, 2]), torch.tensor([1, 3])).tolist()
    [3.5, 3.5]
    """

    mean: Tensor
    user_labels: pd.Index | None = None
    item_labels: pd.Index | None = None

    @torch.inference_mode(False)  # parameters made under it could not be trained
    def __init__(
        self,
        n_users: int,
        n_items: int,
        rank: int,
        *,
        biases: bool = False,
        mean: float = 0.0,
        init_std: float = 0.1,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        n_users, n_items = _checks.counts(n_users=n_users, n_items=n_items)
        self.rank, self.biases = _checks.count("rank", rank), bool(biases)
        init_std = _checks.real("init_std", init_std, least=0.0)
        if generator is not None:
            _checks.generator(generator)
        self.register_buffer("mean", torch.tensor(_checks.real("mean", mean)))
        self.U, self.V = zeros(n_users, rank), zeros(n_items, rank)
        self.user_bias = zeros(n_users, 1) if biases else None
        self.item_bias = zeros(n_items, 1) if biases else None
        if init_std > 0:
            nn.init.normal_(self.U.weight, std=init_std, generator=generator)
            nn.init.normal_(self.V.weight, std=init_std, generator=generator)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the predicted rating of each (user, item) pair.

        Shapes broadcast: ``model(users[:, None], items)`` has a row per user.
        """
        try:
            u, v = self.U(users), self.V(items)
        except (IndexError, RuntimeError, TypeError):  # cheaper than to look first
            _checks.pairs(users, items, self.U.weight, self.V.weight)
            raise
        prediction: Tensor = self.mean + (u * v).sum(-1)
        if self.user_bias is not None and self.item_bias is not None:
            biases = self.user_bias(users) + self.item_bias(items)
            prediction = prediction + biases.squeeze(-1)
        return prediction

    def sides(self) -> list[list[nn.Embedding]]:
        """Return the tables of users, and those of items: factors, then biases."""
        sides = (self.U, self.user_bias), (self.V, self.item_bias)
        return [[table for table in side if table is not None] for side in sides]


def zeros(n: int, width: int) -> nn.Embedding:
    """Return an embedding of zeros; by itself it would draw from the global source."""
    return nn.Embedding(n, width, _weight=torch.zeros(n, width))


def check_sizes(model: Predictor, ratings: Ratings, name: str) -> None:
    """Raise unless these are ratings of an MF model's size, with the model's labels."""
    _checks.instance(name, ratings, Ratings, "make them with Ratings.from_frame")
    if isinstance(model, MF):
        new = f"make a new model with MF({name}.n_users, {name}.n_items, rank), or "
        sizes = model.U.num_embeddings, model.V.num_embeddings
        check_size(name, ratings, "the model", sizes, new)
    check_labels({"model": model, name: ratings})


def check_size(
    name: str, ratings: Ratings, owner: str, sizes: tuple[int, int], advice: str = ""
) -> None:
    """Raise unless ratings are of this size."""
    if sizes != (ratings.n_users, ratings.n_items):
        raise ValueError(
            f"{name} has {ratings.n_users} users and {ratings.n_items} items, but "
            f"{owner} has {sizes[0]} and {sizes[1]}; {advice}{ONE_NUMBERING}"
        )


def check_labels(parts: Mapping[str, object]) -> None:
    """Raise if two of models and ratings have labels of users or items that differ.

    What has no labels is taken to number them like the others.
    """
    for side in ("user_labels", "item_labels"):
        labels = {name: getattr(part, side, None) for name, part in parts.items()}
        known = [(name, index) for name, index in labels.items() if index is not None]
        for (first_name, first), (name, index) in pairwise(known):
            if index is first:  # as parts of one table share it
                continue
            for mine, other in zip_longest(index, first):
                if mine != other:
                    raise ValueError(
                        f"{side} of {name} and {first_name} must be the same, got "
                        f"{mine!r} and {other!r}; {ONE_NUMBERING}"
                    )


def keep_labels(model: nn.Module, train: Ratings) -> None:
    """Let a model know whose rows its factors are: those of its training ratings."""
    if isinstance(model, MF):
        model.user_labels, model.item_labels = train.user_labels, train.item_labels


def center(mean: float | Literal["train"], train: Ratings) -> float:
    """Return the constant in all predictions: the training mean, or one given."""
    return _checks.real("mean", train.values.mean() if mean == "train" else mean)


def check_shape(predictions: Tensor, values: Tensor) -> None:
    """Raise unless predictions are one per rating, on the ratings' device."""
    shape, device = (getattr(predictions, x, None) for x in ("shape", "device"))
    if (shape, device) != (values.shape, values.device):
        raise ValueError(
            "model must return one prediction per rating, a tensor of shape "
            f"{tuple(values.shape)} on {values.device}, got "
            f"{type(predictions).__name__} of shape {shape} on {device}; use "
            f"model.to('{values.device}') for a model elsewhere"
        )


def predict(model: Predictor, ratings: Ratings, size: int = 2**18) -> Tensor:
    """Return the predictions of all ratings, computed in slices to save memory."""
    slices = zip(ratings.users.split(size), ratings.items.split(size), strict=True)
    predictions = []
    for users, items in slices:
        predictions.append(model(users, items))
        check_shape(predictions[-1], users)
    return torch.cat(predictions)


def objective(
    model: MF,
    ratings: Ratings,
    lam: float = 0.0,
    *,
    lam_per_rating: float = 0.0,
    prior_mean: Literal["zero", "learned"] = "zero",
) -> Tensor:
    r"""Compute the lecture's J (slide S7) of a model on the observed ratings.

    .. math::

        J = \sum_{ij} I_{ij} (r_{ij} - \hat r_{ij})^2
            + \frac{\lambda}{2} \|U\|_F^2 + \frac{\lambda}{2} \|V\|_F^2

    On request each row has a weight of its own,
    :math:`\lambda_i = \lambda + \lambda' n_i` with its number of ratings
    :math:`n_i`, and its distance is measured from the average row:
    :math:`\sum_i \frac{\lambda_i}{2} \|u_i - \bar u\|^2`.

    Parameters
    ----------
    model : MF
        Biases, where it has them, are penalised like the factors.
    ratings : Ratings
        The ratings summed over: a sum, not a mean.
    lam : float, default 0
        The penalty's weight λ, at least 0.
    lam_per_rating : float, default 0
        The λ' that each rating adds to its rows' weights, at least 0. Alone, with
        λ = 0, it is weighted-λ-regularization (Zhou et al. 2008,
        doi:10.1007/978-3-540-68880-8_32).
    prior_mean : {"zero", "learned"}, default "zero"
        What the penalty pulls rows to: zero, or the average row of their side, where
        each row counts with its weight. That average gives the smallest J.

    Returns
    -------
    Tensor
        A scalar that gradients flow through.

    Examples
    --------
    >>> ratings = Ratings([0, 1], [1, 0], [3.0, 4.0], n_users=2, n_items=2)
    >>> model = MF(2, 2, rank=1, init_std=0.0)  # all zeros
    >>> objective(model, ratings, lam=1.0).item()
    25.0
    """
    check_penalty(lam, lam_per_rating, prior_mean)
    _checks.instance("model", model, MF, "its U and V are what J penalises")
    check_sizes(model, ratings, "ratings")
    total: Tensor = (ratings.values - predict(model, ratings)).square().sum()
    for ids, tables in zip((ratings.users, ratings.items), model.sides(), strict=True):
        counts = torch.bincount(ids, minlength=tables[0].num_embeddings)
        weights = lam + lam_per_rating * counts.to(tables[0].weight.dtype)
        for table in tables:
            rows = table.weight
            if prior_mean == "learned":
                rows = rows - weighted_mean(rows, weights)
            total = total + (weights[:, None] * rows.square()).sum() / 2
    return _checks.finite("model, ratings and lam", total)


def check_penalty(lam: float, lam_per_rating: float, prior_mean: str) -> None:
    """Raise unless these are the arguments of J's penalty."""
    _checks.real("lam", lam, least=0.0)
    _checks.real("lam_per_rating", lam_per_rating, least=0.0)
    _checks.choice("prior_mean", prior_mean, "zero", "learned")


def prediction_errors(
    model: Predictor, ratings: Ratings, clip: tuple[float, float] | None = None
) -> Tensor:
    """Return predictions less ratings, whether finite or not."""
    check_sizes(model, ratings, "ratings")
    low, high = (-math.inf, math.inf) if clip is None else clip
    if not low < high:
        raise ValueError(f"clip must be (low, high), got {clip}")
    with torch.no_grad():
        return predict(model, ratings).clamp(low, high) - ratings.values


def rmse(
    model: Predictor, ratings: Ratings, *, clip: tuple[float, float] | None = None
) -> float:
    """Root of the mean squared error of a model's predictions.

    Parameters
    ----------
    model : callable
        Called with two tensors of ids, of users and of items; returns predictions.
    ratings : Ratings
        The ratings to predict. Their ids mean what they meant in training: where
        model and ratings have labels, these must be the same.
    clip : (float, float), optional
        Clip predictions to this range, such as (0.5, 5.0) stars, first.

    Returns
    -------
    float
        In the ratings' unit.
    """
    error = prediction_errors(model, ratings, clip).square().mean().sqrt()
    return float(_checks.finite("predictions of model", error))


def mae(
    model: Predictor, ratings: Ratings, *, clip: tuple[float, float] | None = None
) -> float:
    """Mean absolute error of a model's predictions; parameters as for :func:`rmse`."""
    error = prediction_errors(model, ratings, clip).abs().mean()
    return float(_checks.finite("predictions of model", error))


def check_parts(
    train: Ratings, validation: Ratings | None, test: Ratings | None
) -> dict[str, Ratings]:
    """Return the parts given, by name, all of the training part's size and labels."""
    others = {"validation": validation, "test": test}
    given = {"train": train} | {k: p for k, p in others.items() if p is not None}
    for name, part in given.items():
        _checks.instance(name, part, Ratings, "make them with Ratings.from_frame")
        check_size(name, part, "train", (train.n_users, train.n_items))
    check_labels(given)
    return given
