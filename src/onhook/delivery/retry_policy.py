"""How often and when an event is tried. Pure: attempts and chance in, seconds out.

The policy `days` waits longer each time, three days in all, after which a person must look. The policy `original` is
what a PBX does: one to five tries, soon after each other (yeastar-p-series.md 4; how soon is not documented).
"""

from onhook.appdb.destination_spec import RetryPolicy

_MINUTE, _HOUR = 60, 3_600

DAYS_DELAYS_SECONDS = (5, 5 * _MINUTE, 30 * _MINUTE, *(hours * _HOUR for hours in (2, 5, 10, 14, 20, 24)))
"""The waits of the policy `days`: as Standard Webhooks advises."""

ORIGINAL_DELAY_SECONDS = 5
"""The wait of the policy `original`: as long as its usual time-out."""

JITTER = 0.1
"""Waits are longer or shorter by up to this share, so that what failed together does not come again together."""

RETRY_AFTER_SECONDS_MAX = 24 * _HOUR
"""An application that asks for more is asked again after a day."""

THROTTLE_SECONDS_MIN = 1.0
"""One that asks to be asked again at once is given a moment: else it would be asked thousands of times."""

THROTTLES_MAX = 20
"""Times in a row that an application may ask for time instead of taking one event. Then it counts as a failed attempt,
so that the event waits in a row: one that is never taken holds up no others."""

DISABLE_AFTER_SECONDS = 5 * 24 * _HOUR
"""An application that took nothing for so long of what was owed to it is given up."""


def retry_delay_seconds(retry_policy: RetryPolicy, max_attempts: int, attempts: int, jitter: float) -> float | None:
    """The wait after so many attempts, or None when no further one is due. `max_attempts` counts for `original` alone.

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
    """How long we stay away from an application that asked for so long."""
    return min(max(seconds, THROTTLE_SECONDS_MIN), RETRY_AFTER_SECONDS_MAX)
