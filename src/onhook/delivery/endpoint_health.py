"""Whether an application is there at all. Pure: what came of attempts in, how many may be made at once out.

Laws: an application that was not found some times in a row, with no answer in between, is down: then it is asked by one
attempt at a time, ever more rarely up to once a minute, and what is owed to it stays where it is instead of failing
event by event. The first answer ends this, also one that refuses: whoever answers is there, and what it refuses is that
event's own trouble. Nobody fails while nothing is owed. Moments are microseconds since 1970, UTC.
"""

import msgspec

from onhook.delivery.destinations.contract import DeliveryResult
from onhook.delivery.retry_policy import clamp_retry_after

DOWN_AFTER_FAILURES = 10
"""In a row: more than a restart or a lost connection comes to, as a rule."""

PROBE_SECONDS_FIRST = 5
PROBE_SECONDS_MAX = 60
"""Between two attempts at an application that is down, doubled each time: it is served again within a minute."""

_SECOND = 1_000_000


class EndpointHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How an application fares. Nobody asks it before `next_attempt_at`; it asked for that itself up to
    `throttled_until`."""

    failures: int = 0
    failing_since: int | None = None
    next_attempt_at: int = 0
    throttled_until: int = 0

    @property
    def is_down(self) -> bool:
        """Whether it seems not to be there."""
        return self.failures >= DOWN_AFTER_FAILURES

    def attempts_allowed(self, maximum: int, now_us: int) -> int:
        """How many attempts may be under way at once."""
        if now_us < self.next_attempt_at:
            return 0
        return 1 if self.is_down else maximum

    def with_result(self, result: DeliveryResult, now_us: int) -> "EndpointHealth":
        """How it fares after one more attempt."""
        # What was under way beside one that was told to wait ends no wait.
        throttled_until = self.throttled_until if self.throttled_until > now_us else 0
        if result.outcome == "accepted":
            return EndpointHealth(next_attempt_at=throttled_until, throttled_until=throttled_until)
        failing_since = now_us if self.failing_since is None else self.failing_since
        if result.outcome == "rejected":
            return EndpointHealth(
                failing_since=failing_since, next_attempt_at=throttled_until, throttled_until=throttled_until
            )
        if result.outcome == "throttled":
            throttled_until = max(
                throttled_until, now_us + round(clamp_retry_after(result.retry_after_seconds or 0) * _SECOND)
            )
            next_attempt_at = max(self.next_attempt_at, throttled_until)
            return EndpointHealth(
                failures=self.failures,
                failing_since=failing_since,
                next_attempt_at=next_attempt_at,
                throttled_until=throttled_until,
            )
        if now_us < self.next_attempt_at:
            # It was under way beside the one that began this pause, and tells nothing new.
            return self
        failures = self.failures + 1
        return EndpointHealth(
            failures=failures, failing_since=failing_since, next_attempt_at=now_us + _probe_seconds(failures) * _SECOND
        )

    def when_idle(self) -> "EndpointHealth":
        """How it fares when nothing is owed to it: just so, but no longer failing."""
        return self if self.failing_since is None else msgspec.structs.replace(self, failing_since=None)


def initial_health(failing_since: int | None, throttled_until: int) -> EndpointHealth:
    """How an application fares when we begin: one that was failing is asked by one attempt at first, and one that asked
    for time is given what is left of it."""
    failures = 0 if failing_since is None else DOWN_AFTER_FAILURES
    return EndpointHealth(
        failures=failures, failing_since=failing_since, next_attempt_at=throttled_until, throttled_until=throttled_until
    )


def _probe_seconds(failures: int) -> int:
    extra_failures = failures - DOWN_AFTER_FAILURES
    return 0 if extra_failures < 0 else min(PROBE_SECONDS_FIRST << min(extra_failures, 10), PROBE_SECONDS_MAX)
