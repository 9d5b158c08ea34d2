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
from collections.abc import Mapping
from contextlib import suppress
from itertools import product
from pathlib import Path

from tools.chapters import STARTUP

ROOT = Path(__file__).parents[1]
CHAPTERS = ROOT / "chapters"

# The first that the machine has: other decimal and thousands signs, if it can be.
LOCALES = ("de_DE.UTF-8", "fr_FR.UTF-8", "en_US.UTF-8", "C.UTF-8", "C")
TIME_ZONE = "Pacific/Auckland"

SHUFFLED, ELSEWHERE, ROUNDING, PLAIN = "shuffled", "elsewhere", "rounding", "plain"
# Variables, by setting. What PyTorch's linear algebra (MKL) and NumPy's (OpenBLAS) take
# the processor for changes nothing on one of another kind, such as ARM.
VARIABLES = {
    **{
        f"threads-{threads}-{instructions}": {
            "OMP_NUM_THREADS": threads,
            "ATEN_CPU_CAPABILITY": instructions,
        }
        for threads, instructions in product("12", ("default", "avx2"))
    },
    **{
        f"{library}-{value.lower()}": {variable: value}
        for library, variable, values in (
            ("mkl", "MKL_CBWR", ("COMPATIBLE", "AVX2", "AVX512")),
            ("mkl-enables", "MKL_ENABLE_INSTRUCTIONS", ("SSE4_2", "AVX2", "AVX512")),
            ("openblas", "OPENBLAS_CORETYPE", ("Nehalem", "Haswell")),
        )
        for value in values
    },
}
SETTINGS = (*VARIABLES, ELSEWHERE, SHUFFLED, ROUNDING)


def foreign_locale() -> str:
    """Return the first of LOCALES that is installed."""
    before = locale.setlocale(locale.LC_ALL)
    for name in LOCALES:
        with suppress(locale.Error):
            locale.setlocale(locale.LC_ALL, name)
            locale.setlocale(locale.LC_ALL, before)
            return name
    raise AssertionError("every machine has the locale C")


def environment(setting: str) -> dict[str, str]:
    """Return the variables that a setting changes."""
    if setting == ELSEWHERE:
        return {"TZ": TIME_ZONE, "LC_ALL": foreign_locale()}
    if setting == ROUNDING:  # the kernel imports tools.rounding before its first cell
        startup = ROOT / "tools" / "rounding_startup.py"
        return {STARTUP: str(startup), "PYTHONPATH": str(ROOT)}
    return VARIABLES.get(setting, {})


def run_once(
    notebooks: list[Path], changed: Mapping[str, str], timeout: int, workers: int = 0
) -> tuple[bool, str]:
    """Test the notebooks in this order; return whether all is well, and the report."""
    gates = ("-p", "tests.nbval_gate", "--nbval", "--nbval-current-env")
    command = [sys.executable, "-m", "pytest", "-q", "-rs", *gates]
    if workers:
        command += ["-n", str(workers), "--dist", "loadfile"]
    command += [f"--nbval-cell-timeout={timeout}", *map(str, notebooks)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **changed},
        text=True,
        check=False,
        **pipes,
    )
    return done.returncode == 0, done.stdout


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
    plan = list(product(range(options.times), settings))
    for number, (turn, setting) in enumerate(plan, start=1):
        changed = environment(setting)
        order, seed_of_run = sorted(notebooks), seed + turn
        words = [setting, *(f"{name}={value}" for name, value in changed.items())]
        if setting == SHUFFLED:
            random.Random(seed_of_run).shuffle(order)
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
