"""Looks after one PBX that can be asked: keeps its push channel open, fills gaps, and knows what is surely complete.

Laws: gaps are filled at the start, after each reconnect, every hour, and every night for the last three days. Nothing
is claimed that was not compared. What goes wrong with this PBX stays here, and a person is told once.
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
from onhook.pbx.client import Facts, Window
from onhook.sync.api_backfill import BackfillProgressCallback as TellFound
from onhook.sync.api_backfill import BackfillTotals
from onhook.sync.sync_schedule import FIRST_SYNC_DAYS, SYNC_DAYS, pause_seconds

CONNECTED_SAVE_SECONDS = 300.0
"""How often what the channel has proven is written down: each time is a sync of the disk, for each PBX."""

UNREACHABLE_SECONDS = 300.0
"""A PBX that cannot be reached for so long is more than a restart or an upgrade of it."""

CLOCK_SKEW_SECONDS_MAX = 60
"""How far a PBX's clock may be from ours before a person should know: its ids bear as much (PROTOCOL.md 2.3)."""

DST_SHIFT_SECONDS = 3600
"""A wall clock that moved by this has begun or ended summer time."""

WINDOW_AHEAD_SECONDS = 86_400
"""Windows reach so far into the future: nothing ends there, and a clock that is ahead hides nothing."""

COMPARED_DAYS_MAX = 62
"""In one go: one question each."""

_DAY = timedelta(days=1)


SyncProgressCallback = Callable[[BackfillTotals, Window], None]
"""Is told what was found so far, in which window."""


class PbxAccess(Protocol):
    """What a PBX is asked through: an account at its API, or what it keeps itself."""

    kinds: Sequence[AlarmKind]
    """The alarms that begin where it cannot be asked, and are over where it can; the first where nothing is said."""

    @property
    def trouble(self) -> AlarmKind | Literal[""]:
        """Which of them it is now, or empty."""
        ...

    def now(self) -> float:
        """Unix seconds."""
        ...


class BackfillSource(Protocol):
    """What fills gaps: `backfill.Filler` asks a PBX, `archived.ArchiveFiller` reads an archive."""

    async def facts(self) -> Facts:
        """What the PBX tells of itself. Raises `OnhookError`."""
        ...

    async def fill(self, window: Window, facts: Facts, *, missed: Window, tell: TellFound) -> BackfillTotals:
        """Keep the calls that began in a window and are not here. Raises `OnhookError`."""
        ...

    async def count(self, window: Window, facts: Facts) -> int | None:
        """How many records began in a window, where that can be told. Raises `OnhookError`."""
        ...


class SyncState(Protocol):
    """What is kept of one PBX, and whoever is told of it."""

    def stretches(self) -> list[Interval]: ...

    def keep_stretches(self, stretches: Sequence[Interval]) -> None: ...

    def contact(self) -> PbxStatus | None: ...

    def keep_contact(self, contact: PbxStatus) -> None: ...

    def progress(self) -> BackfillProgress | None: ...

    def keep_progress(self, progress: BackfillProgress | None) -> None: ...

    def wish(self) -> BackfillRequest | None:
        """The back-fill that a person asked for and that is not done, or None."""
        ...

    def end_wish(self, outcome: BackfillResult) -> None:
        """It is done, and this is how."""
        ...

    def sound(self, kind: AlarmKind, what: str, todo: str) -> None:
        """Begin an alarm, or note that it goes on."""
        ...

    def end(self, kind: AlarmKind) -> None:
        """An alarm is over, if there was one."""
        ...

    def expected_offset_seconds(self, at: datetime) -> int | None:
        """What the zone that people set for this PBX says of its wall clock; None where they set none."""
        ...

    async def count(self, since: datetime, until: datetime) -> int:
        """How many records here began in that time."""
        ...


class PbxSync:
    """One PBX's rounds. `declared_at` (Unix seconds) is since when its push channel should tell us everything."""

    def __init__(
        self,
        *,
        account: PbxAccess,
        filler: BackfillSource,
        notes: SyncState,
        declared_at: float,
        chance: Callable[[], float],
    ) -> None:
        self._account = account
        self._filler = filler
        self._notes = notes
        self._declared_at = declared_at
        self._chance = chance
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._heard: tuple[float, float] | None = None
        self._heard_kept_at = 0.0
        self._failing_since: float | None = None

    async def run(self) -> None:
        """Make rounds for ever. Ends by cancellation only, and then writes down what was heard."""
        nightly_at = self._account.now()
        failures = 0
        try:
            while True:
                self._wanted.clear()
                now = self._account.now()
                is_nightly = now >= nightly_at
                try:
                    await self.grant_wish()
                    totals = await self.make_round(is_nightly=is_nightly)
                    nightly_at = now + pause_seconds(now, is_nightly=True) if is_nightly else nightly_at
                    failures = failures + 1 if self.waits_for_more(totals) else 0
                    self._is_well()
                except OnhookError as error:
                    self.has_failed(error)
                    failures += 1
                pause = pause_seconds(self._account.now(), failures=failures) * (0.9 + 0.1 * self._chance())
                await self._wanted_or(pause)
        finally:
            self._keep_heard()

    def look_for_wish(self) -> None:
        """What people set has changed: where they asked for a back-fill, it is begun soon."""
        if self._notes.wish() is not None:
            self._wanted.set()

    async def grant_wish(self, tell: SyncProgressCallback = lambda found, window: None) -> BackfillResult | None:
        """Do the back-fill that a person asked for, if one did; how it ended is kept too."""
        request = self._notes.wish()
        if request is None:
            return None
        try:
            until = None if request.until is None else _to_datetime(request.until)
            totals = await self.fill(_to_datetime(request.since), until, compares_days=True, tell=tell)
        except OnhookError as error:
            result = BackfillResult(asked_at=request.asked_at, error=str(error))
        else:
            result = build_backfill_result(request, totals)
        self._notes.end_wish(result)
        return result

    async def make_round(self, *, is_nightly: bool) -> BackfillTotals:
        """Fill what is open of the last days, and compare. Raises `OnhookError`; what was done until then is kept."""
        now = self._now()
        intervals = self._notes.stretches()
        days = FIRST_SYNC_DAYS if complete_until(intervals) is None else SYNC_DAYS
        horizon = now - days * _DAY
        since = horizon - timedelta(seconds=CALL_SECONDS_MAX) if is_nightly else query_start(intervals, horizon, now)
        return await self.fill(since, compares_days=is_nightly)

    async def fill(
        self,
        since: datetime,
        until: datetime | None = None,
        *,
        compares_days: bool,
        tell: SyncProgressCallback = lambda found, window: None,
    ) -> BackfillTotals:
        """Read the PBX's list of calls that began from `since` on, up to `until` or now. Raises `OnhookError`.

        One that was begun before and asks for as much is gone on with. `tell` is told how far it has come.
        """
        async with self._turn:
            facts = await self._filler.facts()
            previous_status = self._notes.contact()
            self._meet(facts)
            resumed_progress = self._to_go_on_with(since, until)
            progress = resumed_progress or self._new_progress(since, until, facts, previous_status)
            self._notes.keep_progress(progress)
            window = Window(since=progress.done_until, until=progress.until)

            def save_progress(found: BackfillTotals) -> None:
                self._notes.keep_progress(msgspec.structs.replace(progress, done_until=found.done_until))
                tell(found, window)

            negative_skew = min(0, self._skew())
            missed_window = Window(
                since=round(self._declared_at), until=progress.asked_at + negative_skew - CLOCK_SKEW_SECONDS_MAX
            )
            totals = await self._filler.fill(window, facts, missed=missed_window, tell=save_progress)
            self._notes.keep_progress(None)
            self._conclude(progress, totals)
            if compares_days:
                await self._compare_days(progress, facts)
            if resumed_progress is not None:
                self._wanted.set()  # what ended since it was begun is still to be asked for
            return totals

    def waits_for_more(self, found: BackfillTotals) -> bool:
        """Whether an archive has not come to the end of a known gap yet: its next call closes it."""
        if found.reach_until is None:
            return False
        intervals = self._notes.stretches()
        compared_until = complete_until(intervals)
        return any(
            interval.state == "gap" and (compared_until is None or interval.until > compared_until)
            for interval in intervals
        )

    # ------------------------------------------------------------ called by the push channel

    def is_heard(self, since: float, until: float) -> None:
        """The channel was proven to deliver between these moments."""
        is_same = self._heard is not None and self._heard[0] == since
        if not is_same:
            self._keep_heard()
        self._heard = (since, until)
        if self._account.now() - self._heard_kept_at >= CONNECTED_SAVE_SECONDS:
            self._keep_heard()

    def has_connected(self) -> None:
        """A channel stands again: what was missed meanwhile is fetched."""
        self._is_well()
        self._wanted.set()

    def has_failed(self, error: OnhookError) -> None:
        """The PBX cannot be talked to: a person is told at once where only a person can help, else after a while."""
        now = self._account.now()
        self._failing_since = now if self._failing_since is None else self._failing_since
        kind = self._account.trouble or self._account.kinds[0]
        if isinstance(error, NotAllowed) or kind == "certificate":
            self._notes.sound(
                "certificate" if kind == "certificate" else "credentials", str(error), "`onhook doctor` with its name"
            )
        elif now - self._failing_since >= UNREACHABLE_SECONDS:
            self._notes.sound(kind, str(error), "`onhook doctor` with its name says what stands in the way")

    # ------------------------------------------------------------ ours

    def _is_well(self) -> None:
        """The PBX can be talked to."""
        self._failing_since = None
        for kind in self._account.kinds:
            self._notes.end(kind)

    async def _wanted_or(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._wanted.wait()
        except TimeoutError:
            return

    def _now(self) -> datetime:
        return _to_datetime(self._account.now())

    def _keep_heard(self) -> None:
        """Write down what the channel has proven since it was last written down."""
        if self._heard is None or self._heard[0] >= self._heard[1]:
            return
        since, until = map(_to_datetime, self._heard)
        interval = Interval(since, until, "heard", "the push channel was alive")
        self._notes.keep_stretches(add_interval(self._notes.stretches(), interval))
        self._heard_kept_at = self._account.now()

    def _to_go_on_with(self, since: datetime, until: datetime | None) -> BackfillProgress | None:
        """A back-fill that was begun and not ended, where it asks for as much."""
        progress = self._notes.progress()
        if progress is None or progress.from_us > since.timestamp():
            return None
        covers_request = progress.to_us is None or (until is not None and until.timestamp() <= progress.to_us)
        return progress if covers_request else None

    def _new_progress(
        self, since: datetime, until: datetime | None, facts: Facts, before: PbxStatus | None
    ) -> BackfillProgress:
        """By the PBX's clock, and where that has moved, by both."""
        now = round(self._account.now())
        skews = [0, 0 if facts.clock is None else facts.clock - now]
        skews += [before.skew_seconds] if before is not None and before.skew_seconds is not None else []
        start, end = round(since.timestamp()), now + WINDOW_AHEAD_SECONDS if until is None else round(until.timestamp())
        return BackfillProgress(
            since=start + min(skews),
            until=end + max(skews),
            done_until=start + min(skews),
            asked_at=now,
            from_us=start,
            to_us=None if until is None else end,
        )

    def _skew(self) -> int:
        pbx_status = self._notes.contact()
        return 0 if pbx_status is None or pbx_status.skew_seconds is None else pbx_status.skew_seconds

    def _conclude(self, progress: BackfillProgress, found: BackfillTotals) -> None:
        """Claim what was compared, and tell what was found out."""
        intervals = self._notes.stretches()
        if found.missed:
            self._notes.sound(
                "missed",
                f"the PBX's list had {found.missed} records of ended calls that the push channel had not told of",
                "they are here now; look whether the PBX can reach the intake, and `onhook coverage` for when",
            )
            intervals = invalidate_connected(intervals, "the push channel was alive, and lost calls")
        else:
            self._notes.end("missed")
        if found.unreadable:
            self._notes.sound(
                "unreadable",
                f"{found.unreadable} rows of the PBX's list could not be read",
                "they are kept: `onhook quarantine list` says why",
            )
        else:
            self._notes.end("unreadable")
        proven_interval = interval_from_comparison(_build_comparison(progress, found))
        self._notes.keep_stretches(intervals if proven_interval is None else add_interval(intervals, proven_interval))

    async def _compare_days(self, progress: BackfillProgress, facts: Facts) -> None:
        """Of each whole day that was read, what the PBX counts and what is here."""
        first_day = _to_datetime(progress.from_us).replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
        last_second = progress.asked_at if progress.to_us is None else min(progress.asked_at, progress.to_us)
        today = _to_datetime(last_second).replace(hour=0, minute=0, second=0, microsecond=0)
        days = [first_day + day_number * _DAY for day_number in range((today - first_day).days)][-COMPARED_DAYS_MAX:]
        differences = 0
        for day in days:
            window = Window(since=round(day.timestamp()), until=round((day + _DAY).timestamp()) - 1)
            pbx_count, local_count = await self._filler.count(window, facts), await self._notes.count(day, day + _DAY)
            if pbx_count is not None and pbx_count > local_count:
                differences += 1
                reason = f"the PBX counts {pbx_count} records that began on {day:%Y-%m-%d} UTC, here are {local_count}"
                self._notes.keep_stretches(
                    add_interval(self._notes.stretches(), Interval(day, day + _DAY, "gap", reason))
                )
                self._notes.sound("difference", reason, "`onhook backfill` with its name asks for them again")
        if not differences:
            self._notes.end("difference")

    def _meet(self, facts: Facts) -> None:
        """Note what the PBX tells of itself; tell of a clock that is wrong and of a zone that is another."""
        now = round(self._account.now())
        skew = None if facts.clock is None else facts.clock - now
        previous_status = self._notes.contact()
        self._look_at_clock(skew)
        self._look_at_zone(facts.offset_seconds, None if previous_status is None else previous_status.offset_seconds)
        pbx_status = PbxStatus(at=now, firmware=facts.firmware, skew_seconds=skew, offset_seconds=facts.offset_seconds)
        self._notes.keep_contact(pbx_status)

    def _look_at_clock(self, skew: int | None) -> None:
        if skew is None:
            return
        if abs(skew) <= CLOCK_SKEW_SECONDS_MAX:
            self._notes.end("clock")
            return
        side = "ahead of" if skew > 0 else "behind"
        self._notes.sound(
            "clock",
            f"the PBX's clock is {timedelta(seconds=abs(skew))} {side} ours",
            "set the time of the PBX, best by NTP; the times of its calls are shifted by as much",
        )

    def _look_at_zone(self, offset: int | None, before: int | None) -> None:
        expected = self._notes.expected_offset_seconds(self._now())
        if offset is None:
            return
        if expected is not None and offset != expected:
            detail = (
                f"the PBX's wall clock is {_format_offset(offset)} from UTC,"
                f" and its zone here says {_format_offset(expected)}"
            )
        elif expected is None and before is not None and abs(offset - before) not in (0, DST_SHIFT_SECONDS):
            detail = f"the PBX's wall clock moved from {_format_offset(before)} to {_format_offset(offset)} from UTC"
        else:
            self._notes.end("zone")
            return
        self._notes.sound("zone", detail, "set the zone of the PBX, or `onhook pbx change NAME --zone ZONE`")


def build_backfill_result(wish: BackfillRequest, found: BackfillTotals) -> BackfillResult:
    """How the back-fill ended that a person asked for."""
    return BackfillResult(
        asked_at=wish.asked_at,
        rows=found.rows,
        new=found.new,
        changed=found.changed,
        same=found.same,
        unreadable=found.unreadable,
        trouble=found.trouble,
    )


def _build_comparison(progress: BackfillProgress, found: BackfillTotals) -> CdrComparison:
    """What was wanted, as far as what was read reaches."""
    since = progress.from_us
    if found.reach_since is not None:
        since = max(since, found.reach_since - CALL_SECONDS_MAX)
    ends = [end for end in (progress.to_us, found.reach_until) if end is not None]
    return CdrComparison(
        since=_to_datetime(since),
        asked_at=_to_datetime(progress.asked_at),
        until=_to_datetime(min(ends)) if ends else None,
        trouble=found.trouble,
    )


def _format_offset(seconds: int) -> str:
    """An offset as people write it.

    >>> _format_offset(10800), _format_offset(-12600)
    ('+3:00', '-3:30')
    """
    hours, remainder = divmod(abs(seconds), 3600)
    return f"{'-' if seconds < 0 else '+'}{hours}:{remainder // 60:02}"


def _to_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
