"""Moments at which waits end together: a process that is idle then wakes up once for all of them."""


def seconds_until_tick(now: float, interval_seconds: float) -> float:
    """Return the seconds until the next multiple of the interval, at least a tenth of the interval.

    >>> seconds_until_tick(10.25, 1.0), seconds_until_tick(11.0, 1.0)
    (0.75, 1.0)
    """
    remaining_seconds = interval_seconds - now % interval_seconds
    return remaining_seconds if remaining_seconds >= interval_seconds / 10 else remaining_seconds + interval_seconds
