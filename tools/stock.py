"""The chapters as Jupyter Book builds them by itself, for comparison.

The theme, its scripts and MathJax as they come, but MathJax from this machine: no page
then depends on how far away a CDN is.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
STOCK = ROOT / "_build" / "stock"
MATHJAX = "mathjax@3.2.2"  # what Sphinx 7.4 asks a CDN for
# Kept with the environment, since make book removes _build
MATHJAX_FOLDER = Path(sys.prefix) / "mathjax"

CONFIG = """\
title: Stock
only_build_toc_files: true
execute: {execute_notebooks: "off"}
parse:
  myst_enable_extensions: [amsmath, colon_fence, deflist, dollarmath, html_image]
bibtex_bibfiles: [chapters/appendix/references.bib]
repository: {url: "https://github.com/example/book"}
launch_buttons: {binderhub_url: "https://mybinder.org"}
html: {use_repository_button: true, use_edit_page_button: true, use_issues_button: true}
sphinx:
  config:
    mathjax_path: mathjax/tex-mml-chtml.js
    myst_heading_anchors: 3
    numfig: true
"""


def program(name: str) -> str:
    """Return where a program of this environment is, else the system's."""
    found = shutil.which(name, path=str(Path(sys.executable).parent))
    return found or shutil.which(name) or name


def run(*command: str | Path, folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-2000:]}")


def mathjax() -> Path:
    """Return MathJax's files, which npm fetches the first time."""
    files = MATHJAX_FOLDER / "node_modules" / "mathjax" / "es5"
    if not files.exists():
        MATHJAX_FOLDER.mkdir(exist_ok=True)
        how = ["--ignore-scripts", "--no-audit", "--no-fund"]
        npm = [program("npm"), "install", *how, "--prefix", MATHJAX_FOLDER]
        run(*npm, MATHJAX, folder=MATHJAX_FOLDER)
    return files


def build() -> Path:
    """Build the stock site, and return its folder."""
    files = mathjax()
    shutil.rmtree(STOCK, ignore_errors=True)
    skip = shutil.ignore_patterns(".*")
    shutil.copytree(ROOT / "chapters", STOCK / "chapters", ignore=skip)
    shutil.copy(ROOT / "_toc.yml", STOCK)
    (STOCK / "_config.yml").write_text(CONFIG, encoding="utf-8")
    # Its warnings are of no interest: links to anchors without tags, and the like.
    run(program("jupyter-book"), "build", ".", "-q", folder=STOCK)
    site = STOCK / "_build" / "html"
    shutil.copytree(files, site / "_static" / "mathjax")
    return site
