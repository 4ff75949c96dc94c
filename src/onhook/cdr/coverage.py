"""Which stretches of time are surely complete, and which are gaps. Moments are aware, in UTC, by a clock that is right.

A stretch is about calls that *ended* in it: a call that is still going on is known to nobody, so nothing true can be
said by when calls began. Laws: `complete` is only what was compared with the PBX's own list, whole; `heard` says that
the push channel was proven alive, and is no promise, because a channel can lose events while it lives; all else is a
gap with a reason. A later comparison counts more than an earlier one; `heard` never counts more than a comparison.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

State = Literal["complete", "heard", "gap"]

CALL_SECONDS_MAX = 86_400
"""No call is taken to last longer. The PBX lists calls by when they began, so a list says nothing of the first so many
seconds of the window that was asked for: calls that ended there may have begun before it."""

SETTLE_SECONDS = 60
"""A call that ended less than this before the PBX was asked may not have been in its list yet."""

STRETCHES_MAX = 1_000
"""Per PBX: some years of comparisons that failed now and then. Beyond it the oldest are forgotten: gaps again."""

NEIGHBOUR = timedelta(minutes=1)
"""Gaps nearer to each other than this are one."""

NEVER_ASKED = "nobody has compared it with the PBX yet"


class Stretch(msgspec.Struct, frozen=True):
    """From `since` on, before `until`. `why` says what proves it, or what is known of the gap."""

    since: datetime
    until: datetime
    state: State
    why: str


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """One reading of the PBX's list to its end: all calls that began in a window. One that broke off is none.

    `since` is the window's start, by a right clock; its end is `until`, or later than `asked_at`, when reading began.
    `trouble` is empty where every row that the PBX counted was read and is kept.
    """

    since: datetime
    asked_at: datetime
    until: datetime | None = None
    trouble: str = ""


def proven(comparison: Comparison) -> Stretch | None:
    """What a reading of the list proves: a complete stretch, or a gap that is named; None where it says nothing."""
    since = comparison.since + timedelta(seconds=CALL_SECONDS_MAX)
    until = comparison.asked_at - timedelta(seconds=SETTLE_SECONDS)
    until = until if comparison.until is None else min(until, comparison.until)
    if since >= until:
        return None
    if comparison.trouble:
        return Stretch(since, until, "gap", comparison.trouble)
    return Stretch(since, until, "complete", f"compared with the PBX at {comparison.asked_at:%Y-%m-%d %H:%M} UTC")


def painted(stretches: Sequence[Stretch], new: Stretch) -> list[Stretch]:
    """What is known after one more stretch: in order, apart from each other, neighbours of one kind joined."""
    parts = [part for old in stretches for part in _without(old, new)]
    parts += [part for part in _over(stretches, new) if part.since < part.until]
    joined: list[Stretch] = []
    for part in sorted(parts, key=lambda one: one.since):
        if joined and joined[-1].until == part.since and _is_alike(joined[-1], part):
            joined[-1] = Stretch(joined[-1].since, part.until, part.state, part.why)
        else:
            joined.append(part)
    return joined[-STRETCHES_MAX:]


def within(stretches: Sequence[Stretch], since: datetime, until: datetime) -> list[Stretch]:
    """All of that time, whole: what is known, and the gaps between."""
    known: list[Stretch] = []
    at = since
    for one in stretches:
        begin, end = max(one.since, at), min(one.until, until)
        if begin < end:
            known += [Stretch(at, begin, "gap", NEVER_ASKED)] if at < begin else []
            known.append(Stretch(begin, end, one.state, one.why))
            at = end
    return known + ([Stretch(at, until, "gap", NEVER_ASKED)] if at < until else [])


def complete_until(stretches: Sequence[Stretch]) -> datetime | None:
    """Up to which moment the latest complete stretch reaches; None where there is none."""
    return next((one.until for one in reversed(stretches) if one.state == "complete"), None)


def to_ask_from(stretches: Sequence[Stretch], since: datetime, until: datetime) -> datetime:
    """From which start of calls on the PBX must be asked, so that all from `since` to `until` can be complete."""
    open_ones = [one.since for one in within(stretches, since, until) if one.state != "complete"]
    first = min(open_ones, default=until)
    return min(first, until - timedelta(seconds=SETTLE_SECONDS)) - timedelta(seconds=CALL_SECONDS_MAX)


def withdrawn(stretches: Sequence[Stretch], since: datetime, until: datetime, why: str) -> list[Stretch]:
    """The same where nothing that was claimed between two moments counts any more, because the PBX's clock moved."""
    return painted(stretches, Stretch(since, until, "gap", why)) if since < until else list(stretches)


def not_heard(stretches: Sequence[Stretch], since: datetime, until: datetime, why: str) -> list[Stretch]:
    """The same where a PBX was not heard between two moments: a gap, but for what was compared meanwhile.

    One that follows soon on another is one with it, so that a line that comes and goes does not make thousands.
    """
    near = [one for one in stretches if one.state == "gap" and one.why == why and since - one.until < NEIGHBOUR]
    since = max((one.until for one in near if one.until < since), default=since)
    known = list(stretches)
    for part in within(stretches, since, until):
        if part.state != "complete":
            known = painted(known, Stretch(part.since, part.until, "gap", why))
    return known


def unheard(stretches: Sequence[Stretch], why: str) -> list[Stretch]:
    """The same where the push channel was found to lose events: what was only heard is a gap until it is compared."""
    return [Stretch(one.since, one.until, "gap", why) if one.state == "heard" else one for one in stretches]


def _without(old: Stretch, new: Stretch) -> Iterator[Stretch]:
    """What is left of an older stretch beside a new one; a comparison stays under what was only heard."""
    if old.until <= new.since or new.until <= old.since or _stays(old, new):
        yield old
        return
    if old.since < new.since:
        yield Stretch(old.since, new.since, old.state, old.why)
    if new.until < old.until:
        yield Stretch(new.until, old.until, old.state, old.why)


def _over(stretches: Sequence[Stretch], new: Stretch) -> Iterator[Stretch]:
    """What is seen of a new stretch: all of it, but where an older one stays."""
    at = new.since
    for old in sorted(stretches, key=lambda one: one.since):
        if _stays(old, new) and old.since < new.until and new.since < old.until:
            yield Stretch(at, max(at, old.since), new.state, new.why)
            at = max(at, old.until)
    yield Stretch(at, max(at, new.until), new.state, new.why)


def _stays(old: Stretch, new: Stretch) -> bool:
    return new.state == "heard" and old.state == "complete"


def _is_alike(one: Stretch, other: Stretch) -> bool:
    """Complete stretches are one however often they were compared; gaps only for one reason."""
    return one.state == other.state and (one.state != "gap" or one.why == other.why)
