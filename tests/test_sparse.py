"""CSR and full_batch: products and Gram matrices against dense ones."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from mflib import MF, als, fit, gibbs, make_low_rank_ratings, rmse, seeded
from mflib.full_batch import full_batch
from mflib.sparse import SparseRatings


@pytest.fixture
def ratings():
    """Power-law counts, rows without ratings, and no order at all."""
    made, _ = make_low_rank_ratings(
        60, 40, 1, density=0.15, popularity="power-law", generator=seeded(0)
    )
    few = made.users % 7 > 0
    made = made.subset(few)
    return made.subset(torch.randperm(len(made), generator=seeded(1)))


def both_sides(ratings):
    data = SparseRatings(ratings, rank=1, biases=False, mean=0.0)
    return data.by_user, data.by_item


def test_sorting_and_back(ratings):
    for side in both_sides(ratings):
        assert torch.equal(side.unsorted(side.values), ratings.values)
    by_user, by_item = both_sides(ratings)
    dense, _ = ratings.dense()
    assert torch.equal(by_user.matrix(by_user.values).to_dense(), dense)
    assert torch.equal(by_item.matrix(by_item.values).to_dense(), dense.T)


@pytest.mark.parametrize("chunk", [1, 30, 200, 2**20])
def test_gram_matrices_whatever_the_chunk(ratings, chunk):
    features = torch.randn(40, 3, generator=seeded(2))
    by_user, _ = both_sides(ratings)
    _, mask = ratings.dense()
    seen = []
    for ids, gram in by_user.grams(features, chunk):
        expected = (features.T * mask[ids, None, :]) @ features
        torch.testing.assert_close(gram, expected, rtol=0, atol=1e-12)
        assert gram.numel() <= chunk or len(ids) == 1
        seen.append(ids)
    assert torch.equal(torch.cat(seen).sort().values, by_user.counts.nonzero()[:, 0])
    assert (by_user.counts == 0).any()


def test_padding_is_less_than_a_third(ratings):
    by_user, by_item = both_sides(ratings)
    for side, n_columns in ((by_user, 40), (by_item, 60)):
        for ids, columns in side.size_classes:
            present = columns < n_columns
            assert torch.equal(present.sum(1), side.counts[ids])
            assert (present.sum(1) > 2 / 3 * columns.shape[1]).all()


def pair(ratings, **changes):
    """Two equal models, biases and all."""
    models = []
    for _ in range(2):
        model = MF(ratings.n_users, ratings.n_items, rank=3, **changes)
        for p in model.parameters():
            nn.init.normal_(p, std=0.3, generator=seeded(4))
        models.append(model)
    return models


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.L1Loss(), nn.SmoothL1Loss()])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.5, momentum=0.9, weight_decay=1e-3),
        lambda p: torch.optim.Adam(p, lr=0.02, weight_decay=1e-3),
    ],
)
def test_fit_gives_the_numbers_of_the_plain_loop(ratings, biases, criterion, optimizer):
    plain, model = pair(ratings, biases=biases, mean=0.7)
    steps, errors = optimizer(plain.parameters()), [rmse(plain, ratings)]
    for _ in range(10):
        steps.zero_grad()
        criterion(plain(ratings.users, ratings.items), ratings.values).backward()
        steps.step()
        errors.append(rmse(plain, ratings))
    assert full_batch(model, ratings) is not None
    again = {"optimizer": optimizer(model.parameters()), "criterion": criterion}
    history = fit(model, ratings, epochs=10, **again)
    for mine, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)
    assert history["train"].to_list() == pytest.approx(errors, rel=1e-12)


def test_predictions_come_in_the_order_of_the_triples(ratings):
    model, _ = pair(ratings, biases=True, mean=2.0)
    weights = torch.rand(len(ratings), generator=seeded(5))  # differ by rating
    fast, plain = full_batch(model, ratings)(), model(ratings.users, ratings.items)
    torch.testing.assert_close(fast, plain, rtol=0, atol=1e-12)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(weights @ fast.square(), parameters)
    theirs = torch.autograd.grad(weights @ plain.square(), parameters)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_only_plain_models_take_the_fast_path(ratings):
    class Other(MF):
        pass

    def model():
        return MF(60, 40, 2)

    hooked, inner, own = model(), model(), model()
    hooked.register_forward_hook(lambda *_: None)
    inner.U.register_forward_pre_hook(lambda *_: None)
    own.forward = lambda users, items: own.mean + torch.zeros(len(users))
    scattered, bounded = model(), model()
    scattered.U = nn.Embedding(60, 2, sparse=True)
    bounded.V = nn.Embedding(40, 2, max_norm=1.0)
    replaced = model()
    replaced.U = nn.Sequential(nn.Embedding(60, 2))
    for other in (Other(60, 40, 2), nn.Linear(2, 1), model().to(torch.bfloat16)):
        assert full_batch(other, ratings) is None
    for other in (hooked, inner, own, scattered, bounded, replaced):
        assert full_batch(other, ratings) is None
    assert full_batch(model(), ratings) is not None
    assert full_batch(model().float(), ratings)().dtype == torch.float32


def test_one_or_two_threads_give_the_same_digits(ratings):
    made, _ = make_low_rank_ratings(
        3000, 1000, 3, density=0.05, popularity="power-law", generator=seeded(0)
    )
    threads, results = torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            model, _ = pair(made)
            adam = torch.optim.Adam(model.parameters(), lr=0.02)
            trained = fit(model, made, optimizer=adam, epochs=5)
            _, solved = als(made, rank=4, lam=2.0, sweeps=3, generator=seeded(1))
            _, drawn = gibbs(made, rank=4, samples=2, burn_in=1, generator=seeded(1))
            results.append(pd.concat([trained, solved, drawn]).to_numpy())
    finally:
        torch.set_num_threads(threads)
    np.testing.assert_allclose(*results, rtol=1e-9)
