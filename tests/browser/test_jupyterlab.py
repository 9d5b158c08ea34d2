"""Stored outputs in JupyterLab, which sanitises those of a notebook not yet trusted."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from tests.browser.conftest import Visit
from tools.chapters import KERNELSPEC

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the book whose one notebook holds what sanitising takes most from.

    That is every stored output with a script or a drawing, and of pandas' tables, which
    lose a style, one.
    """
    stored = [
        output
        for path in sorted((ROOT / "chapters").glob("*.ipynb"))
        for cell in nbformat.read(path, as_version=4).cells
        for output in cell.get("outputs", [])
        if "text/html" in output.get("data", {})
    ]
    is_table = ['class="dataframe"' in output.data["text/html"] for output in stored]
    first = is_table.index(True)
    outputs = [
        output
        for number, output in enumerate(stored)
        if number == first or not is_table[number]
    ]
    folder = tmp_path_factory.mktemp("jupyterlab")
    (folder / "chapters").mkdir()
    cells = [new_code_cell("", execution_count=1, outputs=[o]) for o in outputs]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})
    nbformat.write(notebook, folder / "chapters" / "a.ipynb")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(BIN)
    return folder


@pytest.fixture(scope="module")
def environment(folder: Path) -> dict[str, str]:
    """Settings and signatures of notebooks that are nobody's."""
    own = ("CONFIG_DIR", "DATA_DIR", "RUNTIME_DIR")
    return os.environ | {f"JUPYTER_{name}": str(folder / name) for name in own}


@pytest.fixture(scope="module")
def jupyterlab(folder: Path, environment: dict[str, str]) -> Iterator[str]:
    """Start JupyterLab on the notebook, and give the notebook's address."""
    command = [BIN / "jupyter", "lab", "--no-browser", "--ServerApp.port=0"]
    options = ("token=", "allow_root=True", "ip=127.0.0.1")
    server = subprocess.Popen(
        [
            *command,
            *(f"--ServerApp.{option}" for option in options),
            "--LabApp.expose_app_in_browser=False",
            folder / "chapters",
        ],
        env=environment,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        for line in server.stderr:
            if "http://127.0.0.1:" in line:
                address = line[line.index("http://") :].strip().partition("/lab")[0]
                break
        else:
            raise AssertionError(f"JupyterLab ended with {server.wait()}")
        yield f"{address}/lab/tree/a.ipynb"
    finally:
        server.kill()  # a polite end would wait for the kernel, whose start it may be
        server.wait()
        server.stderr.close()


def open_notebook(here: Visit, address: str, folder: Path):
    """Open the notebook, and return its outputs."""
    notebook = nbformat.read(folder / "chapters" / "a.ipynb", as_version=4)
    # JupyterLab takes its time on a busy machine, and draws what is in sight.
    here.page.set_viewport_size({"width": 1280, "height": 20_000})
    here.page.goto(address)
    drawn = here.page.locator(".jp-RenderedHTML")
    drawn.nth(len(notebook.cells) - 1).wait_for(timeout=120_000)
    return drawn.all()


def test_outputs_of_an_untrusted_notebook_are_readable(
    visit, jupyterlab, folder
) -> None:
    here = visit()
    outputs = open_notebook(here, jupyterlab, folder)
    assert len(outputs) > 1
    for output in outputs:
        # A table, or words that say what is missing; no leavings of a drawing.
        assert output.locator("table").count() >= 1
        if output.locator(".dataframe").count() == 0:
            lines = output.inner_text().splitlines()
            sentence, *shown, summary = filter(None, lines)
            assert sentence.startswith(("A figure with a slider. ", "A form that "))
            assert "Trust Notebook" in sentence
            # an error, an estimate, or a penalty
            assert re.search(r"\w \d\.\d|= \d", " ".join(shown))
            assert summary in ("The numbers as a table", "Worked examples")


def test_make_live_trusts_the_notebooks(visit, jupyterlab, folder, environment) -> None:
    recipe = subprocess.check_output(["make", "-n", "live"], cwd=ROOT, encoding="utf-8")
    (trust,) = (line for line in recipe.splitlines() if "jupyter trust" in line)
    trust = re.sub(r" ko/\S+", "", trust)  # the folder holds one notebook
    subprocess.run(["bash", "-c", trust], cwd=folder, env=environment, check=True)
    here = visit()
    open_notebook(here, jupyterlab, folder)
    figure = here.page.locator(".mflib-slider").first
    figure.locator(".panel > svg").first.wait_for()
    assert not figure.locator(".sanitised").is_visible()
    before = figure.locator("output").inner_text()
    figure.locator("input").press("ArrowRight")
    assert figure.locator("output").inner_text() != before
