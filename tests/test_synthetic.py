"""Ratings from a known truth: they are what the docstring says."""

import pytest
import torch

from mflib import make_low_rank_ratings, rmse, seeded
from mflib.book import lecture_ratings


def test_seeds_of_64_bits():
    draws = [torch.rand(2, generator=seeded(seed)) for seed in (0, 2**64 - 1)]
    assert not torch.equal(*draws)
    for seed in (-1, 2**64):
        with pytest.raises(ValueError, match=rf"seed must .*, got {seed}\b"):
            seeded(seed)


def test_ratings_are_truth_plus_noise_of_the_stated_size():
    ratings, truth = make_low_rank_ratings(
        200,
        150,
        rank=3,
        density=0.5,
        tau=0.7,
        sigma=0.5,
        mean=3.5,
        bias_tau=0.4,
        generator=seeded(0),
    )
    assert len(ratings) == 15_000
    # Standard errors of a sample standard deviation s over n draws: s / sqrt(2 n).
    # Five bounds of 5 of them: false alarms with 5 * 6e-7 = 3e-6 of seeds.
    assert rmse(truth, ratings) == pytest.approx(0.5, abs=5 * 0.5 / 30_000**0.5)
    assert float(truth.U.std()) == pytest.approx(0.7, abs=5 * 0.7 / 1200**0.5)
    assert float(truth.V.std()) == pytest.approx(0.7, abs=5 * 0.7 / 900**0.5)
    assert float(truth.b.std()) == pytest.approx(0.4, abs=5 * 0.4 / 400**0.5)
    assert float(truth.c.std()) == pytest.approx(0.4, abs=5 * 0.4 / 300**0.5)
    by_hand = 3.5 + truth.b[:, None] + truth.c + truth.U @ truth.V.T
    predicted = truth(ratings.users, ratings.items)
    torch.testing.assert_close(predicted, by_hand[ratings.users, ratings.items])


def test_complete_data_have_every_cell():
    ratings, _ = make_low_rank_ratings(7, 5, 1, density=1.0, generator=seeded(0))
    assert ratings.dense()[1].all()


def test_the_seed_decides_and_density_leaves_the_truth_alone():
    first, truth = make_low_rank_ratings(20, 10, 2, density=0.3, generator=seeded(0))
    again, _ = make_low_rank_ratings(20, 10, 2, density=0.3, generator=seeded(0))
    more, same = make_low_rank_ratings(20, 10, 2, density=0.6, generator=seeded(0))
    torch.testing.assert_close(first.values, again.values)
    assert torch.equal(truth.U, same.U)
    assert len(more) == 2 * len(first)


def test_power_law_popularity_has_a_long_tail():
    uniform, _ = make_low_rank_ratings(300, 300, 1, density=0.05, generator=seeded(0))
    tail, _ = make_low_rank_ratings(
        300, 300, 1, density=0.05, popularity="power-law", generator=seeded(0)
    )
    for ratings, least, most in ((uniform, 0.08, 0.12), (tail, 0.3, 0.9)):
        for ids in (ratings.items, ratings.users):
            share_of_first_tenth = (ids < 30).sum() / len(ratings)
            assert least < share_of_first_tenth < most


def test_power_law_weights_are_those_of_the_docstring():
    # One rating on 2 x 2 cells: weights 1, 1/2, 1/2, 1/4. 4,000 draws, three bounds of
    # 5 standard errors: false alarms with 2e-6 of seeds.
    generator, hits = seeded(0), torch.zeros(2, 2)
    for _ in range(4000):
        ratings, _ = make_low_rank_ratings(
            *(2, 2, 1), density=0.25, popularity="power-law", generator=generator
        )
        assert len(ratings) == 1
        hits += ratings.dense()[1]
    expected = torch.tensor([[4.0, 2.0], [2.0, 1.0]]) / 9
    error = (expected * (1 - expected) / 4000).sqrt()
    assert ((hits / 4000 - expected).abs() < 5 * error).all()


def test_defaults_are_those_of_the_docstring():
    short, truth = make_low_rank_ratings(9, 7, 2, density=0.5, generator=seeded(0))
    stated = {"tau": 1.0, "sigma": 1.0, "mean": 0.0, "bias_tau": 0.0}
    whole, _ = make_low_rank_ratings(
        *(9, 7, 2), density=0.5, popularity="uniform", generator=seeded(0), **stated
    )
    torch.testing.assert_close(short.values, whole.values)
    assert {name: getattr(truth, name) for name in ("tau", "sigma", "mean")} == {
        name: stated[name] for name in ("tau", "sigma", "mean")
    }
    assert not truth.b.any()


def test_lecture_ratings_differ_in_what_is_changed():
    ratings, truth = lecture_ratings()
    assert (len(ratings), truth.U.shape, truth.sigma) == (12_000, (300, 4), 0.5)
    more, same_truth = lecture_ratings(density=0.4, sigma=0.25)
    assert (len(more), same_truth.sigma) == (24_000, 0.25)
    torch.testing.assert_close(same_truth.U, truth.U)
    assert not torch.equal(lecture_ratings(1)[1].U, truth.U)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"density": 0.0}, "density must be greater than 0"),
        ({"density": 1.1}, r"density must lie in \(0, 1\].*1.1"),
        ({"density": 0.001}, "at least one of the 20 cells"),
        ({"density": 1.04}, r"density must lie in"),
        ({"rank": 0}, "rank must be at least 1"),
        ({"sigma": -1.0}, "sigma must be at least 0"),
        ({"tau": float("inf")}, "tau must be finite"),
        ({"tau": -1.0}, "^tau must be at least 0"),
        ({"bias_tau": -1.0}, "^bias_tau must be at least 0"),
        ({"popularity": "zipf"}, "popularity"),
    ],
)
def test_refuses_bad_arguments(change, words):
    arguments = {"n_users": 5, "n_items": 4, "rank": 1, "density": 0.5, **change}
    with pytest.raises(ValueError, match=words):
        make_low_rank_ratings(**arguments, generator=seeded(0))
