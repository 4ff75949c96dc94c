"""The rows of CDR files of a CUCM, by the names in the first line (cucm.md 1). Pure.

Invariants: columns are found by their names, in any order and case. A part of a file has the line of names too, so that
it can be read alone. Whatever the bytes, the result is rows or a `ParseError` with a reason.
"""

import csv
import hashlib
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import msgspec

from onhook.cdr.leg_joining import LegLinks
from onhook.cdr.utc_offset import YEAR_MAX, YEAR_MIN
from onhook.lib.messages import _
from onhook.pbx.json_fields import TEXT_CHARACTERS_MAX, parse_error

NAMES_BYTES_MAX = 32 * 1024
"""The line of names has some 3 KB."""

ROWS_MAX = 1_000
"""Rows of one body; that of a swept file has one."""

_GLOBAL_ID = ("globalcallid_callmanagerid", "globalcallid_callid")
_CDR_NAMES = (*_GLOBAL_ID, "datetimeorigination", "datetimedisconnect", "callingpartynumber", "finalcalledpartynumber")
_CMR_NAMES = (*_GLOBAL_ID, "callidentifier", "directorynum", "numberpacketssent")
"""Columns by which files of calls and files of the quality of calls are known."""

_CALLEE_LEG = ("destlegidentifier", "destlegcallidentifier")
"""The name in files, and that in the documentation."""

_CLUSTER_CHARACTERS_MAX = 100
_TYPE = re.compile(r"[A-Z]{3,20}(?:\([0-9]{1,5}\))?")
_NUMBER = re.compile(r"[0-9]{1,12}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_EPOCH_MIN, _EPOCH_MAX = (round(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (YEAR_MIN, YEAR_MAX))


class CdrRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a connection between two parties, from `start` to `end`. Times are Unix seconds, 0 is never.

    `global_id` names the call, as the parties saw it; a call that is transferred has several. `caller_leg` and
    `callee_leg` name the legs of both parties, which stay when their connection is another one; empty where unknown.
    """

    row_id: str
    cluster: str
    global_id: str
    caller_leg: str
    callee_leg: str
    start: int
    connect: int
    end: int
    values: Mapping[str, str]

    def get(self, name: str) -> str:
        """Return the value of a column, empty where there is none."""
        return self.values.get(name.lower(), "")

    def get_number(self, name: str) -> int:
        """Return the value of a column as a number; 0 where it is none."""
        return _to_number(self.get(name))

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the call and of its legs, which other rows have too."""
        legs = {f"leg {self.cluster}/{leg}" for leg in (self.caller_leg, self.callee_leg) if leg}
        return frozenset({f"call {self.global_id}", *legs})


def has_cdr_names(body: bytes) -> bool:
    """Return whether a body begins with the names of the columns of a CDR file."""
    return _has_names(body, _CDR_NAMES)


def has_cmr_names(body: bytes) -> bool:
    """Return whether a body begins with the names of the columns of a file about the quality of calls."""
    return _has_names(body, _CMR_NAMES)


def split_rows(content: bytes) -> Iterator[bytes]:
    """Yield a part for each row of a file: the line of names and that of the row, as they are."""
    names, *lines = content.removeprefix(_BYTE_ORDER_MARK).splitlines()
    for line in lines:
        if line.strip() and not _is_types(_split(line)):
            yield names + b"\n" + line + b"\n"


def read_rows(body: bytes) -> list[CdrRow]:
    """Return the rows in a body. Raises `ParseError`."""
    if not has_cdr_names(body):
        raise parse_error(_("it has no line with the names of the columns of a CDR file"))
    names, *lines = body.removeprefix(_BYTE_ORDER_MARK).splitlines()
    columns = [name.lower() for name in _split(names)]
    rows: list[CdrRow] = []
    for line in lines:
        values = _split(line)
        if any(values) and not _is_types(values):
            rows.append(_read_row({name: text for name, text in zip(columns, values, strict=False) if text}))
            if len(rows) > ROWS_MAX:
                raise parse_error(_("the body has more than {limit} rows", limit=ROWS_MAX))
    if not rows:
        raise parse_error(_("the body has no row of a call"))
    return rows


def read_links(body: bytes) -> LegLinks:
    """Return what the rows in a body say about others. Raises `ParseError`."""
    rows = read_rows(body)
    return LegLinks(
        leg_id=f"row {min(row.row_id for row in rows)}",
        linked_ids=frozenset[str]().union(*(row.names for row in rows)),
    )


def compute_rows_key(rows: list[CdrRow]) -> bytes:
    """Return a key that is equal for the same values, in whichever order of columns; it begins with the first start."""
    text = msgspec.json.encode([row.values for row in rows], order="deterministic")
    return min(row.start for row in rows).to_bytes(4) + hashlib.sha256(text).digest()[:12]


def _has_names(body: bytes, required_names: tuple[str, ...]) -> bool:
    line = body[:NAMES_BYTES_MAX].removeprefix(_BYTE_ORDER_MARK).partition(b"\n")[0]
    names = {name.lower() for name in _split(line)}
    return names.issuperset(required_names)


def _split(line: bytes) -> list[str]:
    text = _UNSTORABLE.sub("\ufffd", line.decode("utf-8", "replace"))
    try:
        rows = list(csv.reader([text]))
    except csv.Error:
        return []
    return [value.strip()[:TEXT_CHARACTERS_MAX] for value in rows[0]] if rows else []


def _is_types(values: list[str]) -> bool:
    """Return whether the values are the types of the columns, which the second line has."""
    return bool(values) and all(map(_TYPE.fullmatch, values))


def _read_row(values: Mapping[str, str]) -> CdrRow:
    """Return the row with these values. Raises `ParseError`."""
    manager, number = (values.get(name, "") for name in _GLOBAL_ID)
    if not _NUMBER.fullmatch(manager) or not _NUMBER.fullmatch(number):
        raise parse_error(_("the row has no global call id"))
    start = _read_time(values, "dateTimeOrigination")
    if not start:
        raise parse_error(_("the row has no dateTimeOrigination"))
    cluster = (values.get("globalcallid_clusterid") or "cluster")[:_CLUSTER_CHARACTERS_MAX]
    global_id = f"{cluster}-{manager}-{number}"
    caller_leg = _read_leg(values.get("origlegcallidentifier", ""))
    callee_leg = _read_leg(values.get(_CALLEE_LEG[0]) or values.get(_CALLEE_LEG[1], ""))
    return CdrRow(
        row_id=values.get("pkid") or f"{global_id}/{caller_leg}/{callee_leg}/{start}",
        cluster=cluster,
        global_id=global_id,
        caller_leg=caller_leg,
        callee_leg=callee_leg,
        start=start,
        connect=_read_time(values, "dateTimeConnect"),
        end=_read_time(values, "dateTimeDisconnect"),
        values=values,
    )


def _read_leg(text: str) -> str:
    return text if _to_number(text) else ""


def _read_time(values: Mapping[str, str], name: str) -> int:
    """Return Unix seconds; 0 for a time that never was. Raises `ParseError`."""
    text = values.get(name.lower(), "")
    seconds = _to_number(text)
    if (seconds and not _EPOCH_MIN <= seconds < _EPOCH_MAX) or (text and not _NUMBER.fullmatch(text)):
        raise parse_error(_("{name} is no time: {value}", name=name, value=repr(text[:40])))
    return seconds


def _to_number(text: str) -> int:
    return int(text) if _NUMBER.fullmatch(text) else 0
