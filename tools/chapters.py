"""Execute the chapters' notebooks and store them in one canonical form.

    python tools/chapters.py            run every notebook and store its outputs
    python tools/chapters.py --check    run nothing; say what is not canonical or clean

The canonical form holds nothing that differs from one run to the next, so that running
a chapter twice gives the same bytes, and a diff shows what an author changed. The first
code cell is written here: it installs mflib where only a notebook is open, as on Colab.
"""

import argparse
import functools
import hashlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import nbformat
import yaml
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from markdown_it import MarkdownIt
from mdit_py_plugins.dollarmath import dollarmath_plugin
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell

KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}
CELL_METADATA = ("tags", "mystnb", "jupyter")

LAUNCH = """\
# Where the book is not installed, as on Colab: fetch its package.
try:
    import mflib
except ImportError:
    %pip install -q "mflib[book] @ git+{url}@{branch}"\
"""
IMPORTS_MFLIB = re.compile(r"^\s*(?:import|from) mflib\b", re.MULTILINE)
INSTALLS_MFLIB = re.compile(r"^\s*[%!]pip install .*mflib", re.MULTILINE)

ADDRESS = re.compile(r"0x[0-9a-f]{6,}")
MACHINE_PATH = re.compile(
    r"(?<![\w.])/(?:tmp|home|root|Users|var/folders)/|site-packages|\b[A-Z]:\\"
)
# nbval passes these whatever happens in the cell (a skip also hides from the report).
UNTESTED = re.compile(r"nbval-skip|raises-exception|#\s*(?:NBVAL|PYTEST_VALIDATE)_\w+")
FILE_NAME = re.compile(r"\S+\.(?:png|svg|jpe?g|gif)", re.IGNORECASE)

MARKDOWN = MarkdownIt("commonmark").use(dollarmath_plugin)

# Settings of the reader's that change what cells print, draw or check, such as
# MPLBACKEND, PYTHONWARNINGS, or PYTHONOPTIMIZE, under which no assert runs.
SETTINGS = re.compile(r"(?:I?PYTHON|MPL|MATPLOTLIB|PANDAS_)")
# These say where modules, caches and packages are.
PLACES = {
    "MPLCONFIGDIR",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONHASHSEED",
    "PYTHONHOME",
    "PYTHONNOUSERSITE",
    "PYTHONPATH",
    "PYTHONPYCACHEPREFIX",
    "PYTHONUSERBASE",
}
# Names a file that tools have each kernel run before its first cell.
STARTUP = "MFLIB_KERNEL_STARTUP"
# A matplotlibrc in the working directory, here the notebook's folder, precedes all
# others: import matplotlib in another one, and leave no name behind.
IMPORT_MATPLOTLIB = """\
import contextlib
with contextlib.chdir({folder!r}):
    import matplotlib
del contextlib, matplotlib
"""


class ThisPython(AsyncKernelManager):
    """Starts this script's own interpreter, whatever kernels the user has installed."""

    @property
    def kernel_spec(self) -> KernelSpec:
        command = [sys.executable, "-m", "ipykernel_launcher", "--log-level=ERROR"]
        return KernelSpec(argv=[*command, "-f", "{connection_file}"], language="python")


# -- the kernels ----------------------------------------------------------------------


def kernel_environment() -> dict[str, str]:
    """Return the environment of every kernel that tools and tests start.

    It is this process's own, without settings that the reader has made for Python,
    IPython, matplotlib or pandas, be it by variables or in files.
    """
    kept = {
        name: value
        for name, value in os.environ.items()
        if name in PLACES or not SETTINGS.match(name)
    }
    kept["IPYTHONDIR"] = ipython_folder().name
    kept["MATPLOTLIBRC"] = str(Path(mpl.get_data_path(), "matplotlibrc"))
    if startup := os.environ.get(STARTUP):
        kept["PYTHONSTARTUP"] = startup
    return kept


@functools.cache
def ipython_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a folder of settings for IPython, removed when this process ends."""
    folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    startup = Path(folder.name, "profile_default", "startup")
    startup.mkdir(parents=True)
    code = IMPORT_MATPLOTLIB.format(folder=folder.name)
    (startup / "matplotlib_settings.py").write_text(code, encoding="utf-8")
    return folder


# -- the canonical form ---------------------------------------------------------------


def read(path: Path) -> NotebookNode:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8, save it in that encoding ({error})") from error
    if text.startswith("\ufeff"):
        raise ValueError("begins with a byte order mark, save it without one")
    return nbformat.reads(text, as_version=4)


def canonical_bytes(notebook: NotebookNode) -> bytes:
    """Return the notebook's canonical form; the notebook itself is not changed."""
    metadata: dict[str, Any] = {
        "kernelspec": KERNELSPEC,
        "language_info": {"name": "python"},
    }
    if "mflib" in notebook.metadata:
        metadata["mflib"] = notebook.metadata["mflib"]
    cells = [canonical_cell(cell) for cell in notebook.cells if cell.source.strip()]

    seen: dict[str, int] = {}
    executed = 0
    for cell in cells:
        digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode())
        key = digest.hexdigest()[:8]
        seen[key] = seen.get(key, 0) + 1
        cell["id"] = key if seen[key] == 1 else f"{key}-{seen[key]}"
        if cell.cell_type == "code":
            executed += 1
            # A cell that never ran keeps its null: a count would hide that.
            if cell.execution_count is not None:
                cell.execution_count = executed
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = cell.execution_count

    canonical = NotebookNode(
        cells=cells, metadata=metadata, nbformat=4, nbformat_minor=5
    )
    text: str = nbformat.writes(nbformat.from_dict(canonical), version=4)
    return (text.rstrip("\n") + "\n").encode()


def canonical_cell(cell: NotebookNode) -> NotebookNode:
    new = NotebookNode(
        cell_type=cell.cell_type,
        metadata={k: cell.metadata[k] for k in CELL_METADATA if cell.metadata.get(k)},
        source=cell.source.strip("\n"),
    )
    if cell.cell_type == "code":
        tags = new.metadata.get("tags", [])
        new.execution_count = cell.execution_count
        new.outputs = merged_streams(cell.outputs)
        if "hide-cell" in tags:  # a fold in JupyterLab too
            new.metadata["jupyter"] = {"outputs_hidden": True, "source_hidden": True}
            if "book.use_style()" in new.source:
                name_fold(new, "imports")
        if "hide-input" in tags and not new.outputs:
            name_fold(new, "checks")
    elif cell.get("attachments"):
        new.attachments = cell.attachments
    return new


def name_fold(cell: NotebookNode, what: str) -> None:
    """Let the fold of a cell say what is in it."""
    show, hide = f"Show the {what}", f"Hide the {what}"
    words = {"code_prompt_show": show, "code_prompt_hide": hide}
    cell.metadata["mystnb"] = {**cell.metadata.get("mystnb", {}), **words}


def merged_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join neighbouring pieces of one stream: timing decides where it was cut."""
    merged: list[NotebookNode] = []
    for output in outputs:
        last = merged[-1] if merged else NotebookNode(output_type="")
        if (
            output.output_type == "stream" == last.output_type
            and output.name == last.name
        ):
            last.text += output.text
        else:
            merged.append(NotebookNode(output))
    return merged


# -- the cell for Colab ---------------------------------------------------------------


def launch_source() -> str:
    """Return the source of the cell that installs mflib from _config.yml's address."""
    config = Path(__file__).parents[1] / "_config.yml"
    repository = yaml.safe_load(config.read_text(encoding="utf-8"))["repository"]
    return LAUNCH.format(url=repository["url"], branch=repository["branch"])


def with_launch_cell(cells: list[NotebookNode]) -> list[NotebookNode]:
    """Return the cells with that one before all other code, where mflib is imported."""
    others = [c for c in cells if not is_code(c, INSTALLS_MFLIB)]
    if not any(is_code(c, IMPORTS_MFLIB) for c in others):
        return others
    # The site removes the cell; Colab, JupyterLab and the tests run it.
    cell = new_code_cell(launch_source(), metadata={"tags": ["remove-cell"]})
    first = next(i for i, c in enumerate(others) if c.cell_type == "code")
    return [*others[:first], cell, *others[first:]]


def is_code(cell: NotebookNode, pattern: re.Pattern[str]) -> bool:
    return cell.cell_type == "code" and bool(pattern.search(cell.source))


def launch_problems(notebook: NotebookNode) -> Iterator[str]:
    stored, wanted = (
        [(c.source.strip("\n"), c.metadata.get("tags")) for c in cells]
        for cells in (notebook.cells, with_launch_cell(notebook.cells))
    )
    if stored != wanted:
        yield (
            "the first code cell must be the one that installs mflib from the address "
            "in _config.yml, on Colab: run make chapters"
        )


# -- the checks -----------------------------------------------------------------------


def problems(path: Path, figure_names: dict[str, Path]) -> Iterator[str]:
    """Say what keeps a notebook from being canonical, executed and clean."""
    try:
        notebook = read(path)
        nbformat.validate(notebook)
    except (ValueError, nbformat.ValidationError) as error:
        yield f"not a valid notebook: {error}"
        return

    yield from heading_problems(notebook)
    yield from launch_problems(notebook)
    for number, cell in enumerate(notebook.cells, start=1):
        where = f"cell {number}"
        if not cell.source.strip():
            yield f"{where}: empty cell"
        elif cell.cell_type == "code":
            yield from (f"{where}: {p}" for p in output_problems(cell))
            yield from (f"{where}: {p}" for p in figure_problems(cell))
            name = cell.metadata.get("mystnb", {}).get("figure", {}).get("name")
            if name in figure_names:
                yield f"{where}: figure name {name!r} is taken ({figure_names[name]})"
            elif name:
                figure_names[name] = path
    stored = path.read_bytes()
    if b"\r\n" in stored:
        yield "lines end in CRLF: save it with LF, or delete it and git restore it"
    if stored.replace(b"\r\n", b"\n") != canonical_bytes(notebook):
        yield "not in canonical form: run make chapters"


def heading_problems(notebook: NotebookNode) -> Iterator[str]:
    headings = [
        (number, int(token.tag[1:]))
        for number, cell in enumerate(notebook.cells, start=1)
        if cell.cell_type == "markdown"
        for token in MARKDOWN.parse(cell.source)
        if token.type == "heading_open"
    ]
    top = [number for number, level in headings if level == 1]
    if top != [1]:
        yield (
            "the first cell must hold the page's one H1 (# Title); "
            f"H1 found in cells {top}"
        )
    for (_, above), (number, level) in pairwise(headings):
        if level > above + 1:
            yield f"cell {number}: heading level skipped, from H{above} to H{level}"


def output_problems(cell: NotebookNode) -> Iterator[str]:
    if cell.execution_count is None:
        yield "not executed (execution_count is null)"
    if found := UNTESTED.search(
        "\n".join([cell.source, *cell.metadata.get("tags", [])])
    ):
        yield f"kept from the tests by {found.group()!r}"
    for output in cell.outputs:
        if output.output_type == "error":
            yield f"stored error: {output.ename}: {output.evalue}"
        if output.get("name") == "stderr":
            yield f"stored stderr: {output.text.strip()[:80]!r}"
        for text in output_texts(output):
            if found := ADDRESS.search(text):
                yield f"object address in the output: {found.group()}"
            if found := MACHINE_PATH.search(text):
                yield f"path of a machine in the output: {text[found.start() :][:60]!r}"


def output_texts(output: NotebookNode) -> Iterator[str]:
    if output.output_type == "stream":
        yield output.text
    for mime, value in output.get("data", {}).items():
        if isinstance(value, str) and not is_image(mime):
            yield value


def figure_problems(cell: NotebookNode) -> Iterator[str]:
    images = [
        mime
        for output in cell.outputs
        for mime in output.get("data", {})
        if is_image(mime)
    ]
    mystnb = cell.metadata.get("mystnb", {})
    if not images:
        if described := sorted({"figure", "image"} & mystnb.keys()):
            yield f"mystnb.{described[0]} describes a picture, and there is none"
        return
    if len(images) > 1:
        yield f"{len(images)} figures in one cell: give each its own"
    alt = mystnb.get("image", {}).get("alt", "").strip()
    if not alt:
        yield "figure without alt text (mystnb.image.alt)"
    elif FILE_NAME.fullmatch(alt):
        yield f"alt text is a file name: {alt!r}"
    for key in ("caption", "name"):
        if not mystnb.get("figure", {}).get(key, "").strip():
            yield f"figure without a {key} (mystnb.figure.{key})"


def is_image(mime: str) -> bool:
    return mime.startswith("image/")


# -- executing ------------------------------------------------------------------------


def execute(path: Path, timeout: int) -> bytes:
    """Run a notebook from the top, in its own folder, and return its canonical form."""
    notebook = read(path)
    notebook.cells = with_launch_cell(notebook.cells)
    client = NotebookClient(
        notebook,
        kernel_manager_class=ThisPython,
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        timeout=timeout,
    )
    running = 0

    def note(cell: NotebookNode, cell_index: int) -> None:
        nonlocal running
        running = cell_index + 1

    client.on_cell_start = note
    try:
        client.execute(env=kernel_environment())
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise RuntimeError(f"cell {running} failed\n{error}") from error
    return canonical_bytes(notebook)


def why_no_movielens() -> str:
    """Return why the MovieLens ratings cannot be had, or nothing when they can."""
    import mflib

    try:
        mflib.fetch_movielens()
    except OSError as error:
        return str(error) or type(error).__name__
    return ""


def run(paths: list[Path], timeout: int) -> int:
    failed = 0
    no_movielens: str | None = None
    for path in paths:
        try:
            if read(path).metadata.get("mflib", {}).get("requires") == "movielens":
                if no_movielens is None:
                    no_movielens = why_no_movielens()
                if no_movielens:
                    why = f"MovieLens is not at hand: {no_movielens}"
                    print(f"{path}: left as it is, {why}")
                    continue
            new = execute(path, timeout)
        except (RuntimeError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed += 1
            continue
        if changed := new != path.read_bytes():
            path.write_bytes(new)
        print(f"{path}: executed, {'changed' if changed else 'unchanged'}", flush=True)
    return 1 if failed else 0


def check(paths: list[Path]) -> int:
    figure_names: dict[str, Path] = {}
    found = [f"{path}: {p}" for path in paths for p in problems(path, figure_names)]
    print("\n".join(found) or f"{len(paths)} notebooks canonical, executed and clean")
    return 1 if found else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all chapters")
    parser.add_argument("--check", action="store_true", help="run nothing, only look")
    parser.add_argument(
        "--timeout", type=int, default=120, help="seconds a cell may take (%(default)s)"
    )
    options = parser.parse_args()
    paths = options.notebooks or sorted(
        path
        for path in Path("chapters").rglob("*.ipynb")
        if ".ipynb_checkpoints" not in path.parts
    )
    return check(paths) if options.check else run(paths, options.timeout)


if __name__ == "__main__":
    sys.exit(main())
