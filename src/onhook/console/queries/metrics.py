"""Subscriptions in `/metrics`: what is owed to each and since when, and what came of attempts."""

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from onhook.appdb.destinations import Subscription
from onhook.console.state import Rooms
from onhook.delivery.status import Owing, owing_of

_LABELS = ["subscription"]

FRESH_SECONDS = 5.0
"""To count what is owed looks through the store, per subscription and replay: not anew for each who scrapes."""


async def families_of_sending(rooms: Rooms) -> list[Metric]:
    """One series per subscription; there are at most some hundred."""
    gauges = {
        "owed": GaugeMetricFamily("onhook_sending_owed", "Records and events not yet delivered", labels=_LABELS),
        "parked": GaugeMetricFamily("onhook_sending_parked", "Events given up, waiting for a person", labels=_LABELS),
        "oldest": GaugeMetricFamily(
            "onhook_sending_oldest_owed_seconds", "Age of the oldest that is owed; 0 where none is", labels=_LABELS
        ),
        "active": GaugeMetricFamily("onhook_sending_active", "1 while it is served, 0 else", labels=_LABELS),
    }
    delivered = CounterMetricFamily("onhook_sending_delivered", "Events taken, ever", labels=_LABELS)
    failed = CounterMetricFamily("onhook_sending_failed", "Attempts that failed, ever", labels=_LABELS)
    now = rooms.clock.now()
    for one, owing in await rooms.shared.ask("owing", lambda: _owing(rooms), FRESH_SECONDS):
        oldest = owing.oldest_owed_at
        gauges["owed"].add_metric([one.name], owing.owed)
        gauges["parked"].add_metric([one.name], owing.parked)
        gauges["oldest"].add_metric([one.name], (now - oldest).total_seconds() if oldest else 0)
        gauges["active"].add_metric([one.name], one.state == "active")
        delivered.add_metric([one.name], one.delivered)
        failed.add_metric([one.name], one.failed)
    return [*gauges.values(), delivered, failed, *_attempts(rooms)]


async def _owing(rooms: Rooms) -> list[tuple[Subscription, Owing]]:
    subscriptions = rooms.settings.subscriptions.all()
    return [(one, await owing_of(one, rooms.settings, rooms.store)) for one in subscriptions]


def _attempts(rooms: Rooms) -> list[Metric]:
    """Since the start of this hub."""
    attempts = CounterMetricFamily(
        "onhook_sending_attempts", "Attempts since the start, by what came of them", labels=[*_LABELS, "verdict"]
    )
    latency = HistogramMetricFamily("onhook_sending_seconds", "How long attempts took", labels=_LABELS)
    names = {one.subscription_id: one.name for one in rooms.settings.subscriptions.all()}
    for number, figures in rooms.sending.figures().items():
        if number in names:
            latency.add_metric([names[number]], figures.buckets(), figures.seconds)
            for verdict, count in sorted(figures.attempts.items()):
                attempts.add_metric([names[number], verdict], count)
    return [attempts, latency]
