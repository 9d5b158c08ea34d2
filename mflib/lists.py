"""Ranked lists: what to recommend to a user, and which items are alike."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from torch import nn

from mflib import _checks
from mflib.model import MF, Predictor, check_sizes
from mflib.ratings import Ratings, known_labels
from mflib.tables import numbered


def recommend(model: Predictor, train: Ratings, user: Any, n: int = 10) -> pd.Series:
    """Return the items with the highest predictions that a user has not rated.

    Parameters
    ----------
    model : callable
        A fitted :class:`MF`, a :class:`Posterior`, or any other.
    train : Ratings
        With labels; what the user has rated there is left out.
    user : label
        One of ``train.user_labels``.
    n : int, default 10
        How many items, at most.

    Returns
    -------
    pandas.Series
        Predictions, the highest first, by item label.
    """
    _checks.count("n", n)
    check_sizes(model, train, "train")
    _, labels = known_labels("train", train)
    users, items = train.encode([user] * train.n_items, labels)
    with torch.no_grad():
        predictions = pd.Series(model(users, items).numpy(), labels)
    rated = labels[train.items[train.users == users[0]].numpy()]
    return predictions.drop(rated).nlargest(n)


def similar(model: MF, item: Any, n: int = 10) -> pd.Series:
    """Return the items whose factors point in the most similar direction.

    Parameters
    ----------
    model : MF
        Fitted to ratings with labels.
    item : label
        One of ``model.item_labels``.
    n : int, default 10
        How many items, at most.

    Returns
    -------
    pandas.Series
        Cosines, the highest first, by item label.
    """
    _checks.count("n", n)
    _checks.instance("model", model, MF, "its V is what is compared")
    if model.item_labels is None:
        raise ValueError(
            "model must have item_labels, got None; fit it to ratings made with "
            "Ratings.from_frame"
        )
    (mine,), _ = numbered("item", pd.Series([item]), model.item_labels, "model")
    v = model.V.weight.detach()
    cosines = nn.functional.cosine_similarity(v, v[mine], dim=1).numpy()
    return pd.Series(cosines, model.item_labels).drop([item]).nlargest(n)
