"""``tools/mutation.py``: a score below the aim fails."""

import json
import tomllib
from pathlib import Path

import pytest

from tools import mutation

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("counts", "status", "words"),
    [
        ({"killed": 84, "timeout": 1, "total": 100}, 0, "85.0%"),
        ({"killed": 84, "timeout": 0, "total": 100}, 1, "84.0%"),
        ({"killed": 84, "timeout": 0, "total": 101, "skipped": 3}, 0, "85.7%"),
        ({"killed": 0, "timeout": 0, "total": 0}, 1, "0.0%"),
        ({"killed": 99, "timeout": 0, "total": 100, "no_tests": 1}, 1, "No test ran 1"),
    ],
)
def test_the_score_is_the_share_of_changes_that_failed(
    tmp_path: Path, capsys, counts: dict[str, int], status: int, words: str
) -> None:
    path = tmp_path / "stats.json"
    path.write_text(
        json.dumps({"skipped": 0, "no_tests": 0, **counts}), encoding="utf-8"
    )
    assert mutation.main([str(path)]) == status
    assert words in capsys.readouterr().out


def test_no_test_that_mutmut_runs_looks_at_frames() -> None:
    # Each function that mutmut changes is called through one more.
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    files = pyproject["tool"]["mutmut"]["pytest_add_cli_args_test_selection"]
    looking = [
        f for f in files if "filename == __file__" in (ROOT / f).read_text("utf-8")
    ]
    assert not looking
