"""Reading the PBX's list: whatever form its firmware takes, every row is found."""

from random import Random
from typing import Any

import pytest

from onhook.lib.errors import OnhookError, Unavailable
from onhook.pbx.client import PbxRequest, SystemFacts, TimeWindow
from onhook.pbx.yeastar.payload import Yeastar
from tests.pbx.yeastar.lists import NOON, FakeCallListApi, make_reply, read_all, row

DAY = 86_400
WINDOW = TimeWindow(since=NOON - DAY, until=NOON + DAY)
YEASTAR = Yeastar()


def rows(count: int = 40, spread: int = DAY) -> list[dict[str, Any]]:
    random = Random(1)
    return [row(NOON - random.randrange(spread), number) for number in range(count)]


def call_ids(kept: list[bytes]) -> set[str]:
    return {YEASTAR.parse(body)[0].call_id for body in kept}


def in_window(pbx: FakeCallListApi) -> set[str]:
    return {one["call_id"] for one in pbx.rows if WINDOW.since <= one["timestamp"] < WINDOW.until}


def test_seconds_are_asked_where_the_firmware_takes_them() -> None:
    """All rows, and what was counted."""
    pbx = FakeCallListApi(rows())
    listed, kept, done = read_all(pbx, WINDOW)
    assert call_ids(kept) == in_window(pbx)
    assert (listed.incomplete_reason, listed.row_count >= 40, done[-1]) == ("", True, WINDOW.until)
    assert all(request.path.endswith("cdr/search") for request in pbx.requests)


def test_trouble_3_a_firmware_that_refuses_seconds_is_asked_in_its_display_format() -> None:
    """yeastar-p-series.md 12, 3: and the other way round; 40002 is no reason to give up."""
    pbx = FakeCallListApi(rows())
    pbx.accepts_seconds = False
    assert call_ids(read_all(pbx, WINDOW)[1]) == in_window(pbx)
    pbx = FakeCallListApi(rows())
    pbx.accepts_display = False
    assert call_ids(read_all(pbx, WINDOW)[1]) == in_window(pbx)


@pytest.mark.parametrize("takes_display", [True, False])
def test_trouble_3_a_firmware_that_takes_seconds_and_returns_nothing_is_seen_through(takes_display: bool) -> None:
    """yeastar-p-series.md 12, 3: a call that is surely there must be found, or the question is asked otherwise."""
    pbx = FakeCallListApi(rows())
    pbx.returns_nothing_for_seconds, pbx.accepts_display = True, takes_display
    assert call_ids(read_all(pbx, WINDOW)[1]) == in_window(pbx)


def test_no_rows_are_believed_where_the_same_question_finds_another_call() -> None:
    """An office was closed for a day; that is no reason to read the whole list."""
    pbx = FakeCallListApi([row(NOON - 5 * DAY, 1)])
    listed, kept, _ = read_all(pbx, WINDOW)
    assert (kept, listed.incomplete_reason) == ([], "")
    assert len(pbx.requests) < 10
    assert read_all(FakeCallListApi([]), WINDOW)[1] == []


def test_trouble_26_every_form_may_be_refused() -> None:
    """yeastar-p-series.md 12, 26: then the list is read from its newest call backwards, until the calls are older."""
    pbx = FakeCallListApi([*rows(), *[row(NOON - 3 * DAY - number, number) for number in range(100)]])
    pbx.accepts_seconds = pbx.accepts_display = False
    listed, kept, _ = read_all(pbx, WINDOW, rows_max=10)
    assert call_ids(kept) == in_window(pbx)
    assert listed.incomplete_reason == ""
    assert sum(request.path.endswith("cdr/list") for request in pbx.requests) < 10


def test_rows_that_arrive_while_the_list_is_walked_lose_none() -> None:
    """They push others to later pages, where these are read again."""
    pbx = FakeCallListApi(rows())
    expected = in_window(pbx)
    pbx.accepts_seconds = pbx.accepts_display = False
    pbx.on_request = lambda request: pbx.rows.append(row(NOON + len(pbx.requests), 1000 + len(pbx.requests)))
    assert expected <= call_ids(read_all(pbx, WINDOW, rows_max=7)[1])


def test_rows_that_are_deleted_while_the_list_is_walked_make_it_be_read_again() -> None:
    """They pull others to earlier pages, where nobody looks any more."""
    pbx = FakeCallListApi(rows())
    pbx.accepts_seconds = pbx.accepts_display = False

    def delete(request: PbxRequest) -> None:
        if request.query.get("page") == "2" and len(pbx.rows) == 40:
            pbx.rows.sort(key=lambda one: -int(one["timestamp"]))
            del pbx.rows[:5]

    pbx.on_request = delete
    listed, kept, _ = read_all(pbx, WINDOW, rows_max=7)
    assert in_window(pbx) <= call_ids(kept)
    assert listed.incomplete_reason == ""


@pytest.mark.parametrize("rows_max", [3, 10, 1000])
def test_windows_are_made_so_small_that_each_fits_on_a_page(rows_max: int) -> None:
    """Rows in one second too: they are paged."""
    pbx = FakeCallListApi([*rows(300), *[row(NOON - 7, number) for number in range(1000, 1012)]])
    listed, kept, done = read_all(pbx, WINDOW, rows_max=rows_max)
    assert call_ids(kept) == in_window(pbx)
    assert listed.incomplete_reason == ""
    assert done == sorted(done)


def test_a_firmware_with_smaller_pages_than_it_was_asked_for_loses_no_row() -> None:
    """What it counts says that there is more."""
    pbx = FakeCallListApi(rows(300))
    pbx.page_max = 20
    assert call_ids(read_all(pbx, WINDOW)[1]) == in_window(pbx)


def test_rows_that_arrive_while_windows_are_read_lose_none() -> None:
    """Those of the window that were there when reading began are all read."""
    pbx = FakeCallListApi(rows(200))
    expected = in_window(pbx)
    pbx.on_request = lambda request: pbx.rows.append(row(NOON - 50 * len(pbx.requests), 1000 + len(pbx.requests)))
    listed, kept, _ = read_all(pbx, WINDOW, rows_max=20)
    assert expected <= call_ids(kept)
    assert listed.incomplete_reason == ""


def test_a_count_that_is_never_listed_is_said() -> None:
    """The difference is a named gap, not silence."""
    pbx = FakeCallListApi(rows())
    answer = pbx.respond

    def hidden(request: PbxRequest) -> Any:
        found = answer(request)
        return make_reply({**found.members, "total_number": found.members["total_number"] + 1})

    pbx.respond = hidden  # type: ignore[method-assign] # one row more is counted than is listed
    listed, kept, _ = read_all(pbx, WINDOW)
    assert len(kept) == 40
    assert "counts 41 calls and lists 40" in listed.incomplete_reason


def test_trouble_25_a_firmware_without_the_first_version_is_read_by_the_second() -> None:
    """yeastar-p-series.md 12, 25, and 7.1: calls are told apart by `uid`, under the ids that are known here."""
    pbx = FakeCallListApi(rows())
    pbx.has_v1 = False
    for one in pbx.rows:
        one.pop("call_id")
    known = {pbx.rows[0]["uid"]: "1777291200.7"}
    _, kept, _ = read_all(pbx, WINDOW, ids=known)
    assert len(kept) == 40
    assert call_ids(kept) == {known.get(one["uid"], one["uid"]) for one in pbx.rows}


@pytest.mark.parametrize(("errcode", "error"), [(-2, Unavailable), (10004, Unavailable), (10005, OnhookError)])
def test_an_answer_that_is_no_list_ends_the_reading(errcode: int, error: type[OnhookError]) -> None:
    """With what the PBX said; only some are worth another try."""
    pbx = FakeCallListApi(rows())
    pbx.respond = lambda request: make_reply({"errcode": errcode, "errmsg": "NO"})  # type: ignore[method-assign] # nothing else
    with pytest.raises(error, match=str(errcode)):
        read_all(pbx, WINDOW)


def test_garbage_ends_the_reading() -> None:
    """A list that is no list is never read as an empty one."""
    pbx = FakeCallListApi(rows())
    pbx.respond = lambda request: make_reply({"errcode": 0, "total_number": "many", "data": 7})  # type: ignore[method-assign] # nothing else
    with pytest.raises(Unavailable, match="makes no sense"):
        read_all(pbx, WINDOW)


def test_a_pbx_that_tells_no_format_is_still_read_by_seconds() -> None:
    """The display format is only for firmware that asks for it."""
    pbx = FakeCallListApi(rows())
    assert call_ids(read_all(pbx, WINDOW, facts=SystemFacts())[1]) == in_window(pbx)
