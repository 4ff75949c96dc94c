"""Oracle of the store: the same queries as plain loops over calls in memory, independent of the implementation."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.call_details import fold_word
from onhook.cdr.identity import extract_number
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import CallListing, Listing, RecordListing

SPELLINGS = {
    "NOANSWER": "NO ANSWER",
    "INBOUND": "Inbound",
    "INTERNAL": "Internal",
    "OUTBOUND": "Outbound",
}
DURATIONS = ("talk_duration", "call_duration", "ring_duration", "wait_duration")


def records(office: Iterable[Call], record_filter: RecordFilter) -> list[Record]:
    leg_filter = msgspec.structs.replace(record_filter, call_filter=None)
    matching_calls = [
        call for call in office if record_filter.call_filter is None or record_filter.call_filter.matches(call)
    ]
    matches = [leg for call in matching_calls for leg in call.legs if leg_filter.matches(leg)]
    return sorted(matches, key=lambda leg_record: (leg_record.started_at, leg_record.record_id), reverse=True)


def calls(office: Iterable[Call], record_filter: RecordFilter) -> list[Call]:
    def key(call: Call) -> tuple[datetime, str]:
        return call.started_at, hashlib.md5(f"{call.sn}\x1f{call.call_id}".encode()).hexdigest()  # noqa: S324 - an id

    return sorted((call for call in office if record_filter.matches_call(call)), key=key, reverse=True)


def list_records(office: Iterable[Call], listing: RecordListing) -> list[Record]:
    """Return all matching records in order, without paging."""
    matches = [leg for leg in records(office, listing.filter) if _matches_listing(leg, listing)]
    if listing.pin_code is not None:
        matches = [leg for leg in matches if leg.pin_code == listing.pin_code]
    if listing.has_recording:
        matches = [leg for leg in matches if leg.recording]
    if listing.ids:
        matches = [leg for leg in matches if leg.record_id[:13] in listing.ids]
    if listing.recordings:
        matches = [leg for leg in matches if leg.recording in listing.recordings]
    if listing.dids:
        matches = [
            leg
            for leg in matches
            if any(
                did in (leg.did_number, leg.did_name) and trunk in ("", leg.src_trunk_name)
                for did, trunk in listing.dids
            )
        ]
    return _sort_rows(matches, listing)


def list_calls(office: Iterable[Call], listing: CallListing) -> list[Call]:
    """Return all matching calls in order, without paging."""
    matches = [call for call in office if listing.filter.matches_call(call) and _matches_listing(call.legs[0], listing)]
    if listing.queues:
        matches = [call for call in matches if any(extract_number(leg.call_to) in listing.queues for leg in call.legs)]
    return _sort_rows(matches, listing)


def ordered_calls(office: Iterable[Call], record_filter: RecordFilter, order: str) -> list[Call]:
    """Return all matching calls in order, without paging: equal ones by start, PBX and id, unknown values last."""
    is_descending = order.startswith("-")
    matches = sorted(
        (call for call in office if record_filter.matches_call(call)),
        key=lambda call: (call.started_at, call.sn, call.call_id),
        reverse=is_descending,
    )
    key = order.removeprefix("-")
    rows_with_value = [call for call in matches if getattr(call, key) is not None]
    rows_with_value.sort(key=lambda call: getattr(call, key), reverse=is_descending)
    return rows_with_value + [call for call in matches if getattr(call, key) is None]


def _matches_listing(leg: Record, listing: Listing) -> bool:
    sign = -1 if leg.utc_offset[0] == "-" else 1
    offset = sign * (int(leg.utc_offset[1:3]) * 3600 + int(leg.utc_offset[4:]) * 60)
    local_seconds = int(leg.started_at.timestamp()) + offset
    return (
        (not listing.sns or leg.sn in listing.sns)
        and listing.from_part in extract_number(leg.call_from)
        and listing.to_part in extract_number(leg.call_to)
        and (listing.local_since is None or local_seconds >= listing.local_since)
        and (listing.local_until is None or local_seconds < listing.local_until)
    )


def _sort_rows(rows: list[Any], listing: Listing) -> list[Any]:
    """Sort by the requested column, then by start; rows without a value last."""
    by_start = sorted(rows, key=lambda row: row.started_at, reverse=listing.is_descending)
    with_value = [row for row in by_start if getattr(row, listing.order_by) is not None]
    with_value.sort(key=lambda row: getattr(row, listing.order_by), reverse=listing.is_descending)
    return with_value + [row for row in by_start if getattr(row, listing.order_by) is None]


def summary(office: Iterable[Call], record_filter: RecordFilter, by: Sequence[str], zone: str) -> list[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[Call]] = {}
    group_values: dict[tuple[Any, ...], dict[str, Any]] = {}
    for call in office:
        if not record_filter.matches_call(call):
            continue
        inside = {
            extract_number(leg.call_to)
            for leg in call.legs
            if not leg.dst_trunk_name and fold_word(leg.type) != "OUTBOUND" and may_be_inside(leg.call_to)
        }
        for went_to in sorted(inside) if "went_to" in by else [""]:
            key = tuple(went_to if name == "went_to" else _group_key(call, name, zone) for name in by)
            groups.setdefault(key, []).append(call)
            group_values[key] = {name: went_to if name == "went_to" else _group_value(call, name, zone) for name in by}
    return [group_values[key] | _measures(group) for key, group in sorted(groups.items(), key=lambda group: group[0])]


def cell(leg_record: Record, name: str, zone: str) -> str:
    """Return a column of a record as the text of a cell, before escaping."""
    value = getattr(leg_record, name)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.astimezone(ZoneInfo(zone)).isoformat(
            timespec="microseconds" if name == "received_at" else "seconds"
        )
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, dict) else str(value)


def _group_key(call: Call, name: str, zone: str) -> Any:
    """Return a value that is equal within a group and sorts in the order of the groups."""
    local = call.started_at.astimezone(ZoneInfo(zone))
    match name:
        case "hour":
            utc_offset = local.utcoffset() or timedelta()
            return local.replace(minute=0, second=0, tzinfo=None) - utc_offset, utc_offset
        case "day":
            return local.date()
        case "week":
            return local.isocalendar()[:2]
        case "month":
            return (local.year, local.month)
        case "hour_of_day" | "weekday":
            return _group_value(call, name, zone)
        case "status" | "type":
            return fold_word(getattr(call, name))
    return _group_value(call, name, zone)


def _group_value(call: Call, name: str, zone: str) -> Any:
    local = call.started_at.astimezone(ZoneInfo(zone))
    match name:
        case "hour":
            return local.replace(minute=0, second=0).strftime("%Y-%m-%dT%H:00:00") + local.isoformat()[19:]
        case "day" | "week" | "month":
            return _period_start(call, name, zone)
        case "hour_of_day":
            return local.hour
        case "weekday":
            return local.isoweekday()
        case "status" | "type":
            text = fold_word(getattr(call, name))
            return SPELLINGS.get(text, text)
    return party_value(call, name)


def party_value(call: Call, name: str) -> Any:
    match name:
        case "call_from" | "call_to":
            return extract_number(getattr(call, name))
        case "made_by":
            is_from_inside = not call.src_trunk_name and fold_word(call.type) != "INBOUND"
            return extract_number(call.call_from) if is_from_inside and may_be_inside(call.call_from) else ""
        case "trunk":
            return call.src_trunk_name or call.dst_trunk_name
    return getattr(call, name)


def _period_start(call: Call, name: str, zone: str) -> str:
    day = call.started_at.astimezone(ZoneInfo(zone)).date()
    if name == "week":
        day = day.fromisocalendar(*day.isocalendar()[:2], 1)
    if name == "month":
        day = day.replace(day=1)
    period_start = datetime.combine(day, time(), ZoneInfo(zone))
    return period_start.isoformat()


def _measures(group: Sequence[Call]) -> dict[str, Any]:
    statuses = [fold_word(call.status) for call in group]
    answered = sum(status == "ANSWERED" for status in statuses)
    sums: dict[str, int | None] = {}
    for name in DURATIONS:
        known_values = [value for call in group if (value := getattr(call, name)) is not None]
        sums[name] = sum(known_values) if known_values else None
    return {
        "calls": len(group),
        "answered": answered,
        "missed": len(group) - answered,
        "voicemail": statuses.count("VOICEMAIL"),
        "busy": statuses.count("BUSY"),
        "no_answer": statuses.count("NOANSWER"),
        "abandoned": statuses.count("ABANDONED"),
        "failed": statuses.count("FAILED"),
        **sums,
        "wait_duration_max": max(
            (call.wait_duration for call in group if call.wait_duration is not None), default=None
        ),
    }


def may_be_inside(party: str) -> bool:
    return re.fullmatch(r"(?s)[^+].{0,31}", extract_number(party)) is not None
