"""The shared figures draw what they were given, in the book's colours."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from mflib import Ratings
from mflib.book import LINES, PALETTE, plot_errors, plot_observed, use_style


@pytest.fixture(autouse=True)
def style():
    plt.switch_backend("agg")
    use_style()
    yield
    plt.close("all")


def test_plot_errors_draws_each_column_and_marks_the_lowest_point():
    errors = pd.DataFrame(
        {"train": [3.0, 2.0, 1.0], "test": [3.0, 1.5, 2.5]},
        index=pd.Index([0, 5, 9], name="epoch"),
    )
    ax = plot_errors(errors, noise_floor=0.5)
    train, test, lowest, floor = ax.lines
    np.testing.assert_array_equal(train.get_ydata(), [3, 2, 1])
    assert train.get_color() == LINES["train"]["color"]
    np.testing.assert_array_equal(test.get_xdata(), [0, 5, 9])
    assert (lowest.get_xdata(), lowest.get_ydata()) == ([5], [1.5])
    assert floor.get_ydata() == [0.5, 0.5]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "RMSE")
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["train", "test", "noise floor"]


def test_plot_errors_takes_other_columns_and_axes():
    _, ax = plt.subplots()
    drawn = plot_errors(pd.DataFrame({"J": [2.0, 1.0]}), ylabel="J", ax=ax)
    assert drawn is ax
    assert ax.get_ylabel() == "J"
    assert len(ax.lines) == 1


def test_plot_errors_leaves_a_gap_where_nothing_was_measured():
    measured = pd.array([3.0, None, 1.5, 2.5], "Float64")
    line, lowest = plot_errors(pd.DataFrame({"test": measured})).lines
    np.testing.assert_array_equal(line.get_ydata(), [3, np.nan, 1.5, 2.5])
    assert (lowest.get_xdata(), lowest.get_ydata()) == ([2], [1.5])


@pytest.mark.parametrize("test", [[3.0, 2.0, 1.0], [1.0, 2.0, 3.0]])
def test_plot_errors_marks_no_end_as_if_it_were_a_minimum(test):
    assert len(plot_errors(pd.DataFrame({"test": test})).lines) == 1


@pytest.mark.parametrize(
    ("draw", "given", "error", "message"),
    [
        (plot_errors, (1, pd.DataFrame()), TypeError, "errors must be a pandas.Data"),
        (plot_errors, pd.DataFrame({"a": ["x"]}), ValueError, "'x'"),
        (plot_observed, pd.DataFrame(), TypeError, "ratings must be a mflib.Ratings"),
    ],
)
def test_refuses(draw, given, error, message):
    with pytest.raises(error, match=message):
        draw(given)


@pytest.mark.parametrize(
    ("name", "chosen"),
    [
        ("font.family", ["Noto Sans CJK KR"]),
        ("font.sans-serif", ["NanumGothic"]),
        ("font.serif", ["NanumMyeongjo"]),
        ("font.monospace", ["D2Coding"]),
        ("axes.unicode_minus", False),
    ],
)
def test_use_style_keeps_the_fonts_of_the_reader(name, chosen):
    book = dict(plt.rcParams)
    with plt.rc_context({name: chosen, "lines.linewidth": 9}):
        use_style()
        assert dict(plt.rcParams) == book | {name: chosen}


def test_plot_observed_has_a_dot_per_rating_with_user_0_on_top():
    ratings = Ratings([0, 1, 2], [3, 0, 1], [1.0, 2.0, 3.0], n_users=3, n_items=4)
    ax = plot_observed(ratings)
    np.testing.assert_array_equal(
        ax.collections[0].get_offsets(), [[3, 0], [0, 1], [1, 2]]
    )
    bottom, top = ax.get_ylim()
    assert bottom > top


def test_lines_are_told_apart_without_colour():
    looks = [
        line["linestyle"]
        for name, line in LINES.items()
        if name in ("train", "validation", "test", "noise floor")
    ]
    assert len(set(looks)) == len(looks)


def test_the_palette_has_no_colour_that_means_something():
    assert not set(PALETTE) & {line["color"] for line in LINES.values()}
