"""Oracle of the reports: plain loops over each second and each pair of calls."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.call_details import fold_word
from onhook.cdr.identity import extract_number
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import MissedCall
from onhook.store.figures import ConcurrencyPeak, DurationHistogram
from tests.store import plain


def histogram(
    office: Iterable[Call], record_filter: RecordFilter, duration_name: str, edges: Sequence[int]
) -> DurationHistogram:
    values = [getattr(call, duration_name) for call in office if record_filter.matches_call(call)]
    known_values = sorted(value for value in values if value is not None)

    def percentile(share: float) -> int | None:
        return known_values[max(0, math.ceil(share * len(known_values)) - 1)] if known_values else None

    return DurationHistogram(
        counts=[sum(low <= value < high for value in known_values) for low, high in zip(edges, [*edges[1:], math.inf])],  # noqa: B905 - one edge more
        unknown=len(values) - len(known_values),
        median=percentile(0.5),
        p90=percentile(0.9),
        longest=max(known_values, default=None),
    )


def summary_by_group(
    office: Iterable[Call], record_filter: RecordFilter, side: str, groups: Mapping[tuple[str, str], str]
) -> dict[str, tuple[int, int, int]]:
    """Return by group the calls, the answered ones, and the seconds of talk."""
    calls_by_group: dict[str, list[Call]] = {}
    for call in office:
        if record_filter.matches_call(call):
            parties = {"went_to": inside_callees, "answered_by": _answering, "made_by": _maker, "party": _parties}[
                side
            ](call)
            names = {groups[call.sn, number] for number in parties if (call.sn, number) in groups}
            for name in names or ({""} if side == "party" else ()):
                calls_by_group.setdefault(name, []).append(call)
    return {
        name: (len(calls), sum(map(_is_answered, calls)), sum(call.talk_duration or 0 for call in calls))
        for name, calls in calls_by_group.items()
    }


def inside_callees(call: Call) -> set[str]:
    return {
        extract_number(leg.call_to)
        for leg in call.legs
        if not leg.dst_trunk_name and fold_word(leg.type) != "OUTBOUND" and plain.may_be_inside(leg.call_to)
    }


def _answering(call: Call) -> set[str]:
    return inside_callees(call) & {call.answered_by}


def _maker(call: Call) -> set[str]:
    return {plain.party_value(call, "made_by")} - {""}


def _parties(call: Call) -> set[str]:
    callers = {extract_number(leg.call_from) for leg in call.legs if not leg.src_trunk_name}
    return callers | {extract_number(leg.call_to) for leg in call.legs if not leg.dst_trunk_name}


def peaks(
    office: Iterable[Call], record_filter: RecordFilter, by: str, zone: str, *, by_trunk: bool
) -> list[ConcurrencyPeak]:
    """Check each second at which an interval begins or a call begins or ends."""
    filter_without_since = msgspec.structs.replace(record_filter, since=None)
    calls = [
        call
        for call in office
        if filter_without_since.matches_call(call)
        and call.ended_at is not None
        and call.ended_at > max(call.started_at, _floor(record_filter.since or call.started_at))
    ]
    if not calls:
        return []
    begin = _floor(record_filter.since) if record_filter.since else min(call.started_at for call in calls)
    end = max(call.ended_at for call in calls if call.ended_at)
    end = max(min(end, _floor(record_filter.until)) if record_filter.until else end, begin + timedelta(seconds=1))
    trunks = sorted({(call.pbx, name) for call in calls for name in _trunks(call)}) if by_trunk else [("", "")]
    concurrency_peaks = []
    for interval in _intervals(by, zone, begin, end):
        for pbx, trunk in trunks:
            trunk_calls = [call for call in calls if not by_trunk or (call.pbx == pbx and trunk in _trunks(call))]
            concurrent_calls, peak_at = max(
                ((_concurrent_calls(trunk_calls, second), second) for second in interval),
                key=lambda level_and_time: (level_and_time[0], -level_and_time[1].timestamp()),
            )
            if concurrent_calls or not by_trunk:
                concurrency_peaks.append(
                    ConcurrencyPeak(
                        interval_start=interval[0], pbx=pbx, trunk=trunk, calls=concurrent_calls, peak_at=peak_at
                    )
                )
    return concurrency_peaks


def missed_calls(
    office: Sequence[Call], record_filter: RecordFilter, *, is_returned: bool
) -> tuple[int, int, list[MissedCall]]:
    """Return the numbers of missed and returned calls, and the requested ones, the latest first."""
    all_missed = [call for call in office if record_filter.matches_call(call) and not _is_answered(call)]
    pairs = [(call, _find_return_call(office, record_filter, call)) for call in all_missed]
    rows = [
        _missed_call(call, return_call)
        for call, return_call in pairs
        if (return_call is not None) is is_returned and _number_suffix(extract_number(call.call_from))
    ]
    rows.sort(key=lambda row: (-row.started_at.timestamp(), row.sn, row.call_id))
    return len(all_missed), sum(return_call is not None for _, return_call in pairs), rows


def _find_return_call(office: Iterable[Call], record_filter: RecordFilter, call: Call) -> Call | None:
    suffix = _number_suffix(extract_number(call.call_from))
    conversations = [
        candidate
        for candidate in office
        if RecordFilter(scope=record_filter.scope).matches_call(candidate)
        and _is_answered(candidate)
        and candidate.started_at > call.started_at
        and suffix
        and suffix
        in (_number_suffix(extract_number(candidate.call_from)), _number_suffix(extract_number(candidate.call_to)))
    ]
    return min(
        conversations, key=lambda candidate: (candidate.started_at, candidate.sn, candidate.call_id), default=None
    )


def _missed_call(call: Call, return_call: Call | None) -> MissedCall:
    names: dict[str, Any] = {name: getattr(call, name) for name in MissedCall.__struct_fields__ if hasattr(call, name)}
    return MissedCall(
        **names,
        returned_by=None if return_call is None else (return_call.sn, return_call.call_id),
        returned_at=None if return_call is None else return_call.started_at,
    )


def _is_answered(call: Call) -> bool:
    return fold_word(call.status) in ("ANSWERED", "ANSWERD")


def _number_suffix(number: str) -> str:
    return "".join(digit for digit in number if digit in "0123456789")[-8:]


def _concurrent_calls(calls: Iterable[Call], time: datetime) -> int:
    return sum(call.ended_at is not None and call.started_at <= time < call.ended_at for call in calls)


def _trunks(call: Call) -> set[str]:
    return {name for leg in call.legs for name in (leg.src_trunk_name, leg.dst_trunk_name)} - {""}


def _intervals(by: str, zone: str, begin: datetime, end: datetime) -> list[list[datetime]]:
    """Return the seconds of each interval, in order."""
    intervals: dict[Any, list[datetime]] = {}
    time = begin
    while time < end:
        local = time.astimezone(ZoneInfo(zone))
        keys: dict[str, Any] = {
            "hour": (local.replace(minute=0, second=0, tzinfo=None), local.utcoffset()),
            "day": local.date(),
            "month": (local.year, local.month),
            "all": None,
        }
        intervals.setdefault(keys[by], []).append(time)
        time += timedelta(seconds=1)
    return list(intervals.values())


def _floor(time: datetime) -> datetime:
    return time.astimezone(UTC).replace(microsecond=0)
