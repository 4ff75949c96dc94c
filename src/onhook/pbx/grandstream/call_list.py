"""The list of calls of a Grandstream UCM: `cdrapi`, by login and cookie, or by HTTP Digest (grandstream.md 5).

Invariants: a window is read in parts of a day, each in pages of 1,000 rows. Each entry is a raw event of its own, as
its bytes came, so that a summary is never without its stages. A cookie that has expired costs one login.
"""

import hashlib
from collections.abc import Generator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from onhook.lib.messages import _
from onhook.pbx.call_list import (
    CallListSettings,
    CallListSteps,
    ListReply,
    ListRequest,
    ListWait,
    RequestSteps,
    credentials_refused,
    list_unavailable,
    raise_for_status,
    request_patiently,
    split_days,
    wait_before,
)
from onhook.pbx.client import ClientCredentials, ListingPage, ListingResult, TimeWindow
from onhook.pbx.json_fields import decode_json

PAGE_ROWS: Final = 1_000
"""As many as a UCM returns at once."""

PART_SECONDS: Final = 86_400
PAGES_MAX: Final = 1_000
"""Pages of one part: a million calls of a day; more would be a list that does not end."""

OFFSET_HOURS_MAX: Final = 14
"""A UCM reads the times of a request by its own clock. Without a zone, a window is wider by the largest offset."""

LOGINS_MAX: Final = 3
BUSY_ATTEMPTS_MAX: Final = 4

API_PATH, DIGEST_PATH = "/api", "/cdrapi"

_EXPIRED = frozenset({-5, -6})
_REFUSED = frozenset({-37, -47, -68, -69, -70})
_BUSY = frozenset({-8, -9, -45, -51})
"""Values of `status`: the cookie has expired; user, password or rights are wrong; another operation is going on."""

_JSON_HEADERS = {"Content-Type": "application/json;charset=UTF-8"}


class _Expired(Exception):
    """The cookie is no longer accepted."""


class UcmCallList:
    """See the contract, `pbx.call_list.CallListClient`."""

    settle_seconds = 0

    def list_calls(self, settings: CallListSettings) -> CallListSteps:
        cookie = yield from _log_in(settings.login)
        row_count = 0
        for part in split_days(settings.window, PART_SECONDS):
            offset = 0
            for _page in range(PAGES_MAX):
                entries, cookie = yield from _read_page(settings, part, offset, cookie)
                row_count += len(entries)
                is_last = len(entries) < PAGE_ROWS
                yield ListingPage(rows=entries, done_until=part.until if is_last else part.since)
                if is_last:
                    break
                offset += PAGE_ROWS
            else:
                reason = _("the list has more than {count} calls in a day", count=PAGES_MAX * PAGE_ROWS)
                return ListingResult(row_count=row_count, pbx_count=row_count, incomplete_reason=reason)
        return ListingResult(row_count=row_count, pbx_count=row_count)


def build_query(settings: CallListSettings, part: TimeWindow, offset: int) -> dict[str, str]:
    """Return the parameters of a request, with times by the clock of the UCM."""
    since, until = (datetime.fromtimestamp(seconds, settings.zone or UTC) for seconds in (part.since, part.until))
    if settings.zone is None:
        since, until = since - timedelta(hours=OFFSET_HOURS_MAX), until + timedelta(hours=OFFSET_HOURS_MAX)
    return {
        "format": "json",
        "numRecords": str(PAGE_ROWS),
        "offset": str(offset),
        "startTime": f"{since:%Y-%m-%dT%H:%M:%S}",
        "endTime": f"{until:%Y-%m-%dT%H:%M:%S}",
    }


def _log_in(login: ClientCredentials) -> Generator[ListRequest | ListWait, ListReply | None, str]:
    """Return the cookie; an empty one where the UCM does not have this API, but the older one with Digest."""
    challenge_request = {"action": "challenge", "user": login.client_id, "version": "1.0"}
    reply = yield from request_patiently(_api_request(challenge_request))
    if reply.status != 200:
        return ""
    challenge = _read_member(reply, "challenge")
    # The UCM wants MD5.
    token = hashlib.md5(f"{challenge}{login.client_secret}".encode(), usedforsecurity=False).hexdigest()
    reply = yield from request_patiently(
        _api_request({"action": "login", "user": login.client_id, "token": token, "url": API_PATH})
    )
    return _read_member(reply, "cookie")


def _read_page(
    settings: CallListSettings, part: TimeWindow, offset: int, cookie: str
) -> Generator[ListRequest | ListWait, ListReply | None, tuple[Sequence[bytes], str]]:
    """Return the entries of a page, and the cookie, which may be another one. Raises `OnhookError`."""
    query = build_query(settings, part, offset)
    for _login in range(LOGINS_MAX):
        try:
            return (yield from _request_entries(query, cookie)), cookie
        except _Expired:
            cookie = yield from _log_in(settings.login)
    raise credentials_refused(_("it does not accept the cookie that it has issued"))


def _request_entries(
    query: Mapping[str, str], cookie: str
) -> Generator[ListRequest | ListWait, ListReply | None, Sequence[bytes]]:
    if not cookie:
        reply = yield from request_patiently(ListRequest(path=DIGEST_PATH, query=query, is_digest=True))
        raise_for_status(reply)
        return read_entries(reply.body)
    reply = yield from _request_when_free(_api_request({"action": "cdrapi", "cookie": cookie, **query}))
    return read_entries(reply.body)


def _request_when_free(request: ListRequest) -> RequestSteps:
    """Send a request, again while another operation is going on at the UCM. Raises `_Expired`, `OnhookError`."""
    for attempt in range(BUSY_ATTEMPTS_MAX):
        reply = yield from request_patiently(request)
        raise_for_status(reply)
        status = _read_status(reply.body)
        if status == 0:
            return reply
        if status in _EXPIRED:
            raise _Expired
        if status not in _BUSY:
            raise _status_error(status)
        yield wait_before(attempt)
    raise list_unavailable(_("another operation is going on at the UCM"))


def read_entries(body: bytes) -> list[bytes]:
    """Return the bodies of the entries of a reply, each a list of one. Raises `Unavailable`."""
    try:
        members = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
        if "cdr_root" not in members and "response" in members:
            members = msgspec.json.decode(members["response"], type=dict[str, msgspec.Raw])
        entries = msgspec.json.decode(members["cdr_root"], type=list[msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, KeyError):
        raise list_unavailable(_("the response is no list of calls")) from None
    return [b'{"cdr_root":[' + bytes(entry) + b"]}" for entry in entries]


def _read_status(body: bytes) -> int:
    """Return the `status` of a reply; 0 where it has none, as a list of calls."""
    members = decode_json(body)
    if members is None:
        raise list_unavailable(_("the response is no JSON"))
    status = members.get("status", 0) if isinstance(members, dict) else 0
    return status if isinstance(status, int) else 0


def _read_member(reply: ListReply, name: str) -> str:
    """Return a text of the response to a login. Raises `OnhookError`."""
    raise_for_status(reply)
    status = _read_status(reply.body)
    if status:
        raise _status_error(status)
    members = decode_json(reply.body)
    response: Any = members.get("response") if isinstance(members, dict) else None
    value = response.get(name) if isinstance(response, dict) else None
    if not isinstance(value, str | int) or not value:
        raise list_unavailable(_("the response has no {name}", name=name))
    return str(value)


def _status_error(status: int) -> Exception:
    reason = _("status {status}", status=status)
    return credentials_refused(reason) if status in _REFUSED | _EXPIRED else list_unavailable(reason)


def _api_request(members: Mapping[str, str]) -> ListRequest:
    return ListRequest(
        method="POST", path=API_PATH, headers=_JSON_HEADERS, body=msgspec.json.encode({"request": members})
    )
