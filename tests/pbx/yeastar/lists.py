"""A PBX's list of calls, answered as firmware does, and whoever reads it to its end."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from onhook.pbx.client import Answer, Facts, Listed, Listing, Page, Request, Whose, Window
from onhook.pbx.yeastar.answers import read_answer
from onhook.pbx.yeastar.listing import Source, displayed, listing

SN = "3651XXXXXXXX"
NOON = 1_777_291_200  # 2026-04-27 12:00 UTC
OFFSET = 3 * 3600
FACTS = Facts(date_format="DD/MM/YYYY", time_format="12", clock=NOON, offset_seconds=OFFSET)


class ListPbx:
    """Answers as this firmware does; `rows` are those of its list, the order of their arrival."""

    def __init__(self, rows: Sequence[dict[str, Any]]) -> None:
        self.rows = list(rows)
        self.asked: list[Request] = []
        self.takes_seconds = self.takes_display = True
        self.is_blind = False
        self.has_v1 = True
        self.page_max = 10_000
        self.before: Callable[[Request], None] = lambda request: None

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        self.before(request)
        if "v1.0" in request.path and not self.has_v1:
            return said({"errcode": 10001, "errmsg": "INTERFACE NOT EXISTED"})
        if request.path.endswith("cdr/list"):
            return self._page(request, sorted(self.rows, key=lambda row: -int(row["timestamp"])))
        if request.path.endswith("cdr/detail"):
            return said({"errcode": 0, "data": {"timeline": []}})
        return self._search(request)

    def _search(self, request: Request) -> Answer:
        since, until = (request.query.get(name, "") for name in ("start_time", "end_time"))
        if "v2.0" in request.path:
            since, until = (request.query[name] for name in ("time_begin", "time_end"))
        is_seconds = since.isdigit()
        if not (self.takes_seconds if is_seconds else self.takes_display):
            invalid = [{"field": "start_time", "valid_msg": "time"}]
            return said({"errcode": 40002, "errmsg": "PARAMETER ERROR", "invalid_param_list": invalid})
        if is_seconds and self.is_blind:
            return said({"errcode": 0, "errmsg": "SUCCESS", "total_number": 0})
        begin, end = (int(text) if is_seconds else undisplayed(text) for text in (since, until))
        return self._page(request, [row for row in self.rows if begin <= row["timestamp"] <= end])

    def _page(self, request: Request, rows: Sequence[Mapping[str, Any]]) -> Answer:
        size = min(int(request.query["page_size"]), self.page_max)
        first = (int(request.query["page"]) - 1) * size
        return said({"errcode": 0, "errmsg": "SUCCESS", "total_number": len(rows), "data": rows[first : first + size]})


def said(members: Mapping[str, Any]) -> Answer:
    return read_answer(200, msgspec.json.encode(members))


def undisplayed(text: str) -> int:
    local = datetime.strptime(text, "%d/%m/%Y %I:%M:%S %p")  # noqa: DTZ007 - a wall clock
    return round((local - datetime(1970, 1, 1)).total_seconds()) - OFFSET  # noqa: DTZ001


def row(begun: int, number: int = 0, **members: Any) -> dict[str, Any]:
    local = datetime(1970, 1, 1) + timedelta(seconds=begun + OFFSET)  # noqa: DTZ001 - a wall clock
    return {
        "uid": f"{local:%Y%m%d%H%M%S}{number % 0xFFFFF:05X}",
        "call_id": f"{begun}.{number}",
        "time": displayed(begun, FACTS),
        "timestamp": begun,
        "call_from_number": "1001",
        "call_to_number": "1002",
        "duration": 30,
        "disposition": "ANSWERED",
        "call_type": "Internal",
    } | members


def read_all(
    pbx: ListPbx, window: Window, *, facts: Facts = FACTS, rows_max: int = 10_000, ids: Mapping[str, str] = {}
) -> tuple[Listed, list[bytes], list[int]]:
    """All rows of a window as they are kept, without repeats, and how far the reading had come after each page."""
    return driven(pbx, listing(Source(sn=SN, facts=facts, rows_max=rows_max), window), ids)


def driven(pbx: ListPbx, reading: Listing, ids: Mapping[str, str]) -> tuple[Listed, list[bytes], list[int]]:
    kept: dict[bytes, None] = {}
    done: list[int] = []
    said_last: Answer | Mapping[str, str] | None = None
    while True:
        try:
            asked = reading.send(said_last)
        except StopIteration as ended:
            listed: Listed = ended.value
            return listed, list(kept), done
        if isinstance(asked, Page):
            kept |= dict.fromkeys(asked.rows)
            done.append(asked.done_until)
            said_last = None
        else:
            said_last = ids if isinstance(asked, Whose) else pbx.answer(asked)
