"""Every page within the budgets of ``tools/weights.py``: bytes and layout shift."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.browser.conftest import SITE
from tools import weights

PAGE = """<!doctype html><html lang="en"><title>Page</title>
<link rel="icon" href="data:,"><style>body {{ margin: 0 }}</style>
{}<p>Text</p></html>"""

GROWS = """<div></div><script>
setTimeout(() => { document.querySelector("div").style.height = "200px"; }, 500);
</script>"""


def write_big_picture(path: Path) -> None:
    noise = np.random.default_rng(0).integers(256, size=(500, 500, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)


@pytest.fixture(scope="module")
def address():
    with weights.served(SITE) as address:
        yield address


@pytest.mark.parametrize(
    "page",
    weights.pages(SITE)
    or [pytest.param("", marks=pytest.mark.skip(f"no site in {SITE}: run make book"))],
)
def test_page_is_light_and_stays_in_place(browser, address, page) -> None:
    assert weights.weigh(browser, address, page).problems() == []


@pytest.mark.parametrize(
    ("content", "problems"),
    [
        pytest.param("", [], id="light"),
        pytest.param(
            '<img src="big.png" alt="" width="1" height="1">',
            ["first visit, KB", "next page, KB"],
            id="a large picture",
        ),
        pytest.param(
            '<img src="big.png" alt="" width="1" height="1" loading="lazy" '
            'style="margin-top: 9999px">',
            [],
            id="a large picture far below",
        ),
        pytest.param(GROWS + "<p>Text</p>" * 20, ["layout shift"], id="text moves"),
    ],
)
def test_what_is_heavy_is_seen(browser, tmp_path: Path, content, problems) -> None:
    (tmp_path / "start.html").write_text(PAGE.format(""))
    (tmp_path / "page.html").write_text(PAGE.format(content))
    write_big_picture(tmp_path / "big.png")
    with weights.served(tmp_path) as address:
        found = weights.weigh(browser, address, "page.html", start="start.html")
    assert [problem.split(": ")[1] for problem in found.problems()] == problems


def test_what_the_cache_holds_is_not_counted(browser, tmp_path: Path) -> None:
    picture = '<img src="big.png" alt="" width="1" height="1">'
    for name in ("start", "page"):
        (tmp_path / f"{name}.html").write_text(PAGE.format(picture))
    write_big_picture(tmp_path / "big.png")
    with weights.served(tmp_path) as address:
        found = weights.weigh(browser, address, "page.html", start="start.html")
    assert found.first > 700
    assert found.next < 1
