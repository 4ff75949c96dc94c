"""`/healthz` (the process runs), `/readyz` (the data is up to date), `/metrics` (Prometheus)."""

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

from onhook.appdb.issues import LEDGER_CHECK_KIND
from onhook.console.auth.access import NEEDS_TOKEN, OPEN
from onhook.console.problem_documents import PROBLEMS, Problem, problem_response
from onhook.console.queries.metrics import coverage_metrics, destination_metrics, spool_metrics
from onhook.console.queries.quarantine import list_counters
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import RETRY_AFTER_SECONDS
from onhook.lib.messages import _
from onhook.projector.ledger_check import check_ledger
from onhook.receiver.rejections import RequestCounter

LAG_MAX = 10_000
"""A hub that is further behind is catching up: it does not show everything that is stored."""


class Readiness(msgspec.Struct, frozen=True):
    """Whether the data is up to date; how many events the store has yet to process, and the number of the last one that
    it has, by which the hubs of several machines can be compared.
    """

    lag: int
    position: int


@get("/healthz", opt=OPEN, media_type="text/plain", summary="Liveness", tags=["health"])
async def healthz() -> str:
    """Return `ok`. Public."""
    return "ok\n"


@get(
    "/readyz",
    opt=OPEN,
    summary="Readiness",
    tags=["health"],
    responses={**PROBLEMS, 200: ResponseSpec(Readiness, description="The data is up to date", generate_examples=False)},
)
async def readyz(request: AnyRequest, app_state: AppStateDep) -> Response[Any]:
    """Return the readiness. Public. 503 while the store is far behind the ledger or ahead of it, or cannot be read; and
    while the ledger is damaged: its file is checked once a day.
    """
    damage = await app_state.appdb.issues.find_open(LEDGER_CHECK_KIND)
    if damage is not None:
        return _unready(request, damage.detail, damage.hint)
    # In this order: the store never has events that the ledger did not have before, so that only a real gap is
    # reported.
    position = await app_state.store.position()
    lag = await app_state.ledger.last_seq() - position
    if lag >= 0:
        await check_ledger(app_state.ledger, app_state.store)
    if 0 <= lag <= LAG_MAX:
        return Response(Readiness(lag, position))
    if lag > 0:
        detail = _("the store is {count} events behind the ledger", count=lag)
        return _unready(request, detail, _("wait: it is catching up"), lag=lag)
    return _unready(request, _("the store is {count} events ahead of the ledger", count=-lag), _ahead_hint(), lag=lag)


def _unready(
    request: AnyRequest, detail: str, hint: str, *, lag: int | msgspec.UnsetType = msgspec.UNSET
) -> Response[Any]:
    status = HTTPStatus.SERVICE_UNAVAILABLE
    problem = Problem(title=status.phrase, status=status, detail=detail, hint=hint, lag=lag)
    return problem_response(request, problem, {"Retry-After": str(RETRY_AFTER_SECONDS)})


@get(
    "/metrics",
    media_type="text/plain",
    summary="Metrics for Prometheus",
    tags=["health"],
    responses=PROBLEMS,
    security=NEEDS_TOKEN,
)
async def metrics(app_state: AppStateDep) -> Response[bytes]:
    """Return the metrics. Needs a token, as everything about calls."""
    registry = CollectorRegistry()
    registry.register(_StaticCollector(await _collect_metrics(app_state)))
    return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def _ahead_hint() -> str:
    """A store is ahead after its ledger or the store itself was replaced by an older file."""
    return _("it contains events that the ledger does not have: run `onhook rebuild`")


class _StaticCollector(Collector):
    """Metric families collected before: the registry does not await, and the store must be awaited."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterator[Metric]:
        yield from self._families


async def _collect_metrics(app_state: AppState) -> list[Metric]:
    counts = await app_state.store.counts()
    last_seq = await app_state.ledger.last_seq()
    gauges = {
        "onhook_ledger_last_seq": ("Number of the last event in the ledger", last_seq),
        "onhook_store_position": ("Number of the last event in the store", counts["position"]),
        "onhook_store_lag": (
            "Events that the store has yet to process; below 0 where it is ahead of the ledger",
            last_seq - counts["position"],
        ),
        "onhook_records": ("Records in the store", counts["records"]),
        "onhook_calls": ("Calls in the store", counts["calls"]),
        "onhook_quarantined_raw_events": ("Events that could not be parsed", counts["quarantined"]),
        "onhook_pbxs": ("Registered PBXs", len(await app_state.appdb.pbxs())),
        "onhook_live_listeners": ("Listeners of the live feed", app_state.live_limiter.in_use),
        "onhook_exports": ("Running exports", app_state.export_limiter.in_use),
    }
    families: list[Metric] = [GaugeMetricFamily(name, text, value) for name, (text, value) in gauges.items()]
    other_families = [
        *await destination_metrics(app_state),
        *await coverage_metrics(app_state),
        *await spool_metrics(app_state),
    ]
    return [
        *families,
        *other_families,
        _receiver_metrics(await list_counters(app_state.ledger, app_state.appdb)),
        _response_metrics(app_state.response_counters.counts_by_status()),
        CounterMetricFamily(
            "onhook_pbx_api_flooding_sockets",
            "Sockets of the PBX API that were closed because of too many messages or pings",
            value=app_state.count_flooding_sockets(),
        ),
    ]


def _receiver_metrics(counters: Iterable[RequestCounter]) -> Metric:
    """Return the counters by PBX and verdict; unknown PBXs together, because they could use any number of names."""
    sums: dict[tuple[str, str], int] = {}
    for counter in counters:
        sums[counter.kind, counter.pbx] = sums.get((counter.kind, counter.pbx), 0) + counter.count
    family = CounterMetricFamily(
        "onhook_receiver_requests", "Requests to the receiver by verdict", labels=["result", "pbx"]
    )
    for (kind, pbx), count in sorted(sums.items()):
        family.add_metric([kind, pbx], count)
    return family


def _response_metrics(counts_by_status: dict[int, int]) -> Metric:
    family = CounterMetricFamily("onhook_console_responses", "Responses of the console", labels=["status"])
    for status, count in counts_by_status.items():
        family.add_metric([str(status)], count)
    return family
