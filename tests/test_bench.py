import json
import subprocess
import sys

import numpy as np
import pytest

from bench import environments, floor, report, search
from bench.libraries import (
    BY_NAME,
    ENTRIES,
    Race,
    given,
    per_rating,
    plain_loop,
    prediction,
)
from bench.run import RESULTS, Failed, Process, described, first
from bench.worker import Worker

LIBRARIES = {entry.library for entry in ENTRIES}


def cost_row(name, size, seconds):
    row = described(BY_NAME[name], "unit", "threads")
    return row | {"size": size, "share": 1.0, "seconds": seconds, "peak_mb": 100.0}


def race_row(name, *points):
    """Points are (seconds of each round, validation error)."""
    row = described(BY_NAME[name]) | {"trials": 9, "searched": 3.0, "at_edge": []}
    row["points"] = [
        {"setting": {"rank": 4 + i, "lam": 24.0}, "passes": 10}
        | {"seconds": seconds, "processor": seconds}
        | {"validation": [error] * len(seconds), "test": [error + 0.01] * len(seconds)}
        for i, (seconds, error) in enumerate(points)
    ]
    return row


RUN = {
    "date": "2026-01-02",
    "machine": dict.fromkeys(("system", "python"), "1.0")
    | {"processor": "Abacus", "cores": "2", "memory": "8 GB"},
    "rounds": 3,
}


@pytest.fixture
def results():
    found = {library: {"version": "1.0", "missing": ""} for library in LIBRARIES}
    found["cmfrec"] = {"version": "", "missing": "cannot be installed: no compiler"}
    return {
        "runs": {
            "cost": RUN | {"rank": 16, "threads": 2},
            "race": RUN | {"threads": 1},
        },
        "libraries": found,
        "entries": [described(e, "unit") for e in ENTRIES],
        "least": [{"kind": "ALS", "size": 1_000_000, "seconds": 0.002}],
        "cost": [
            cost_row("mflib fit", 1_000_000, [0.01, 0.02, 0.012]),
            cost_row("plain loop", 1_000_000, [0.09, 0.30, 0.12]),
            cost_row("mflib als", 1_000_000, [0.03, 0.03, 0.03]),
            cost_row("mflib als", 10_000_000, [0.6, 0.6, 0.6]),
            cost_row("LensKit BiasedMF", 1_000_000, [0.06, 0.02, 0.05]),
        ],
        "race": [
            race_row("mflib als", ([1.0, 2.0, 1.0], 0.89), ([4.0, 4.0, 4.0], 0.85)),
            race_row("mflib fit", ([9.0, 9.0, 9.0], 0.89)),
            race_row("cornac MF", ([0.5, 4.0, 3.0], 0.90), ([6.0, 8.0, 4.0], 0.86)),
            described(BY_NAME["myFM"]) | {"error": "RuntimeError: no"},
        ],
    }


def aim(results, words):
    (found,) = [one for one in report.aims(results) if words in one["aim"]]
    return found


def test_ratios_are_of_pairs_of_one_round(results):
    # Round by round 9, 15 and 10: not the ratio of the medians, which is also 10 here
    # unless the slow round of both is another one.
    ratios = report.ratios_of(results, "plain loop", "mflib fit", 1_000_000)
    assert report.with_range(ratios) == "10 (9.00\xa0to\xa015)"
    results["cost"][1]["seconds"] = [0.12, 0.10, 0.30]
    ratios = report.ratios_of(results, "plain loop", "mflib fit", 1_000_000)
    assert report.with_range(ratios) == "12 (5.00\xa0to\xa025)"
    assert report.with_range([1.04]) == "1.04"
    assert report.ratios_of(results, "plain loop", "myFM", 1_000_000) == []


def test_a_round_that_was_hidden_is_left_out(results):
    results["cost"][1]["seconds"] = [0.09, -0.1, 0.12]
    ratios = report.ratios_of(results, "plain loop", "mflib fit", 1_000_000)
    assert ratios == pytest.approx([9, 10])
    assert report.seconds_of(results, "plain loop", 1_000_000) == pytest.approx(0.105)
    assert "90\xa0ms to 120\xa0ms" in report.render(results)


def test_aims_met_missed_and_not_measured(results):
    assert aim(results, "nn.Embedding")["result"] == "met"
    assert ["10 (9.00\xa0to\xa015)", "≥ 8", "met"] in [
        row[1:] for row in report.aim_rows(results)
    ]
    # The bound, 1, lies between the rounds' 0.5, 1.5 and 0.6.
    lenskit = aim(results, "LensKit BiasedMF, a sweep at 1 million")
    assert lenskit["measured"] == pytest.approx([0.5, 1.5, 0.6])
    assert lenskit["result"] == "undecided"
    assert aim(results, "cmfrec CMF, a sweep at 1 million")["result"] == "not measured"
    growth = aim(results, "mflib als: a rating")
    assert growth["measured"] == pytest.approx([2])
    assert growth["result"] == "missed"


def test_the_envelope_leaves_out_what_a_faster_fit_equals():
    points = ([1.0], 0.90), ([2.0], 0.91), ([3.0], 0.90), ([4.0], 0.88)
    kept = report.envelope(race_row("mflib als", *points))
    assert [report.seconds_to(point) for point in kept] == [1.0, 4.0]


def test_levels_name_the_first_and_the_first_of_the_other_side(results):
    found = {row["level"]: row for row in report.levels(results)}
    assert (found[0.9]["first"][0], found[0.9]["next"][0]) == ("mflib als", "cornac MF")
    assert found[0.9]["factor"] == [0.5, 2.0, 3.0]  # in each round
    assert found[0.86]["factor"] == [1.5, 2.0, 1.0]
    assert found[0.85]["next"] is None
    assert 0.84 not in found
    assert aim(results, "0.88")["measured"] == [1.5, 2.0, 1.0]
    results["race"] = results["race"][1:]  # now cornac is first
    row = report.levels(results)[0]
    assert (row["ours"], row["next"][0]) == (False, "mflib fit")
    assert aim(results, "0.90")["measured"] == pytest.approx([1 / 18, 4 / 9, 1 / 3])
    assert report.levels(results, ("Gibbs",)) == []


def test_the_table_of_the_race_counts_what_was_tried(results):
    results["race"][0]["at_edge"] = ["lam", "passes"]
    rows = {row[0]: row for row in report.race_rows(results)}
    assert rows["mflib als"][-3:] == ["90", "9", "λ, passes"]
    assert rows["mflib fit"][-1] == ""
    assert {len(row) for row in rows.values()} == {len(report.RACE_HEADER)}
    assert report.rounds_of_race(results) == 3
    # Not the rounds that were asked for, where the run was ended early.
    results["runs"]["race"]["rounds"] = 5
    assert report.machine(results, "race").endswith("rounds: 3")
    results["runs"]["race"]["searched"] = "2026-01-01"
    assert "settings found on 2026-01-01" in report.machine(results, "race")


def test_the_search_widens_until_nothing_is_better():
    # The best is rank 24 (16 or 32 on the ladder), lam 5, 30 passes: none on the grid.
    def ask(setting, passes):
        if passes is None:
            return {"processor": 1.0, "validation": 1.2}
        far = [np.log(setting["rank"] / 16), np.log(setting["lam"] / 6)]
        error = 0.8 + 0.01 * np.square([*far, np.log(passes / 80)]).sum()
        return {"processor": passes / 1000, "validation": error}

    grid = {"rank": (4, 8), "lam": (24.0, 48.0), "option": (False, True)}
    race = Race(grid, (5, 10), own=True)
    trials = search.explore(ask, race, budget=100.0)
    best = min(trials, key=lambda trial: trial["validation"])
    assert (best["setting"]["rank"], best["setting"]["lam"]) == (16, 6.0)
    assert best["passes"] == 80
    assert search.at_edge(trials, race) == []
    assert trials[0]["passes"] is None
    short = search.explore(ask, race, budget=0.0)
    assert set(search.at_edge(short, race)) == {"rank", "lam", "passes"}
    assert best in search.candidates(trials)
    assert trials[0] in search.candidates(trials)


def test_the_search_goes_on_around_what_is_chosen_though_no_better():
    # All ranks are as good: the fastest is chosen, and those below it must be tried.
    def ask(setting, passes):
        return {"processor": setting["rank"] / 100, "validation": 0.8}

    race = Race({"rank": (8, 16)}, (1,))
    trials = search.explore(ask, race, budget=100.0)
    assert search.chosen(trials)["setting"]["rank"] == 1
    short = search.explore(ask, race, budget=0.0)
    assert search.at_edge(short, race) == ["rank"]


def test_a_search_in_which_all_fails_ends():
    def ask(setting, passes):
        return {"processor": 0.0, "validation": 9.0}

    trials = search.explore(ask, Race({"rank": (8,)}, (2,)), budget=1.0)
    assert {trial["setting"]["rank"] for trial in trials} == {4, 8, 16}


def test_a_setting_that_gets_worse_is_left():
    asked = []

    def ask(setting, passes):
        asked.append(passes)
        return {"processor": 1.0, "validation": 0.9 + passes / 1000}

    search.explore(ask, Race({"rank": (4,)}, (1, 2, 5, 10)), budget=0.0)
    assert asked == [1, 2, 5]


def test_the_table_names_what_is_missing_or_failed(results):
    text = report.render(results)
    assert text.count("missing: cannot be installed: no compiler") == 2 * 2 + 1
    assert "cmfrec CMF" in text
    assert "failed: RuntimeError: no" in text
    results["libraries"]["cmfrec"] = {"version": "1.0", "missing": ""}
    assert "missing" not in report.render(results)


def test_the_table_shows_median_spread_and_ratio(results):
    text = report.render(results)
    assert "| plain loop | epoch of Adam, full batch |" in text
    assert (
        "| plain loop | 120\xa0ms | 90\xa0ms to 300\xa0ms | 10 (9.00\xa0to\xa015) |"
        in text
    )
    assert "2026-01-02: 2 cores of Abacus, 8 GB of memory" in text
    assert "| missed |" in text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (17.2, "17\xa0s"),
        (1.0, "1\xa0s"),
        (0.0444, "44\xa0ms"),
        (0.0009996, "1\xa0ms"),
        (2.5e-5, "25\xa0µs"),
    ],
)
def test_durations_have_two_digits(seconds, text):
    assert report.duration(seconds) == text


def test_stored_results_are_whole():
    results = report.load()
    text = report.render(results)
    for entry in ENTRIES:  # measured, or named as missing
        assert f"| {entry.name}" in text
    assert {entry["entry"] for entry in results["entries"]} == set(BY_NAME)
    for row in results["cost"]:
        rounds = results["runs"]["cost"]["rounds"]
        assert len(row["seconds"]) in (0, rounds)
        most = len(report.rounds_of(row)) > rounds / 2
        assert row["error"] if not row["seconds"] else most
    for row in report.in_race(results):
        assert set(row["at_edge"]) <= {
            "rank",
            "lam",
            "lam_per_rating",
            "lr",
            "cg_steps",
            "passes",
        }
        assert all(point["test"] for point in row["points"])
        assert 0.75 < report.best_point(row)["test"][0] < 1.1
    for library, found in results["libraries"].items():
        assert library in LIBRARIES
        assert bool(found["version"]) != bool(found["missing"])
    # Written as the run writes it: a hand in it would show.
    stored = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    assert RESULTS.read_text(encoding="utf-8") == stored


def test_every_library_of_the_table_is_pinned():
    pins = environments.PINS.read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0] for line in pins if "==" in line}
    for library, more in environments.LIBRARIES.items():
        assert {library, *more} <= pinned
    assert set(environments.LIBRARIES) | {"mflib", "PyTorch"} == LIBRARIES


def test_a_library_that_cannot_be_installed_says_why(tmp_path, monkeypatch):
    class Done:
        returncode, stdout, stderr = 1, "", "ERROR: no matching distribution\nhint"

    monkeypatch.setattr(subprocess, "run", lambda *_, **__: Done)
    why = environments.make("cornac", tmp_path)
    assert why == "cannot be installed: ERROR: no matching distribution"
    Done.returncode = 0
    (tmp_path / "cornac").mkdir()
    assert environments.make("cornac", tmp_path) == ""
    Done.returncode = 1  # installed with these pins: nothing is run
    assert environments.make("cornac", tmp_path) == ""


def test_settings_that_are_not_given_are_the_librarys_own():
    assert given(k=None, reg=0.0) == {"reg": 0.0}
    assert per_rating(None) is None
    assert per_rating(300.0) == 1.0


def test_predictions_of_the_unknown_are_without_its_bias_and_factors():
    b, c, factors = np.array([1.0, 2.0]), np.array([10.0]), np.ones((2, 3))
    predict = prediction(100.0, b, c, factors, factors[:1], item=lambda ids: ids - 1)
    users, items = np.array([0, 1, 1]), np.array([1, 1, 0])
    assert predict(users, items).tolist() == [114.0, 115.0, 102.0]


def test_least_time_is_that_of_bytes_or_of_arithmetic():
    machine = {"bytes_per_second": 1e10, "flops_per_second": 1e30}
    bytes_only = floor.seconds("gradient", machine, 1_000_000, 100, 100, 16)
    assert bytes_only == pytest.approx(36e6 / 1e10, rel=0.01)
    machine = {"bytes_per_second": 1e30, "flops_per_second": 1e11}
    flops_only = floor.seconds("ALS", machine, 1_000_000, 100, 100, 16)
    assert flops_only == pytest.approx(2e6 * (16 * 17 + 32) / 1e11, rel=0.01)


@pytest.fixture
def triples(tmp_path):
    rng = np.random.default_rng(0)
    cells = np.sort(rng.choice(20 * 15, 150, replace=False))
    arrays = {"n_users": np.array(20), "n_items": np.array(15)}
    for part, chosen in (("train", cells[::2]), ("test", cells[1::2])):
        arrays[f"{part}_users"], arrays[f"{part}_items"] = np.divmod(chosen, 15)
        arrays[f"{part}_values"] = rng.choice([2.0, 4.0], len(chosen)).astype("f4")
    np.savez(tmp_path / "triples.npz", **arrays)
    return str(tmp_path / "triples.npz")


@pytest.mark.parametrize(
    "name", [e.name for e in ENTRIES if e.library in ("mflib", "PyTorch")]
)
def test_our_own_entries_fit_and_are_scored(triples, name):
    worker = Worker(BY_NAME[name])
    worker.prepare(triples)
    race = BY_NAME[name].race
    setting = first(race) | race.fixed
    answer = worker.fit(7, setting, whole=True)
    assert 0.5 < answer["test"] < 2
    assert answer["seconds"] > 0
    assert answer["processor"] > 0


@pytest.mark.parametrize("name", ["plain loop, DataLoader", "plain loop, batches"])
def test_a_share_of_an_epoch_counts_as_that(triples, name):
    worker = Worker(BY_NAME[name])
    worker.prepare(triples)
    setting = BY_NAME[name].cost | {"share": 0.5}
    _, passes = plain_loop(worker.ready, 4, **setting).span
    assert passes == 2


def test_a_worker_that_fails_gives_its_reason(tmp_path):
    worker = Process(BY_NAME["mflib als"], tmp_path)
    try:
        with pytest.raises(Failed, match="FileNotFoundError"):
            worker.ask("prepare", path=str(tmp_path / "nothing.npz"))
    finally:
        worker.close()
    assert environments.python("mflib") == sys.executable
