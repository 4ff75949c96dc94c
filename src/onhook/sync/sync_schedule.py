"""Times of the sync cycles. Pure."""

FIRST_SYNC_DAYS = 31
"""The first cycle fetches the last month; a user can request more."""

SYNC_DAYS = 3
"""How far back gaps are filled automatically."""

HOUR_SECONDS = 3600
DAY_SECONDS = 86_400

NIGHTLY_OFFSET_SECONDS = 2 * 3600 + 30 * 60
"""After midnight UTC: whole days have ended nearly everywhere, and there are few calls."""

RETRY_SECONDS_FIRST = 30.0
RETRY_SECONDS_MAX = 1800.0
"""Wait after a failed cycle: doubles up to this. The push channel has its own waits."""


def pause_seconds(now: float, *, is_nightly: bool = False, failures: int = 0) -> float:
    """Return the seconds until the next cycle, or the next nightly one.

    >>> pause_seconds(0.0), pause_seconds(0.0, failures=2), pause_seconds(3600.0, is_nightly=True)
    (3600.0, 60.0, 5400.0)
    """
    if is_nightly:
        return (NIGHTLY_OFFSET_SECONDS - now) % DAY_SECONDS or DAY_SECONDS
    if failures:
        return min(RETRY_SECONDS_MAX, RETRY_SECONDS_FIRST * 2.0 ** (failures - 1))
    return float(HOUR_SECONDS)
