"""Reachability of an endpoint. Pure: results of attempts in, allowed concurrent attempts out.

Invariants: an endpoint without any response for some attempts in a row is down: then there is one attempt at a time, at
growing intervals up to a minute, and pending notifications stay pending instead of failing one by one. The first
response ends this, also a rejection: an endpoint that answers is reachable, and the rejection counts against that
notification only. An endpoint without pending notifications is not failing. Times are microseconds since 1970, UTC;
a clock that is set back lengthens no wait beyond the longest of its kind.
"""

import msgspec

from onhook.delivery.destinations.contract import DeliveryResult
from onhook.delivery.retry_policy import DISABLE_AFTER_SECONDS, RETRY_AFTER_SECONDS_MAX, clamp_retry_after
from onhook.lib.backoff import delay_seconds
from onhook.lib.messages import _

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

    def wait_microseconds(self, now_us: int) -> int:
        """Return for how long there is no attempt: 0 where the end is farther away than any wait is long, because the
        clock was set back.
        """
        wait_us = self.next_attempt_at - now_us
        is_throttled = self.next_attempt_at <= self.throttled_until
        longest_seconds = RETRY_AFTER_SECONDS_MAX if is_throttled else PROBE_SECONDS_MAX
        return wait_us if 0 < wait_us <= longest_seconds * _SECOND else 0

    def attempts_allowed(self, maximum: int, now_us: int) -> int:
        """Return how many attempts may run concurrently."""
        if self.wait_microseconds(now_us):
            return 0
        return 1 if self.is_down else maximum

    def with_result(self, result: DeliveryResult, now_us: int) -> "EndpointHealth":
        """Return the health after one more attempt."""
        if result.outcome == "accepted":
            return self._with_response(None, now_us)
        failing_since = now_us if self.failing_since is None else min(self.failing_since, now_us)
        if result.outcome == "rejected":
            return self._with_response(failing_since, now_us)
        if result.outcome == "throttled":
            return self._with_throttling(result.retry_after_seconds or 0, failing_since, now_us)
        return self._with_failure(failing_since, now_us)

    def when_idle(self) -> "EndpointHealth":
        """Return the health without pending notifications: not failing."""
        return self if self.failing_since is None else msgspec.structs.replace(self, failing_since=None)

    def _with_response(self, failing_since: int | None, now_us: int) -> "EndpointHealth":
        # The result of an attempt beside a throttled one does not end the wait.
        throttled_until = self._throttled_until(now_us)
        return EndpointHealth(
            failing_since=failing_since, next_attempt_at=throttled_until, throttled_until=throttled_until
        )

    def _with_throttling(self, retry_after_seconds: float, failing_since: int, now_us: int) -> "EndpointHealth":
        requested_until = now_us + round(clamp_retry_after(retry_after_seconds) * _SECOND)
        throttled_until = max(self._throttled_until(now_us), requested_until)
        return EndpointHealth(
            failures=self.failures,
            failing_since=failing_since,
            next_attempt_at=max(now_us + self.wait_microseconds(now_us), throttled_until),
            throttled_until=throttled_until,
        )

    def _with_failure(self, failing_since: int, now_us: int) -> "EndpointHealth":
        if self.wait_microseconds(now_us):
            # This attempt ran beside the one that began the pause, and adds no information.
            return self
        failures = self.failures + 1
        next_attempt_at = now_us + round(_probe_seconds(failures) * _SECOND)
        return EndpointHealth(failures=failures, failing_since=failing_since, next_attempt_at=next_attempt_at)

    def _throttled_until(self, now_us: int) -> int:
        is_future = 0 < self.throttled_until - now_us <= RETRY_AFTER_SECONDS_MAX * _SECOND
        return self.throttled_until if is_future else 0


class EndpointState(msgspec.Struct):
    """Health of an endpoint as of the last result, and why the destination is to be disabled, or an empty text."""

    health: EndpointHealth
    disable_reason: str = ""

    def attempts_allowed(self, maximum: int, now_us: int) -> int:
        """Return how many attempts may run concurrently: none for a destination that is to be disabled."""
        return 0 if self.disable_reason else self.health.attempts_allowed(maximum, now_us)

    def record_result(self, result: DeliveryResult, now_us: int) -> bool:
        """Add the result of an attempt. Return whether an endpoint that was down is reachable again."""
        was_down = self.health.is_down
        self.health = self.health.with_result(result, now_us)
        self.disable_reason = find_disable_reason(self.health, result, now_us) or self.disable_reason
        return was_down and not self.health.is_down


def initial_health(failing_since: int | None, throttled_until: int) -> EndpointHealth:
    """Return the health at the start: an endpoint that was failing begins with one attempt, and one that requested a
    delay is left alone for the rest of that time.
    """
    failures = 0 if failing_since is None else DOWN_AFTER_FAILURES
    return EndpointHealth(
        failures=failures, failing_since=failing_since, next_attempt_at=throttled_until, throttled_until=throttled_until
    )


def find_disable_reason(health: EndpointHealth, result: DeliveryResult, now_us: int) -> str:
    """Return why the destination is to be disabled after this result, or an empty text. `health` includes the
    result.
    """
    if result.outcome == "gone":
        return _("the endpoint requested no further notifications: {result}", result=result.detail)
    if health.failing_since is None or now_us - health.failing_since <= DISABLE_AFTER_SECONDS * _SECOND:
        return ""
    days = DISABLE_AFTER_SECONDS // 86_400
    return _("the endpoint accepted nothing for {days} days; last attempt: {result}", days=days, result=result.detail)


def _probe_seconds(failures: int) -> float:
    if failures < DOWN_AFTER_FAILURES:
        return 0.0
    return delay_seconds(failures - DOWN_AFTER_FAILURES + 1, first=PROBE_SECONDS_FIRST, maximum=PROBE_SECONDS_MAX)
