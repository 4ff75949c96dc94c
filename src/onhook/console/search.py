"""Search for calls: conditions on whole calls, notes and tags, and free text, which is a call's id, a number in any
notation, or a name.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import Pbx
from onhook.cdr.call_filter import CALL_FILTER_NAMES, CallFilter, parse_call_filter
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.deferred_module import DeferredModule

if TYPE_CHECKING:
    from onhook.cdr import phone_numbers
else:  # with the numbering plans of all countries
    phone_numbers = DeferredModule("onhook.cdr.phone_numbers")

_CALL_ID = re.compile(r"[0-9]{9,11}\.[0-9]+")
"""yeastar-p-series.md 2.4."""

_REGION = re.compile(r"[A-Z]{2}")


async def apply_search(
    appdb: AppDb, record_filter: RecordFilter, texts: Mapping[str, str], zone: ZoneInfo
) -> RecordFilter:
    """Return the filter with the conditions of `SEARCH_NAMES`; empty texts are ignored. Raises `UsageError`."""
    call_texts = {name: text for name, text in texts.items() if name in CALL_FILTER_NAMES}
    call_filter = parse_call_filter(call_texts, zone) if any(text.strip() for text in call_texts.values()) else None
    search_filter = apply_search_text(
        msgspec.structs.replace(record_filter, call_filter=call_filter),
        texts.get("q", ""),
        await appdb.pbxs(),
        zone,
    )
    tag, note = texts.get("tag", "").strip(), texts.get("note", "").strip()
    if not (tag or note):
        return search_filter
    new_call_filter = search_filter.call_filter or CallFilter()
    if tag and new_call_filter.call_keys is None:
        call_keys = tuple(await appdb.notes.find_calls(tag, ""))
        new_call_filter = msgspec.structs.replace(new_call_filter, call_keys=call_keys)
    if note:
        note_call_keys = tuple(await appdb.notes.find_calls("", note))
        new_call_filter = msgspec.structs.replace(new_call_filter, note=note, note_call_keys=note_call_keys)
    return msgspec.structs.replace(search_filter, call_filter=new_call_filter)


def apply_search_text(search_filter: RecordFilter, text: str, pbxs: list[Pbx], zone: ZoneInfo) -> RecordFilter:
    """Return the filter with the condition that the text means, besides its own: another call's id matches nothing."""
    text = text.strip()
    if not text:
        return search_filter
    call_filter = search_filter.call_filter or CallFilter()
    if _CALL_ID.fullmatch(text):
        if search_filter.call_id not in (None, text):
            return msgspec.structs.replace(
                search_filter, call_filter=msgspec.structs.replace(call_filter, call_keys=())
            )
        return msgspec.structs.replace(search_filter, call_id=text)
    plans = [pbx.number_plan for pbx in pbxs] or [NumberPlan()]
    numbers = phone_numbers.number_variants(text, plans, list_regions(pbxs, zone.key))
    new_call_filter = (
        msgspec.structs.replace(call_filter, numbers=numbers)
        if numbers
        else msgspec.structs.replace(call_filter, name=text)
    )
    return msgspec.structs.replace(search_filter, call_filter=new_call_filter)


def list_regions(pbxs: list[Pbx], zone_name: str) -> list[str]:
    """Return the countries of PBXs and of a reader's zone, by their zones."""
    zone_names = dict.fromkeys([*(pbx.zone for pbx in pbxs if pbx.zone), zone_name])
    return list(dict.fromkeys(region for name in zone_names if (region := get_zone_region(name))))


def get_zone_region(zone_name: str) -> str:
    """Return the country of a zone (ISO 3166); empty where it has none, such as UTC."""
    return _load_zone_regions().get(zone_name, "")


@lru_cache(maxsize=1)
def _load_zone_regions() -> Mapping[str, str]:
    """Return the countries, read at the first use from the time zone database."""
    regions = {}
    for line in files("tzdata").joinpath("zoneinfo", "zone.tab").read_text().splitlines():
        parts = line.split("\t")
        if len(parts) > 2 and _REGION.fullmatch(parts[0]):
            regions[parts[2]] = parts[0]
    return regions
