"""Alternating least squares: the same objective J, each half a linear solve."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from mflib import _checks
from mflib.model import MF, center, check_parts, check_penalty, check_sizes, keep_labels
from mflib.penalties import weighted_mean
from mflib.rated import conjugate_gradients
from mflib.ratings import Ratings
from mflib.sparse import CSR, SparseRatings, sparse


@_checks.usual_modes(gradients=False)
def als(
    train: Ratings,
    *,
    rank: int,
    lam: float,
    lam_per_rating: float = 0.0,
    prior_mean: Literal["zero", "learned"] = "zero",
    sweeps: int = 20,
    cg_steps: int = 0,
    biases: bool = False,
    mean: float | Literal["train"] = 0.0,
    init: MF | None = None,
    init_std: float = 0.1,
    generator: torch.Generator | None = None,
    validation: Ratings | None = None,
    test: Ratings | None = None,
    every: int = 1,
    dtype: torch.dtype | None = None,
    progress: bool = False,
) -> tuple[MF, pd.DataFrame]:
    """Minimise slide S7's J by solving for all u_i, then for all v_j, in turn.

    With V fixed, J is one ridge regression per user, whose minimiser has a closed
    form; with U fixed, one per item. So J never rises. An interrupt
    (KeyboardInterrupt) ends it with the last complete sweep, and a RuntimeWarning.

    Parameters
    ----------
    train : Ratings
        The ratings to learn from.
    rank : int
        The number k of factors of each user and item.
    lam, lam_per_rating : float
        The weight of a row's penalty in J is lam + lam_per_rating * (its number of
        ratings); both at least 0 (:func:`objective`). At 0, each solve takes the
        smallest of its minimisers.
    prior_mean : {"zero", "learned"}, default "zero"
        What rows are pulled to: zero, or the average row of their side. Averages that
        are free to grow take items along at little cost: choose ``sweeps``, too, on
        validation data.
    sweeps : int, default 20
        How often both halves are solved.
    cg_steps : int, default 0
        In place of each row's exact solution, take so many steps of conjugate gradients
        towards it, from where the row is (Takács, Pilászy & Tikk 2011): J still never
        rises. One or two will do, and save the more time the higher the rank.
    biases : bool, default False
        Solve for b_i and c_j together with the factors, under the same penalty.
    mean : float or "train", default 0
        A constant in all predictions; "train" is the mean of the training ratings.
    init : MF, optional
        Start from this model's factors, biases and mean; by default at random.
    init_std, generator
        As for :class:`MF`. Without a generator, two runs differ a little.
    validation, test : Ratings, optional
        Also measured, with the training ratings; never learned from.
    every : int, default 1
        How many sweeps lie between two measurements; the last has one always. With 0,
        nothing is measured, and the history is empty.
    dtype : torch.float32 or torch.float64, optional
        Of the model and the solves; the ratings' own by default.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    model : MF
        Users and items without ratings have the row that all are pulled to. Its
        predictions carry gradients, as any module's: ``.detach()`` drops them.
    history : pandas.DataFrame
        One row per sweep that was measured, from 0 (the start): J in column
        ``objective``, and RMSE in columns train, validation and test as given.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, or the parts differ in size or labels.

    Notes
    -----
    At rank 16, 10 million ratings take about 1 GB in all, in either dtype, and so does
    :func:`fit`: the 32 million of ml-32m fit a laptop. float32 halves the time.

    Examples
    --------
    >>> from mflib import make_low_rank_ratings, seeded
    >>> ratings, truth = make_low_rank_ratings(
    ...     60, 40, 2, density=0.5, sigma=0.5, generator=seeded(0)
    ... )
    >>> model, history = als(
    ...     ratings, rank=2, lam=0.5, sweeps=10, generator=seeded(1)
    ... )
    >>> history["objective"].is_monotonic_decreasing
    True
    """
    check_penalty(lam, lam_per_rating, prior_mean)
    _checks.counts(least=0, sweeps=sweeps, cg_steps=cg_steps, every=every)
    measured = check_parts(train, validation, test)
    if init is None:
        sizes, mean = (train.n_users, train.n_items, rank), center(mean, train)
        model = MF(
            *sizes, biases=biases, mean=mean, init_std=init_std, generator=generator
        )
    else:
        model = copy_of(init, train, rank, biases)
    keep_labels(model, train)
    how = {"rank": rank, "biases": biases, "mean": float(model.mean)}
    parts = sparse(measured, dtype, **how)
    data = parts["train"]
    pulls = [
        Pull((lam + lam_per_rating * n).to(data.dtype) / 2, prior_mean == "learned")
        for n in (data.by_user.counts, data.by_item.counts)
    ]

    users, items = rows_of(model.to(data.dtype))
    done, history = 0, {0: measure(parts, users, items, pulls)} if every else {}
    try:
        for number in tqdm(range(1, sweeps + 1), disable=not progress):
            (users, items), done = sweep(data, users, items, pulls, cg_steps), number
            if every and (done == sweeps or done % every == 0):
                history[done] = measure(parts, users, items, pulls)
    except KeyboardInterrupt:
        _checks.warn_interrupted(done, sweeps, "sweeps")
        history[done] = measure(parts, users, items, pulls)
    set_rows(model, users, items)
    return model, pd.DataFrame(history.values(), pd.Index(history, name="sweep"))


@_checks.usual_modes(gradients=False)
def fold_in(
    model: MF,
    items: Any,
    values: Any,
    *,
    lam: float,
    lam_per_rating: float = 0.0,
    prior_mean: Literal["zero", "learned"] = "zero",
) -> MF:
    """Fit someone new to a model's items: one ridge regression.

    Parameters
    ----------
    model : MF
    items : array-like of int, shape (n,)
        The items that the person rated, as ids (:meth:`Ratings.encode`).
    values : array-like of float, shape (n,)
        Their ratings.
    lam : float
        The weight of the penalty, as in :func:`als`; greater than 0.
    lam_per_rating, prior_mean
        As in :func:`als`; "learned" is the average of the model's users.

    Returns
    -------
    MF
        A model with one user, number 0, and the same items.

    Examples
    --------
    >>> import torch
    >>> from mflib import make_low_rank_ratings, seeded
    >>> ratings, truth = make_low_rank_ratings(
    ...     60, 40, 2, density=0.5, sigma=0.5, generator=seeded(0)
    ... )
    >>> model, history = als(ratings, rank=2, lam=0.5, generator=seeded(1))
    >>> person = fold_in(model, items=[0, 1, 2], values=[2.0, -1.0, 0.5], lam=0.5)
    >>> person(torch.tensor(0), torch.arange(40)).shape
    torch.Size([40])
    """
    lam = _checks.real("lam", lam, above=0.0)
    _checks.instance("model", model, MF, "for example a fitted one")
    check_penalty(lam, lam_per_rating, prior_mean)
    users, rows = rows_of(model)
    ratings = Ratings(
        torch.zeros(len(values)), items, values, n_users=1, n_items=len(rows)
    )
    person = MF(1, len(rows), model.rank, biases=model.biases, init_std=0.0)
    person.to(rows.dtype).mean.copy_(model.mean)
    person.item_labels = model.item_labels
    how = {"rank": model.rank, "biases": model.biases, "mean": float(model.mean)}
    data = sparse({"train": ratings}, rows.dtype, **how)["train"]
    penalty = rows.new_tensor([(lam + lam_per_rating * len(ratings)) / 2])
    center = users.mean(0) if prior_mean == "learned" else None
    row = solve_ridge(*data.user_regressions(rows), penalty, center)
    set_rows(person, row, rows)
    return person


def sweep(
    data: SparseRatings, users: Tensor, items: Tensor, pulls: list[Pull], cg_steps: int
) -> tuple[Tensor, Tensor]:
    """Return users given the items, and then items given these users."""
    users = solve_rows(*data.user_regressions(items), pulls[0], users, cg_steps)
    items = solve_rows(*data.item_regressions(users), pulls[1], items, cg_steps)
    return users, _checks.finite("train, lam and init", items)


def copy_of(init: MF, train: Ratings, rank: int, biases: bool) -> MF:
    """Return a copy of a model, if als can start from it."""
    _checks.instance("init", init, MF, "for example one that als returned")
    check_sizes(init, train, "train")
    if (init.rank, init.biases) != (rank, biases):
        raise ValueError(
            f"init must have rank={rank} and biases={biases}, got {init.rank} and "
            f"{init.biases}; ask for these, or start at random"
        )
    return copy.deepcopy(init)


def rows_of(model: MF) -> list[Tensor]:
    """Return users, each row u_i and then b_i where there are biases; and items."""
    return [torch.cat([t.weight for t in side], dim=1) for side in model.sides()]


def set_rows(model: MF, *rows: Tensor) -> None:
    """Undo :func:`rows_of`."""
    for tables, values in zip(model.sides(), rows, strict=True):
        for table, part in zip(tables, values.split(model.rank, dim=1), strict=True):
            table.weight.copy_(part)


def measure(
    parts: dict[str, SparseRatings], users: Tensor, items: Tensor, pulls: list[Pull]
) -> dict[str, float]:
    """Return J of the training part, and the RMSE of each part."""
    squares = {
        name: part.errors(users, items).square_().sum(dtype=torch.float64)
        for name, part in parts.items()
    }
    penalty = pulls[0].penalty(users) + pulls[1].penalty(items)
    J = _checks.finite("train, lam and init", squares["train"] + penalty)
    errors = {k: float((s / len(parts[k])).sqrt()) for k, s in squares.items()}
    return {"objective": float(J), **errors}


@dataclass(frozen=True, eq=False)
class Pull:
    """What one side's rows are pulled to, and how much each of them.

    Attributes
    ----------
    weights : Tensor, shape (n_rows,)
        Half the penalty's weight of each row.
    learned : bool
        Whether rows are pulled to their average, or to zero.
    """

    weights: Tensor
    learned: bool

    def center(self, rows: Tensor) -> Tensor:
        """Return the row that these rows are pulled to."""
        average = weighted_mean(rows, self.weights)
        return average if self.learned else torch.zeros_like(average)

    def penalty(self, rows: Tensor) -> Tensor:
        """Return what these rows add to J."""
        return self.weights @ (rows - self.center(rows)).square().sum(1)


def solve_rows(
    ratings: CSR,
    targets: Tensor,
    features: Tensor,
    pull: Pull,
    rows: Tensor,
    cg_steps: int = 0,
) -> Tensor:
    """Solve for one side's rows, given the center of its rows so far.

    Rows without ratings move to the center of the new ones: no J is lower.
    """
    center, penalty = pull.center(rows), pull.weights[:, None]
    if cg_steps == 0:
        solved = solve_ridge(ratings, targets, features, pull.weights, center)
    else:

        def gradient(w: Tensor, targets: Tensor) -> Tensor:
            errors = ratings.add_products(-targets, w, features)
            return ratings.matrix(errors) @ features + penalty * w

        hessian = partial(gradient, targets=torch.zeros_like(targets))
        downhill = penalty * center - gradient(rows, targets)
        norms = ratings.matrix(torch.ones_like(targets)) @ features.square()
        step = conjugate_gradients(hessian, downhill, norms + penalty, cg_steps, 0.0, 1)
        solved = rows + step
    if pull.learned:
        rated = ratings.counts > 0
        average = weighted_mean(solved, pull.weights * rated)
        solved = solved.where(rated[:, None], average)
    return solved


def solve_ridge(
    rows: CSR,
    targets: Tensor,
    features: Tensor,
    penalty: Tensor,
    center: Tensor | None = None,
) -> Tensor:
    """Solve one ridge regression for each row of a sparse matrix.

    Parameters
    ----------
    rows : CSR
    targets : Tensor, shape (n,)
        The target t of each entry, sorted by row.
    features : Tensor, shape (n_columns, p)
        The features x of each column.
    penalty : Tensor, shape (n_rows,)
        The a of each row, at least 0.
    center : Tensor, shape (p,), optional
        The m that rows are pulled to; zero by default.

    Returns
    -------
    Tensor, shape (n_rows, p)
        For each row the w that minimises sum (t - x . w)^2 + a ||w - m||^2; where that
        leaves a choice, the smallest.
    """
    p = features.shape[1]
    tiny = 10 * p * torch.finfo(features.dtype).eps  # of rounding in a Gram matrix
    center = features.new_zeros(p) if center is None else center
    moments = rows.matrix(targets) @ features + penalty[:, None] * center
    solution = center.repeat(len(moments), 1)
    for ids, gram in rows.grams(features):
        diagonal = gram.diagonal(dim1=1, dim2=2)
        scale = diagonal.amax(1)
        diagonal += penalty[ids, None]
        factor, failed = torch.linalg.cholesky_ex(gram)
        pivots = factor.diagonal(dim1=1, dim2=2).amin(1).square()
        w = torch.cholesky_solve(moments[ids, :, None], factor).squeeze(-1)
        for at in ((failed > 0) | ~(pivots > tiny * scale)).nonzero():
            # The matrix may be singular: least squares on [x; sqrt(a) I].
            i = ids[at]
            mine = slice(rows.starts[i], rows.starts[i + 1])
            root = penalty[i].sqrt().expand(p)
            x = torch.cat([features[rows.columns[mine]], torch.diag(root)])
            t = torch.cat([targets[mine], root * center])
            w[at] = torch.linalg.lstsq(x, t[:, None], driver="gelsd").solution.mT
        solution[ids] = w
    return solution
