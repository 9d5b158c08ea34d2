"""``mflib.book.slider_figure`` in a browser: by keyboard, mouse and touch, offline."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mflib.book import slider_figure
from tests.browser.conftest import SCHEMES, WIDTHS, served

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">
<title>Sliders</title><style>:root {{ color-scheme: light dark }}</style></head>
<body><main><h1>Sliders</h1>{}</main></body></html>"""

# What a reader sees of one figure.
STATE = """figure => ({
  at: +figure.querySelector("input").value,
  last: +figure.querySelector("input").max,
  said: figure.querySelector("output").textContent,
  value: figure.querySelector("input").getAttribute("aria-valuetext"),
  marker: figure.querySelector(".panel + .panel .moves").getBoundingClientRect().x,
  paths: Array.from(figure.querySelectorAll(".panel"), (panel) =>
    Array.from(panel.querySelectorAll(".moves path"), (p) => p.getAttribute("d"))),
})"""


STOP_BEFORE = """slider => {
  const stops = Array.from(document.querySelectorAll("a[href], button, input, summary"))
    .filter((stop) => stop.checkVisibility({visibilityProperty: true}));
  stops[stops.indexOf(slider) - 1]?.focus();
}"""


def two_sliders() -> str:
    x = np.linspace(0, 1, 21)
    penalties = np.array([0.01, 0.1, 1.0, 10.0])
    errors = pd.DataFrame(
        {"train": penalties / 20, "test": [0.9, 0.5, 0.4, 0.8]},
        index=pd.Index(penalties, name="λ"),
    )
    figure = slider_figure(
        errors,
        x=x,
        fits={"fit": np.sin(3 * x) / (1 + penalties[:, None])},
        points=(x[::4], np.sin(3 * x[::4])),
        truth=np.sin(3 * x),
        description="The curve sinks as λ grows.",
        start=1,
    )
    return figure.data * 2


@pytest.fixture
def sliders(tmp_path: Path):
    (tmp_path / "page.html").write_text(PAGE.format(two_sliders()))
    with served(tmp_path) as address:
        yield f"{address}/page.html"


def tab_to(page, slider) -> None:
    """Go there by Tab, from the stop in front of it if there is one."""
    slider.evaluate(STOP_BEFORE)
    for _ in range(9):
        page.keyboard.press("Tab")
        if slider.evaluate("slider => slider === document.activeElement"):
            return
    raise AssertionError("Tab never reaches the slider")


def without_icon(here):
    """Answer for the icon: the browser asks for it late, maybe when it is offline."""
    here.context.route("**/favicon.svg", lambda route: route.fulfill(body=""))
    return here


def check_by_keyboard(here) -> None:
    """Move every slider of a page with keys alone, with the network closed."""
    here.context.set_offline(True)
    figures = here.page.locator(".mflib-slider").all()
    assert figures
    for figure in figures:
        tab_to(here.page, figure.locator("input"))
        others = [f.evaluate(STATE) for f in figures if f != figure]
        seen = []
        for key in ("Home", "ArrowRight", "End"):
            here.page.keyboard.press(key)
            seen.append(figure.evaluate(STATE))
            check_agrees(figure, seen[-1])
        first, second, last = seen
        assert [s["at"] for s in seen] == [0, 1, last["last"]]
        assert first["marker"] < second["marker"] < last["marker"]
        # Neighbours may be alike to the pixel: only what names the value must differ.
        assert len({s["value"] for s in seen}) == len({s["said"] for s in seen}) == 3
        (fits, marks), (last_fits, last_marks) = first["paths"], last["paths"]
        assert fits != last_fits  # one may stay, such as a likelihood
        for before, after in zip(marks, last_marks, strict=True):
            assert before != after
        assert [f.evaluate(STATE) for f in figures if f != figure] == others
    assert here.problems == []


def check_agrees(figure, state) -> None:
    """What is said is what the table holds."""
    names = figure.locator("thead th, thead td").all_text_contents()
    row = figure.locator("tbody tr").nth(state["at"])
    numbers = row.locator("th, td").all_text_contents()
    assert state["value"] == f"{names[0]} = {numbers[0]}"
    errors = zip(names[1:], numbers[1:], strict=True)
    assert state["said"] == f"{state['value']}: " + ", ".join(map(" ".join, errors))


def violations(page) -> list[str]:
    """Return what axe-core finds wrong in the sliders, their tables unfolded."""
    from axe_playwright_python.sync_playwright import Axe

    for figure in page.locator(".mflib-slider").all():
        figure.locator("details").evaluate("details => { details.open = true; }")
    found = Axe().run(page, context=".mflib-slider").response
    assert found["passes"]  # it has looked
    return [
        f"{v['id']}: {node['html']}" for v in found["violations"] for node in v["nodes"]
    ]


# -- on the site ----------------------------------------------------------------------


def test_slider_on_the_site(visit, site, slider_path) -> None:
    here = without_icon(visit())
    here.open(f"{site}/{slider_path}")
    here.squeezed()  # fetches all pictures, which otherwise come as they come near
    check_by_keyboard(here)
    assert violations(here.page) == []


# -- on a page of our own -------------------------------------------------------------


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_two_sliders_on_a_page(visit, sliders, width, scheme) -> None:
    here = without_icon(visit(width=width, scheme=scheme))
    here.open(sliders)
    check_by_keyboard(here)
    assert violations(here.page) == []
    assert here.overflow() <= 0


def test_slider_by_mouse_and_touch(visit, sliders) -> None:
    here = visit(width=390, has_touch=True, is_mobile=True)
    here.open(sliders)
    slider = here.page.locator(".mflib-slider input").first
    box = slider.bounding_box()
    assert box["height"] >= 24
    middle = box["y"] + box["height"] / 2
    here.page.touchscreen.tap(box["x"] + box["width"] - 3, middle)
    assert slider.input_value() == "3"
    here.page.mouse.click(box["x"] + 3, middle)
    assert slider.input_value() == "0"
    check_agrees(
        figure := here.page.locator(".mflib-slider").first, figure.evaluate(STATE)
    )


def test_slider_without_javascript(visit, sliders) -> None:
    """A picture of the value at the start, what it says, and the table."""
    here = visit(java_script_enabled=False)
    here.page.goto(sliders)
    figure = here.page.locator(".mflib-slider").first
    assert not figure.locator("input").is_visible()
    assert figure.locator("output").inner_text() == "λ = 0.1: train 0.00500, test 0.500"
    assert figure.locator(".moves").first.is_visible()
    figure.locator("summary").click()
    assert figure.locator("tbody tr").count() == 4


def test_a_slider_that_does_not_move_is_seen(visit, tmp_path: Path) -> None:
    broken = two_sliders().replace("output.textContent", "output.title")
    (tmp_path / "page.html").write_text(PAGE.format(broken))
    here = visit()
    with served(tmp_path) as address:
        here.open(f"{address}/page.html")
        with pytest.raises(AssertionError):
            check_by_keyboard(here)


def test_axe_sees_what_is_wrong(visit, tmp_path: Path) -> None:
    broken = two_sliders().replace('"hidden">λ ', '"hidden">', 1)
    (tmp_path / "page.html").write_text(PAGE.format(broken))
    here = visit()
    with served(tmp_path) as address:
        here.open(f"{address}/page.html")
        assert [v.split(":")[0] for v in violations(here.page)] == ["label"]
