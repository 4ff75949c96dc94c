"""The questions of reports answered by plain loops: by looking at each second, and at each call with each other."""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.call_details import fold_word
from onhook.cdr.identity import extract_number
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import ConcurrencyPeak, DurationHistogram, MissedCall


def spread(office: Iterable[Call], where: RecordFilter, of: str, edges: Sequence[int]) -> DurationHistogram:
    values = [getattr(call, of) for call in office if where.matches_call(call)]
    known = sorted(value for value in values if value is not None)

    def no_longer(share: float) -> int | None:
        return known[max(0, math.ceil(share * len(known)) - 1)] if known else None

    return DurationHistogram(
        counts=[sum(low <= value < high for value in known) for low, high in zip(edges, [*edges[1:], math.inf])],  # noqa: B905 - one edge more
        unknown=len(values) - len(known),
        median=no_longer(0.5),
        p90=no_longer(0.9),
        longest=max(known, default=None),
    )


def peaks(office: Iterable[Call], where: RecordFilter, by: str, zone: str, *, by_trunk: bool) -> list[ConcurrencyPeak]:
    """Every second that begins a stretch or at which a call begins or ends is looked at by itself."""
    open_ended = msgspec.structs.replace(where, since=None)
    calls = [
        call
        for call in office
        if open_ended.matches_call(call)
        and call.ended_at is not None
        and call.ended_at > max(call.started_at, _floor(where.since or call.started_at))
    ]
    if not calls:
        return []
    begin = _floor(where.since) if where.since else min(call.started_at for call in calls)
    end = max(call.ended_at for call in calls if call.ended_at)
    end = max(min(end, _floor(where.until)) if where.until else end, begin + timedelta(seconds=1))
    trunks = sorted({name for call in calls for name in _trunks(call)}) if by_trunk else [""]
    found = []
    for stretch in _stretches(by, zone, begin, end):
        for trunk in trunks:
            here = [call for call in calls if not by_trunk or trunk in _trunks(call)]
            level, at = max(
                ((_level(here, second), second) for second in stretch), key=lambda one: (one[0], -one[1].timestamp())
            )
            if level or not by_trunk:
                found.append(ConcurrencyPeak(begins_at=stretch[0], trunk=trunk, calls=level, reached_at=at))
    return found


def missed(office: Sequence[Call], where: RecordFilter, *, is_returned: bool) -> tuple[int, int, list[MissedCall]]:
    """How many were missed and returned, and those that are asked for, the latest first."""
    all_missed = [call for call in office if where.matches_call(call) and not _is_answered(call)]
    pairs = [(call, _returning(office, where, call)) for call in all_missed]
    listed = [
        _missed_call(call, by)
        for call, by in pairs
        if (by is not None) is is_returned and _line(extract_number(call.call_from))
    ]
    listed.sort(key=lambda one: (-one.started_at.timestamp(), one.sn, one.call_id))
    return len(all_missed), sum(by is not None for _, by in pairs), listed


def _returning(office: Iterable[Call], where: RecordFilter, call: Call) -> Call | None:
    line = _line(extract_number(call.call_from))
    spoken = [
        other
        for other in office
        if RecordFilter(within=where.within).matches_call(other)
        and _is_answered(other)
        and other.started_at > call.started_at
        and line
        and line in (_line(extract_number(other.call_from)), _line(extract_number(other.call_to)))
    ]
    return min(spoken, key=lambda other: (other.started_at, other.sn, other.call_id), default=None)


def _missed_call(call: Call, by: Call | None) -> MissedCall:
    names: dict[str, Any] = {name: getattr(call, name) for name in MissedCall.__struct_fields__ if hasattr(call, name)}
    return MissedCall(
        **names,
        returned_by=None if by is None else (by.sn, by.call_id),
        returned_at=None if by is None else by.started_at,
    )


def _is_answered(call: Call) -> bool:
    return fold_word(call.status) in ("ANSWERED", "ANSWERD")


def _line(number: str) -> str:
    return "".join(digit for digit in number if digit in "0123456789")[-8:]


def _level(calls: Iterable[Call], at: datetime) -> int:
    return sum(call.ended_at is not None and call.started_at <= at < call.ended_at for call in calls)


def _trunks(call: Call) -> set[str]:
    return {call.src_trunk_name, call.dst_trunk_name} - {""}


def _stretches(by: str, zone: str, begin: datetime, end: datetime) -> list[list[datetime]]:
    """The seconds of each stretch, in order."""
    found: dict[Any, list[datetime]] = {}
    at = begin
    while at < end:
        local = at.astimezone(ZoneInfo(zone))
        keys: dict[str, Any] = {
            "hour": (local.replace(minute=0, second=0, tzinfo=None), local.utcoffset()),
            "day": local.date(),
            "month": (local.year, local.month),
            "all": None,
        }
        found.setdefault(keys[by], []).append(at)
        at += timedelta(seconds=1)
    return list(found.values())


def _floor(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(microsecond=0)
