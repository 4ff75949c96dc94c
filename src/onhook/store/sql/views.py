"""The two views that users' SQL sees, `records` and `calls`: their columns, and the statements that create them."""

from onhook.lib.messages import mark
from onhook.store.schema import RECORD_COLUMNS, column_expression
from onhook.store.sql.contract import SqlColumn, SqlTable

CALL_ROWS = "call_rows"
"""Name of the table `calls` in the copy: its own name is that of the view."""

TABLES = ("legs", "calls")
"""Tables of the store that the copy keeps."""

_TIME_COLUMNS = ("started_at", "answered_at", "ended_at")

_CALL_COLUMNS = {
    **{name: name for name in ("sn", "pbx", "call_id", "started_at", "ended_at", "type", "status")},
    "call_from": "from_number",
    "call_to": "to_number",
    **{name: name for name in ("answered_by", "wait_duration", "ring_duration", "talk_duration", "call_duration")},
    **{name: name for name in ("did_number", "src_trunk_name", "dst_trunk_name")},
}
"""Columns of a call, under the names of the API and in its order, and the columns of the table."""

_DESCRIPTIONS = {
    "call_id": mark("id of the call on its PBX; all its legs have it"),
    "time_start": mark("start of the leg by the PBX's own clock, as it was sent"),
    "call_from": mark("caller as it was sent, such as Alice<1001>"),
    "call_to": mark("called party as it was sent, such as Bob<1002>"),
    "call_duration": mark("seconds from start to end"),
    "talk_duration": mark("seconds of talk"),
    "src_trunk_name": mark("trunk that the call came in by"),
    "dst_trunk_name": mark("trunk that the call went out by"),
    "pin_code": mark("PIN code used for the call"),
    "status": mark("outcome: ANSWERED, NO ANSWER, BUSY, FAILED, VOICEMAIL, ABANDONED"),
    "type": mark("Inbound, Outbound or Internal"),
    "recording": mark("file name of the recording"),
    "did_number": mark("DID number that was called"),
    "did_name": mark("name of the DID"),
    "agent_ring_time": mark("seconds of ringing at the agent"),
    "uid": mark("id of the record on its PBX"),
    "call_note_id": mark("id of the call note on the PBX"),
    "enb_call_note": mark("0 where the call note on the PBX cannot be edited, another number where it can"),
    "sn": mark("serial number of the PBX"),
    "pbx": mark("name of the PBX"),
    "record_id": mark("id of the record in Onhook"),
    "started_at": mark("start, in UTC"),
    "answered_at": mark("time of the answer, in UTC; empty where nothing was answered"),
    "ended_at": mark("end, in UTC"),
    "ring_duration": mark("seconds of ringing"),
    "utc_offset": mark("the PBX's clock against UTC, such as +02:00"),
    "offset_from": mark("source of utc_offset: ids, configured or assumed"),
    "is_ambiguous": mark("true in the hour that occurs twice in the configured zone: the first one is assumed"),
    "is_shifted": mark("true in the hour that does not exist in the configured zone: moved by an hour"),
    "via": mark("channel that the event came by, such as webhook"),
    "received_at": mark("time at which the event was received, in UTC"),
    "seq": mark("number of the event in the ledger"),
    "extra": mark("other members of the event, as JSON"),
}
_CALL_DESCRIPTIONS = {
    **_DESCRIPTIONS,
    "call_from": mark("number of the caller, without the name"),
    "call_to": mark("number that was called, without the name"),
    "status": mark("how the call ended for the caller: ANSWERED, NO ANSWER, BUSY, FAILED, VOICEMAIL, ABANDONED"),
    "answered_by": mark("number of the person who answered; empty where none did"),
    "wait_duration": mark("seconds until a person answered, or until the call ended"),
    "ring_duration": mark("seconds of ringing before the answer"),
}


def _record_expression(column: str) -> str:
    if column in _TIME_COLUMNS:
        return f"make_timestamp({column_expression(column)} * 1000000)"
    return f"make_timestamp({column})" if column == "received_at" else column_expression(column)


def _call_expression(column: str) -> str:
    return f"make_timestamp({column} * 1000000)" if column in _TIME_COLUMNS else _CALL_COLUMNS[column]


_RECORD_SELECTION = ", ".join(f"{_record_expression(name)} AS {name}" for name in RECORD_COLUMNS)
_CALL_SELECTION = ", ".join(f"{_call_expression(name)} AS {name}" for name in _CALL_COLUMNS)

VIEWS = {
    "records": f"SELECT {_RECORD_SELECTION} FROM main.legs",
    "calls": f"SELECT {_CALL_SELECTION} FROM main.{CALL_ROWS}",
}
"""Name and SELECT of each view. Times are in UTC."""

SQL_TABLES = (
    SqlTable(
        name="calls",
        description=mark("a row per call, counted once however many legs it has"),
        columns=tuple(SqlColumn(name=name, description=_CALL_DESCRIPTIONS[name]) for name in _CALL_COLUMNS),
    ),
    SqlTable(
        name="records",
        description=mark("a row per leg of a call, with the columns of the exports"),
        columns=tuple(SqlColumn(name=name, description=_DESCRIPTIONS[name]) for name in RECORD_COLUMNS),
    ),
)
"""The views with a line about each column, for pages and programs."""
