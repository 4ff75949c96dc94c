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

from onhook.console.api.coverage import families_of_coverage
from onhook.console.api.quarantine import Tallied, tallied
from onhook.console.auth.access import NEEDS_TOKEN, OPEN
from onhook.console.problem_documents import PROBLEMS, RETRY_SECONDS, AnyRequest, Problem, answer_problem
from onhook.console.queries.metrics import families_of_sending
from onhook.console.state import Handed, Rooms

BEHIND_REPORTS_MAX = 10_000
"""A hub that is further behind than this is catching up: what it shows is not what was kept."""


AHEAD_TODO = "it tells of reports that this ledger never had: run `onhook rebuild`"
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
async def readyz(request: AnyRequest, rooms: Handed) -> Response[Any]:
    """Open to everybody. 503 while the store is far behind the ledger or ahead of it, or one cannot be read."""
    # In this order: the store never has what the ledger had not yet, so that only a true gap is seen as one.
    position = await rooms.store.position()
    behind = await rooms.ledger.last() - position
    if 0 <= behind <= BEHIND_REPORTS_MAX:
        return Response(Readiness(behind))
    problem = Problem(
        title=HTTPStatus.SERVICE_UNAVAILABLE.phrase,
        status=HTTPStatus.SERVICE_UNAVAILABLE,
        detail=f"the store is {abs(behind)} reports {'behind' if behind > 0 else 'ahead of'} the ledger",
        todo="wait: it is being filled" if behind > 0 else AHEAD_TODO,
        behind_reports=behind,
    )
    return answer_problem(request, problem, {"Retry-After": str(RETRY_SECONDS)})


@get(
    "/metrics",
    media_type="text/plain",
    summary="Figures for Prometheus",
    tags=["health"],
    responses=PROBLEMS,
    security=NEEDS_TOKEN,
)
async def metrics(rooms: Handed) -> Response[bytes]:
    """Needs a token, as everything that tells of calls."""
    registry = CollectorRegistry()
    registry.register(_Ready(await _families(rooms)))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


class _Ready(Collector):
    """Families that were put together before: the registry asks without waiting, and the store is awaited."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


async def _families(rooms: Rooms) -> list[Metric]:
    counts = await rooms.store.counts()
    last = await rooms.ledger.last()
    gauges = {
        "onhook_ledger_last": ("Number of the last report in the ledger", last),
        "onhook_store_position": ("Number of the last report in the store", counts["position"]),
        "onhook_store_behind_reports": (
            "Reports that the store has yet to read; below 0 where it is ahead of the ledger",
            last - counts["position"],
        ),
        "onhook_records": ("Records in the store", counts["records"]),
        "onhook_calls": ("Calls in the store", counts["calls"]),
        "onhook_quarantined": ("Reports that could not be read", counts["quarantined"]),
        "onhook_pbxs": ("PBXs that may report", len(rooms.settings.pbxs())),
        "onhook_live_listeners": ("Readers of the live feed", rooms.listeners.taken),
        "onhook_exports": ("Exports being made", rooms.exports.taken),
    }
    families: list[Metric] = [GaugeMetricFamily(name, text, value) for name, (text, value) in gauges.items()]
    more = [*await families_of_sending(rooms), *families_of_coverage(rooms)]
    return [*families, *more, _door(await tallied(rooms)), _answers(rooms.counters.answers())]


def _door(tallies: Iterable[Tallied]) -> Metric:
    """By PBX and reason; strangers together, because they could make as many names as they like."""
    sums: dict[tuple[str, str], int] = {}
    for one in tallies:
        sums[one.what, one.pbx] = sums.get((one.what, one.pbx), 0) + one.count
    family = CounterMetricFamily("onhook_door", "What happened at the door of the intake", labels=["what", "pbx"])
    for (what, pbx), count in sorted(sums.items()):
        family.add_metric([what, pbx], count)
    return family


def _answers(answers: dict[int, int]) -> Metric:
    family = CounterMetricFamily("onhook_console_answers", "Answers of the console", labels=["status"])
    for status, count in answers.items():
        family.add_metric([str(status)], count)
    return family
