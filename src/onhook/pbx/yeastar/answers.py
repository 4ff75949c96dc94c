"""Responses of the P-Series web API, and the meaning of each code for the client (yeastar-p-series.md 6.1)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from onhook.cdr.utc_offset import offset_between, parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.lib.messages import _
from onhook.pbx.client import ApiErrorKind, PbxRequest, PbxResponse, PbxWebhook, PbxWebhookConfig, SystemFacts
from onhook.pbx.yeastar.rows import parse_date_order

API_PATH = "/openapi/v1.0/"
API_V2_PATH = "/openapi/v2.0/"

ALL_EVENTS, CALL_END_EVENT = "0", "30012"
"""Names in a webhook's list of events (yeastar-p-series.md 4.1)."""

TEXT_CHARACTERS_MAX = 200
"""Of an error text of a PBX: enough for an operator, and a bound on untrusted input."""

ERROR_KINDS: Mapping[int, ApiErrorKind] = {
    10001: "unsupported",  # The firmware has no such endpoint.
    10002: "unsupported",
    10003: "unsupported",
    10004: "token_expired",
    10005: "invalid_credentials",
    40001: "invalid_parameter",
    40002: "invalid_parameter",  # Never a reason to log in again (yeastar-p-series.md 12, 4).
    40003: "invalid_request",
    40004: "invalid_request",
    60001: "invalid_request",
    60002: "too_many_tokens",
    70004: "needs_operator",  # Onhook's address is blocked after failed logins.
    70087: "needs_operator",  # Or was never allowed.
    70120: "needs_operator",
    70123: "temporary",
    70082: "temporary",
    -2: "temporary",
    -1: "temporary",
    2: "temporary",
}
"""Codes that are not listed are errors of the request."""


MISSING_STATUSES = (404, 405, 410, 501)
"""HTTP statuses of an endpoint that the firmware does not have."""


def parse_response(status: int, body: bytes) -> PbxResponse:
    """Parse a response. The status is 200 even for errors (yeastar-p-series.md 6); another one comes from a proxy in
    between.
    """
    try:
        members = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        members = None
    if members is None or not isinstance(members.get("errcode"), int):
        if status in MISSING_STATUSES:
            return PbxResponse(errcode=-status, error_kind="unsupported", error_text=f"HTTP status {status}")
        if status != 200:
            return PbxResponse(errcode=-status, error_kind="temporary", error_text=f"HTTP status {status}")
        return PbxResponse(
            errcode=0, error_kind="invalid_response", error_text=_("the response is not from the PBX's web API")
        )
    errcode = members["errcode"]
    error_kind = None if errcode == 0 else ERROR_KINDS.get(errcode, "invalid_request")
    text = f"{errcode} {members.get('errmsg', '')}"[:TEXT_CHARACTERS_MAX].strip()
    return PbxResponse(
        errcode=errcode, error_kind=error_kind, error_text="" if errcode == 0 else text, members=members, body=body
    )


def facts_request() -> PbxRequest:
    """Return the request for serial number, firmware, display formats and clock of the PBX."""
    return PbxRequest(path=f"{API_PATH}system/information")


def token_check_requests() -> Sequence[PbxRequest]:
    """Return two requests that need a token: some PBXs refuse the first one to an application of full rights."""
    return facts_request(), PbxRequest(path=f"{API_PATH}cdr/list", query={"page_size": "1"})


def parse_facts(response: PbxResponse) -> SystemFacts:
    """Parse the response of `system/information`; return empty facts for any other response."""
    members = response.members.get("data", response.members)
    members = members[0] if isinstance(members, list) and members else members
    if not isinstance(members, dict):
        return SystemFacts()
    clock = _parse_seconds(members.get("timestamp"))
    date_format = str(members.get("system_date_format", ""))[:TEXT_CHARACTERS_MAX]
    return SystemFacts(
        firmware=str(members.get("firmware_version", members.get("firmware", "")))[:TEXT_CHARACTERS_MAX],
        sn=str(members.get("sn", ""))[:TEXT_CHARACTERS_MAX],
        date_format=date_format,
        time_format=str(members.get("system_time_format", ""))[:TEXT_CHARACTERS_MAX],
        clock=clock,
        offset_seconds=_offset_seconds(str(members.get("system_time", "")), date_format, clock),
    )


def webhooks_request() -> PbxRequest:
    """Return the request for the webhooks configured in the PBX, with their secrets (yeastar-p-series.md 4.1)."""
    return PbxRequest(path=f"{API_PATH}webhook/query")


def parse_webhooks(response: PbxResponse) -> PbxWebhookConfig:
    """Parse the response of `webhook/query`; return an empty configuration for any other response."""
    data = response.members.get("data", response.members)
    data = data if isinstance(data, dict) else {}
    entries = data.get("webhook_event_push_list")
    return PbxWebhookConfig(
        is_enabled=str(data.get("enb_webhook_event_push", 0)) == "1",
        entries=[_parse_webhook(entry) for entry in entries if isinstance(entry, dict)]
        if isinstance(entries, list)
        else [],
    )


def _parse_webhook(entry: Mapping[str, Any]) -> PbxWebhook:
    event_ids = entry.get("event_ids")
    event_names = {str(event_id) for event_id in event_ids} if isinstance(event_ids, list) else set[str]()
    return PbxWebhook(
        url=str(entry.get("url", "")),
        secret=str(entry.get("secret", "")),
        method=str(entry.get("request_method", "")).upper(),
        sends_call_ends=bool(event_names & {ALL_EVENTS, CALL_END_EVENT}),
    )


def _offset_seconds(time_text: str, date_format: str, clock: int | None) -> int | None:
    """Return the PBX's wall clock minus UTC, rounded to quarters of an hour."""
    local = _parse_local_time(time_text.strip()[:TEXT_CHARACTERS_MAX], parse_date_order(date_format))
    offset = offset_between(local, clock) if local is not None and clock else None
    return None if offset is None else round(offset.total_seconds())


def _parse_local_time(time_text: str, date_order: str) -> datetime | None:
    """Parse a displayed wall clock, in the date order that the PBX reported."""
    day, _unused, clock = time_text.partition(" ")
    parts = day.replace("-", "/").split("/")
    if date_order in ("dmy", "mdy") and len(parts) == 3 and len(parts[2]) == 4:
        month = parts[date_order.index("m")]
        day = f"{parts[2]}-{month}-{parts[date_order.index('d')]}"
    try:
        return parse_wall_clock(f"{day} {clock}")
    except ParseError:
        return None


def _parse_seconds(value: object) -> int | None:
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) == len("1782844637") else None
