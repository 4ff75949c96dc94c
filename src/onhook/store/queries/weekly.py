"""Split of a period into whole weeks with rollups and ranges that have to be counted. Contains no SQL.

Weeks are of 604,800 seconds since 1970: not calendar weeks, only units of rollups.
"""

from collections.abc import Collection, Iterable, Iterator

import msgspec

WEEK_SECONDS = 7 * 86_400

QUARTER_HOUR_SECONDS = 900
"""Resolution of rollups: no zone is ahead of UTC by a fraction of it since `zones.TRANSITIONS_FROM`."""

PARTS_MAX = 16
"""Each is a part of the query. Late events leave holes among the weeks; short runs between them are counted too."""


class PeriodPart(msgspec.Struct, frozen=True):
    """From one second on, before the other; whole weeks if it has rollups."""

    since: int
    until: int
    is_rolled_up: bool


def week_of(second: int) -> int:
    """Return the number of the week of a second."""
    return second // WEEK_SECONDS


def weeks_between(since: int, until: int) -> range:
    """Return every week with one of these seconds; `until` is included."""
    return range(week_of(since), week_of(until) + 1)


def split_period(since: int, until: int, rollup_weeks: Collection[int]) -> list[PeriodPart]:
    """Return the parts of a period in order. They cover it without overlap."""
    if since >= until:
        return []
    covered_weeks = [
        week for week in sorted(rollup_weeks) if since <= week * WEEK_SECONDS and (week + 1) * WEEK_SECONDS <= until
    ]
    runs = sorted(sorted(_runs(covered_weeks), key=len, reverse=True)[: PARTS_MAX // 2], key=lambda run: run.start)
    parts, position = [], since
    for run in runs:
        start, end = run.start * WEEK_SECONDS, run.stop * WEEK_SECONDS
        parts += [PeriodPart(position, start, is_rolled_up=False)] if position < start else []
        parts.append(PeriodPart(start, end, is_rolled_up=True))
        position = end
    return [*parts, PeriodPart(position, until, is_rolled_up=False)] if position < until else parts


def _runs(weeks: Iterable[int]) -> Iterator[range]:
    """Yield runs of adjacent weeks."""
    run = range(0)
    for week in weeks:
        if run and week == run.stop:
            run = range(run.start, week + 1)
            continue
        if run:
            yield run
        run = range(week, week + 1)
    if run:
        yield run
