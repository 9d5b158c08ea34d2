"""``tools/mutation.py``: a score below the aim fails."""

import json
from pathlib import Path

import pytest

from tools import mutation


@pytest.mark.parametrize(
    ("counts", "status", "score"),
    [
        ({"killed": 84, "timeout": 1, "total": 100}, 0, "85.0%"),
        ({"killed": 84, "timeout": 0, "total": 100}, 1, "84.0%"),
        ({"killed": 84, "timeout": 0, "total": 101, "skipped": 3}, 0, "85.7%"),
        ({"killed": 0, "timeout": 0, "total": 0}, 1, "0.0%"),
    ],
)
def test_the_score_is_the_share_of_changes_that_failed(
    tmp_path: Path, capsys, counts: dict[str, int], status: int, score: str
) -> None:
    path = tmp_path / "stats.json"
    path.write_text(json.dumps({"skipped": 0, **counts}), encoding="utf-8")
    assert mutation.main([str(path)]) == status
    assert score in capsys.readouterr().out
