"""The reports of calls of a 3CX, version 20, by its XAPI (lines.md 9).

Invariants: a window is read in parts of a day, each in pages of a hundred segments; a part that reaches the limit of a
report is read in halves. A segment counts once, by its `CdrId`, for pages may overlap. A token that has expired costs
one login, and the page is read again.
"""

from collections.abc import Generator, Iterable
from datetime import UTC, datetime
from typing import Final
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


class _Page(msgspec.Struct, frozen=True):
    value: list[msgspec.Raw]


class _Token(msgspec.Struct, frozen=True):
    access_token: str


Segments = dict[str, tuple[str, bytes]]
"""The call of each segment, and its bytes, by its `CdrId`."""

_Steps = Generator[ListRequest | ListWait, ListReply | None, ListReply]


class ThreeCxCallList:
    """See the contract, `pbx.call_list.CallListClient`."""

    settle_seconds = SETTLE_SECONDS

    def list_calls(self, settings: CallListSettings) -> CallListSteps:
        token = yield from _log_in(settings.login)
        parts = list(split_days(settings.window, PART_SECONDS))[::-1]
        count = 0
        incomplete_reason = ""
        while parts:
            part = parts.pop()
            segments, token = yield from _read_part(settings.login, part, token)
            if len(segments) >= REPORT_SEGMENTS_MAX:
                if part.until - part.since > PART_SECONDS_MIN:
                    parts += _halves(part)
                    continue
                incomplete_reason = _("a report has more than {count} segments", count=REPORT_SEGMENTS_MAX)
            bodies = _join_calls(segments.values())
            count += len(bodies)
            yield ListingPage(rows=bodies, done_until=part.until)
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
) -> Generator[ListRequest | ListWait, ListReply | None, tuple[Segments, str]]:
    """Return the segments of a part, and the token, which may be another one."""
    segments: Segments = {}
    for skip in range(0, REPORT_SEGMENTS_MAX, PAGE_SEGMENTS):
        items, token = yield from _read_page(login, part, skip, token)
        segments |= {ids.CdrId: (ids.MainCallHistoryId, bytes(item)) for item in items for ids in [_read_ids(item)]}
        if len(items) < PAGE_SEGMENTS:
            break
    return segments, token


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


def _read_ids(item: msgspec.Raw) -> _Ids:
    try:
        return msgspec.json.decode(item, type=_Ids)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise list_unavailable(_("a segment of the report has no ids")) from None


def _join_calls(segments: Iterable[tuple[str, bytes]]) -> list[bytes]:
    """Return a body for each call, with its segments as they came."""
    by_call: dict[str, list[bytes]] = {}
    for call_id, item in segments:
        by_call.setdefault(call_id, []).append(item)
    return [b'{"value":[' + b",".join(items) + b"]}" for items in by_call.values()]
