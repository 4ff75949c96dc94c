"""Plan of a back-fill: what to read from the PBX, where to resume, which calls a push channel has missed. Pure."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from onhook.cdr.sync_types import BackfillProgress, PbxStatus
from onhook.pbx.client import TimeWindow
from onhook.sync.clock_check import CLOCK_SKEW_SECONDS_MAX, known_skews

WINDOW_AHEAD_SECONDS = 86_400
"""Windows extend this far into the future, so that a PBX's clock that is ahead hides no call."""


class BackfillPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The progress that a back-fill begins with, and the time in which a call must have ended to count as missed."""

    progress: BackfillProgress
    missed_window: TimeWindow
    is_resumed: bool

    @property
    def window(self) -> TimeWindow:
        """Return what remains to be read, by the start of calls and by the PBX's clock."""
        return TimeWindow(since=self.progress.done_until, until=self.progress.until)


def plan_backfill(
    since: datetime,
    until: datetime | None,
    *,
    unfinished_progress: BackfillProgress | None,
    status: PbxStatus,
    previous_status: PbxStatus | None,
    registered_at: float,
) -> BackfillPlan:
    """Return the plan for calls that began from `since` on, up to `until` or now.

    Resumes the unfinished back-fill if it covers this time. `status` was reported now, `previous_status` before; the
    push channel should deliver calls that end after `registered_at` (Unix seconds).
    """
    progress = resumable_progress(unfinished_progress, since, until)
    is_resumed = progress is not None
    if progress is None:
        progress = new_progress(since, until, now=status.checked_at, skews=known_skews(status, previous_status))
    window = missed_window(progress, registered_at, known_skews(status))
    return BackfillPlan(progress=progress, missed_window=window, is_resumed=is_resumed)


def resumable_progress(
    progress: BackfillProgress | None, since: datetime, until: datetime | None
) -> BackfillProgress | None:
    """Return the unfinished back-fill if it covers the requested time; `until` None means up to now."""
    if progress is None or progress.requested_since > since.timestamp():
        return None
    if progress.requested_until is None:
        return progress
    return progress if until is not None and until.timestamp() <= progress.requested_until else None


def new_progress(since: datetime, until: datetime | None, *, now: int, skews: Sequence[int]) -> BackfillProgress:
    """Return the progress of a back-fill that begins at `now` (Unix seconds).

    Its window contains the requested time by our clock and by the PBX's, whose differences are `skews`; there are two
    after a change of its clock.
    """
    start, end = round(since.timestamp()), now + WINDOW_AHEAD_SECONDS if until is None else round(until.timestamp())
    first_second = start + min([0, *skews])
    return BackfillProgress(
        since=first_second,
        until=end + max([0, *skews]),
        done_until=first_second,
        started_at=now,
        requested_since=start,
        requested_until=None if until is None else end,
    )


def missed_window(progress: BackfillProgress, registered_at: float, skews: Sequence[int]) -> TimeWindow:
    """Return the time in which a call must have ended to count as missed by the push channel.

    It ends so much before the back-fill began that by both clocks the channel had the time to deliver.
    """
    until = progress.started_at + min([0, *skews]) - CLOCK_SKEW_SECONDS_MAX
    return TimeWindow(since=round(registered_at), until=until)
