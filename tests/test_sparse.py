"""SparseRows and full_batch: products and Gram matrices against dense ones."""

import pytest
import torch

from mflib import make_low_rank_ratings, seeded
from mflib.sparse import both_sides


@pytest.fixture
def ratings():
    """Power-law counts, rows without ratings, and no order at all."""
    made, _ = make_low_rank_ratings(
        60, 40, 1, density=0.15, popularity="power-law", generator=seeded(0)
    )
    few = made.users % 7 > 0
    made = made.subset(few)
    return made.subset(torch.randperm(len(made), generator=seeded(1)))


def test_sorting_and_back(ratings):
    for side in both_sides(ratings, ratings.values):
        assert torch.equal(side.unsorted(side.values), ratings.values)
    by_user, by_item = both_sides(ratings, ratings.values)
    dense, _ = ratings.dense()
    assert torch.equal(by_user.matrix(by_user.values).to_dense(), dense)
    assert torch.equal(by_item.matrix(by_item.values).to_dense(), dense.T)


@pytest.mark.parametrize("chunk", [1, 30, 200, 2**20])
def test_gram_matrices_whatever_the_chunk(ratings, chunk):
    features = torch.randn(40, 3, generator=seeded(2))
    by_user, _ = both_sides(ratings, ratings.values)
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
    by_user, by_item = both_sides(ratings, ratings.values)
    for side, n_columns in ((by_user, 40), (by_item, 60)):
        for ids, columns in side.size_classes:
            present = columns < n_columns
            assert torch.equal(present.sum(1), side.counts[ids])
            assert (present.sum(1) > 2 / 3 * columns.shape[1]).all()
