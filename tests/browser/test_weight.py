"""Every page within the budgets of ``tools/weights.py``: bytes and layout shift."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools import weights
from tools.browser import served
from tools.katex_math import KATEX

PAGE = """<!doctype html><html lang="en"><title>Page</title>
<link rel="icon" href="data:,"><style>body {{ margin: 0 }}</style>
{}<p>Text</p></html>"""
PICTURE = '<img src="big.png" alt="" width="1" height="1">'
FAR_BELOW = PICTURE.replace(">", ' loading="lazy" style="margin-top: 9999px">')
GROWS = """<div></div><script>
setTimeout(() => { document.querySelector("div").style.height = "200px"; }, 500);
</script>"""
LATE_FONT = (
    """<style>@font-face { font-family: tall; src: url(tall.woff2); }
b { font: 3em tall, serif; }</style><b>(</b>"""
    + "<p>Text</p>" * 20
)
HEAVY = ["first visit, KB", "next page, KB"]


@pytest.fixture(scope="module")
def known(browser, site) -> dict[str, set[str]]:
    return weights.known(browser, site)


def test_page_is_light_and_stays_in_place(browser, site, known, path) -> None:
    there = known[weights.edition(path)]
    assert weights.weigh(browser, site, path, there).problems() == []


@pytest.mark.parametrize(("seconds", "slow"), [(0.4, False), (0.5, True)])
def test_what_is_slow_beside_the_stock_page_is_seen(seconds, slow) -> None:
    assert bool(weights.too_slow("page.html", seconds, 1.0)) == slow


def test_the_slower_of_two_pages(browser, tmp_path: Path) -> None:
    (tmp_path / "ours.html").write_text(PAGE.format("Text"))
    waits = "<script>for (const end = Date.now() + 300; Date.now() < end;);</script>"
    (tmp_path / "stock.html").write_text(PAGE.format(waits))
    with served(tmp_path) as address:
        ours, theirs = weights.compare(
            browser, f"{address}/ours.html", f"{address}/stock.html"
        )
    assert theirs > ours + 0.2


@pytest.mark.parametrize(
    ("start", "content", "problems"),
    [
        pytest.param("", "", [], id="light"),
        pytest.param("", PICTURE, HEAVY, id="a large picture"),
        pytest.param(PICTURE, PICTURE, HEAVY[:1], id="the cache holds it"),
        pytest.param("", FAR_BELOW, [], id="a large picture far below"),
        pytest.param("", GROWS + "<p>Text</p>" * 20, ["layout shift"], id="text moves"),
        pytest.param("", LATE_FONT, ["layout shift"], id="a font comes late"),
    ],
)
def test_what_is_heavy_is_seen(
    browser, tmp_path: Path, start, content, problems
) -> None:
    (tmp_path / "start.html").write_text(PAGE.format(start))
    (tmp_path / "page.html").write_text(PAGE.format(content))
    noise = np.random.default_rng(0).integers(256, size=(500, 500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "big.png")
    shutil.copy(KATEX / "fonts" / "KaTeX_Size4-Regular.woff2", tmp_path / "tall.woff2")
    with served(tmp_path) as address:
        known = weights.loaded(browser, f"{address}/start.html")
        found = weights.weigh(browser, address, "page.html", known)
    assert [problem.split(": ")[1] for problem in found.problems()] == problems
