"""Each gate of ``make test`` has a case here that it must fail, and one it must pass.

The cases are small notebooks and books of their own, made in a temporary folder and
put through the same commands, so that a gate which has stopped seeing anything fails.
"""

import base64
import copy
import io
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import nbformat
import numpy as np
import pytest
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

from tests import tiny_book
from tools.chapters import STARTUP, canonical_bytes, launch_source, problems

ROOT = Path(__file__).parents[1]
CHAPTERS = str(ROOT / "tools" / "chapters.py")

FIGURE = """\
import matplotlib.pyplot as plt
import numpy as np

x = np.linspace(0, 6, 61)
fig, ax = plt.subplots(figsize=(4, 3))
ax.plot(x, np.cos(x))
ax.plot(x, {scale} * (1 + np.exp(-x)))
ax.set_ylim(-1, 3)
plt.show()"""

FAKE_MFLIB = """\
"Without data."


class DataUnavailableError(OSError):
    pass


def fetch_movielens():
    raise DataUnavailableError("no network, and no folder of ratings")
"""


# A cell for each setting that a reader may have, and what it prints for everyone. The
# last two are no reader's: where modules are, and what a tool asks for.
SETTINGS = {
    "MPLBACKEND": (
        'import matplotlib.pyplot as plt\n\nprint("inline" in plt.get_backend())',
        "True",
    ),
    "matplotlibrc": (
        'import matplotlib\n\nprint(matplotlib.rcParams["lines.linewidth"])',
        "1.5",
    ),
    "PANDAS_FUTURE_INFER_STRING": (
        'import pandas as pd\n\nprint(pd.Series(["a"]).dtype)',
        "str",
    ),
    "PYTHONOPTIMIZE": ("import sys\n\nprint(sys.flags.optimize)", "0"),
    "PYTHONWARNINGS": ("import sys\n\nprint(sys.warnoptions)", "[]"),
    "PYTHONSTARTUP": ('print("from_python" in globals())', "False"),
    "start-up file of IPython": ('print("from_ipython" in globals())', "False"),
    "configuration of IPython": (
        "print(get_ipython().ast_node_interactivity)",
        "last_expr",
    ),
    "PYTHONPATH": ('print(__import__("mflib").__doc__)', "Without data."),
    STARTUP: ('print("from_tool" in globals())', "True"),
}


def readers_settings(folder: Path) -> dict[str, str]:
    """Write files of settings below the folder, and return variables that name them."""
    files = {
        "matplotlibrc": "lines.linewidth: 7",  # the notebooks' own folder
        "by-variable/matplotlibrc": "lines.linewidth: 8",
        "config/matplotlib/matplotlibrc": "lines.linewidth: 9",
        "python.py": "from_python = 1",
        "tool.py": "from_tool = 1",
        "ipython/profile_default/startup/reader.py": "from_ipython = 1",
        "ipython/profile_default/ipython_config.py": (
            'get_config().InteractiveShell.ast_node_interactivity = "all"'
        ),
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"{text}\n")
    return {
        "IPYTHONDIR": str(folder / "ipython"),
        "MATPLOTLIBRC": str(folder / "by-variable"),
        "MPLBACKEND": "agg",
        "PANDAS_FUTURE_INFER_STRING": "0",
        "PYTHONOPTIMIZE": "1",
        "PYTHONSTARTUP": str(folder / "python.py"),
        "PYTHONWARNINGS": "ignore",
        "XDG_CONFIG_HOME": str(folder / "config"),
        STARTUP: str(folder / "tool.py"),
    }


def run(
    *command: str | Path,
    path: Path | None = None,
    cwd: Path = ROOT,
    settings: dict[str, str] | None = None,
):
    """Run a Python module or script; ``path`` goes in front of the import path."""
    env = {**os.environ, "OMP_NUM_THREADS": "1", **(settings or {})}
    if path is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(path), str(ROOT)])
    return subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=cwd,
        env=env,
        encoding="utf-8",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def figure_cell(scale: float = 1.0, name: str = "fig-a") -> NotebookNode:
    mystnb = {
        "image": {"alt": "Two curves, one of which decays"},
        "figure": {"caption": "Two curves.", "name": name},
    }
    return new_code_cell(FIGURE.format(scale=scale), metadata={"mystnb": mystnb})


def code(source: str, *outputs: NotebookNode) -> NotebookNode:
    return new_code_cell(source, execution_count=1, outputs=list(outputs))


def printed(text: str, name: str = "stdout") -> NotebookNode:
    return new_output("stream", name=name, text=text)


# -- make chapters: execution and the canonical form ----------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Notebooks that tools/chapters.py has run once, and a mflib without data.

    The reader has settings of all kinds.
    """
    folder = tmp_path_factory.mktemp("gates")
    (folder / "mflib.py").write_text(FAKE_MFLIB)
    notebooks = {
        "good": [
            new_markdown_cell("# Good\n\nText.\n\n```python\n# no heading\n```"),
            new_markdown_cell("## A section"),
            new_code_cell('import sys\n\nprint("a")\nsys.stdout.flush()\nprint(2.5)'),
            new_code_cell("3 + 4", metadata={"collapsed": False}),
            figure_cell(),
            new_markdown_cell(""),
        ],
        # The same figure with one curve 2 % higher, as an older run might have left it.
        "shifted": [new_markdown_cell("# Shifted"), figure_cell(1.02, "fig-b")],
        "failing": [new_markdown_cell("# Failing"), new_code_cell("1 / 0")],
        "data": [new_markdown_cell("# Data"), code("fetch()", printed("stored"))],
        "settings": [
            new_markdown_cell("# Settings"),
            *(new_code_cell(source) for source, _ in SETTINGS.values()),
        ],
    }
    for name, cells in notebooks.items():
        notebook = new_notebook(cells=cells)
        if name == "data":
            notebook.metadata["mflib"] = {"requires": "movielens"}
        nbformat.write(notebook, folder / f"{name}.ipynb")
    before = (folder / "data.ipynb").read_bytes()
    (folder / "latin.ipynb").write_bytes("Café".encode("latin-1"))
    names = [folder / f"{name}.ipynb" for name in (*notebooks, "latin")]
    done = run(CHAPTERS, *names, path=folder, settings=readers_settings(folder))
    (folder / "first-run.txt").write_text(f"{done.returncode}\n{done.stdout}", "utf-8")
    assert (folder / "data.ipynb").read_bytes() == before
    return folder


def test_chapters_reports_a_failing_cell_and_missing_data(folder: Path) -> None:
    status, said = (folder / "first-run.txt").read_text("utf-8").split("\n", 1)
    assert status == "1"
    assert "good.ipynb: executed, changed" in said
    assert "failing.ipynb: cell 2 failed" in said
    assert "ZeroDivisionError" in said
    assert "latin.ipynb: not UTF-8" in said
    assert "data.ipynb: left as it is, MovieLens is not at hand: no network" in said


def test_chapters_is_idempotent(folder: Path) -> None:
    good = folder / "good.ipynb"
    before = good.read_bytes()
    done = run(CHAPTERS, good)
    assert done.returncode == 0, done.stdout
    # A kernel shut down on a busy machine may log to stderr, here among the rest.
    assert f"{good}: executed, unchanged" in done.stdout.splitlines()
    assert good.read_bytes() == before


def test_settings_of_the_reader_change_no_cell(folder: Path) -> None:
    _, *cells = nbformat.read(folder / "settings.ipynb", as_version=4).cells
    printed = {name: text for name, (_, text) in SETTINGS.items()}
    found = [cell.outputs[0].text.strip() for cell in cells]
    assert dict(zip(SETTINGS, found, strict=True)) == printed


def test_a_canonical_notebook_passes_the_check(folder: Path) -> None:
    done = run(CHAPTERS, "--check", folder / "good.ipynb")
    assert done.returncode == 0, done.stdout


def test_canonical_form(folder: Path) -> None:
    notebook = nbformat.read(folder / "good.ipynb", as_version=4)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert len({cell.id for cell in notebook.cells}) == 5
    assert [c.execution_count for c in notebook.cells[2:]] == [1, 2, 3]
    assert [o.text for o in notebook.cells[2].outputs] == ["a\n2.5\n"]
    assert notebook.cells[3].metadata == {}
    # The reader's settings kept no figure from being drawn.
    assert ["image/png" in o.data for o in notebook.cells[4].outputs] == [True]


OTHER_ADDRESS = """\
try:
    import mflib
except ImportError:
    %pip install -q "mflib[book] @ git+https://github.com/someone/else@main"\
"""


def test_chapters_writes_the_cell_for_colab(folder: Path) -> None:
    paths = [folder / "no-cell.ipynb", folder / "other-address.ipynb"]
    for path, before in zip(paths, ([], [OTHER_ADDRESS]), strict=True):
        sources = [*before, "import mflib\n\n1 + 1"]
        cells = [new_markdown_cell("# A"), *map(new_code_cell, sources)]
        nbformat.write(new_notebook(cells=cells), path)
    said = "the first code cell must be the one that installs mflib"
    assert run(CHAPTERS, "--check", *paths).stdout.count(said) == 2
    done = run(CHAPTERS, *paths, path=folder)
    assert done.returncode == 0, done.stdout
    for path in paths:
        title, first, second = nbformat.read(path, as_version=4).cells
        assert title.source == "# A"
        assert first.source == launch_source()
        assert (first.execution_count, first.outputs) == (1, [])
        assert first.metadata.tags == ["remove-cell"]
        assert second.source == "import mflib\n\n1 + 1"
    done = run(CHAPTERS, "--check", *paths)
    assert done.returncode == 0, done.stdout


# -- make test: the check of the stored notebooks -------------------------------------


def set_count(notebook: NotebookNode) -> None:
    notebook.cells[2].execution_count = None


def add(cell: NotebookNode) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells.append(cell)


def set_mystnb(key: str, value: dict[str, str]) -> Callable[[NotebookNode], None]:
    return lambda notebook: notebook.cells[4].metadata.mystnb.update({key: value})


def second_figure(notebook: NotebookNode) -> None:
    notebook.cells[4].outputs.append(copy.deepcopy(notebook.cells[4].outputs[0]))


def without_figure(notebook: NotebookNode) -> None:
    notebook.cells[4].outputs = []


STORED = {
    "not executed": set_count,
    "kept from the tests by 'nbval-skip'": add(
        new_code_cell("f()", metadata={"tags": ["nbval-skip"]}, execution_count=4)
    ),
    "stored error: ValueError: no": add(
        code("f()", new_output("error", ename="ValueError", evalue="no"))
    ),
    "stored stderr: 'FutureWarning'": add(
        code("f()", printed("FutureWarning", "stderr"))
    ),
    "object address in the output: 0x7f3a5c00": add(
        code("f", printed("<function f at 0x7f3a5c00>"))
    ),
    "path of a machine in the output: '/home/ann/": add(
        code("f()", printed("read /home/ann/ratings.csv"))
    ),
    "figure without alt text": set_mystnb("image", {}),
    "alt text is a file name: 'fig_1.png'": set_mystnb("image", {"alt": "fig_1.png"}),
    "figure without a caption": set_mystnb("figure", {"name": "fig-a"}),
    "2 figures in one cell": second_figure,
    "mystnb.figure describes a picture, and there is none": without_figure,
    "figure name 'fig-a' is taken": add(figure_cell()),
    "H1 found in cells [1, 6]": add(new_markdown_cell("# Another")),
    "heading level skipped, from H2 to H4": add(new_markdown_cell("#### Deep")),
    "empty cell": add(new_code_cell("")),
    "the first code cell must be the one that installs mflib": add(
        new_code_cell("import mflib", execution_count=4)
    ),
    "not in canonical form": lambda notebook: notebook.metadata.update(author="A"),
}


@pytest.fixture(scope="module")
def check_report(folder: Path) -> dict[str, str]:
    """What ``--check`` says of each spoilt notebook, in one run of it each."""
    good = nbformat.read(folder / "good.ipynb", as_version=4)
    for number, spoil in enumerate(STORED.values()):
        notebook = copy.deepcopy(good)
        spoil(notebook)
        nbformat.write(notebook, folder / f"stored-{number}.ipynb")
    paths = [folder / f"stored-{number}.ipynb" for number in range(len(STORED))]
    done = run(CHAPTERS, "--check", *paths)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    return {
        problem: "\n".join(x for x in lines if x.startswith(f"{path}: "))
        for problem, path in zip(STORED, paths, strict=True)
    }


@pytest.mark.parametrize("problem", STORED)
def test_check_sees(check_report: dict[str, str], problem: str) -> None:
    assert problem in check_report[problem]


@pytest.mark.parametrize(
    ("encoding", "newline", "problem"),
    [
        ("utf-8", "\n", None),
        ("utf-8", "\r\n", "lines end in CRLF"),
        ("latin-1", "\n", "not UTF-8"),
        ("utf-16", "\n", "not UTF-8"),
        ("utf-8-sig", "\n", "byte order mark"),
    ],
)
def test_check_names_encodings_and_line_ends(
    tmp_path: Path, encoding: str, newline: str, problem: str | None
) -> None:
    good, path = tmp_path / "good.ipynb", tmp_path / "a.ipynb"
    notebook = new_notebook(cells=[new_markdown_cell("# Café")])
    good.write_bytes(canonical_bytes(notebook))
    text = good.read_text(encoding="utf-8")
    path.write_text(text, encoding=encoding, newline=newline)
    found = list(problems(path, {}))
    if problem is None:
        assert found == []
    else:
        assert len(found) == 1
        assert problem in found[0]


def test_a_clone_on_windows_has_the_same_bytes(tmp_path: Path) -> None:
    def git(*command: str | Path) -> None:
        own = ("-c", "user.name=A", "-c", "user.email=a@example.org")
        subprocess.run(["git", *own, *command], cwd=tmp_path, check=True)

    here, there = tmp_path / "here", tmp_path / "there"
    git("init", "-q", here)
    shutil.copy(ROOT / ".gitattributes", here)
    for name in ("a.ipynb", "a.py", "a.md", "a.yml", "Makefile", "run"):
        (here / name).write_bytes(b"one\ntwo\n")
    (here / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    git("-C", here, "-c", "core.autocrlf=true", "add", ".")
    git("-C", here, "commit", "-q", "-m", "a")
    git("-c", "core.autocrlf=true", "clone", "-q", here, there)
    for path in filter(Path.is_file, here.iterdir()):
        assert (there / path.name).read_bytes() == path.read_bytes()


# -- make test: pytest --nbval with tests/nbval_gate.py -------------------------------


@pytest.fixture(scope="module")
def nbval(folder: Path) -> dict[str, tuple[str, str]]:
    """The outcome and message of each cell, from one run of nbval over all."""
    good = nbformat.read(folder / "good.ipynb", as_version=4)
    shifted = nbformat.read(folder / "shifted.ipynb", as_version=4)

    number = copy.deepcopy(good.cells[2])
    number.outputs[0].text = "a\n2.6\n"
    curve = copy.deepcopy(good.cells[4])
    curve.outputs = shifted.cells[1].outputs
    missing = copy.deepcopy(good.cells[4])
    missing.outputs = []
    size = copy.deepcopy(good.cells[4])
    size.outputs[0].data["image/png"] = png(np.full((30, 40, 3), 255, np.uint8))
    unexecuted = new_code_cell("3 + 4")
    cells = [number, curve, missing, size, unexecuted]
    for position, cell in enumerate(cells):
        cell.id = f"cell-{position}"
    notebook = new_notebook(cells=cells)
    nbformat.write(notebook, folder / "spoilt.ipynb")

    report = folder / "report.xml"
    done = run(
        *("-m", "pytest", "-c", ROOT / "pyproject.toml", f"--rootdir={folder}"),
        *("-p", "tests.nbval_gate"),
        *("--nbval", "--nbval-current-env", "--nbval-cell-timeout=60", "-rs"),
        *(f"--junitxml={report}", "good.ipynb", "spoilt.ipynb", "data.ipynb"),
        "settings.ipynb",
        path=folder,
        cwd=folder,
        # pytest itself refuses to run where no assert does
        settings=readers_settings(folder) | {"PYTHONOPTIMIZE": ""},
    )
    assert report.exists(), done.stdout
    outcomes = {}
    for case in ET.parse(report).iter("testcase"):
        key = f"{case.get('classname')} {case.get('name')}"
        child = next(iter(case), None)
        outcomes[key] = (
            ("passed", "")
            if child is None
            else (child.tag, f"{child.get('message')}\n{child.text}")
        )
    outcomes["summary"] = ("", done.stdout)
    return outcomes


def png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def test_nbval_passes_good_cells_whatever_the_readers_settings(nbval) -> None:
    good = [f"good.ipynb Cell {cell}" for cell in range(3)]
    good += [f"settings.ipynb Cell {cell}" for cell in range(len(SETTINGS))]
    assert {name: nbval[name][0] for name in good} == dict.fromkeys(good, "passed")


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        pytest.param(0, "Cell outputs differ", id="a changed number"),
        pytest.param(1, "figure 1 differs from the stored one", id="a changed curve"),
        pytest.param(2, "", id="a missing figure"),
        pytest.param(3, "inf grey levels", id="a figure of another size"),
        pytest.param(4, "never executed", id="an unexecuted cell"),
    ],
)
def test_nbval_fails(nbval, cell: int, message: str) -> None:
    outcome, said = nbval[f"spoilt.ipynb Cell {cell}"]
    assert outcome == "failure"
    assert message in said


def test_nbval_skips_a_notebook_without_its_data(nbval) -> None:
    outcome, said = nbval["data.ipynb Cell 0"]
    assert outcome == "skipped"
    reason = "MovieLens is not at hand: no network, and no folder of ratings"
    assert reason in said
    assert reason in nbval["summary"][1]


# -- make test: ruff, mypy, and the site ----------------------------------------------


WRONG_TYPES = "def f(x: int) -> str:\n    return x\n\n\ndef g(x):\n    pass\n"


@pytest.mark.parametrize(
    ("command", "name", "source", "said"),
    [
        ("ruff check --config", "a.ipynb", "x = 1\nx", "All checks passed"),
        ("ruff check --config", "a.ipynb", "import os", "F401"),
        ("ruff format --check --config", "a.ipynb", "x = ( 1 )", "reformatted"),
        ("mypy --cache-dir {0} --config-file", "a.py", WRONG_TYPES, "[return-value]"),
        ("mypy --cache-dir {0} --config-file", "a.py", WRONG_TYPES, "[no-untyped-def]"),
    ],
)
def test_ruff_and_mypy_see(tmp_path: Path, command, name, source, said) -> None:
    path = tmp_path / name
    if path.suffix == ".ipynb":
        nbformat.write(new_notebook(cells=[new_code_cell(source)]), path)
    else:
        path.write_text(source)
    words = command.format(tmp_path / "cache").split()
    done = run("-m", *words, ROOT / "pyproject.toml", path)
    assert said in done.stdout
    assert done.returncode == (said != "All checks passed")


def test_a_broken_reference_fails_the_build(tmp_path: Path) -> None:
    done = tiny_book.build(tmp_path, {"intro.md": "# Title\n\nSee {ref}`nowhere`.\n"})
    assert done.returncode != 0
    assert "undefined label: 'nowhere'" in done.stdout
