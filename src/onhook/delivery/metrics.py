"""Counters of attempts since the start, and the lag of notifications, for `/metrics`."""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Sequence
from math import ceil

from onhook.delivery.destinations.contract import Outcome

LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the buckets: Prometheus' defaults."""

LAG_BUCKETS_SECONDS = (0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 43_200.0, 259_200.0)
"""Upper ends of the buckets: from a call that was sent at once to one that was retried for three days."""

LAGS_MAX = 1_000
"""The newest lags, of which quantiles are computed: a thousand make the 99th of a hundred one of ten."""


class Histogram:
    """Counts of durations by their length."""

    def __init__(self, buckets_seconds: Sequence[float]) -> None:
        self.total_seconds = 0.0
        self._buckets_seconds = buckets_seconds
        self._counts = [0] * (len(buckets_seconds) + 1)

    def record(self, seconds: float) -> None:
        """Count one duration."""
        self.total_seconds += seconds
        self._counts[bisect_left(self._buckets_seconds, seconds)] += 1

    def cumulative_buckets(self) -> list[tuple[str, int]]:
        """Return the number of durations up to each end, by Prometheus' `le`."""
        cumulative_counts, total = [], 0
        for upper, count in zip((*map(str, self._buckets_seconds), "+Inf"), self._counts, strict=True):
            total += count
            cumulative_counts.append((upper, total))
        return cumulative_counts


class AttemptMetrics:
    """Attempts of one destination, by result and by duration, and lags of its notifications: the time from the end of a
    call to its acceptance.
    """

    def __init__(self) -> None:
        self.attempts: Counter[Outcome] = Counter()
        self.durations = Histogram(LATENCY_BUCKETS_SECONDS)
        self.lags = Histogram(LAG_BUCKETS_SECONDS)
        self._newest_lags: deque[float] = deque(maxlen=LAGS_MAX)

    def record_attempt(self, outcome: Outcome, seconds: float) -> None:
        """Count one attempt."""
        self.attempts[outcome] += 1
        self.durations.record(seconds)

    def record_lag(self, seconds: float) -> None:
        """Count the lag of a notification; the clock of its PBX may be ahead of this machine's."""
        self.lags.record(max(0.0, seconds))
        self._newest_lags.append(max(0.0, seconds))

    def lag_quantile(self, quantile: float) -> float | None:
        """Return a quantile of the newest lags, by the nearest rank; None without one."""
        lags = sorted(self._newest_lags)
        return lags[max(0, ceil(quantile * len(lags)) - 1)] if lags else None
