"""Counters of attempts."""

from onhook.delivery.metrics import LATENCY_BUCKETS_SECONDS, AttemptMetrics


def test_attempt_metrics_buckets_are_cumulative() -> None:
    """As in Prometheus: each includes those below, the last one all."""
    figures = AttemptMetrics()
    for seconds in (0.005, 0.006, 11.0):
        figures.record_attempt("accepted", seconds)
    figures.record_attempt("rejected", 0.001)
    buckets = dict(figures.cumulative_buckets())
    assert (buckets["0.005"], buckets["0.01"], buckets["10.0"], buckets["+Inf"]) == (2, 3, 3, 4)
    assert len(buckets) == len(LATENCY_BUCKETS_SECONDS) + 1
    assert (figures.attempts["accepted"], figures.attempts["rejected"], figures.attempts["gone"]) == (3, 1, 0)
    assert round(figures.total_seconds, 3) == 11.012
