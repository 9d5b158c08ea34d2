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

from mflib import LINES, PALETTE, slider_figure

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
        "points": (X[1:3], [0.5, 2.5]),
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
    data = frames(html())
    assert [frame["value"] for frame in data["frames"]] == [
        "λ = 0.01",
        "λ = 0.1",
        "λ = 1",
        "λ = 10",
    ]
    assert data["frames"][2]["text"] == "λ = 1: train 0.300, test 0.457"
    positions = [frame["at"] for frame in data["frames"]]
    np.testing.assert_allclose(np.diff(positions), np.diff(positions)[0], atol=0.11)
    heights = np.array([frame["fits"][0] for frame in data["frames"]])
    assert heights.shape == (4, 5)
    assert (np.diff(heights[:, -1]) > 0).all()  # SVG counts downwards


def test_the_picture_without_javascript_is_that_of_the_start():
    text = html()
    frame = frames(text)["frames"][1]
    drawn = picture(text)
    fit = drawn.find(".//polyline[@class='fit']")
    heights = [float(place.split(",")[1]) for place in fit.get("points").split()]
    assert heights == frame["fits"][0]
    assert drawn.find(".//g[@class='marker']").get("transform") == (
        f"translate({frame['at']})"
    )
    dots = drawn.findall(".//circle[@class='dot']")
    assert [float(dot.get("cy")) for dot in dots] == frame["dots"]
    assert f'<output aria-live="polite">{frame["text"]}</output>' in text
    assert 'value="1" aria-valuetext="λ = 0.1"' in text


def test_points_lie_where_the_axes_say():
    drawn = picture(html()).find(".//svg[@role='img']")
    labels = {t.text: float(t.get("y")) - 4 for t in drawn.findall("text")}
    cy = [float(dot.get("cy")) for dot in drawn.findall("circle")]
    unit = labels["1"] - labels["2"]
    np.testing.assert_allclose(
        cy, [labels["1"] + 0.5 * unit, labels["2"] - 0.5 * unit], atol=0.2
    )


def test_lines_are_those_of_the_book():
    text = html()
    lines = {
        (line.get("stroke"), line.get("stroke-dasharray"))
        for line in picture(text).iter("polyline")
    }
    assert lines == {
        (PALETTE[0], "none"),
        (LINES["train"]["color"], "none"),
        (LINES["test"]["color"], "7 4"),
        (LINES["noise floor"]["color"], "2 4"),
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


def test_no_ids_and_nothing_from_elsewhere():
    text = html()
    assert not re.search(r"\bid=|https?:|\bsrc=|\bhref=|innerHTML|eval\(", text)


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
    assert frames(text)["frames"][0]["value"] == f"{nasty} = 0.01"
    picture(text)


def test_a_wild_fit_leaves_the_picture_and_a_flat_one_is_drawn():
    wild = frames(html(fits={"fit": np.full((4, 5), 1e9)}))["frames"][0]["fits"][0]
    assert min(wild) > -1000
    flat = frames(html(fits={"fit": np.zeros((4, 5))}, points=None, truth=None))
    assert np.isfinite(flat["frames"][0]["fits"]).all()


def test_small_values_are_written_as_in_code():
    errors = arguments()[0].set_index(pd.Index([1e-6, 1e-4, 1e-3, 123456.0], name="wd"))
    values = [frame["value"] for frame in frames(html(errors=errors))["frames"]]
    assert values == ["wd = 1e-6", "wd = 1e-4", "wd = 0.001", "wd = 1.23e5"]


def indexed(*values, name="λ"):
    return arguments()[0].set_index(pd.Index(values, name=name))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"errors": {"train": [1.0]}}, "errors must be a DataFrame.*got dict"),
        ({"errors": indexed(1, 2, 3, 4, name=None)}, "index is named"),
        ({"errors": indexed(1, 3, 2, 4)}, "errors.index must rise, got 3 and then 2"),
        ({"errors": indexed(1, 2, 2, 4)}, "errors.index must rise, got 2 and then 2"),
        ({"errors": indexed(0, 1, 2, 3)}, "errors.index must be positive.*got 0.0"),
        ({"errors": indexed(1, 2, 3, np.inf)}, "errors.index must be finite, got inf"),
        ({"errors": arguments()[0] * np.nan}, "errors must be finite, got nan"),
        ({"errors": arguments()[0][[]]}, r"errors must have shape \(4, 1\)"),
        ({"errors": arguments()[0].iloc[:1]}, "at least 2 values, got 1"),
        ({"x": X[::-1]}, "x must rise, got 1 and then 0.75"),
        ({"x": X[:4]}, r"fits\['fit'\] must have shape \(4, 4\), got \(4, 5\)"),
        ({"fits": {}}, "fits must hold a curve"),
        ({"fits": {"a": np.full((4, 5), np.inf)}}, r"fits\['a'\] must be finite"),
        ({"truth": [1.0]}, r"truth must have shape \(5,\), got \(1,\)"),
        ({"points": ([1, 2], [1])}, r"points\[1\] must have shape \(2,\)"),
        ({"start": 4}, "start must be below 4.*got 4"),
        ({"start": -1}, "start must be at least 0, got -1"),
    ],
)
def test_refuses(changed, message):
    with pytest.raises(ValueError, match=message):
        html(**changed)
