"""Subscriptions in `/metrics`: what is owed to each and since when, and what came of attempts."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from onhook.appdb.destinations import Destination
from onhook.console.state import AppState
from onhook.delivery.status import DestinationStatus, load_status

_LABELS = ["subscription"]

STATUS_MAX_AGE_SECONDS = 5.0
"""To count what is owed looks through the store, per subscription and replay: not anew for each who scrapes."""


async def destination_metrics(rooms: AppState) -> list[Metric]:
    """One series per subscription; there are at most some hundred."""
    gauges = {
        "owed": GaugeMetricFamily("onhook_sending_owed", "Records and events not yet delivered", labels=_LABELS),
        "parked": GaugeMetricFamily("onhook_sending_parked", "Events given up, waiting for a person", labels=_LABELS),
        "oldest": GaugeMetricFamily(
            "onhook_sending_oldest_owed_seconds", "Age of the oldest that is owed; 0 where none is", labels=_LABELS
        ),
        "active": GaugeMetricFamily("onhook_sending_active", "1 while it is served, 0 else", labels=_LABELS),
    }
    succeeded_counter = CounterMetricFamily("onhook_sending_delivered", "Events taken, ever", labels=_LABELS)
    failed_counter = CounterMetricFamily("onhook_sending_failed", "Attempts that failed, ever", labels=_LABELS)
    now = rooms.clock.now()
    for destination, status in await rooms.shared.ask(
        "owing", lambda: _destination_statuses(rooms), STATUS_MAX_AGE_SECONDS
    ):
        oldest = status.oldest_owed_at
        gauges["owed"].add_metric([destination.name], status.owed)
        gauges["parked"].add_metric([destination.name], status.parked)
        gauges["oldest"].add_metric([destination.name], (now - oldest).total_seconds() if oldest else 0)
        gauges["active"].add_metric([destination.name], destination.state == "active")
        succeeded_counter.add_metric([destination.name], destination.delivered)
        failed_counter.add_metric([destination.name], destination.failed)
    return [*gauges.values(), succeeded_counter, failed_counter, *_attempt_metrics(rooms)]


async def _destination_statuses(rooms: AppState) -> list[tuple[Destination, DestinationStatus]]:
    destinations = rooms.settings.subscriptions.all()
    return [(destination, await load_status(destination, rooms.settings, rooms.store)) for destination in destinations]


def _attempt_metrics(rooms: AppState) -> list[Metric]:
    """Since the start of this hub."""
    attempts = CounterMetricFamily(
        "onhook_sending_attempts", "Attempts since the start, by what came of them", labels=[*_LABELS, "verdict"]
    )
    latency = HistogramMetricFamily("onhook_sending_seconds", "How long attempts took", labels=_LABELS)
    names = {destination.subscription_id: destination.name for destination in rooms.settings.subscriptions.all()}
    for destination_id, metrics in rooms.sending.figures().items():
        if destination_id in names:
            latency.add_metric([names[destination_id]], metrics.buckets(), metrics.seconds)
            for outcome, count in sorted(metrics.attempts.items()):
                attempts.add_metric([names[destination_id], outcome], count)
    return [attempts, latency]
