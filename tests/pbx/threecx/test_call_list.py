"""The steps that read the reports of a 3CX (X14). The replies are constructed from public descriptions of the XAPI."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import pytest

from onhook.lib.errors import NotAllowed, OnhookError, Unavailable
from onhook.pbx import call_list as contract
from onhook.pbx.call_list import CallListSettings, ListReply, ListRequest, ListWait
from onhook.pbx.client import ClientCredentials, ListingPage, ListingResult, TimeWindow
from onhook.pbx.threecx import call_list
from onhook.pbx.threecx.call_list import ThreeCxCallList

SINCE = 1_765_152_000
SETTINGS = CallListSettings(
    login=ClientCredentials("onhook", "secret-text"), window=TimeWindow(since=SINCE, until=SINCE + 3600)
)
TOKEN = {"access_token": "token-text", "expires_in": 60}

Step = ListRequest | ListWait | ListingPage | ListingResult


def segment(number: int, call: int | None = None) -> dict[str, Any]:
    return {"MainCallHistoryId": f"call-{number if call is None else call}", "CdrId": f"cdr-{number}"}


def page(*numbers: int) -> dict[str, Any]:
    return {"value": [segment(number) for number in numbers]}


def reply(members: object, status: int = 200, retry_seconds: float = 0.0) -> ListReply:
    body = members if isinstance(members, bytes) else json.dumps(members).encode()
    return ListReply(status=status, body=body, retry_seconds=retry_seconds)


def run(replies: Sequence[object], settings: CallListSettings = SETTINGS) -> list[Step]:
    """Return the steps with these replies to the requests; the result is the last one."""
    steps: list[Step] = []
    listing, remaining = ThreeCxCallList().list_calls(settings), list(replies)
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


def requests_of(steps: Sequence[Step]) -> list[ListRequest]:
    return [step for step in steps if isinstance(step, ListRequest)]


def pages_of(steps: Sequence[Step]) -> list[ListingPage]:
    return [step for step in steps if isinstance(step, ListingPage)]


def test_report_request_has_all_parameters_and_a_token() -> None:
    login, request = requests_of(run([TOKEN, page(1)]))
    assert parse_qs(login.body.decode()) == {
        "client_id": ["onhook"],
        "client_secret": ["secret-text"],
        "grant_type": ["client_credentials"],
    }
    assert "periodFrom=2025-12-07T23:00:00Z,periodTo=2025-12-08T02:00:00Z,sourceType=0" in request.path
    assert request.path.endswith("hidePcalls=true)")
    assert request.query == {"$top": "100", "$skip": "0"}
    assert request.headers == {"Authorization": "Bearer token-text"}
    assert "token-text" not in repr(request)


def test_x14_each_segment_counts_once_and_a_call_has_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """A page repeats a segment of the one before: another one may be missing. The token expires in the middle."""
    monkeypatch.setattr(call_list, "PAGE_SEGMENTS", 2)
    second = {"value": [segment(2), segment(3, call=1)]}
    second_read = [page(1, 4), second, page()]
    steps = run([TOKEN, page(1, 2), reply(b"", 401), TOKEN, second, page(), *second_read])
    (only_page,) = pages_of(steps)
    calls = [[item["CdrId"] for item in json.loads(row)["value"]] for row in only_page.rows]
    assert calls == [["cdr-1", "cdr-3"], ["cdr-2"], ["cdr-4"]]
    skips = [request.query.get("$skip") for request in requests_of(steps)]
    assert skips == [None, "0", "2", None, "2", "4", "0", "2", "4"]
    assert steps[-1] == ListingResult(row_count=3, pbx_count=3)


def test_report_whose_pages_overlap_each_time_is_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_list, "PAGE_SEGMENTS", 2)
    reads = [item for number in (3, 4, 5) for item in (page(1, 2), page(2, number), page())]
    result = run([TOKEN, *reads])[-1]
    assert isinstance(result, ListingResult)
    assert result.row_count == 5
    assert result.incomplete_reason == "the pages of a report overlap, also when it is read again"


def segment_from(number: int, call: int, seconds: float) -> dict[str, Any]:
    start = datetime.fromtimestamp(SINCE + seconds, UTC)
    return segment(number, call) | {"StartTime": f"{start:%Y-%m-%dT%H:%M:%S.%fZ}"}


def calls_of(steps: Sequence[Step]) -> list[list[list[str]]]:
    """Return the calls of each page, each as the ids of its segments."""
    return [[[item["CdrId"] for item in json.loads(row)["value"]] for row in item.rows] for item in pages_of(steps)]


def test_report_has_whole_calls_of_which_a_segment_began_in_its_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a call are read beyond the begin and the end of the part; a call is in one part alone."""
    monkeypatch.setattr(call_list, "PART_SECONDS", 1800)
    first = {
        "value": [
            segment_from(1, 1, -60),
            segment_from(2, 1, 5),
            segment_from(3, 2, 1799.5),
            segment_from(4, 2, 1805),
            segment_from(5, 3, 1800),
            segment_from(6, 4, -60),
        ]
    }
    steps = run([TOKEN, first, first])
    assert calls_of(steps) == [[["cdr-1", "cdr-2"], ["cdr-3", "cdr-4"]], [["cdr-5"]]]
    periods = [request.path.partition("periodTo")[0][-21:-1] for request in requests_of(steps)[1:]]
    assert periods == ["2025-12-07T23:30:00Z", "2025-12-08T00:00:00Z"]


def test_report_segment_long_after_the_begin_of_its_call_is_in_its_own_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The part in which the call began, and the time after it, do not have the segment."""
    monkeypatch.setattr(call_list, "PART_SECONDS", 600)
    parts = [
        {"value": [segment_from(*item)]} if item else page() for item in [(1, 1, 10), (), (), (2, 1, 1900), (), ()]
    ]
    assert calls_of(run([TOKEN, *parts])) == [[["cdr-1"]], [], [], [["cdr-1", "cdr-2"]], [], []]


def test_report_segments_that_began_more_than_two_hours_before_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_list, "PART_SECONDS", 600)
    monkeypatch.setattr(call_list, "OVERLAP_SECONDS", 900)
    parts = [
        {"value": [segment_from(*item)]} if item else page() for item in [(1, 1, 10), (), (2, 1, 1300), (), (), ()]
    ]
    assert calls_of(run([TOKEN, *parts])) == [[["cdr-1"]], [], [["cdr-2"]], [], [], []]


def test_report_no_more_segments_are_kept_than_a_report_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two parts, each with as many as a report may have, the latest ones are kept."""
    monkeypatch.setattr(call_list, "PART_SECONDS", 1200)
    monkeypatch.setattr(call_list, "PAGE_SEGMENTS", 3)
    monkeypatch.setattr(call_list, "REPORT_SEGMENTS_MAX", 3)
    parts = [
        {"value": [segment_from(number, number, seconds) for number, seconds in items]}
        for items in ([(1, 1), (2, 2)], [(3, 1201), (4, 1202)])
    ]
    last = {"value": [segment_from(5, 1, 2401), segment_from(6, 2, 2402)]}
    assert calls_of(run([TOKEN, *parts, last]))[2] == [["cdr-2", "cdr-6"], ["cdr-5"]]


def test_x14_busy_3cx_gets_the_delay_that_it_requests() -> None:
    steps = run([TOKEN, reply(b"", 429, 7.0), page(1)])
    assert [step.seconds for step in steps if isinstance(step, ListWait)] == [7.0]
    with pytest.raises(Unavailable, match="no time for requests"):
        run([TOKEN, *[reply(b"", 503)] * contract.ATTEMPTS_MAX])


def test_report_that_is_cut_off_is_read_in_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_list, "PAGE_SEGMENTS", 2)
    monkeypatch.setattr(call_list, "REPORT_SEGMENTS_MAX", 4)
    steps = run([TOKEN, page(1, 2), page(3, 4), page(1), page(2, 3), page(4)])
    pages = pages_of(steps)
    assert [(len(item.rows), item.done_until - SINCE) for item in pages] == [(1, 1800), (3, 3600)]
    monkeypatch.setattr(call_list, "PART_SECONDS_MIN", 3600)
    result = run([TOKEN, page(1, 2), page(3, 4)])[-1]
    assert isinstance(result, ListingResult)
    assert "more than 4 segments" in result.incomplete_reason
    overlapping = run([TOKEN, page(1, 2), page(2, 3)])[-1]
    assert isinstance(overlapping, ListingResult)
    assert "more than 4 segments" in overlapping.incomplete_reason


@pytest.mark.parametrize(
    ("replies", "error_type", "reason"),
    [
        ([reply(b"", 400)], NotAllowed, "HTTP status 400"),
        ([reply(b"", 403)], NotAllowed, "HTTP status 403"),
        ([reply(b"", 500)], Unavailable, "HTTP status 500"),
        ([{}], Unavailable, "no access_token"),
        ([TOKEN, *[reply(b"", 401), TOKEN] * call_list.LOGINS_MAX], NotAllowed, "does not accept the token"),
        ([TOKEN, reply(b"", 404)], Unavailable, "HTTP status 404"),
        ([TOKEN, {"value": {}}], Unavailable, "no list of calls"),
        ([TOKEN, {"value": [{"CdrId": "1"}]}], Unavailable, "a segment of the report has no ids"),
    ],
)
def test_report_that_cannot_be_read_is_an_error(
    replies: Sequence[object], error_type: type[OnhookError], reason: str
) -> None:
    with pytest.raises(error_type, match=reason):
        run(replies)
