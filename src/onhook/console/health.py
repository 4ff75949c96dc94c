"""`/healthz` (we live), `/readyz` (what was kept can be read), `/metrics` (Prometheus)."""

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Response, get
from litestar.openapi.datastructures import ResponseSpec
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from onhook.console.api.coverage import coverage_metrics
from onhook.console.api.quarantine import NamedCounter, list_counters
from onhook.console.auth.access import NEEDS_TOKEN, OPEN
from onhook.console.problem_documents import PROBLEMS, RETRY_SECONDS, AnyRequest, Problem, problem_response
from onhook.console.queries.metrics import destination_metrics
from onhook.console.state import AppState, AppStateDep

LAG_MAX = 10_000
"""A hub that is further behind than this is catching up: what it shows is not what was kept."""


AHEAD_HINT = "it tells of reports that this ledger never had: run `onhook rebuild`"
"""A store is ahead when an older ledger was put in its place, or another store."""


class Readiness(msgspec.Struct, frozen=True):
    """What was kept can be read; how many reports the store has yet to take over."""

    behind_reports: int


@get("/healthz", opt=OPEN, media_type="text/plain", summary="Whether the hub answers", tags=["health"])
async def healthz() -> str:
    """Open to everybody, and says nothing but `ok`."""
    return "ok\n"


@get(
    "/readyz",
    opt=OPEN,
    summary="Whether what was kept can be read",
    tags=["health"],
    responses={**PROBLEMS, 200: ResponseSpec(Readiness, description="It can", generate_examples=False)},
)
async def readyz(request: AnyRequest, rooms: AppStateDep) -> Response[Any]:
    """Open to everybody. 503 while the store is far behind the ledger or ahead of it, or one cannot be read."""
    # In this order: the store never has what the ledger had not yet, so that only a true gap is seen as one.
    position = await rooms.store.position()
    lag = await rooms.ledger.last() - position
    if 0 <= lag <= LAG_MAX:
        return Response(Readiness(lag))
    problem = Problem(
        title=HTTPStatus.SERVICE_UNAVAILABLE.phrase,
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        detail=f"the store is {abs(lag)} reports {'behind' if lag > 0 else 'ahead of'} the ledger",
        todo="wait: it is being filled" if lag > 0 else AHEAD_HINT,
        behind_reports=lag,
    )
    return problem_response(request, problem, {"Retry-After": str(RETRY_SECONDS)})


@get(
    "/metrics",
    media_type="text/plain",
    summary="Figures for Prometheus",
    tags=["health"],
    responses=PROBLEMS,
    security=NEEDS_TOKEN,
)
async def metrics(rooms: AppStateDep) -> Response[bytes]:
    """Needs a token, as everything that tells of calls."""
    registry = CollectorRegistry()
    registry.register(_StaticCollector(await _collect_metrics(rooms)))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


class _StaticCollector(Collector):
    """Families that were put together before: the registry asks without waiting, and the store is awaited."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


async def _collect_metrics(rooms: AppState) -> list[Metric]:
    counts = await rooms.store.counts()
    last_seq = await rooms.ledger.last()
    gauges = {
        "onhook_ledger_last": ("Number of the last report in the ledger", last_seq),
        "onhook_store_position": ("Number of the last report in the store", counts["position"]),
        "onhook_store_behind_reports": (
            "Reports that the store has yet to read; below 0 where it is ahead of the ledger",
            last_seq - counts["position"],
        ),
        "onhook_records": ("Records in the store", counts["records"]),
        "onhook_calls": ("Calls in the store", counts["calls"]),
        "onhook_quarantined": ("Reports that could not be read", counts["quarantined"]),
        "onhook_pbxs": ("PBXs that may report", len(rooms.settings.pbxs())),
        "onhook_live_listeners": ("Readers of the live feed", rooms.listeners.taken),
        "onhook_exports": ("Exports being made", rooms.exports.taken),
    }
    families: list[Metric] = [GaugeMetricFamily(name, text, value) for name, (text, value) in gauges.items()]
    other_families = [*await destination_metrics(rooms), *coverage_metrics(rooms)]
    return [
        *families,
        *other_families,
        _receiver_metrics(await list_counters(rooms)),
        _response_metrics(rooms.counters.answers()),
    ]


def _receiver_metrics(tallies: Iterable[NamedCounter]) -> Metric:
    """By PBX and reason; strangers together, because they could make as many names as they like."""
    sums: dict[tuple[str, str], int] = {}
    for counter in tallies:
        sums[counter.what, counter.pbx] = sums.get((counter.what, counter.pbx), 0) + counter.count
    family = CounterMetricFamily("onhook_door", "What happened at the door of the intake", labels=["what", "pbx"])
    for (kind, pbx), count in sorted(sums.items()):
        family.add_metric([kind, pbx], count)
    return family


def _response_metrics(answers: dict[int, int]) -> Metric:
    family = CounterMetricFamily("onhook_console_answers", "Answers of the console", labels=["status"])
    for status, count in answers.items():
        family.add_metric([str(status)], count)
    return family
