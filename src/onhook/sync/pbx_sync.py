"""Synchronisation with one PBX: fills gaps, checks the clock, compares days, and stores the coverage.

Invariants: gaps are filled at the start, after each reconnect, every hour, and every night for the last three days.
Only compared times are claimed as complete. An error of this PBX affects no other, and raises one alarm.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol

import msgspec

from onhook.cdr.coverage import (
    CALL_SECONDS_MAX,
    CdrComparison,
    Interval,
    add_interval,
    complete_until,
    interval_from_comparison,
    invalidate_connected,
    query_start,
)
from onhook.cdr.sync_types import AlarmKind, BackfillProgress, BackfillRequest, BackfillResult, PbxStatus
from onhook.lib.errors import NotAllowed, OnhookError
from onhook.lib.messages import _
from onhook.pbx.client import SystemFacts, TimeWindow
from onhook.sync.api_backfill import BackfillProgressCallback, BackfillTotals
from onhook.sync.sync_schedule import FIRST_SYNC_DAYS, SYNC_DAYS, pause_seconds

CONNECTED_SAVE_SECONDS = 300.0
"""Interval at which the connected time is stored: each write costs an fsync per PBX."""

UNREACHABLE_SECONDS = 300.0
"""A PBX that is unreachable for this long is not merely being restarted or upgraded."""

CLOCK_SKEW_SECONDS_MAX = 60
"""Clock difference that raises an alarm; ids tolerate as much (yeastar-p-series.md 2.3)."""

DST_SHIFT_SECONDS = 3600
"""A local time that moved by this much has begun or ended daylight saving time."""

WINDOW_AHEAD_SECONDS = 86_400
"""Windows extend this far into the future, so that a PBX's clock that is ahead hides no call."""

COMPARED_DAYS_MAX = 62
"""Days compared in one cycle: one request each."""

_DAY = timedelta(days=1)


SyncProgressCallback = Callable[[BackfillTotals, TimeWindow], None]
"""Callback for the totals so far and their window."""


class PbxAccess(Protocol):
    """Access to a PBX: its API, or its CDR source."""

    alarm_kinds: Sequence[AlarmKind]
    """Alarms that begin when access fails, and end when it works; the first is the default."""

    @property
    def error_kind(self) -> AlarmKind | Literal[""]:
        """Return the kind of the current problem, or an empty text."""
        ...

    def now(self) -> float:
        """Return the Unix seconds."""
        ...


class BackfillSource(Protocol):
    """Source that gaps are filled from: `ApiBackfill` or `CdrBackfill`."""

    async def get_facts(self) -> SystemFacts:
        """Return the PBX's system information. Raises `OnhookError`."""
        ...

    async def backfill(
        self,
        window: TimeWindow,
        facts: SystemFacts,
        *,
        missed_window: TimeWindow,
        on_progress: BackfillProgressCallback,
    ) -> BackfillTotals:
        """Store the calls that began in a window and are not stored yet. Raises `OnhookError`."""
        ...

    async def count_records(self, window: TimeWindow, facts: SystemFacts) -> int | None:
        """Return how many records began in a window, or None if the source cannot count. Raises `OnhookError`."""
        ...


class SyncState(Protocol):
    """Stored state of one PBX, and its alarms."""

    def intervals(self) -> list[Interval]: ...

    def save_intervals(self, intervals: Sequence[Interval]) -> None: ...

    def pbx_status(self) -> PbxStatus | None: ...

    def save_pbx_status(self, pbx_status: PbxStatus) -> None: ...

    def backfill_progress(self) -> BackfillProgress | None: ...

    def save_backfill_progress(self, progress: BackfillProgress | None) -> None: ...

    def backfill_request(self) -> BackfillRequest | None:
        """Return the unfinished back-fill that a user requested, or None."""
        ...

    def finish_backfill_request(self, result: BackfillResult) -> None:
        """Remove the request and store its result."""
        ...

    def raise_alarm(self, kind: AlarmKind, detail: str, hint: str) -> None:
        """Raise an alarm, or count another occurrence."""
        ...

    def end_alarm(self, kind: AlarmKind) -> None:
        """End an alarm, if there is one."""
        ...

    def expected_offset_seconds(self, time: datetime) -> int | None:
        """Return the offset of the PBX's local time in its configured time zone, or None without one."""
        ...

    async def count_records(self, since: datetime, until: datetime) -> int:
        """Return how many stored records began in that time."""
        ...


class PbxSync:
    """Sync cycles of one PBX. From `registered_at` (Unix seconds) on its push channel should deliver everything."""

    def __init__(
        self,
        *,
        access: PbxAccess,
        backfill_source: BackfillSource,
        state: SyncState,
        registered_at: float,
        jitter: Callable[[], float],
    ) -> None:
        self._access = access
        self._backfill_source = backfill_source
        self._state = state
        self._registered_at = registered_at
        self._jitter = jitter
        self._wake = asyncio.Event()
        self._backfill_lock = asyncio.Lock()
        self._connected_interval: tuple[float, float] | None = None
        self._connected_saved_at = 0.0
        self._failing_since: float | None = None

    async def run(self) -> None:
        """Run cycles until cancelled; then store the connected time."""
        nightly_at = self._access.now()
        failures = 0
        try:
            while True:
                self._wake.clear()
                now = self._access.now()
                is_nightly = now >= nightly_at
                try:
                    await self.run_requested_backfill()
                    totals = await self.run_cycle(is_nightly=is_nightly)
                    nightly_at = now + pause_seconds(now, is_nightly=True) if is_nightly else nightly_at
                    failures = failures + 1 if self.has_open_gap(totals) else 0
                    self._end_connection_alarms()
                except OnhookError as error:
                    self.on_failed(error)
                    failures += 1
                pause = pause_seconds(self._access.now(), failures=failures) * (0.9 + 0.1 * self._jitter())
                await self._wait_for_wake(pause)
        finally:
            self._save_connected_interval()

    def check_backfill_request(self) -> None:
        """Start a requested back-fill soon; called after a change of the settings."""
        if self._state.backfill_request() is not None:
            self._wake.set()

    async def run_requested_backfill(
        self, on_progress: SyncProgressCallback = lambda totals, window: None
    ) -> BackfillResult | None:
        """Run the back-fill that a user requested, if any, and store its result."""
        request = self._state.backfill_request()
        if request is None:
            return None
        try:
            until = None if request.until is None else _to_datetime(request.until)
            totals = await self.backfill(
                _to_datetime(request.since), until, compares_days=True, on_progress=on_progress
            )
        except OnhookError as error:
            result = BackfillResult(requested_at=request.requested_at, error=str(error))
        else:
            result = build_backfill_result(request, totals)
        self._state.finish_backfill_request(result)
        return result

    async def run_cycle(self, *, is_nightly: bool) -> BackfillTotals:
        """Fill the gaps of the last days and compare days. Raises `OnhookError`; results up to then are stored."""
        now = self._now()
        intervals = self._state.intervals()
        days = FIRST_SYNC_DAYS if complete_until(intervals) is None else SYNC_DAYS
        horizon = now - days * _DAY
        since = horizon - timedelta(seconds=CALL_SECONDS_MAX) if is_nightly else query_start(intervals, horizon, now)
        return await self.backfill(since, compares_days=is_nightly)

    async def backfill(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        compares_days: bool,
        on_progress: SyncProgressCallback = lambda totals, window: None,
    ) -> BackfillTotals:
        """Read the PBX's list of calls that began from `since` on, up to `until` or now. Raises `OnhookError`.

        Resumes an unfinished back-fill that covers the same time. `on_progress` receives the progress.
        """
        async with self._backfill_lock:
            facts = await self._backfill_source.get_facts()
            previous_status = self._state.pbx_status()
            self._save_facts(facts)
            resumed_progress = self._resumable_progress(since, until)
            progress = resumed_progress or self._new_progress(since, until, facts, previous_status)
            self._state.save_backfill_progress(progress)
            window = TimeWindow(since=progress.done_until, until=progress.until)

            def save_progress(totals: BackfillTotals) -> None:
                self._state.save_backfill_progress(msgspec.structs.replace(progress, done_until=totals.done_until))
                on_progress(totals, window)

            negative_skew = min(0, self._skew_seconds())
            missed_window = TimeWindow(
                since=round(self._registered_at), until=progress.started_at + negative_skew - CLOCK_SKEW_SECONDS_MAX
            )
            totals = await self._backfill_source.backfill(
                window, facts, missed_window=missed_window, on_progress=save_progress
            )
            self._state.save_backfill_progress(None)
            self._apply_totals(progress, totals)
            if compares_days:
                await self._compare_days(progress, facts)
            if resumed_progress is not None:
                self._wake.set()  # Calls that ended since the start of this back-fill are fetched by the next one.
            return totals

    def has_open_gap(self, totals: BackfillTotals) -> bool:
        """Return whether a CDR source has not reached the end of a known gap yet; its next call closes the gap."""
        if totals.reach_until is None:
            return False
        intervals = self._state.intervals()
        compared_until = complete_until(intervals)
        return any(
            interval.state == "gap" and (compared_until is None or interval.until > compared_until)
            for interval in intervals
        )

    # Called by the push channel

    def on_alive(self, since: float, until: float) -> None:
        """Store that the channel was alive between these times."""
        is_same = self._connected_interval is not None and self._connected_interval[0] == since
        if not is_same:
            self._save_connected_interval()
        self._connected_interval = (since, until)
        if self._access.now() - self._connected_saved_at >= CONNECTED_SAVE_SECONDS:
            self._save_connected_interval()

    def on_connected(self) -> None:
        """Start a cycle soon, because a channel is connected again."""
        self._end_connection_alarms()
        self._wake.set()

    def on_failed(self, error: OnhookError) -> None:
        """Raise the alarm at once if only an operator can help, otherwise after UNREACHABLE_SECONDS."""
        now = self._access.now()
        self._failing_since = now if self._failing_since is None else self._failing_since
        kind = self._access.error_kind or self._access.alarm_kinds[0]
        if isinstance(error, NotAllowed) or kind == "certificate":
            self._state.raise_alarm(
                "certificate" if kind == "certificate" else "credentials", str(error), _("run `onhook doctor NAME`")
            )
        elif now - self._failing_since >= UNREACHABLE_SECONDS:
            self._state.raise_alarm(kind, str(error), _("run `onhook doctor NAME`"))

    def _end_connection_alarms(self) -> None:
        """End the alarms about the connection."""
        self._failing_since = None
        for kind in self._access.alarm_kinds:
            self._state.end_alarm(kind)

    async def _wait_for_wake(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _now(self) -> datetime:
        return _to_datetime(self._access.now())

    def _save_connected_interval(self) -> None:
        """Store the time in which the channel was connected since the last call of this method."""
        if self._connected_interval is None or self._connected_interval[0] >= self._connected_interval[1]:
            return
        since, until = map(_to_datetime, self._connected_interval)
        interval = Interval(since, until, "connected", "the push channel was alive")
        self._state.save_intervals(add_interval(self._state.intervals(), interval))
        self._connected_saved_at = self._access.now()

    def _resumable_progress(self, since: datetime, until: datetime | None) -> BackfillProgress | None:
        """Return the unfinished back-fill if it covers the same time."""
        progress = self._state.backfill_progress()
        if progress is None or progress.requested_since > since.timestamp():
            return None
        covers_request = progress.requested_until is None or (
            until is not None and until.timestamp() <= progress.requested_until
        )
        return progress if covers_request else None

    def _new_progress(
        self, since: datetime, until: datetime | None, facts: SystemFacts, previous_status: PbxStatus | None
    ) -> BackfillProgress:
        """Return a new progress with a window in the PBX's time; after a change of its clock, in both times."""
        now = round(self._access.now())
        skews = [0, 0 if facts.clock is None else facts.clock - now]
        skews += (
            [previous_status.skew_seconds]
            if previous_status is not None and previous_status.skew_seconds is not None
            else []
        )
        start, end = round(since.timestamp()), now + WINDOW_AHEAD_SECONDS if until is None else round(until.timestamp())
        return BackfillProgress(
            since=start + min(skews),
            until=end + max(skews),
            done_until=start + min(skews),
            started_at=now,
            requested_since=start,
            requested_until=None if until is None else end,
        )

    def _skew_seconds(self) -> int:
        pbx_status = self._state.pbx_status()
        return 0 if pbx_status is None or pbx_status.skew_seconds is None else pbx_status.skew_seconds

    def _apply_totals(self, progress: BackfillProgress, totals: BackfillTotals) -> None:
        """Store the coverage that was compared, and raise or end alarms about the result."""
        intervals = self._state.intervals()
        if totals.missed:
            self._state.raise_alarm(
                "missed",
                _("records of ended calls that the push channel did not deliver: {count}", count=totals.missed),
                _("they have been back-filled; check whether the PBX can reach the intake; see `onhook coverage`"),
            )
            intervals = invalidate_connected(intervals, "the push channel was connected but lost calls")
        else:
            self._state.end_alarm("missed")
        if totals.unreadable:
            self._state.raise_alarm(
                "unreadable",
                _("rows of the PBX's list that could not be parsed: {count}", count=totals.unreadable),
                _("they are stored: `onhook quarantine list` shows the reasons"),
            )
        else:
            self._state.end_alarm("unreadable")
        proven_interval = interval_from_comparison(_build_comparison(progress, totals))
        self._state.save_intervals(intervals if proven_interval is None else add_interval(intervals, proven_interval))

    async def _compare_days(self, progress: BackfillProgress, facts: SystemFacts) -> None:
        """Compare the PBX's count with the store, for each whole day that was read."""
        first_day = _to_datetime(progress.requested_since).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
        last_second = (
            progress.started_at
            if progress.requested_until is None
            else min(progress.started_at, progress.requested_until)
        )
        today = _to_datetime(last_second).replace(hour=0, minute=0, second=0, microsecond=0)
        days = [first_day + day_number * _DAY for day_number in range((today - first_day).days)][-COMPARED_DAYS_MAX:]
        differences = 0
        for day in days:
            window = TimeWindow(since=round(day.timestamp()), until=round((day + _DAY).timestamp()) - 1)
            pbx_count, local_count = (
                await self._backfill_source.count_records(window, facts),
                await self._state.count_records(day, day + _DAY),
            )
            if pbx_count is not None and pbx_count > local_count:
                differences += 1
                reason = _(
                    "the PBX counts {pbx_count} records that began on {day} UTC, Onhook has {local_count}",
                    pbx_count=pbx_count,
                    day=f"{day:%Y-%m-%d}",
                    local_count=local_count,
                )
                self._state.save_intervals(
                    add_interval(self._state.intervals(), Interval(day, day + _DAY, "gap", reason))
                )
                self._state.raise_alarm("difference", reason, _("run `onhook backfill NAME`"))
        if not differences:
            self._state.end_alarm("difference")

    def _save_facts(self, facts: SystemFacts) -> None:
        """Store the system information; raise alarms about a wrong clock or another time zone."""
        now = round(self._access.now())
        skew = None if facts.clock is None else facts.clock - now
        previous_status = self._state.pbx_status()
        self._check_clock(skew)
        self._check_zone(facts.offset_seconds, None if previous_status is None else previous_status.offset_seconds)
        pbx_status = PbxStatus(
            checked_at=now, firmware=facts.firmware, skew_seconds=skew, offset_seconds=facts.offset_seconds
        )
        self._state.save_pbx_status(pbx_status)

    def _check_clock(self, skew: int | None) -> None:
        if skew is None:
            return
        if abs(skew) <= CLOCK_SKEW_SECONDS_MAX:
            self._state.end_alarm("clock")
            return
        difference = timedelta(seconds=abs(skew))
        self._state.raise_alarm(
            "clock",
            _("the PBX's clock is {difference} ahead of this server's", difference=difference)
            if skew > 0
            else _("the PBX's clock is {difference} behind this server's", difference=difference),
            _("set the time of the PBX, preferably by NTP; the times of its calls are shifted by as much"),
        )

    def _check_zone(self, offset: int | None, previous_offset: int | None) -> None:
        expected = self._state.expected_offset_seconds(self._now())
        if offset is None:
            return
        if expected is not None and offset != expected:
            detail = _(
                "the PBX's local time is {offset} from UTC, but its configured zone is {expected}",
                offset=_format_offset(offset),
                expected=_format_offset(expected),
            )
        elif (
            expected is None
            and previous_offset is not None
            and abs(offset - previous_offset) not in (0, DST_SHIFT_SECONDS)
        ):
            detail = _(
                "the PBX's local time moved from {previous} to {offset} from UTC",
                previous=_format_offset(previous_offset),
                offset=_format_offset(offset),
            )
        else:
            self._state.end_alarm("zone")
            return
        self._state.raise_alarm("zone", detail, _("set the PBX's zone, or run `onhook pbx change NAME --zone ZONE`"))


def build_backfill_result(request: BackfillRequest, totals: BackfillTotals) -> BackfillResult:
    """Return the result of a requested back-fill."""
    return BackfillResult(
        requested_at=request.requested_at,
        rows=totals.rows,
        new=totals.new,
        changed=totals.changed,
        same=totals.same,
        unreadable=totals.unreadable,
        incomplete_reason=totals.incomplete_reason,
    )


def _build_comparison(progress: BackfillProgress, totals: BackfillTotals) -> CdrComparison:
    """Return the comparison of the requested time, as far as the source reaches."""
    since = progress.requested_since
    if totals.reach_since is not None:
        since = max(since, totals.reach_since - CALL_SECONDS_MAX)
    ends = [end for end in (progress.requested_until, totals.reach_until) if end is not None]
    return CdrComparison(
        since=_to_datetime(since),
        started_at=_to_datetime(progress.started_at),
        until=_to_datetime(min(ends)) if ends else None,
        incomplete_reason=totals.incomplete_reason,
    )


def _format_offset(seconds: int) -> str:
    """Return an offset in hours and minutes.

    >>> _format_offset(10800), _format_offset(-12600)
    ('+3:00', '-3:30')
    """
    hours, remainder = divmod(abs(seconds), 3600)
    return f"{'-' if seconds < 0 else '+'}{hours}:{remainder // 60:02}"


def _to_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
