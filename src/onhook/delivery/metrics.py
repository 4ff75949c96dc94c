"""Counters of attempts since the start, for `/metrics`."""

from bisect import bisect_left
from collections import Counter

from onhook.delivery.destinations.contract import Outcome

LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper ends of the buckets: Prometheus' defaults."""


class AttemptMetrics:
    """Attempts of one destination: by result, and by duration."""

    def __init__(self) -> None:
        self.attempts: Counter[Outcome] = Counter()
        self.total_seconds = 0.0
        self._buckets = [0] * (len(LATENCY_BUCKETS_SECONDS) + 1)

    def record_attempt(self, outcome: Outcome, seconds: float) -> None:
        """Count one attempt."""
        self.attempts[outcome] += 1
        self.total_seconds += seconds
        self._buckets[bisect_left(LATENCY_BUCKETS_SECONDS, seconds)] += 1

    def cumulative_buckets(self) -> list[tuple[str, int]]:
        """Return the number of attempts up to each duration, by Prometheus' `le`."""
        cumulative_counts, total = [], 0
        for upper, count in zip((*map(str, LATENCY_BUCKETS_SECONDS), "+Inf"), self._buckets, strict=True):
            total += count
            cumulative_counts.append((upper, total))
        return cumulative_counts
