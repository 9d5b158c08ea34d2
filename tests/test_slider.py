"""slider_figure: what is in its output, that it is stable, and what it refuses.

How it behaves in a browser is in tests/browser.
"""

import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html import unescape

import numpy as np
import pandas as pd
import pytest
import torch

from mflib.book import LINES, PALETTE, slider_figure

VALUES = [0.01, 0.1, 1.0, 10.0]
X = np.linspace(0, 1, 5)


def arguments(**changed):
    """Return sound arguments, with some changed."""
    sound = {
        "errors": pd.DataFrame(
            {"train": [0.1, 0.2, 0.3, 0.4], "test": [0.9, 0.5, 0.45678, 0.8]},
            index=pd.Index(VALUES, name="λ"),
        ),
        "x": X,
        "fits": {"fit": np.outer([4.0, 3.0, 2.0, 1.0], X)},
        "points": (torch.tensor(X[1:3]), torch.tensor([0.5, 2.5])),
        "truth": 2 * X,
        "description": "The curve sinks as λ grows.",
        "start": 1,
    }
    sound |= changed
    return sound.pop("errors"), sound


def html(**changed) -> str:
    errors, others = arguments(**changed)
    return slider_figure(errors, **others).data


def frames(text: str):
    return json.loads(unescape(re.search(r'data-frames="([^"]*)"', text)[1]))


def picture(text: str) -> ET.Element:
    """Return the panels, which are well-formed XML."""
    start, end = text.index('<div class="panels"'), text.index("<label ")
    return ET.fromstring(text[start:end])


def numbers(path: str) -> np.ndarray:
    """Return the points of path data, as rows of x and y."""
    return np.array(re.findall(r"-?[\d.]+", path), dtype=float).reshape(-1, 2)


def labels(drawn: ET.Element, axis: str) -> dict[str, float]:
    """Return what stands at the ticks of a panel's axis, and where."""
    side = {"x": "middle", "y": "end"}[axis]
    return {
        text.text: float(text.get(axis))
        for text in drawn.iter("text")
        if f"text-anchor: {side}" in text.get("style", "")
    }


def test_the_same_arguments_give_the_same_bytes_in_another_process():
    code = (
        "from tests.test_slider import html; import hashlib;"
        "print(hashlib.sha256(html().encode()).hexdigest())"
    )
    hashes = {
        subprocess.check_output(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}
        )
        for seed in ("1", "2")
    }
    assert len(hashes) == 1


def test_noise_in_the_last_digits_changes_no_byte():
    fit = np.outer([4.0, 3.0, 2.0, 1.0], X)
    noisy = fit * (1 + 1e-12 * np.random.default_rng(0).normal(size=fit.shape))
    assert html(fits={"fit": noisy}) == html()


def test_repr_has_no_address():
    errors, others = arguments()
    assert repr(slider_figure(errors, **others)) == "<IPython.core.display.HTML object>"


def test_there_is_a_frame_for_each_value():
    found = frames(html())
    assert [frame["value"] for frame in found] == [
        "λ = 0.01",
        "λ = 0.1",
        "λ = 1",
        "λ = 10",
    ]
    assert found[2]["text"] == "λ = 1: train 0.300, test 0.457"
    curves, marks, *dots = zip(*(frame["paths"] for frame in found), strict=True)
    heights = np.array([numbers(curve)[:, 1] for curve in curves])
    assert heights.shape == (4, 5)
    assert (np.diff(heights[:, -1]) > 0).all()  # SVG counts downwards
    places = [numbers(mark)[:, 0] for mark in marks]
    np.testing.assert_allclose(np.diff(places, axis=0), np.ptp(places) / 3, atol=0.11)
    for moved in dots:
        at = [numbers(dot) for dot in moved]
        np.testing.assert_allclose([dot[:, 0] for dot in at], places)
    test = [numbers(dot)[0, 1] for dot in dots[1]]
    assert np.argmax(test) == 2  # the lowest error


def test_the_picture_without_javascript_is_that_of_the_start():
    text = html()
    frame = frames(text)[1]
    moves = picture(text).findall(".//g[@class='moves']/path")
    assert len(moves) == len(frame["paths"]) == 4
    for path, data in zip(moves, frame["paths"], strict=True):
        np.testing.assert_allclose(numbers(path.get("d")), numbers(data), atol=0.1)
    assert f'<output aria-live="polite">{frame["text"]}</output>' in text
    assert 'value="1" aria-valuetext="λ = 0.1"' in text


def test_points_lie_where_the_axes_say():
    drawn = picture(html(x=[0.0, 1, 2, 3, 4], points=([1, 2], [0.5, 2.5])))
    drawn = drawn.find(".//svg")
    x, y = labels(drawn, "x"), labels(drawn, "y")
    # Ticks stand on the axes; their labels in y half a letter lower.
    uses = [use for use in drawn.iter("use") if PALETTE[1] in use.get("style")]
    dots = uses[:2]  # the third is in the legend
    at = [[float(dot.get(axis)) for axis in "xy"] for dot in dots]
    np.testing.assert_allclose([dot[0] for dot in at], [x["1"], x["2"]], atol=0.2)
    ticks = (y["0.0"] - y["2.0"]) / 2
    assert at[0][1] - at[1][1] == pytest.approx(2 * ticks, abs=0.3)
    assert at[0][1] == pytest.approx(y["0.0"] - 0.5 * ticks - 4, abs=1)


def test_lines_are_those_of_the_book():
    styles = [path.get("style") for path in picture(html()).iter("path")]
    lines = {
        (color, "dasharray" in style)
        for style in styles
        for color in re.findall("stroke: (#\\w+); .*stroke-width: 2;", style)
        + re.findall("stroke-dasharray.*stroke: (#\\w+); stroke-width: 2$", style)
    }
    assert lines == {
        (PALETTE[0], False),
        (LINES["train"]["color"], False),
        (LINES["test"]["color"], True),
        (LINES["noise floor"]["color"], True),
    }


def test_the_table_has_every_number():
    text = html()
    table = text[text.index("<table>") : text.index("</table>") + len("</table>")]
    rows = [[cell.text for cell in row] for row in ET.fromstring(table).iter("tr")]
    assert rows == [
        ["λ", "train", "test"],
        ["0.01", "0.100", "0.900"],
        ["0.1", "0.200", "0.500"],
        ["1", "0.300", "0.457"],
        ["10", "0.400", "0.800"],
    ]


def test_nothing_from_elsewhere():
    assert not re.search(r"https?:|\bsrc=|\bhref=\"[^#]|innerHTML|eval\(", html())


def test_figures_on_one_page_share_no_id():
    other = {"fit": np.outer([4.0, 3.0, 2.0, 1.1], X)}
    found = []
    for text in (html(), html(fits=other)):
        found.append(set(re.findall(r' id="([^"]*)"', text)))
        assert found[-1] == set(re.findall(r'(?:url\(|href=")#(\w+)', text))
    assert not found[0] & found[1]


def test_jupyterlab_leaves_the_arrow_keys_to_the_slider():
    slider = re.search("<input[^>]*>", html())[0]
    assert "data-lm-suppress-shortcuts" in slider  # seen to be needed in JupyterLab 4.6


def test_labels_are_escaped():
    nasty = "</script><b>'\"&{{label}}"
    errors = arguments()[0].rename(columns={"test": nasty}).rename_axis(nasty)
    text = html(
        errors=errors,
        fits={nasty: np.ones((4, 5))},
        description=nasty,
        xlabel=nasty,
        ylabel=nasty,
        ylabel_errors=nasty,
    )
    assert text.count("</script>") == 1
    assert "<b>" not in text
    assert frames(text)[0]["value"] == f"{nasty} = 0.01"
    picture(text)


def test_a_wild_fit_leaves_the_picture_and_a_flat_one_is_drawn():
    calm, wild = (html(fits={"fit": np.full((4, 5), y)}) for y in (1.0, 1e9))
    assert numbers(frames(wild)[0]["paths"][0]).min() > -1000
    assert labels(picture(calm), "y") == labels(picture(wild), "y")
    flat = html(fits={"fit": np.zeros((4, 5))}, points=None, truth=None)
    assert np.isfinite(numbers(frames(flat)[0]["paths"][0])).all()


def test_values_of_many_digits_are_written_in_three():
    errors = arguments()[0].set_index(pd.Index([1e-6, 1e-4, 1e-3, 123456.0], name="wd"))
    values = [frame["value"] for frame in frames(html(errors=errors))]
    assert values == ["wd = 1e-06", "wd = 0.0001", "wd = 0.001", "wd = 123000"]


def indexed(*values, name="λ"):
    return arguments()[0].set_index(pd.Index(values, name=name))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"errors": indexed(1, 2, 3, 4, name=None)}, "errors.index must have a name"),
        ({"errors": indexed(1, 3, 2, 4)}, "errors.index must .* rise, got"),
        ({"errors": indexed(0, 1, 2, 3)}, "errors.index must .*positive"),
        ({"errors": arguments()[0] * np.nan}, "errors must hold finite numbers"),
        ({"x": X[:4]}, r"fits\['fit'\] must .* shape \(4, 4\), got .* \(4, 5\)"),
        ({"fits": {"a": np.full((4, 5), np.inf)}}, r"fits\['a'\] must hold finite"),
        ({"truth": [1.0]}, r"truth must .* shape \(5,\), got .* shape \(1,\)"),
        ({"start": 4}, "start must be a row of errors, 0 to 3, got 4"),
    ],
)
def test_refuses(changed, message):
    with pytest.raises(ValueError, match=f"(?s){message}"):
        html(**changed)
