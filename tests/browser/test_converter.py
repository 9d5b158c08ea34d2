"""``mflib.book.converter`` in a browser: its numbers are those of ``convert``."""

import random
from pathlib import Path

import pytest

from mflib.book import CONVENTIONS, convert, converter, row_lam
from mflib.book.conventions import said, same_in, say
from tests.browser.conftest import SCHEMES, WIDTHS, pages, served
from tests.browser.test_slider import PAGE, tab_to, without_icon
from tools.browser import SITE

FORMULAS = [key for key, entry in CONVENTIONS.items() if entry["factor"] is not None]
NUMBERS = ".settings tbody td.number"
START = {"n": 80_000.0, "count": 20.0, "sigma": 0.9}


def site_path() -> str:
    """Return the page of the site that holds the converter, or nothing."""
    mark = 'class="mflib-converter"'
    found = [path for path in pages() if mark in (SITE / path).read_text("utf-8")]
    return found[0] if found else ""


@pytest.fixture
def address(tmp_path: Path):
    (tmp_path / "page.html").write_text(PAGE.format(converter().data))
    with served(tmp_path) as here:
        yield f"{here}/page.html"


def form_of(page):
    return page.locator(".mflib-converter").first


def enter(form, source: str, setting: float, row: dict[str, float]) -> None:
    form.locator("select").select_option(source)
    for name, number in {"setting": setting, **row}.items():
        form.locator(f"input[name={name}]").fill(repr(number))


def shown(form) -> dict[str, str]:
    return dict(
        zip(CONVENTIONS, form.locator(NUMBERS).all_text_contents(), strict=True)
    )


def expected(source: str, setting: float, row: dict[str, float]) -> dict[str, str]:
    return {
        key: say(convert(setting, source, key, **row)) if key in FORMULAS else "–"
        for key in CONVENTIONS
    }


def check(form, source: str, setting: float, row: dict[str, float]) -> None:
    """What the form shows is what the book's function gives."""
    assert shown(form) == expected(source, setting, row)
    rows = form.locator(".settings tbody td:last-child").all_text_contents()
    assert rows == [same_in(source, key) for key in CONVENTIONS]
    lam = row_lam(source, setting, **row)
    assert form.locator("output").inner_text() == said(source, lam)


def test_all_conversions_are_those_of_the_function(visit, address) -> None:
    here = without_icon(visit())
    here.open(address)
    here.context.set_offline(True)
    form = form_of(here.page)
    check(form, "s7", 10.0, START)
    random.seed(0)
    for source in FORMULAS:
        for _ in range(3):
            row = {
                "n": float(random.randint(100, 10**8)),
                "count": float(random.randint(1, 10**4)),
                "sigma": round(random.uniform(0.1, 3), 3),
            }
            setting = float(f"{10 ** random.uniform(-6, 3):.3g}")
            enter(form, source, setting, row)
            check(form, source, setting, row)
    assert here.problems == []


def test_a_formula_of_its_own_is_seen(visit, tmp_path: Path) -> None:
    """A script that computes something else does not pass."""
    broken = converter().data.replace("given[name] ** power", "given[name] * power")
    (tmp_path / "page.html").write_text(PAGE.format(broken))
    here = visit()
    with served(tmp_path) as served_at:
        here.open(f"{served_at}/page.html")
        form = form_of(here.page)
        enter(form, "prior", 0.5, START)
        with pytest.raises(AssertionError):
            check(form, "prior", 0.5, START)


@pytest.mark.parametrize("text", ["", "0", "-1", "abc", "1e999", "1 2"])
def test_what_is_no_positive_number_is_named(visit, address, text) -> None:
    here = visit()
    here.open(address)
    form = form_of(here.page)
    field = form.locator("input[name=sigma]")
    field.fill(text)
    answer = form.locator("output").inner_text()
    assert answer == "Enter a positive number: noise σ."
    assert field.get_attribute("aria-invalid") == "true"
    assert set(shown(form).values()) == {"–"}
    field.fill("0,9")  # a decimal comma, as many write it
    check(form, "s7", 10.0, START)
    assert here.problems == []


def by_keyboard(here) -> None:
    """Tab to each field, type, and choose a library by its arrow keys."""
    form = form_of(here.page)
    tab_to(here.page, form.locator("input[name=setting]"))
    here.page.keyboard.press("Control+A")
    here.page.keyboard.type("0.02")
    here.page.keyboard.press("Tab")
    here.page.keyboard.press("ArrowDown")
    assert form.locator("select").input_value() == "torch"
    here.page.keyboard.press("Tab")
    here.page.keyboard.type("1000")  # a field that Tab reaches is selected
    check(form, "torch", 0.02, START | {"n": 1000.0})
    assert here.problems == []


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_by_keyboard_on_any_screen(visit, address, width, scheme) -> None:
    here = without_icon(visit(width=width, scheme=scheme))
    here.open(address)
    by_keyboard(here)
    here.page.evaluate(
        "for (const d of document.querySelectorAll('details')) d.open = 1"
    )
    assert here.violations(".mflib-converter") == []
    assert here.overflow() <= 0


def test_by_touch(visit, address) -> None:
    here = visit(width=390, has_touch=True, is_mobile=True)
    here.open(address)
    form = form_of(here.page)
    for field in form.locator("input, select").all():
        assert field.bounding_box()["height"] >= 24
        field.tap()
        assert field.evaluate("field => field === document.activeElement")
    form.locator("summary").tap()
    assert form.locator("details tbody, details table").first.is_visible()


def test_without_javascript_tables_remain(visit, address) -> None:
    here = visit(java_script_enabled=False)
    here.page.goto(address)
    form = form_of(here.page)
    assert not form.locator("select").is_visible()
    check(form, "s7", 10.0, START)
    form.locator("summary").click()
    text = form.locator("details table").inner_text()
    assert say(convert(1e-4, "torch", "spark", count=165.0, **{"n": 80_000.0})) in text


@pytest.mark.parametrize("scheme", SCHEMES)
def test_on_the_site(visit, site, scheme) -> None:
    if not (path := site_path()):
        pytest.skip(f"no such page in {SITE}: run make book")
    here = without_icon(visit(scheme=scheme))
    here.open(f"{site}/{path}")
    here.context.set_offline(True)
    by_keyboard(here)
    assert here.violations(".mflib-converter") == []
