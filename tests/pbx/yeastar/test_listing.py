"""Reading the PBX's call list: every row is found, whatever query form the firmware accepts."""

from random import Random
from typing import Any

import pytest

from onhook.lib.errors import OnhookError, ParseError, Unavailable
from onhook.pbx.client import PbxRequest, PbxResponse, SystemFacts, TimeWindow
from onhook.pbx.yeastar import listing
from onhook.pbx.yeastar.listing import ATTEMPTS_MAX, ListingSource
from onhook.pbx.yeastar.payload import Yeastar
from tests.pbx.yeastar.lists import FACTS, NOON, SN, FakeCallListApi, make_reply, read_all, row, run_count

DAY = 86_400
WINDOW = TimeWindow(since=NOON - DAY, until=NOON + DAY)
YEASTAR = Yeastar()


def rows(count: int = 40, spread: int = DAY) -> list[dict[str, Any]]:
    random = Random(1)
    return [row(NOON - random.randrange(spread), number) for number in range(count)]


def call_ids(wrapped_rows: list[bytes]) -> set[str]:
    return {YEASTAR.parse(body)[0].call_id for body in wrapped_rows}


def call_ids_in_window(pbx: FakeCallListApi) -> set[str]:
    return {listed_row["call_id"] for listed_row in pbx.rows if WINDOW.since <= listed_row["timestamp"] < WINDOW.until}


def test_listing_uses_seconds_if_firmware_accepts_them() -> None:
    pbx = FakeCallListApi(rows())
    result, wrapped_rows, done_until = read_all(pbx, WINDOW)
    assert call_ids(wrapped_rows) == call_ids_in_window(pbx)
    assert (result.incomplete_reason, result.row_count >= 40, done_until[-1]) == ("", True, WINDOW.until)
    assert all(request.path.endswith("cdr/search") for request in pbx.requests)


def test_trouble_3_listing_uses_display_format_if_seconds_are_rejected() -> None:
    """yeastar-p-series.md 12, 3: and the other way round; 40002 does not end the listing."""
    pbx = FakeCallListApi(rows())
    pbx.accepts_seconds = False
    assert call_ids(read_all(pbx, WINDOW)[1]) == call_ids_in_window(pbx)
    pbx = FakeCallListApi(rows())
    pbx.accepts_display = False
    assert call_ids(read_all(pbx, WINDOW)[1]) == call_ids_in_window(pbx)


@pytest.mark.parametrize("accepts_display", [True, False])
def test_trouble_3_listing_detects_firmware_that_ignores_seconds(accepts_display: bool) -> None:
    """yeastar-p-series.md 12, 3: if seconds do not find a call that is known to exist, another query form is used."""
    pbx = FakeCallListApi(rows())
    pbx.returns_nothing_for_seconds, pbx.accepts_display = True, accepts_display
    assert call_ids(read_all(pbx, WINDOW)[1]) == call_ids_in_window(pbx)


def test_listing_trusts_empty_window_if_same_query_finds_another_call() -> None:
    """An office that was closed for a day does not cause a read of the whole list."""
    pbx = FakeCallListApi([row(NOON - 5 * DAY, 1)])
    result, wrapped_rows, _ = read_all(pbx, WINDOW)
    assert (wrapped_rows, result.incomplete_reason) == ([], "")
    assert len(pbx.requests) < 10
    assert read_all(FakeCallListApi([]), WINDOW)[1] == []


def test_trouble_26_listing_reads_whole_list_if_all_forms_are_rejected() -> None:
    """yeastar-p-series.md 12, 26: from the newest call backwards to the start of the window."""
    pbx = FakeCallListApi([*rows(), *[row(NOON - 3 * DAY - number, number) for number in range(100)]])
    pbx.accepts_seconds = pbx.accepts_display = False
    result, wrapped_rows, _ = read_all(pbx, WINDOW, rows_max=10)
    assert call_ids(wrapped_rows) == call_ids_in_window(pbx)
    assert result.incomplete_reason == ""
    assert sum(request.path.endswith("cdr/list") for request in pbx.requests) < 10


def test_listing_by_pages_finds_all_rows_while_rows_arrive() -> None:
    """New rows move others to later pages, where they are read again."""
    pbx = FakeCallListApi(rows())
    expected = call_ids_in_window(pbx)
    pbx.accepts_seconds = pbx.accepts_display = False
    pbx.on_request = lambda request: pbx.rows.append(row(NOON + len(pbx.requests), 1000 + len(pbx.requests)))
    assert expected <= call_ids(read_all(pbx, WINDOW, rows_max=7)[1])


def test_listing_by_pages_restarts_after_rows_were_deleted() -> None:
    """Deleted rows move others to earlier pages, which were already read."""
    pbx = FakeCallListApi(rows())
    pbx.accepts_seconds = pbx.accepts_display = False

    def delete(request: PbxRequest) -> None:
        if request.query.get("page") == "2" and len(pbx.rows) == 40:
            pbx.rows.sort(key=lambda listed_row: -int(listed_row["timestamp"]))
            del pbx.rows[:5]

    pbx.on_request = delete
    result, wrapped_rows, _ = read_all(pbx, WINDOW, rows_max=7)
    assert call_ids_in_window(pbx) <= call_ids(wrapped_rows)
    assert result.incomplete_reason == ""


@pytest.mark.parametrize("rows_max", [3, 10, 1000])
def test_listing_by_windows_splits_windows_to_fit_on_page(rows_max: int) -> None:
    """Rows of one second that exceed a page are paged."""
    pbx = FakeCallListApi([*rows(300), *[row(NOON - 7, number) for number in range(1000, 1012)]])
    result, wrapped_rows, done_until = read_all(pbx, WINDOW, rows_max=rows_max)
    assert call_ids(wrapped_rows) == call_ids_in_window(pbx)
    assert result.incomplete_reason == ""
    assert done_until == sorted(done_until)


def test_listing_with_smaller_pages_than_requested_finds_all_rows() -> None:
    """The count shows that there are more rows."""
    pbx = FakeCallListApi(rows(300))
    pbx.page_max = 20
    assert call_ids(read_all(pbx, WINDOW)[1]) == call_ids_in_window(pbx)


def test_listing_by_windows_finds_all_rows_while_rows_arrive() -> None:
    """All rows that were in the window at the start are read."""
    pbx = FakeCallListApi(rows(200))
    expected = call_ids_in_window(pbx)
    pbx.on_request = lambda request: pbx.rows.append(row(NOON - 50 * len(pbx.requests), 1000 + len(pbx.requests)))
    result, wrapped_rows, _ = read_all(pbx, WINDOW, rows_max=20)
    assert expected <= call_ids(wrapped_rows)
    assert result.incomplete_reason == ""


def test_listing_with_count_above_rows_reports_difference() -> None:
    pbx = FakeCallListApi(rows())
    original_respond = pbx.respond

    def respond_with_higher_count(request: PbxRequest) -> Any:
        response = original_respond(request)
        return make_reply({**response.members, "total_number": response.members["total_number"] + 1})

    pbx.respond = respond_with_higher_count  # type: ignore[method-assign] # one row more is counted than is listed
    result, wrapped_rows, _ = read_all(pbx, WINDOW)
    assert len(wrapped_rows) == 40
    assert "counts 41 calls and lists 40" in result.incomplete_reason


def test_trouble_25_listing_uses_v2_if_v1_is_missing() -> None:
    """yeastar-p-series.md 12, 25, and 7.1: calls are identified by `uid`, under the stored call ids where
    they are known.
    """
    pbx = FakeCallListApi(rows())
    pbx.has_v1 = False
    for listed_row in pbx.rows:
        listed_row.pop("call_id")
    known_call_ids = {pbx.rows[0]["uid"]: "1777291200.7"}
    _, wrapped_rows, _ = read_all(pbx, WINDOW, ids=known_call_ids)
    assert len(wrapped_rows) == 40
    assert call_ids(wrapped_rows) == {
        known_call_ids.get(listed_row["uid"], listed_row["uid"]) for listed_row in pbx.rows
    }


@pytest.mark.parametrize(("errcode", "error"), [(-2, Unavailable), (10004, Unavailable), (10005, OnhookError)])
def test_listing_error_response_ends_listing(errcode: int, error: type[OnhookError]) -> None:
    """The error contains the PBX's text; only some errors are worth a retry."""
    pbx = FakeCallListApi(rows())
    pbx.respond = lambda request: make_reply({"errcode": errcode, "errmsg": "NO"})  # type: ignore[method-assign] # nothing else
    with pytest.raises(error, match=str(errcode)):
        read_all(pbx, WINDOW)


def test_listing_invalid_response_ends_listing() -> None:
    """An invalid response is never read as an empty list."""
    pbx = FakeCallListApi(rows())
    pbx.respond = lambda request: make_reply({"errcode": 0, "total_number": "many", "data": 7})  # type: ignore[method-assign] # nothing else
    with pytest.raises(Unavailable, match="could not parse the PBX's call list"):
        read_all(pbx, WINDOW)


def test_listing_without_date_format_uses_seconds() -> None:
    pbx = FakeCallListApi(rows())
    assert call_ids(read_all(pbx, WINDOW, facts=SystemFacts())[1]) == call_ids_in_window(pbx)


def test_listing_without_date_format_reads_whole_list_if_seconds_are_rejected() -> None:
    pbx = FakeCallListApi(rows())
    pbx.accepts_seconds = False
    assert call_ids(read_all(pbx, WINDOW, facts=SystemFacts())[1]) == call_ids_in_window(pbx)
    assert pbx.requests[-1].path.endswith("cdr/list")


def test_listing_reads_whole_list_if_start_of_newest_call_is_unreadable() -> None:
    """No query can be tested with such a call, so an empty response of one is not trusted."""
    pbx = FakeCallListApi(rows())
    pbx.returns_nothing_for_seconds = True
    original_respond = pbx.respond

    def respond_without_timestamps(request: PbxRequest) -> PbxResponse:
        members = original_respond(request).members
        listed_rows = [without_timestamp(listed_row) for listed_row in members.get("data", [])]
        return make_reply({**members, "data": listed_rows})

    pbx.respond = respond_without_timestamps  # type: ignore[method-assign] # the only change
    _, wrapped_rows, _ = read_all(pbx, WINDOW, facts=SystemFacts())
    assert len(wrapped_rows) == len(call_ids_in_window(pbx))


def without_timestamp(listed_row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in listed_row.items() if name != "timestamp"}


def test_listing_by_pages_with_smaller_pages_than_requested_finds_all_rows() -> None:
    """The count shows that there are more rows."""
    pbx = FakeCallListApi(rows(300))
    pbx.accepts_seconds = pbx.accepts_display = False
    pbx.page_max = 20
    result, wrapped_rows, _ = read_all(pbx, WINDOW)
    assert call_ids(wrapped_rows) == call_ids_in_window(pbx)
    assert result.incomplete_reason == ""


def test_listing_by_pages_without_end_is_reported_as_incomplete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "WALK_PAGES_MAX", 3)
    pbx = FakeCallListApi(rows())
    pbx.accepts_seconds = pbx.accepts_display = False
    result, wrapped_rows, _ = read_all(pbx, WINDOW, rows_max=10)
    assert len(wrapped_rows) == 30
    assert "more than 3 pages" in result.incomplete_reason


def test_listing_by_pages_with_rows_deleted_in_each_attempt_is_reported_as_incomplete() -> None:
    pbx = FakeCallListApi(rows())
    pbx.accepts_seconds = pbx.accepts_display = False

    def delete(request: PbxRequest) -> None:
        if request.query.get("page") == "2":
            del pbx.rows[0]

    pbx.on_request = delete
    result, _, _ = read_all(pbx, WINDOW, rows_max=30)
    assert "rows were deleted" in result.incomplete_reason
    assert len(pbx.rows) == 40 - ATTEMPTS_MAX


def test_listing_by_pages_keeps_rows_that_are_no_objects() -> None:
    """They may be calls; the reason why they cannot be parsed is stored in the quarantine."""
    pbx = FakeCallListApi(rows())
    pbx.respond = lambda request: (  # type: ignore[method-assign] # nothing else
        make_reply({"errcode": 0, "total_number": 1, "data": [7]})
        if request.path.endswith("cdr/list")
        else make_reply({"errcode": 40002, "errmsg": "PARAMETER ERROR"})
    )
    (wrapped_row,) = read_all(pbx, WINDOW)[1]
    with pytest.raises(ParseError, match="not a JSON object"):
        YEASTAR.parse(wrapped_row)


def test_listing_with_smaller_pages_and_count_above_rows_keeps_rows_of_all_pages() -> None:
    pbx = FakeCallListApi(rows())
    pbx.page_max = 15
    original_respond = pbx.respond

    def respond_with_higher_count(request: PbxRequest) -> PbxResponse:
        members = original_respond(request).members
        return make_reply({**members, "total_number": members["total_number"] + 1})

    pbx.respond = respond_with_higher_count  # type: ignore[method-assign] # one row more is counted than is listed
    result, wrapped_rows, _ = read_all(pbx, WINDOW)
    assert len(wrapped_rows) == 40
    assert "counts 41 calls and lists 40" in result.incomplete_reason


def test_listing_with_count_but_without_rows_reports_difference() -> None:
    pbx = FakeCallListApi(rows())
    pbx.respond = lambda request: make_reply({"errcode": 0, "total_number": 2, "data": []})  # type: ignore[method-assign] # nothing else
    result, wrapped_rows, _ = read_all(pbx, WINDOW)
    assert wrapped_rows == []
    assert "counts 2 calls and lists 0" in result.incomplete_reason


@pytest.mark.parametrize("path", ["cdr/search", "cdr/list", "cdr/detail"])
def test_listing_error_response_after_first_request_ends_listing(path: str) -> None:
    """To the test query with the newest call, to the list, and to the query of a call's legs."""
    pbx = FakeCallListApi(rows())
    pbx.accepts_seconds, pbx.has_v1 = False, path != "cdr/detail"
    original_respond = pbx.respond

    def respond_with_error(request: PbxRequest) -> PbxResponse:
        is_affected = request.path.endswith(path) and pbx.requests
        return make_reply({"errcode": -2, "errmsg": "NO"}) if is_affected else original_respond(request)

    pbx.respond = respond_with_error  # type: ignore[method-assign] # the only change
    with pytest.raises(Unavailable, match="-2 NO"):
        read_all(pbx, WINDOW)


def count_calls(pbx: FakeCallListApi) -> int | None:
    return run_count(pbx, listing.count_calls(ListingSource(sn=SN, facts=FACTS), WINDOW))


def test_count_calls_returns_count_of_pbx_without_reading_rows() -> None:
    pbx = FakeCallListApi([*rows(), row(NOON - 3 * DAY, 99)])
    assert count_calls(pbx) == 40
    pbx.accepts_seconds = False
    assert count_calls(pbx) == 40
    assert all(request.query["page_size"] == "1" for request in pbx.requests)


@pytest.mark.parametrize("has_v1", [True, False])
def test_count_calls_without_query_by_window_returns_none(has_v1: bool) -> None:
    """Not the number of all rows."""
    pbx = FakeCallListApi(rows())
    pbx.has_v1 = has_v1
    pbx.accepts_seconds = pbx.accepts_display = False
    assert count_calls(pbx) is None


@pytest.mark.parametrize("errcode", [-2, 10005])
def test_count_calls_error_response_is_raised(errcode: int) -> None:
    pbx = FakeCallListApi(rows())
    pbx.respond = lambda request: make_reply({"errcode": errcode, "errmsg": "NO"})  # type: ignore[method-assign] # nothing else
    with pytest.raises(OnhookError, match=f"{errcode} NO"):
        count_calls(pbx)
