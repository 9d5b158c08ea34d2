"""The chapter on the prior computes R-hat and effective sample sizes as ArviZ does."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from tools.chapters import read

CHAPTER = Path(__file__).parents[1] / "chapters" / "05-gaussian-prior.ipynb"

# By arviz-stats 0.8.0: rhat(method="rank") and ess(method="bulk"), array_stats
BY_ARVIZ = {
    "alike": (1.0034929070054268, 702.9854484193356),
    "slow": (1.0579401171458873, 111.34672454235634),
    "apart": (1.2047737772475173, 17.46522912749694),
    "wide": (1.200844382860009, 592.0967772998367),
}


def uniform(n: int) -> np.ndarray:
    """Numbers between 0 and 1, the same with every version of every library."""
    state, found = 1, []
    for _ in range(n):
        state = (1664525 * state + 1013904223) % 2**32
        found.append((state + 0.5) / 2**32)
    return np.array(found)


def four_chains() -> dict[str, np.ndarray]:
    alike = ndtri(uniform(800)).reshape(4, 200)
    slow = alike.copy()
    for t in range(1, 200):
        slow[:, t] += 0.8 * slow[:, t - 1]
    return {
        "alike": alike,
        "slow": slow,
        "apart": slow + np.arange(4)[:, None],
        "wide": alike * np.array([[1], [1], [1], [4]]),
    }


@pytest.fixture(scope="module")
def chapter() -> dict:
    names = {"np": np}
    for cell in read(CHAPTER).cells:
        if cell.cell_type == "code" and (
            "def r_hat(" in cell.source or "def effective_sample_size(" in cell.source
        ):
            exec(cell.source, names)  # noqa: S102
    return names


@pytest.mark.parametrize("name", BY_ARVIZ)
def test_r_hat_is_that_of_arviz(chapter, name) -> None:
    r_hat, _ = BY_ARVIZ[name]
    assert chapter["r_hat"](four_chains()[name]) == pytest.approx(r_hat, abs=1e-9)


# ArviZ adds half of a pair of autocorrelations more: seen where chains disagree.
@pytest.mark.parametrize(
    ("name", "room"), [("alike", 1e-9), ("slow", 1e-9), ("apart", 0.1), ("wide", 0.1)]
)
def test_effective_sample_size_is_that_of_arviz(chapter, name, room) -> None:
    _, size = BY_ARVIZ[name]
    found = chapter["effective_sample_size"](four_chains()[name])
    assert found == pytest.approx(size, rel=room)
