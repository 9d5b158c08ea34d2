"""Lists of items for a person, or for an item: the order, the values, the labels."""

import pandas as pd
import pytest
import torch

from mflib import MF, Ratings, recommend, similar

RATED = [("ann", "up"), ("bo", "left"), ("bo", "down"), ("cy", "right"), ("cy", "half")]


@pytest.fixture
def train():
    frame = pd.DataFrame(RATED, columns=["user", "item"]).assign(rating=1.0)
    return Ratings.from_frame(frame)


@pytest.fixture
def model(train):
    """A model whose users are ann, bo, cy; its items down, half, left, right, up."""
    model = MF(3, 5, 2).double()
    model.user_labels, model.item_labels = train.user_labels, train.item_labels
    users = torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]])
    items = torch.tensor([[0.0, -2.0], [0.6, 0.8], [-1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    with torch.no_grad():
        model.U.weight.copy_(users)
        model.V.weight.copy_(items)
    return model


def test_recommends_what_is_predicted_highest_of_the_unrated(model, train):
    found = recommend(model, train, "bo")
    assert found.round(6).to_dict() == {"right": 3.0, "half": 1.8, "up": 0.0}
    assert list(found.index) == ["right", "half", "up"]
    assert list(recommend(model, train, "ann", n=2).index) == ["half", "right"]
    assert recommend(model, train, "ann", n=1)["half"] == pytest.approx(2.2)


def test_similar_items_have_the_largest_cosines(model):
    found = similar(model, "up")
    assert list(found.index[[0, -1]]) == ["half", "down"]
    cosines = {"half": 0.8, "left": 0.0, "right": 0.0, "down": -1.0}
    assert found.round(6).to_dict() == cosines
    assert list(similar(model, "up", n=1).index) == ["half"]


def test_lists_are_of_ten():
    frame = pd.DataFrame({"user": range(13), "item": range(13), "rating": 1.0})
    train = Ratings.from_frame(frame)
    model = MF(13, 13, 2)
    model.item_labels = train.item_labels
    assert len(recommend(model, train, 0)) == 10
    assert len(similar(model, 0)) == 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m, t: recommend(m, t, "zoe"),
            "'users' holds 'zoe' in row 0, which rat",
        ),
        (lambda m, t: similar(m, "zoe"), "'item' holds 'zoe' in row 0, which model"),
        (
            lambda m, t: t.encode(["zoe"], ["up"]),
            "'users' holds 'zoe' in row 0, which rat",
        ),
        (
            lambda m, t: t.encode(["bo"], ["zoe"]),
            "'items' holds 'zoe' in row 0, which rat",
        ),
        (lambda m, t: recommend(m, bare(t), "bo"), "^train must have labels"),
        (lambda m, t: bare(t).encode([0], [0]), "^ratings must have labels"),
        (lambda m, t: recommend(MF(4, 5, 2), t, "bo"), "^train has 3 users"),
    ],
)
def test_a_label_that_is_not_there_is_named_with_its_owner(model, train, call, message):
    with pytest.raises(ValueError, match=message):
        call(model, train)


def bare(train):
    sizes = {"n_users": train.n_users, "n_items": train.n_items}
    return Ratings(train.users, train.items, train.values, **sizes)
