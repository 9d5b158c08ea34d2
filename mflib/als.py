"""Alternating least squares: the same objective J, each half a linear solve."""

from __future__ import annotations

import copy
from typing import Any, Literal

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from mflib import _checks
from mflib.model import MF, center, check_parts, check_sizes, keep_labels
from mflib.ratings import Ratings
from mflib.sparse import CSR, SparseRatings


@_checks.usual_modes(gradients=False)
def als(
    train: Ratings,
    *,
    rank: int,
    lam: float,
    sweeps: int = 20,
    biases: bool = False,
    mean: float | Literal["train"] = 0.0,
    count_weighted: bool = False,
    init: MF | None = None,
    init_std: float = 0.1,
    generator: torch.Generator | None = None,
    validation: Ratings | None = None,
    test: Ratings | None = None,
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
    lam : float
        The weight of the penalty in J, at least 0 (:func:`objective`). At 0, each
        solve takes the smallest of its minimisers.
    sweeps : int, default 20
        How often both halves are solved.
    biases : bool, default False
        Solve for b_i and c_j together with the factors, under the same penalty.
    mean : float or "train", default 0
        A constant in all predictions; "train" is the mean of the training ratings.
    count_weighted : bool, default False
        Multiply each row's penalty by its number of ratings, as :func:`objective`.
    init : MF, optional
        Start from this model's factors, biases and mean; by default at random.
    init_std, generator
        As for :class:`MF`. Without a generator, two runs differ a little.
    validation, test : Ratings, optional
        Also measured after every sweep; never learned from.
    dtype : torch.float32 or torch.float64, optional
        Of the model and the solves; the ratings' own by default.
    progress : bool, default False
        Show a progress bar.

    Returns
    -------
    model : MF
        Users and items without ratings have zero factors and zero biases. Its
        predictions carry gradients, as any module's: ``.detach()`` drops them.
    history : pandas.DataFrame
        One row per sweep, from 0 (the start): J in column ``objective``, and RMSE in
        columns train, validation and test as given.

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
    lam = _checks.real("lam", lam, least=0.0)
    _checks.count("sweeps", sweeps, least=0)
    measured = check_parts(train, validation, test)
    if init is None:
        sizes, mean = (train.n_users, train.n_items, rank), center(mean, train)
        model = MF(
            *sizes, biases=biases, mean=mean, init_std=init_std, generator=generator
        )
    else:
        check_init(init, train, rank, biases)
        model = copy.deepcopy(init)
    keep_labels(model, train)
    parts = sparse(measured, model, train.values.dtype if dtype is None else dtype)
    data = parts["train"]
    model.to(data.dtype)
    penalties = [
        lam / 2 * (side.counts if count_weighted else torch.ones_like(side.counts))
        for side in (data.by_user, data.by_item)
    ]
    a_users, a_items = (penalty.to(data.dtype) for penalty in penalties)

    users, items = rows_of(model)
    history = [measure(parts, users, items, a_users, a_items)]
    try:
        for _ in tqdm(range(sweeps), disable=not progress):
            u = solve_ridge(*data.user_regressions(items), a_users)
            v = solve_ridge(*data.item_regressions(u), a_items)
            row = measure(parts, u, v, a_users, a_items)
            users, items, history = u, v, [*history, row]  # the last complete sweep
    except KeyboardInterrupt:
        _checks.warn_interrupted(len(history) - 1, sweeps, "sweeps")
    set_rows(model, users, items)
    return model, pd.DataFrame(history).rename_axis("sweep")


@_checks.usual_modes(gradients=False)
def fold_in(model: MF, items: Any, values: Any, *, lam: float) -> MF:
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
    _, rows = rows_of(model)
    ratings = Ratings(
        torch.zeros(len(values)), items, values, n_users=1, n_items=len(rows)
    )
    person = MF(1, len(rows), model.rank, biases=model.biases, init_std=0.0)
    person.to(rows.dtype).mean.copy_(model.mean)
    person.item_labels = model.item_labels
    data = sparse({"train": ratings}, person, rows.dtype)["train"]
    penalty = rows.new_tensor([lam / 2])
    set_rows(person, solve_ridge(*data.user_regressions(rows), penalty), rows)
    return person


def check_init(init: MF, train: Ratings, rank: int, biases: bool) -> None:
    """Raise unless als can start from a model."""
    _checks.instance("init", init, MF, "for example one that als returned")
    check_sizes(init, train, "train")
    if (init.rank, init.biases) != (rank, biases):
        raise ValueError(
            f"init must have rank={rank} and biases={biases}, got {init.rank} and "
            f"{init.biases}; ask for these, or start at random"
        )


def sparse(
    parts: dict[str, Ratings], model: MF, dtype: torch.dtype
) -> dict[str, SparseRatings]:
    """Return the ratings of each part, less the model's mean, as sparse matrices."""
    rank, biases, mean = model.rank, model.biases, float(model.mean)
    return {
        name: SparseRatings(part, rank=rank, biases=biases, mean=mean, dtype=dtype)
        for name, part in parts.items()
    }


def rows_of(model: MF) -> tuple[Tensor, Tensor]:
    """Return users, each row u_i and then b_i where there are biases; and items."""
    u, v = model.U.weight.detach(), model.V.weight.detach()
    if model.user_bias is None or model.item_bias is None:
        return u, v
    b, c = model.user_bias.weight.detach(), model.item_bias.weight.detach()
    return torch.cat([u, b], dim=1), torch.cat([v, c], dim=1)


def set_rows(model: MF, users: Tensor, items: Tensor) -> None:
    """Undo :func:`rows_of`."""
    model.U.weight.copy_(users[:, : model.rank])
    model.V.weight.copy_(items[:, : model.rank])
    if model.user_bias is not None and model.item_bias is not None:
        model.user_bias.weight.copy_(users[:, model.rank :])
        model.item_bias.weight.copy_(items[:, model.rank :])


def measure(
    parts: dict[str, SparseRatings],
    users: Tensor,
    items: Tensor,
    a_users: Tensor,
    a_items: Tensor,
) -> dict[str, float]:
    """Return J of the training part, and the RMSE of each part."""
    squares = {
        name: part.errors(users, items).square_().sum(dtype=torch.float64)
        for name, part in parts.items()
    }
    penalty = a_users @ users.square().sum(1) + a_items @ items.square().sum(1)
    J = _checks.finite("train, lam and init", squares["train"] + penalty)
    errors = {k: float((s / len(parts[k])).sqrt()) for k, s in squares.items()}
    return {"objective": float(J), **errors}


def solve_ridge(
    rows: CSR, targets: Tensor, features: Tensor, penalty: Tensor
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

    Returns
    -------
    Tensor, shape (n_rows, p)
        For each row the w that minimises sum (t - x . w)^2 + a ||w||^2; where that
        leaves a choice, the smallest.
    """
    p = features.shape[1]
    tiny = 10 * p * torch.finfo(features.dtype).eps  # of rounding in a Gram matrix
    moments = rows.matrix(targets) @ features  # the sum of t x of each row
    solution = torch.zeros_like(moments)
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
            x = torch.cat(
                [features[rows.columns[mine]], torch.diag(penalty[i].sqrt().expand(p))]
            )
            t = torch.cat([targets[mine], targets.new_zeros(p)])
            w[at] = torch.linalg.lstsq(x, t[:, None], driver="gelsd").solution.mT
        solution[ids] = w
    return solution
