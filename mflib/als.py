"""Alternating least squares: the same objective J, each half a linear solve."""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from mflib import _checks
from mflib.model import MF, keep_labels, measured_parts
from mflib.ratings import Ratings
from mflib.sparse import SparseRows, both_sides


@_checks.usual_modes(gradients=False)
def als(
    train: Ratings,
    *,
    rank: int,
    lam: float,
    sweeps: int = 20,
    biases: bool = False,
    mean: float = 0.0,
    count_weighted: bool = False,
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
    biases, mean, init_std, generator
        As for :class:`MF`. Biases are solved together with the factors and carry the
        same penalty.
    count_weighted : bool, default False
        Multiply each row's penalty by its number of ratings, as :func:`objective`.
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
        If an argument is out of range, or the parts differ in size.

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
    sweeps = _checks.count("sweeps", sweeps, least=0)
    count_weighted = _checks.flag("count_weighted", count_weighted)
    progress = _checks.flag("progress", progress)
    measured = measured_parts(train, validation, test)
    dtype = train.values.dtype if dtype is None else dtype  # of all parts
    n, m = train.n_users, train.n_items
    model = MF(
        n, m, rank, biases=biases, mean=mean, init_std=init_std, generator=generator
    )
    keep_labels(model, train)
    parts = {
        name: Data(part, rank, biases, float(model.mean), dtype)
        for name, part in measured.items()
    }
    data = parts["train"]
    model.to(data.dtype)

    def penalty(side: SparseRows) -> Tensor:
        weights = side.counts if count_weighted else torch.ones_like(side.counts)
        return (lam / 2 * weights).to(data.dtype)

    a_users, a_items = penalty(data.by_user), penalty(data.by_item)

    sizes = f"{rank=}, {lam=}, {mean=}, {init_std=} and the ratings"

    def record(users: Tensor, items: Tensor) -> dict[str, float]:
        squares = {
            name: part.errors(users, items).square_().sum(dtype=torch.float64)
            for name, part in parts.items()
        }
        penalties = a_users @ users.square().sum(1) + a_items @ items.square().sum(1)
        errors = {k: float((s / len(parts[k])).sqrt()) for k, s in squares.items()}
        J = _checks.finite(sizes, squares["train"] + penalties)
        return {"objective": float(J), **errors}

    with _checks.within_bounds(sizes):
        users = torch.cat(
            [e.weight for e in (model.U, model.user_bias) if e is not None], dim=1
        )
        items = torch.cat(
            [e.weight for e in (model.V, model.item_bias) if e is not None], dim=1
        )
        last = users, items, [record(users, items)]
        try:
            for _ in tqdm(range(sweeps), disable=not progress):
                users = ridge_rows(*data.user_half(items), a_users)
                items = ridge_rows(*data.item_half(users), a_items)
                last = users, items, [*last[2], record(users, items)]
        except KeyboardInterrupt:
            _checks.warn_interrupted(len(last[2]) - 1, sweeps, "sweeps")
        users, items, history = last
        model.U.weight.copy_(users[:, :rank])
        model.V.weight.copy_(items[:, :rank])
        if model.user_bias is not None and model.item_bias is not None:
            model.user_bias.weight.copy_(users[:, rank:])
            model.item_bias.weight.copy_(items[:, rank:])
    return model, pd.DataFrame(history).rename_axis("sweep")


class Data:
    """Ratings arranged for both halves of a sweep.

    ``users`` is always one matrix with a row per user: u_i, then b_i where there are
    biases; ``items`` likewise.
    """

    def __init__(
        self,
        ratings: Ratings,
        rank: int,
        biases: bool = True,
        mean: float = 0.0,
        dtype: torch.dtype | None = None,
    ) -> None:
        dtype = ratings.values.dtype if dtype is None else dtype
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"dtype must be torch.float32 or torch.float64, got {dtype!r}, by "
                "default that of the ratings; pass dtype=torch.float64"
            )
        values = (ratings.values - mean).to(dtype)
        self.rank, self.biases, self.dtype = rank, biases, values.dtype
        self.by_user, self.by_item = both_sides(ratings, values)

    def __len__(self) -> int:
        return len(self.by_user.values)

    def user_half(self, items: Tensor) -> tuple[SparseRows, Tensor, Tensor]:
        """Return rows, targets and features of the users' regressions, given items."""
        return self._half(self.by_user, items)

    def item_half(self, users: Tensor) -> tuple[SparseRows, Tensor, Tensor]:
        """Return rows, targets and features of the items' regressions, given users."""
        return self._half(self.by_item, users)

    def _half(
        self, side: SparseRows, others: Tensor
    ) -> tuple[SparseRows, Tensor, Tensor]:
        if not self.biases:
            return side, side.values, others
        # r - mean - c_j = u_i . v_j + b_i * 1: the bias is one more entry of u_i,
        # whose feature is always 1.
        bias = others[:, self.rank].contiguous()
        features = others.clone()
        features[:, self.rank] = 1.0
        return side, side.values - bias.index_select(0, side.columns), features

    def errors(self, users: Tensor, items: Tensor) -> Tensor:
        """Return prediction less rating of each entry, sorted by user."""
        if self.biases:
            # u.v + b + c = [u, b, 1] . [v, 1, c]
            k, ones = self.rank, torch.ones_like
            users = torch.cat([users, ones(users[:, k:])], dim=1)
            items = torch.cat([items[:, :k], ones(items[:, k:]), items[:, k:]], dim=1)
        return self.by_user.add_products(-self.by_user.values, users, items)


def ridge_rows(
    rows: SparseRows, targets: Tensor, features: Tensor, penalty: Tensor
) -> Tensor:
    """Solve one ridge regression for each row of a sparse matrix.

    Parameters
    ----------
    rows : SparseRows
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
