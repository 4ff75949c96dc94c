"""Comparison of days: the PBX's count of a day's records with that of the store. A difference is a gap and an alarm."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from onhook.cdr.coverage import Interval, add_interval
from onhook.cdr.sync_types import BackfillProgress
from onhook.lib.messages import _
from onhook.pbx.client import SystemFacts, TimeWindow
from onhook.sync.contract import BackfillSource, DayComparisonState

COMPARED_DAYS_MAX = 62
"""Days compared in one cycle: one request each."""

_DAY = timedelta(days=1)


async def compare_days(
    days: Sequence[datetime], facts: SystemFacts, *, source: BackfillSource, state: DayComparisonState
) -> None:
    """Compare the PBX's count with the store, for each day that begins at one of these times. Raises `OnhookError`."""
    has_difference = False
    for day in days:
        pbx_count = await source.count_records(day_window(day), facts)
        gap = day_gap(day, pbx_count, await state.count_records(day, day + _DAY))
        if gap is not None:
            has_difference = True
            await _report_gap(state, gap)
    if not has_difference:
        await state.end_alarm("difference")


async def _report_gap(state: DayComparisonState, gap: Interval) -> None:
    await state.change_intervals(lambda intervals: add_interval(intervals, gap))
    pbx_argument = await state.pbx_argument()
    await state.raise_alarm("difference", gap.reason, _("run `onhook backfill {pbx}`", pbx=pbx_argument))


def whole_days(progress: BackfillProgress) -> list[datetime]:
    """Return the begin of each whole day (UTC) that a back-fill has read: the latest COMPARED_DAYS_MAX."""
    ends = [progress.started_at] + ([] if progress.requested_until is None else [progress.requested_until])
    first_day, end_day = _midnight(progress.requested_since) + _DAY, _midnight(min(ends))
    return [first_day + number * _DAY for number in range((end_day - first_day).days)][-COMPARED_DAYS_MAX:]


def day_window(day: datetime) -> TimeWindow:
    """Return the day that begins at this time, up to its last second."""
    return TimeWindow(since=round(day.timestamp()), until=round((day + _DAY).timestamp()) - 1)


def day_gap(day: datetime, pbx_count: int | None, local_count: int) -> Interval | None:
    """Return the gap of a day of which the PBX has more records, else None."""
    if pbx_count is None or pbx_count <= local_count:
        return None
    reason = _(
        "the PBX counts {pbx_count} records that began on {day} UTC, Onhook has {local_count}",
        pbx_count=pbx_count,
        day=f"{day:%Y-%m-%d}",
        local_count=local_count,
    )
    return Interval(day, day + _DAY, "gap", reason)


def _midnight(seconds: int) -> datetime:
    """Return the begin of the day (UTC) of this time (Unix seconds)."""
    return datetime.fromtimestamp(seconds, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
