"""The page of mflib's public names, and the docstrings that it is made of."""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mflib
from mflib import book

PAGE = Path(__file__).parents[1] / "chapters" / "appendix" / "api.md"
ENTRY = re.compile(r"^\.\. auto(?:class|data|exception|function):: (\w+)$", re.M)
MODULES = sorted(m.name for m in pkgutil.walk_packages(mflib.__path__, "mflib."))
NAMES = {name: getattr(room, name) for room in (mflib, book) for name in room.__all__}
CALLABLE = [name for name, thing in NAMES.items() if inspect.isroutine(thing)]


def sections(docstring: str) -> list[str]:
    return re.findall(r"^(\w+)\n-{4,}$", docstring, re.M)


def lacks(function) -> list[str]:
    """Return the sections that a function's docstring should have, and has not."""
    signature = inspect.signature(function)
    text = inspect.getdoc(function) or ""
    found = sections(text)
    wanted = []
    if len(text.splitlines()) > 1:  # a single line says it all
        if signature.parameters:
            wanted.append("Parameters")
        if signature.return_annotation not in (None, "None"):
            wanted.append("Returns")
    return [section for section in wanted if section not in found]


def unnamed(function) -> set[str]:
    """Return the parameters that a docstring with Parameters leaves out."""
    text = inspect.getdoc(function) or ""
    if "Parameters" not in sections(text):
        return set()
    named = set()
    for line in re.split(r"^\w+\n-{4,}$", text, flags=re.M)[1].splitlines():
        if line and not line.startswith(" "):
            named |= {name.strip("* ") for name in line.split(" : ")[0].split(",")}
    return set(inspect.signature(function).parameters) - named


def test_every_public_name_is_on_the_page_once() -> None:
    assert sorted(ENTRY.findall(PAGE.read_text(encoding="utf-8"))) == sorted(
        mflib.__all__ + book.__all__
    )


def test_import_mflib_imports_what_it_computes_with_and_no_more() -> None:
    code = """import sys
import pandas, pooch, torch, tqdm
before = set(sys.modules)
import mflib
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - set(sys.stdlib_module_names)))
print(*sorted({"IPython", "matplotlib"} & set(sys.modules)))
print("mflib.book" in sys.modules)"""
    printed = subprocess.check_output([sys.executable, "-c", code], encoding="utf-8")
    assert printed.splitlines() == ["mflib", "", "False"]


@pytest.mark.parametrize("name", CALLABLE)
def test_docstring_has_its_sections(name) -> None:
    assert lacks(NAMES[name]) == []
    assert unnamed(NAMES[name]) == set()


def test_a_missing_section_is_seen() -> None:
    def bad(a: int, b: int) -> int:
        """Return a.

        Parameters
        ----------
        a : int
        """
        return a + b

    assert lacks(bad) == ["Returns"]
    assert unnamed(bad) == {"b"}


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_say(name) -> None:
    module = importlib.import_module(name)
    assert doctest.testmod(module).failed == 0


@pytest.mark.parametrize("name", ["MF", "Ratings", "als", "fit", "gibbs", "objective"])
def test_main_names_have_examples(name) -> None:
    assert ">>> " in inspect.getdoc(getattr(mflib, name))


def train(model, ratings):
    optimizer = torch.optim.Adam(model.double().parameters())
    return mflib.fit(model, ratings, optimizer=optimizer, epochs=9)


SEEDED = {"burn_in": 1, "generator": mflib.seeded(0)}


@pytest.mark.parametrize(
    ("module", "run"),
    [
        ("als", lambda r: mflib.als(r, rank=2, lam=1.0)),
        ("gibbs", lambda r: mflib.gibbs(r, rank=2, samples=9, **SEEDED)),
        ("training", lambda r: train(mflib.MF(30, 20, 2), r)),
    ],
)
def test_an_interrupt_warns_at_the_line_of_the_call(monkeypatch, module, run):
    def three(numbers, **_):
        yield from list(numbers)[:3]
        raise KeyboardInterrupt

    ratings, _ = mflib.make_low_rank_ratings(
        30, 20, 2, density=0.5, generator=mflib.seeded(0)
    )
    monkeypatch.setattr(sys.modules[f"mflib.{module}"], "tqdm", three)
    with pytest.warns(RuntimeWarning, match="interrupted") as caught:
        run(ratings)
    assert caught[0].filename == __file__
