"""A record as a line of CSV (RFC 4180), made by the database; harmless for spreadsheets, as `cdr/cells.py` has it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from onhook.cdr.call_details import NUMBER_FIELDS
from onhook.cdr.utc_offset import offset_text
from onhook.store.queries.zones import Offset, as_sql
from onhook.store.schema import RECORD_COLUMNS, expression

HEAD = (",".join(RECORD_COLUMNS) + "\r\n").encode()
"""The first line."""

_MOMENTS = ("started_at", "answered_at", "ended_at", "received_at")
_FIRST = RECORD_COLUMNS[: RECORD_COLUMNS.index("started_at")]
_LAST = RECORD_COLUMNS[len(_FIRST) :]
_OF_PBX = tuple(name for name in _FIRST if name not in {*NUMBER_FIELDS, "record_id"})
"""Texts that may hold anything a PBX says; all of them stand before our own words, moments and numbers."""

_FORMULA = r"^''*[=+\-@\t\r]"
_NO_FORMULA = r"\+[0-9]+|[+\-][0-9]{2}:[0-9]{2}"
_TO_BE_QUOTED = r'[",\r\n]'

# In all texts of a row, joined by the unit separator: one that is a formula and no telephone number, or has to be
# quoted. A text that holds the separator itself may count as odd without being so: it is then only written slower.
ODD = rf"(^|\x1f)''*([=\-@\t\r]|\+[0-9]*[^0-9\x1f]|\+(\x1f|$))|(^|\x1f)''+\+|{_TO_BE_QUOTED}"


_TEXTS = [expression(name) for name in _OF_PBX]

IS_ODD = f"regexp_matches(concat_ws(chr(31), {', '.join(_TEXTS)}), '{ODD}')"
"""Whether a row of `legs` needs care; asked once, when it is put, because half the price of a line would be this."""


def lines(known: Sequence[Offset], of_legs: str) -> str:
    """The question for rows of `legs` as lines with their ends, in bytes; moments by the offsets of a zone.

    `of_legs` is what stands behind FROM. Nearly all rows hold nothing odd, and are put together as they are.
    """
    cells = f"CASE WHEN is_odd THEN list_transform([{', '.join(_TEXTS)}], lambda text: {text_cell('text')}) END"
    odd = (f"cells[{_OF_PBX.index(name) + 1}]" if name in _OF_PBX else expression(name) for name in _FIRST)
    plain = (expression(name) for name in _FIRST)
    first = f"CASE WHEN cells IS NULL THEN {_joined(plain)} ELSE {_joined(odd)} END"
    last = _joined(_cell(name, known) for name in _LAST)
    return (
        f"SELECT encode(concat({first}, chr(44), {last}, chr(13), chr(10))) AS line"
        f" FROM (SELECT *, {cells} AS cells FROM {of_legs}) AS legs"
    )


def moments(known: Sequence[Offset]) -> Mapping[str, str]:
    """Expressions for the four moments of a record as texts, ISO 8601 with offset; NULL stays NULL."""
    in_seconds = {name: _moment_text(expression(name), known) for name in _MOMENTS[:3]}
    return {**in_seconds, "received_at": _moment_text("received_at", known, is_precise=True)}


def text_cell(text: str) -> str:
    """An expression for a text as a cell: `cells.harmless`, then quoted where RFC 4180 asks for it."""
    harmless = (
        f"CASE WHEN regexp_matches({text}, '{_FORMULA}') AND NOT regexp_full_match({text}, '{_NO_FORMULA}')"
        f" THEN concat(chr(39), {text}) ELSE {text} END"
    )
    return f"CASE WHEN regexp_matches({text}, '{_TO_BE_QUOTED}') THEN {_quoted(harmless)} ELSE {harmless} END"


def _joined(cells: Iterable[str]) -> str:
    return f"concat({', chr(44), '.join(cells)})"


def _cell(column: str, known: Sequence[Offset]) -> str:
    if column in _MOMENTS:
        return moments(known)[column]
    if column == "extra":
        return f"CASE WHEN extra IS NULL THEN '{{}}' ELSE {_quoted('extra')} END"
    return expression(column)


def _quoted(text: str) -> str:
    return f"concat(chr(34), replace({text}, chr(34), chr(34) || chr(34)), chr(34))"


def _moment_text(moment: str, known: Sequence[Offset], is_precise: bool = False) -> str:
    """Of an expression in seconds since 1970, or in microseconds for a precise one."""
    at = f"({moment}) // 1000000" if is_precise else f"({moment})"
    ahead = as_sql(at, known, lambda seconds: str(seconds * 1_000_000))
    shape = "%Y-%m-%dT%H:%M:%S" + (".%f" if is_precise else "")
    local = f"({moment}){'' if is_precise else ' * 1000000'} + {ahead}"
    return f"strftime(make_timestamp({local}), '{shape}') || {as_sql(at, known, _offset_literal)}"


def _offset_literal(seconds: int) -> str:
    return f"'{offset_text(timedelta(seconds=seconds))}'"
