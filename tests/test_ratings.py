"""Ratings: what is refused at the door, and what a split promises."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mflib import MF, Ratings, make_low_rank_ratings, seeded

STARS = [1.0, 2.0, 3.0]


def three():
    return Ratings([0, 1, 1], [0, 0, 2], [1.0, 2.0, 3.0], n_users=2, n_items=3)


def test_holds_the_triples_in_the_default_dtype():
    ratings = three()
    assert len(ratings) == 3
    assert ratings.users.dtype == ratings.items.dtype == torch.int64
    assert ratings.values.dtype == torch.get_default_dtype()
    assert ratings.density == 0.5
    assert "3 ratings, 2 users, 3 items, density 50.00%" in repr(ratings)


def test_later_changes_to_the_arguments_do_not_reach_it():
    users, items = torch.tensor([0, 1]), np.array([0, 1])
    for values in (torch.tensor([1.0, 2.0]), np.array([1.0, 2.0])):
        ratings = Ratings(users, items, values, n_users=2, n_items=2)
        users[0], items[0], values[0] = 1, 1, np.nan
        assert ratings.users.tolist() == ratings.items.tolist() == [0, 1]
        assert ratings.values.tolist() == [1.0, 2.0]
        users[0], items[0] = 0, 0


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32, ">i8"])
def test_takes_ids_of_any_whole_dtype(dtype):
    ids = np.array([0, 7, 100], dtype=dtype)[::2]  # and not contiguous
    ids.setflags(write=False)
    ratings = Ratings(ids, ids, [1.0, 2.0], n_users=np.int16(300), n_items=256)
    assert ratings.users.tolist() == [0, 100]
    assert ratings.density == 2 / (300 * 256)


def test_a_floating_tensor_keeps_its_dtype_and_so_do_its_subsets():
    single = Ratings(
        [0, 1], [0, 1], torch.tensor([1.0, 2.0]).float(), n_users=2, n_items=2
    )
    assert single.values.dtype == torch.float32
    assert single.subset(torch.tensor([0])).values.dtype == torch.float32


@pytest.mark.parametrize("values", [torch.tensor([1, 2]), np.float32([1, 2]), [1, 2]])
def test_all_else_gets_the_default_dtype(values):
    ratings = Ratings([0, 1], [0, 1], values, n_users=np.int16(2), n_items=np.int16(2))
    assert ratings.values.dtype == torch.get_default_dtype()
    assert type(ratings.n_users) is type(ratings.n_items) is int


GOOD = {"users": [0, 1, 1], "items": [0, 0, 1], "values": [1.0, 2.0, 3.0]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"users": [0, 2, 1]}, ["users", "0 to 1", "got 2 at position 1", "n_users"]),
        ({"items": [0, 0, -1]}, ["items", "got -1", "position 2", "n_items"]),
        ({"users": [0, 0.5, 1]}, ["users", "0.5", "whole"]),
        ({"values": [1.0, 2.0, float("inf")]}, ["values", "inf at position 2"]),
        ({"values": [1.0]}, ["same length", "{'users': 3, 'items': 3, 'values': 1}"]),
        ({"times": [1.0]}, ["same length", "'times': 1"]),
        ({"users": [], "items": [], "values": []}, ["at least 1", "'users': 0"]),
        # a pair twice: side by side, apart, and not the first one
        ({"users": [1, 1, 0]}, ["pair [1, 0] twice", "positions 0 and 1"]),
        (
            {"users": [1, 0, 1], "items": [1, 0, 1]},
            ["pair [1, 1]", "positions 0 and 2", "drop_duplicates"],
        ),
        (
            {"users": [0, 1, 1], "items": [0, 0, 0], "user_labels": ["ann", "bob"]},
            ["pair ['bob', 0] twice", "positions 1 and 2"],
        ),
        ({"user_labels": pd.Index(["a"])}, ["user_labels", "2", "got 1"]),
        ({"item_labels": ["a", "a"]}, ["item_labels", "1 of them different"]),
        ({"n_users": 2**40}, ["n_users", "at most 2147483647"]),
    ],
)
def test_refuses_bad_input_and_says_why(change, words):
    arguments = {**GOOD, "n_users": 2, "n_items": 2, **change}
    with pytest.raises((ValueError, TypeError)) as caught:
        Ratings(**arguments)
    for word in words:
        assert word in str(caught.value)


def test_to_frame_without_labels_has_the_ids():
    frame = pd.DataFrame(
        {"user": [0, 1, 1], "item": [0, 0, 2], "rating": [1.0, 2.0, 3.0]}
    )
    pd.testing.assert_frame_equal(three().to_frame(), frame)


def test_a_subset_keeps_the_labels():
    labels = pd.Index(["a", "b"]), pd.Index([10, 30, 50])
    ratings = Ratings(
        *([0, 1], [0, 2], [1.0, 3.0]),
        **{"n_users": 2, "n_items": 3},
        **{"user_labels": labels[0], "item_labels": labels[1]},
    )
    part = ratings.subset([1])
    # The very same, so that parts need not be compared label by label.
    assert part.user_labels is labels[0]
    assert part.item_labels is labels[1]


MASK = [True, False, True]


@pytest.mark.parametrize(
    "chosen",
    [
        torch.tensor(MASK),
        np.array(MASK),
        MASK,
        tuple(MASK),
        pd.Series(MASK, index=[2, 1, 0]),  # the index is not looked at
        pd.Series(MASK, dtype="boolean"),
        pd.Index(MASK),
        [0, 2],
        np.array([0, 2], dtype="uint8"),
        pd.Series([0, 2]),
        range(0, 3, 2),
    ],
)
def test_a_subset_takes_positions_and_masks_of_any_kind(chosen):
    assert three().subset(chosen).values.tolist() == [1.0, 3.0]


@pytest.mark.parametrize(
    ("chosen", "why"),
    [
        (np.array([True, False]), r"^chosen must be a mask of shape \(3,\)"),
        (np.ones((3, 1), dtype=bool), r"^chosen must be a mask of shape \(3,\)"),
        (pd.Series([True, None, False]), "^chosen must hold numbers.* missing"),
        (pd.array([True, None, False]), "^chosen must hold numbers.* missing"),
        ([], "^chosen must select at least one rating"),
        ([3], r"^chosen must be .* from 0 to 2, got 3 at position 0; give"),
        (torch.zeros(3, dtype=torch.bool), "^chosen must select at least one rating"),
    ],
)
def test_a_subset_of_what_is_not_there_is_refused(chosen, why):
    with pytest.raises((ValueError, TypeError), match=why):
        three().subset(chosen)


def test_labels_and_their_ids():
    users = ["bob", "ann", "bob"]
    frame = pd.DataFrame({"user": users, "item": [30, 10, 20], "rating": STARS})
    ratings = Ratings.from_frame(frame)
    for labels in (users, np.array(users), pd.Series(users, index=[7, 7, 7])):
        ids = ratings.encode(labels, frame["item"])
        assert torch.equal(ids[0], ratings.users)
        assert torch.equal(ids[1], ratings.items)
    assert ids[0].dtype == ids[1].dtype == torch.int64
    assert ratings.user_labels[ids[0].numpy()].tolist() == users
    assert MF(2, 3, rank=1)(*ids).shape == (3,)  # models take what it gives


@pytest.mark.parametrize(
    ("users", "items", "why"),
    [
        (["ann", "eve"], ["x", "x"], "^'users' holds 'eve' in row 1"),
        (["ann"], [7], "^'items' holds 7 in row 0"),
        ([0], ["x"], "^'users' holds 0 in row 0"),
    ],
)
def test_labels_that_are_not_there_are_named(users, items, why):
    frame = pd.DataFrame({"user": ["ann"], "item": ["x"], "rating": [3.0]})
    with pytest.raises(ValueError, match=why):
        Ratings.from_frame(frame).encode(users, items)
    with pytest.raises(ValueError, match=r"must have labels .* Ratings\.from_frame"):
        three().encode(users, items)


def test_dense_marks_what_is_known():
    matrix, mask = three().dense()
    assert matrix.tolist() == [[1, 0, 0], [2, 0, 3]]
    assert mask.tolist() == [[1, 0, 0], [1, 0, 1]]


def cells(part):
    return set(zip(part.users.tolist(), part.items.tolist(), strict=True))


@given(
    seed=st.integers(0, 2**31),
    cut=st.floats(0.1, 0.6),
    stratify=st.sampled_from([None, "user"]),
)
def test_a_split_is_disjoint_and_complete(seed, cut, stratify):
    ratings, _ = make_low_rank_ratings(
        12, 9, rank=1, density=0.6, generator=seeded(seed)
    )
    shares = (cut, (1 - cut) / 2, (1 - cut) / 2)
    parts = ratings.split(*shares, generator=seeded(seed), stratify=stratify)
    assert sum(len(part) for part in parts) == len(ratings)
    assert set.union(*map(cells, parts)) == cells(ratings)
    for part in parts:
        assert (part.n_users, part.n_items) == (12, 9)
    if stratify is None:
        for part, share in zip(parts, shares, strict=True):
            assert abs(len(part) - share * len(ratings)) <= 1


@given(seed=st.integers(0, 2**31))
def test_a_stratified_split_divides_every_user(seed):
    ratings, _ = make_low_rank_ratings(
        30, 40, rank=1, density=0.5, generator=seeded(seed)
    )
    parts = ratings.split(0.7, 0.3, generator=seeded(seed), stratify="user")
    per_user = torch.bincount(ratings.users, minlength=30)
    for part, share in zip(parts, (0.7, 0.3), strict=True):
        got = torch.bincount(part.users, minlength=30)
        assert ((got - share * per_user).abs() <= 1).all()


@pytest.mark.parametrize("stratify", [None, "user"])
def test_the_same_generator_state_gives_the_same_split(stratify):
    ratings, _ = make_low_rank_ratings(20, 20, 1, density=0.5, generator=seeded(0))
    first, again, other = (
        ratings.split(0.5, 0.5, generator=seeded(seed), stratify=stratify)[0]
        for seed in (3, 3, 4)
    )
    assert cells(first) == cells(again) != cells(other)


@pytest.mark.parametrize("stratify", [None, "user"])
def test_a_split_does_not_depend_on_the_default_dtype(stratify):
    ratings, _ = make_low_rank_ratings(20, 20, 1, density=0.5, generator=seeded(0))
    arguments = {"stratify": stratify}
    first = ratings.split(0.7, 0.3, generator=seeded(3), **arguments)[0]
    torch.set_default_dtype(torch.float32)
    try:
        again = ratings.split(0.7, 0.3, generator=seeded(3), **arguments)[0]
    finally:
        torch.set_default_dtype(torch.float64)
    assert cells(first) == cells(again)


@pytest.mark.parametrize("stratify", [None, "user"])
def test_every_rating_is_as_likely_as_any_other(stratify):
    # 400 splits; each rating is in the test part with probability 0.25. The bound is
    # 5 standard errors: a false alarm in fewer than 1 of 20,000 such tests.
    ratings, _ = make_low_rank_ratings(5, 12, 1, density=0.6, generator=seeded(0))
    generator, hits = seeded(1), torch.zeros(5, 12)
    for _ in range(400):
        _, test = ratings.split(0.75, 0.25, generator=generator, stratify=stratify)
        hits += test.dense()[1]
    share = hits[ratings.users, ratings.items] / 400
    assert ((share - 0.25).abs() < 5 * (0.25 * 0.75 / 400) ** 0.5).all()


@pytest.mark.parametrize(
    ("fractions", "words"),
    [
        ((0.5, 0.6), "sum to 1"),
        ((1.0,), "two or more"),
        ((0.5, -0.5, 1.0), "greater than 0"),
        ((0.999, 0.001), "part empty"),
    ],
)
def test_a_split_refuses_what_are_not_shares(fractions, words):
    with pytest.raises(ValueError, match=words):
        three().split(*fractions, generator=seeded(0))
