"""What the web API of a P-Series answers, and what each code means for whoever asked (PROTOCOL.md 6.1)."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from onhook.cdr.utc_offset import offset_between, parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.pbx.client import Answer, Facts, Request, Trouble, Webhook, Webhooks
from onhook.pbx.yeastar.rows import order_of

API = "/openapi/v1.0/"
API_2 = "/openapi/v2.0/"

ALL_EVENTS, END_OF_CALL = "0", "30012"
"""As a webhook's list of events says them (PROTOCOL.md 4.1)."""

TEXT_CHARACTERS_MAX = 200
"""Of what a PBX says was wrong: enough for a person, and no more of what a stranger may send."""

TROUBLES: Mapping[int, Trouble] = {
    10001: "missing",  # no such interface on this firmware
    10002: "missing",
    10003: "missing",
    10004: "token",
    10005: "refused",
    40001: "parameter",
    40002: "parameter",  # never a reason to log in again (PROTOCOL.md 12, 4)
    40003: "wrong",
    40004: "wrong",
    60001: "wrong",
    60002: "full",
    70004: "person",  # our address is blocked after failed log-ins
    70087: "person",  # or was never allowed
    70120: "person",
    70123: "later",
    70082: "later",
    -2: "later",
    -1: "later",
    2: "later",
}
"""What is not in here is an error of the request."""


def read_answer(status: int, body: bytes) -> Answer:
    """What an answer says. The status is 200 even for errors (PROTOCOL.md 6); another comes from something between."""
    try:
        members = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        members = None
    if members is None or not isinstance(members.get("errcode"), int):
        if status != 200:
            return Answer(errcode=-status, trouble="later", text=f"HTTP status {status}")
        return Answer(errcode=0, trouble="garbage", text="an answer that is not the API's")
    errcode = members["errcode"]
    trouble = None if errcode == 0 else TROUBLES.get(errcode, "wrong")
    text = f"{errcode} {members.get('errmsg', '')}"[:TEXT_CHARACTERS_MAX].strip()
    return Answer(errcode=errcode, trouble=trouble, text="" if errcode == 0 else text, members=members, body=body)


def ask_facts() -> Request:
    """Serial number, firmware, display formats and clock of the PBX."""
    return Request(path=f"{API}system/information")


def read_facts(answer: Answer) -> Facts:
    """What `system/information` tells; of an answer that is none, nothing."""
    members = answer.members.get("data", answer.members)
    members = members[0] if isinstance(members, list) and members else members
    if not isinstance(members, dict):
        return Facts()
    clock = _seconds(members.get("timestamp"))
    date_format = str(members.get("system_date_format", ""))[:TEXT_CHARACTERS_MAX]
    return Facts(
        firmware=str(members.get("firmware_version", members.get("firmware", "")))[:TEXT_CHARACTERS_MAX],
        sn=str(members.get("sn", ""))[:TEXT_CHARACTERS_MAX],
        date_format=date_format,
        time_format=str(members.get("system_time_format", ""))[:TEXT_CHARACTERS_MAX],
        clock=clock,
        offset_seconds=_offset_seconds(str(members.get("system_time", "")), date_format, clock),
    )


def ask_webhooks() -> Request:
    """The webhooks that are set in the PBX, with their secrets (PROTOCOL.md 4.1)."""
    return Request(path=f"{API}webhook/query")


def read_webhooks(answer: Answer) -> Webhooks:
    """What `webhook/query` tells; of an answer that is none, that nothing is set."""
    told = answer.members.get("data", answer.members)
    told = told if isinstance(told, dict) else {}
    entries = told.get("webhook_event_push_list")
    return Webhooks(
        is_on=str(told.get("enb_webhook_event_push", 0)) == "1",
        entries=[_webhook(one) for one in entries if isinstance(one, dict)] if isinstance(entries, list) else [],
    )


def _webhook(entry: Mapping[str, Any]) -> Webhook:
    event_ids = entry.get("event_ids")
    events = {str(one) for one in event_ids} if isinstance(event_ids, list) else set[str]()
    return Webhook(
        url=str(entry.get("url", "")),
        secret=str(entry.get("secret", "")),
        method=str(entry.get("request_method", "")).upper(),
        tells_ends=bool(events & {ALL_EVENTS, END_OF_CALL}),
    )


def _offset_seconds(shown: str, date_format: str, clock: int | None) -> int | None:
    """The PBX's wall clock against the same moment in UTC, in whole quarters of an hour."""
    local = _local(shown.strip()[:TEXT_CHARACTERS_MAX], order_of(date_format))
    offset = offset_between(local, clock) if local is not None and clock else None
    return None if offset is None else round(offset.total_seconds())


def _local(shown: str, order: str) -> datetime | None:
    """A displayed wall clock, by the order that the PBX told."""
    day, _, clock = shown.partition(" ")
    parts = day.replace("-", "/").split("/")
    if order in ("dmy", "mdy") and len(parts) == 3 and len(parts[2]) == 4:
        month = parts[order.index("m")]
        day = f"{parts[2]}-{month}-{parts[order.index('d')]}"
    try:
        return parse_wall_clock(f"{day} {clock}")
    except ParseError:
        return None


def _seconds(value: object) -> int | None:
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) == len("1782844637") else None
