"""Samples from a posterior, and what can be said with them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from mflib import _checks


@dataclass(frozen=True, eq=False)
class Posterior:
    """Samples from the posterior; call it like a model to get posterior means.

    Attributes
    ----------
    U, V : Tensor, shapes (S, N, k) and (S, M, k)
        The factors of each of the S samples kept.
    b, c : Tensor, shapes (S, N) and (S, M)
        The biases; zero where there are none.
    sigma : Tensor, shape (S,)
        Standard deviation of the noise, or of a typical user's.
    tau : Tensor, shape (S,)
        Prior scale of the factors. A rating shows the product of both sides' scales
        alone, so it is the root of that product, averaged over the coordinates.
    mean : float
        The constant in all predictions.
    user_sigma : Tensor, shape (S, N), or None
        Where each user has a noise of their own, its standard deviation.
    user_labels, item_labels : pandas.Index or None
        Those of the training ratings.
    """

    U: Tensor
    V: Tensor
    b: Tensor
    c: Tensor
    sigma: Tensor
    tau: Tensor
    mean: float
    user_sigma: Tensor | None = None
    user_labels: pd.Index | None = None
    item_labels: pd.Index | None = None

    def moments(self, users: Tensor, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and variance over the samples of each noise-free rating."""
        _checks.pairs(users, items, self.U[0], self.V[0])
        shape = torch.broadcast_shapes(users.shape, items.shape)
        total = torch.zeros(shape, dtype=self.U.dtype)
        squares = torch.zeros_like(total)
        for s in range(len(self.sigma)):  # one at a time: memory for one, not for all
            taste = (self.U[s, users] * self.V[s, items]).sum(-1)
            prediction = taste + self.b[s, users] + self.c[s, items]
            total += prediction
            squares += prediction**2
        mean = total / len(self.sigma)
        return self.mean + mean, (squares / len(self.sigma) - mean**2).clamp(min=0)

    def __call__(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the posterior mean of each (user, item) pair's rating."""
        return self.moments(users, items)[0]

    def noise_variance(self, users: Tensor) -> Tensor:
        """Return the mean over the samples of the noise's variance: of each user's."""
        if self.user_sigma is None:
            return self.sigma.square().mean()
        return self.user_sigma.square().mean(0)[users]

    def interval(
        self, users: Tensor, items: Tensor, level: float = 0.9
    ) -> tuple[Tensor, Tensor]:
        """Return the bounds between which a new rating lies with probability level.

        The predictive distribution, a mixture of one normal per sample, is taken as
        the normal with its mean and variance.

        Parameters
        ----------
        users, items : Tensor, shape (n,)
        level : float, default 0.9
            Between 0 and 1.

        Returns
        -------
        lower, upper : Tensor, shape (n,)
        """
        level = _checks.real("level", level, above=0.0)
        if level >= 1.0:
            raise ValueError(f"level must be below 1, got {level}")
        mean, variance = self.moments(users, items)
        spread = (variance + self.noise_variance(users)).sqrt()
        z = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor((1 + level) / 2))
        return mean - z * spread, mean + z * spread
