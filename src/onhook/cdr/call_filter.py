"""Filters on whole calls: answering person, wait duration, hour of day, calls in progress at a time, the end.

A record matches if the call of which it is a leg matches.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.identity import extract_number
from onhook.cdr.merge import ROW_NOTE
from onhook.cdr.party_groups import reject_group_filter
from onhook.cdr.record import Call, Record
from onhook.lib.errors import UsageError, _

DURATION_DIGITS_MAX = 9
"""Some thirty years: more is a mistake."""

CALL_FILTER_NAMES = (
    *("answered_by", "min_wait_duration", "max_wait_duration", "min_ring_duration", "max_ring_duration"),
    *("weekday", "hour_of_day", "under_way_at", "ended_since", "caller", "dialled", "by_trunk", "by_did"),
)
SEARCH_NAMES: tuple[str, ...] = (*CALL_FILTER_NAMES, "tag", "note", "q")
"""Filters on whole calls, besides those on records: also those that need notes and number plans."""

TEXT_CALL_FILTERS = frozenset({"answered_by", "caller", "dialled", "by_trunk", "by_did"})
"""The text filters."""

PARTY_CALL_FILTERS = frozenset({"answered_by", "caller", "dialled"})
"""Those that are numbers."""

_TIME_CALL_FILTERS = ("under_way_at", "ended_since")

_NUMBER_RANGES = {"weekday": (1, 7), "hour_of_day": (0, 23)}


class CallFilter(msgspec.Struct, frozen=True, kw_only=True):
    """A filter on calls; None is no limit. A weekday is 1 (Monday) to 7, an hour of day 0 to 23, both in `zone`.

    Durations are whole seconds, both limits included; an unknown duration matches neither. A call is under way from its
    first second to the one before its end. `ended_since` is included; a call whose end is unknown does not match.
    `caller` and `dialled` are the numbers of the call itself, as `by_trunk`
    (the incoming trunk, else the outgoing one) and `by_did` are its own, not those of any leg. `numbers` matches if one
    of them is a party of a leg, `name` if it is part of such a party's text, in any case, or if the party is one of the
    `name_parties`: (`sn`, number), without `sn` a number of any PBX. `call_keys` holds (`sn`,
    `call_id`) of the calls that can match at all, as those with a tag. `note` matches if a note on the call contains it
    in any case: one on the PBX, of any leg, or one of Onhook, whose calls are the `note_call_keys`.
    """

    answered_by: str | None = None
    min_wait_duration: int | None = None
    max_wait_duration: int | None = None
    min_ring_duration: int | None = None
    max_ring_duration: int | None = None
    weekday: int | None = None
    hour_of_day: int | None = None
    under_way_at: datetime | None = None
    ended_since: datetime | None = None
    caller: str | None = None
    dialled: str | None = None
    by_trunk: str | None = None
    by_did: str | None = None
    numbers: tuple[str, ...] | None = None
    name: str | None = None
    name_parties: tuple[tuple[str, str], ...] = ()
    call_keys: tuple[tuple[str, str], ...] | None = None
    note: str | None = None
    note_call_keys: tuple[tuple[str, str], ...] = ()
    zone: str = "UTC"

    def matches(self, call: Call) -> bool:
        """Return whether the call matches."""
        local = call.started_at.astimezone(ZoneInfo(self.zone))
        return (
            self._matches_call_fields(call)
            and (self.call_keys is None or (call.sn, call.call_id) in self.call_keys)
            and self._matches_note(call)
            and _is_between(call.wait_duration, self.min_wait_duration, self.max_wait_duration)
            and _is_between(call.ring_duration, self.min_ring_duration, self.max_ring_duration)
            and (self.weekday is None or local.isoweekday() == self.weekday)
            and (self.hour_of_day is None or local.hour == self.hour_of_day)
            and (self.under_way_at is None or _is_under_way(call, self.under_way_at))
            and (self.ended_since is None or (call.ended_at is not None and call.ended_at >= self.ended_since))
            and any(self._matches_parties(leg) for leg in call.legs)
        )

    def _matches_call_fields(self, call: Call) -> bool:
        """Return whether the numbers, the trunk and the DID of the call match."""
        return (
            (self.answered_by is None or call.answered_by == extract_number(self.answered_by))
            and (self.caller is None or extract_number(call.call_from) == extract_number(self.caller))
            and (self.dialled is None or extract_number(call.call_to) == extract_number(self.dialled))
            and (self.by_trunk is None or (call.src_trunk_name or call.dst_trunk_name) == self.by_trunk)
            and (self.by_did is None or call.did_number == self.by_did)
        )

    def _matches_note(self, call: Call) -> bool:
        if self.note is None or (call.sn, call.call_id) in self.note_call_keys:
            return True
        return any(self.note.lower() in note.lower() for note in list_pbx_notes(call))

    def _matches_parties(self, leg: Record) -> bool:
        sides = (leg.call_from, leg.call_to)
        return (self.numbers is None or any(extract_number(side) in self.numbers for side in sides)) and (
            self.name is None or any(self._matches_name(self.name.lower(), leg.sn, side) for side in sides)
        )

    def _matches_name(self, name: str, sn: str, side: str) -> bool:
        number = extract_number(side)
        return name in side.lower() or (sn, number) in self.name_parties or ("", number) in self.name_parties


def list_pbx_notes(call: Call) -> list[str]:
    """Return the notes that people wrote about a call on the PBX, which its list of calls has, each once."""
    texts = (leg.extra.get(ROW_NOTE) for leg in call.legs)
    return list(dict.fromkeys(text.strip() for text in texts if isinstance(text, str) and text.strip()))


def parse_call_filter(parameters: Mapping[str, str], zone: ZoneInfo) -> CallFilter:
    """Parse call filters from texts; empty texts are ignored. Raises `UsageError`."""
    texts = {name: text.strip() for name, text in parameters.items() if text.strip()}
    for name in PARTY_CALL_FILTERS & texts.keys():
        reject_group_filter(name, texts[name])
    return CallFilter(zone=zone.key, **{name: _parse_value(name, text, zone) for name, text in texts.items()})


def _parse_value(name: str, text: str, zone: ZoneInfo) -> Any:
    if name in _TIME_CALL_FILTERS:
        return _parse_time(name, text, zone)
    return text if name in TEXT_CALL_FILTERS else _parse_number(name, text)


def _parse_number(name: str, text: str) -> int:
    low, high = _NUMBER_RANGES.get(name, (0, 10**DURATION_DIGITS_MAX - 1))
    if not (text.isascii() and text.isdigit() and len(text) <= DURATION_DIGITS_MAX and low <= int(text) <= high):
        raise UsageError(
            _("invalid {name}: {value!r}", name=name, value=text[:40]),
            hint=_("write a whole number from {low} to {high}", low=low, high=high),
            parameter=name,
        )
    return int(text)


def _parse_time(name: str, text: str, zone: ZoneInfo) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            _("{name} is not a time: {value!r}", name=name, value=text[:40]),
            hint=_("write 2026-04-27T19:04:36+08:00"),
            parameter=name,
        ) from None


def _is_between(seconds: int | None, minimum: int | None, maximum: int | None) -> bool:
    if minimum is None and maximum is None:
        return True
    return seconds is not None and (minimum is None or seconds >= minimum) and (maximum is None or seconds <= maximum)


def _is_under_way(call: Call, time: datetime) -> bool:
    return call.ended_at is not None and call.started_at <= time < call.ended_at
