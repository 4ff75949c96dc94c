"""CDRs from Asterisk's own storage give the same calls as its events."""

import csv
import io
import json
import random
from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.utc_offset import parse_wall_clock
from onhook.lib.errors import UsageError
from onhook.pbx.asterisk import files
from onhook.pbx.asterisk.call import CDRS_MAX
from onhook.pbx.asterisk.call_collector import AsteriskParserConfig
from onhook.pbx.asterisk.files import (
    CDR_GAP_MAX,
    COMPLETION_CHECK_ROWS,
    collect_calls,
    normalize_row,
    parse_rows,
    starts_before,
)
from onhook.pbx.asterisk.payload import Asterisk
from onhook.pbx.cdr_archive import ArchivedCall, UnparsedLine
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS, bodies, events
from tests.pbx.asterisk.scenarios import SCENARIOS

ASTERISK = Asterisk()
# Column of `cdr_csv` to name in the event.
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
    """Return the CDRs of all scenarios as `cdr_csv` writes them, in order of writing."""
    cdrs = [event for scenario in SCENARIOS for event in events(scenario.name) if event.get("Event") == "Cdr"]
    return [{column: cdr.get(name) for column, name in COLUMNS.items()} for cdr in cdrs]


def as_csv(names: list[str], *, with_header: bool = False) -> list[str]:
    text = io.StringIO()
    writer = csv.DictWriter(text, names, extrasaction="ignore", quoting=csv.QUOTE_ALL)
    if with_header:
        writer.writeheader()
    writer.writerows(rows())
    return text.getvalue().splitlines(keepends=True)


def read_calls(lines: list[str], *columns: str) -> list[ArchivedCall]:
    calls = list(collect_calls(parse_rows(lines, columns), PARSE_OPTIONS))
    assert not [call for call in calls if isinstance(call, UnparsedLine)]
    return [call for call in calls if isinstance(call, ArchivedCall)]


AMI_KEYS = {ASTERISK.peek(body).key for scenario in SCENARIOS for body in bodies(events(scenario.name))}
ALL_COLUMNS = list(COLUMNS)


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(read_calls(as_csv(ALL_COLUMNS)), id="cdr_csv"),
        pytest.param(
            read_calls(as_csv([name for name in ALL_COLUMNS if name != "userfield"])), id="cdr_csv without userfield"
        ),
        pytest.param(read_calls(as_csv(ALL_COLUMNS[::-1], with_header=True)), id="CSV with header"),
        pytest.param(read_calls(as_csv(ALL_COLUMNS[::-1]), *ALL_COLUMNS[::-1]), id="cdr_custom"),
        pytest.param(read_calls([json.dumps(row) + "\n" for row in rows()]), id="JSON lines"),
        pytest.param(
            [
                call
                for call in collect_calls((normalize_row(row) for row in rows()), PARSE_OPTIONS)
                if isinstance(call, ArchivedCall)
            ],
            id="a table",
        ),
    ],
)
def test_file_in_every_format_gives_same_keys_as_ami(calls: list[ArchivedCall]) -> None:
    """So a call received both ways is stored once."""
    assert {ASTERISK.peek(call.body).key for call in calls} == AMI_KEYS


def test_file_calls_do_not_depend_on_line_order() -> None:
    """Asterisk writes the CDRs of a call when their channels end, not in order of their start."""
    lines = as_csv(ALL_COLUMNS)
    random.Random(2).shuffle(lines)
    assert {ASTERISK.peek(call.body).key for call in read_calls(lines)} == AMI_KEYS


def test_file_call_has_start_and_end_in_utc() -> None:
    """From the call id, whatever the time zone of the PBX."""
    call = read_calls(as_csv(ALL_COLUMNS))[0]
    (details,) = ASTERISK.parse(call.body)
    assert call.began_at is not None
    assert call.ended_at is not None
    assert call.began_at.timestamp() == int(details.call_id.partition(".")[0])
    assert 0 <= (call.ended_at - call.began_at).total_seconds() - (details.call_duration or 0) <= 1


@pytest.mark.parametrize("end", ["2026-10-25 02:00:06", "2026-03-29 03:00:06", "2026-03-29 02:00:06", ""])
def test_file_call_during_which_the_clock_was_changed_ends_after_its_duration(end: str) -> None:
    """Put back, or forward: else the call would seem to end in an hour, and would not be read before."""
    row = rows()[0] | {"start": "2026-10-25 01:59:58" if "10-25" in end else "2026-03-29 01:59:58"}
    row |= {"end": end.replace("02:00", "01:00") if "10-25" in end else end, "duration": "8", "billsec": "7"}
    (call,) = read_calls([json.dumps(row) + "\n"])
    assert call.began_at is not None
    assert call.ended_at is not None
    assert call.ended_at - call.began_at == timedelta(seconds=8)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        (['{"start": \n'], "not JSON"),
        (["{}\n"], "different columns"),
        (['"a","b"\n'], "2 columns"),
        ([as_csv(ALL_COLUMNS)[0].replace("2026-", "26-")], "not a valid date"),
        ([json.dumps(rows()[0] | {"linkedid": "", "uniqueid": ""})], "no call id"),
    ],
)
def test_file_line_without_cdr_is_reported_with_location(lines: list[str], reason: str) -> None:
    """The lines around it are read."""
    valid_lines = [json.dumps(row) for row in rows()[:1]] if lines[0].startswith("{") else as_csv(ALL_COLUMNS)[:1]
    entries = list(collect_calls(parse_rows([*valid_lines, *lines]), PARSE_OPTIONS))
    unparsed_lines = [entry for entry in entries if isinstance(entry, UnparsedLine)]
    assert len(unparsed_lines) == 1
    assert reason in unparsed_lines[0].reason
    assert unparsed_lines[0].location
    assert unparsed_lines[0].line, "the line itself is kept"
    assert len(entries) == 2


@pytest.mark.parametrize("partial_line", ['{"start": "2026-', '"a","b'])
def test_file_incomplete_last_line_is_skipped(partial_line: str) -> None:
    """The PBX is still writing it; the next read includes it."""
    valid_lines = [json.dumps(rows()[0]) + "\n"] if partial_line.startswith("{") else as_csv(ALL_COLUMNS)[:1]
    assert len(read_calls([*valid_lines, partial_line])) == 1


def test_file_with_linkedid_from_some_line_on_is_read_from_there() -> None:
    """Adding `newcdrcolumns = yes` does not require a new file."""
    lines_without_linkedid = as_csv(
        [name for name in ALL_COLUMNS if name not in ("peeraccount", "linkedid", "sequence")]
    )
    assert {
        ASTERISK.peek(call.body).key for call in read_calls([*lines_without_linkedid, *as_csv(ALL_COLUMNS)])
    } == AMI_KEYS


def test_starts_before_compares_start_of_line() -> None:
    """A line without a start is never too old."""
    line = as_csv(ALL_COLUMNS)[0]
    begin = parse_wall_clock(rows()[0]["start"])
    for text in (line, json.dumps(rows()[0])):
        assert starts_before(text, (), begin + timedelta(seconds=1))
        assert not starts_before(text, (), begin)
    assert not starts_before("nothing", (), begin)


def test_table_row_with_null_and_fractional_times_is_read() -> None:
    row = rows()[0] | {"answer": "0000-00-00 00:00:00", "end": rows()[0]["end"] + ".250"}
    (call,) = (call for call in collect_calls([row], PARSE_OPTIONS) if isinstance(call, ArchivedCall))
    assert b"AnswerTime" not in call.body
    assert ASTERISK.parse(call.body)


def test_file_without_linkedid_is_rejected_with_hint() -> None:
    """Without linkedid, legs of one call cannot be distinguished from calls and would be stored twice."""
    with pytest.raises(UsageError, match="newcdrcolumns"):
        read_calls(as_csv([name for name in ALL_COLUMNS if name not in ("peeraccount", "linkedid", "sequence")]))


@given(st.lists(st.text(max_size=80), max_size=8))
def test_file_with_any_text_raises_only_usage_error(lines: list[str]) -> None:
    try:
        assert all(isinstance(row, UnparsedLine) for row in collect_calls(parse_rows(lines), PARSE_OPTIONS))
    except UsageError as error:
        assert "no " in str(error)  # noqa: PT017 - either outcome is right


def test_file_calls_far_apart_are_returned_early() -> None:
    """A file of any length is read within bounded memory."""
    first = rows()[0]
    late = {**first, "linkedid": "1796000000.1", "uniqueid": "1796000000.1"}
    dates = (f"2026-12-{dates:02}" for dates in range(1, 29))
    lines = [json.dumps(first)]
    for date in dates:
        lines += [json.dumps({**late, **dict.fromkeys(("start", "answer", "end"), f"{date} 10:00:00")})] * 40
    stream = iter(collect_calls(parse_rows(lines), PARSE_OPTIONS))
    assert isinstance(next(stream), ArchivedCall)
    assert sum(isinstance(call, ArchivedCall) for call in stream) == 28 * 40 // CDRS_MAX + 1
    assert CDR_GAP_MAX.total_seconds() < 86_400


def test_file_json_line_that_is_no_object_is_reported() -> None:
    lines = [json.dumps(rows()[0]) + "\n", "[]\n"]
    unparsed_line, call = collect_calls(parse_rows(lines), PARSE_OPTIONS)
    assert isinstance(unparsed_line, UnparsedLine)
    assert (unparsed_line.location, unparsed_line.reason) == ("line 2", "not a JSON object")
    assert isinstance(call, ArchivedCall)


def test_row_whose_id_the_table_has_cut_is_reported() -> None:
    """It would be joined to the calls of hours before and after it."""
    cut_id = "asterisk-office-berlin-01-179586"
    lines = [json.dumps(rows()[0] | {"linkedid": cut_id, "uniqueid": cut_id}) + "\n"]
    (unparsed_line,) = collect_calls(parse_rows(lines), PARSE_OPTIONS)
    assert isinstance(unparsed_line, UnparsedLine)
    assert "cuts the ids" in unparsed_line.reason
    assert "linkedid and uniqueid" in unparsed_line.hint
    assert json.loads(unparsed_line.line)["linkedid"] == cut_id


@pytest.mark.parametrize("lines", [[], ["\n", " \n"], as_csv(ALL_COLUMNS, with_header=True)[:1]])
def test_file_without_rows_has_no_calls(lines: list[str]) -> None:
    """An empty file, and one that has only its header yet."""
    assert read_calls(lines) == []


def test_starts_before_with_unreadable_start_is_false() -> None:
    begin = parse_wall_clock("2100-01-01 00:00:00")
    assert starts_before(json.dumps(rows()[0]), (), begin)
    assert not starts_before(json.dumps(rows()[0] | {"start": "yesterday"}), (), begin)
    assert not starts_before("{}", (), begin)


@pytest.mark.parametrize(
    ("duration", "seconds"),
    [("12", 12), ("12.5", 12), ("", 0), ("soon", 0), ("9" * 25, 0), ("9" * 5000, 0)],
)
def test_file_cdr_without_end_uses_duration(duration: str, seconds: int) -> None:
    """A duration that no call has counts as zero."""
    (call,) = read_calls([json.dumps(rows()[0] | {"end": "", "duration": duration})])
    assert call.began_at is not None
    assert call.ended_at == call.began_at + timedelta(seconds=seconds)


def test_file_with_too_many_pending_cdrs_returns_calls_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also calls that may not be complete: each CDR is in exactly one of them."""
    monkeypatch.setattr(files, "PENDING_CDRS_MAX", COMPLETION_CHECK_ROWS - 1)
    first, calls_count = rows()[0], COMPLETION_CHECK_ROWS + 500
    lines = (json.dumps(first | {"linkedid": f"1795516844.{number}"}) for number in range(calls_count))
    read_count = 0

    def count_rows() -> Iterator[Mapping[str, str] | UnparsedLine]:
        nonlocal read_count
        for row in parse_rows(lines):
            read_count += 1
            yield row

    stream = collect_calls(count_rows(), PARSE_OPTIONS)
    next(stream)
    assert read_count == COMPLETION_CHECK_ROWS
    assert 1 + sum(1 for _call in stream) == calls_count


def test_file_csv_line_with_oversized_cell_is_reported() -> None:
    line = as_csv(ALL_COLUMNS)[0]
    unparsed_line, call = collect_calls(parse_rows([line, f'"{"x" * 200_000}"\n']), PARSE_OPTIONS)
    assert isinstance(unparsed_line, UnparsedLine)
    assert (unparsed_line.location, unparsed_line.reason) == ("line 2", "not CSV")
    assert isinstance(call, ArchivedCall)


def named_row(**changes: str) -> dict[str, str]:
    row = {column: value for column, value in rows()[0].items() if column in ("channel", "dstchannel", "linkedid")}
    return row | {"start": "2026-04-27 19:04:36", "duration": "10", "disposition": "ANSWERED"} | changes


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_file_may_have_another_delimiter_and_a_byte_order_mark(delimiter: str, mark: str) -> None:
    row = named_row()
    lines = [mark + delimiter.join(row) + "\n", delimiter.join(row.values()) + "\n"]
    (call,) = read_calls(lines)
    assert ASTERISK.parse(call.body)[0].call_duration == 10


def test_file_cell_may_have_line_breaks() -> None:
    """In `userfield`, such as a note of an agent."""
    row = named_row(userfield='"one\ntwo\nthree"')
    lines = f"{','.join(row)}\n{','.join(row.values())}\n{','.join(row.values())}\n".splitlines(keepends=True)
    (call,) = read_calls(lines)
    assert ASTERISK.parse(call.body)[0].extra["userfield"] == "one two three"


def test_file_quote_that_is_never_closed_swallows_no_other_line() -> None:
    row = named_row()
    lines = [",".join(row) + "\n", '"' + ",".join(row.values()) + "\n", *[",".join(row.values()) + "\n"] * 30]
    entries = list(collect_calls(parse_rows(lines), PARSE_OPTIONS))
    assert any(isinstance(entry, ArchivedCall) for entry in entries)
    assert any(isinstance(entry, UnparsedLine) for entry in entries)


@pytest.mark.parametrize(("zone", "local"), [("", "2026-04-27 17:04:36"), ("Europe/Berlin", "2026-04-27 19:04:36")])
def test_file_start_may_be_in_seconds(zone: str, local: str) -> None:
    """By the zone of the PBX, where it is known."""
    row = named_row(start="1777309476", answer="0")
    config = AsteriskParserConfig(zone=zone)
    (call,) = collect_calls(parse_rows([json.dumps(row) + "\n"]), config)
    assert isinstance(call, ArchivedCall)
    assert ASTERISK.parse(call.body)[0].time_start == local


def test_file_columns_of_the_operator_are_kept() -> None:
    row = named_row(cost_center="sales", accountcode="4711", sequence="7")
    (call,) = read_calls([json.dumps(row) + "\n"])
    extra = ASTERISK.parse(call.body)[0].extra
    assert (extra["cost_center"], extra["account_code"], "sequence" in extra) == ("sales", "4711", False)
