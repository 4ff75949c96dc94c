"""Read the CDRs that Asterisk stores itself (CSV, JSON lines, rows of a table) and convert them to the equivalent
events.

Invariants: the value of a column stays unchanged, under the event's name for it; a call is returned with all its CDRs,
however far apart they are in the file, up to a limit; a line that is no CDR is reported with its location and stops
nothing.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.utc_offset import EPOCH_DIGITS, call_epoch, parse_wall_clock
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.messages import _
from onhook.pbx.asterisk.call import CDRS_MAX, CallHeader, format_body, get_linked_id, is_cut_id, parse_end
from onhook.pbx.asterisk.call_collector import AsteriskParserConfig, list_group_begins
from onhook.pbx.asterisk.channels import parse_channel
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.cdr_archive import ArchivedCall, UnparsedLine
from onhook.pbx.text_encoding import clean_text

CDR_GAP_MAX = timedelta(hours=6)
"""CDRs of one call with a larger gap are treated as two raw events."""

PENDING_CDRS_MAX = 500_000
"""About 500 MB; more CDRs in six hours than an Asterisk writes."""

COMPLETION_CHECK_ROWS = 1_000
"""Rows between two searches for complete calls."""

# Column of a file or table to name in the event. https://docs.asterisk.org/Configuration/Reporting
_EVENT_NAMES: Mapping[str, str] = {
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
    "calldate": "StartTime",
    "answer": "AnswerTime",
    "end": "EndTime",
    "duration": "Duration",
    "billsec": "BillableSeconds",
    "disposition": "Disposition",
    "amaflags": "AMAFlags",
    "uniqueid": "UniqueID",
    "userfield": "UserField",
    "linkedid": "LinkedID",
    "recordingfile": "RecordingFile",
    "did": "DID",
    "cnum": "cnum",
    "cnam": "cnam",
}
COLUMNS = frozenset({*_EVENT_NAMES, "sequence", "peeraccount"})
"""Columns that Asterisk and FreePBX write; others are those of the PBX's operator."""

REQUIRED_COLUMNS = ("start", "channel", "linkedid")

_NULL_YEARS = ("0000", "1969", "1970")
"""Years of a null time, as databases store it."""
_TIME_COLUMNS = frozenset({"start", "calldate", "answer", "end"})
TIME_CHARACTERS = 19
"""Length of `2026-11-24 12:30:00`; a database may append fractions of a second."""

_EPOCH = re.compile(r"[1-9][0-9]{9}(?:\.[0-9]+)?")
"""A time as `cdr_csv` and custom back ends write it with an epoch format."""

_BYTE_ORDER_MARK = "\ufeff"
_DELIMITERS = ",;\t|"
_QUOTED_LINES_MAX = 20
"""Lines over which one quoted text may go."""

_BASE_COLUMNS = (
    *("accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata"),
    *("start", "answer", "end", "duration", "billsec", "disposition", "amaflags"),
)
_NEW_COLUMNS = ("peeraccount", "linkedid", "sequence")
_UNIQUE_ID = re.compile(r"(?:.*-)?[0-9]{10}\.[0-9]+")
_DISPOSITION_NAMES = {
    "0": "NO ANSWER",
    "1": "NO ANSWER",
    "2": "FAILED",
    "4": "BUSY",
    "8": "ANSWERED",
    "16": "CONGESTION",
}


def parse_rows(lines: Iterable[str], columns: Sequence[str] = ()) -> Iterator[Mapping[str, str] | UnparsedLine]:
    """Yield the rows of a text file by column name: JSON lines, or CSV with the given columns, with those in a header
    line, or with those of `cdr_csv`. Raises `UsageError` if the columns cannot be determined.
    """
    numbered_lines = ((number, line) for number, line in enumerate(_join_quoted_lines(lines), 1) if line.strip())
    first_line = next(numbered_lines, None)
    if first_line is None:
        return
    first_line = (first_line[0], first_line[1].removeprefix(_BYTE_ORDER_MARK))
    if first_line[1].lstrip().startswith("{"):
        yield from _skip_partial_line(
            (line, _parse_json_row(number, line)) for number, line in _prepend(first_line, numbered_lines)
        )
        return
    header_columns = [name.strip().lower() for name in _parse_cells(first_line[1]) or ()]
    if "start" in header_columns or "calldate" in header_columns:
        columns = header_columns
        first_line = next(numbered_lines, None)
    yield from _skip_partial_line(
        (line, _parse_csv_row(number, line, columns)) for number, line in _prepend(first_line, numbered_lines)
    )


def collect_calls(
    rows: Iterable[Mapping[str, str] | UnparsedLine], parser_config: AsteriskParserConfig
) -> Iterator[ArchivedCall | UnparsedLine]:
    """Yield the calls in the rows, each with all its CDRs. Raises `UsageError` if required columns are missing."""
    cdrs_by_call: dict[str, list[AmiMessage]] = {}
    end_times: dict[str, datetime] = {}
    count = 0
    latest_end = datetime.min  # noqa: DTZ901 - wall clocks of one PBX, compared only with each other
    incomplete_row: Mapping[str, str] = {}
    for row in rows:
        if isinstance(row, UnparsedLine):
            yield row
            continue
        cdr = _build_cdr(row, parser_config.zone)
        if isinstance(cdr, UnparsedLine):
            yield cdr
            continue
        if cdr is None:
            # A file that is older than the setting for these columns has them from some line on.
            incomplete_row = row
            if count:
                yield UnparsedLine(
                    _("after CDR {number}", number=count), _("different columns than the other CDRs"), _format_row(row)
                )
            continue
        linked_id, end_time = get_linked_id(cdr.fields), _end_time(cdr)
        cdrs_by_call.setdefault(linked_id, []).append(cdr)
        end_times[linked_id] = max(end_times.get(linked_id, end_time), end_time)
        latest_end = max(latest_end, end_time)
        count += 1
        if count % COMPLETION_CHECK_ROWS == 0:
            too_many = sum(map(len, cdrs_by_call.values())) > PENDING_CDRS_MAX
            for complete_id in [
                call_id for call_id, last_end in end_times.items() if latest_end - last_end > CDR_GAP_MAX or too_many
            ]:
                del end_times[complete_id]
                yield from _build_calls(cdrs_by_call.pop(complete_id), parser_config)
    if incomplete_row and not count:
        raise _missing_columns_error(incomplete_row)
    for cdrs in cdrs_by_call.values():
        yield from _build_calls(cdrs, parser_config)


def starts_before(line: str, columns: Sequence[str], local_time: datetime) -> bool:
    """Return whether a line is certainly a CDR that began before a time of the PBX's wall clock."""
    row = _parse_json_row(0, line) if line.lstrip().startswith("{") else _parse_csv_row(0, line, columns)
    if isinstance(row, UnparsedLine):
        return False
    try:
        return parse_wall_clock(row.get("start") or row.get("calldate", "")) < local_time
    except ParseError:
        return False


def _skip_partial_line(
    parsed_lines: Iterable[tuple[str, Mapping[str, str] | UnparsedLine]],
) -> Iterator[Mapping[str, str] | UnparsedLine]:
    """Skip an incomplete last line that the PBX is still writing."""
    return (row for line, row in parsed_lines if line.endswith("\n") or not isinstance(row, UnparsedLine))


def _prepend(
    first_line: tuple[int, str] | None, remaining_lines: Iterable[tuple[int, str]]
) -> Iterator[tuple[int, str]]:
    if first_line is not None:
        yield first_line
    yield from remaining_lines


def _parse_json_row(line_number: int, line: str) -> Mapping[str, str] | UnparsedLine:
    try:
        # Only the standard library reads escaped text, but it takes five times as long.
        data: Any = msgspec.json.decode(line) if clean_text(line) == line else json.loads(line)
    except (ValueError, RecursionError):
        return UnparsedLine(_("line {number}", number=line_number), _("not JSON"), line)
    if not isinstance(data, dict):
        return UnparsedLine(_("line {number}", number=line_number), _("not a JSON object"), line)
    return normalize_row(data)


def normalize_row(values: Mapping[Any, Any]) -> Mapping[str, str]:
    """Return a row with lower-case column names and text values; a null value becomes empty."""
    return {str(name).lower(): "" if value is None else str(value) for name, value in values.items()}


def _parse_csv_row(line_number: int, line: str, columns: Sequence[str]) -> Mapping[str, str] | UnparsedLine:
    cells = _parse_cells(line)
    if cells is None:
        return UnparsedLine(_("line {number}", number=line_number), _("not CSV"), line)
    names = columns or _cdr_csv_columns(cells)
    if len(names) != len(cells):
        return UnparsedLine(
            _("line {number}", number=line_number),
            (
                _("{cells} columns, but {names} names", cells=len(cells), names=len(names))
                if names
                else _("{cells} columns, which match no known layout of CDRs", cells=len(cells))
            ),
            line,
        )
    return dict(zip(names, cells, strict=True))


def _parse_cells(line: str) -> list[str] | None:
    """Return the cells of a line, split at the delimiter that gives the most; None if it is no CSV."""
    delimiters = sorted(_DELIMITERS, key=line.count, reverse=True)[:2]
    physical_lines = line.splitlines(keepends=True)
    try:
        return max((next(csv.reader(physical_lines, delimiter=delimiter), []) for delimiter in delimiters), key=len)
    except csv.Error:
        return None


def _join_quoted_lines(lines: Iterable[str]) -> Iterator[str]:
    """Join the lines over which a quoted text goes; where its end does not come, they stay as they are."""
    held_lines: list[str] = []
    for line in lines:
        held_lines.append(line)
        is_open = sum(held_line.count('"') for held_line in held_lines) % 2 and not held_lines[0].lstrip().startswith(
            "{"
        )
        if not is_open:
            yield "".join(held_lines)
            held_lines = []
        elif len(held_lines) == _QUOTED_LINES_MAX:
            yield from held_lines
            held_lines = []
    yield from held_lines


def _cdr_csv_columns(cells: Sequence[str]) -> tuple[str, ...]:
    """Return the columns that `cdr_csv` writes: sixteen, and those enabled in `cdr.conf`; none for any other file."""
    extra_count = len(cells) - len(_BASE_COLUMNS)
    new_columns = _NEW_COLUMNS if extra_count >= len(_NEW_COLUMNS) else ()
    optional_count = extra_count - len(new_columns)
    if optional_count == 1:
        return (
            *_BASE_COLUMNS,
            "uniqueid" if _UNIQUE_ID.fullmatch(cells[len(_BASE_COLUMNS)]) else "userfield",
            *new_columns,
        )
    return {0: (*_BASE_COLUMNS, *new_columns), 2: (*_BASE_COLUMNS, "uniqueid", "userfield", *new_columns)}.get(
        optional_count, ()
    )


def _missing_columns(row: Mapping[str, str]) -> list[str]:
    return [name for name in REQUIRED_COLUMNS if name not in row and not (name == "start" and "calldate" in row)]


def _missing_columns_error(row: Mapping[str, str]) -> UsageError:
    """Return the error for missing columns. Rows without linkedid are not grouped by uniqueid; docs/decisions.md gives
    the reason.
    """
    return UsageError(
        _(
            "the CDRs have no {columns}, which is needed to group the CDRs of one call",
            columns=", ".join(_missing_columns(row)),
        ),
        hint=_(
            "set `newcdrcolumns = yes` in [csv] of cdr.conf, or add the column to the table; name custom "
            "columns with --cdr-columns, or with --columns of `onhook backfill`"
        ),
    )


def _build_cdr(row: Mapping[str, str], zone: str) -> AmiMessage | UnparsedLine | None:
    """Convert a row to the equivalent event; return None if a required column is missing."""
    if _missing_columns(row):
        return None
    lines = [("Event", "Cdr")]
    for name, value in row.items():
        if text := _format_cell(name, value, zone):
            lines.append((_EVENT_NAMES.get(name, name), text))
    cdr = AmiMessage(tuple(lines))
    start = cdr.get("StartTime")
    if not get_linked_id(cdr.fields):
        return UnparsedLine(start or _("a row"), _("no call id"), _format_row(row))
    if is_cut_id(get_linked_id(cdr.fields)):
        return UnparsedLine(
            start or _("a row"),
            _("the table cuts the ids of calls, so that those of several are the same"),
            _format_row(row),
            hint=_("widen its columns linkedid and uniqueid to 150 characters, as VARCHAR(150)"),
        )
    try:
        parse_wall_clock(start)
        _end_time(cdr)
    except ParseError as error:
        return UnparsedLine(start or _("a row"), error.message, _format_row(row))
    return cdr


def _format_row(row: Mapping[str, str]) -> str:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def _format_cell(name: str, value: str, zone: str) -> str:
    """Return the event value of a cell; empty if the cell has no value."""
    if name == "disposition":
        return _DISPOSITION_NAMES.get(value, value)
    if name in _TIME_COLUMNS:
        if _EPOCH.fullmatch(value):
            return _wall_clock(int(value[:EPOCH_DIGITS]), zone)
        return "" if value.startswith(_NULL_YEARS) or value == "0" else value[:TIME_CHARACTERS]
    return " ".join(value.split())


def _wall_clock(epoch: int, zone: str) -> str:
    """Return the PBX's wall clock at a second since 1970; in UTC where its zone is unknown."""
    return str(datetime.fromtimestamp(epoch, ZoneInfo(zone) if zone else UTC).replace(tzinfo=None))


def _end_time(cdr: AmiMessage) -> datetime:
    """Return the end time by the PBX's clock as it was at the start."""
    return parse_end(parse_wall_clock(cdr.get("StartTime")), cdr.get("EndTime"), cdr.get("Duration"))


def _build_calls(cdrs: Sequence[AmiMessage], parser_config: AsteriskParserConfig) -> Iterator[ArchivedCall]:
    """Yield one body, or several for a very large number of CDRs."""
    starts = [parse_wall_clock(cdr.get("StartTime")) for cdr in cdrs]
    epoch = call_epoch(get_linked_id(cdrs[0].fields))
    began_at = datetime.fromtimestamp(epoch, UTC) if epoch else None
    ended_at = None if began_at is None else began_at + (max(map(_end_time, cdrs)) - min(starts))
    for start_index in range(0, len(cdrs), CDRS_MAX):
        # The rows of queues and ring groups begin with their first CDR, also in the parts behind it.
        part_cdrs = [*list_group_begins(cdrs[:start_index]), *cdrs[start_index : start_index + CDRS_MAX]]
        channels = {parse_channel(cdr.get(name)) for cdr in part_cdrs for name in ("Channel", "DestinationChannel")}
        endpoints = {channel.endpoint for channel in channels}
        header = CallHeader(
            trunks=tuple(name for name in parser_config.trunks if name in endpoints),
            inbound_contexts=parser_config.inbound_contexts,
            has_pins=parser_config.has_pins,
        )
        yield ArchivedCall(body=format_body(header, part_cdrs), began_at=began_at, ended_at=ended_at)
