"""What this machine could do at best: how fast it moves bytes, and multiplies."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch


def best_rate(work: Callable[[], object], amount: float, times: int = 9) -> float:
    """Return the median of amount / seconds, after a warm-up."""
    work()
    rates = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        rates.append(amount / (time.perf_counter() - start))
    return median(rates)


def measure(threads: int) -> dict[str, float]:
    """Return bytes and floating-point operations (float32) per second."""
    torch.set_num_threads(threads)
    n = 2**26  # 256 MB: far more than the caches hold
    a, b, c = torch.ones(n), torch.ones(n), torch.empty(n)
    copy = best_rate(lambda: c.copy_(a), 2 * 4 * n)
    triad = best_rate(lambda: torch.add(a, b, alpha=2.0, out=c), 3 * 4 * n)
    m = 2048
    x, y, z = torch.rand(m, m), torch.rand(m, m), torch.empty(m, m)
    flops = best_rate(lambda: torch.mm(x, y, out=z), 2 * m**3)
    return {"bytes_per_second": max(copy, triad), "flops_per_second": flops}


def seconds(
    kind: str, floor: dict[str, float], n: int, n_users: int, n_items: int, rank: int
) -> float:
    """Estimate the least time of one pass: of its bytes or of its arithmetic.

    Counted are the ratings, as a place (4 bytes) and a value (4 bytes), and the
    factors, once each: as if every row that is looked up were in the nearest cache.
    """
    rows = n_users + n_items
    if kind == "gradient":
        # Predict (2k per rating), both gradients (4k); read the ratings three times,
        # write and read the errors; Adam reads and writes 7 numbers per parameter.
        flops = 6 * rank * n
        moved = n * (3 * 8 + 3 * 4) + rows * rank * 7 * 4
    else:
        # Per rating and side half a Gram matrix and a right-hand side, then a
        # Cholesky factor and two triangular solves per row.
        flops = 2 * n * (rank * (rank + 1) + 2 * rank)
        flops += rows * (rank**3 / 3 + 2 * rank**2)
        moved = 2 * n * 8 + 2 * rows * rank * 4
    return max(moved / floor["bytes_per_second"], flops / floor["flops_per_second"])
