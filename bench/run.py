"""Measure everything once: python -m bench.run, or make bench.

Writes bench/results.json and prints the tables. It has three parts. "cost" is the time
of a pass on synthetic ratings: the workers of one kind (gradient steps, ALS, Gibbs) are
measured in turn, one round after the other, so that a change in the machine's speed
meets all of them. "race" is the error on MovieLens against time: settings are chosen on
validation ratings, and then all entries are measured in turn, with one thread each.
"profiles" shows where the time of some fits goes (``bench/profiles.py``).
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import environments, floor, profiles, report, search
from .data import SHAPES, SPLIT, saved
from .libraries import BY_NAME, ENTRIES, THREADS, Entry, Race

RESULTS = environments.ROOT / "bench" / "results.json"
RANK = 16
PARTS = ["cost", "profiles", "race"]
TIMED = ("seconds", "processor", "validation", "test")
HOPELESS = 9.0  # stars
SLOW = 2.0  # fits that take more seconds are timed in the first round alone
PATIENCE = 900  # seconds for one answer
SEARCHES = 2  # at once, on a core each: they choose what is then timed alone, in turn
LONG = 4.0  # seconds: a pass that takes more is measured alone, without repeats


class Failed(Exception):
    """A worker that gave an error instead of an answer."""


class Process:
    """A worker, from outside."""

    def __init__(self, entry: Entry, folder: Path, threads: int = THREADS) -> None:
        self.entry = entry
        # implicit and cmfrec have threads of their own around BLAS, and ask for this.
        blas = 1 if entry.library in ("implicit", "cmfrec") else threads
        names = ("OMP", "MKL", "RAYON", "LK")
        limits = {f"{name}_NUM_THREADS": str(threads) for name in names}
        limits |= {
            "BENCH_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(blas),
            "LK_NUM_BACKEND_THREADS": str(threads),
        }
        python = environments.python(entry.library, folder)
        self.process = subprocess.Popen(
            [python, "-m", "bench.worker", entry.name],
            cwd=environments.ROOT,
            env=os.environ | limits,
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


def race(
    entries: list[Entry],
    stored: dict[str, dict[str, Any]],
    rounds: int,
    budget: float,
    folder: Path,
    data: Path,
) -> Iterator[list[dict[str, Any]]]:
    """Find what may be the fastest to each error, and time all of it in turn.

    The entries that are ``stored``, by name, are timed at the settings found before.
    Yields the rows after each round.
    """
    path = str(saved("movielens", data))
    workers = {entry.name: Process(entry, folder, threads=1) for entry in entries}

    def found(entry: Entry) -> dict[str, Any]:
        worker = workers[entry.name]
        assert entry.race is not None
        try:
            worker.ask("prepare", path=path)
            # A warm-up.
            setting = entry.race.fixed | first(entry.race)
            worker.ask("fit", passes=1, setting=setting, whole=True)
            row = stored.get(entry.name) or found_by_search(entry, worker, budget)
        except Failed as error:
            return described(entry) | {"error": str(error)}
        row["points"] = [
            {"setting": point["setting"], "passes": point["passes"]}
            | {name: [] for name in TIMED}
            for point in row["points"]
        ]
        return row

    with ThreadPoolExecutor(SEARCHES) as pool:
        rows = list(pool.map(found, entries))
    for number in range(rounds):
        for row in rows:
            for point in row.get("points", []):
                if number and min(point["processor"]) > SLOW:
                    continue
                how = {"passes": point["passes"], "setting": point["setting"]}
                try:
                    answer = workers[row["entry"]].ask("fit", **how, whole=True)
                except Failed as error:
                    row["error"] = str(error)
                    break
                for name in TIMED:
                    point[name].append(round(answer[name], 5))
        print(f"  round {number + 1} of {rounds}", flush=True)
        yield rows
    for worker in workers.values():
        worker.close()


def found_by_search(entry: Entry, worker: Process, budget: float) -> dict[str, Any]:
    """Return what the search found for an entry: what may be the fastest, and more."""
    assert entry.race is not None

    def ask(setting: dict[str, Any], passes: int | None) -> dict[str, float]:
        try:
            answer = worker.ask("fit", passes=passes, setting=setting, whole=True)
        except Failed as error:
            if worker.process.poll() is not None:
                raise
            print(f"    {setting}, {passes} passes: {error}", flush=True)
            return {"processor": 0.0, "validation": HOPELESS}
        # What diverged is no number; no real error is as large.
        error = answer["validation"]
        error = round(error, 5) if error < HOPELESS else HOPELESS
        return {"processor": round(answer["processor"], 5), "validation": error}

    trials = search.explore(ask, entry.race, budget)
    row = described(entry) | {
        "trials": len(trials),
        "searched": sum(trial["processor"] for trial in trials),
        "at_edge": search.at_edge(trials, entry.race),
        "penalties": search.by_penalty(trials),
        "points": search.candidates(trials),
    }
    print(f"  {report.race_line(row, trials)}", flush=True)
    return row


def first(race: Race) -> dict[str, Any]:
    """Return the first setting of a grid."""
    return {name: values[0] for name, values in race.grid.items()}


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
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="entries to measure")
    parser.add_argument("--sizes", nargs="*", type=int, default=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--budget", type=float, default=900.0, metavar="SECONDS")
    parser.add_argument(
        "--again", action="store_true", help="race at the stored settings, unsearched"
    )
    parser.add_argument("--quick", action="store_true", help="small, one round")
    parser.add_argument("--envs", type=Path, default=environments.FOLDER)
    parser.add_argument("--data", type=Path, default=environments.FOLDER / "data")
    parser.add_argument("--output", type=Path, default=RESULTS)
    options = parser.parse_args()
    rounds = 1 if options.quick else options.rounds
    sizes = [100_000] if options.quick else options.sizes
    entries = [e for e in ENTRIES if e.name in (options.only or BY_NAME)]
    if options.quick:
        entries = [quick(entry) for entry in entries]

    # A part that is not measured now keeps what an earlier run found.
    results: dict[str, Any] = {"runs": {}, "cost": [], "race": [], "libraries": {}}
    kept = options.again or set(options.parts) != set(PARTS)
    if options.output.exists() and kept:
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
    run = {"date": datetime.date.today().isoformat(), "machine": machine()}
    run |= {"rounds": rounds}

    def store(part: str, **more: Any) -> None:
        results["runs"][part] = run | more
        text = json.dumps(results, indent=1, ensure_ascii=False)
        options.output.write_text(text + "\n", encoding="utf-8")

    if "cost" in options.parts:
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
        results["cost"] = []
        for size, kind in itertools.product(sizes, ("gradient", "ALS", "Gibbs")):
            chosen = [e for e in here if e.kind == kind and e.cost is not None]
            if chosen:
                print(f"{kind}, {size:,} ratings", flush=True)
                rows = cost(chosen, size, rounds, options.envs, options.data)
                results["cost"] += rows
                store("cost", threads=THREADS, rank=RANK)
    if "profiles" in options.parts:
        print("Where the time goes", flush=True)
        results["profiles"] = profiles.run_all()
        store("profiles", threads=1, rounds=profiles.ROUNDS)
    chosen = [e for e in here if e.race is not None]
    if "race" in options.parts and chosen:
        print("MovieLens latest-small", flush=True)
        stored, searched = {}, run["date"]
        if options.again:
            stored = {row["entry"]: row for row in report.in_race(results)}
            before = results["runs"]["race"]
            searched = before.get("searched", before["date"])
        results["race"] = []
        try:
            path = saved("movielens", options.data)
        except OSError as error:
            results["race_missing"] = str(error)
            print(f"  left out: {error}")
        else:
            print(f"  {path}")
            budget = 0.0 if options.quick else options.budget
            how = (rounds, budget, options.envs, options.data)
            results.pop("race_missing", None)
            for results["race"] in race(chosen, stored, *how):
                store("race", threads=1, split=SPLIT, searched=searched)
    print(report.render(results))


def quick(entry: Entry) -> Entry:
    """Return an entry whose race is one setting, and a few passes."""
    if entry.race is None:
        return entry
    grid = {name: values[:1] for name, values in entry.race.grid.items()}
    few = replace(entry.race, grid=grid, passes=entry.race.passes[:2])
    return replace(entry, race=few)


if __name__ == "__main__":
    main()
