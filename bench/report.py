"""What the stored results say: tables, ratios, and the aims that were met or missed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
Results = dict[str, Any]
MARGIN = 0.001  # of RMSE: closer than that, two errors count as equal
POINT_ESTIMATES = ("mflib als, biases", "mflib als, weighted λ", "mflib fit")
OURS = {  # what of mflib answers to a library: an estimate, or an average over draws
    "scikit-surprise": POINT_ESTIMATES,
    "cornac": POINT_ESTIMATES,
    "lenskit": POINT_ESTIMATES,
    "cmfrec": POINT_ESTIMATES,
    "myfm": ("mflib gibbs",),
}
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
    """Write the median, the lowest and the highest; near 1 with two decimals."""
    if not ratios:
        return ""
    ends = (min(ratios), max(ratios))
    low, high = (times(one) if one > 10 else f"{one:.2f}" for one in ends)
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


def setting(row: Results) -> str:
    """Write the setting that was chosen."""
    chosen = row["setting"]
    parts = [f"rank {chosen['rank']}"]
    if chosen.get("lam") is not None:
        parts.append(f"λ {chosen['lam']:g}")
    parts.append(f"{row['passes']} passes")
    return ", ".join(parts)


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


def curve(row: Results) -> list[tuple[float, float]]:
    """Return the (median seconds, median test RMSE) of each number of passes."""
    points = row.get("curve", [])
    return [
        (median(point["seconds"]), median(point["test"]))
        for point in points
        if point["seconds"]
    ]


def reported(row: Results) -> tuple[float, float] | None:
    """Return seconds and test RMSE at the number of passes that was chosen."""
    for point in row.get("curve", []):
        if point["passes"] == row["passes"] and point["seconds"]:
            return median(point["seconds"]), median(point["test"])
    return None


def time_to(results: Results, entry: str, error: float) -> float | None:
    """Return the first time at which an entry's test error is at most ``error``."""
    times = [
        seconds
        for row in results["movielens"]
        if row["entry"] == entry
        for seconds, reached in curve(row)
        if reached <= error
    ]
    return min(times, default=None)


def races(results: Results) -> list[Results]:
    """Return, for each library that predicts ratings, who is there first.

    The goal is the lowest error on the library's own curves, plus MARGIN.
    """
    rows = []
    for library, entries in OURS.items():
        own = [row for row in results["movielens"] if row["library"] == library]
        errors = [error for row in own for _, error in curve(row)]
        if not errors:
            continue
        goal = min(errors) + MARGIN
        name = own[0]["entry"]
        ours = {
            entry: seconds
            for entry in entries
            if (seconds := time_to(results, entry, goal)) is not None
        }
        first = min(ours, key=lambda entry: ours[entry], default=None)
        rows.append(
            {
                "entry": name,
                "goal": goal,
                "own": time_to(results, name, goal),
                "mflib": None if first is None else ours[first],
                "by": first,
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
        ("cmfrec CMF", "mflib als, biases"),
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
    for race in races(results):
        measured = [math.inf]
        if race["mflib"]:
            # Passes double from look to look: times are known to a factor of two.
            ratio = race["mflib"] / race["own"]
            measured = [ratio / 2, ratio, ratio * 2]
        aim(f"mflib / {race['entry']}, time to its best error", measured, "≤", 1)
    for entry in ("mflib fit", "mflib als", "mflib als, biases", "mflib gibbs"):
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


def machine(results: Results) -> str:
    """Write the date and the machine in words."""
    m = results["machine"]
    versions = ", ".join(
        f"{name} {found['version']}"
        for name, found in results["libraries"].items()
        if not found["missing"]
    )
    return (
        f"{results['date']}: {m['cores']} cores of {m['processor']}, {m['memory']} of "
        f"memory, {m['system']}, Python {m['python']}; threads: {results['threads']}; "
        f"rounds: {results['rounds']}; runs: {results['runs']}. {versions}."
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
    for least in results["least"]:
        if least["size"] == size:
            kind = f"estimated limit, {least['kind']}"
            ours = seconds_of(results, REFERENCE[least["kind"]], size)
            ratio = least["seconds"] / ours if ours else None
            rows.append([kind, duration(least["seconds"]), "", times(ratio), ""])
    return rows


def movielens_rows(results: Results) -> list[list[str]]:
    """Return the rows of the table of errors, best first."""
    rows = []
    for row in results["movielens"]:
        found = reported(row)
        name = f"{row['entry']}, {row['setting_name']}"
        if found is None:
            rows.append((9.0, [name, f"failed: {row.get('error')}", "", ""]))
            continue
        own = "no penalty" if row["library"] == "PyTorch" else "its own"
        chosen = setting(row) if row["setting_name"] == "tuned" else own
        rows.append((found[1], [name, chosen, f"{found[1]:.4f}", duration(found[0])]))
    for library, why in missing(results):
        rows.append((9.0, [library, f"missing: {why}", "", ""]))
    return [cells for _, cells in sorted(rows, key=lambda pair: pair[0])]


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


def render(results: Results) -> str:
    """Write the whole run in Markdown."""
    units = [[entry["entry"], entry["unit"]] for entry in results["entries"]]
    parts = [machine(results), table(["", "one pass"], units)]
    header = ["", "a pass", "spread", "times mflib's", "peak MB"]
    sizes = {row["size"] for row in results["cost"]}
    for size, words in SIZES.items():
        if size in sizes:
            parts.append(f"## {words.capitalize()} ratings, rank {results['rank']}")
            parts.append(table(header, cost_rows(results, size)))
    if results["movielens"]:
        parts.append("## MovieLens latest-small")
        header = ["", "setting", "test RMSE", "seconds to fit"]
        parts.append(table(header, movielens_rows(results)))
    parts.append("## Aims")
    header = ["aim", "measured", "bound", ""]
    parts.append(table(header, aim_rows(results)))
    return "\n\n".join(parts)
