"""Totals of a summary, for the figures at the top of a page."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from onhook.lib.messages import _

_SUMS = (
    "calls",
    "answered",
    "missed",
    "voicemail",
    "busy",
    "no_answer",
    "abandoned",
    "failed",
    "talk_duration",
    "wait_duration",
)


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """Counts of calls; durations in seconds, None where they are unknown."""

    calls: int = 0
    answered: int = 0
    missed: int = 0
    voicemail: int = 0
    busy: int = 0
    no_answer: int = 0
    abandoned: int = 0
    failed: int = 0
    talk_duration: int | None = None
    wait_duration: int | None = None

    @property
    def missed_by_outcome(self) -> list[tuple[str, str, int]]:
        """Return the outcomes of missed calls that occurred, those of all other statuses last: text, value of the
        filter `status`, count.
        """
        known_outcomes = [
            (_("no answer"), "NO ANSWER", self.no_answer),
            (_("busy"), "BUSY", self.busy),
            (_("abandoned"), "ABANDONED", self.abandoned),
            (_("failed"), "FAILED", self.failed),
            (_("voicemail"), "VOICEMAIL", self.voicemail),
        ]
        other_statuses = "!" + ",".join(("ANSWERED", *(status for _text, status, _count in known_outcomes)))
        other_count = self.missed - sum(count for _text, _status, count in known_outcomes)
        return [outcome for outcome in (*known_outcomes, (_("other"), other_statuses, other_count)) if outcome[2] > 0]


def add_up(rows: Sequence[Mapping[str, Any]]) -> Totals:
    """Return the sum of the rows of a summary."""
    sums: dict[str, int] = {}
    for row in rows:
        for name in _SUMS:
            if row[name] is not None:
                sums[name] = sums.get(name, 0) + int(row[name])
    return Totals(**sums)
