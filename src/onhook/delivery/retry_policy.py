"""Retry policy: the wait before each attempt. Pure: attempts and jitter in, seconds out.

The policy `days` waits longer each time, three days in all; then the delivery has failed. The policy `original` is that
of a PBX: one to five attempts in quick succession (yeastar-p-series.md 4; the interval is not documented).
"""

from onhook.appdb.destination_spec import RetryPolicy

_MINUTE, _HOUR = 60, 3_600

DAYS_DELAYS_SECONDS = (5, 5 * _MINUTE, 30 * _MINUTE, *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)))
"""Waits of the policy `days`: those that Standard Webhooks recommends."""

ORIGINAL_DELAY_SECONDS = 5
"""Wait of the policy `original`: its usual time-out."""

JITTER = 0.1
"""Waits vary by up to this share, so that notifications that failed together are not retried together."""

RETRY_AFTER_SECONDS_MAX = 24 * _HOUR
"""Longest wait that an endpoint can ask for."""

THROTTLE_SECONDS_MIN = 1.0
"""Shortest wait that an endpoint can ask for: without it, one that asks for none would be sent
thousands of requests.
"""

THROTTLES_MAX = 20
"""Times in a row that an endpoint may request a delay of one notification. After that it counts as a failed attempt, so
that the notification becomes a delivery and delays no others.
"""

DISABLE_AFTER_SECONDS = 5 * 24 * _HOUR
"""A destination that accepted none of its pending notifications for this long is disabled."""


def retry_delay_seconds(retry_policy: RetryPolicy, max_attempts: int, attempts: int, jitter: float) -> float | None:
    """Return the wait after a number of attempts, or None when there is no further one. `max_attempts` applies to
    `original` only.

    `jitter` is from 0 to 1.

    >>> [retry_delay_seconds("days", 0, attempts, 0.5) for attempts in (1, 2, 9, 10)]
    [5.0, 300.0, 86400.0, None]
    >>> [retry_delay_seconds("original", 2, attempts, 0.5) for attempts in (1, 2)]
    [5.0, None]
    """
    delays = DAYS_DELAYS_SECONDS if retry_policy == "days" else (ORIGINAL_DELAY_SECONDS,) * (max_attempts - 1)
    if attempts > len(delays):
        return None
    return delays[attempts - 1] * (1 + JITTER * (2 * jitter - 1))


def clamp_retry_after(seconds: float) -> float:
    """Return the wait for an endpoint that asked for so many seconds."""
    return min(max(seconds, THROTTLE_SECONDS_MIN), RETRY_AFTER_SECONDS_MAX)
