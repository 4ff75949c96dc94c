"""The filters that are set, as chips: each in words, and the page without it. The period has a field of its own."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import NameDirectory
from onhook.cdr.party_groups import parse_group_filter
from onhook.console.pages.formatting import WEEKDAYS, minutes, outcome, url
from onhook.lib.messages import _, mark

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "q": mark("Search"),
        "status": mark("Outcome"),
        "type": mark("Type"),
        "pbx": mark("PBX"),
        "sn": mark("Serial number"),
        "call_id": mark("Call id"),
        "number": mark("Number"),
        "call_from": mark("From"),
        "call_to": mark("To"),
        "trunk": mark("Trunk"),
        "did_number": mark("DID number"),
        "min_talk_duration": mark("Talk, minimum"),
        "max_talk_duration": mark("Talk, maximum"),
        "extra": mark("Extra"),
        "answered_by": mark("Answered by"),
        "min_wait_duration": mark("Wait, minimum"),
        "max_wait_duration": mark("Wait, maximum"),
        "min_ring_duration": mark("Ring, minimum"),
        "max_ring_duration": mark("Ring, maximum"),
        "weekday": mark("Weekday"),
        "hour_of_day": mark("Hour"),
        "under_way_at": mark("In progress at"),
        "ended_since": mark("Ended since"),
        "caller": mark("Caller"),
        "dialled": mark("Dialled"),
        "by_trunk": mark("Trunk of the call"),
        "by_did": mark("DID of the call"),
        "tag": mark("Tag"),
        "note": mark("Note"),
        "by": mark("Interval"),
        "group_by": mark("Rows"),
    }
)
"""Filters with a chip, in the order of their chips."""

_FIELD_TITLES: Mapping[str, str] = MappingProxyType(
    {
        **TITLES,
        "since": mark("Since"),
        "until": mark("Before"),
        "compare": mark("Compare with"),
        "zone": mark("Time zone"),
    }
)
"""Parameters of pages, as fields of a form have them."""

_DIVISIONS: Mapping[str, str] = MappingProxyType(
    {
        "hour": mark("hours"),
        "day": mark("days"),
        "week": mark("weeks"),
        "month": mark("months"),
        "department": mark("by department"),
        "site": mark("by site"),
    }
)
"""Words for how a report is divided."""

_PARTY_FILTERS = frozenset({"number", "call_from", "call_to", "answered_by", "caller", "dialled", "did_number"})
_SECONDS_SUFFIX = "_duration"


class FilterChip(msgspec.Struct, frozen=True):
    """A filter in words, and the URL of the page without it."""

    title: str
    text: str
    removal_url: str


def filter_title(name: str) -> str:
    """Return what a parameter of a page is, in words; the name of one that pages have no field for."""
    return _(_FIELD_TITLES.get(name, name))


def describe_filters(query: Mapping[str, str], directory: NameDirectory, scope: AccessScope | None) -> list[str]:
    """Return the filters of a query in words."""
    return [f"{chip.title}: {chip.text}" for chip in list_chips("", query, directory, scope)]


def list_chips(
    path: str, query: Mapping[str, str], directory: NameDirectory, scope: AccessScope | None
) -> list[FilterChip]:
    """Return the chips of a query; other parameters are kept."""
    sns = None if scope is None else scope.sns
    return [
        FilterChip(_(title), _describe(name, query[name], directory, sns), url(path, **{**query, name: ""}))
        for name, title in TITLES.items()
        if query.get(name)
    ]


def _describe(name: str, text: str, directory: NameDirectory, sns: tuple[str, ...] | None) -> str:
    if name == "status":
        return _describe_status(text)
    if name in ("by", "group_by"):
        return _(_DIVISIONS.get(text, text))
    if name == "weekday" and text.strip() in tuple("1234567"):
        return _(WEEKDAYS[int(text) - 1])
    if name.endswith(_SECONDS_SUFFIX) and text.strip().isdecimal():
        return minutes(int(text))
    group = parse_group_filter(text) if name == "q" or name in _PARTY_FILTERS else None
    if group is not None:
        kind, group_name = group
        return _("department {name}", name=group_name) if kind == "department" else _("site {name}", name=group_name)
    known_name = directory.find_name_in(sns, text.strip()) if name in _PARTY_FILTERS else ""
    return f"{known_name} ({text})" if known_name else text


def _describe_status(text: str) -> str:
    """Return the outcomes in words."""
    stripped = text.strip()
    if stripped == "!ANSWERED":
        return _("Missed")
    words = ", ".join(outcome(word.strip()) for word in stripped.removeprefix("!").split(","))
    return _("not {outcomes}", outcomes=words) if stripped.startswith("!") else words
