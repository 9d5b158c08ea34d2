"""Books of a page or two, built with the project's own settings."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def build(folder: Path, pages: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Write the files of ``chapters``, the first of them the root, and build a book."""
    chapters = folder / "chapters"
    (chapters / "appendix").mkdir(parents=True)
    (chapters / "appendix" / "references.bib").touch()
    for name, text in pages.items():
        (chapters / name).write_text(text, encoding="utf-8")
    root, *others = (Path(name).stem for name in pages)
    toc = ["format: jb-book", f"root: chapters/{root}"]
    if others:
        toc += ["chapters:", *(f"  - file: chapters/{name}" for name in others)]
    (folder / "_toc.yml").write_text("\n".join([*toc, ""]))
    shutil.copy(ROOT / "_config.yml", folder)
    for name in ("assets", "tools"):
        (folder / name).symlink_to(ROOT / name)
    command = "from jupyter_book.cli.main import main; main()"
    return subprocess.run(
        [sys.executable, "-c", command, "build", folder, "-W", "-n", "--keep-going"],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
