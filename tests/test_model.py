"""MF and the measures: against formulas written out by hand."""

import pandas as pd
import pytest
import torch
from torch import nn

from mflib import (
    MF,
    Ratings,
    als,
    bias_baseline,
    gibbs,
    mae,
    make_low_rank_ratings,
    objective,
    rmse,
    seeded,
)
from mflib.model import predict

SIDES = ("user_labels", "item_labels")


@pytest.fixture
def ratings():
    return Ratings(
        [0, 0, 2, 3], [1, 2, 0, 2], [1.0, -2.0, 0.5, 3.0], n_users=4, n_items=3
    )


def test_predicts_mean_plus_biases_plus_product():
    model = MF(4, 3, rank=2, biases=True, mean=3.5, generator=seeded(0))
    assert not model.user_bias.weight.any()
    assert not model.item_bias.weight.any()
    nn.init.normal_(model.user_bias.weight, generator=seeded(1))
    nn.init.normal_(model.item_bias.weight, generator=seeded(2))
    users, items = torch.tensor([0, 3]), torch.tensor([2, 1])
    by_hand = [
        3.5
        + model.user_bias.weight[i, 0]
        + model.item_bias.weight[j, 0]
        + model.U.weight[i] @ model.V.weight[j]
        for i, j in zip(users, items, strict=True)
    ]
    torch.testing.assert_close(model(users, items), torch.stack(by_hand))


def test_a_generator_leaves_the_global_source_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    MF(4, 3, rank=2, biases=True, generator=seeded(0))
    MF(4, 3, rank=2, init_std=0.0)  # nothing to draw
    assert torch.equal(torch.get_rng_state(), before)
    MF(4, 3, rank=2)
    assert not torch.equal(torch.get_rng_state(), before)


def test_without_biases_has_only_the_factors():
    model = MF(4, 3, rank=2, init_std=0.5)
    assert [name for name, _ in model.named_parameters()] == ["U.weight", "V.weight"]
    assert "mean" in model.state_dict()


def test_starts_at_the_stated_scale_from_the_generator():
    model = MF(500, 300, rank=20, init_std=0.3, generator=seeded(0))
    # 10,000 and 6,000 draws: 0.05 is 7 and 5.5 standard errors, 4e-8 of seeds fail.
    assert model.U.weight.std().item() == pytest.approx(0.3, rel=0.05)
    assert model.V.weight.std().item() == pytest.approx(0.3, rel=0.05)
    assert torch.equal(
        model.U.weight, MF(500, 300, 20, init_std=0.3, generator=seeded(0)).U.weight
    )


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("lam_per_rating", [0.0, 0.3])
@pytest.mark.parametrize("prior_mean", ["zero", "learned"])
def test_objective_is_the_formula(ratings, biases, lam_per_rating, prior_mean):
    model = MF(4, 3, rank=2, biases=biases, generator=seeded(0))
    if biases:
        nn.init.normal_(model.user_bias.weight, generator=seeded(1))
        nn.init.normal_(model.item_bias.weight, generator=seeded(2))
    counts = {"U": [2, 0, 1, 1], "V": [1, 1, 2]}
    lam, total = 0.7, 0.0
    for i, j, r in zip(ratings.users, ratings.items, ratings.values, strict=True):
        total += (r - model(i[None], j[None])[0]) ** 2
    for rows, bias, n in (
        (model.U, model.user_bias, counts["U"]),
        (model.V, model.item_bias, counts["V"]),
    ):
        rows = torch.cat([rows.weight, bias.weight], 1) if biases else rows.weight
        weights = [lam + lam_per_rating * count for count in n]
        center = sum(w * row for w, row in zip(weights, rows, strict=True))
        center = center / sum(weights) if prior_mean == "learned" else 0.0
        for weight, row in zip(weights, rows, strict=True):
            total += weight / 2 * (row - center) @ (row - center)
    J = objective(
        model, ratings, lam, lam_per_rating=lam_per_rating, prior_mean=prior_mean
    )
    torch.testing.assert_close(J, total)


def test_the_objective_without_weight_is_the_squared_error(ratings):
    model = MF(4, 3, rank=2, generator=seeded(0))
    learned = objective(model, ratings, 0.0, prior_mean="learned")
    torch.testing.assert_close(learned, objective(model, ratings))


def test_objective_has_no_penalty_unless_asked(ratings):
    model = MF(4, 3, rank=2, generator=seeded(0))
    torch.testing.assert_close(objective(model, ratings), objective(model, ratings, 0))


def test_some_people_and_all_items_broadcast():
    known, truth = make_low_rank_ratings(4, 3, 1, density=1.0, generator=seeded(0))
    posterior, _ = gibbs(known, rank=1, samples=3, burn_in=1, generator=seeded(1))
    model = MF(4, 3, rank=2, biases=True, generator=seeded(0))
    for bias in (model.user_bias, model.item_bias):
        nn.init.normal_(bias.weight, generator=seeded(1))
    users, items = torch.tensor([3, 1]), torch.arange(3)
    pairs = torch.cartesian_prod(users, items).T
    for predictor in (model, posterior, truth):
        table = predictor(users[:, None], items)
        assert table.shape == (2, 3)
        torch.testing.assert_close(table.flatten(), predictor(*pairs))
    low, high = posterior.interval(users[:, None], items)
    assert low.shape == high.shape == (2, 3)


def test_objective_lets_gradients_through(ratings):
    model = MF(4, 3, rank=2, generator=seeded(0))
    objective(model, ratings, 2.0).backward()
    alone = model.U.weight[1].detach()  # user 1 has no ratings: only the penalty pulls
    torch.testing.assert_close(model.U.weight.grad[1], 2.0 * alone)


def test_measures(ratings):
    def constant(users, items):
        return torch.full((len(users),), 2.0)

    assert rmse(constant, ratings) == pytest.approx(((1 + 16 + 2.25 + 1) / 4) ** 0.5)
    assert mae(constant, ratings) == pytest.approx((1 + 4 + 1.5 + 1) / 4)
    assert mae(constant, ratings, clip=(-1.0, 1.0)) == pytest.approx(
        (0 + 3 + 0.5 + 2) / 4
    )
    assert mae(constant, ratings, clip=(2.5, 5.0)) == pytest.approx(
        (1.5 + 4.5 + 2 + 0.5) / 4
    )


def test_predictions_go_in_slices(ratings):
    model = MF(4, 3, rank=2, generator=seeded(0))
    seen = []

    def watched(users, items):
        seen.append(len(users))
        return model(users, items)

    whole = model(ratings.users, ratings.items)
    torch.testing.assert_close(predict(watched, ratings, size=3), whole)
    assert seen == [3, 1]


def test_a_model_of_another_size_is_refused(ratings):
    model = MF(5, 3, rank=2)
    for measure in (rmse, mae, objective):
        with pytest.raises(ValueError, match=r"4 users and 3 items.*5 and 3"):
            measure(model, ratings)


def test_predictions_that_would_broadcast_are_refused(ratings):
    with pytest.raises(ValueError, match=r"shape \(4,\).*got Tensor of.*4, 1"):
        rmse(lambda users, items: torch.zeros(len(users), 1), ratings)
    with pytest.raises(ValueError, match="got float of shape None"):
        rmse(lambda users, items: 3.5, ratings)


@pytest.mark.parametrize("clip", [(5.0, 0.5), (2.0, 2.0), (float("nan"), 5.0)])
def test_clip_must_be_a_range(ratings, clip):
    with pytest.raises(ValueError, match=r"^clip"):
        rmse(MF(4, 3, rank=1), ratings, clip=clip)


@pytest.mark.parametrize("lam", [0.0, 3.0])
def test_bias_baseline_is_the_least_squares_fit(lam):
    generator = seeded(0)
    users, items = torch.cartesian_prod(torch.arange(6), torch.arange(5)).T[:, :-4]
    values = torch.randn(len(users), generator=generator)
    some = Ratings(users, items, values, n_users=6, n_items=5)
    model = bias_baseline(some, lam=lam, sweeps=400)
    design = torch.cat(
        [nn.functional.one_hot(users, 6), nn.functional.one_hot(items, 5)], dim=1
    ).to(values.dtype)
    penalty = (lam / 2) ** 0.5 * torch.eye(11)
    solution = torch.linalg.lstsq(
        torch.cat([design, penalty]),
        torch.cat([values - values.mean(), torch.zeros(11)])[:, None],
        driver="gelsd",
    ).solution
    fitted = values.mean() + (design @ solution)[:, 0]
    torch.testing.assert_close(model(users, items).detach(), fitted)


def test_bias_baseline_leaves_users_and_items_without_ratings_at_the_mean(ratings):
    model = bias_baseline(ratings)
    assert model.U.embedding_dim == 1  # the factors are zeros: one is enough
    assert model.user_bias.weight[1] == 0
    assert torch.isfinite(model.item_bias.weight).all()


def test_a_fitted_model_is_saved_and_loaded_with_its_labels(tmp_path):
    frame = pd.DataFrame({"user": ["bob", "ann"], "item": [7, 9], "rating": [3.0, 4.5]})
    train = Ratings.from_frame(frame)
    model, _ = als(train, rank=2, lam=0.1, biases=True, mean=3.5, generator=seeded(0))
    path = tmp_path / "model.pt"
    labels = {side: getattr(model, side).tolist() for side in SIDES}
    torch.save({"rank": 2, "state": model.state_dict(), **labels}, path)

    saved = torch.load(path, weights_only=True)
    sizes = [len(saved[side]) for side in SIDES]
    again = MF(*sizes, saved["rank"], biases="user_bias.weight" in saved["state"])
    again.load_state_dict(saved["state"])
    for side in SIDES:
        setattr(again, side, pd.Index(saved[side]))

    assert rmse(again, train) == pytest.approx(rmse(model, train), rel=1e-12)
    assert again.user_labels.equals(train.user_labels)
    assert again.item_labels.equals(train.item_labels)
