"""What ``pytest --nbval`` does not do by itself, as a plugin: ``-p tests.nbval_gate``.

nbval re-executes each cell and compares its text. It never compares figures, compares
nothing in a cell that was stored without having been run, and cannot tell a notebook
whose data are missing from one that is wrong. Here the figures of nbval's own run are
compared with the stored ones, an unexecuted cell fails, and the cells of a notebook
that needs MovieLens are skipped, with the reason, where MovieLens cannot be had.
"""

import base64
import io
import os

import numpy as np
import pytest
from nbval.plugin import IPyNbCell, NbCellError
from PIL import Image

from tools.chapters import kernel_environment, why_no_movielens

# nbval waits this long for a cell's outputs to arrive after the cell has finished (the
# cell's own time is --nbval-cell-timeout). Its 5 s are short on a busy machine.
OUTPUT_TIMEOUT = 30

# The difference between two figures is the largest mean difference, in grey levels of
# 0 to 255, over any tile of TILE x TILE pixels: a mean over the whole figure would be
# mostly white paper. One curve of a line plot moved by 2 % measures 25 to 55 (7 for a
# thin pale grey one), a colour map scaled by 2 % measures 3.2, one curve moved by
# 0.1 % (a third of a pixel) 2.4, by 0.01 % 0.3, and the same figure drawn again 0.
TILE = 16
TOLERANCE = 3.0


def figure_difference(stored: str, fresh: str) -> float:
    """Return the largest difference of any tile of two base64-coded PNGs."""
    a, b = (
        np.asarray(
            Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB"), dtype=float
        )
        for png in (stored, fresh)
    )
    if a.shape != b.shape:
        return float("inf")
    difference = np.abs(a - b).mean(axis=2)
    height, width = difference.shape
    padded = np.pad(difference, ((0, -height % TILE), (0, -width % TILE)))
    tiles = padded.reshape(padded.shape[0] // TILE, TILE, -1, TILE)
    return float(tiles.mean(axis=(1, 3)).max())


def figures(outputs) -> list[str]:
    return [o.data["image/png"] for o in outputs if "image/png" in o.get("data", {})]


def gate_problem(cell: IPyNbCell) -> str | None:
    """Say what is wrong with a cell that has passed nbval's own comparison."""
    if cell.cell.execution_count is None:
        return "the stored cell was never executed: there is nothing to compare with"
    if not cell.options["check"]:  # tagged nbval-ignore-output
        return None
    stored, fresh = figures(cell.cell.outputs), figures(cell.test_outputs)
    if len(stored) != len(fresh):
        return f"{len(stored)} figures are stored, the cell now draws {len(fresh)}"
    for number, pair in enumerate(zip(stored, fresh, strict=True), start=1):
        difference = figure_difference(*pair)
        if difference > TOLERANCE:
            return (
                f"figure {number} differs from the stored one: {difference:.1f} grey "
                f"levels in some tile, {TOLERANCE} allowed (inf: another size)"
            )
    return None


def pytest_configure():
    environment = kernel_environment()  # nbval's kernels inherit this process's
    os.environ.clear()
    os.environ.update(environment)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    result = yield
    if isinstance(item, IPyNbCell) and (problem := gate_problem(item)):
        where = f"{item.path.name}, cell {item.cell_num}: {problem}"
        raise NbCellError(item.cell_num, where, item.cell.source)
    return result


def pytest_collection_modifyitems(items):
    cells = [item for item in items if isinstance(item, IPyNbCell)]
    for cell in cells:
        cell.output_timeout = OUTPUT_TIMEOUT
    need = [c for c in cells if requirement(c) == "movielens"]
    if need and (reason := why_no_movielens()):
        skip = pytest.mark.skip(reason=f"MovieLens is not at hand: {reason}")
        for cell in need:
            cell.add_marker(skip)


def requirement(cell: IPyNbCell) -> str | None:
    return cell.parent.nb.metadata.get("mflib", {}).get("requires")
