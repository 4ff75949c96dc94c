"""A record as a line of CSV (RFC 4180), built by the database; formulas are escaped as in `cdr/csv_injection.py`."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta

from onhook.cdr import csv_injection
from onhook.cdr.call_details import NUMBER_FIELDS
from onhook.cdr.record import NAME_COLUMNS
from onhook.cdr.utc_offset import format_offset
from onhook.store.queries.zones import ZoneOffset, offset_sql
from onhook.store.schema import RECORD_COLUMNS, column_expression

_C0_CONTROLS = bytes({*range(0x20), 0x7F} - {*b"\t\r\n"})
_PIECE_BYTES = 64 * 1024
"""A piece and its copy fit the processor's cache."""

_CELL = re.compile(rb'("[^"]*+(?:""[^"]*+)*+"|[^",\r\n]*+)(,|\r\n)')
"""A cell with its quotation marks, and what ends it."""

HEADER_LINE = (",".join(RECORD_COLUMNS) + "\r\n").encode()
NAMED_HEADER_LINE = (",".join((*RECORD_COLUMNS, *NAME_COLUMNS)) + "\r\n").encode()
"""The first line, without names and with them."""

_TIME_COLUMNS = ("started_at", "answered_at", "ended_at", "received_at")
_LEADING_COLUMNS = RECORD_COLUMNS[: RECORD_COLUMNS.index("started_at")]
_TRAILING_COLUMNS = RECORD_COLUMNS[len(_LEADING_COLUMNS) :]
_PBX_TEXT_COLUMNS = tuple(name for name in _LEADING_COLUMNS if name not in {*NUMBER_FIELDS, "record_id"})
"""Texts from the PBX with arbitrary content; they all precede Onhook's own words, times and numbers."""

_FORMULA = r"^''*[=+\-@\t\r]"
_NOT_A_FORMULA = r"\+[0-9]+|[+\-][0-9]{2}:[0-9]{2}"
_NEEDS_QUOTING = r'[",\r\n]'

# In all texts of a row, joined by the unit separator: one that is a formula and no telephone number, or has to be
# quoted. A text that contains the separator itself may match without need: its row is only written more slowly.
NEEDS_ESCAPING_PATTERN = rf"(^|\x1f)''*([=\-@\t\r]|\+[0-9]*[^0-9\x1f]|\+(\x1f|$))|(^|\x1f)''+\+|{_NEEDS_QUOTING}"


_TEXT_EXPRESSIONS = [column_expression(name) for name in _PBX_TEXT_COLUMNS]

NEEDS_ESCAPING_SQL = f"regexp_matches(concat_ws(chr(31), {', '.join(_TEXT_EXPRESSIONS)}), '{NEEDS_ESCAPING_PATTERN}')"
"""Whether a row of `legs` needs escaping; computed when it is stored, because it is half the cost of a line."""


def csv_line_query(
    zone_offsets: Sequence[ZoneOffset], source_sql: str, *, needs_escaping: bool = True, has_names: bool = False
) -> str:
    """Return the query for rows of `legs` as lines without their line feeds; times by the offsets of a zone.

    `source_sql` follows FROM. Nearly all rows need no escaping, and are joined without it; without `needs_escaping`
    none may need it. Names, of which `needs_escaping` knows nothing, are always escaped.
    """
    unescaped = [column_expression(name) for name in _LEADING_COLUMNS]
    trailing = [*(_column_cell(name, zone_offsets) for name in _TRAILING_COLUMNS)]
    if has_names:
        trailing += map(cell_expression, NAME_COLUMNS)
    if not needs_escaping:
        return f"SELECT {_join_cells([*unescaped, *trailing], 'chr(13)')} AS line FROM {source_sql}"
    texts = ", ".join(_TEXT_EXPRESSIONS)
    cells = f"CASE WHEN needs_escaping THEN list_transform([{texts}], lambda text: {cell_expression('text')}) END"
    escaped = (
        f"cells[{_PBX_TEXT_COLUMNS.index(name) + 1}]" if name in _PBX_TEXT_COLUMNS else column_expression(name)
        for name in _LEADING_COLUMNS
    )
    leading = f"CASE WHEN cells IS NULL THEN {_join_cells(unescaped)} ELSE {_join_cells(escaped)} END"
    return (
        f"SELECT {_join_cells([leading, *trailing], 'chr(13)')} AS line"
        f" FROM (SELECT *, {cells} AS cells FROM {source_sql}) AS legs"
    )


def escape_controls(chunk: bytes) -> bytes:
    """Return whole lines without control characters, as in `csv_injection.escape_controls`; in `extra`, which is JSON,
    as in `escape_json_controls`. Nearly all chunks have none, and are only searched.
    """
    if not _may_have_controls(chunk):
        return chunk
    parts: list[bytes] = []
    start = column_index = 0
    for match in _CELL.finditer(chunk):
        cell, separator = match.groups()
        escape = _ESCAPES.get(column_index)
        if escape is not None and (escaped_cell := escape(cell)) != cell:
            parts += [chunk[start : match.start()], escaped_cell, separator]
            start = match.end()
        column_index = column_index + 1 if separator == b"," else 0
    return b"".join([*parts, chunk[start:]])


def _may_have_controls(chunk: bytes) -> bool:
    """Return whether a chunk contains a control character or what begins one's escape; piece by piece, so that no copy
    of the whole chunk is made.
    """
    # A backslash alone is found ten times as fast as one before an x.
    if b"\xc2" in chunk or (b"\\" in chunk and b"\\x" in chunk):
        return True
    pieces = (chunk[start : start + _PIECE_BYTES] for start in range(0, len(chunk), _PIECE_BYTES))
    return any(len(piece.translate(None, _C0_CONTROLS)) < len(piece) for piece in pieces)


def _escape_text(cell: bytes) -> bytes:
    return csv_injection.escape_controls(cell.decode()).encode()


_ESCAPES: Mapping[int, Callable[[bytes], bytes]] = {
    **{RECORD_COLUMNS.index(name): _escape_text for name in _PBX_TEXT_COLUMNS},
    RECORD_COLUMNS.index("extra"): csv_injection.escape_json_controls,
    **{len(RECORD_COLUMNS) + index: _escape_text for index in range(len(NAME_COLUMNS))},
}
"""By the index of the column; the others are Onhook's own words, times and numbers."""


def time_expressions(zone_offsets: Sequence[ZoneOffset]) -> Mapping[str, str]:
    """Return expressions for the four times of a record as texts, ISO 8601 with offset; NULL stays NULL."""
    in_seconds = {name: _format_time(column_expression(name), zone_offsets) for name in _TIME_COLUMNS[:3]}
    return {**in_seconds, "received_at": _format_time("received_at", zone_offsets, is_precise=True)}


def cell_expression(text: str) -> str:
    """Return an expression for a text as a cell: `csv_injection.escape_formula`, then quoted if RFC 4180
    requires it.
    """
    escaped = (
        f"CASE WHEN regexp_matches({text}, '{_FORMULA}') AND NOT regexp_full_match({text}, '{_NOT_A_FORMULA}')"
        f" THEN concat(chr(39), {text}) ELSE {text} END"
    )
    return f"CASE WHEN regexp_matches({text}, '{_NEEDS_QUOTING}') THEN {_quote(escaped)} ELSE {escaped} END"


def _join_cells(cells: Iterable[str], end: str = "''") -> str:
    return f"concat({', chr(44), '.join(cells)}, {end})"


def _column_cell(column: str, zone_offsets: Sequence[ZoneOffset]) -> str:
    if column in _TIME_COLUMNS:
        return time_expressions(zone_offsets)[column]
    if column == "extra":
        return f"CASE WHEN extra IS NULL THEN '{{}}' ELSE {_quote('extra')} END"
    return column_expression(column)


def _quote(text: str) -> str:
    return f"concat(chr(34), replace({text}, chr(34), chr(34) || chr(34)), chr(34))"


def _format_time(time: str, zone_offsets: Sequence[ZoneOffset], is_precise: bool = False) -> str:
    """Return the SQL that formats an expression in seconds since 1970, or in microseconds for a precise one."""
    epoch_seconds = f"({time}) // 1000000" if is_precise else f"({time})"
    offset_microseconds = offset_sql(epoch_seconds, zone_offsets, lambda seconds: str(seconds * 1_000_000))
    format_string = "%Y-%m-%dT%H:%M:%S" + (".%f" if is_precise else "")
    local_microseconds = f"({time}){'' if is_precise else ' * 1000000'} + {offset_microseconds}"
    offset = offset_sql(epoch_seconds, zone_offsets, _offset_literal)
    return f"strftime(make_timestamp({local_microseconds}), '{format_string}') || {offset}"


def _offset_literal(seconds: int) -> str:
    return f"'{format_offset(timedelta(seconds=seconds))}'"
