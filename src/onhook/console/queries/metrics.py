"""Metrics of destinations (pending notifications, their age, attempts), alarms, coverage and clocks."""

from datetime import timedelta

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from onhook.console.queries.coverage import list_coverage, list_named_alarms
from onhook.console.queries.destinations import describe_destination
from onhook.console.state import AppState
from onhook.delivery.status import DestinationView

_LABELS = ["destination"]

LAG_QUANTILES = (0.5, 0.99)

STATUS_MAX_AGE_SECONDS = 5.0
"""Counting pending notifications reads the store, per destination and replay: not for every scrape."""


async def destination_metrics(app_state: AppState) -> list[Metric]:
    """Return one series per destination; there are at most some hundred."""
    gauges = {
        "pending": GaugeMetricFamily(
            "onhook_destination_pending", "Records and notifications not yet delivered", labels=_LABELS
        ),
        "retrying": GaugeMetricFamily("onhook_destination_retrying", "Notifications that are retried", labels=_LABELS),
        "failed": GaugeMetricFamily(
            "onhook_destination_failed", "Notifications that have failed and need a person", labels=_LABELS
        ),
        "oldest": GaugeMetricFamily(
            "onhook_destination_oldest_pending_seconds",
            "Age of the oldest pending notification; 0 without one",
            labels=_LABELS,
        ),
        "active": GaugeMetricFamily("onhook_destination_active", "1 while it is active, else 0", labels=_LABELS),
    }
    succeeded_counter = CounterMetricFamily(
        "onhook_destination_attempts_succeeded",
        ("Notifications accepted since the destination was added"),
        labels=_LABELS,
    )
    failed_counter = CounterMetricFamily(
        "onhook_destination_attempts_failed", "Failed attempts since the destination was added", labels=_LABELS
    )
    now = app_state.clock.now()
    for destination in await app_state.coalescer.get(
        "destinations", lambda: _describe_destinations(app_state), STATUS_MAX_AGE_SECONDS
    ):
        oldest = destination.oldest_pending_at
        gauges["pending"].add_metric([destination.name], destination.pending)
        gauges["retrying"].add_metric([destination.name], destination.retrying)
        gauges["failed"].add_metric([destination.name], destination.failed)
        gauges["oldest"].add_metric([destination.name], (now - oldest).total_seconds() if oldest else 0)
        gauges["active"].add_metric([destination.name], destination.state == "active")
        succeeded_counter.add_metric([destination.name], destination.attempts_succeeded)
        failed_counter.add_metric([destination.name], destination.attempts_failed)
    return [*gauges.values(), succeeded_counter, failed_counter, *await _attempt_metrics(app_state)]


async def spool_metrics(app_state: AppState) -> list[Metric]:
    """Return how many events machines keep that the ledger lacks: a series for each machine that keeps some."""
    gauge = GaugeMetricFamily(
        "onhook_spooled_events", "Events that a machine keeps and the ledger lacks", labels=["machine"]
    )
    for spool in await app_state.appdb.node_states.list_spools(now_us=app_state.clock.microseconds()):
        gauge.add_metric([spool.node], spool.events)
    return [gauge]


async def coverage_metrics(app_state: AppState) -> list[Metric]:
    """Return the metrics of open alarms, coverage and clocks."""
    alarm_gauge = GaugeMetricFamily("onhook_alarms", "Open alarms", labels=["pbx", "kind"])
    for alarm in await list_named_alarms(app_state):
        if alarm.ended_at is None:
            alarm_gauge.add_metric([alarm.pbx, alarm.kind], 1)
    complete_gauge = GaugeMetricFamily(
        "onhook_pbx_complete_until_seconds", "Until when calls are verified complete, Unix seconds", labels=["pbx"]
    )
    skew_gauge = GaugeMetricFamily(
        "onhook_pbx_clock_skew_seconds", "The PBX's clock minus this server's", labels=["pbx"]
    )
    now = app_state.clock.now()
    for coverage in await list_coverage(app_state, now - timedelta(days=1), now):
        if coverage.complete_until is not None:
            complete_gauge.add_metric([coverage.pbx], coverage.complete_until.timestamp())
        if coverage.pbx_status is not None and coverage.pbx_status.skew_seconds is not None:
            skew_gauge.add_metric([coverage.pbx], coverage.pbx_status.skew_seconds)
    return [alarm_gauge, complete_gauge, skew_gauge]


async def _describe_destinations(app_state: AppState) -> list[DestinationView]:
    return [
        await describe_destination(app_state, destination) for destination in await app_state.appdb.destinations.all()
    ]


async def _attempt_metrics(app_state: AppState) -> list[Metric]:
    """Return the metrics since the start of this hub."""
    attempts = CounterMetricFamily(
        "onhook_destination_attempts", "Attempts since the start, by result", labels=[*_LABELS, "outcome"]
    )
    latency = HistogramMetricFamily("onhook_destination_attempt_seconds", "Duration of attempts", labels=_LABELS)
    lag = HistogramMetricFamily(
        "onhook_destination_lag_seconds", "Time from the end of a call to its acceptance", labels=_LABELS
    )
    quantiles = GaugeMetricFamily(
        "onhook_destination_lag_quantile_seconds",
        "Quantiles of the last thousand of these times",
        labels=[*_LABELS, "quantile"],
    )
    names = {destination.destination_id: destination.name for destination in await app_state.appdb.destinations.all()}
    for destination_id, metrics in app_state.delivery_actions.delivery_metrics().items():
        if destination_id in names:
            durations, lags = metrics.durations, metrics.lags
            latency.add_metric([names[destination_id]], durations.cumulative_buckets(), durations.total_seconds)
            lag.add_metric([names[destination_id]], lags.cumulative_buckets(), lags.total_seconds)
            for quantile in LAG_QUANTILES:
                seconds = metrics.lag_quantile(quantile)
                if seconds is not None:
                    quantiles.add_metric([names[destination_id], str(quantile)], seconds)
            for outcome, count in sorted(metrics.attempts.items()):
                attempts.add_metric([names[destination_id], outcome], count)
    return [attempts, latency, lag, quantiles]
