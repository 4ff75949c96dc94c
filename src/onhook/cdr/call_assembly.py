"""Assembly of a call from its legs, in order, so that it counts once.

Invariants: the same legs in any order, with any repeats, give the same call. `ANSWERED` counts only where a person
answered: IVR, queue, ring group, conference and features answer by themselves. Talk time counts once however many legs
contain it.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.call_details import (
    ABANDONED,
    ANSWERED,
    CLOCK_SHIFT,
    CLOCK_SHIFTS,
    UTC_OFFSET,
    VOICEMAIL,
    CallDetails,
    fold_word,
)
from onhook.cdr.identity import RecordKey, extract_number, fold_sn, leg_channels, record_id, record_key
from onhook.cdr.merge import ROW_CHANNELS, merge_details
from onhook.cdr.number_plan import PERSON_KINDS, LegKind, NumberPlan
from onhook.cdr.record import Call, OffsetFrom, Record
from onhook.cdr.utc_offset import (
    OFFSET_REMAINDER_SECONDS_MAX,
    OFFSET_SECONDS_MAX,
    call_epoch,
    determine_call_offset,
    find_doubts,
    format_offset,
    leg_offsets_in_zone,
    parse_wall_clock,
    to_utc,
)

_EARLIEST_TIME = datetime.min.replace(tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_HOUR = timedelta(hours=1)
_HALF_AN_HOUR = timedelta(minutes=30)
"""Size of the clock change on Lord Howe Island alone; elsewhere it is an hour."""

_LORD_HOWE_STANDARD = timedelta(hours=10, minutes=30)
"""No other zone changes to summer time from this offset."""

_LORD_HOWE_SUMMER = timedelta(hours=11)
"""Also the offset of Sydney, which changes back by an hour."""

_TOLERANCE = timedelta(seconds=OFFSET_REMAINDER_SECONDS_MAX)
_DST_CHANGE_HOUR_MAX = 4
"""Clocks are put forward at night: the first hour after the change is never later than this."""

# Of two legs that begin in the same second, the one that forwards the caller comes first.
_LEG_KIND_ORDER: Mapping[LegKind, int] = {
    "ivr": 0,
    "queue": 1,
    "ring_group": 2,
    "conference": 3,
    "extension": 4,
    "external": 5,
    "voicemail": 6,
    "feature": 7,
}


class PbxFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a PBX that change how its events are read and its calls assembled. `sn` is its registered serial
    number, under which its calls are kept, whichever of its serial numbers it uses; empty where that is the only one.
    Without an `encoding` its texts are UTF-8. `fields` are the names of the values of its lines, in their order, where
    it is not the usual one; with `ignores_lines` lines make no calls. `signers` are groups of PBXs, by their registered
    serial numbers, folded: each group has, or had, a secret in common with it. `removed_sns` are its further serial
    numbers that are not accepted any longer, folded, and the times of their removal in microseconds since 1970, UTC.
    """

    sn: str = ""
    name: str = ""
    dialect: str = "yeastar"
    zone: ZoneInfo | None = None
    number_plan: NumberPlan = NumberPlan()
    encoding: str = ""
    fields: tuple[str, ...] = ()
    ignores_lines: bool = False
    signers: tuple[frozenset[str], ...] = ()
    removed_sns: Mapping[str, int] = {}

    def is_signed_by(self, signer_sn: str) -> bool:
        """Return whether a secret of this PBX signs what a secret of another one signs, or its own."""
        signer = fold_sn(signer_sn)
        return signer == fold_sn(self.sn) or any(signer in group for group in self.signers)

    def accepts(self, sn: str, received_at: int) -> bool:
        """Return whether one of its serial numbers was not removed before an event was received (microseconds)."""
        removed_at = self.removed_sns.get(fold_sn(sn))
        return removed_at is None or received_at < removed_at


class ReportedLeg(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Call details and their origin."""

    details: CallDetails
    seq: int
    via: str
    received_at: datetime


def assemble_call(sn: str, reported_legs: Sequence[ReportedLeg], facts: PbxFacts) -> Call:
    """Assemble a call from all reports of its legs. `reported_legs` is not empty and has one (`sn`, `call_id`)."""
    legs = _build_legs(sn, _latest_legs(sn, reported_legs), facts)
    if len(legs) > 1:
        legs.sort(key=lambda leg: (leg.started_at, _LEG_KIND_ORDER[facts.number_plan.kind_of_leg(leg)], leg.record_id))
    person_legs = [leg for leg in legs if is_answered(leg) and facts.number_plan.kind_of_leg(leg) in PERSON_KINDS]
    person_legs.sort(key=_answer_time)
    first_leg = legs[0]
    ended_at = max((leg.ended_at for leg in legs if leg.ended_at), default=None)
    return Call(
        sn=sn,
        pbx=facts.name,
        call_id=first_leg.call_id,
        started_at=first_leg.started_at,
        ended_at=ended_at,
        type=_first_text(legs, "type"),
        status=_call_status(legs, is_answered_by_person=bool(person_legs)),
        call_from=first_leg.call_from,
        call_to=first_leg.call_to,
        answered_by=extract_number(person_legs[0].call_to) if person_legs else "",
        wait_duration=_call_wait_duration(first_leg.started_at, legs, person_legs, ended_at),
        ring_duration=_call_ring_duration(legs, person_legs),
        talk_duration=_call_talk_duration(legs, person_legs),
        call_duration=_seconds_between(first_leg.started_at, ended_at),
        did_number=_first_text(legs, "did_number"),
        src_trunk_name=_first_text(legs, "src_trunk_name"),
        dst_trunk_name=_first_text(legs, "dst_trunk_name"),
        recordings=tuple(dict.fromkeys(leg.recording for leg in legs if leg.recording)),
        legs=tuple(legs),
    )


def to_reported_leg(record: Record) -> ReportedLeg:
    """Return the reported part of a record, to be assembled again with other legs."""
    details = CallDetails(**{name: getattr(record, name) for name in CallDetails.__struct_fields__})
    return ReportedLeg(details=details, seq=record.seq, via=record.via, received_at=record.received_at)


def is_answered(leg: CallDetails) -> bool:
    """Return whether a person or a machine answered."""
    return fold_word(leg.status) == ANSWERED


def _latest_legs(sn: str, reported_legs: Sequence[ReportedLeg]) -> list[ReportedLeg]:
    """Return one leg per record: a later report with other content replaces the earlier one, an exact
    repeat does not.
    """
    if len(reported_legs) == 1:
        return list(reported_legs)
    latest: dict[RecordKey, ReportedLeg] = {}
    for reported_leg in sorted(reported_legs, key=lambda reported_leg: reported_leg.seq):
        key = record_key(sn, reported_leg.details)
        if leg_channels(reported_leg.details):
            latest = {
                other_key: other_leg
                for other_key, other_leg in latest.items()
                if other_key == key or not _is_retimed(other_leg, reported_leg)
            }
        latest[key] = _merge_reported_legs(latest[key], reported_leg) if key in latest else reported_leg
    return list(latest.values())


def _is_retimed(old: ReportedLeg, new: ReportedLeg) -> bool:
    """Return whether a later report describes the same leg with other times, as after a connection loss
    during the call.
    """
    if old.seq == new.seq or leg_channels(old.details) != leg_channels(new.details):
        return False
    (begin, end), (new_begin, new_end) = _span(old.details), _span(new.details)
    return begin == new_begin or (begin < new_end and new_begin < end)


def _span(details: CallDetails) -> tuple[datetime, datetime]:
    begin = parse_wall_clock(details.time_start)
    return begin, begin + timedelta(seconds=details.call_duration or 0)


def _merge_reported_legs(old: ReportedLeg, new: ReportedLeg) -> ReportedLeg:
    """Return the leg with the number and the time of the last report that was no repeat: it is as old as that."""
    details = merge_details(old.details, old.via, new.details, new.via)
    is_other_event = new.via not in ROW_CHANNELS and (old.via in ROW_CHANNELS or new.details != old.details)
    return msgspec.structs.replace(new, details=details) if details != old.details or is_other_event else old


def _build_legs(sn: str, reported_legs: Sequence[ReportedLeg], facts: PbxFacts) -> list[Record]:
    """Return the legs with their times in UTC: the call's offset, shifted where the clock changed during the call."""
    starts = [parse_wall_clock(reported_leg.details.time_start) for reported_leg in reported_legs]
    reported_offsets = [offset for leg in reported_legs if (offset := _reported_offset(leg)) is not None]
    if len(reported_offsets) == len(reported_legs):
        return [
            _build_record(sn, facts.name, reported_leg, local, (offset, "ids"))
            for reported_leg, local, offset in zip(reported_legs, starts, reported_offsets, strict=True)
        ]
    epoch = call_epoch(reported_legs[0].details.call_id)
    offset, offset_from = determine_call_offset(
        starts, [reported_leg.details.uid for reported_leg in reported_legs], epoch, facts.zone
    )
    if offset_from != "ids":
        offsets = [offset] * len(starts) if facts.zone is None else leg_offsets_in_zone(starts, facts.zone)
        return [
            _mark_doubts(_build_record(sn, facts.name, reported_leg, local, (offset, offset_from)), local, facts.zone)
            for reported_leg, local, offset in zip(reported_legs, starts, offsets, strict=True)
        ]
    call_started_at = datetime.fromtimestamp(epoch, UTC)
    legs: list[Record] = []
    busy_until = call_started_at
    ordered_legs = sorted(
        zip(starts, reported_legs, strict=True),
        key=lambda leg: (
            _ordering_time(leg[0], offset, call_started_at, _known_shift(leg[1])),
            leg[0],
            extract_number(leg[1].details.call_to),
        ),
    )
    for local, reported_leg in ordered_legs:
        shift = _known_shift(reported_leg)
        leg_offset = (
            _leg_offset(local, offset, (call_started_at, busy_until), legs) if shift is None else offset + shift
        )
        leg = _build_record(sn, facts.name, reported_leg, local, (leg_offset, offset_from))
        busy_until = max(busy_until, leg.ended_at or busy_until)
        legs.append(leg)
    return legs


def _mark_doubts(leg: Record, local: datetime, zone: ZoneInfo | None) -> Record:
    """Mark a leg at a wall clock that occurs twice in the configured zone, or never."""
    is_ambiguous, is_shifted = (False, False) if zone is None else find_doubts(local, zone)
    if not (is_ambiguous or is_shifted):
        return leg
    return msgspec.structs.replace(leg, is_ambiguous=is_ambiguous, is_shifted=is_shifted)


def _reported_offset(reported_leg: ReportedLeg) -> timedelta | None:
    """Return the offset from UTC that the PBX itself reports for a leg, if it does."""
    seconds = reported_leg.details.extra.get(UTC_OFFSET)
    return timedelta(seconds=seconds) if isinstance(seconds, int) and abs(seconds) <= OFFSET_SECONDS_MAX else None


def _known_shift(reported_leg: ReportedLeg) -> timedelta | None:
    """Return by how much the PBX's clock was changed between the start of the call and that of the leg, if that is
    reported.
    """
    seconds = reported_leg.details.extra.get(CLOCK_SHIFT)
    return timedelta(seconds=seconds) if isinstance(seconds, int) and abs(seconds) in CLOCK_SHIFTS else None


def _ordering_time(local: datetime, offset: timedelta, call_started_at: datetime, shift: timedelta | None) -> datetime:
    """Return when a leg began; after the clock was put back a leg shows an earlier time than the call's own start."""
    if shift is not None:
        return to_utc(local, offset + shift)
    started_at = to_utc(local, offset)
    return started_at + _HOUR if started_at < call_started_at - _TOLERANCE else started_at


def _leg_offset(
    local: datetime, offset: timedelta, busy_span: tuple[datetime, datetime], earlier_legs: Sequence[Record]
) -> timedelta:
    """Return the call's offset, minus an hour if the leg would begin before its call (autumn), or plus an hour if the
    leg would follow a hole that disappears an hour earlier, at an hour at which clocks are put forward (spring).

    `busy_span` is the known time range of the call and its `earlier_legs`.
    """
    call_started_at, busy_until = busy_span
    started_at = to_utc(local, offset)
    if call_started_at - _HOUR - _TOLERANCE <= started_at < call_started_at - _TOLERANCE:
        return offset - _backward_shift(offset, started_at, earlier_legs)
    forward_shift = _HALF_AN_HOUR if offset == _LORD_HOWE_STANDARD else _HOUR
    leaves_gap = bool(earlier_legs) and started_at > busy_until + _TOLERANCE
    if (
        leaves_gap
        and local.hour <= _DST_CHANGE_HOUR_MAX
        and call_started_at <= started_at - forward_shift <= busy_until + _TOLERANCE
    ):
        return offset + forward_shift
    return offset


def _backward_shift(offset: timedelta, apparent_start: datetime, earlier_legs: Sequence[Record]) -> timedelta:
    """Return an hour; half an hour if the leg then begins when another one began or ended."""
    boundaries = (time for leg in earlier_legs for time in (leg.started_at, leg.ended_at) if time)
    is_half_hour = offset == _LORD_HOWE_SUMMER and any(
        abs(boundary - apparent_start - _HALF_AN_HOUR) <= _TOLERANCE for boundary in boundaries
    )
    return _HALF_AN_HOUR if is_half_hour else _HOUR


def _build_record(
    sn: str, pbx: str, reported_leg: ReportedLeg, local: datetime, offset_and_source: tuple[timedelta, OffsetFrom]
) -> Record:
    """Build a record: the reported details and the values derived from them (yeastar-p-series.md 2.10)."""
    offset, offset_from = offset_and_source
    details = reported_leg.details
    started_at = to_utc(local, offset)
    ended_at = None if details.call_duration is None else started_at + timedelta(seconds=details.call_duration)
    talk_duration = details.talk_duration
    return Record(
        **msgspec.structs.asdict(details),
        sn=sn,
        pbx=pbx,
        record_id=record_id(record_key(sn, details)),
        started_at=started_at,
        answered_at=ended_at - timedelta(seconds=talk_duration) if ended_at and talk_duration else None,
        ended_at=ended_at,
        ring_duration=_leg_ring_duration(details),
        utc_offset=format_offset(offset),
        offset_from=offset_from,
        via=reported_leg.via,
        received_at=reported_leg.received_at,
        seq=reported_leg.seq,
    )


def _leg_ring_duration(details: CallDetails) -> int | None:
    if details.call_duration is None or details.talk_duration is None:
        return None
    return max(0, details.call_duration - details.talk_duration)


def _answer_time(leg: Record) -> datetime:
    """Return when an answered leg was answered; its start where its duration is unknown."""
    return leg.ended_at - timedelta(seconds=leg.talk_duration or 0) if leg.ended_at else leg.started_at


def _call_status(legs: Sequence[Record], is_answered_by_person: bool) -> str:
    """Return how the call ended for the caller: answered by a person, voicemail, or the status of the last attempt."""
    if is_answered_by_person:
        return ANSWERED
    unanswered_statuses = [leg.status for leg in legs if leg.status and not is_answered(leg)]
    voicemail_statuses = [status for status in unanswered_statuses if fold_word(status) == VOICEMAIL]
    if voicemail_statuses or unanswered_statuses:
        return (voicemail_statuses or unanswered_statuses)[-1]
    return ABANDONED if any(leg.status for leg in legs) else ""


def _call_wait_duration(
    started_at: datetime, legs: Sequence[Record], person_legs: Sequence[Record], ended_at: datetime | None
) -> int | None:
    """Return the seconds from the start to a person's answer, to the begin of a message, or to the end."""
    message_legs = [leg for leg in legs if fold_word(leg.status) == VOICEMAIL and leg.talk_duration and leg.ended_at]
    answering_leg = next(iter(person_legs or message_legs), None)
    return _seconds_between(started_at, _answer_time(answering_leg) if answering_leg else ended_at)


def _call_ring_duration(legs: Sequence[Record], person_legs: Sequence[Record]) -> int | None:
    """Return the ring duration of the leg that answered, or the longest."""
    if person_legs:
        return person_legs[0].ring_duration
    return max((leg.ring_duration for leg in legs if leg.ring_duration is not None), default=None)


def _call_talk_duration(legs: Sequence[Record], person_legs: Sequence[Record]) -> int | None:
    """Return the seconds with at least one person on the line; None where the duration, or whether a person answered,
    is unknown.
    """
    if not person_legs:
        return None if any(not leg.status and leg.talk_duration != 0 for leg in legs) else 0
    if len(person_legs) == 1:
        return person_legs[0].talk_duration
    spans = [(_answer_time(leg), leg.ended_at) for leg in person_legs if leg.ended_at and leg.talk_duration is not None]
    covered_until = _EARLIEST_TIME
    total = timedelta()
    for begin, end in sorted(spans):
        total += max(timedelta(), end - max(begin, covered_until))
        covered_until = max(covered_until, end)
    return round(total.total_seconds()) if spans else None


def _seconds_between(begin: datetime, end: datetime | None) -> int | None:
    return None if end is None else max(0, (end - begin) // _SECOND)


def _first_text(legs: Sequence[Record], name: str) -> str:
    """Return the value of the first leg that has one."""
    for leg in legs:
        text: str = getattr(leg, name)
        if text:
            return text
    return ""
