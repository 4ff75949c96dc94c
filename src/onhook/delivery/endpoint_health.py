"""Reachability of an endpoint. Pure: results of attempts in, allowed concurrent attempts out.

Invariants: an endpoint without any response for some attempts in a row is down: then there is one attempt at a time, at
growing intervals up to a minute, and pending notifications stay pending instead of failing one by one. The first
response ends this, also a rejection: an endpoint that answers is reachable, and the rejection counts against that
notification only. An endpoint without pending notifications is not failing. Times are microseconds since 1970, UTC.
"""

import msgspec

from onhook.delivery.destinations.contract import DeliveryResult
from onhook.delivery.retry_policy import clamp_retry_after

DOWN_AFTER_FAILURES = 10
"""In a row: more than a restart or a lost connection usually costs."""

PROBE_SECONDS_FIRST = 5
PROBE_SECONDS_MAX = 60
"""Wait between two attempts while the endpoint is down, doubled each time: it is served again within a minute."""

_SECOND = 1_000_000


class EndpointHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Health of an endpoint. There is no attempt before `next_attempt_at`; up to `throttled_until` the endpoint asked
    to wait.
    """

    failures: int = 0
    failing_since: int | None = None
    next_attempt_at: int = 0
    throttled_until: int = 0

    @property
    def is_down(self) -> bool:
        """Return whether the endpoint seems unreachable."""
        return self.failures >= DOWN_AFTER_FAILURES

    def attempts_allowed(self, maximum: int, now_us: int) -> int:
        """Return how many attempts may run concurrently."""
        if now_us < self.next_attempt_at:
            return 0
        return 1 if self.is_down else maximum

    def with_result(self, result: DeliveryResult, now_us: int) -> "EndpointHealth":
        """Return the health after one more attempt."""
        # The result of an attempt beside a throttled one does not end the wait.
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
            # This attempt ran beside the one that began the pause, and adds no information.
            return self
        failures = self.failures + 1
        return EndpointHealth(
            failures=failures, failing_since=failing_since, next_attempt_at=now_us + _probe_seconds(failures) * _SECOND
        )

    def when_idle(self) -> "EndpointHealth":
        """Return the health without pending notifications: not failing."""
        return self if self.failing_since is None else msgspec.structs.replace(self, failing_since=None)


def initial_health(failing_since: int | None, throttled_until: int) -> EndpointHealth:
    """Return the health at the start: an endpoint that was failing begins with one attempt, and one that asked to wait
    is left alone for the rest of that time.
    """
    failures = 0 if failing_since is None else DOWN_AFTER_FAILURES
    return EndpointHealth(
        failures=failures, failing_since=failing_since, next_attempt_at=throttled_until, throttled_until=throttled_until
    )


def _probe_seconds(failures: int) -> int:
    extra_failures = failures - DOWN_AFTER_FAILURES
    return 0 if extra_failures < 0 else min(PROBE_SECONDS_FIRST << min(extra_failures, 10), PROBE_SECONDS_MAX)
