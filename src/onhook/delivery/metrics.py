"""What is counted of attempts since the start, for `/metrics`."""

from bisect import bisect_left
from collections import Counter

from onhook.delivery.destinations.contract import Outcome

LATENCY_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The upper ends of the buckets, as Prometheus has them by default."""


class AttemptMetrics:
    """Attempts of one subscription: by what came of them, and how long they took."""

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
        """How many took at most so long, by Prometheus' `le`."""
        cumulative_counts, total = [], 0
        for upper, count in zip((*map(str, LATENCY_BUCKETS_SECONDS), "+Inf"), self._buckets, strict=True):
            total += count
            cumulative_counts.append((upper, total))
        return cumulative_counts
