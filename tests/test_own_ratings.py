"""The MovieLens chapter runs from top to bottom on any ratings, its exercises too."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from tools.chapters import execute, read

CHAPTER = Path(__file__).parents[1] / "chapters" / "07-movielens.ipynb"
COLUMNS = ("userId", "movieId", "rating")


def some(n_users, n_items, density, ratings, *, popularity=0.0):
    """A table in which item j is rated as often as (j + 1) ** -popularity says."""
    rng = np.random.default_rng(0)
    often = np.arange(1, n_items + 1) ** -popularity
    known = rng.random((n_users, n_items)) < density * often / often.mean()
    users, items = known.nonzero()
    taste = rng.normal(size=(n_users, 2)) @ rng.normal(size=(2, n_items))
    liking = taste[users, items] + 0.5 * rng.normal(size=len(users))
    # The place of each liking among all of them, from 0 to 1, says which rating it is.
    place = liking.argsort().argsort() / len(liking)
    values = np.asarray(ratings)[(place * len(ratings)).astype(int)]
    return pd.DataFrame({"userId": users, "movieId": items, "rating": values})


def small_dense_and_continuous():
    """A class that has rated every joke with a slider: hardly two values are equal."""
    return some(12, 8, 1.0, np.linspace(-10, 10, 1999).round(2)), COLUMNS


def korean_with_times():
    """Text to escape, times, a long tail, people with hardly any ratings."""
    table = some(60, 90, 0.06, [1, 2, 3, 4, 5], popularity=0.7)
    time = np.random.default_rng(1).integers(1_600_000_000, 1_700_000_000, len(table))
    korean = pd.DataFrame(
        {
            "사람": "회원-" + table["userId"].astype(str),
            "영화": "영화 $" + table["movieId"].astype(str) + "_$",
            "별점": table["rating"],
            "시각": time,
        }
    )
    return korean, tuple(korean)


@pytest.mark.parametrize("make", [small_dense_and_continuous, korean_with_times])
def test_the_chapter_runs_on(make, tmp_path, monkeypatch) -> None:
    table, columns = make()
    table.to_csv(tmp_path / "ratings.csv", index=False)
    notebook = read(CHAPTER)
    (cell,) = (c for c in notebook.cells if c.source.startswith("SOURCE = "))
    _, _, rest = cell.source.split("\n", 2)
    cell.source = f"SOURCE = 'ratings.csv'\nCOLUMNS = {columns}\n{rest}"
    chapter = tmp_path / CHAPTER.name
    chapter.write_text(nbformat.writes(notebook), encoding="utf-8")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    chapter.write_bytes(execute(chapter, timeout=120))  # raises where a cell stops

    shown = "\n".join(texts(chapter))
    assert f"{len(table):,} ratings" in shown
    assert not re.search(r"\bnan\b", shown, re.IGNORECASE)
    assert ("after a date" in shown) == (len(columns) == 4)


def texts(path: Path):
    for cell in read(path).cells:
        for output in cell.get("outputs", []):
            yield output.get("text", "")
            yield output.get("data", {}).get("text/plain", "")
