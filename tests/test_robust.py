"""``tools/robust.py``: each setting arrives in the kernels, and what fails is told."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools import robust
from tools.chapters import KERNELSPEC, STARTUP


def write_notebook(path: Path, source: str, printed: str) -> Path:
    output = new_output("stream", name="stdout", text=f"{printed}\n")
    cell = new_code_cell(source, execution_count=1, outputs=[output])
    notebook = new_notebook(cells=[cell], metadata={"kernelspec": KERNELSPEC})
    nbformat.write(notebook, path)
    return path


CASES = [
    (
        "threads-2-default",
        "import torch\nprint(torch.get_num_threads())\n"
        "print(torch.backends.cpu.get_cpu_capability())",
        "2\nDEFAULT",
    ),
    (
        "elsewhere",
        "import time, locale\ntime.tzset()\n"
        "print(time.tzname[0], locale.setlocale(locale.LC_ALL, ''))",
        f"NZST {robust.foreign_locale()}",
    ),
    # The disturbed kernels have no name more than others.
    (
        "rounding",
        "print([n for n in dir() if not n.startswith('_')])",
        "['In', 'Out', 'exit', 'get_ipython', 'open', 'quit']",
    ),
]


@pytest.mark.parametrize(("setting", "source", "printed"), CASES)
def test_a_setting_arrives_in_the_kernel(
    tmp_path: Path, setting: str, source: str, printed: str
) -> None:
    path = write_notebook(tmp_path / "a.ipynb", source, printed)
    well, report = robust.run_once([path], robust.environment(setting), timeout=60)
    assert well, report
    assert "1 passed" in report


# Each computes one thing of x twice.
TWICE = {
    "product": "a, b = x @ x, x @ x",
    "sparse product": "s = x.to_sparse_csr()\na, b = s @ x, s @ x",
    "solve": "a, b = (torch.linalg.solve(x, x[0]) for _ in 'ab')",
    "sum": "a, b = x.sum(0), x.sum(0)",
    "mean": "a, b = x.mean(0), x.mean(0)",
    "gradient": "a, b = (torch.autograd.grad((x @ x).sum(), x)[0] for _ in 'ab')",
    "NumPy": (
        "import numpy as np\na, b = (torch.tensor(np.linalg.svd(x.detach()).S)"
        " for _ in 'ab')"
    ),
}


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Reports, plain and disturbed, on TWICE: asked to be equal, then to be close."""
    sources = ["import warnings\nimport torch\nwarnings.simplefilter('ignore')"]
    for check in ("assert torch.equal", "torch.testing.assert_close"):
        x = "x = torch.rand(9, 9, requires_grad=True)"
        sources += [f"{x}\n{source}\n{check}(a, b)" for source in TWICE.values()]
    cells = [new_code_cell(source, execution_count=1) for source in sources]
    path = tmp_path_factory.mktemp("twice") / "a.ipynb"
    nbformat.write(new_notebook(cells=cells), path)
    return {
        setting: robust.run_once([path], robust.environment(setting), 60)[1]
        for setting in ("plain", "rounding")
    }


@pytest.mark.parametrize("position", range(1, len(TWICE) + 1), ids=TWICE)
def test_equality_to_the_last_bit_fails_under_rounding(twice, position: int) -> None:
    assert twice["rounding"][position] == "F"  # as in ".FFFFFFF......."


def test_closeness_passes_under_rounding_and_equality_without(twice) -> None:
    n = len(TWICE)
    assert f"{n} failed, {n + 1} passed" in twice["rounding"], twice["rounding"]
    assert f"{2 * n + 1} passed" in twice["plain"], twice["plain"]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], dict[str, str]]]:
    """Stand in for pytest: note notebooks and variables; the third run fails."""
    seen: list[tuple[list[str], dict[str, str]]] = []

    def run_once(notebooks, changed, timeout, workers):
        seen.append(([path.stem for path in notebooks], dict(changed)))
        return len(seen) != 3, f"== run {len(seen)} =="

    monkeypatch.setattr(robust, "run_once", run_once)
    return seen


STEMS = sorted(path.stem for path in robust.CHAPTERS.glob("*.ipynb"))


def test_the_first_failure_ends_it(runs, capsys) -> None:
    assert robust.main(["--times", "10", "plain"]) == 1
    assert len(runs) == 3
    assert "Run 3 of 10 (plain) failed" in capsys.readouterr().out


def test_all_is_well(runs, capsys) -> None:
    assert robust.main(["--times", "2", "plain"]) == 0
    assert "2 runs in 0.0 minutes" in capsys.readouterr().out
    assert runs == [(STEMS, {})] * 2


def test_every_setting_has_its_turn(runs) -> None:
    runs += [([], {})] * 3  # so that no third run fails
    assert robust.main([]) == 0
    seen = [changed for _, changed in runs[3:]]
    pairs = [(c.get("OMP_NUM_THREADS"), c.get("ATEN_CPU_CAPABILITY")) for c in seen]
    assert {(t, i) for t in "12" for i in ("default", "avx2")} < set(pairs)
    assert sum("TZ" in c for c in seen) == 1
    assert sum(STARTUP in c for c in seen) == 1
    assert {c.get("MKL_CBWR") for c in seen} > {"COMPATIBLE", "AVX2", "AVX512"}
    assert len(seen) == len(robust.SETTINGS)


def test_a_random_order_can_be_had_again(runs, capsys) -> None:
    for _ in range(2):
        assert robust.main(["--seed", "0", "shuffled"]) == 0
    order, again = (stems for stems, _ in runs)
    assert order == again != STEMS
    assert sorted(order) == STEMS
    assert f"--seed 0: {', '.join(order)}" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["plane"], ["--times", "0"]])
def test_what_would_run_nothing_is_refused(runs, wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        robust.main(wrong)
    assert runs == []
