"""Counters of attempts, and lags."""

from datetime import UTC, datetime, timedelta

from onhook.delivery.metrics import LAGS_MAX, LATENCY_BUCKETS_SECONDS, AttemptMetrics
from tests.delivery.harness import DeliveryHarness, WebhookReceiver
from tests.factories import call, record
from tests.waiting import wait_until


def test_attempt_metrics_buckets_are_cumulative() -> None:
    """As in Prometheus: each includes those below, the last one all."""
    figures = AttemptMetrics()
    for seconds in (0.005, 0.006, 11.0):
        figures.record_attempt("accepted", seconds)
    figures.record_attempt("rejected", 0.001)
    buckets = dict(figures.durations.cumulative_buckets())
    assert (buckets["0.005"], buckets["0.01"], buckets["10.0"], buckets["+Inf"]) == (2, 3, 3, 4)
    assert len(buckets) == len(LATENCY_BUCKETS_SECONDS) + 1
    assert (figures.attempts["accepted"], figures.attempts["rejected"], figures.attempts["gone"]) == (3, 1, 0)
    assert round(figures.durations.total_seconds, 3) == 11.012


def test_attempt_metrics_lag_quantiles_are_of_the_newest() -> None:
    figures = AttemptMetrics()
    assert figures.lag_quantile(0.5) is None
    for seconds in (-5.0, *[1_000.0] * LAGS_MAX, *map(float, range(1, LAGS_MAX + 1))):
        figures.record_lag(seconds)
    assert (figures.lag_quantile(0.5), figures.lag_quantile(0.99)) == (500.0, 990.0)
    assert figures.lags.cumulative_buckets()[0] == ("0.5", 1)
    assert figures.lags.cumulative_buckets()[-1] == ("+Inf", 2 * LAGS_MAX + 1)


async def test_worker_lag_is_measured_from_the_end_of_a_call(
    harness: DeliveryHarness, receiver: WebhookReceiver
) -> None:
    destination = await harness.add_destination("CRM", receiver.url)
    harness.start()
    await harness.put_calls(call(record(datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1))))
    await wait_until(lambda: len(receiver.accepted) == 1)
    metrics = harness.dispatcher.metrics[destination.destination_id]
    await wait_until(lambda: metrics.lag_quantile(0.5) is not None)
    assert 3_400.0 < (metrics.lag_quantile(0.99) or 0.0) < 3_700.0
