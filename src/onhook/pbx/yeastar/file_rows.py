"""Lines of call files: what all lines of a file show together, and the start of a leg whose time has no seconds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from onhook.cdr.identity import extract_number
from onhook.pbx.client import FileSurvey, StoredLeg
from onhook.pbx.yeastar.rows import format_party, list_start_candidates, normalize_names, parse_uid_time, time_text_of
from onhook.pbx.yeastar.spreadsheet import RoundingEvidence, add_seconds, lacks_seconds


def survey_file(rows: Iterable[Mapping[str, str]]) -> FileSurvey:
    """Read all lines of a file; see `FileSurvey`."""
    evidence = RoundingEvidence()
    uids: Counter[str] = Counter()
    for row in rows:
        members = normalize_names(row)
        evidence.add(members, time_text_of(members))
        if _uid_time_in_its_minute(members) is not None:
            uids[str(members["uid"])] += 1
    return FileSurvey(
        is_rounded=evidence.is_rounded, shared_uids=frozenset(uid for uid, count in uids.items() if count > 1)
    )


def find_lookup_uid(row: Mapping[str, str], survey: FileSurvey) -> str:
    """Return the `uid` by which the stored call of a line is needed; empty if it is not, or the line has none."""
    members = normalize_names(row)
    is_needed = not members.get("call_id") or survey.is_rounded or lacks_seconds(time_text_of(members))
    return str(members.get("uid", "")) if is_needed else ""


def find_start(row: Mapping[str, str], survey: FileSurvey, stored_legs: Sequence[StoredLeg]) -> str:
    """Return the start of a leg whose time has no seconds: that of the stored leg with its number and minute, or that
    of the call if this is its first leg. Empty where neither is certain, or the time has seconds.
    """
    members = normalize_names(row)
    if not lacks_seconds(time_text_of(members)):
        return ""
    minutes = {str(local)[:16] for local in _list_minutes(members)}
    number = extract_number(format_party(members, "call_to"))
    starts = {leg.time_start for leg in stored_legs if leg.number == number and leg.time_start[:16] in minutes}
    if len(starts) == 1:
        return starts.pop()
    uid_time = _uid_time_in_its_minute(members)
    if uid_time is None or str(members["uid"]) in survey.shared_uids:
        return ""
    is_of_other_leg = any(leg.time_start == str(uid_time) for leg in stored_legs)
    return "" if is_of_other_leg else str(uid_time)


def _uid_time_in_its_minute(members: Mapping[str, Any]) -> datetime | None:
    """Return the time in the `uid`, if the time of the line is its minute, without seconds."""
    uid_time = parse_uid_time(members)
    return uid_time if uid_time is not None and uid_time.replace(second=0) in _list_minutes(members) else None


def _list_minutes(members: Mapping[str, Any]) -> set[datetime]:
    time_text = time_text_of(members)
    return list_start_candidates(add_seconds(time_text)) if lacks_seconds(time_text) else set()
