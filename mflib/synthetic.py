"""Ratings made from a known truth, so that every claim can be checked against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from mflib import _checks
from mflib.ratings import Ratings


def seeded(seed: int) -> torch.Generator:
    """Return a source of random numbers, seeded with ``seed``."""
    return torch.Generator().manual_seed(
        _checks.count("seed", seed, least=0, most=2**64 - 1)
    )


@dataclass(frozen=True, eq=False)
class Truth:
    """What the ratings were made from; call it like a model to get noise-free ratings.

    Attributes
    ----------
    U, V : Tensor, shapes (N, k) and (M, k)
        The true factors, one row per user and per item.
    b, c : Tensor, shapes (N,) and (M,)
        The true biases of users and items.
    mean : float
        The constant added to every rating.
    tau, sigma : float
        Standard deviation of the factors' entries and of the noise.
    """

    U: Tensor
    V: Tensor
    b: Tensor
    c: Tensor
    mean: float
    tau: float
    sigma: float

    def __call__(self, users: Tensor, items: Tensor) -> Tensor:
        """Return the noise-free rating of each (user, item) pair."""
        _checks.pairs(users, items, self.U, self.V)
        biases = self.b[users] + self.c[items]
        return self.mean + biases + (self.U[users] * self.V[items]).sum(-1)


def make_low_rank_ratings(
    n_users: int,
    n_items: int,
    rank: int,
    *,
    density: float,
    tau: float = 1.0,
    sigma: float = 1.0,
    mean: float = 0.0,
    bias_tau: float = 0.0,
    popularity: Literal["uniform", "power-law"] = "uniform",
    generator: torch.Generator,
) -> tuple[Ratings, Truth]:
    """Draw ratings r_ij = mean + b_i + c_j + u_i . v_j + noise at random cells.

    Parameters
    ----------
    n_users, n_items, rank : int
        N, M and the true rank k.
    density : float
        Share of the N x M cells that are observed, in (0, 1].
    tau : float, default 1
        Prior scale: entries of u_i and v_j are drawn from N(0, tau^2).
    sigma : float, default 1
        Noise scale: N(0, sigma^2) is added to each observed rating. It is the RMSE
        of the truth itself, the noise floor: on new ratings no model is expected to
        get below it.
    mean : float, default 0
        A constant added to every rating.
    bias_tau : float, default 0
        Prior scale of the biases b_i and c_j.
    popularity : {"uniform", "power-law"}, default "uniform"
        How cells are chosen. "uniform": every cell alike. "power-law": the p-th most
        active user and the p-th most popular item are chosen with weight 1/p, as the
        long tail of real ratings; users and items stand in order of popularity.
    generator : torch.Generator
        Source of all random numbers.

    Returns
    -------
    ratings : Ratings
    truth : Truth

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or density leaves no cell observed.

    Notes
    -----
    It draws one random number for each of the N x M cells, at most 2^31.
    """
    *sizes, rank = _checks.counts(n_users=n_users, n_items=n_items, rank=rank)
    n_users, n_items = sizes
    density = _checks.real("density", density, above=0.0)
    tau = _checks.real("tau", tau, least=0.0)
    sigma = _checks.real("sigma", sigma, least=0.0)
    mean = _checks.real("mean", mean)
    bias_tau = _checks.real("bias_tau", bias_tau, least=0.0)
    _checks.generator(generator)
    _checks.choice("popularity", popularity, "uniform", "power-law")
    n_cells = _checks.count("n_users * n_items", n_users * n_items)
    n = round(density * n_cells)
    if not (density <= 1.0 and n >= 1):
        raise ValueError(
            f"density must lie in (0, 1] and observe at least one of the {n_cells} "
            f"cells, got {density}"
        )

    U, V = (tau * torch.randn(size, rank, generator=generator) for size in sizes)
    b, c = (bias_tau * torch.randn(size, generator=generator) for size in sizes)
    truth = Truth(U, V, b, c, mean, tau, sigma)
    # The n largest of log-weight + Gumbel noise are a weighted draw without
    # replacement (Efraimidis & Spirakis 2006, doi:10.1016/j.ipl.2005.11.003).
    gumbel = -torch.log(torch.empty(n_cells).exponential_(generator=generator))
    if popularity == "power-law":
        active, popular = (torch.arange(1, size + 1).log() for size in sizes)
        gumbel -= (active[:, None] + popular).flatten()
    cells = gumbel.topk(n).indices.sort().values
    users, items = cells // n_items, cells % n_items
    values = truth(users, items) + sigma * torch.randn(n, generator=generator)
    return Ratings(users, items, values, n_users=n_users, n_items=n_items), truth
