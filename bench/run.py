"""Measure everything once: python -m bench.run, or make bench.

Writes bench/results.json and prints the table. The workers of one kind (gradient
steps, ALS, Gibbs) live together and are measured in turn, one round after the other,
so that a change in the machine's speed meets all of them.
"""

from __future__ import annotations

import argparse
import datetime
import itertools
import json
import os
import platform
import select
import subprocess
from pathlib import Path
from typing import Any

from . import environments, floor, report
from .data import SHAPES, SPLIT, saved
from .libraries import BY_NAME, ENTRIES, THREADS, Entry

RESULTS = environments.ROOT / "bench" / "results.json"
RANK = 16
RANKS = (8, 16, 32)
LAMBDAS = (6.0, 12.0, 24.0, 48.0, 96.0)
Grid = tuple[tuple[int, ...], tuple[float, ...]]
PATIENCE = 900  # seconds for one answer
LONG = 4.0  # seconds: a pass that takes more is measured alone, without repeats


class Failed(Exception):
    """A worker that gave an error instead of an answer."""


class Process:
    """A worker, from outside."""

    def __init__(self, entry: Entry, folder: Path) -> None:
        self.entry = entry
        # implicit and cmfrec have threads of their own around BLAS, and ask for this.
        blas = 1 if entry.library in ("implicit", "cmfrec") else THREADS
        names = ("OMP", "MKL", "RAYON", "LK")
        threads = {f"{name}_NUM_THREADS": str(THREADS) for name in names}
        threads |= {
            "BENCH_THREADS": str(THREADS),
            "OPENBLAS_NUM_THREADS": str(blas),
            "LK_NUM_BACKEND_THREADS": str(THREADS),
        }
        python = environments.python(entry.library, folder)
        self.process = subprocess.Popen(
            [python, "-m", "bench.worker", entry.name],
            cwd=environments.ROOT,
            env=os.environ | threads,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # Not a pipe: one that nobody reads fills up, and progress bars then wait.
            stderr=None if os.environ.get("BENCH_DEBUG") else subprocess.DEVNULL,
            text=True,
        )

    def ask(self, do: str, **request: Any) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        text = json.dumps({"do": do, **request})
        try:
            print(text, file=self.process.stdin, flush=True)
        except BrokenPipeError as error:
            raise Failed("the process ended") from error
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            self.process.kill()
            raise Failed(f"no answer within {PATIENCE} seconds")
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the process ended with status {self.process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def close(self) -> None:
        """End the worker."""
        self.process.kill()
        self.process.communicate()


def described(entry: Entry, *more: str) -> dict[str, Any]:
    """Return what the results say of an entry."""
    row = {"entry": entry.name, "library": entry.library, "kind": entry.kind}
    return row | {name: getattr(entry, name) for name in more}


def seconds_per_pass(
    worker: Process, setting: dict[str, Any], passes: int
) -> tuple[float, float]:
    """Return seconds per pass without the set-up, and the peak of memory so far."""
    answer = worker.ask("fit", passes=passes, setting=setting)
    if answer["span"]:
        seconds, counted = answer["span"]
        return seconds / counted, answer["peak_mb"]
    more = worker.ask("fit", passes=3 * passes, setting=setting)
    # A disturbance can make this negative; the report leaves such a round out.
    return (more["seconds"] - answer["seconds"]) / (2 * passes), more["peak_mb"]


def cost(
    entries: list[Entry], size: int, rounds: int, folder: Path, data: Path
) -> list[dict[str, Any]]:
    """Measure entries of one kind at one size, in turn."""
    workers: dict[str, tuple[Process, dict[str, Any], int]] = {}
    rows = {
        entry.name: described(entry, "unit", "threads")
        | {"size": size, "share": entry.share.get(size, 1.0), "seconds": []}
        for entry in entries
    }
    path = str(saved(str(size), data))
    for entry in entries:
        worker = Process(entry, folder)
        setting = dict(entry.cost or {})
        if size in entry.share:
            setting["share"] = entry.share[size]
        try:
            prepared = worker.ask("prepare", path=path)
            rows[entry.name]["prepare_seconds"] = prepared["seconds"]
            # Warm-up: two passes, since some only tell the time between two.
            first = worker.ask("fit", passes=2, setting=setting)
            estimate = (first["span"] or (first["seconds"], 2))[0] / 2
            passes = max(2, min(40, round(0.3 / estimate)))
            if estimate > LONG:
                passes = 1 if entry.library in ("scikit-surprise", "PyTorch") else 2
            elif not first["span"]:
                # So many passes that the set-up, which is subtracted, cannot hide them.
                few, more = (
                    worker.ask("fit", passes=p, setting=setting)["seconds"]
                    for p in (2, 6)
                )
                estimate = max((more - few) / 4, 1e-4)
                hidden = max(few - 2 * estimate, 0.3)
                passes = max(2, min(40, round(hidden / (2 * estimate))))
            workers[entry.name] = worker, setting, passes
        except Failed as error:
            rows[entry.name]["error"] = str(error)
            worker.close()
    for _, (name, (worker, setting, passes)) in itertools.product(
        range(rounds), workers.items()
    ):
        if "error" not in rows[name]:
            try:
                seconds, peak = seconds_per_pass(worker, setting, passes)
                rows[name]["seconds"].append(seconds)
                rows[name]["peak_mb"] = peak
                rows[name]["passes"] = passes
            except Failed as error:
                rows[name]["error"] = str(error)
    for worker, _, _ in workers.values():
        worker.close()
    for row in rows.values():
        print(f"  {report.cost_line(row)}", flush=True)
    return list(rows.values())


def choose(worker: Process, grid: Grid) -> dict[str, Any]:
    """Return the setting of the grid with the lowest validation error."""
    entry = worker.entry
    bayes = entry.kind == "Gibbs"
    tried = []
    for rank, lam in itertools.product(grid[0], (None,) if bayes else grid[1]):
        setting = entry.accuracy | {"rank": rank, "lam": lam}
        setting.pop("passes", None)
        # The shortest and the longest are left to the curve.
        for passes in (entry.budgets[-1],) if bayes else entry.budgets[2:]:
            answer = worker.ask("fit", passes=passes, setting=setting)
            tried.append((answer["validation"], passes, setting))
    error, passes, setting = min(tried, key=lambda one: one[0])
    at_edge = [
        name
        for name, values in zip(("rank", "lam"), grid, strict=True)
        if setting[name] in (values[0], values[-1])
    ]
    return {
        "setting": setting,
        "passes": passes,
        "validation": error,
        "tried": {
            report.setting({"setting": one, "passes": passes}): round(error, 5)
            for error, passes, one in tried
        },
        "at_edge": at_edge,
    }


def accuracy(
    entries: list[Entry], grid: Grid, rounds: int, folder: Path, data: Path
) -> list[dict[str, Any]]:
    """Measure error against time on MovieLens: choose, then time all in turn."""
    path = str(saved("movielens", data))
    workers, rows = {}, []
    for entry in entries:
        worker = Process(entry, folder)
        row = described(entry, "threads")
        try:
            worker.ask("prepare", path=path)
            chosen = choose(worker, grid)
            workers[entry.name] = worker
            print(f"  {entry.name}: {report.setting(chosen)}", flush=True)
            rows.append(row | {"setting_name": "tuned", "curve": []} | chosen)
            # mflib and myFM ask for a rank (and λ): they have no setting of their own.
            if entry.library not in ("mflib", "myfm"):
                setting = dict(entry.accuracy or {})
                passes = setting.pop("passes", None)
                own = {"setting": setting, "passes": passes, "curve": []}
                rows.append(row | {"setting_name": "default"} | own)
        except Failed as error:
            rows.append(row | {"setting_name": "tuned", "error": str(error)})
            worker.close()
    for row in rows:
        if "error" not in row:
            budgets = {row["passes"]}
            if row["setting_name"] == "tuned":
                budgets.update(workers[row["entry"]].entry.budgets)
            row["curve"] = [
                {"passes": passes, "seconds": [], "test": [], "validation": []}
                for passes in sorted(budgets, key=lambda p: p or 0)
            ]
    for _, row in itertools.product(range(rounds), rows):
        for point in row.get("curve", []) if "error" not in row else []:
            try:
                answer = workers[row["entry"]].ask(
                    "fit", passes=point["passes"], setting=row["setting"], whole=True
                )
            except Failed as error:
                row["error"] = str(error)
                break
            for name in ("seconds", "test", "validation"):
                point[name].append(answer[name])
    for worker in workers.values():
        worker.close()
    return rows


def machine() -> dict[str, str]:
    """Describe this machine in words."""
    model, memory = platform.processor() or platform.machine(), ""
    try:
        info = Path("/proc/cpuinfo").read_text()
        model = next(x for x in info.splitlines() if x.startswith("model name"))
        model = model.split(":")[1].strip()
        total = Path("/proc/meminfo").read_text().split()[1]
        memory = f"{round(int(total) / 2**20)} GB"
    except (OSError, StopIteration):
        pass
    return {
        "processor": model,
        "cores": str(os.cpu_count()),
        "memory": memory,
        "system": platform.system(),
        "python": platform.python_version(),
    }


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="entries to measure")
    parser.add_argument("--sizes", nargs="*", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-movielens", action="store_true")
    parser.add_argument("--quick", action="store_true", help="small, one round")
    parser.add_argument("--resume", action="store_true", help="add to what is stored")
    parser.add_argument("--envs", type=Path, default=environments.FOLDER)
    parser.add_argument("--data", type=Path, default=environments.FOLDER / "data")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    grid: Grid = ((16,), (24.0,)) if options.quick else (RANKS, LAMBDAS)
    rounds = 1 if options.quick else options.rounds
    sizes = [100_000] if options.quick else list(SHAPES)
    sizes = sizes if options.sizes is None else options.sizes
    entries = [e for e in ENTRIES if e.name in (options.only or BY_NAME)]

    results: dict[str, Any] = {"cost": [], "movielens": [], "libraries": {}, "runs": 0}
    if options.resume and options.output.exists():
        results = json.loads(options.output.read_text(encoding="utf-8"))
    for library in dict.fromkeys(entry.library for entry in entries):
        missing = ""
        if library in environments.LIBRARIES:
            missing = environments.make(library, options.envs)
        version = "" if missing else environments.version(library, options.envs)
        results["libraries"][library] = {"version": version, "missing": missing}
        if missing:
            print(f"  {library} {missing}", flush=True)
    here = [e for e in entries if not results["libraries"][e.library]["missing"]]
    # Every entry is named, also those of a library that is missing.
    results["entries"] = [
        described(e, "unit") for e in ENTRIES if e.library in results["libraries"]
    ]
    results |= {
        "runs": results["runs"] + 1,
        "date": datetime.date.today().isoformat(),
        "machine": machine(),
        "rounds": rounds,
        "threads": THREADS,
        "rank": RANK,
        "split": SPLIT,
        "ranks": grid[0],
        "lambdas": grid[1],
        "shapes": {str(size): shape for size, shape in SHAPES.items()},
    }

    def store() -> None:
        text = json.dumps(results, indent=1, ensure_ascii=False)
        options.output.write_text(text + "\n", encoding="utf-8")

    def replace(name: str, rows: list[dict[str, Any]], *keys: str) -> None:
        def key(row: dict[str, Any]) -> list[Any]:
            return [row[one] for one in keys]

        new = [key(row) for row in rows]
        results[name] = [row for row in results[name] if key(row) not in new] + rows

    print("What the machine could do at best", flush=True)
    results["floor"] = floor.measure(THREADS)
    results["least"] = [
        {
            "kind": kind,
            "size": size,
            "seconds": floor.seconds(kind, results["floor"], size, *shape, RANK),
        }
        for size, shape in SHAPES.items()
        for kind in ("gradient", "ALS")
    ]
    for size, kind in itertools.product(sizes, ("gradient", "ALS", "Gibbs")):
        chosen = [e for e in here if e.kind == kind and e.cost is not None]
        if chosen:
            print(f"{kind}, {size:,} ratings", flush=True)
            rows = cost(chosen, size, rounds, options.envs, options.data)
            replace("cost", rows, "entry", "size")
            store()
    chosen = [e for e in here if e.accuracy is not None]
    if chosen and not options.no_movielens:
        print("MovieLens latest-small", flush=True)
        try:
            path = saved("movielens", options.data)
        except OSError as error:
            results["movielens_missing"] = str(error)
            print(f"  left out: {error}")
        else:
            print(f"  {path}")
            rows = accuracy(chosen, grid, rounds, options.envs, options.data)
            replace("movielens", rows, "entry")
            results.pop("movielens_missing", None)
    store()
    print(report.render(results))


if __name__ == "__main__":
    main()
