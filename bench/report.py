"""What the stored results say: tables, ratios, and the aims that were met or missed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median
from typing import Any

from .libraries import BY_NAME
from .search import GAIN, LEVELS, chosen

RESULTS = Path(__file__).parent / "results.json"
Results = dict[str, Any]
KINDS = ("gradient", "ALS", "Gibbs")
REFERENCE = {"gradient": "mflib fit", "ALS": "mflib als", "Gibbs": "mflib gibbs"}
SIZES = {100_000: "100 thousand", 1_000_000: "1 million", 10_000_000: "10 million"}


def load(path: Path = RESULTS) -> Results:
    """Read the results of the last run."""
    results: Results = json.loads(path.read_text(encoding="utf-8"))
    return results


def rounds_of(row: Results) -> list[float]:
    """Return the seconds of a pass, round by round.

    Where a pass is the difference of a long fit and a short one, a disturbance of the
    short one can hide it: such a round is left out.
    """
    return [seconds for seconds in row["seconds"] if seconds > 0]


# -- single rows -----------------------------------------------------------------------


def duration(seconds: float) -> str:
    """Write a time in two digits, in the unit that suits it, on one line."""
    seconds = float(f"{seconds:.2g}")
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= size or unit == "µs":
            return f"{float(f'{seconds / size:.2g}'):g}\xa0{unit}"
    raise AssertionError


def times(ratio: float | None) -> str:
    """Write a ratio in two digits."""
    if ratio == math.inf:
        return "not reached"
    return "" if ratio is None else f"{float(f'{ratio:.2g}'):g}"


def with_range(ratios: list[float]) -> str:
    """Write the median, the lowest and the highest; near 1 with two decimals.

    A single ratio stands alone.
    """
    if not ratios:
        return ""
    ends = (min(ratios), max(ratios))
    low, high = (times(one) if one > 10 else f"{one:.2f}" for one in ends)
    if len(ratios) == 1:
        return low
    return f"{times(median(ratios))} ({low}\xa0to\xa0{high})"


def cost_line(row: Results) -> str:
    """Write one measurement of cost."""
    seconds = rounds_of(row)
    if not seconds:
        return f"{row['entry']}: failed: {row.get('error', 'no round was finished')}"
    low, high = min(seconds), max(seconds)
    return (
        f"{row['entry']}: {duration(median(seconds))} "
        f"({duration(low)} to {duration(high)}), {row['peak_mb']:,.0f} MB"
    )


NAMES = {"rank": "rank", "lam": "λ", "lam_per_rating": "λ′", "lr": "rate"}
EDGES = NAMES | {"cg_steps": "CG steps", "passes": "passes"}
WORDS = {"by_count": "weighted λ", "exact_end": "exact last sweep"}


def setting(point: Results) -> str:
    """Write a setting: the numbers that were searched, and the passes."""
    if point["passes"] is None:
        return "its own default"
    given = point["setting"]
    parts = [f"{text} {given[name]:g}" for name, text in NAMES.items() if name in given]
    parts += [text for name, text in WORDS.items() if given.get(name)]
    if steps := given.get("cg_steps"):
        parts.append(f"{steps} CG step{'s' * (steps > 1)}")
    passes = point["passes"]
    return ", ".join([*parts, f"{passes} pass{'es' * (passes > 1)}"])


def edges(row: Results) -> str:
    """Name the numbers of the chosen setting at an edge of what was tried."""
    return ", ".join(EDGES[name] for name in row["at_edge"])


def race_line(row: Results, trials: list[Results]) -> str:
    """Write what the search found for an entry."""
    best = chosen(trials)
    edge = f", at the edge: {edges(row)}" if row["at_edge"] else ""
    return (
        f"{row['entry']}: {best['validation']:.4f} by {setting(best)}; {row['trials']} "
        f"fits in {duration(row['searched'])}{edge}"
    )


# -- questions to the results ----------------------------------------------------------


def seconds_of(results: Results, entry: str, size: int) -> float | None:
    """Return the median seconds of a pass, or None where it was not measured."""
    for row in results["cost"]:
        if (row["entry"], row["size"]) == (entry, size) and rounds_of(row):
            return median(rounds_of(row))
    return None


def ratios_of(results: Results, entry: str, other: str, size: int) -> list[float]:
    """Return how many times as long ``entry`` takes as ``other``, round by round.

    Ratios within a round, since a pair that takes turns meets the same machine.
    """
    pairs = {row["entry"]: row for row in results["cost"] if row["size"] == size}
    if not (entry in pairs and other in pairs):
        return []
    seconds = zip(pairs[entry]["seconds"], pairs[other]["seconds"], strict=False)
    return [a / b for a, b in seconds if a > 0 and b > 0]


def seconds_to(point: Results) -> float:
    """Return the median time of the fits of one setting."""
    return median(point["processor"])


def envelope(row: Results) -> list[Results]:
    """Return the points that no faster one equals on validation, fastest first."""
    kept: list[Results] = []
    for point in sorted(row.get("points", []), key=seconds_to):
        if not kept or median(point["validation"]) < median(kept[-1]["validation"]):
            kept.append(point)
    return kept


def best_point(row: Results) -> Results:
    """Return the fastest point whose validation error is as good as the lowest."""
    points = envelope(row)
    lowest = median(points[-1]["validation"])
    return next(one for one in points if median(one["validation"]) <= lowest + GAIN)


def reaches(row: Results, level: float) -> Results | None:
    """Return the fastest point whose validation error is at most the level."""
    for point in envelope(row):
        if median(point["validation"]) <= level:
            return point
    return None


def in_race(results: Results) -> list[Results]:
    """Return the rows of the race that were measured."""
    return [row for row in results["race"] if row.get("points") and "error" not in row]


def rounds_of_race(results: Results) -> int:
    """Return the number of rounds that were finished."""
    points = [point for row in in_race(results) for point in row["points"]]
    return max((len(point["processor"]) for point in points), default=0)


def grid_size(entry: str) -> int:
    """Return how many settings an entry's search begins with, for all passes each."""
    race = BY_NAME[entry].race
    return math.prod(map(len, race.grid.values())) if race else 0


def times_of(point: Results, other: Results) -> list[float]:
    """Return how many times as long one setting takes as another, round by round."""
    pairs = zip(point["processor"], other["processor"], strict=False)
    return [a / b for a, b in pairs]


def levels(results: Results, kinds: tuple[str, ...] = KINDS) -> list[Results]:
    """Return, for each error level that is reached, who is there first.

    ``first`` is the fastest entry, ``next`` the fastest of the other side: of the other
    libraries, where mflib is first; of mflib, where it is not. Each is a pair of entry
    and point; ``next`` is None where the other side never gets there. ``factor`` holds
    the ratios of their times, round by round.
    """
    rows = []
    for level in LEVELS:
        there = [
            (seconds_to(point), row["entry"], row["library"] == "mflib", point)
            for row in in_race(results)
            if row["kind"] in kinds and (point := reaches(row, level))
        ]
        there.sort(key=lambda one: one[0])
        if not there:
            continue
        _, name, ours, point = there[0]
        other = next((one for one in there if one[2] != ours), None)
        rows.append(
            {
                "level": level,
                "ours": ours,
                "first": (name, point),
                "next": None if other is None else (other[1], other[3]),
                "factor": [] if other is None else times_of(other[3], point),
            }
        )
    return rows


def aims(results: Results) -> list[Results]:
    """Return each aim of the project, the ratios measured, and what came of it.

    ``measured`` holds a ratio, or those of the rounds, or one with its half and double,
    or nothing; ``result`` is "undecided" where the bound lies between them.
    """
    found = []

    def aim(text: str, measured: list[float], sign: str, bound: float) -> None:
        met = {one >= bound if sign == "≥" else one <= bound for one in measured}
        result = "undecided" if len(met) > 1 else "met" if met == {True} else "missed"
        found.append(
            {"aim": text, "measured": measured, "bound": f"{sign} {bound:g}"}
            | {"result": result if measured else "not measured"}
        )

    million, ten_million = 1_000_000, 10_000_000
    aim(
        "plain nn.Embedding loop / mflib fit, an epoch at 1 million",
        ratios_of(results, "plain loop", "mflib fit", million),
        "≥",
        8,
    )
    # cmfrec solves for biases in its sweep, LensKit takes them off before.
    for entry, ours in (
        ("LensKit BiasedMF", "mflib als"),
        ("cmfrec CMF", "mflib als, plain λ"),
    ):
        for size in SIZES:
            aim(
                f"{ours} / {entry}, a sweep at {SIZES[size]}",
                ratios_of(results, ours, entry, size),
                "≤",
                1.25 if size == ten_million else 1,
            )
    for size in SIZES:
        aim(
            f"myFM / mflib gibbs, a sample at {SIZES[size]}",
            ratios_of(results, "myFM", "mflib gibbs", size),
            "≥",
            1.5,
        )
    for row in levels(results):
        if row["next"]:
            entry = (row["next"] if row["ours"] else row["first"])[0]
            ratios = row["factor"]
            aim(
                f"{entry} / mflib, time to a validation RMSE of {row['level']:.2f}",
                ratios if row["ours"] else [1 / ratio for ratio in ratios],
                "≥",
                1,
            )
    for entry in ("mflib fit", "mflib als", "mflib als, plain λ", "mflib gibbs"):
        large = seconds_of(results, entry, ten_million)
        small = seconds_of(results, entry, million)
        growth = [large / small / 10] if large and small else []
        aim(f"{entry}: a rating at 10 million / at 1 million", growth, "≤", 1.5)
    return found


# -- the table -------------------------------------------------------------------------


def table(header: list[str], rows: list[list[str]]) -> str:
    """Write a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine(results: Results, part: str) -> str:
    """Write when and where a part was measured, in words."""
    run = results["runs"][part]
    m = run["machine"]
    rounds = rounds_of_race(results) if part == "race" else run["rounds"]
    before = run.get("searched", run["date"])
    searched = "" if before == run["date"] else f"; settings found on {before}"
    return (
        f"{run['date']}: {m['cores']} cores of {m['processor']}, {m['memory']} of "
        f"memory, {m['system']}, Python {m['python']}; threads: {run['threads']}; "
        f"rounds: {rounds}{searched}"
    )


def versions(results: Results) -> str:
    """Write the versions of the libraries."""
    return ", ".join(
        f"{name} {found['version']}"
        for name, found in results["libraries"].items()
        if not found["missing"]
    )


def missing(results: Results) -> list[tuple[str, str]]:
    """Return the libraries that could not be installed, and why."""
    return [
        (name, found["missing"])
        for name, found in results["libraries"].items()
        if found["missing"]
    ]


def cost_rows(results: Results, size: int) -> list[list[str]]:
    """Return the rows of the table for one size: every entry, also a missing one."""
    rows = []
    measured = {row["entry"]: row for row in results["cost"] if row["size"] == size}
    for entry in results["entries"]:
        name = entry["entry"]
        why = results["libraries"][entry["library"]]["missing"]
        row = measured.get(name)
        if why:
            rows.append([name, f"missing: {why}", "", "", ""])
        elif row and rounds_of(row):
            low, high = min(rounds_of(row)), max(rounds_of(row))
            ours = REFERENCE[entry["kind"]]
            ratios = ratios_of(results, name, ours, size)
            share = "" if row["share"] == 1 else f" ({row['share']:g} of it measured)"
            rows.append(
                [
                    name,
                    duration(median(rounds_of(row))) + share,
                    f"{duration(low)} to {duration(high)}",
                    "1" if name == ours else with_range(ratios),
                    f"{row['peak_mb']:,.0f}",
                ]
            )
        elif row:
            rows.append([name, f"failed: {row['error']}", "", "", ""])
    for least in results.get("least", []):
        if least["size"] == size:
            kind = f"estimated limit, {least['kind']}"
            ours = seconds_of(results, REFERENCE[least["kind"]], size)
            ratio = least["seconds"] / ours if ours else None
            rows.append([kind, duration(least["seconds"]), "", times(ratio), ""])
    return rows


def race_rows(results: Results) -> list[list[str]]:
    """Return the rows of the table of errors, best first: each at its best setting."""
    rows: list[tuple[float, list[str]]] = []
    empty = [""] * (len(RACE_HEADER) - 2)
    for row in results["race"]:
        if "error" in row:
            cells = [f"failed: {row['error']}", *empty]
            rows.append((9.0, [row["entry"], *cells]))
            continue
        point = best_point(row)
        test, validation = median(point["test"]), median(point["validation"])
        cells = [setting(point), f"{validation:.4f}", f"{test:.4f}"]
        cells += [duration(seconds_to(point)), str(grid_size(row["entry"]))]
        rows.append((test, [row["entry"], *cells, str(row["trials"]), edges(row)]))
    for library, why in missing(results):
        rows.append((9.0, [library, f"missing: {why}", *empty]))
    return [cells for _, cells in sorted(rows, key=lambda pair: pair[0])]


def level_rows(results: Results, kinds: tuple[str, ...] = KINDS) -> list[list[str]]:
    """Return the rows of the table of levels: who is first, and by what factor."""
    rows = []
    for row in levels(results, kinds):
        name, point = row["first"]
        cells = [f"{row['level']:.2f}", f"{median(point['test']):.3f}", name]
        cells += [setting(point), duration(seconds_to(point))]
        if row["next"]:
            other, theirs = row["next"]
            cells += [other, duration(seconds_to(theirs)), with_range(row["factor"])]
        else:
            cells += ["nobody else", "", ""]
        rows.append(cells)
    return rows


def aim_rows(results: Results) -> list[list[str]]:
    """Return the rows of the table of aims."""
    rows = []
    for aim in aims(results):
        measured = aim["measured"]
        ratio = (
            with_range(measured) if len(measured) > 1 else times(*measured or [None])
        )
        rows.append([aim["aim"], ratio, aim["bound"], aim["result"]])
    return rows


RACE_HEADER = ["", "setting", "validation RMSE", "test RMSE", "time of the fit"]
RACE_HEADER += ["grid", "fits", "at an edge"]
LEVEL_HEADER = ["validation RMSE", "test RMSE", "first", "setting", "time"]
LEVEL_HEADER += ["next", "its time", "factor"]


def render(results: Results) -> str:
    """Write the whole run in Markdown."""
    units = [[entry["entry"], entry["unit"]] for entry in results["entries"]]
    parts = [versions(results), table(["", "one pass"], units)]
    header = ["", "a pass", "spread", "times mflib's", "peak MB"]
    sizes = {row["size"] for row in results["cost"]}
    if sizes:
        parts.append(machine(results, "cost"))
    for size, words in SIZES.items():
        if size in sizes:
            rank = results["runs"]["cost"]["rank"]
            parts.append(f"## {words.capitalize()} ratings, rank {rank}")
            parts.append(table(header, cost_rows(results, size)))
    if results["race"]:
        parts.append(f"## MovieLens latest-small\n\n{machine(results, 'race')}")
        parts.append(table(RACE_HEADER, race_rows(results)))
        parts.append(table(LEVEL_HEADER, level_rows(results)))
    parts.append("## Aims")
    header = ["aim", "measured", "bound", ""]
    parts.append(table(header, aim_rows(results)))
    return "\n\n".join(parts)
