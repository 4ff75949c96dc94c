"""The segments of the reports of a 3CX, version 20 (XAPI), and the call details that they are (lines.md 9). Pure.

Invariants: a segment is a leg, named by its `CdrId`. What a queue answers is no person. Durations are whole seconds,
cut off as those of lines are. Whatever the bytes, the result is call details or a `ParseError` with a reason.
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import msgspec

from onhook.cdr.call_details import (
    ABANDONED,
    ANSWERED,
    DURATION_SECONDS_MAX,
    NO_ANSWER,
    UTC_OFFSET,
    CallDetails,
    fold_word,
)
from onhook.cdr.identity import BY_CALLEE_CHANNEL, CALLEE_KIND, IDENTIFIED_BY
from onhook.cdr.number_plan import LegKind
from onhook.cdr.utc_offset import YEAR_MAX, YEAR_MIN
from onhook.lib.messages import _
from onhook.pbx.json_fields import CALL_ID_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, decode_json, parse_error

SEGMENTS_MAX = 1_000
"""Segments of one call: a queue that rings twenty agents for an hour has some hundreds."""


_KINDS: Mapping[int, LegKind] = {0: "extension", 4: "queue", 13: "external"}
"""Kinds by the numbers of types that are known; of others the number plan decides."""

_DURATION = re.compile(r"P(?:([0-9]{1,3})D)?T?(?:([0-9]{1,4})H)?(?:([0-9]{1,5})M)?(?:([0-9]{1,9})(\.[0-9]{1,9})?S)?")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class ReportSegment(msgspec.Struct, frozen=True, kw_only=True):
    """One segment. `ring` and `talk` are in microseconds."""

    call_id: str
    cdr_id: str
    start: datetime
    ring: int
    talk: int
    source_kind: LegKind | None
    destination_kind: LegKind | None
    is_answered: bool
    members: Mapping[str, Any]

    def get(self, name: str) -> str:
        """Return a text, empty where there is none."""
        value = self.members.get(name)
        return _UNSTORABLE.sub("\ufffd", value)[:TEXT_CHARACTERS_MAX] if isinstance(value, str) else ""

    @property
    def end(self) -> datetime:
        """Return when the segment ended."""
        return self.start + timedelta(microseconds=self.ring + self.talk)


def looks_like_report(body: bytes) -> bool:
    """Return whether a body seems to contain segments."""
    text = body.lstrip()
    return text.startswith(b"{") and b'"value"' in text[:1000]


def read_segments(body: bytes) -> list[ReportSegment]:
    """Return the segments in a body, each once, in order. Raises `ParseError`."""
    content = decode_json(body)
    items = content.get("value") if isinstance(content, dict) else None
    if not isinstance(items, list) or not items:
        raise parse_error(_("the body has no segment of a call"))
    if len(items) > SEGMENTS_MAX:
        raise parse_error(_("the body has more than {limit} segments", limit=SEGMENTS_MAX))
    by_id = {segment.cdr_id: segment for segment in map(_read_segment, items)}
    return sorted(by_id.values(), key=lambda segment: (segment.call_id, segment.start, segment.cdr_id))


def build_report_details(segments: Sequence[ReportSegment]) -> list[CallDetails]:
    """Return the call details of segments, each of which is a leg; `segments` are in the order of `read_segments`."""
    calls = [list(call) for _call_id, call in groupby(segments, key=lambda segment: segment.call_id)]
    return [details for call in calls for details in _build_call(call)]


def compute_report_key(segments: Sequence[ReportSegment]) -> bytes:
    """Return a key that is equal for the same segments; it begins with the first start."""
    text = msgspec.json.encode([segment.members for segment in segments], order="deterministic")
    stamp = int(min(segment.start for segment in segments).timestamp()).to_bytes(4)
    return stamp + hashlib.sha256(text).digest()[:12]


def parse_iso_duration(text: str) -> int | None:
    """Return the microseconds of a duration; None for any other text.

    >>> parse_iso_duration("PT57.573622S"), parse_iso_duration("PT1H2M3S"), parse_iso_duration("soon")
    (57573622, 3723000000, None)
    """
    match = _DURATION.fullmatch(text)
    if match is None or text.endswith(("P", "T")):
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
    microseconds = int((match[5] or ".0")[1:].ljust(6, "0")[:6])
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    return total * 1_000_000 + microseconds if total <= DURATION_SECONDS_MAX else None


def _read_segment(members: Any) -> ReportSegment:
    """Return the segment with these members. Raises `ParseError`."""
    if not isinstance(members, dict):
        raise parse_error(_("a segment is no object"))
    call_id, cdr_id = members.get("MainCallHistoryId"), members.get("CdrId")
    if not isinstance(call_id, str) or not isinstance(cdr_id, str) or not call_id or not cdr_id:
        raise parse_error(_("a segment has no MainCallHistoryId or no CdrId"))
    if max(len(call_id), len(cdr_id)) > CALL_ID_CHARACTERS_MAX:
        raise parse_error(_("an id has more than {limit} characters", limit=CALL_ID_CHARACTERS_MAX))
    destination_kind = _find_kind(members.get("DestinationType"))
    status = members.get("Status")
    is_answered = isinstance(status, str) and fold_word(status) == ANSWERED and destination_kind != "queue"
    return ReportSegment(
        call_id=_UNSTORABLE.sub("\ufffd", call_id),
        cdr_id=_UNSTORABLE.sub("\ufffd", cdr_id),
        start=_read_time(members.get("StartTime")),
        ring=_read_duration(members.get("RingingDuration")),
        talk=_read_duration(members.get("TalkingDuration")) if is_answered else 0,
        source_kind=_find_kind(members.get("SourceType")),
        destination_kind=destination_kind,
        is_answered=is_answered,
        members=members,
    )


def _find_kind(number: Any) -> LegKind | None:
    return _KINDS.get(number) if isinstance(number, int) and not isinstance(number, bool) else None


def _read_time(value: Any) -> datetime:
    """Return an aware time in UTC. Raises `ParseError`."""
    try:
        time = datetime.fromisoformat(value).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise parse_error(_("{name} is no time: {value}", name="StartTime", value=repr(value)[:40])) from None
    if not YEAR_MIN <= time.year < YEAR_MAX:
        raise parse_error(_("{name} is no time: {value}", name="StartTime", value=repr(value)[:40]))
    return time


def _read_duration(value: Any) -> int:
    return (parse_iso_duration(value) if isinstance(value, str) else None) or 0


def _build_call(segments: Sequence[ReportSegment]) -> Iterator[CallDetails]:
    """Yield the call details of the segments of one call. A queue has called the agents up to the next queue."""
    queues = [segment for segment in segments if segment.destination_kind == "queue"]
    queue_starts = [queue.start for queue in queues]
    agents_by_queue: dict[str, list[ReportSegment]] = {queue.cdr_id: [] for queue in queues}
    queue_by_segment: dict[str, ReportSegment] = {}
    for segment in segments:
        place = bisect_right(queue_starts, segment.start)
        if place and segment.destination_kind != "queue":
            queue_by_segment[segment.cdr_id] = queues[place - 1]
            if segment.is_answered:
                agents_by_queue[queues[place - 1].cdr_id].append(segment)
    for segment in segments:
        queue = queue_by_segment.get(segment.cdr_id) if segment.destination_kind == "extension" else None
        yield _build_details(
            segment,
            agents=agents_by_queue.get(segment.cdr_id, ()),
            queue="" if queue is None else queue.get("DestinationDn"),
            is_last=segment is segments[-1],
        )


def _build_details(
    segment: ReportSegment, *, agents: Sequence[ReportSegment], queue: str, is_last: bool
) -> CallDetails:
    """Return the call details of a segment: of a queue with the agents who answered, of an agent with the number of
    the queue.
    """
    end = max((agent.end for agent in agents), default=segment.end)
    talk = agents[0].talk if agents else segment.talk
    source_trunk = segment.get("SourceDn") if segment.source_kind == "external" else ""
    trunk = segment.get("DestinationDn") if segment.destination_kind == "external" else ""
    duration = min(int((end - segment.start).total_seconds()), DURATION_SECONDS_MAX)
    return CallDetails(
        call_id=segment.call_id,
        time_start=f"{segment.start:%Y-%m-%d %H:%M:%S}",
        call_from=_label(segment, "Source", segment.source_kind),
        call_to=_label(segment, "Destination", segment.destination_kind),
        call_duration=duration,
        talk_duration=min(talk // 1_000_000, duration),
        src_trunk_name=source_trunk,
        dst_trunk_name=trunk,
        status=_status(segment, is_last=is_last, has_agent=bool(agents)),
        type=_find_type(segment, source_trunk, trunk),
        agent_ring_time=segment.ring // 1_000_000 if queue else None,
        extra={
            name: value
            for name, value in {
                UTC_OFFSET: 0,
                "channel": segment.get("CallHistoryId") or segment.call_id,
                "dst_channel": segment.cdr_id,
                IDENTIFIED_BY: BY_CALLEE_CHANNEL,
                CALLEE_KIND: segment.destination_kind,
                "queue": queue,
                "reason": segment.get("Reason"),
                "bill_cost": str(segment.members.get("CallCost") or ""),
            }.items()
            if value not in ("", None)
        },
    )


def _label(segment: ReportSegment, side: str, kind: LegKind | None) -> str:
    outside, inside = segment.get(f"{side}CallerId"), segment.get(f"{side}Dn")
    number = (outside or inside) if kind == "external" else (inside or outside)
    name = segment.get(f"{side}DisplayName")
    return (f"{name}<{number}>" if name and number and name != number else number or name)[:TEXT_CHARACTERS_MAX]


def _status(segment: ReportSegment, *, is_last: bool, has_agent: bool) -> str:
    if segment.destination_kind == "queue":
        return ANSWERED if has_agent else ABANDONED if is_last else NO_ANSWER
    return ANSWERED if segment.is_answered else NO_ANSWER


def _find_type(segment: ReportSegment, source_trunk: str, trunk: str) -> str:
    direction = fold_word(segment.get("Direction"))
    if direction.startswith("INBOUND") or source_trunk:
        return "Inbound"
    return "Outbound" if direction.startswith("OUTBOUND") or trunk else "Internal"
