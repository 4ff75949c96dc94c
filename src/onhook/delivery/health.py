"""Whether an application is there at all. Pure: what came of attempts in, how many may be made at once out.

Laws: an application that was not found some times in a row, with no answer in between, is down: then it is asked by one
attempt at a time, ever more rarely up to once a minute, and what is owed to it stays where it is instead of failing
event by event. The first answer ends this, also one that refuses: whoever answers is there, and what it refuses is that
event's own trouble. Moments are microseconds since 1970, UTC.
"""

import msgspec

from onhook.delivery.schedule import heeded_seconds
from onhook.sinks.sink import Answer

DOWN_AFTER_FAILURES = 10
"""In a row: more than a restart or a lost connection comes to, as a rule."""

PROBE_SECONDS_FIRST = 5
PROBE_SECONDS_MAX = 60
"""Between two attempts at an application that is down, doubled each time: it is served again within a minute."""

_SECOND = 1_000_000


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How an application fares. Nobody asks it before `not_before`."""

    failures: int = 0
    failing_since: int | None = None
    not_before: int = 0

    @property
    def is_down(self) -> bool:
        """Whether it seems not to be there."""
        return self.failures >= DOWN_AFTER_FAILURES

    def places(self, most: int, at: int) -> int:
        """How many attempts may be under way at once."""
        if at < self.not_before:
            return 0
        return 1 if self.is_down else most

    def after(self, answer: Answer, at: int) -> "Health":
        """How it fares after one more attempt."""
        if answer.verdict == "taken":
            # What was under way beside one that was told to wait ends no wait.
            return Health(not_before=self.not_before if self.not_before > at else 0)
        since = at if self.failing_since is None else self.failing_since
        if answer.verdict == "busy":
            asked = round(heeded_seconds(answer.retry_after_seconds or 0) * _SECOND)
            return Health(failures=self.failures, failing_since=since, not_before=max(self.not_before, at + asked))
        if answer.verdict == "refused":
            return Health(failing_since=since)
        if at < self.not_before:
            # It was under way beside the one that began this pause, and tells nothing new.
            return self
        failures = self.failures + 1
        return Health(failures=failures, failing_since=since, not_before=at + _probe_seconds(failures) * _SECOND)


def health_of(failing_since: int | None) -> Health:
    """How an application fares when we begin: one that was failing is asked by one attempt at first."""
    return Health() if failing_since is None else Health(failures=DOWN_AFTER_FAILURES, failing_since=failing_since)


def _probe_seconds(failures: int) -> int:
    beyond = failures - DOWN_AFTER_FAILURES
    return 0 if beyond < 0 else min(PROBE_SECONDS_FIRST << min(beyond, 10), PROBE_SECONDS_MAX)
