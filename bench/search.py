"""Which setting of a library is best, and which reach an error first.

Only validation errors are looked at. The grid of an entry is tried as a whole. Then
each number of the chosen setting is doubled and halved, until all of that was tried.
Time and limits can end this early: then a chosen number may lie at an edge.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from .libraries import Race

Trial = dict[str, Any]
Ask = Callable[[dict[str, Any], int | None], Trial]
GAIN = 5e-4  # of validation RMSE: less is within the spread of seeds
LONGEST = 120.0  # seconds of one fit
MOST_FACTORS = 4096
STEP = 0.01
LEVELS = [round(0.9 - STEP * i, 3) for i in range(12)]  # validation RMSE in stars


def key(setting: dict[str, Any], passes: int | None) -> tuple[Any, ...]:
    """Return a setting as something that can be compared and kept in a set."""
    return (passes, *sorted(setting.items()))


def explore(ask: Ask, race: Race, budget: float) -> list[Trial]:
    """Try the grid, and then widen it around the chosen setting; return all trials.

    ``ask`` fits once: it returns the processor's seconds and the validation error.
    After ``budget`` of such seconds, the widening ends, whether finished or not.
    """
    trials: dict[tuple[Any, ...], Trial] = {}

    def attempt(setting: dict[str, Any], passes: int | None) -> Trial:
        mark = key(setting, passes)
        if mark not in trials:
            answer = ask(setting, passes)
            trials[mark] = {"setting": setting, "passes": passes} | answer
        return trials[mark]

    if race.own:
        attempt(race.fixed, None)
    for values in itertools.product(*race.grid.values()):
        setting = dict(zip(race.grid, values, strict=True)) | race.fixed
        lowest, idle = float("inf"), 0
        for passes in race.passes:
            error = attempt(setting, passes)["validation"]
            idle = 0 if error < lowest - GAIN else idle + 1
            lowest = min(lowest, error)
            if idle == 2:
                break

    grid = len(trials)
    while sum(t["processor"] for t in list(trials.values())[grid:]) < budget:
        best = chosen([t for t in trials.values() if t["passes"] is not None])
        untried = [
            (setting, passes)
            for setting, passes in neighbours(best, race)
            if key(setting, passes) not in trials
            and best["processor"] * passes <= LONGEST * best["passes"]
        ]
        if not untried:
            break
        attempt(*untried[0])
    return list(trials.values())


def neighbours(best: Trial, race: Race) -> list[tuple[dict[str, Any], int]]:
    """Return the settings with one number of a trial's doubled or halved."""
    setting, passes = best["setting"], best["passes"]
    near: list[tuple[dict[str, Any], int]] = []
    for name in race.grid:
        value = setting[name]
        if isinstance(value, bool):
            near.append((setting | {name: not value}, passes))
        elif isinstance(value, int):
            near += [
                (setting | {name: other}, passes)
                for other in (2 * value, value // 2)
                if 1 <= other <= MOST_FACTORS
            ]
        else:
            near += [
                (setting | {name: other}, passes) for other in (2 * value, value / 2)
            ]
    return [*near, *((setting, p) for p in (2 * passes, passes // 2) if p)]


def chosen(trials: list[Trial]) -> Trial:
    """Return the fastest of the trials whose error is as good as the lowest."""
    lowest = min(trial["validation"] for trial in trials)
    as_good = [trial for trial in trials if trial["validation"] <= lowest + GAIN]
    return min(as_good, key=lambda trial: trial["processor"])


def at_edge(trials: list[Trial], race: Race) -> list[str]:
    """Return the names of what the chosen setting has most of, or least, of all tried.

    Where it is not empty, the search ended early. Where it is empty, it may have: a
    number beyond the chosen one may have been tried with other settings alone.
    """
    best = chosen(trials)
    if best["passes"] is None:
        return []
    names = []
    for name in [*race.grid, "passes"]:
        mine = best["passes"] if name == "passes" else best["setting"][name]
        tried = [
            one["passes"] if name == "passes" else one["setting"].get(name)
            for one in trials
            if one["passes"] is not None
        ]
        ends = min(tried), max(tried)
        # One is the least there is, of factors as of passes.
        if not isinstance(mine, bool) and mine in ends and mine != 1:
            names.append(name)
    return names


def candidates(trials: list[Trial], most: int = 3) -> list[Trial]:
    """Return what may be the fastest to an error: to be timed again, in turn.

    For each level the fastest that reach it, as a single time can be off; and the best.
    """
    found: dict[tuple[Any, ...], Trial] = {}
    levels = [level - part * STEP / 2 for level in LEVELS for part in (0, 1)]
    best = min(trials, key=lambda trial: trial["validation"])
    near = chosen(trials)
    own = [trial for trial in trials if trial["passes"] is None]
    for level in levels:
        there = [trial for trial in trials if trial["validation"] <= level]
        fastest = sorted(there, key=lambda trial: trial["processor"])[:most]
        found |= {key(one["setting"], one["passes"]): one for one in fastest}
    found |= {key(one["setting"], one["passes"]): one for one in (best, near, *own)}
    return sorted(found.values(), key=lambda trial: trial["processor"])


def by_penalty(trials: list[Trial]) -> dict[str, float]:
    """Return the lowest validation error of each λ."""
    found: dict[str, float] = {}
    for trial in trials:
        if (lam := trial["setting"].get("lam")) is not None:
            name = f"{lam:g}"
            found[name] = min(trial["validation"], found.get(name, trial["validation"]))
    return found
