"""Every page of the site, on a desk and on a phone, by day and by night."""

from pathlib import Path

import pytest

from tests.browser.conftest import COLOURS, PHONE, served
from tests.browser.test_reading import walk

BAD = """<!doctype html><html lang="en"><title>Bad</title>
<style>body {{ margin: 0 }}</style>
{}
<p>Text</p></html>"""


def test_page_on_a_desk(visit, site, path) -> None:
    here = visit()
    here.open(f"{site}/{path}")
    assert here.raw_tex() == []
    assert here.without_alt() == []
    check_fits(here)
    here.open_folds()
    check_fits(here)
    assert here.violations() == []
    here.prefer("dark")  # of axe's rules, one looks at colours
    assert here.violations(options=COLOURS) == []
    assert here.problems == []


def test_page_on_a_phone_by_tab_alone(visit, site, path) -> None:
    here = visit(**PHONE)
    here.open(f"{site}/{path}")
    check_fits(here)
    assert walk(here.page) == []  # which opens the folds
    check_fits(here)
    assert here.problems == []


def check_fits(here) -> None:
    assert here.headings_fall()
    assert here.squeezed() == []
    assert here.parted() == []
    assert here.overflow() <= 0


# What pages share, on any screen: closed folds, and a phone's buttons
@pytest.mark.parametrize(
    "how", [{}, {**PHONE, "scheme": "dark"}], ids=["desk", "phone"]
)
@pytest.mark.parametrize("kind", ["intro", "05-gaussian-prior"])
def test_furniture(visit, site, kind, how) -> None:
    here = visit(**how)
    here.open(f"{site}/chapters/{kind}.html")
    assert here.violations() == []
    assert here.problems == []


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


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("an error of $x^2$", ["an error of $x^2$"]),
        (r"a \frac12 b", [r"a \frac12 b"]),
        (r'<span class="math">\(x\)</span>', [r"\(x\)"]),
        (r"<p>\begin{align}", [r"\begin{align}"]),
        (r'<div class="highlight-myst-ansi highlight"><pre>\lambda', [r"\lambda"]),
        (r"<details><summary>Fold</summary>$\lambda$", [r"$\lambda$"]),
        (r'<div class="highlight"><pre>label="$\lambda$"</pre></div>', []),
        (r"<code>$MFLIB_DATA</code>", []),
        (
            r'<span class="katex"><span class="katex-mathml"><math><semantics>'
            r'<annotation encoding="application/x-tex">\lambda</annotation></semantics>'
            r"</math></span><span aria-hidden>λ</span></span>",
            [],
        ),
        (r'<span class="katex-error">\lambd</span>', [r"\lambd"]),
    ],
)
def test_raw_tex_is_seen(visit, text, seen) -> None:
    here = visit()
    here.page.set_content(BAD.format(text))
    assert [raw.strip() for raw in here.raw_tex()] == seen


@pytest.mark.parametrize("before", ["", "("])
@pytest.mark.parametrize("after", ["", "이다"])
@pytest.mark.parametrize("space", ["nowrap", "normal"])
def test_a_formula_parted_from_its_neighbours_is_seen(
    visit, before, after, space
) -> None:
    part = '<span class="katex-base" style="display: inline-block; width: 30px"></span>'
    joined = f'{before}{part}<wbr style="white-space: normal">{part}{after}'
    joined = f'<span class="joined" style="white-space: {space}">{joined}</span>'
    here = visit()
    here.page.set_content(f'<main style="width: 32px">{joined}</main>')
    assert bool(here.parted()) == (space == "normal" and bool(before or after))


@pytest.mark.parametrize(
    ("alt", "seen"),
    [
        ('alt="Test error falls, then rises."', 0),
        ('alt="../_images/a1b2.png"', 1),
        ('alt="The picture in a1b2.png"', 1),
        ('alt="Figure"', 1),
        ('alt=""', 1),
        ("", 1),
    ],
)
def test_missing_alternative_is_seen(visit, alt, seen) -> None:
    here = visit()
    here.page.set_content(BAD.format(f'<main><img src="data:," {alt}></main>'))
    assert len(here.without_alt()) == seen


PICTURE = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' width='300' "
    "height='100'/%3E"
)


@pytest.mark.parametrize(
    ("style", "seen"),
    [
        ("max-width: 100%; height: auto", 0),
        ("max-width: 100%; height: auto; padding: 9px; border: 1px solid", 0),
        ("max-width: 100%", 1),
        ("width: 200px; height: 70px", 1),
    ],
)
def test_a_squeezed_picture_is_seen(visit, style, seen) -> None:
    here = visit()
    here.page.set_content(
        BAD.format(
            '<main style="width: 200px"><img width="300" height="100" alt="A square" '
            f'style="{style}" src="{PICTURE}"></main>'
        )
    )
    assert len(here.squeezed()) == seen


@pytest.mark.parametrize(
    ("content", "fall"),
    [
        ("<h1>A</h1><h2>B</h2><h3>C</h3>", True),
        ("<h1>A</h1>", True),
        ('<h1 style="font-size: 20px">A</h1><h2>B</h2>', False),
        ('<h1>A</h1><h2 style="font-size: 9px">B</h2><h3>C</h3>', False),
    ],
)
def test_headings_upside_down_are_seen(visit, content, fall) -> None:
    here = visit()
    here.page.set_content(BAD.format(f"<main>{content}</main>"))
    assert here.headings_fall() is fall


CODE = (
    '<pre><span style="color: {}">one</span> <span style="color: {}">two</span></pre>'
)


@pytest.mark.parametrize(
    ("content", "closed", "opened"),
    [
        ("<h2>Good</h2>", [], []),
        ("<h3>Skipped</h3>", ["heading-order"], ["heading-order"]),
        ("<details><summary>Fold</summary><button></button></details>",
         [], ["button-name"]),
        (f"<details><summary>Fold</summary>{CODE.format('#ccc', '#ccc')}</details>",
         [], ["color-contrast"]),
        (CODE.format("#000", "#ccc"), ["color-contrast"], ["color-contrast"]),
        ('<div style="color: #ccc"><p>one</p><p>two</p></div>',
         ["color-contrast"], ["color-contrast"]),
        ('<p>one</p><div style="opacity: 0.3"><p>two</p></div>',
         ["color-contrast"], ["color-contrast"]),
        ('<p>one</p><div style="background: #0009"><p>two</p></div>',
         ["color-contrast"], ["color-contrast"]),
        ('<button aria-label="Toggle">Show</button>',
         ["label-content-name-mismatch"], ["label-content-name-mismatch"]),
        ('<table><tr><th></th><th>a</th></tr><tr><th>1</th><td>2</td></tr></table>',
         ["empty-table-header"], ["empty-table-header"]),
        ('<table><tr><th>a</th></tr><tr><td role="rowheader"></td></tr></table>',
         ["empty-table-header"], ["empty-table-header"]),
        ('<table><tr><th><math><mi>a</mi></math></th></tr><tr><td>1</td></tr></table>',
         [], []),
        ('<div style="overflow: auto; height: 20px"><p style="height: 90px">Tall</div>',
         ["scrollable-region-focusable"], ["scrollable-region-focusable"]),
    ],
)  # fmt: skip
def test_axe_is_heard(visit, content, closed, opened) -> None:
    here = visit()
    here.page.set_content(
        BAD.format(f"<main><h1>Page</h1>{content}</main>").replace("<p>Text</p>", "")
    )
    assert [v.split(":")[0] for v in here.violations()] == closed
    here.open_folds()
    assert [v.split(":")[0] for v in here.violations()] == opened
