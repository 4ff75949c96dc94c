"""The date range of a page: one component of all pages with a period (`date_range.html`, `date_range.js`).

A page gives its path, its query and the times that it was asked for; the component has the label, the presets, the
steps ◀ ▶ and what the calendar needs. Days begin in the reader's zone. It is complete without a script: presets and
steps are links, and the two times are fields of the page's form.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.record_filter import parse_time
from onhook.console.pages.formatting import format_date, format_month, short_time, url
from onhook.lib.errors import UsageError
from onhook.lib.messages import _, mark

Unit = Literal["days", "months", "time"]

_ONE_DAY = timedelta(days=1)

_YEAR_MIN, _YEAR_MAX = 1990, 2100
"""No call is outside of these."""


class Preset(msgspec.Struct, frozen=True):
    """A common period: its name and its texts in the URL."""

    name: str
    since: str
    until: str
    unit: Unit
    url: str = ""
    is_current: bool = False


class DateRange(msgspec.Struct, frozen=True, kw_only=True):
    """What the component shows. `since` and `until` are the texts of the URL; `first_day` and `last_day` are the days
    of the range in the reader's zone, empty where it is open. The URL of a step that leads nowhere is empty. `compare`
    is None on a page without a comparison.
    """

    label: str
    since: str
    until: str
    first_day: str = ""
    last_day: str = ""
    today: str
    presets: Sequence[Preset]
    earlier_url: str = ""
    later_url: str = ""
    compare: str | None

    @property
    def compare_day(self) -> str:
        """Return the chosen first day of the period to compare with; empty where none is chosen."""
        return "" if self.compare in (None, "", "previous", "year") else str(self.compare)


class _LocalRange(msgspec.Struct, frozen=True):
    """Naive times in the reader's zone: the first is included, the second is not; None is open."""

    since: datetime | None
    until: datetime | None


def create_date_range(
    path: str,
    query: Mapping[str, str],
    zone: ZoneInfo,
    now: datetime,
    *,
    since_default: datetime | None = None,
    compare: str | None = None,
    offers_all: bool = False,
) -> DateRange:
    """Return the date range of a page from its query, whose other parameters the links keep. `since_default` is where
    the page begins without `since`. Invalid times have no label of their own and no steps: the form marks them.
    """
    local_now = _to_local(now, zone)
    presets = _list_presets(local_now.date(), offers_all=offers_all)
    date_range = DateRange(
        label=_("Period"),
        since=query.get("since", ""),
        until=query.get("until", ""),
        today=local_now.date().isoformat(),
        presets=[_link(preset, path, query) for preset in presets],
        compare=compare,
    )
    try:
        local_range = _parse_range(date_range.since, date_range.until, zone, now)
    except UsageError:
        return date_range
    if local_range.since is None and since_default is not None:
        local_range = _LocalRange(_to_local(since_default, zone), local_range.until)
    closed = _close(local_range, local_now)
    current = next(
        (
            preset
            for preset in presets
            if _close(_parse_range(preset.since, preset.until, zone, now), local_now) == closed
        ),
        None,
    )
    unit = current.unit if current else _find_unit(closed)
    earlier, later = (_step(closed, unit, direction, local_now) for direction in (-1, 1))
    return msgspec.structs.replace(
        date_range,
        label=_(current.name) if current else _describe(local_range, unit, zone),
        first_day=_format_day(closed.since),
        last_day=_format_day(closed.until, is_end=True),
        presets=[_link(preset, path, query, is_current=preset is current) for preset in presets],
        earlier_url=url(path, **{**query, **_range_texts(earlier, zone)}) if earlier else "",
        later_url=url(path, **{**query, **_range_texts(later, zone)}) if later else "",
    )


def _list_presets(today: date, *, offers_all: bool) -> list[Preset]:
    """Return the common periods; those that are relative stay so in a bookmark."""
    monday, month = today - timedelta(days=today.weekday()), today.replace(day=1)
    presets = [
        Preset(mark("Today"), "today", "", "days"),
        Preset(mark("Yesterday"), "yesterday", "today", "days"),
        Preset(mark("7 days"), "6d", "", "days"),
        Preset(mark("This week"), monday.isoformat(), "", "days"),
        Preset(mark("Last week"), (monday - timedelta(days=7)).isoformat(), monday.isoformat(), "days"),
        Preset(mark("30 days"), "29d", "", "days"),
        Preset(mark("This month"), month.isoformat(), "", "months"),
        Preset(mark("Last month"), _add_months(month, -1).isoformat(), month.isoformat(), "months"),
        Preset(mark("12 months"), _add_months(month, -11).isoformat(), "", "months"),
    ]
    return [*presets, Preset(mark("All times"), "", "", "time")] if offers_all else presets


def _link(preset: Preset, path: str, query: Mapping[str, str], *, is_current: bool = False) -> Preset:
    preset_url = url(path, **{**query, "since": preset.since, "until": preset.until})
    return msgspec.structs.replace(preset, name=_(preset.name), url=preset_url, is_current=is_current)


def _parse_range(since: str, until: str, zone: ZoneInfo, now: datetime) -> _LocalRange:
    """Return the times of two texts, each of which may be empty. Raises `UsageError`."""
    since, until = since.strip(), until.strip()
    return _LocalRange(
        _to_local(parse_time(since, zone, now), zone) if since else None,
        _to_local(parse_time(until, zone, now), zone) if until else None,
    )


def _to_local(moment: datetime, zone: ZoneInfo) -> datetime:
    return moment.astimezone(zone).replace(tzinfo=None, fold=0)


def _is_midnight(moment: datetime) -> bool:
    return moment.time() == time()


def _close(local_range: _LocalRange, local_now: datetime) -> _LocalRange:
    """Return the range with an end: that of today for whole days, else now."""
    since, until = local_range.since, local_range.until
    if until is not None or since is None:
        return local_range
    end_of_today = datetime.combine(local_now.date() + _ONE_DAY, time())
    return _LocalRange(since, end_of_today if _is_midnight(since) else local_now)


def _find_unit(closed: _LocalRange) -> Unit:
    """Return the unit of whole months, of whole days, or of any other range."""
    bounds = [bound for bound in (closed.since, closed.until) if bound is not None]
    if not all(_is_midnight(bound) for bound in bounds):
        return "time"
    return "months" if all(bound.day == 1 for bound in bounds) else "days"


def _step(closed: _LocalRange, unit: Unit, direction: int, local_now: datetime) -> _LocalRange | None:
    """Return the range of the same length before (-1) or after (1); None without one, or before it begins."""
    since, until = closed.since, closed.until
    if since is None or until is None or until <= since:
        return None
    try:
        if unit == "months":
            count = _count_months(since, until)
            first = datetime.combine(_add_months(since.date(), direction * count), time())
            step = _LocalRange(first, datetime.combine(_add_months(first.date(), count), time()))
        else:
            length = direction * (until - since)
            step = _LocalRange(since + length, until + length)
    except (OverflowError, ValueError):
        return None
    assert step.since is not None
    is_known = _YEAR_MIN <= step.since.year < _YEAR_MAX
    return step if is_known and step.since < local_now else None


def _count_months(since: datetime, until: datetime) -> int:
    """Return how many months have a day of the range."""
    last = until - _ONE_DAY
    return (last.year - since.year) * 12 + last.month - since.month + 1


def _add_months(month: date, count: int) -> date:
    """Return the first day of a month so many months later."""
    months = month.year * 12 + month.month - 1 + count
    return date(months // 12, months % 12 + 1, 1)


def _range_texts(local_range: _LocalRange, zone: ZoneInfo) -> Mapping[str, str]:
    """Return the texts of a range in the URL: dates, or times with their offset."""
    return {
        name: bound.date().isoformat()
        if _is_midnight(bound)
        else bound.replace(tzinfo=zone).isoformat(timespec="seconds")
        for name, bound in (("since", local_range.since), ("until", local_range.until))
        if bound is not None
    }


def _format_day(bound: datetime | None, *, is_end: bool = False) -> str:
    """Return the day of a bound; of an end at midnight the day before."""
    if bound is None:
        return ""
    return (bound.date() - _ONE_DAY if is_end and _is_midnight(bound) else bound.date()).isoformat()


def _describe(local_range: _LocalRange, unit: Unit, zone: ZoneInfo) -> str:
    """Return the range in words: a month, a day, days, or times; each end is included."""
    since, until = local_range.since, local_range.until
    if since is None:
        return _("All times") if until is None else _("Until {time}", time=_format_bound(until, zone, is_end=True))
    if until is None:
        return _("Since {time}", time=_format_bound(since, zone))
    if unit == "months" and _count_months(since, until) == 1:
        return format_month(since)
    first, last = _format_bound(since, zone), _format_bound(until, zone, is_end=True)
    return first if unit != "time" and first == last else f"{first} \N{EN DASH} {last}"


def _format_bound(bound: datetime, zone: ZoneInfo, *, is_end: bool = False) -> str:
    if _is_midnight(bound):
        return format_date(bound.date() - _ONE_DAY if is_end else bound.date())
    return f"{format_date(bound.date())} {short_time(bound.replace(tzinfo=zone), zone)}"
