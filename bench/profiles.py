"""Where the time of a fit goes: torch's profiler on mflib and on the loop in PyTorch.

Each case has a process of its own, with one thread: python -m bench.profiles <case>.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .data import saved
from .libraries import BY_NAME, Data

LEARNED = {"rank": 8, "lam": 12.0, "lam_per_rating": 0.08, "prior_mean": "learned"}
START = {"rank": 4, "lam": 12.0, "lam_per_rating": 0.04, "prior_mean": "learned"}
ROUNDS = 3  # of which the fastest counts
OPENING = "als, first pass"  # counted from arrays on, as the race does
LOOP = {"rank": 16, "lam": 24.0, "biases": True}
KEPT = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}
CASES: dict[
    str, tuple[str, str, int, dict[str, Any]]
] = {  # entry, data, passes, setting
    "als, exact": ("mflib als", "movielens", 20, LEARNED),
    "als, one step": ("mflib als", "movielens", 20, LEARNED | {"cg_steps": 1}),
    "gibbs": ("mflib gibbs", "movielens", 20, {"rank": 8}),
    "gibbs, full": (
        "mflib gibbs",
        "movielens",
        20,
        {"rank": 8} | {"noise": "per user", "rated": True},
    ),
    "loop": ("plain loop", "1000000", 3, LOOP | {"batch_size": None}),
    "loop, batches": ("plain loop, batches", "movielens", 1, LOOP | {"loader": False}),
    "loop, one rating a step": (
        "plain loop, batches",
        "few rows",
        1,
        LOOP | {"loader": False, "batch_size": 1},
    ),
}
PARTS = {  # names of torch's operations, and of ranges that torch marks by itself
    "Gram matrices": ("aten::baddbmm_",),
    "Cholesky": (
        "aten::linalg_cholesky_ex",  # linalg_cholesky calls it: one of both counts
        "aten::cholesky_solve",
        "aten::linalg_solve_triangular",
    ),
    "sparse products": ("aten::addmm", "aten::sparse_sampled_addmm"),
    "random numbers": ("aten::randn",),
    "Adam": ("Optimizer.step#Adam.step",),
    "looking up rows": ("aten::embedding",),
    "adding up gradients by row": ("aten::embedding_dense_backward",),
}


def load(name: str) -> Data:
    """Read the ratings to learn from; "few rows" are a hundred by ten people."""
    import numpy as np

    from .environments import FOLDER

    if name == "few rows":
        users, items = np.divmod(np.arange(100), 10)
        return Data(users, items, np.ones(100, dtype=np.float32), 10, 10)
    with np.load(saved(name, FOLDER / "data")) as file:
        names = ("train_users", "train_items", "train_values")
        arrays = [file[one] for one in names]
        return Data(*arrays, int(file["n_users"]), int(file["n_items"]))


def measure(case: str) -> dict[str, Any]:
    """Return the seconds and page faults of a pass, and each part's share of time."""
    import resource

    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.set_num_threads(1)
    name, data, passes, setting = CASES[case]
    entry = BY_NAME[name]
    ready = entry.prepare(load(data))

    def run() -> None:
        entry.fit(ready, passes, **setting)

    def faults() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

    run()
    before, seconds = faults(), []
    for _ in range(ROUNDS):
        start = time.process_time()
        run()
        seconds.append(time.process_time() - start)
    pages = (faults() - before) / ROUNDS / passes
    with profile(activities=[ProfilerActivity.CPU]) as found:
        run()
    events = {one.key: one for one in found.key_averages()}
    total = sum(one.self_cpu_time_total for one in events.values())
    shares = {
        part: sum(events[one].cpu_time_total for one in names if one in events) / total
        for part, names in PARTS.items()
    }
    share = setting.get("share", 1.0)
    batch = setting.get("batch_size", 1024 if "batches" in case else None)
    steps = round(share * len(ready[0][2]) / batch) if batch else 1
    each = min(seconds) / passes / steps
    return {"seconds": each, "page_faults": pages, "shares": shares}


def measure_first_pass() -> dict[str, float]:
    """Return the seconds of ALS with one pass of one step, and of those before it."""
    import torch

    torch.set_num_threads(1)
    entry, data = BY_NAME["mflib als"], load("movielens")

    def least_seconds(passes: int) -> float:
        seconds = []
        for _ in range(10 * ROUNDS):
            start = time.process_time()
            entry.fit(entry.prepare(data), passes, **START, cg_steps=1)
            seconds.append(time.process_time() - start)
        return min(seconds)

    return {"seconds": least_seconds(1), "before": least_seconds(0)}


def run_all(say: Callable[[str], None] = print) -> dict[str, Any]:
    """Measure all cases, and the loop once more with memory that is kept."""
    results = {}
    cases = [*CASES, OPENING]
    for case, more in [*((case, {}) for case in cases), ("loop", KEPT)]:
        limits = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "BENCH_THREADS": "1"}
        command = [sys.executable, "-m", "bench.profiles", case]
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent.parent,
            env=os.environ | limits | more,
            capture_output=True,
            text=True,
            check=True,
        )
        name = f"{case}, memory kept" if more else case
        results[name] = json.loads(done.stdout.splitlines()[-1])
        say(f"  {name}: {results[name]['seconds']:.3g} s")
    return results


if __name__ == "__main__":
    case = sys.argv[1]
    found = measure_first_pass() if case == OPENING else measure(case)
    print(json.dumps(found))
