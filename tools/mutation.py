"""Print the mutation score that mutmut has measured, and fail if it is too low.

The score is the share of the changes to mflib that made a test fail. A change that no
test runs counts as one that no test saw.

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
    return int(score < AIM)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
