"""The CDRs that Asterisk keeps itself, as the events that say the same: CSV, JSON lines, rows of a table.

Laws: a column's value is kept as it is, under the event's name for it; a call is handed out with all its CDRs, however
far they are apart in the file up to a limit; a line that is no CDR is told, with its place, and stops nothing.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from onhook.cdr.utc_offset import call_epoch, parse_wall_clock
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.asterisk.call import CDRS_MAX, Header, body_of, linked_id_of
from onhook.pbx.asterisk.call_collector import PbxReading
from onhook.pbx.asterisk.channels import channel_named
from onhook.pbx.asterisk.messages import Message
from onhook.pbx.cdr_archive import KeptCall, Unread

APART = timedelta(hours=6)
"""CDRs of one call that are written later than this after each other are taken for two reports of it."""

CDRS_HELD_MAX = 500_000
"""Some 500 MB; that many CDRs in six hours are more than an Asterisk carries."""

LOOK_EVERY = 1_000
"""Rows between two looks for calls that are complete."""

# Column of a file or table: the event's name for it. https://docs.asterisk.org/Configuration/Reporting
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
}
COLUMNS = frozenset({*_EVENT_NAMES, "sequence"})
"""Those that are read; any other may be there."""

NEEDED = ("start", "channel", "linkedid")

_NEVER = ("0000", "1969", "1970")
"""Years of a moment that never was, as databases have it."""
_MOMENTS = frozenset({"start", "calldate", "answer", "end"})
MOMENT_CHARACTERS = 19
"""Of `2026-11-24 12:30:00`; a database may tell fractions of a second after them."""

_PLAIN = (
    *("accountcode", "src", "dst", "dcontext", "clid", "channel", "dstchannel", "lastapp", "lastdata"),
    *("start", "answer", "end", "duration", "billsec", "disposition", "amaflags"),
)
_NEW = ("peeraccount", "linkedid", "sequence")
_UNIQUE_ID = re.compile(r"(?:.*-)?[0-9]{10}\.[0-9]+")
_DISPOSITIONS = {"0": "NO ANSWER", "1": "NO ANSWER", "2": "FAILED", "4": "BUSY", "8": "ANSWERED", "16": "CONGESTION"}


def rows_of_lines(lines: Iterable[str], columns: Sequence[str] = ()) -> Iterator[Mapping[str, str] | Unread]:
    """The rows of a text file, by column: JSON lines, or CSV with the columns that were given, of a first line that
    names them, or of `cdr_csv`. Raises `UsageError` where nobody can tell which column is which.
    """
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    first = next(numbered, None)
    if first is None:
        return
    if first[1].lstrip().startswith("{"):
        yield from _whole((line, _row_of_json(number, line)) for number, line in _again(first, numbered))
        return
    named = [name.strip().lower() for name in _cells(first[1]) or ()]
    if "start" in named or "calldate" in named:
        columns = named
        first = next(numbered, None)
    yield from _whole((line, _row_of_csv(number, line, columns)) for number, line in _again(first, numbered))


def calls_of_rows(rows: Iterable[Mapping[str, str] | Unread], reading: PbxReading) -> Iterator[KeptCall | Unread]:
    """The calls that the rows say, each with all its CDRs. Raises `UsageError` where rows lack what makes a call."""
    held: dict[str, list[Message]] = {}
    ends: dict[str, datetime] = {}
    count = 0
    latest = datetime.min  # noqa: DTZ901 - wall clocks of one PBX, compared with each other alone
    lacking: Mapping[str, str] = {}
    for row in rows:
        if isinstance(row, Unread):
            yield row
            continue
        cdr = _cdr(row)
        if isinstance(cdr, Unread):
            yield cdr
            continue
        if cdr is None:
            # A file that was begun before its columns were asked for has them from some line on.
            lacking = row
            if count:
                yield Unread(f"after {count} CDRs", "it has not the columns of the others", _shown(row))
            continue
        linked_id, ended = linked_id_of(cdr.fields), _ended(cdr)
        held.setdefault(linked_id, []).append(cdr)
        ends[linked_id] = max(ends.get(linked_id, ended), ended)
        latest = max(latest, ended)
        count += 1
        if count % LOOK_EVERY == 0:
            too_many = sum(map(len, held.values())) > CDRS_HELD_MAX
            for done in [one for one, at in ends.items() if latest - at > APART or too_many]:
                del ends[done]
                yield from _calls(held.pop(done), reading)
    if lacking and not count:
        raise _no_columns(lacking)
    for cdrs in held.values():
        yield from _calls(cdrs, reading)


def began_before(line: str, columns: Sequence[str], moment: datetime) -> bool:
    """Whether a line of a file surely says a CDR that began before a moment of the PBX's wall clock."""
    row = _row_of_json(0, line) if line.lstrip().startswith("{") else _row_of_csv(0, line, columns)
    if isinstance(row, Unread):
        return False
    try:
        return parse_wall_clock(row.get("start") or row.get("calldate", "")) < moment
    except ParseError:
        return False


def _whole(read: Iterable[tuple[str, Mapping[str, str] | Unread]]) -> Iterator[Mapping[str, str] | Unread]:
    """Without a last line that the PBX is just writing."""
    return (row for line, row in read if line.endswith("\n") or not isinstance(row, Unread))


def _again(first: tuple[int, str] | None, others: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    if first is not None:
        yield first
    yield from others


def _row_of_json(number: int, line: str) -> Mapping[str, str] | Unread:
    try:
        decoded: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return Unread(f"line {number}", "it is not JSON", line)
    if not isinstance(decoded, dict):
        return Unread(f"line {number}", "it is no JSON object", line)
    return row_of(decoded)


def row_of(values: Mapping[Any, Any]) -> Mapping[str, str]:
    """A row by its columns' names in small letters, whatever the values are; those that are nothing are empty."""
    return {str(name).lower(): "" if value is None else str(value) for name, value in values.items()}


def _row_of_csv(number: int, line: str, columns: Sequence[str]) -> Mapping[str, str] | Unread:
    cells = _cells(line)
    if cells is None:
        return Unread(f"line {number}", "it is not CSV", line)
    names = columns or _columns_of_cdr_csv(cells)
    if len(names) != len(cells):
        return Unread(f"line {number}", f"it has {len(cells)} columns, and {len(names) or 'none'} have a name", line)
    return dict(zip(names, cells, strict=True))


def _cells(line: str) -> list[str] | None:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return None


def _columns_of_cdr_csv(cells: Sequence[str]) -> tuple[str, ...]:
    """Those that `cdr_csv` writes: sixteen, and what was asked for in `cdr.conf`; none where it is no such file."""
    more = len(cells) - len(_PLAIN)
    new = _NEW if more >= len(_NEW) else ()
    asked = more - len(new)
    if asked == 1:
        return (*_PLAIN, "uniqueid" if _UNIQUE_ID.fullmatch(cells[len(_PLAIN)]) else "userfield", *new)
    return {0: (*_PLAIN, *new), 2: (*_PLAIN, "uniqueid", "userfield", *new)}.get(asked, ())


def _missing(row: Mapping[str, str]) -> list[str]:
    return [name for name in NEEDED if name not in row and not (name == "start" and "calldate" in row)]


def _no_columns(row: Mapping[str, str]) -> UsageError:
    """What lacks linkedid is not read by uniqueid: docs/decisions.md says why."""
    return UsageError(
        f"the CDRs have no {', '.join(_missing(row))}, without which nobody can tell which of them are one call",
        todo="let Asterisk write it: `newcdrcolumns = yes` in [csv] of cdr.conf, or a column of that name in the table;"
        " columns in an order of your own are named with --cdr-columns, or --columns of `onhook backfill`",
    )


def _cdr(row: Mapping[str, str]) -> Message | Unread | None:
    """The event that says a row; None where it has no column for what is needed."""
    if _missing(row):
        return None
    lines = [("Event", "Cdr")]
    for name, value in row.items():
        if name in _EVENT_NAMES and (said := _said(name, value)):
            lines.append((_EVENT_NAMES[name], said))
    cdr = Message(tuple(lines))
    start = cdr.get("StartTime")
    if not linked_id_of(cdr.fields):
        return Unread(start or "a row", "it names no call", _shown(row))
    try:
        parse_wall_clock(start)
        _ended(cdr)
    except ParseError as error:
        return Unread(start or "a row", error.what, _shown(row))
    return cdr


def _shown(row: Mapping[str, str]) -> str:
    return msgspec.json.encode(row).decode()


def _said(name: str, value: str) -> str:
    """What a cell says in an event; nothing where it says nothing."""
    if name == "disposition":
        return _DISPOSITIONS.get(value, value)
    if name in _MOMENTS:
        return "" if value.startswith(_NEVER) else value[:MOMENT_CHARACTERS]
    return " ".join(value.split())


def _ended(cdr: Message) -> datetime:
    """By the PBX's clock."""
    end = cdr.get("EndTime")
    if end:
        return parse_wall_clock(end)
    seconds = cdr.get("Duration").partition(".")[0]
    return parse_wall_clock(cdr.get("StartTime")) + timedelta(seconds=int(seconds) if seconds.isdecimal() else 0)


def _calls(cdrs: Sequence[Message], reading: PbxReading) -> Iterator[KeptCall]:
    """One body, or several where there are very many CDRs."""
    starts = [parse_wall_clock(cdr.get("StartTime")) for cdr in cdrs]
    epoch = call_epoch(linked_id_of(cdrs[0].fields))
    began = datetime.fromtimestamp(epoch, UTC) if epoch else None
    ended = None if began is None else began + (max(map(_ended, cdrs)) - min(starts))
    for begin in range(0, len(cdrs), CDRS_MAX):
        part = cdrs[begin : begin + CDRS_MAX]
        channels = {channel_named(cdr.get(name)) for cdr in part for name in ("Channel", "DestinationChannel")}
        endpoints = {channel.endpoint for channel in channels}
        header = Header(
            trunks=tuple(name for name in reading.trunks if name in endpoints),
            inbound=reading.inbound,
            has_pins=reading.has_pins,
        )
        yield KeptCall(body=body_of(header, part), began=began, ended=ended)
