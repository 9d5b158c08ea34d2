"""The baseline every recommender has to beat: a mean and two biases."""

from __future__ import annotations

import torch
from torch import Tensor

from mflib import _checks
from mflib.model import MF, keep_labels
from mflib.ratings import Ratings


def bias_baseline(train: Ratings, *, lam: float = 0.0, sweeps: int = 50) -> MF:
    """Predict mean + b_i + c_j: how generous the user is, how liked the item.

    Minimises sum (r_ij - mean - b_i - c_j)^2 + (lam / 2) (||b||^2 + ||c||^2) by
    alternating between the closed forms for b and for c, as often as asked
    (Koren, Bell & Volinsky 2009, doi:10.1109/MC.2009.263).

    Parameters
    ----------
    train : Ratings
        The mean is the mean of their values.
    lam : float, default 0
        The weight of the penalty, at least 0.
    sweeps : int, default 50
        How often both closed forms are applied. 50 are plenty where users and items
        share many ratings; long chains of users with two ratings each need more.

    Returns
    -------
    MF
        A model of rank 1 whose factors are zero.

    Raises
    ------
    ValueError, TypeError
        If lam or sweeps is out of range.
    """
    lam = _checks.real("lam", lam, least=0.0)
    sweeps = _checks.count("sweeps", sweeps)
    _checks.instance("train", train, Ratings, "make them with Ratings(…)")
    mean = float(train.values.mean())
    b, c = torch.zeros(train.n_users), torch.zeros(train.n_items)

    def shrunk_mean(ids: Tensor, residuals: Tensor, size: int) -> Tensor:
        counts = torch.bincount(ids, minlength=size)
        sums = torch.bincount(ids, weights=residuals, minlength=size)
        return sums.to(residuals.dtype) / (counts + lam / 2).clamp(min=1)

    for _ in range(sweeps):
        residuals = train.values - mean - c[train.items]
        b = shrunk_mean(train.users, residuals, train.n_users)
        residuals = train.values - mean - b[train.users]
        c = shrunk_mean(train.items, residuals, train.n_items)
    model = MF(train.n_users, train.n_items, 1, biases=True, mean=mean, init_std=0.0)
    model.to(train.values.dtype)
    keep_labels(model, train)
    biases = {"user_bias.weight": b[:, None], "item_bias.weight": c[:, None]}
    model.load_state_dict({**model.state_dict(), **biases})
    return model
