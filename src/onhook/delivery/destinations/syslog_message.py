"""Messages of syslog (RFC 5424) and their frames (RFC 6587, 3.4.1; RFC 5425, 4.3). Pure.

Invariants: a message is ASCII, so no reader has to guess its encoding. The same record gives the same message. Its
element of structured data has the enterprise number that RFC 5612 reserves for examples: Onhook has none of its own.
"""

import json
from collections.abc import Mapping
from datetime import datetime

import msgspec

from onhook.cdr.record import Record
from onhook.delivery.payloads import make_notification_id

SD_ID = "onhook@32473"
APP_NAME = "onhook"
NIL = "-"

INFORMATIONAL = 6
WARNING = 4
"""Severities (RFC 5424, 6.2.1): of calls, and of alarms and issues."""

HOSTNAME_CHARACTERS_MAX = 255
"""RFC 5424, 6."""

_SD_FIELDS = ("sn", "call_id", "call_from", "call_to", "type", "status", "talk_duration")
_ESCAPES = str.maketrans({'"': '\\"', "\\": "\\\\", "]": "\\]"})


def format_record(record: Record, message_id: str, facility: int) -> bytes:
    """Return the message of a record, or of a call as one record: its members as JSON, the main ones also as structured
    data, with the notification id, by which a reader recognises repeats.
    """
    members = msgspec.to_builtins(record)
    parameters = {"id": make_notification_id(record)} | {
        name: str(members[name]) for name in _SD_FIELDS if members[name] not in (None, "")
    }
    time = record.ended_at or record.started_at
    return format_message(
        facility * 8 + INFORMATIONAL, time, message_id, json.dumps(members), hostname=record.sn, parameters=parameters
    )


def format_message(
    priority: int, time: datetime, message_id: str, text: str, *, hostname: str, parameters: Mapping[str, str]
) -> bytes:
    """Return a message; the time is in UTC."""
    data = "".join(f' {name}="{_to_ascii(value).translate(_ESCAPES)}"' for name, value in parameters.items())
    timestamp = f"{time:%Y-%m-%dT%H:%M:%S.%f}Z"
    header = f"<{priority}>1 {timestamp} {_to_header_field(hostname)} {APP_NAME} {NIL} {message_id}"
    return f"{header} [{SD_ID}{data}] {text}".encode("ascii", "replace")


def frame(message: bytes) -> bytes:
    """Return a message with its length before it, so that a line feed ends no message.

    >>> frame(b"<134>1 - - - - - -")
    b'18 <134>1 - - - - - -'
    """
    return b"%d %s" % (len(message), message)


def _to_ascii(text: str) -> str:
    """Return a text whose other characters are written as in JSON."""
    return json.dumps(text)[1:-1].replace('\\"', '"').replace("\\\\", "\\")


def _to_header_field(text: str) -> str:
    """Return a text for the header, which takes printable ASCII without blanks."""
    return "".join(c if "!" <= c <= "~" else "_" for c in text)[:HOSTNAME_CHARACTERS_MAX] or NIL
