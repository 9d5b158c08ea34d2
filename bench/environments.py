"""An environment for each library, so that none can spoil another's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PINS = ROOT / "requirements" / "bench.txt"
FOLDER = ROOT / ".venv-bench"
LIBRARIES = {  # and what they import without saying that they need it
    "scikit-surprise": ["pandas"],
    "cornac": [],
    "cmfrec": ["threadpoolctl"],
    "lenskit": ["torch"],
    "implicit": [],
    "myfm": [],
}
MORE = {  # beyond the benchmark's: `make conventions` and `make scale`
    "pyspark": ["pyarrow", "torch", "pandas", "pooch", "tqdm"],
    "torch": ["numpy"],
    "scikit-learn": [],
}


def make(library: str, folder: Path = FOLDER, newest: bool = False) -> str:
    """Install a library, unless that is done; return why it cannot be, or nothing.

    ``newest`` installs it without pins, and anew.
    """
    place = folder / library
    stamp = place / "installed"
    pins = PINS.read_text(encoding="utf-8")
    if not newest and stamp.exists() and stamp.read_text(encoding="utf-8") == pins:
        return ""
    print(f"Installing {library} into {place}", flush=True)
    install = ["-m", "pip", "--disable-pip-version-check", "install", "-qq"]
    install += [] if newest else ["-c", str(PINS)]
    install += [library, *(LIBRARIES | MORE)[library]]
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(place)],
        [str(place / "bin" / "python"), *install],
    ):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            errors = [line for line in lines if "error" in line.lower()] or lines
            return f"cannot be installed: {errors[-1].strip() if errors else 'pip'}"
    stamp.write_text(pins, encoding="utf-8")
    return ""


def python(library: str, folder: Path = FOLDER) -> str:
    """Return the interpreter that a library's worker runs in."""
    own = folder / library / "bin" / "python"
    if library in LIBRARIES or (library in MORE and own.exists()):
        return str(own)
    return sys.executable


def version(library: str, folder: Path = FOLDER) -> str:
    """Return the version that is installed."""
    name = {"PyTorch": "torch"}.get(library, library)
    code = f"import importlib.metadata as m; print(m.version({name!r}))"
    done = subprocess.run(
        [python(library, folder), "-c", code], capture_output=True, text=True
    )
    return done.stdout.strip()
