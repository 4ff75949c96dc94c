"""Print the score of the last `mutmut run`, and fail below the minimum."""

import json
import sys
from pathlib import Path
from typing import Final

STATS_FILE: Final = Path("mutants/mutmut-cicd-stats.json")
"""Written by `mutmut export-cicd-stats`."""

SCORE_MIN: Final = 85.0
"""Per cent of the mutants that the tests detect."""


def read_score(text: str) -> float:
    """Return the detected mutants in per cent. Raises `ValueError` without mutants, or after an interrupted run.

    >>> read_score('{"killed": 17, "timeout": 1, "survived": 2, "total": 20, "check_was_interrupted_by_user": 0}')
    90.0
    """
    stats: dict[str, int] = json.loads(text)
    if not stats["total"] or stats["check_was_interrupted_by_user"]:
        raise ValueError("the run is not complete: run `make mutate` again")
    return 100.0 * (stats["killed"] + stats["timeout"]) / stats["total"]


def main() -> int:
    """Print the score; return the exit code."""
    score = read_score(STATS_FILE.read_text("utf-8"))
    sys.stdout.write(f"Mutation score {score:.1f} % (at least {SCORE_MIN:.1f} %)\n")
    return 0 if score >= SCORE_MIN else 1


if __name__ == "__main__":
    sys.exit(main())
