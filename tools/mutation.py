"""Print the mutation score that mutmut has measured, and fail if it is too low.

The score is the share of the changes to mflib that made a test fail. A change that no
test runs fails by itself: then a file of tests is missing from mutmut's selection.

    python -m tools.mutation mutants/mutmut-cicd-stats.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

AIM = 0.85


def main(arguments: list[str]) -> int:
    (path,) = arguments
    counts = json.loads(Path(path).read_text(encoding="utf-8"))
    made = counts["total"] - counts["skipped"]
    seen = counts["killed"] + counts["timeout"]  # a loop without end is seen too
    score = seen / made if made else 0.0
    print(f"The tests saw {seen:,} of {made:,} changes: {score:.1%} (aim {AIM:.0%})")
    if unrun := counts["no_tests"]:
        print(f"No test ran {unrun:,} of them: add its file to pyproject.toml's list")
    return int(score < AIM or unrun > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
