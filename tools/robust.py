"""Run the chapters' tests under other settings, or many times in a row.

Every notebook is executed and compared with what it has stored, all of them in one
process of ``pytest --nbval`` for each run. The first run that fails ends it all.

    python tools/robust.py                     each setting once
    python tools/robust.py --times 10 plain    the machine's own settings, ten times
"""

from __future__ import annotations

import argparse
import locale
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path

from tools.chapters import STARTUP

ROOT = Path(__file__).parents[1]
CHAPTERS = ROOT / "chapters"

# The first that the machine has: other decimal and thousands signs, if it can be.
LOCALES = ("de_DE.UTF-8", "fr_FR.UTF-8", "en_US.UTF-8", "C.UTF-8", "C")
TIME_ZONE = "Pacific/Auckland"

SHUFFLED, ELSEWHERE, ROUNDING = "shuffled", "elsewhere", "rounding"
THREADS = {
    f"threads-{threads}-{instructions}": {
        "OMP_NUM_THREADS": threads,
        "ATEN_CPU_CAPABILITY": instructions,
    }
    for threads, instructions in product("12", ("default", "avx2"))
}
# What PyTorch's linear algebra (MKL) and NumPy's (OpenBLAS) take the processor for;
# on a processor of another kind, such as ARM, this changes nothing.
PROCESSORS = {
    f"{library.lower()}-{value.lower()}": {variable: value}
    for library, variable, values in (
        ("MKL", "MKL_CBWR", ("COMPATIBLE", "AVX2", "AVX512")),
        ("MKL-enables", "MKL_ENABLE_INSTRUCTIONS", ("SSE4_2", "AVX2", "AVX512")),
        ("OpenBLAS", "OPENBLAS_CORETYPE", ("Nehalem", "Haswell")),
    )
    for value in values
}
SETTINGS = (*THREADS, *PROCESSORS, ELSEWHERE, SHUFFLED, ROUNDING)
PLAIN = "plain"


def foreign_locale() -> str:
    """Return the first of LOCALES that is installed."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        for name in LOCALES:
            try:
                locale.setlocale(locale.LC_ALL, name)
            except locale.Error:
                continue
            return name
    finally:
        locale.setlocale(locale.LC_ALL, before)
    raise AssertionError("every machine has the locale C")


def environment(setting: str) -> dict[str, str]:
    """Return the variables that a setting changes."""
    if setting == ELSEWHERE:
        return {"TZ": TIME_ZONE, "LC_ALL": foreign_locale()}
    if setting == ROUNDING:  # the kernel imports tools.rounding before its first cell
        startup = ROOT / "tools" / "rounding_startup.py"
        return {STARTUP: str(startup), "PYTHONPATH": str(ROOT)}
    return {**THREADS, **PROCESSORS}.get(setting, {})


def in_order(notebooks: list[Path], setting: str, seed: int) -> list[Path]:
    """Return the notebooks in the order in which a setting runs them."""
    if setting != SHUFFLED:
        return notebooks
    return random.Random(seed).sample(notebooks, len(notebooks))


def run_once(
    notebooks: list[Path], changed: Mapping[str, str], timeout: int, workers: int = 0
) -> tuple[bool, str]:
    """Test the notebooks in this order; return whether all is well, and the report."""
    gates = ("-p", "tests.nbval_gate", "--nbval", "--nbval-current-env")
    command = [sys.executable, "-m", "pytest", "-q", "-rs", *gates]
    if workers:
        command += ["-n", str(workers), "--dist", "loadfile"]
    done = subprocess.run(
        [*command, f"--nbval-cell-timeout={timeout}", *map(str, notebooks)],
        cwd=ROOT,
        env={**os.environ, **changed},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode == 0, done.stdout


def runs(settings: list[str], times: int, seed: int) -> Iterator[tuple[str, int]]:
    """Yield the setting and the seed of each run."""
    for turn in range(times):
        for setting in settings:
            yield setting, seed + turn


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="setting",
        help=f"{PLAIN}, or some of {', '.join(SETTINGS)} (all of these)",
    )
    parser.add_argument("--times", type=int, default=1, help="how often (%(default)s)")
    parser.add_argument("--seed", type=int, help="of the random order (a new one)")
    parser.add_argument("--timeout", type=int, default=120, help="seconds for a cell")
    parser.add_argument("--workers", type=int, default=0, help="notebooks at a time")
    parser.add_argument(
        "--chapter", type=Path, action="append", help="a notebook (all)"
    )
    options = parser.parse_args(arguments)
    settings = options.settings or list(SETTINGS)
    if unknown := set(settings) - {PLAIN, *SETTINGS}:
        parser.error(f"no such setting: {', '.join(sorted(unknown))}")
    if options.times < 1:
        parser.error("--times is at least 1")
    notebooks = [path.resolve() for path in options.chapter or CHAPTERS.glob("*.ipynb")]
    seed = random.randrange(10**6) if options.seed is None else options.seed

    start = time.monotonic()
    plan = list(runs(settings, options.times, seed))
    for number, (setting, seed_of_run) in enumerate(plan, start=1):
        changed = environment(setting)
        order = in_order(sorted(notebooks), setting, seed_of_run)
        words = [setting, *(f"{name}={value}" for name, value in changed.items())]
        if setting == SHUFFLED:
            words += [f"--seed {seed_of_run}:", ", ".join(path.stem for path in order)]
        print(f"{number}/{len(plan)} {' '.join(words)}", flush=True)
        begun = time.monotonic()
        well, report = run_once(order, changed, options.timeout, options.workers)
        took = time.monotonic() - begun
        if not well:
            print(report)
            print(f"Run {number} of {len(plan)} ({setting}) failed after {took:.0f} s")
            return 1
        print(f"    {report.splitlines()[-1].strip('= ')}; {took:.0f} s", flush=True)
    print(f"{len(plan)} runs in {(time.monotonic() - start) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
