"""All predictions of a factorization at once, by products with a sparse matrix."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from mflib.model import MF
from mflib.ratings import Ratings
from mflib.sparse import CSR, SparseRatings


class _Products(torch.autograd.Function):
    """mean + u_i . v_j of each rating, with sparse products for its gradients."""

    @staticmethod
    def forward(
        ctx: Any, u: Tensor, v: Tensor, mean: float, users: CSR, items: CSR
    ) -> Tensor:
        ctx.save_for_backward(u, v)
        ctx.users, ctx.items = users, items
        predictions = u.new_full(users.columns.shape, mean)
        return users.unsorted(users.add_products(predictions, u, v))

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        u, v = ctx.saved_tensors
        grad_u = ctx.users.matrix(ctx.users.sorted(grad)) @ v
        grad_v = ctx.items.matrix(ctx.items.sorted(grad)) @ u
        return grad_u, grad_v, None, None, None


def full_batch(model: nn.Module, ratings: Ratings) -> Callable[[], Tensor] | None:
    """Return a fast equivalent of ``model(ratings.users, ratings.items)``, or None.

    Equal up to rounding: it adds in another order. It exists for a plain :class:`MF`,
    where all predictions are entries of one matrix product, and their gradients are two
    products with a sparse matrix.
    """
    if not _is_plain(model):
        return None
    assert isinstance(model, MF)
    data = SparseRatings(ratings, rank=1, biases=False, mean=0.0)
    users, items, mean = data.by_user, data.by_item, float(model.mean)

    def predict() -> Tensor:
        u, v = model.U.weight, model.V.weight
        if model.user_bias is not None and model.item_bias is not None:
            b, c = model.user_bias.weight, model.item_bias.weight
            # u.v + b + c = [u, b, 1] . [v, 1, c]
            u = torch.cat([u, b, torch.ones_like(b)], dim=1)
            v = torch.cat([v, torch.ones_like(c), c], dim=1)
        products: Tensor = _Products.apply(u, v, mean, users, items)  # type: ignore[no-untyped-call]
        return products

    return predict


def _is_plain(model: nn.Module) -> bool:
    """Whether a model is MF itself, unhooked, with embeddings of the usual kind."""
    hooked = any(
        value  # a hook, or a forward method of its own
        for module in model.modules()
        for name, value in vars(module).items()
        if "forward" in name or "backward" in name
    )
    # An embedding's repr shows each of its options that is not the default.
    usual = (re.fullmatch(r"Embedding\(\d+, \d+\)", repr(e)) for e in model.children())
    places = {(p.device.type, p.dtype) for p in model.parameters()}
    on_cpu = places in ({("cpu", torch.float32)}, {("cpu", torch.float64)})
    return type(model) is MF and not hooked and all(usual) and on_cpu
