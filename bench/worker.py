"""Fits one entry on request, in a process of its own: python -m bench.worker <entry>.

A request is a line of JSON on stdin, its answer one on stdout. The process stays, so
that import and warm-up are over before anything is measured.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from .libraries import BY_NAME, STARS, Data, Entry


def peak_megabytes() -> float:
    """Return the most memory that this process has had at once."""
    try:
        status = Path("/proc/self/status").read_text()
        kilobytes = next(x for x in status.splitlines() if x.startswith("VmHWM"))
        return int(kilobytes.split()[1]) / 1024
    except OSError:  # not Linux
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


class Worker:
    """An entry, with the ratings that it was last asked to read."""

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.data: Data
        self.parts: dict[str, Data] = {}
        self.ready: Any = None

    def prepare(self, path: str) -> dict[str, float]:
        """Read ratings, and bring them into the library's own form."""
        with np.load(path) as file:
            sizes = int(file["n_users"]), int(file["n_items"])
            names = {name.split("_")[0] for name in file if "_users" in name} - {"n"}
            self.parts = {
                part: Data(
                    file[f"{part}_users"],
                    file[f"{part}_items"],
                    file[f"{part}_values"],
                    *sizes,
                )
                for part in names
            }
        self.data = self.parts.pop("train")
        start = time.perf_counter()
        self.ready = self.entry.prepare(self.data)
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "peak_mb": peak_megabytes()}

    def fit(
        self, passes: int | None, setting: dict[str, Any], whole: bool = False
    ) -> dict[str, Any]:
        """Fit once; ``whole`` counts the way from triples to the library's form too."""
        gc.collect()
        start, used = time.perf_counter(), time.process_time()
        ready = self.entry.prepare(self.data) if whole else self.ready
        fitted = self.entry.fit(ready, passes, **setting)
        answer: dict[str, Any] = {"seconds": time.perf_counter() - start}
        answer["processor"] = time.process_time() - used
        answer["span"] = fitted.span
        for name, part in self.parts.items():
            if fitted.predict is not None:
                predictions = fitted.predict(part.users, part.items)
                errors = np.clip(predictions, *STARS) - part.values
                answer[name] = float(np.sqrt(np.mean(np.square(errors, dtype=float))))
        return answer | {"peak_mb": peak_megabytes()}


def main() -> None:
    """Answer requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    warnings.simplefilter("ignore")
    worker = Worker(BY_NAME[sys.argv[1]])
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except Exception as error:  # whatever it is, the table names it
            message = str(error).strip().split("\n")[-1]
            answer = {"error": f"{type(error).__name__}: {message}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
