"""The CDRs that Asterisk keeps itself are the same calls as those that it told."""

import csv
import io
import json
import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.utc_offset import parse_wall_clock
from onhook.lib.errors import UsageError
from onhook.pbx.asterisk.files import CDR_GAP_MAX, collect_calls, normalize_row, parse_rows, starts_before
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import ArchivedCall, UnparsedLine
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS, bodies, events
from tests.pbx.asterisk.scenarios import SCENARIOS

ASTERISK = Asterisk()
# Column of `cdr_csv`, and the event's name for it.
COLUMNS = {
    "accountcode": "AccountCode",
    "src": "Source",
    "dst": "Destination",
    "dcontext": "DestinationContext",
    "clid": "CallerID",
    "channel": "Channel",
    "dstchannel": "DestinationChannel",
    "lastapp": "LastApplication",
    "lastdata": "LastData",
    "start": "StartTime",
    "answer": "AnswerTime",
    "end": "EndTime",
    "duration": "Duration",
    "billsec": "BillableSeconds",
    "disposition": "Disposition",
    "amaflags": "AMAFlags",
    "uniqueid": "UniqueID",
    "userfield": "UserField",
    "peeraccount": "PeerAccount",
    "linkedid": "LinkedID",
    "sequence": "Sequence",
}


def rows() -> list[dict[str, str]]:
    """Every CDR of every scenario, as `cdr_csv` has it, in the order in which they were written."""
    cdrs = [event for scenario in SCENARIOS for event in events(scenario.name) if event.get("Event") == "Cdr"]
    return [{column: cdr.get(name) for column, name in COLUMNS.items()} for cdr in cdrs]


def as_csv(names: list[str], *, with_header: bool = False) -> list[str]:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", quoting=csv.QUOTE_ALL)
    if with_header:
        writer.writeheader()
    writer.writerows(rows())
    return text.getvalue().splitlines(keepends=True)


def kept(lines: list[str], *columns: str) -> list[ArchivedCall]:
    calls = list(collect_calls(parse_rows(lines, columns), PARSE_OPTIONS))
    assert not [call for call in calls if isinstance(call, UnparsedLine)]
    return [call for call in calls if isinstance(call, ArchivedCall)]


TOLD = {ASTERISK.peek(body).key for scenario in SCENARIOS for body in bodies(events(scenario.name))}
WHOLE = list(COLUMNS)


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(kept(as_csv(WHOLE)), id="cdr_csv"),
        pytest.param(kept(as_csv([name for name in WHOLE if name != "userfield"])), id="cdr_csv without userfield"),
        pytest.param(kept(as_csv(WHOLE[::-1], with_header=True)), id="CSV with a first line"),
        pytest.param(kept(as_csv(WHOLE[::-1]), *WHOLE[::-1]), id="cdr_custom"),
        pytest.param(kept([json.dumps(row) + "\n" for row in rows()]), id="JSON lines"),
        pytest.param(
            [
                one
                for one in collect_calls((normalize_row(row) for row in rows()), PARSE_OPTIONS)
                if isinstance(one, ArchivedCall)
            ],
            id="a table",
        ),
    ],
)
def test_a_file_says_the_calls_that_were_told(calls: list[ArchivedCall]) -> None:
    """In every form, each call has the key that it has over AMI: seen by both ways it is one report."""
    assert {ASTERISK.peek(call.body).key for call in calls} == TOLD


def test_the_order_of_the_lines_does_not_matter() -> None:
    """Asterisk writes the CDRs of a call when their channels end, not in the order of their begin."""
    lines = as_csv(WHOLE)
    random.Random(2).shuffle(lines)
    assert {ASTERISK.peek(call.body).key for call in kept(lines)} == TOLD


def test_a_call_has_its_time_in_utc() -> None:
    """By its id, whatever the zone of the PBX."""
    call = kept(as_csv(WHOLE))[0]
    (told,) = ASTERISK.parse(call.body)
    assert call.began_at is not None
    assert call.ended_at is not None
    assert call.began_at.timestamp() == int(told.call_id.partition(".")[0])
    assert 0 <= (call.ended_at - call.began_at).total_seconds() - (told.call_duration or 0) <= 1


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (['{"start": \n'], "it is not JSON"),
        (["{}\n"], "not the columns"),
        (['"a","b"\n'], "it has 2 columns"),
        ([as_csv(WHOLE)[0].replace("2026-", "26-")], "not a date"),
        ([json.dumps(rows()[0] | {"linkedid": "", "uniqueid": ""})], "it names no call"),
    ],
)
def test_a_line_that_is_no_cdr_is_told(lines: list[str], why: str) -> None:
    """With its place; those around it are read."""
    good = [json.dumps(row) for row in rows()[:1]] if lines[0].startswith("{") else as_csv(WHOLE)[:1]
    found = list(collect_calls(parse_rows([*good, *lines]), PARSE_OPTIONS))
    unread = [one for one in found if isinstance(one, UnparsedLine)]
    assert len(unread) == 1
    assert why in unread[0].reason
    assert unread[0].location
    assert unread[0].line, "what could not be read is kept, too"
    assert len(found) == 2


@pytest.mark.parametrize("torn", ['{"start": "2026-', '"a","b'])
def test_a_line_that_is_just_being_written_is_left_to_the_next_time(torn: str) -> None:
    """It is no error: the PBX writes while we read."""
    good = [json.dumps(rows()[0]) + "\n"] if torn.startswith("{") else as_csv(WHOLE)[:1]
    assert len(kept([*good, torn])) == 1


def test_a_file_that_was_begun_without_linkedid_is_read_from_where_it_has_it() -> None:
    """So that who adds `newcdrcolumns = yes` need not begin a new file."""
    plain = as_csv([name for name in WHOLE if name not in ("peeraccount", "linkedid", "sequence")])
    assert {ASTERISK.peek(call.body).key for call in kept([*plain, *as_csv(WHOLE)])} == TOLD


def test_whether_a_line_is_too_old_is_told_by_its_begin() -> None:
    """In either form; a line that tells no begin is never too old."""
    line = as_csv(WHOLE)[0]
    begin = parse_wall_clock(rows()[0]["start"])
    for text in (line, json.dumps(rows()[0])):
        assert starts_before(text, (), begin + timedelta(seconds=1))
        assert not starts_before(text, (), begin)
    assert not starts_before("nothing", (), begin)


def test_moments_of_a_database_are_read() -> None:
    """With fractions of a second, and those that never were."""
    row = rows()[0] | {"answer": "0000-00-00 00:00:00", "end": rows()[0]["end"] + ".250"}
    (call,) = (one for one in collect_calls([row], PARSE_OPTIONS) if isinstance(one, ArchivedCall))
    assert b"AnswerTime" not in call.body
    assert ASTERISK.parse(call.body)


def test_cdrs_that_do_not_say_their_call_are_refused() -> None:
    """With what to do: legs of one call could not be told from calls, and would be there twice."""
    with pytest.raises(UsageError, match="newcdrcolumns"):
        kept(as_csv([name for name in WHOLE if name not in ("peeraccount", "linkedid", "sequence")]))


@given(st.lists(st.text(max_size=80), max_size=8))
def test_no_text_makes_the_reader_fail(lines: list[str]) -> None:
    """But for saying what is missing."""
    try:
        assert all(isinstance(row, UnparsedLine) for row in collect_calls(parse_rows(lines), PARSE_OPTIONS))
    except UsageError as error:
        assert "no " in str(error)  # noqa: PT017 - either outcome is right


def test_cdrs_far_apart_do_not_wait_for_each_other() -> None:
    """So that a file of any length is read within bounded memory."""
    first = rows()[0]
    late = {**first, "linkedid": "1796000000.1", "uniqueid": "1796000000.1"}
    day = (f"2026-12-{day:02}" for day in range(1, 29))
    lines = [json.dumps(first)]
    for date in day:
        lines += [json.dumps({**late, **dict.fromkeys(("start", "answer", "end"), f"{date} 10:00:00")})] * 40
    stream = iter(collect_calls(parse_rows(lines), PARSE_OPTIONS))
    assert isinstance(next(stream), ArchivedCall)
    assert CDR_GAP_MAX.total_seconds() < 86_400
