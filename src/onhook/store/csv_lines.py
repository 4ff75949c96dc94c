"""A record as a line of CSV (RFC 4180), made by the database; harmless for spreadsheets, as `cdr/cells.py` has it."""

from collections.abc import Mapping, Sequence
from datetime import timedelta

from onhook.cdr.details import NUMBER_FIELDS
from onhook.cdr.offset import offset_text
from onhook.store.schema import RECORD_COLUMNS, expression
from onhook.store.zones import Offset, as_sql

HEAD = (",".join(RECORD_COLUMNS) + "\r\n").encode()
"""The first line."""

_NUMBERS = {*NUMBER_FIELDS, "ring_duration", "seq"}
_PLAIN = {"record_id", "time_start", "offset_from"}
"""Texts that are made of letters and digits only, whatever a PBX says."""

_FORMULA = r"^''*[=+\-@\t\r]"
_TELEPHONE_NUMBER = r"\+[0-9]+"
_TO_BE_QUOTED = r'[",\r\n]'


def line(known: Sequence[Offset]) -> str:
    """An expression for a row of `legs` as a line, with its end; moments by the offsets of a zone."""
    cells = [_cell(column, known) for column in RECORD_COLUMNS]
    return f"concat({', chr(44), '.join(cells)}, chr(13), chr(10))"


def moment_text(moment: str, known: Sequence[Offset], microseconds: bool = False) -> str:
    """ISO 8601 with offset, of an expression in seconds or microseconds since 1970; NULL stays NULL."""
    at = f"({moment}) // 1000000" if microseconds else moment
    ahead = as_sql(at, known, lambda seconds: str(seconds * 1_000_000))
    local = f"({moment}){'' if microseconds else ' * 1000000'} + {ahead}"
    shape = "%Y-%m-%dT%H:%M:%S.%f" if microseconds else "%Y-%m-%dT%H:%M:%S"
    return f"strftime(make_timestamp({local}), '{shape}') || {as_sql(at, known, _offset_literal)}"


def moments(known: Sequence[Offset]) -> Mapping[str, str]:
    """The four moments of a record as texts."""
    in_seconds = {
        name: moment_text(f"({expression(name)})", known) for name in ("started_at", "answered_at", "ended_at")
    }
    return {**in_seconds, "received_at": moment_text("received_at", known, microseconds=True)}


def _cell(column: str, known: Sequence[Offset]) -> str:
    if column in _NUMBERS or column in _PLAIN:
        return expression(column)
    return moments(known).get(column) or text_cell(expression(column))


def text_cell(text: str) -> str:
    """An expression for a text as a cell: `cells.harmless`, then quoted where RFC 4180 asks for it."""
    return f"(CASE WHEN regexp_matches({text}, '{_FORMULA}|{_TO_BE_QUOTED}') THEN {_special(text)} ELSE {text} END)"


def _special(text: str) -> str:
    harmless = (
        f"CASE WHEN regexp_matches({text}, '{_FORMULA}') AND NOT regexp_full_match({text}, '{_TELEPHONE_NUMBER}')"
        f" THEN concat(chr(39), {text}) ELSE {text} END"
    )
    return (
        f"CASE WHEN regexp_matches({text}, '{_TO_BE_QUOTED}')"
        f" THEN concat(chr(34), replace({harmless}, chr(34), chr(34) || chr(34)), chr(34)) ELSE {harmless} END"
    )


def _offset_literal(seconds: int) -> str:
    return f"'{offset_text(timedelta(seconds=seconds))}'"
