"""``tools/robust.py``: each setting arrives in the kernels, and what fails is told."""

from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

from tools import robust
from tools.chapters import STARTUP


def write_notebook(path: Path, source: str, printed: str) -> Path:
    output = new_output("stream", name="stdout", text=f"{printed}\n")
    cell = new_code_cell(source, execution_count=1, outputs=[output])
    kernelspec = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = new_notebook(cells=[cell], metadata={"kernelspec": kernelspec})
    nbformat.write(notebook, path)
    return path


CASES = [
    ("threads-1-avx2", "import torch\nprint(torch.get_num_threads())", "1"),
    ("threads-2-default", "import torch\nprint(torch.get_num_threads())", "2"),
    (
        "threads-1-default",
        "import torch\nprint(torch.backends.cpu.get_cpu_capability())",
        "DEFAULT",
    ),
    ("elsewhere", "import time\ntime.tzset()\nprint(time.tzname[0])", "NZST"),
    ("mkl-compatible", "import os\nprint(os.environ['MKL_CBWR'])", "COMPATIBLE"),
    (
        "elsewhere",
        "import locale\nprint(locale.setlocale(locale.LC_ALL, ''))",
        robust.foreign_locale(),
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


# Each computes one thing twice; "{}" tests that both results are the same.
TWICE = {
    "product": "x = torch.rand(9, 9)\na, b = x @ x, x @ x",
    "sparse product": (
        "x = torch.rand(9, 9)\ns = x.to_sparse_csr()\na, b = s @ x, s @ x"
    ),
    "solve": "x = torch.rand(9, 9)\na, b = (torch.linalg.solve(x, x[0]) for _ in 'ab')",
    "sum": "x = torch.rand(9, 9)\na, b = x.sum(0), x.sum(0)",
    "mean": "x = torch.rand(9, 9)\na, b = x.mean(0), x.mean(0)",
    "gradient": (
        "x = torch.rand(9, 9, requires_grad=True)\n"
        "a, b = (torch.autograd.grad((x @ x).sum(), x)[0] for _ in 'ab')"
    ),
    "NumPy": (
        "import numpy as np\nx = np.random.default_rng(0).random((9, 9))\n"
        "a, b = (torch.tensor(np.linalg.svd(x).S) for _ in 'ab')"
    ),
}


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Reports on TWICE, plain and disturbed, asked to be equal and to be close."""
    folder = tmp_path_factory.mktemp("twice")
    paths = []
    for check in ("assert torch.equal(a, b)", "torch.testing.assert_close(a, b)"):
        cells = [new_code_cell("import warnings\nimport torch", execution_count=1)]
        cells[0].source += "\nwarnings.simplefilter('ignore')"
        cells += [
            new_code_cell(f"{source}\n{check}", execution_count=2)
            for source in TWICE.values()
        ]
        paths.append(folder / f"{check.split('(')[0].split('.')[-1]}.ipynb")
        nbformat.write(new_notebook(cells=cells), paths[-1])
    report = {}
    for path in paths:
        for setting in ("plain", "rounding"):
            changed = robust.environment(setting)
            report[f"{path.stem} {setting}"] = robust.run_once([path], changed, 60)[1]
    return report


@pytest.mark.parametrize("position", range(1, len(TWICE) + 1), ids=TWICE)
def test_equality_to_the_last_bit_fails_under_rounding(twice, position: int) -> None:
    assert twice["equal rounding"][position] == "F"  # as in ".FFFFFFF"


def test_closeness_passes_under_rounding_and_equality_without(twice) -> None:
    passed = f"{len(TWICE) + 1} passed"
    assert passed in twice["assert_close rounding"], twice["assert_close rounding"]
    assert passed in twice["equal plain"], twice["equal plain"]


def test_disturbed_kernels_have_no_name_more(tmp_path: Path) -> None:
    source = "print([n for n in dir() if not n.startswith('_')])"
    names = "['In', 'Out', 'exit', 'get_ipython', 'open', 'quit']"
    path = write_notebook(tmp_path / "a.ipynb", source, names)
    well, report = robust.run_once([path], robust.environment("rounding"), timeout=60)
    assert well, report


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Stand in for pytest: note the notebooks of each run; the third run fails."""
    seen: list[list[str]] = []

    def run_once(notebooks, changed, timeout, workers):
        seen.append([path.stem for path in notebooks])
        return len(seen) != 3, f"a report\n== run {len(seen)} =="

    monkeypatch.setattr(robust, "run_once", run_once)
    return seen


def test_the_first_failure_ends_it(runs, capsys) -> None:
    assert robust.main(["--times", "10", "plain"]) == 1
    assert len(runs) == 3
    assert "Run 3 of 10 (plain) failed" in capsys.readouterr().out


def test_all_is_well(runs, capsys) -> None:
    assert robust.main(["--times", "2", "plain"]) == 0
    assert "2 runs in 0.0 minutes" in capsys.readouterr().out
    assert runs == [sorted(p.stem for p in robust.CHAPTERS.glob("*.ipynb"))] * 2


def test_every_setting_has_its_turn(monkeypatch) -> None:
    seen = []
    monkeypatch.setattr(
        robust,
        "run_once",
        lambda notebooks, changed, timeout, workers: (
            seen.append(dict(changed)) or True,
            ".",
        ),
    )
    assert robust.main([]) == 0
    pairs = [(c.get("OMP_NUM_THREADS"), c.get("ATEN_CPU_CAPABILITY")) for c in seen]
    assert {(t, i) for t in "12" for i in ("default", "avx2")} < set(pairs)
    assert sum("TZ" in c for c in seen) == 1
    assert sum(STARTUP in c for c in seen) == 1
    assert {c.get("MKL_CBWR") for c in seen} > {"COMPATIBLE", "AVX2", "AVX512"}
    assert len(seen) == len(robust.SETTINGS)


def test_a_random_order_can_be_had_again(runs, capsys) -> None:
    stems = sorted(p.stem for p in robust.CHAPTERS.glob("*.ipynb"))
    seed = next(
        n
        for n in range(9)
        if robust.in_order([Path(s) for s in stems], "shuffled", n)
        != [Path(s) for s in stems]
    )
    for _ in range(2):
        assert robust.main(["--seed", str(seed), "shuffled"]) == 0
    assert runs[0] == runs[1] != stems
    assert sorted(runs[0]) == stems
    assert f"--seed {seed}: {', '.join(runs[0])}" in capsys.readouterr().out


@pytest.mark.parametrize("wrong", [["plane"], ["--times", "0"]])
def test_what_would_run_nothing_is_refused(runs, wrong: list[str]) -> None:
    with pytest.raises(SystemExit):
        robust.main(wrong)
    assert runs == []
