"""Every page of the site, on a desk and on a phone, by day and by night."""

from pathlib import Path

import pytest

from tests.browser.conftest import SCHEMES, WIDTHS, served

BAD = """<!doctype html><html lang="en"><title>Bad</title>
<style>body {{ margin: 0 }}</style>
{}
<p>Text</p></html>"""


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_page_is_whole_and_fits(visit, site, path, width, scheme) -> None:
    here = visit(width=width, scheme=scheme)
    here.open(f"{site}/{path}")
    assert here.problems == []
    assert here.overflow() <= 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param("", None, id="nothing wrong"),
        pytest.param(
            '<script src="https://example.org/a.js"></script>',
            "request to another host: https://example.org/a.js",
            id="a script from another host",
        ),
        pytest.param(
            '<script>fetch("https://example.org/later").catch(() => 0)</script>',
            "request to another host: https://example.org/later",
            id="a request from a script",
        ),
        pytest.param('<img src="no.png" alt="">', "status 404: ", id="a missing image"),
        pytest.param("<script>nothing()</script>", "error: ", id="a script that fails"),
        pytest.param(
            '<script>console.error("no")</script>', "console error: no", id="an error"
        ),
    ],
)
def test_what_is_wrong_is_seen(visit, tmp_path: Path, content, problem) -> None:
    (tmp_path / "page.html").write_text(BAD.format(content))
    (tmp_path / "favicon.ico").touch()
    here = visit()
    with served(tmp_path) as address:
        here.open(f"{address}/page.html")
    if problem is None:
        assert here.problems == []
    else:
        assert any(p.startswith(problem) for p in here.problems), here.problems


@pytest.mark.parametrize(("wide", "over"), [(390, 0), (400, 10)])
def test_overflow_is_seen(visit, tmp_path: Path, wide, over) -> None:
    (tmp_path / "page.html").write_text(
        BAD.format(f'<div style="width: {wide}px">wide</div>')
    )
    here = visit(width=390)
    with served(tmp_path) as address:
        here.open(f"{address}/page.html")
    assert here.overflow() == over
