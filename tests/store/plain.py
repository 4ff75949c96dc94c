"""The same questions answered by plain loops over calls in memory: what a store must say, and nothing of how."""

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


def records(office: Iterable[Call], where: RecordFilter) -> list[Record]:
    of_leg = msgspec.structs.replace(where, aspects=None)
    meant = [call for call in office if where.aspects is None or where.aspects.match(call)]
    found = [leg for call in meant for leg in call.legs if of_leg.matches(leg)]
    return sorted(found, key=lambda one: (one.started_at, one.record_id), reverse=True)


def calls(office: Iterable[Call], where: RecordFilter) -> list[Call]:
    def key(call: Call) -> tuple[datetime, str]:
        return call.started_at, hashlib.md5(f"{call.sn}\x1f{call.call_id}".encode()).hexdigest()  # noqa: S324 - a name

    return sorted((call for call in office if where.matches_call(call)), key=key, reverse=True)


def listed_records(office: Iterable[Call], asked: RecordListing) -> list[Record]:
    """All that match, in order; the page is the caller's."""
    found = [leg for leg in records(office, asked.where) if _is_listed(leg, asked)]
    if asked.pin_code is not None:
        found = [leg for leg in found if leg.pin_code == asked.pin_code]
    if asked.has_recording:
        found = [leg for leg in found if leg.recording]
    if asked.ids:
        found = [leg for leg in found if leg.record_id[:16] in asked.ids]
    if asked.dids:
        found = [
            leg
            for leg in found
            if any(
                did in (leg.did_number, leg.did_name) and trunk in ("", leg.src_trunk_name) for did, trunk in asked.dids
            )
        ]
    return _in_order(found, asked)


def listed_calls(office: Iterable[Call], asked: CallListing) -> list[Call]:
    """The same for calls."""
    found = [call for call in office if asked.where.matches_call(call) and _is_listed(call.legs[0], asked)]
    if asked.queues:
        found = [call for call in found if any(extract_number(leg.call_to) in asked.queues for leg in call.legs)]
    return _in_order(found, asked)


def _is_listed(leg: Record, asked: Listing) -> bool:
    sign = -1 if leg.utc_offset[0] == "-" else 1
    offset = sign * (int(leg.utc_offset[1:3]) * 3600 + int(leg.utc_offset[4:]) * 60)
    shown = int(leg.started_at.timestamp()) + offset
    return (
        (not asked.sns or leg.sn in asked.sns)
        and (asked.local_since is None or shown >= asked.local_since)
        and (asked.local_until is None or shown < asked.local_until)
    )


def _in_order(found: list[Any], asked: Listing) -> list[Any]:
    """By what is asked for, then as they began; what nobody reported last."""
    first = sorted(found, key=lambda one: one.started_at, reverse=asked.is_descending)
    told = [one for one in first if getattr(one, asked.order_by) is not None]
    told.sort(key=lambda one: getattr(one, asked.order_by), reverse=asked.is_descending)
    return told + [one for one in first if getattr(one, asked.order_by) is None]


def summary(office: Iterable[Call], where: RecordFilter, by: Sequence[str], zone: str) -> list[dict[str, Any]]:
    groups: dict[tuple[Any, ...], list[Call]] = {}
    shown: dict[tuple[Any, ...], dict[str, Any]] = {}
    for call in office:
        if not where.matches_call(call):
            continue
        for went_to in sorted({extract_number(leg.call_to) for leg in call.legs}) if "went_to" in by else [""]:
            if "went_to" in by and not re.fullmatch("[0-9]{1,7}", went_to):
                continue
            key = tuple(went_to if name == "went_to" else _order(call, name, zone) for name in by)
            groups.setdefault(key, []).append(call)
            shown[key] = {name: went_to if name == "went_to" else _shown(call, name, zone) for name in by}
    return [shown[key] | _measures(group) for key, group in sorted(groups.items(), key=lambda group: group[0])]


def cell(one: Record, name: str, zone: str) -> str:
    """A column of a record as the text of a cell, before it is made harmless."""
    value = getattr(one, name)
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.astimezone(ZoneInfo(zone)).isoformat(
            timespec="microseconds" if name == "received_at" else "seconds"
        )
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")) if isinstance(value, dict) else str(value)


def _order(call: Call, name: str, zone: str) -> Any:
    """Equal within a group, and in the order of the groups."""
    local = call.started_at.astimezone(ZoneInfo(zone))
    match name:
        case "hour":
            ahead = local.utcoffset() or timedelta()
            return local.replace(minute=0, second=0, tzinfo=None) - ahead, ahead
        case "day":
            return local.date()
        case "week":
            return local.isocalendar()[:2]
        case "month":
            return (local.year, local.month)
        case "hour_of_day" | "weekday":
            return _shown(call, name, zone)
        case "status" | "type":
            return fold_word(getattr(call, name))
    return _shown(call, name, zone)


def _shown(call: Call, name: str, zone: str) -> Any:
    local = call.started_at.astimezone(ZoneInfo(zone))
    match name:
        case "hour":
            return local.replace(minute=0, second=0).strftime("%Y-%m-%dT%H:00:00") + local.isoformat()[19:]
        case "day" | "week" | "month":
            return _first_moment(call, name, zone)
        case "hour_of_day":
            return local.hour
        case "weekday":
            return local.isoweekday()
        case "status" | "type":
            text = fold_word(getattr(call, name))
            return SPELLINGS.get(text, text)
    return _party(call, name)


def _party(call: Call, name: str) -> Any:
    match name:
        case "call_from" | "call_to":
            return extract_number(getattr(call, name))
        case "made_by":
            return number if re.fullmatch("[0-9]{1,7}", number := extract_number(call.call_from)) else ""
        case "trunk":
            return call.src_trunk_name or call.dst_trunk_name
    return getattr(call, name)


def _first_moment(call: Call, name: str, zone: str) -> str:
    day = call.started_at.astimezone(ZoneInfo(zone)).date()
    if name == "week":
        day = day.fromisocalendar(*day.isocalendar()[:2], 1)
    if name == "month":
        day = day.replace(day=1)
    first = datetime.combine(day, time(), ZoneInfo(zone))
    return first.isoformat()


def _measures(group: Sequence[Call]) -> dict[str, Any]:
    statuses = [fold_word(call.status) for call in group]
    answered = sum(status == "ANSWERED" for status in statuses)
    sums: dict[str, int | None] = {}
    for name in DURATIONS:
        known = [value for call in group if (value := getattr(call, name)) is not None]
        sums[name] = sum(known) if known else None
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
