"""Disturb PyTorch's and NumPy's arithmetic in the last digit, as another machine does.

Processors and libraries add in different orders and approximate functions differently,
so products, solves, sums and logarithms differ by roundings from machine to machine.
Once this module is imported, each floating-point result of such an operation is
multiplied by 1 + e, with e drawn from {-eps, 0, eps} for every number (eps is the
dtype's). Text outputs and assertions must hold all the same.

    python -m tools.robust rounding        the chapters
    python -m pytest -p tools.rounding     the unit tests
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

# Names in torch.ops.aten.
PRODUCTS = """
    mm bmm mv dot vdot addmm addmv addbmm baddbmm addr sampled_addmm cdist_forward
"""
SOLVES = """
    cholesky_ex cholesky_solve cholesky_inverse solve_ex solve_triangular inv_ex lstsq
    triangular_solve lu_factor_ex lu_solve qr svd svdvals eigh eigvalsh slogdet
    matrix_exp
"""
SUMS = """
    sum mean nansum std var std_mean var_mean cumsum prod trace norm vector_norm
    logsumexp logcumsumexp softmax log_softmax native_layer_norm mse_loss l1_loss
    mse_loss_backward huber_loss smooth_l1_loss nll_loss_forward binary_cross_entropy
    index_add scatter_add scatter_reduce embedding_dense_backward bincount
"""
FUNCTIONS = """
    exp expm1 log log1p log2 log10 tanh sigmoid softplus pow erf erfinv lgamma digamma
"""
DISTURBED = frozenset(f"{PRODUCTS} {SOLVES} {SUMS} {FUNCTIONS}".split())

# NumPy's own ufuncs, and methods of arrays, cannot be replaced.
NUMPY = "dot inner vdot einsum trace sum mean average std var cumsum interp correlate"
NUMPY_LINALG = "svd qr eigh eigvalsh inv solve lstsq pinv cholesky det norm"


@functools.cache
def is_disturbed(operation: Any) -> bool:
    """Say whether an operation, such as torch.ops.aten._linalg_svd.default, is one."""
    name = operation.overloadpacket.__name__.strip("_")
    name = name.removeprefix("sparse_").removeprefix("linalg_")
    return name.strip("_") in DISTURBED


class Rounding(TorchDispatchMode):
    """Disturbs what the operations named above return, in place."""

    def __init__(self, seed: int = 0, size: int = 2**20) -> None:
        super().__init__()
        # Sources of its own: the chapters' random numbers stay as they are.
        self.random = random.Random(seed).random
        signs = torch.randint(
            -1, 2, (size,), generator=torch.Generator().manual_seed(seed)
        )
        self.factors = {
            dtype: 1 + torch.finfo(dtype).eps * signs.to(dtype)
            for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        }

    def __torch_dispatch__(
        self,
        func: Any,
        types: tuple[type, ...],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if is_disturbed(func):
            for part in (result,) if isinstance(result, Tensor) else result:
                if isinstance(part, Tensor) and part.is_cpu:
                    self.disturb(part)
        return result

    def disturb(self, result: Tensor) -> None:
        if result.layout is torch.sparse_csr:
            result = result.values()
        elif result.is_sparse:
            result = result._values()
        factors = self.factors.get(result.dtype)
        n = result.numel()
        if factors is None or n == 0:
            return
        while len(factors) < 2 * n:
            factors = torch.cat([factors, factors])
        start = int(self.random() * (len(factors) - n))
        result.mul_(factors.as_strided(result.size(), result.stride(), start))


def disturbed(function: Callable[..., Any], source: np.random.Generator) -> Any:
    """Return the NumPy function with its floating-point results disturbed."""

    def disturb(result: Any) -> Any:
        if isinstance(result, tuple):
            parts = map(disturb, result)
            return type(result)(*parts) if hasattr(result, "_fields") else tuple(parts)
        if not isinstance(result, np.ndarray | np.floating) or result.dtype.kind != "f":
            return result
        signs = source.integers(-1, 2, result.shape)
        return result * (1 + np.finfo(result.dtype).eps * signs).astype(result.dtype)

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return disturb(function(*args, **kwargs))

    return wrapper


Rounding().__enter__()
_source = np.random.default_rng(0)
for _module, _names in ((np, NUMPY), (np.linalg, NUMPY_LINALG)):
    for _name in _names.split():
        setattr(_module, _name, disturbed(getattr(_module, _name), _source))
