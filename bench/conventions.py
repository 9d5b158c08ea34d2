"""Measure what λ each library means: python -m bench.conventions, or make conventions.

A row's factors u minimise a sum of squared errors e plus (λ_i / 2) |u|² only where
λ_i / 2 · u is the sum of e v, so

    λ_i = 2 <u, sum e v> / <u, u>

can be read off any fitted model, whatever its library calls its setting. Writes
bench/conventions.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from . import environments
from .convention_fits import BY_NAME, LAM, RANK, Case, Tables
from .libraries import Data

RESULTS = Path(__file__).parent / "conventions.json"
FOLDER = environments.FOLDER
ROWS = 12  # that are stored of each side, from few ratings to many
SMALL = 0.3  # rows whose norm is below this share of the median's say nothing
STARTS = 5


def load() -> dict[str, Any]:
    """Return the stored measurements."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def as_text(results: dict[str, Any]) -> str:
    """Return results as they are stored: each point of a case on one line."""
    text = json.dumps(results, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([^][{}]*?)\s+\]", one_line, text) + "\n"


def one_line(found: re.Match[str]) -> str:
    """Return a list of numbers without line breaks."""
    return f"[{' '.join(found[1].split())}]"


def ratings(seed: int = 0) -> Any:
    """Make ratings with a long tail and biases, whose truth has rank 4."""
    import mflib

    made, _ = mflib.make_low_rank_ratings(
        500,
        300,
        rank=RANK,
        density=0.08,
        tau=0.7,
        sigma=0.5,
        bias_tau=0.5,
        popularity="power-law",
        generator=mflib.seeded(seed),
    )
    return made


def sums(rows: np.ndarray, n: int, terms: np.ndarray) -> np.ndarray:
    """Add up the terms of each row."""
    total = np.zeros((n, *terms.shape[1:]))
    np.add.at(total, rows, terms)
    return total


def lams(own: np.ndarray, pull: np.ndarray) -> np.ndarray:
    """Return <u, pull> / <u, u> of each row; NaN where u is too small to say."""
    square = np.square(own).sum(-1)
    least = SMALL**2 * np.median(square[square > 0]) if square.any() else np.inf
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(square > least, (own * pull).sum(-1) / square, np.nan)


def measured(data: Data, found: Tables, case: Case) -> dict[str, np.ndarray]:
    """Return λ_i of each row: of the factors U and V, and of the biases b and c.

    The case's ``loss`` is what the errors are of: "known" ratings; "all" cells, where 1
    is to be predicted with the confidence exp(rating), and elsewhere 0 with the
    confidence 1; or "log", the log loss of the rating's sign.
    """
    if case.loss == "samples":
        return sampled(data, found)
    u, j = data.users, data.items
    U, V, b, c = (found[name] for name in ("U", "V", "b", "c"))
    taste = (U[u] * V[j]).sum(1)
    if case.loss == "all":
        confidence, whole = np.exp(data.values), U @ V.T
        errors = -whole
        errors[u, j] = confidence * (1 - taste)
        pulls = 2 * errors @ V, 2 * errors.T @ U
        return dict(zip("UV", map(lams, (U, V), pulls), strict=True))
    predicted = found["mean"] + b[u] + c[j] + taste
    if case.loss == "log":
        gradient = (data.values > 0) - 1 / (1 + np.exp(-predicted))
    else:
        gradient = 2 * (data.values - predicted)
    by_user = partial(sums, u, data.n_users)
    by_item = partial(sums, j, data.n_items)
    lam = {
        "U": lams(U, by_user(gradient[:, None] * V[j])),
        "V": lams(V, by_item(gradient[:, None] * U[u])),
    }
    if case.biases == "none":
        return lam
    of_b = of_c = gradient
    if case.biases == "before":  # items first, and both without the factors
        of_c = 2 * (data.values - found["mean"] - c[j])
        of_b = of_c - 2 * b[u]
    lam["b"] = lams(b[:, None], by_user(of_b[:, None]))
    lam["c"] = lams(c[:, None], by_item(of_c[:, None]))
    return {name: lam[name] for name in case.tables}


def sampled(data: Data, found: Tables) -> dict[str, np.ndarray]:
    """Return λ_i of rows that are sampled, not fitted.

    A sample is the minimiser and noise. On average over the posterior, each coordinate
    of <u - mean, λ (u - mean) - alpha · sum e v> is 1 (Stein's identity), with λ the
    precision of the prior and alpha that of the noise. So λ of a row follows from its
    samples; 2 / alpha of it is S7's.
    """
    u, j = data.users, data.items
    up = {"U": 0.0, "V": 0.0}
    down = {"U": 0.0, "V": 0.0}
    for s, alpha in enumerate(found["noise_precision"]):
        own = {name: found[name][s] for name in "UV"}
        predicted = found["mean"][s] + found["b"][s][u] + found["c"][s][j]
        e = data.values - predicted - (own["U"][u] * own["V"][j]).sum(1)
        for name, rows, others in (("U", u, own["V"][j]), ("V", j, own["U"][u])):
            pull = sums(rows, len(own[name]), e[:, None] * others)
            away = own[name] - found[f"mu_{name}"][s]
            # relative to the precisions of this sample, which differ by column
            up[name] = up[name] + (1 + alpha * away * pull).sum(1)
            down[name] = down[name] + (found[f"lambda_{name}"][s] * away**2).sum(1)
    learned = {name: learned_lam(found, name) for name in "UV"}
    return {name: learned[name] * up[name] / down[name] for name in "UV"}


def learned_lam(found: Tables, name: str) -> float:
    """Return S7's λ for the precisions that a sampler has learned: 2 λ / alpha."""
    return float(
        2 * (found[f"lambda_{name}"].mean(1) / found["noise_precision"]).mean()
    )


def spread_rows(counts: np.ndarray, lam: np.ndarray) -> list[list[float]]:
    """Return [count, λ_i] of rows whose counts are spread from few to many."""
    usable = np.flatnonzero(np.isfinite(lam) & (counts > 0))
    by_count = usable[np.argsort(counts[usable], kind="stable")]
    if not len(by_count):
        return []
    logs = np.log(counts[by_count])
    wanted = np.linspace(logs[0], logs[-1], ROWS)
    chosen = np.unique(np.searchsorted(logs, wanted - 1e-9).clip(max=len(logs) - 1))
    return [[int(counts[i]), float(f"{lam[i]:.5g}")] for i in by_count[chosen]]


def objectives(train: Any, found: Tables, how: dict[str, Any]) -> dict[str, Any]:
    """Return J of what a library has fitted, and what als reaches from five starts.

    ``how`` holds als's arguments. Without ``biases`` there, those that were fitted are
    taken as given, and what they leave is factorized.
    """
    import torch

    import mflib

    mean, biases = float(found["mean"]), how.get("biases", False)
    if not biases:
        given = found["b"][train.users] + found["c"][train.items] + mean
        left = train.values.numpy() - given
        sizes = {"n_users": train.n_users, "n_items": train.n_items}
        train, mean = mflib.Ratings(train.users, train.items, left, **sizes), 0.0
    own = mflib.MF(train.n_users, train.n_items, RANK, biases=biases, mean=mean)
    fitted = (found[name] for name in "UVbc")
    with torch.no_grad():
        for parameter, array in zip(own.parameters(), fitted, strict=False):
            parameter[:] = torch.from_numpy(array).reshape(parameter.shape)
    penalty = {name: how[name] for name in ("lam", "lam_per_rating") if name in how}
    reached = []
    for seed in range(STARTS):
        model, _ = mflib.als(
            train, rank=RANK, sweeps=150, mean=mean, generator=mflib.seeded(seed), **how
        )
        reached.append(mflib.objective(model, train, **penalty).item())
    J = mflib.objective(own, train, **penalty).item()
    return {"J": round(J, 2), "als": sorted(round(other, 2) for other in reached)}


def fit(case: Case, source: Path, folder: Path) -> Tables:
    """Fit a case in its library's environment."""
    target = source.with_name("fitted.npz")
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS", "LK")}
    threads |= {"RAYON_NUM_THREADS": "1", "BENCH_THREADS": "1"}
    command = [environments.python(case.library, folder), "-m", "bench.convention_fits"]
    done = subprocess.run(
        [*command, case.name, str(source), str(target)],
        cwd=environments.ROOT,
        env=os.environ | threads,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "no message").splitlines()[-1])
    with np.load(target) as file:
        return dict(file)


def measure(case: Case, train: Any, source: Path, folder: Path) -> dict[str, Any]:
    """Fit a case, and return what it shows of its λ."""
    data = Data(
        *(part.numpy() for part in (train.users, train.items, train.values)),
        train.n_users,
        train.n_items,
    )
    found = fit(case, source, folder)
    counts = {
        "U": np.bincount(data.users, minlength=data.n_users),
        "V": np.bincount(data.items, minlength=data.n_items),
    }
    counts |= {"b": counts["U"], "c": counts["V"]}
    rows = {
        name: spread_rows(counts[name], lam)
        for name, lam in measured(data, found, case).items()
    }
    value = case.setting.get(case.value)
    answer = {
        "convention": case.convention,
        "library": case.library,
        "version": environments.version(case.library, folder),
        "setting": case.setting,
        "value": LAM / len(train) if value == "LAM / n" else value,
        "rows": {name: points for name, points in rows.items() if points},
    }
    if case.biases == "before":
        answer["bias_value"] = case.setting["damping"]
    if case.loss == "samples":
        sigma = found["noise_precision"].mean() ** -0.5
        learned = {name: learned_lam(found, name) / (2 * sigma**2) for name in "UV"}
        answer["sigma"] = float(f"{sigma:.5g}")
        answer["value"] = {name: float(f"{lam:.5g}") for name, lam in learned.items()}
    if case.mflib is not None:
        answer["mflib"] = case.mflib
        answer |= objectives(train, found, case.mflib)
    return answer


def changed(results: dict[str, Any]) -> list[str]:
    """Return what the measurements say against the table's formulas."""
    from mflib.book.conventions import misfits

    return [
        f"changed: {name} {result['version']}: {why}"
        for name, result in results["cases"].items()
        if "error" not in result
        for why in misfits(result, results["n"])
    ]


def run(names: list[str], newest: bool) -> dict[str, Any]:
    """Measure cases, each library in its own environment."""
    import mflib

    folder = FOLDER / "newest" if newest else FOLDER
    train = ratings()
    model, _ = mflib.als(
        train, rank=RANK, lam=LAM, sweeps=50, biases=True, generator=mflib.seeded(0)
    )
    results: dict[str, Any] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as place:
        source = Path(place, "ratings.npz")
        np.savez(
            source,
            users=train.users.numpy(),
            items=train.items.numpy(),
            values=train.values.numpy(),
            shape=(train.n_users, train.n_items),
            V=model.V.weight.detach().numpy(),
        )
        for case in (BY_NAME[name] for name in names):
            library = case.library
            if library not in missing:
                own = newest or library not in ("torch", "scikit-learn")
                missing[library] = (
                    environments.make(library, folder, newest) if own else ""
                )
            print(case.name, flush=True)
            try:
                if missing[library]:
                    raise RuntimeError(missing[library])
                results[case.name] = measure(case, train, source, folder)
            except RuntimeError as error:
                results[case.name] = {"library": library, "error": str(error)}
                print(f"  {error}", flush=True)
    return {
        "date": datetime.date.today().isoformat(),
        "n": len(train),
        "n_users": train.n_users,
        "n_items": train.n_items,
        "rank": RANK,
        "cases": results,
    }


def main() -> int:
    """Measure, store, and compare with the table of the book."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--newest", action="store_true", help="versions without pins")
    parser.add_argument("--only", nargs="+", default=list(BY_NAME), metavar="CASE")
    chosen = parser.parse_args()
    results = run(chosen.only, chosen.newest)
    if not chosen.newest:
        if set(chosen.only) < set(BY_NAME) and RESULTS.exists():
            stored = json.loads(RESULTS.read_text(encoding="utf-8"))
            cases = stored["cases"] | results["cases"]
            results = stored | {"cases": {name: cases[name] for name in BY_NAME}}
        RESULTS.write_text(as_text(results), encoding="utf-8")
    failed = [
        f"{name} could not be measured: {result['error']}"
        for name, result in results["cases"].items()
        if "error" in result
    ]
    found = changed(results)
    print("\n".join(found + failed) or "All agree with the table.")
    return 1 if found else 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
