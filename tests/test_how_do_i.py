"""The page "How do I …?": its blocks run, and do what they say."""

import re
from pathlib import Path

import pytest
import torch

import mflib

PAGE = Path(__file__).parents[1] / "chapters" / "appendix" / "how-do-i.md"


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    """Return all names after the page's blocks have run, in a folder of their own."""
    folder = tmp_path_factory.mktemp("page")
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks:
            exec(block, names)  # noqa: S102
    return names


def test_labels_are_encoded_and_predicted(names):
    rows, train = names["rows"], names["train"]
    assert list(train.user_labels[names["users"].numpy()]) == rows["user"].tolist()
    assert list(train.item_labels[names["items"].numpy()]) == rows["item"].tolist()
    assert abs(names["predictions"] - rows["rating"]).max() < 2.5
    assert names["later"].user_labels is train.user_labels


def test_the_longer_run_is_no_worse_and_early_stopping_keeps_the_best(names):
    J = names["history"]["objective"].iloc[-1]
    assert names["more"]["objective"].iloc[0] == pytest.approx(J)
    assert names["more"]["objective"].iloc[-1] <= J * (1 + 1e-9)
    error = mflib.rmse(names["early"], names["validation"])
    assert error == pytest.approx(names["best"])
    assert names["whole"]["validation"].min() <= error


def test_a_loaded_model_predicts_the_same(names):
    ids = torch.arange(5)
    torch.testing.assert_close(names["loaded"](ids, ids), names["model"](ids, ids))
    assert list(names["loaded"].user_labels) == list(names["train"].user_labels)


def test_recommended_films_are_unseen_and_in_order(names):
    model, train = names["model"], names["train"]
    series = mflib.recommend(model, train, "user 7")
    assert len(series) == 10
    assert series.is_monotonic_decreasing
    frame = train.to_frame()
    seen = set(frame.loc[frame["user"] == "user 7", "item"])
    assert seen.isdisjoint(series.index)
    users, items = train.encode(["user 7"] * 10, series.index)
    torch.testing.assert_close(model(users, items).detach(), torch.tensor(series.array))
    alike = mflib.similar(model, "film 3", n=5)
    assert len(alike) == 5
    assert "film 3" not in alike.index
    assert alike.is_monotonic_decreasing
    assert alike.max() <= 1 + 1e-12


def test_recall_beats_a_list_drawn_at_random(names):
    assert names["recall"] > 10 / 40
