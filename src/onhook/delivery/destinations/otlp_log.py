"""Requests of OTLP/HTTP in JSON, with one log record of a notification each. Pure.

The form is that of opentelemetry-proto: names in lowerCamelCase, numbers of 64 bits as texts. The body of a log record
is the event with all of its members; its attributes are what log servers index.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from onhook.appdb.destination_spec import NotifiesOf
from onhook.lib.timestamps import to_microseconds

LOGS_PATH = "/v1/logs"
"""Path of the protocol, which is added to an address without it."""

INFO, WARN = (9, "INFO"), (13, "WARN")
"""Numbers and names of severities."""

NANOSECONDS_PER_MICROSECOND = 1_000


def logs_url(url: str) -> str:
    """Return where requests go.

    >>> logs_url("https://otel.example.com:4318"), logs_url("https://logs.example.com/otlp/v1/logs")
    ('https://otel.example.com:4318/v1/logs', 'https://logs.example.com/otlp/v1/logs')
    """
    return url if url.endswith(LOGS_PATH) else url.rstrip("/") + LOGS_PATH


def format_log_request(
    body: bytes,
    *,
    notifies_of: NotifiesOf,
    service_name: str,
    notification_id: str,
    attempted_at: int,
    is_test: bool = False,
) -> bytes:
    """Return the request for a notification with this body. `attempted_at` is the time of an event without one, in
    microseconds since 1970.
    """
    event = msgspec.json.decode(body)
    subject = notifies_of.removesuffix("s")
    members = event.get(subject, event)
    attributes = {
        "onhook.id": notification_id,
        "onhook.sn": members.get("sn"),
        "onhook.call_id": members.get("call_id"),
    }
    if is_test:
        attributes["onhook.test"] = True
    number, name = INFO if members.get("ended_at") or subject in ("record", "call") else WARN
    log_record = {
        "timeUnixNano": _nanoseconds(members, ("ended_at", "received_at", "began_at"), attempted_at),
        "observedTimeUnixNano": _nanoseconds(members, ("received_at", "last_seen_at", "began_at"), attempted_at),
        "severityNumber": number,
        "severityText": name,
        "eventName": f"onhook.{subject}",
        "body": _any_value(members),
        "attributes": _key_values(attributes),
    }
    resource = {"attributes": _key_values({"service.name": service_name})}
    scope_logs = {"scope": {"name": "onhook"}, "logRecords": [log_record]}
    return msgspec.json.encode({"resourceLogs": [{"resource": resource, "scopeLogs": [scope_logs]}]})


def _nanoseconds(members: Mapping[str, Any], names: Sequence[str], otherwise: int) -> str:
    """Return the first of these times that is there."""
    text = next((members[name] for name in names if members.get(name)), None)
    microseconds = otherwise if text is None else to_microseconds(datetime.fromisoformat(text))
    return str(microseconds * NANOSECONDS_PER_MICROSECOND)


def _key_values(members: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return members as the protocol has them; unknown ones are left out."""
    return [{"key": name, "value": _any_value(value)} for name, value in members.items() if value is not None]


def _any_value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):  # before numbers: each is one
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [_any_value(item) for item in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": _key_values(value)}}
    return {} if value is None else {"stringValue": value}
