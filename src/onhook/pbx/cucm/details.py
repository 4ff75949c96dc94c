"""The call details of the rows of one call of a CUCM (cucm.md 2). Pure.

Invariants: a row is a leg, named by the row's own id. All rows of a call have the id of the first one. What a mailbox
or a bridge answered is marked as such.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from onhook.cdr.call_details import (
    ANSWERED,
    BUSY,
    DURATION_SECONDS_MAX,
    FAILED,
    NO_ANSWER,
    UTC_OFFSET,
    VOICEMAIL,
    CallDetails,
)
from onhook.cdr.identity import BY_CALLEE_CHANNEL, CALLEE_KIND, IDENTIFIED_BY
from onhook.cdr.number_plan import LegKind
from onhook.pbx.cucm.devices import decode_address, find_device_kind
from onhook.pbx.cucm.rows import CdrRow

BUSY_CAUSE = 17
FAILED_CAUSES = frozenset({1, 2, 3, 4, 5, 6, 21, 22, 25, 27, 28, 29, 34, 38, 41, 42, 43, 44, 47, 57, 58, 63, 88, 102})
"""Causes of Q.850: the call could not be connected."""

_SPLIT_CAUSES = frozenset({126, 393_216})
"""The connection ended because another one took its place: a transfer, a conference."""


def build_details(rows: Sequence[CdrRow]) -> list[CallDetails]:
    """Return the call details of the rows of one call, in any order, with any repeats."""
    by_id: dict[str, CdrRow] = {}
    for row in sorted(rows, key=lambda row: (len(row.values), sorted(row.values.items()))):
        by_id[row.row_id] = row  # That with more values counts.
    ordered = sorted(by_id.values(), key=lambda row: (row.start, row.end, row.row_id))
    if not ordered:
        return []
    first = ordered[0]
    call_id = f"{first.global_id}-{datetime.fromtimestamp(first.start, UTC):%Y%m%d}"
    outside_legs = {row.callee_leg for row in ordered if row.callee_leg and _callee_trunk(row)}
    return [_build_details(row, call_id, is_dialled_out=row.caller_leg in outside_legs) for row in ordered]


def _build_details(row: CdrRow, call_id: str, *, is_dialled_out: bool) -> CallDetails:
    """Return the call details of a row. With `is_dialled_out` the caller's leg is one that was called outside, so that
    the row is not an inbound call.
    """
    called, original = _called(row), row.get("originalCalledPartyNumber")
    src_trunk, dst_trunk = _caller_trunk(row), _callee_trunk(row)
    duration = min(row.end - row.start, DURATION_SECONDS_MAX) if row.end >= row.start else None
    talk = min(row.get_number("duration"), DURATION_SECONDS_MAX if duration is None else duration)
    kind = _find_kind(row, called)
    is_inbound = bool(src_trunk) and not is_dialled_out
    return CallDetails(
        call_id=call_id,
        time_start=str(datetime.fromtimestamp(row.start, UTC).replace(tzinfo=None)),
        call_from=row.get("callingPartyNumber"),
        call_to=called,
        call_duration=duration,
        talk_duration=talk if row.connect else 0,
        src_trunk_name=src_trunk,
        dst_trunk_name=dst_trunk,
        pin_code=row.get("authCodeDescription"),
        status=_status(row, kind),
        type="Inbound" if is_inbound else "Outbound" if dst_trunk or src_trunk else "Internal",
        did_number=original if is_inbound else "",
        uid=row.row_id,
        extra={name: value for name, value in _extra(row, called, kind).items() if value not in ("", None)},
    )


def _called(row: CdrRow) -> str:
    return row.get("finalCalledPartyNumber") or row.get("originalCalledPartyNumber")


def _caller_trunk(row: CdrRow) -> str:
    name = row.get("origDeviceName")
    return name if find_device_kind(name, row.get("callingPartyNumber")) == "trunk" else ""


def _callee_trunk(row: CdrRow) -> str:
    name = row.get("destDeviceName")
    kind = find_device_kind(name, _called(row))
    is_sent_outside = kind == "unknown" and bool(name) and bool(row.get("outpulsedCalledPartyNumber"))
    return name if kind == "trunk" or is_sent_outside else ""


def _find_kind(row: CdrRow, called: str) -> LegKind | None:
    """Return the kind of the called party where the row says it: a hunt pilot is a person once a telephone answers."""
    device = find_device_kind(row.get("destDeviceName"), called)
    if device in ("conference", "voicemail"):
        return device
    if called and called == row.get("huntPilotDN"):
        if row.connect and device == "telephone":
            return "extension"
        return "queue" if row.get("wasCallQueued") == "1" else "ring_group"
    return None


def _status(row: CdrRow, kind: LegKind | None) -> str:
    if row.connect:
        return VOICEMAIL if kind == "voicemail" else ANSWERED
    cause = _cause(row)
    return BUSY if cause == BUSY_CAUSE else FAILED if cause in FAILED_CAUSES else NO_ANSWER


def _cause(row: CdrRow) -> int:
    """Return the cause of the party that ended the connection; 0 where it is not known."""
    return row.get_number("destCause_value") or row.get_number("origCause_value")


def _extra(row: CdrRow, called: str, kind: LegKind | None) -> dict[str, Any]:
    """Return values for which the event has no field."""
    original, redirecting, pilot = (
        row.get(name) for name in ("originalCalledPartyNumber", "lastRedirectDn", "huntPilotDN")
    )
    is_queued = row.get("wasCallQueued") == "1"
    return {
        UTC_OFFSET: 0,
        "channel": row.caller_leg,
        "dst_channel": row.row_id,
        IDENTIFIED_BY: BY_CALLEE_CHANNEL,
        CALLEE_KIND: kind,
        "cause": _cause(row) or None,
        "is_split": True if _cause(row) in _SPLIT_CAUSES else None,
        "joined_on_behalf_of": row.get_number("joinOnBehalfOf") or None,
        "accountcode": row.get("clientMatterCode"),
        "dialled": "" if original == called else original,
        "redirected_by": "" if redirecting in (called, original) else redirecting,
        "queue": pilot if is_queued and kind != "queue" else "",
        "ring_group": "" if is_queued or kind == "ring_group" else pilot,
        "queue_wait_seconds": row.get_number("totalWaitTimeInQueue") if is_queued else None,
        "caller_device": row.get("origDeviceName"),
        "callee_device": row.get("destDeviceName"),
        "caller_address": row.get("origIpv4v6Addr") or decode_address(row.get("origIpAddr")),
        "callee_address": row.get("destIpv4v6Addr") or decode_address(row.get("destIpAddr")),
    }
