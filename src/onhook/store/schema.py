"""The tables of `calls.duckdb`, and the SQL that rebuilds a record from its row.

Values that follow from other columns are not stored but derived on reading, by the rules of `cdr/call_assembly.py`
(yeastar-p-series.md 2.10): `record_id`, `answered_at`, `ended_at`, `ring_duration` of a leg. A text that nearly always
equals another column (`time_start`, `call_from`, `call_to`) is NULL if it does. Times are whole seconds since 1970
(they compress to two bytes), `received_at` microseconds. Durations are INTEGER: `cdr/call_details.py` allows none
longer than a year, and DuckDB's appender is five times as fast with them as with BIGINT.
"""

import re
import zlib

from onhook.cdr.call_details import DETAIL_FIELDS
from onhook.cdr.identity import BY_CHANNEL, CALLEE_KIND, IDENTIFIED_BY
from onhook.cdr.utc_offset import call_epoch
from onhook.store.contract import NUMBER_SUFFIX_DIGITS

NO_SUFFIX = 1
"""Result of `number_suffix` for a text without digits."""

_NON_DIGITS = re.compile("[^0-9]")

SCHEMA_VERSION = 11
"""A file of another version is rebuilt from the ledger: increased with the tables, and with rules that make other
records of the same raw events.
"""

OFFSET_DOUBTS = {"is_ambiguous": "configured ambiguous", "is_shifted": "configured shifted"}
"""Values of the stored `offset_from` of the few legs in such an hour: a column of their own would cost all others."""

LEGS = {
    "call_key": "BIGINT",  # see call_key()
    "sn": "VARCHAR",
    "call_id": "VARCHAR",
    "leg_index": "INTEGER",  # of the leg in its call, from 0
    "call_started_at": "BIGINT",  # so that legs can be searched in the same time range as their calls
    "started_at": "BIGINT",
    "offset_minutes": "INTEGER",
    "time_start": "VARCHAR",  # NULL: started_at by the PBX's wall clock
    "from_number": "VARCHAR",
    "call_from": "VARCHAR",  # NULL: from_number
    "to_number": "VARCHAR",
    "call_to": "VARCHAR",  # NULL: to_number
    "from_suffix": "INTEGER",  # see number_suffix()
    "to_suffix": "INTEGER",
    "call_duration": "INTEGER",
    "talk_duration": "INTEGER",
    "src_trunk_name": "VARCHAR",
    "dst_trunk_name": "VARCHAR",
    "pin_code": "VARCHAR",
    "status": "VARCHAR",
    "status_folded": "VARCHAR",
    "type": "VARCHAR",
    "type_folded": "VARCHAR",
    "recording": "VARCHAR",
    "did_number": "VARCHAR",
    "did_name": "VARCHAR",
    "agent_ring_time": "INTEGER",
    "uid": "VARCHAR",
    "call_note_id": "VARCHAR",
    "enb_call_note": "INTEGER",
    "extra": "VARCHAR",  # JSON; NULL: nothing
    "pbx": "VARCHAR",
    "offset_from": "VARCHAR",  # with what is in doubt: see OFFSET_DOUBTS
    "via": "VARCHAR",
    "received_at": "BIGINT",  # microseconds
    "seq": "BIGINT",
}
"""One row per leg, as written."""

LEGS_DERIVED = {"needs_escaping": "BOOLEAN"}  # whether one of its texts needs escaping in CSV
"""Columns that the database adds when a leg is stored."""

CALLS = {
    "call_key": "BIGINT",
    "sn": "VARCHAR",
    "call_id": "VARCHAR",
    "pbx": "VARCHAR",
    "started_at": "BIGINT",
    "ended_at": "BIGINT",
    "type": "VARCHAR",
    "type_folded": "VARCHAR",
    "status": "VARCHAR",
    "status_folded": "VARCHAR",
    "from_number": "VARCHAR",
    "to_number": "VARCHAR",
    "from_suffix": "INTEGER",
    "to_suffix": "INTEGER",
    "answered_by": "VARCHAR",
    "wait_duration": "INTEGER",
    "ring_duration": "INTEGER",
    "talk_duration": "INTEGER",
    "call_duration": "INTEGER",
    "did_number": "VARCHAR",
    "src_trunk_name": "VARCHAR",
    "dst_trunk_name": "VARCHAR",
}
"""One row per call: what filters, sorting and summaries use; the rest is read from its legs."""

QUEUE_VISITS = {
    "call_key": "BIGINT",
    "sn": "VARCHAR",
    "call_id": "VARCHAR",
    "call_started_at": "BIGINT",
    "queue": "VARCHAR",
    "kind": "VARCHAR",
    "outcome": "VARCHAR",
    "wait_duration": "INTEGER",
    "talk_duration": "INTEGER",
}
"""One row per visit of a call to a queue or ring group: see `cdr/queue_visits.py`."""

AGENT_RINGS = {
    "call_key": "BIGINT",
    "sn": "VARCHAR",
    "call_id": "VARCHAR",
    "call_started_at": "BIGINT",
    "queue": "VARCHAR",
    "kind": "VARCHAR",
    "agent": "VARCHAR",
    "is_outside": "BOOLEAN",
    "is_answered": "BOOLEAN",
    "started_at": "BIGINT",
    "ended_at": "BIGINT",
    "talk_duration": "INTEGER",
}
"""One row per ring of an agent in a visit."""

CALL_TABLES = ("legs", "calls", "queue_visits", "agent_rings")
"""Tables with rows of calls, by `call_key`, `sn` and `call_id`."""

ROLLUP_COLUMNS = {
    **dict.fromkeys(("calls", "answered", "missed", "voicemail", "busy", "no_answer", "abandoned", "failed"), "BIGINT"),
    **dict.fromkeys(("talk_duration", "call_duration", "ring_duration", "wait_duration"), "BIGINT"),
    "wait_duration_max": "INTEGER",
}
"""Sums, as defined in `measures.MEASURES`."""

ROLLUP_TABLES = {
    "rollup_by_time": {
        "week": "BIGINT",
        "started_at": "BIGINT",  # the first second of a quarter of an hour
        "sn": "VARCHAR",
        "pbx": "VARCHAR",
        "type_folded": "VARCHAR",
        **ROLLUP_COLUMNS,
    },
    "rollup_by_party": {
        "week": "BIGINT",
        "kind": "VARCHAR",  # see rollups.PARTY_ROLLUPS
        "sn": "VARCHAR",
        "pbx": "VARCHAR",
        "party": "VARCHAR",
        "answered_by": "VARCHAR",  # NULL: all
        **ROLLUP_COLUMNS,
    },
    "rollup_concurrency": {
        "week": "BIGINT",
        "starts_at": "BIGINT",
        "pbx": "VARCHAR",  # NULL: all together, without trunks
        "trunk": "VARCHAR",  # NULL: by quarters of an hour; else by whole weeks
        "calls": "BIGINT",
        "peak_at": "BIGINT",
    },
}
"""Counts of past weeks: see `rollups.py`."""

TABLES = {
    **ROLLUP_TABLES,
    "rollup_weeks": {"week": "BIGINT", "is_rolled_up": "BOOLEAN"},
    "metadata": {"version": "BIGINT", "position": "BIGINT", "position_key": "BLOB", "re_read_seq": "BIGINT"},
    "legs": {**LEGS, **LEGS_DERIVED},
    "calls": CALLS,
    "queue_visits": QUEUE_VISITS,
    "agent_rings": AGENT_RINGS,
    "quarantine": {
        "seq": "BIGINT",
        "sn": "VARCHAR",
        "via": "VARCHAR",
        "received_at": "BIGINT",
        "reason": "VARCHAR",
    },
}


def creation_statements() -> list[str]:
    """Return the statements that create an empty store."""
    tables = [
        f"CREATE TABLE {table} ({', '.join(f'{name} {column_type}' for name, column_type in columns.items())})"
        for table, columns in TABLES.items()
    ]
    return [*tables, f"INSERT INTO metadata VALUES ({SCHEMA_VERSION}, 0, '', 0)"]


def call_key(call_id: str) -> int:
    """Return a number that follows from a call's id and grows with its time, so that calls of one time are close in the
    file.

    The second in the id; for an id without one, a negative checksum.
    """
    return call_epoch(call_id) or -1 - zlib.crc32(call_id.encode())


def number_suffix(number: str) -> int:
    """Return a 1 and the last digits of a number (see NUMBER_SUFFIX_DIGITS): equal for two notations of it, and much
    faster to search than the text; 1 for a text without digits.

    >>> number_suffix("+49 30 1234567"), number_suffix("1001"), number_suffix("anonymous")
    (101234567, 11001, 1)
    """
    return int("1" + _NON_DIGITS.sub("", number)[-NUMBER_SUFFIX_DIGITS:])


_TIME_START = "coalesce(time_start, CAST(make_timestamp((started_at + offset_minutes * 60) * 1000000) AS VARCHAR))"
_OFFSET_PART = "lpad(CAST(abs(offset_minutes) {} 60 AS VARCHAR), 2, '0')"

_PARTICIPANT = (
    f'CASE WHEN (extra LIKE \'%"{CALLEE_KIND}":"conference"%\' OR extra LIKE \'%"{IDENTIFIED_BY}":"{BY_CHANNEL}"%\')'
    " AND json_extract_string(extra, '$.channel') <> ''"
    " THEN chr(30) || json_extract_string(extra, '$.channel') ELSE '' END"
)
"""What `cdr.identity.record_key` adds to the number: in a conference, and where only the caller's channel differs."""

DERIVED = {
    "time_start": _TIME_START,
    "call_from": "coalesce(call_from, from_number)",
    "call_to": "coalesce(call_to, to_number)",
    "extra": "coalesce(extra, '{}')",
    "record_id": f"md5(concat_ws(chr(31), sn, call_id, {_TIME_START}, to_number || {_PARTICIPANT}))",
    "answered_at": "CASE WHEN talk_duration > 0 THEN started_at + call_duration - talk_duration END",
    "ended_at": "started_at + call_duration",
    "ring_duration": "CASE WHEN talk_duration < call_duration THEN call_duration - talk_duration"
    " WHEN talk_duration >= call_duration THEN 0 END",
    "offset_from": "split_part(offset_from, ' ', 1)",
    **{name: f"(offset_from = '{stored}')" for name, stored in OFFSET_DOUBTS.items()},
    "utc_offset": "(CASE WHEN offset_minutes < 0 THEN '-' ELSE '+' END"
    f" || {_OFFSET_PART.format('//')} || ':' || {_OFFSET_PART.format('%')})",
}
"""SQL of the record columns that are not stored as they are. Times are seconds since 1970."""

RECORD_COLUMNS = (
    *DETAIL_FIELDS,
    *("sn", "pbx", "record_id", "started_at", "answered_at", "ended_at", "ring_duration"),
    *("utc_offset", "offset_from", "is_ambiguous", "is_shifted", "via", "received_at", "seq", "extra"),
)
"""Columns of a record, in the order of all lists and files."""


def column_expression(column: str) -> str:
    """Return the SQL that computes a column of a record from a row of `legs`."""
    return DERIVED.get(column, column)


def record_selection() -> str:
    """Return the columns of a record for `rows.record_from_row`."""
    return ", ".join(f"{column_expression(column)} AS {column}_" for column in RECORD_COLUMNS)
