"""One address, in ``_config.yml``, and one Python: all files that name them agree."""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from tests import tiny_book
from tools.chapters import KERNELSPEC, launch_problems, launch_source

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

# A repository on GitHub, where it lies, or where Binder or Colab opens it; its branch.
LINK = re.compile(
    r"(?<![\w.-])(?:github\.com|mybinder\.org/v2/gh|colab\.research\.google\.com/github)/"
    r"(?P<name>[\w.-]+/[\w-]+)(?:\.git)?"
    r"(?:(?:@|/(?:(?:blob|tree|edit|raw)/)?(?!issues|actions))(?P<branch>[\w-]+))?"
)

# Files of which every such link is to the book itself. Those marked True must have one.
FILES = {
    "_config.yml": True,
    "README.md": True,
    "chapters/intro.md": True,
    "CITATION.cff": True,
    "chapters/appendix/run-it-yourself.md": True,
    "chapters/appendix/for-instructors.md": False,
    "CONTRIBUTING.md": False,
    "MAINTAINING.md": False,
    "CHANGELOG.md": False,
    "Makefile": False,
    "pyproject.toml": False,
    "binder/environment.yml": False,
    "binder/postBuild": False,
    ".devcontainer/devcontainer.json": False,
    ".github/dependabot.yml": False,
    **{str(path.relative_to(ROOT)): False for path in WORKFLOWS},
}


def text(name: str | Path) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


REPOSITORY = yaml.safe_load(text("_config.yml"))["repository"]
URL, BRANCH = REPOSITORY["url"], REPOSITORY["branch"]
NAME = URL.removeprefix("https://github.com/")


# -- the address ----------------------------------------------------------------------


def strangers(content: str) -> list[str]:
    """Return the links of a text that lead to another repository or branch."""
    return [
        link.group()
        for link in LINK.finditer(content)
        if link["name"] != NAME or link["branch"] not in (None, BRANCH)
    ]


def test_the_address_is_one_that_github_has() -> None:
    assert re.fullmatch(r"https://github\.com/[\w.-]+/[\w-]+", URL)


@pytest.mark.parametrize("name", FILES)
def test_every_link_to_the_repository_is_the_address(name: str) -> None:
    content = text(name)
    assert strangers(content) == []
    if FILES[name]:
        assert NAME in content
        assert strangers(content.replace(NAME, "someone/else"))


@pytest.mark.parametrize(
    "link",
    [
        "https://github.com/someone/else",
        f"https://github.com/{NAME}/blob/old/README.md",
        f"git+{URL}@old",
        f"https://mybinder.org/v2/gh/{NAME}/old?urlpath=lab",
        f"https://mybinder.org/v2/gh/someone/else/{BRANCH}",
        f"https://colab.research.google.com/github/{NAME}/blob/old/a.ipynb",
    ],
)
def test_a_link_elsewhere_is_seen(link: str) -> None:
    assert strangers(f"See [this]({link}).")


@pytest.mark.parametrize(
    "path", sorted((ROOT / "chapters").glob("[0-9]*.ipynb")), ids=lambda path: path.stem
)
def test_a_chapter_opens_on_colab(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert list(launch_problems(notebook)) == []
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert first.source == launch_source()
    assert f'"mflib[book] @ git+{URL}@{BRANCH}"' in first.source


# -- the buttons of the site ----------------------------------------------------------


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A chapter's page, built with the project's own settings."""
    folder = tmp_path_factory.mktemp("launch")
    cells = [new_markdown_cell("# A"), new_code_cell("2.5", execution_count=1)]
    notebook = new_notebook(cells=cells, metadata={"kernelspec": KERNELSPEC})
    done = tiny_book.build(folder, {"01-a.ipynb": nbformat.writes(notebook)})
    assert done.returncode == 0, done.stdout
    return folder / "_build" / "html" / "chapters" / "01-a.html"


@pytest.mark.parametrize(
    "link",
    [
        f"https://mybinder.org/v2/gh/{NAME}/{BRANCH}?urlpath=lab/tree/chapters/01-a.ipynb",
        f"https://colab.research.google.com/github/{NAME}/blob/{BRANCH}/chapters/01-a.ipynb",
        f"{URL}/edit/{BRANCH}/chapters/01-a.ipynb",
        f"{URL}/issues/new?",
    ],
)
def test_the_site_has_a_button(page: Path, link: str) -> None:
    html = page.read_text(encoding="utf-8")
    assert f'<a href="{link}' in html
    assert strangers(html) == []


def test_the_site_gives_a_chapter_as_a_notebook(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    (link,) = re.findall(r'<a href="([^"]*\.ipynb)" [^>]*\n?[^>]*download-source', html)
    source = page.parents[3] / "chapters" / "01-a.ipynb"
    assert (page.parent / link).read_bytes() == source.read_bytes()


# -- Binder and the dev container -----------------------------------------------------


def lowest_python() -> str:
    requires = tomllib.loads(text("pyproject.toml"))["project"]["requires-python"]
    return requires.removeprefix(">=")


def test_binder_has_the_tested_versions() -> None:
    environment = yaml.safe_load(text("binder/environment.yml"))
    assert environment["channels"] == ["conda-forge"]
    found = dict(d.partition("=")[::2] for d in environment["dependencies"])
    torch = re.search(r"^torch==(\S+)$", text("requirements.txt"), re.MULTILINE)
    assert torch is not None
    assert found["pytorch"] == f"{torch[1]}=cpu*"
    assert found["python"] == lowest_python()
    assert "pip install --no-cache-dir -r requirements.txt\n" in text(
        "binder/postBuild"
    )
    assert os.access(ROOT / "binder" / "postBuild", os.X_OK)


def test_what_a_person_sets_is_not_set_by_the_makefile() -> None:
    """``NEWEST := …`` for one target made another take the newest versions, always."""
    makefile = text("Makefile")
    named = set(re.findall(r"\b([A-Z_]{4,})=", makefile.partition("\nbook:")[0]))
    assert {"BOOK", "NEWEST", "PYTHON", "TIMES"} <= named
    for name in named:
        assert not re.search(rf"^{name} *:?=", makefile, re.MULTILINE), name


def test_the_dev_container_has_the_lowest_python() -> None:
    content = text(".devcontainer/devcontainer.json")
    settings = json.loads(re.sub(r"^\s*//.*$", "", content, flags=re.MULTILINE))
    assert settings["image"].partition(":")[2] == lowest_python()
    made = settings["postCreateCommand"].removeprefix("make ").split()
    targets = re.findall(r"^([\w-]+):", text("Makefile"), re.MULTILINE)
    assert set(made) <= set(targets)


def test_arm_has_the_tested_versions() -> None:
    names = re.findall(r"^[\w-]+", text("requirements/arm.txt"), re.MULTILINE)
    lock = text("requirements/constraints.txt")
    locked = re.findall(r"^([\w-]+)==", lock, re.MULTILINE)
    assert set(names) <= {name.lower().replace("_", "-") for name in locked}
    assert "torch" not in names  # the Makefile has it


# -- what runs on GitHub --------------------------------------------------------------


def jobs() -> Iterator[tuple[str, dict]]:
    for path in WORKFLOWS:
        for name, job in yaml.safe_load(text(path))["jobs"].items():
            yield f"{path.name}: {name}", job


JOBS = dict(jobs())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    used = re.findall(r"uses: (?!\./)(.*)", text(path))
    pinned = [re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", u) for u in used]
    assert all(pinned), used


def test_an_action_has_one_version_everywhere() -> None:
    used = {u for path in WORKFLOWS for u in re.findall(r"uses: (.+@.+)", text(path))}
    assert len(used) == len({u.partition("@")[0] for u in used})


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_has_no_permissions_of_its_own(path: Path) -> None:
    workflow = yaml.safe_load(text(path))
    assert workflow["permissions"] == {}
    assert "group" in workflow["concurrency"]


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_limited(name: str) -> None:
    job = JOBS[name]
    assert job["permissions"]
    if "uses" in job:
        return
    assert job["timeout-minutes"] <= 120  # GitHub gives six hours otherwise
    for step in job["steps"]:
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False
        if step.get("uses", "").startswith("actions/setup-python@"):
            version = step["with"]["python-version"]
            if version == "${{ matrix.python }}":
                version = job["strategy"]["matrix"]["python"][0]
                assert job["env"]["PYTHON"] == "python${{ matrix.python }}"
            assert version == lowest_python() or name == "weekly.yml: newest"
        if step.get("run", "").startswith("make "):
            known = re.findall(r"^([\w-]+):", text("Makefile"), re.MULTILINE)
            assert set(step["run"].split()[1:]) <= {*known, "pdf"}


def test_each_weekly_check_is_reported() -> None:
    weekly = {n.partition(": ")[2]: j for n, j in JOBS.items() if "weekly" in n}
    assert {*weekly["report"]["needs"], "report"} == set(weekly)


def test_windows_runs_the_lines_without_make() -> None:
    section = text("README.md").partition("## Without make\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    lines = [line.partition("  #")[0].rstrip() for line in "".join(blocks).splitlines()]
    made, entered, *lines = lines
    assert (made, entered) == ("python3 -m venv .venv", ". .venv/bin/activate")
    lines.remove("jupyter lab chapters")  # which waits for its reader
    steps = JOBS["weekly.yml: windows"]["steps"]
    run = "".join(step.get("run", "") for step in steps).splitlines()
    other = {"python -m venv .venv", ". .venv/Scripts/activate"}
    other |= {"pip install -r requirements/browser.txt"}
    assert [line for line in run if line not in other] == lines
    assert other <= set(run)


@pytest.mark.parametrize(
    ("name", "status"), [(NAME, 0), ("someone/else", 1), (f"{NAME}-2", 1)]
)
def test_publishing_stops_in_another_repository(name: str, status: int) -> None:
    steps = JOBS["publish.yml: build"]["steps"]
    (check,) = (step["run"] for step in steps if "_config.yml" in step.get("name", ""))
    env = {"PATH": os.environ["PATH"], "GITHUB_SERVER_URL": "https://github.com"}
    env["GITHUB_REPOSITORY"] = name
    command = ["bash", "-e", "-c", check]
    done = subprocess.run(
        command, cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == status
    assert ("::error::_config.yml says" in done.stdout) == bool(status)
