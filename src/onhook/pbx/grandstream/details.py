"""The call details of the rows of a Grandstream UCM (grandstream.md 3). Pure.

Invariants: a row that a queue, an IVR or a mailbox answered is marked as such. The row of a queue has the talk with the
agent who answered, as the row of the agent has; together they are one conversation.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import groupby
from typing import Any

from onhook.cdr.call_details import (
    ABANDONED,
    ANSWERED,
    DURATION_SECONDS_MAX,
    NO_ANSWER,
    UTC_OFFSET,
    VOICEMAIL,
    CallDetails,
)
from onhook.cdr.identity import CALLEE_KIND, extract_name
from onhook.cdr.number_plan import LegKind
from onhook.cdr.utc_offset import offset_between
from onhook.pbx.grandstream.records import UcmRow, choose_rows

QUEUE, VOICEMAIL_ACTIONS = "QUEUE", ("VM", "VOICEMAIL")

_MACHINE_KINDS: Mapping[str, LegKind] = {
    QUEUE: "queue",
    "IVR": "ivr",
    "RINGGROUP": "ring_group",
    "RING_GROUP": "ring_group",
    **dict.fromkeys(VOICEMAIL_ACTIONS, "voicemail"),
    "CONFERENCE": "conference",
    "MEETME": "conference",
}
_GROUP_KINDS = frozenset({"queue", "ring_group"})
_TYPES = {"inbound": "Inbound", "outbound": "Outbound", "internal": "Internal"}


def build_details(rows: Sequence[UcmRow]) -> list[CallDetails]:
    """Return the call details of rows, of one call or several."""
    return [
        _build_details(row, session_rows, offset)
        for _session, group in groupby(choose_rows(rows), key=lambda row: row.session)
        for session_rows in [list(group)]
        for offset in [_find_offset(session_rows[0])]
        for row in session_rows
    ]


def _find_offset(first_row: UcmRow) -> timedelta | None:
    """Return the offset of the wall clock of a call from UTC, by the second in its ids."""
    return offset_between(first_row.start, first_row.epoch)


def _build_details(row: UcmRow, rows: Sequence[UcmRow], offset: timedelta | None) -> CallDetails:
    kind = _find_kind(row)
    agents = [agent for agent in rows if _is_agent_of(agent, row) and agent.is_answered] if kind == "queue" else []
    duration, talk = row.duration, row.talk
    if agents:
        duration = _duration_with_agents(row, agents)
        talk = agents[0].talk if duration is None else min(agents[0].talk, duration)
    elif kind == "queue":
        talk = 0
    recording, *further = [part for part in row.get("recordfiles").split("@") if part] or [""]
    return CallDetails(
        call_id=row.session,
        time_start=str(row.start.replace(microsecond=0)),
        call_from=_label(row.get("caller_name") or extract_name(row.get("clid")).strip('"'), row.get("src")),
        call_to=_called(row, kind),
        call_duration=duration,
        talk_duration=talk,
        src_trunk_name=row.get("src_trunk_name"),
        dst_trunk_name=row.get("dst_trunk_name"),
        status=_status(row, kind, rows, has_agent=bool(agents)),
        type=_find_type(row),
        recording=recording,
        agent_ring_time=_agent_ring(agents[0] if agents else row),
        uid=row.get("uniqueid"),
        extra=_extra(row, kind, offset, further),
    )


def _duration_with_agents(row: UcmRow, agents: Sequence[UcmRow]) -> int | None:
    """Return the seconds from the begin of a queue's row to the last end of its agents, or its own without a usable
    end.
    """
    last_end = max((agent.end for agent in agents if agent.end is not None), default=row.start)
    seconds = round((last_end - row.start).total_seconds())
    return seconds if 0 < seconds <= DURATION_SECONDS_MAX else row.duration


def _find_kind(row: UcmRow) -> LegKind | None:
    """Return the kind of the called party where the action says it: of a group, a member that was called is a
    person.
    """
    kind = _MACHINE_KINDS.get(row.action)
    if kind in _GROUP_KINDS and _is_member_row(row):
        return "extension"
    return kind


def _is_member_row(row: UcmRow) -> bool:
    """Return whether the row of a group is of one of its members, and not of the caller's wait."""
    is_other = bool(row.action_number) and row.get("dst") not in ("", row.action_number)
    return is_other or bool(row.get("dstanswer"))


def _is_agent_of(row: UcmRow, queue_row: UcmRow) -> bool:
    number = queue_row.action_number or queue_row.get("dst")
    return row.action == QUEUE and _is_member_row(row) and row.action_number in ("", number)


def _agent_ring(row: UcmRow) -> int | None:
    """Return how long the telephone of an agent rang; None where the row is none of an agent."""
    if row.action != QUEUE or not _is_member_row(row) or row.duration is None:
        return None
    return row.duration - row.talk


def _called(row: UcmRow, kind: LegKind | None) -> str:
    if kind is not None and kind != "extension":
        return row.action_number or row.get("dst")
    if kind == "extension" and row.get("dst") == row.action_number:
        return row.get("dstanswer")
    return row.get("dst") or row.get("dstanswer")


def _label(name: str, number: str) -> str:
    return f"{name}<{number}>" if name and number and name != number else number or name


def _status(row: UcmRow, kind: LegKind | None, rows: Sequence[UcmRow], *, has_agent: bool) -> str:
    if kind == "queue":
        is_last = row is rows[-1]
        return ANSWERED if has_agent else ABANDONED if is_last else NO_ANSWER
    if row.is_answered:
        return VOICEMAIL if kind == "voicemail" else ANSWERED
    disposition = row.get("disposition")
    return NO_ANSWER if disposition.upper() == ANSWERED or not disposition else disposition


def _find_type(row: UcmRow) -> str:
    known_type = _TYPES.get(row.get("userfield").lower())
    if known_type is not None:
        return known_type
    return "Inbound" if row.get("src_trunk_name") else "Outbound" if row.get("dst_trunk_name") else "Internal"


def _extra(row: UcmRow, kind: LegKind | None, offset: timedelta | None, further: Sequence[str]) -> dict[str, Any]:
    """Return values for which the event has no field."""
    group = _MACHINE_KINDS.get(row.action)
    values: dict[str, Any] = {
        UTC_OFFSET: None if offset is None else round(offset.total_seconds()),
        CALLEE_KIND: kind,
        "acct_id": row.row_id,
        "accountcode": row.get("accountcode"),
        "action_type": row.get("action_type"),
        "queue": row.action_number if row.action == QUEUE and kind != "queue" else "",
        "ring_group": row.action_number if group == "ring_group" and kind != group else "",
        "reason": row.get("reason"),
        "further_recordings": list(further) or None,
    }
    return {name: value for name, value in values.items() if value not in ("", None)}
