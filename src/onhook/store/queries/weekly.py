"""A period cut into whole weeks that were summed up and stretches that have to be counted. No SQL here.

Weeks are of 604,800 seconds since 1970: they are not the weeks of any calendar, only pieces that sums are kept by.
"""

from collections.abc import Collection, Iterable, Iterator

import msgspec

WEEK_SECONDS = 7 * 86_400

QUARTER_SECONDS = 900
"""The finest that sums are kept by: no zone is ahead of UTC by anything else since `zones.CHANGES_FROM`."""

PIECES_MAX = 16
"""Each is a part of the question. Late reports leave holes among the weeks; short runs between them are counted too."""


class Piece(msgspec.Struct, frozen=True):
    """From one second on, before the other; whole weeks where it was summed up."""

    since: int
    until: int
    is_summed: bool


def week_of(second: int) -> int:
    """The number of the week that a second is in."""
    return second // WEEK_SECONDS


def weeks_between(since: int, until: int) -> range:
    """Every week that has one of these seconds; `until` belongs to them."""
    return range(week_of(since), week_of(until) + 1)


def cut(since: int, until: int, summed: Collection[int]) -> list[Piece]:
    """The pieces of a period in order. They cover it, and no second is in two."""
    if since >= until:
        return []
    whole = [week for week in sorted(summed) if since <= week * WEEK_SECONDS and (week + 1) * WEEK_SECONDS <= until]
    runs = sorted(sorted(_runs(whole), key=len, reverse=True)[: PIECES_MAX // 2], key=lambda run: run.start)
    pieces, at = [], since
    for run in runs:
        begin, end = run.start * WEEK_SECONDS, run.stop * WEEK_SECONDS
        pieces += [Piece(at, begin, is_summed=False)] if at < begin else []
        pieces.append(Piece(begin, end, is_summed=True))
        at = end
    return [*pieces, Piece(at, until, is_summed=False)] if at < until else pieces


def _runs(weeks: Iterable[int]) -> Iterator[range]:
    """Neighbours together."""
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
