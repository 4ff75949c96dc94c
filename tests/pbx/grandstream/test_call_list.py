"""The steps that read the list of calls of a UCM. The replies are constructed as in the vendor's guides."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from onhook.lib.errors import NotAllowed, OnhookError, Unavailable
from onhook.pbx import call_list as contract
from onhook.pbx.call_list import CallListSettings, ListReply, ListRequest, ListWait, wait_before
from onhook.pbx.client import ClientCredentials, ListingPage, ListingResult, TimeWindow
from onhook.pbx.grandstream import call_list
from onhook.pbx.grandstream.call_list import UcmCallList, build_query, read_entries
from tests.pbx.grandstream.test_acceptance import CDRAPI, GRANDSTREAM

NOON = round(datetime(2026, 8, 3, 12, tzinfo=UTC).timestamp())
SETTINGS = CallListSettings(
    login=ClientCredentials("cdrapi", "secret-text"), window=TimeWindow(since=NOON, until=NOON + 3600)
)
CHALLENGE, COOKIE = {"response": {"challenge": "1"}, "status": 0}, {"response": {"cookie": "sid1"}, "status": 0}
EMPTY: dict[str, Any] = {"cdr_root": []}

Step = ListRequest | ListWait | ListingPage | ListingResult


def reply(members: object, status: int = 200) -> ListReply:
    return ListReply(status=status, body=members if isinstance(members, bytes) else json.dumps(members).encode())


def run(replies: Sequence[object], settings: CallListSettings = SETTINGS) -> list[Step]:
    """Return the steps with these replies to the requests; the result is the last one."""
    steps: list[Step] = []
    listing, remaining = UcmCallList().list_calls(settings), list(replies)
    answer: ListReply | None = None
    while True:
        try:
            step = listing.send(answer)
        except StopIteration as end:
            assert not remaining
            return [*steps, end.value]
        steps.append(step)
        answer = None
        if isinstance(step, ListRequest):
            item = remaining.pop(0)
            answer = item if isinstance(item, ListReply) else reply(item)


def test_ucm_list_has_an_event_for_each_entry_as_it_came() -> None:
    """A summary is never without its stages, and the call is that of the acceptance test."""
    entries = read_entries(CDRAPI)
    assert [len(GRANDSTREAM.parse(body)) for body in entries] == [2, 1]
    assert [details for body in entries for details in GRANDSTREAM.parse(body)] == GRANDSTREAM.parse(CDRAPI)
    assert b'"AcctId": "800"' in entries[0]
    assert read_entries(b'{"response":' + CDRAPI + b',"status":0}') == entries


def test_ucm_list_is_read_with_a_cookie_that_the_password_does_not_leave() -> None:
    steps = run([CHALLENGE, COOKIE, CDRAPI])
    requests = [step for step in steps if isinstance(step, ListRequest)]
    assert [json.loads(request.body)["request"]["action"] for request in requests] == ["challenge", "login", "cdrapi"]
    assert not any(b"secret-text" in request.body for request in requests)
    assert json.loads(requests[1].body)["request"]["token"] == "0bd229d114a4c88539d8928b213825a5"
    page, result = steps[-2:]
    assert isinstance(page, ListingPage)
    assert (len(page.rows), page.done_until, result) == (2, NOON + 3600, ListingResult(row_count=2, pbx_count=2))
    assert "secret-text" not in repr(requests)


def test_ucm_list_of_the_older_api_uses_digest() -> None:
    steps = run([reply(b"", 404), EMPTY])
    assert [(step.path, step.is_digest) for step in steps if isinstance(step, ListRequest)] == [
        ("/api", False),
        ("/cdrapi", True),
    ]


@pytest.mark.parametrize(
    ("zone", "since", "until"),
    [
        (None, "2026-08-02T22:00:00", "2026-08-04T03:00:00"),
        ("Europe/Berlin", "2026-08-03T14:00:00", "2026-08-03T15:00:00"),
    ],
)
def test_ucm_list_window_is_by_its_own_clock(zone: str | None, since: str, until: str) -> None:
    settings = CallListSettings(login=SETTINGS.login, window=SETTINGS.window, zone=ZoneInfo(zone) if zone else None)
    query = build_query(settings, SETTINGS.window, 1000)
    assert query == {"format": "json", "numRecords": "1000", "offset": "1000", "startTime": since, "endTime": until}


def test_ucm_list_goes_on_page_by_page_and_day_by_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_list, "PAGE_ROWS", 2)
    window = TimeWindow(since=NOON, until=NOON + 100_000)
    settings = CallListSettings(login=SETTINGS.login, window=window, zone=UTC)
    row = {"AcctId": "1"}
    full, half = {"cdr_root": [row, row]}, {"cdr_root": [row]}
    steps = run([CHALLENGE, COOKIE, full, half, full, EMPTY], settings)
    pages = [step for step in steps if isinstance(step, ListingPage)]
    assert [(len(page.rows), page.done_until - NOON) for page in pages] == [
        *((2, 0), (1, 86_400), (2, 86_400), (0, 100_000)),
    ]
    assert steps[-1] == ListingResult(row_count=5, pbx_count=5)


def test_ucm_list_without_an_end_is_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_list, "PAGE_ROWS", 1)
    monkeypatch.setattr(call_list, "PAGES_MAX", 2)
    entry = {"cdr_root": [{"AcctId": "1"}]}
    result = run([CHALLENGE, COOKIE, entry, entry])[-1]
    assert isinstance(result, ListingResult)
    assert "more than 2 calls in a day" in result.incomplete_reason


def test_ucm_list_with_a_cookie_that_expired_logs_in_again() -> None:
    steps = run([CHALLENGE, COOKIE, {"status": -6}, CHALLENGE, COOKIE, EMPTY])
    assert isinstance(steps[-1], ListingResult)
    with pytest.raises(NotAllowed, match="does not accept the cookie"):
        run([CHALLENGE, COOKIE, *[{"status": -6}, CHALLENGE, COOKIE] * call_list.LOGINS_MAX])


def test_ucm_list_of_a_busy_ucm_is_asked_for_again_later() -> None:
    steps = run([CHALLENGE, COOKIE, {"status": -45}, reply(b"", 503), EMPTY])
    assert [step.seconds for step in steps if isinstance(step, ListWait)] == [2.0, 2.0]
    with pytest.raises(Unavailable, match="another operation is going on"):
        run([CHALLENGE, COOKIE, *[{"status": -45}] * call_list.BUSY_ATTEMPTS_MAX])
    with pytest.raises(Unavailable, match="no time for requests"):
        run([reply(b"", 429)] * contract.ATTEMPTS_MAX)
    assert [wait_before(0, seconds).seconds for seconds in (0.0, 30.0, 600.0)] == [2.0, 30.0, contract.WAIT_SECONDS_MAX]


@pytest.mark.parametrize(
    ("replies", "error_type", "reason"),
    [
        ([{"status": -37}], NotAllowed, "status -37"),
        ([CHALLENGE, {"status": -6}], NotAllowed, "status -6"),
        ([CHALLENGE, {"status": -1}], Unavailable, "status -1"),
        ([CHALLENGE, COOKIE, {"status": -47}], NotAllowed, "status -47"),
        ([reply(b"", 401), reply(b"", 401)], NotAllowed, "HTTP status 401"),
        ([reply(b"", 500), reply(b"", 404)], Unavailable, "HTTP status 404"),
        ([CHALLENGE, reply(b"", 500)], Unavailable, "HTTP status 500"),
        ([reply(b"<html>")], Unavailable, "no JSON"),
        ([{"response": {}, "status": 0}], Unavailable, "no challenge"),
        ([{"response": [], "status": 0}], Unavailable, "no challenge"),
        ([[1]], Unavailable, "no challenge"),
        ([CHALLENGE, {"response": {"cookie": None}}], Unavailable, "no cookie"),
        ([CHALLENGE, COOKIE, {"status": "text", "rows": []}], Unavailable, "no list of calls"),
        ([CHALLENGE, COOKIE, {"cdr_root": {}}], Unavailable, "no list of calls"),
        ([reply(b"", 404), reply(b"", 403)], NotAllowed, "HTTP status 403"),
        ([reply(b"", 404), reply(b"[]")], Unavailable, "no list of calls"),
        ([reply(b"", 404), reply(b"\xff")], Unavailable, "no list of calls"),
    ],
)
def test_ucm_list_that_cannot_be_read_is_an_error(
    replies: Sequence[object], error_type: type[OnhookError], reason: str
) -> None:
    with pytest.raises(error_type, match=reason):
        run(replies)
