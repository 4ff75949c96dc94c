"""A simulated call list API that responds as a firmware does, and a reader of the whole list."""

from collections.abc import Callable, Generator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from onhook.pbx.client import (
    CallIdRequest,
    ListingPage,
    ListingReply,
    ListingResult,
    ListingSteps,
    PbxRequest,
    PbxResponse,
    SystemFacts,
    TimeWindow,
)
from onhook.pbx.yeastar.answers import parse_response
from onhook.pbx.yeastar.listing import ListingSource, format_display_time, list_calls

SN = "3651XXXXXXXX"
NOON = 1_777_291_200  # 2026-04-27 12:00 UTC
OFFSET = 3 * 3600
FACTS = SystemFacts(date_format="DD/MM/YYYY", time_format="12", clock=NOON, offset_seconds=OFFSET)


class FakeCallListApi:
    """The call list API of one firmware. `rows` are the rows of its list, in order of arrival."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = list(rows)
        self.requests: list[PbxRequest] = []
        self.accepts_seconds = self.accepts_display = True
        self.returns_nothing_for_seconds = False
        self.has_v1 = True
        self.page_max = 10_000
        self.on_request: Callable[[PbxRequest], None] = lambda request: None

    def respond(self, request: PbxRequest) -> PbxResponse:
        self.requests.append(request)
        self.on_request(request)
        if "v1.0" in request.path and not self.has_v1:
            return make_reply({"errcode": 10001, "errmsg": "INTERFACE NOT EXISTED"})
        if request.path.endswith("cdr/list"):
            return self._page(request, sorted(self.rows, key=lambda row: -int(row["timestamp"])))
        if request.path.endswith("cdr/detail"):
            return make_reply({"errcode": 0, "data": {"timeline": []}})
        return self._search(request)

    def _search(self, request: PbxRequest) -> PbxResponse:
        since, until = (request.query.get(name, "") for name in ("start_time", "end_time"))
        if "v2.0" in request.path:
            since, until = (request.query[name] for name in ("time_begin", "time_end"))
        is_seconds = since.isdigit()
        if not (self.accepts_seconds if is_seconds else self.accepts_display):
            invalid = [{"field": "start_time", "valid_msg": "time"}]
            return make_reply({"errcode": 40002, "errmsg": "PARAMETER ERROR", "invalid_param_list": invalid})
        if is_seconds and self.returns_nothing_for_seconds:
            return make_reply({"errcode": 0, "errmsg": "SUCCESS", "total_number": 0})
        begin, end = (int(text) if is_seconds else parse_display_time(text) for text in (since, until))
        return self._page(request, [row for row in self.rows if begin <= row["timestamp"] <= end])

    def _page(self, request: PbxRequest, rows: Sequence[Mapping[str, Any]]) -> PbxResponse:
        size = min(int(request.query["page_size"]), self.page_max)
        first = (int(request.query["page"]) - 1) * size
        return make_reply(
            {"errcode": 0, "errmsg": "SUCCESS", "total_number": len(rows), "data": rows[first : first + size]}
        )


def make_reply(members: Mapping[str, Any]) -> PbxResponse:
    return parse_response(200, msgspec.json.encode(members))


def parse_display_time(text: str) -> int:
    local = datetime.strptime(text, "%d/%m/%Y %I:%M:%S %p")  # noqa: DTZ007 - a wall clock
    return round((local - datetime(1970, 1, 1)).total_seconds()) - OFFSET  # noqa: DTZ001


def row(started_at: int, number: int = 0, **members: Any) -> dict[str, Any]:
    local = datetime(1970, 1, 1) + timedelta(seconds=started_at + OFFSET)  # noqa: DTZ001 - a wall clock
    return {
        "uid": f"{local:%Y%m%d%H%M%S}{number % 0xFFFFF:05X}",
        "call_id": f"{started_at}.{number}",
        "time": format_display_time(started_at, FACTS),
        "timestamp": started_at,
        "call_from_number": "1001",
        "call_to_number": "1002",
        "duration": 30,
        "disposition": "ANSWERED",
        "call_type": "Internal",
    } | members


def read_all(
    pbx: FakeCallListApi,
    window: TimeWindow,
    *,
    facts: SystemFacts = FACTS,
    rows_max: int = 10_000,
    ids: Mapping[str, str] = {},
) -> tuple[ListingResult, list[bytes], list[int]]:
    """Return the result of the listing, all wrapped rows of a window without repeats, and `done_until` of each page."""
    return run_listing(pbx, list_calls(ListingSource(sn=SN, facts=facts, rows_max=rows_max), window), ids)


def run_listing(
    pbx: FakeCallListApi, listing_generator: ListingSteps, ids: Mapping[str, str]
) -> tuple[ListingResult, list[bytes], list[int]]:
    rows: dict[bytes, None] = {}
    done_until: list[int] = []
    reply: PbxResponse | Mapping[str, str] | None = None
    while True:
        try:
            step = listing_generator.send(reply)
        except StopIteration as end:
            result: ListingResult = end.value
            return result, list(rows), done_until
        if isinstance(step, ListingPage):
            rows |= dict.fromkeys(step.rows)
            done_until.append(step.done_until)
            reply = None
        else:
            reply = ids if isinstance(step, CallIdRequest) else pbx.respond(step)


def run_count(pbx: FakeCallListApi, counting: Generator[Any, ListingReply, int | None]) -> int | None:
    """Return the result of `count_calls`."""
    reply: PbxResponse | None = None
    while True:
        try:
            request = counting.send(reply)
        except StopIteration as end:
            count: int | None = end.value
            return count
        reply = pbx.respond(request)
