"""The reports of calls of a 3CX, version 20, by its XAPI (lines.md 9).

Invariants: a window is read in parts of a day, each in pages of a hundred segments; a part that reaches the limit of a
report is read in halves. A part is read with the time before and after it, and has each call of which a segment began
in it, with the segments of the hours before, also those that earlier parts have read: no segment is lost between parts,
and the last body of a call has all of them. A segment counts once, by its `CdrId`; where pages overlap, others may be
missing, and the part is read again. A token that has expired costs one login, and the page is read again.
"""

from collections.abc import Generator, Iterable
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime
from itertools import chain
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from onhook.lib.messages import _
from onhook.pbx.call_list import (
    CallListSettings,
    CallListSteps,
    ListReply,
    ListRequest,
    ListWait,
    credentials_refused,
    list_unavailable,
    raise_for_status,
    request_patiently,
    split_days,
)
from onhook.pbx.client import ClientCredentials, ListingPage, ListingResult, TimeWindow

PAGE_SEGMENTS: Final = 100
REPORT_SEGMENTS_MAX: Final = 20_000
"""The 3CX cuts a report off there."""

PART_SECONDS: Final = 86_400
PART_SECONDS_MIN: Final = 300
"""A part that is not halved any further: a report of it that is cut off is incomplete."""

OVERLAP_SECONDS: Final = 7200
"""Read before and after a part, and kept of earlier ones: the segments of nearly all calls begin within two hours."""

READS_MAX: Final = 3
"""Of a part whose pages overlap, until a read finds no other segment."""

LOGINS_MAX: Final = 3
"""Logins for one page."""

TOKEN_PATH: Final = "/connect/token"  # noqa: S105 - a path
REPORT_PATH: Final = (
    "/xapi/v1/ReportCallLogData/Pbx.GetCallLogData(periodFrom={since},periodTo={until},sourceType=0,sourceFilter='',"
    "destinationType=0,destinationFilter='',callsType=0,callTimeFilterType=0,callTimeFilterFrom='0:00:0',"
    "callTimeFilterTo='0:00:0',hidePcalls=true)"
)
"""All parameters must be there."""

SETTLE_SECONDS: Final = 600
"""A call is in a report some time after its line."""


class _Ids(msgspec.Struct, frozen=True):
    MainCallHistoryId: str
    CdrId: str
    StartTime: Any = None


class _Page(msgspec.Struct, frozen=True):
    value: list[msgspec.Raw]


class _Token(msgspec.Struct, frozen=True):
    access_token: str


class _Segment(msgspec.Struct, frozen=True):
    """A segment: its call, when it began (Unix seconds, None where that cannot be read), and its bytes."""

    call_id: str
    start: float | None
    body: bytes


Segments = dict[str, _Segment]
"""Segments by their `CdrId`."""


class _Part(msgspec.Struct, frozen=True):
    """What a report of a part has: whether it was cut off, and whether pages of it overlap."""

    segments: Segments
    is_cut_off: bool
    has_repeats: bool


_Steps = Generator[ListRequest | ListWait, ListReply | None, ListReply]


class ThreeCxCallList:
    """See the contract, `pbx.call_list.CallListClient`."""

    settle_seconds = SETTLE_SECONDS

    def list_calls(self, settings: CallListSettings) -> CallListSteps:
        token = yield from _log_in(settings.login)
        parts = list(split_days(settings.window, PART_SECONDS))[::-1]
        earlier_segments, written_ids = dict[str, _Segment](), frozenset[str]()
        count = 0
        incomplete_reason = ""
        while parts:
            part = parts.pop()
            report, token = yield from _read_part(settings.login, part, token)
            if report.is_cut_off:
                if part.until - part.since > PART_SECONDS_MIN:
                    parts += _halves(part)
                    continue
                incomplete_reason = _("a report has more than {count} segments", count=REPORT_SEGMENTS_MAX)
            elif report.has_repeats:
                incomplete_reason = _("the pages of a report overlap, also when it is read again")
            segments = earlier_segments | report.segments
            calls = _select_calls(segments, part, written_ids)
            count += len(calls)
            yield ListingPage(rows=[_join(call, segments) for call in calls], done_until=part.until)
            written_ids = frozenset(chain.from_iterable(calls))
            earlier_segments = _select_before(segments, part.until)
        return ListingResult(row_count=count, pbx_count=count, incomplete_reason=incomplete_reason)


def _halves(part: TimeWindow) -> list[TimeWindow]:
    """Return both halves of a part, the later one first."""
    middle = (part.since + part.until) // 2
    return [TimeWindow(since=middle, until=part.until), TimeWindow(since=part.since, until=middle)]


def _log_in(login: ClientCredentials) -> Generator[ListRequest | ListWait, ListReply | None, str]:
    form = {
        "client_id": login.client_id,
        "client_secret": login.client_secret,
        "grant_type": "client_credentials",
    }
    request = ListRequest(
        method="POST",
        path=TOKEN_PATH,
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        body=urlencode(form).encode(),
    )
    reply = yield from request_patiently(request)
    if reply.status == 400:
        raise credentials_refused(_("HTTP status {status}", status=reply.status))
    raise_for_status(reply)
    try:
        return msgspec.json.decode(reply.body, type=_Token).access_token
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise list_unavailable(_("the response has no {name}", name="access_token")) from None


def _read_part(
    login: ClientCredentials, part: TimeWindow, token: str
) -> Generator[ListRequest | ListWait, ListReply | None, tuple[_Part, str]]:
    """Return the report of a part, and the token, which may be another one."""
    segments: Segments = {}
    for _read in range(READS_MAX):
        known_count = len(segments)
        report, token = yield from _read_report(login, _with_overlap(part), token)
        segments |= report.segments
        if report.is_cut_off or not report.has_repeats or len(segments) == known_count:
            return msgspec.structs.replace(report, segments=segments, has_repeats=False), token
    return _Part(segments, is_cut_off=False, has_repeats=True), token


def _with_overlap(part: TimeWindow) -> TimeWindow:
    """Return a part with the time before and after it: no more than it is long, so that halves have fewer segments."""
    overlap = min(OVERLAP_SECONDS, part.until - part.since)
    return TimeWindow(since=part.since - overlap, until=part.until + overlap)


def _read_report(
    login: ClientCredentials, window: TimeWindow, token: str
) -> Generator[ListRequest | ListWait, ListReply | None, tuple[_Part, str]]:
    """Return the segments that began in a window, and the token, which may be another one."""
    segments: Segments = {}
    has_repeats = False
    for skip in range(0, REPORT_SEGMENTS_MAX, PAGE_SEGMENTS):
        items, token = yield from _read_page(login, window, skip, token)
        page = dict(map(_read_segment, items))
        has_repeats = has_repeats or not segments.keys().isdisjoint(page)
        segments |= page
        if len(items) < PAGE_SEGMENTS:
            return _Part(segments, is_cut_off=False, has_repeats=has_repeats), token
    return _Part(segments, is_cut_off=True, has_repeats=has_repeats), token


def _read_page(
    login: ClientCredentials, part: TimeWindow, skip: int, token: str
) -> Generator[ListRequest | ListWait, ListReply | None, tuple[list[msgspec.Raw], str]]:
    since, until = (f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}" for time in (part.since, part.until))
    for _login in range(LOGINS_MAX):
        request = ListRequest(
            path=REPORT_PATH.format(since=since, until=until),
            query={"$top": str(PAGE_SEGMENTS), "$skip": str(skip)},
            headers={"Authorization": f"Bearer {token}"},
        )
        reply = yield from request_patiently(request)
        if reply.status == 401:
            token = yield from _log_in(login)
            continue
        raise_for_status(reply)
        try:
            return msgspec.json.decode(reply.body, type=_Page).value, token
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise list_unavailable(_("the response is no list of calls")) from None
    raise credentials_refused(_("it does not accept the token that it has issued"))


def _read_segment(item: msgspec.Raw) -> tuple[str, _Segment]:
    """Return the `CdrId` of a segment, and the segment. Raises `Unavailable`."""
    try:
        ids = msgspec.json.decode(item, type=_Ids)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise list_unavailable(_("a segment of the report has no ids")) from None
    return ids.CdrId, _Segment(ids.MainCallHistoryId, _read_start(ids.StartTime), bytes(item))


def _read_start(value: Any) -> float | None:
    try:
        return datetime.fromisoformat(value).astimezone(UTC).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


def _select_calls(segments: Segments, part: TimeWindow, written_ids: AbstractSet[str]) -> list[list[str]]:
    """Return the calls of which a segment began in a part that is not among `written_ids`: the `CdrId` of each segment,
    as they came. A segment without a start counts as one in the part: the quarantine says what it is.
    """
    ids_by_call: dict[str, list[str]] = {}
    new_calls = set[str]()
    for cdr_id, segment in segments.items():
        ids_by_call.setdefault(segment.call_id, []).append(cdr_id)
        is_inside = segment.start is None or part.since <= segment.start < part.until
        if is_inside and cdr_id not in written_ids:
            new_calls.add(segment.call_id)
    return [ids for call_id, ids in ids_by_call.items() if call_id in new_calls]


def _join(cdr_ids: Iterable[str], segments: Segments) -> bytes:
    return b'{"value":[' + b",".join(segments[cdr_id].body for cdr_id in cdr_ids) + b"]}"


def _select_before(segments: Segments, end: int) -> Segments:
    """Return the segments that began in the hours before a time; of more than a report has, the latest."""
    starts = sorted(
        (segment.start, cdr_id)
        for cdr_id, segment in segments.items()
        if segment.start is not None and end - OVERLAP_SECONDS <= segment.start < end
    )
    return {cdr_id: segments[cdr_id] for _start, cdr_id in starts[-REPORT_SEGMENTS_MAX:]}
