"""Reading the PBX's list: whatever form its firmware takes, every row is found."""

from random import Random
from typing import Any

import pytest

from onhook.lib.errors import OnhookError, Unavailable
from onhook.pbx.client import Facts, Request, Window
from onhook.pbx.yeastar.payload import Yeastar
from tests.pbx.yeastar.lists import NOON, ListPbx, read_all, row, said

DAY = 86_400
WINDOW = Window(since=NOON - DAY, until=NOON + DAY)
YEASTAR = Yeastar()


def rows(count: int = 40, spread: int = DAY) -> list[dict[str, Any]]:
    random = Random(1)
    return [row(NOON - random.randrange(spread), number) for number in range(count)]


def call_ids(kept: list[bytes]) -> set[str]:
    return {YEASTAR.read(body)[0].call_id for body in kept}


def in_window(pbx: ListPbx) -> set[str]:
    return {one["call_id"] for one in pbx.rows if WINDOW.since <= one["timestamp"] < WINDOW.until}


def test_seconds_are_asked_where_the_firmware_takes_them() -> None:
    """All rows, and what was counted."""
    pbx = ListPbx(rows())
    listed, kept, done = read_all(pbx, WINDOW)
    assert call_ids(kept) == in_window(pbx)
    assert (listed.trouble, listed.rows >= 40, done[-1]) == ("", True, WINDOW.until)
    assert all(request.path.endswith("cdr/search") for request in pbx.asked)


def test_trouble_3_a_firmware_that_refuses_seconds_is_asked_in_its_display_format() -> None:
    """PROTOCOL.md 12, 3: and the other way round; 40002 is no reason to give up."""
    pbx = ListPbx(rows())
    pbx.takes_seconds = False
    assert call_ids(read_all(pbx, WINDOW)[1]) == in_window(pbx)
    pbx = ListPbx(rows())
    pbx.takes_display = False
    assert call_ids(read_all(pbx, WINDOW)[1]) == in_window(pbx)


@pytest.mark.parametrize("takes_display", [True, False])
def test_trouble_3_a_firmware_that_takes_seconds_and_returns_nothing_is_seen_through(takes_display: bool) -> None:
    """PROTOCOL.md 12, 3: a call that is surely there must be found, or the question is asked otherwise."""
    pbx = ListPbx(rows())
    pbx.is_blind, pbx.takes_display = True, takes_display
    assert call_ids(read_all(pbx, WINDOW)[1]) == in_window(pbx)


def test_no_rows_are_believed_where_the_same_question_finds_another_call() -> None:
    """An office was closed for a day; that is no reason to read the whole list."""
    pbx = ListPbx([row(NOON - 5 * DAY, 1)])
    listed, kept, _ = read_all(pbx, WINDOW)
    assert (kept, listed.trouble) == ([], "")
    assert len(pbx.asked) < 10
    assert read_all(ListPbx([]), WINDOW)[1] == []


def test_trouble_26_every_form_may_be_refused() -> None:
    """PROTOCOL.md 12, 26: then the list is read from its newest call backwards, until the calls are older."""
    pbx = ListPbx([*rows(), *[row(NOON - 3 * DAY - number, number) for number in range(100)]])
    pbx.takes_seconds = pbx.takes_display = False
    listed, kept, _ = read_all(pbx, WINDOW, rows_max=10)
    assert call_ids(kept) == in_window(pbx)
    assert listed.trouble == ""
    assert sum(request.path.endswith("cdr/list") for request in pbx.asked) < 10


def test_rows_that_arrive_while_the_list_is_walked_lose_none() -> None:
    """They push others to later pages, where these are read again."""
    pbx = ListPbx(rows())
    expected = in_window(pbx)
    pbx.takes_seconds = pbx.takes_display = False
    pbx.before = lambda request: pbx.rows.append(row(NOON + len(pbx.asked), 1000 + len(pbx.asked)))
    assert expected <= call_ids(read_all(pbx, WINDOW, rows_max=7)[1])


def test_rows_that_are_deleted_while_the_list_is_walked_make_it_be_read_again() -> None:
    """They pull others to earlier pages, where nobody looks any more."""
    pbx = ListPbx(rows())
    pbx.takes_seconds = pbx.takes_display = False

    def delete(request: Request) -> None:
        if request.query.get("page") == "2" and len(pbx.rows) == 40:
            pbx.rows.sort(key=lambda one: -int(one["timestamp"]))
            del pbx.rows[:5]

    pbx.before = delete
    listed, kept, _ = read_all(pbx, WINDOW, rows_max=7)
    assert in_window(pbx) <= call_ids(kept)
    assert listed.trouble == ""


@pytest.mark.parametrize("rows_max", [3, 10, 1000])
def test_windows_are_made_so_small_that_each_fits_on_a_page(rows_max: int) -> None:
    """Rows in one second too: they are paged."""
    pbx = ListPbx([*rows(300), *[row(NOON - 7, number) for number in range(1000, 1012)]])
    listed, kept, done = read_all(pbx, WINDOW, rows_max=rows_max)
    assert call_ids(kept) == in_window(pbx)
    assert listed.trouble == ""
    assert done == sorted(done)


def test_a_firmware_with_smaller_pages_than_it_was_asked_for_loses_no_row() -> None:
    """What it counts says that there is more."""
    pbx = ListPbx(rows(300))
    pbx.page_max = 20
    assert call_ids(read_all(pbx, WINDOW)[1]) == in_window(pbx)


def test_rows_that_arrive_while_windows_are_read_lose_none() -> None:
    """Those of the window that were there when reading began are all read."""
    pbx = ListPbx(rows(200))
    expected = in_window(pbx)
    pbx.before = lambda request: pbx.rows.append(row(NOON - 50 * len(pbx.asked), 1000 + len(pbx.asked)))
    listed, kept, _ = read_all(pbx, WINDOW, rows_max=20)
    assert expected <= call_ids(kept)
    assert listed.trouble == ""


def test_a_count_that_is_never_listed_is_said() -> None:
    """The difference is a named gap, not silence."""
    pbx = ListPbx(rows())
    answer = pbx.answer

    def hidden(request: Request) -> Any:
        found = answer(request)
        return said({**found.members, "total_number": found.members["total_number"] + 1})

    pbx.answer = hidden  # type: ignore[method-assign] # one row more is counted than is listed
    listed, kept, _ = read_all(pbx, WINDOW)
    assert len(kept) == 40
    assert "counts 41 calls and lists 40" in listed.trouble


def test_trouble_25_a_firmware_without_the_first_version_is_read_by_the_second() -> None:
    """PROTOCOL.md 12, 25, and 7.1: calls are told apart by `uid`, under the ids that are known here."""
    pbx = ListPbx(rows())
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
    pbx = ListPbx(rows())
    pbx.answer = lambda request: said({"errcode": errcode, "errmsg": "NO"})  # type: ignore[method-assign] # nothing else
    with pytest.raises(error, match=str(errcode)):
        read_all(pbx, WINDOW)


def test_garbage_ends_the_reading() -> None:
    """A list that is no list is never read as an empty one."""
    pbx = ListPbx(rows())
    pbx.answer = lambda request: said({"errcode": 0, "total_number": "many", "data": 7})  # type: ignore[method-assign] # nothing else
    with pytest.raises(Unavailable, match="makes no sense"):
        read_all(pbx, WINDOW)


def test_a_pbx_that_tells_no_format_is_still_read_by_seconds() -> None:
    """The display format is only for firmware that asks for it."""
    pbx = ListPbx(rows())
    assert call_ids(read_all(pbx, WINDOW, facts=Facts())[1]) == in_window(pbx)
