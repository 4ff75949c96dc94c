"""Claimed coverage is only what was compared, and is true at every moment.

The simulation runs days of a PBX with a lossy channel, a failing API and a wrong clock.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from aiohttp import web

from onhook.cdr.coverage import CALL_SECONDS_MAX, SETTLE_SECONDS, CoverageState, Interval
from onhook.cdr.sync_types import BackfillProgress
from onhook.lib.errors import OnhookError
from onhook.pbx.yeastar.rows import RowContext, wrap_row
from onhook.sync import pbx_session
from onhook.sync.contract import BackfillTotals
from onhook.sync.coverage_claims import (
    CONNECTED_SAVE_SECONDS,
    ConnectedTime,
    build_comparison,
    claim_coverage,
    has_open_gap,
)
from tests import counts
from tests.pbx.yeastar.lists import NOON, SN, row
from tests.sync.harness import MemorySyncState, SyncHarness, open_sync_harness
from tests.sync.pbx_responder import PbxResponder, json_response, open_pbx_responder

HOUR = 3600
DAY = 24 * HOUR
STEPS = 36
"""Of four hours each: six days."""


class PbxSimulation:
    """Calls that end while time passes; `ended` has their true end times and ids."""

    def __init__(self, seed: int, responder: PbxResponder, receiver: SyncHarness) -> None:
        self.random = Random(seed)
        self.responder = responder
        self.receiver = receiver
        self.skew = 0
        self.ended: list[tuple[float, str]] = []

    async def pass_time(self, seconds: int) -> None:
        """Let time pass: calls end, and are in the PBX's list from then on; some are pushed, some of these are lost."""
        before = NOON + self.receiver.clock.offset_seconds
        self.receiver.clock.offset_seconds += seconds
        for number in range(self.random.randrange(5)):
            ended_at = before + self.random.uniform(0, seconds)
            duration = self.random.choice([20, 300, HOUR, 20 * HOUR])
            call_row = row(round(ended_at - duration) + self.skew, len(self.ended) + number, duration=duration)
            self.ended.append((ended_at, call_row["call_id"]))
            self.responder.calls.rows.append(call_row)
            if self.random.random() < 0.7:
                await self._push(call_row)
        self.responder.information["timestamp"] = round(NOON + self.receiver.clock.offset_seconds) + self.skew

    async def _push(self, call_row: dict[str, Any]) -> None:
        body = wrap_row(msgspec.json.encode(call_row), RowContext(sn=SN))
        await self.receiver.ingestor.ingest(self.receiver.pbx, body, "websocket")

    async def fail_now_and_then(self, request: web.Request) -> web.StreamResponse | None:
        is_failing = "cdr" in request.path and self.random.random() < 0.15
        return json_response(errcode=-2, errmsg="INTERNAL SERVER ERROR") if is_failing else None

    async def check(self) -> int:
        """Check that every call that ended in complete time is stored; return the number of such calls."""
        stored_ids = {record.call_id for record in (await self.receiver.call_lookup.records()).values()}
        claimed = 0
        for interval in self.receiver.state.saved_intervals:
            if interval.state == "complete":
                call_ids = [
                    call_id
                    for ended_at, call_id in self.ended
                    if interval.since <= to_datetime(ended_at) < interval.until
                ]
                assert set(call_ids) <= stored_ids, f"{interval} is claimed, but a call is missing"
                claimed += len(call_ids)
        return claimed


def to_datetime(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def complete_progress(until: int | None = None) -> BackfillProgress:
    """Return the progress of a back-fill of the last four days."""
    return BackfillProgress(
        since=0, until=0, done_until=0, started_at=NOON, requested_since=NOON - 4 * DAY, requested_until=until
    )


def interval(since: int, until: int, state: CoverageState, reason: str = "") -> Interval:
    """Return an interval between these seconds from noon."""
    return Interval(to_datetime(NOON + since), to_datetime(NOON + until), state, reason)


def list_claims(intervals: Sequence[Interval]) -> list[tuple[float, float, str]]:
    """Return the intervals as seconds from noon, and their state."""
    return [(claim.since.timestamp() - NOON, claim.until.timestamp() - NOON, claim.state) for claim in intervals]


def test_build_comparison_whole_list_is_the_requested_time() -> None:
    comparison = build_comparison(complete_progress(), BackfillTotals(incomplete_reason="a row is missing"))
    assert (comparison.since, comparison.until) == (to_datetime(NOON - 4 * DAY), None)
    assert (comparison.started_at, comparison.incomplete_reason) == (to_datetime(NOON), "a row is missing")


def test_build_comparison_source_that_ends_early_is_limited_to_its_reach() -> None:
    totals = BackfillTotals(reach_since=NOON - 2 * DAY, reach_until=NOON - 2 * HOUR)
    comparison = build_comparison(complete_progress(NOON - HOUR), totals)
    assert comparison.since == to_datetime(NOON - 2 * DAY - CALL_SECONDS_MAX)
    assert comparison.until == to_datetime(NOON - 2 * HOUR)
    comparison = build_comparison(complete_progress(NOON - 3 * HOUR), totals)
    assert comparison.until == to_datetime(NOON - 3 * HOUR)


def test_claim_coverage_compared_time_is_complete() -> None:
    claims = claim_coverage([], complete_progress(), BackfillTotals())
    assert list_claims(claims) == [(CALL_SECONDS_MAX - 4 * DAY, -SETTLE_SECONDS, "complete")]


def test_claim_coverage_incomplete_list_is_a_gap() -> None:
    (gap,) = claim_coverage([], complete_progress(), BackfillTotals(incomplete_reason="a row is missing"))
    assert (gap.state, gap.reason) == ("gap", "a row is missing")


def test_claim_coverage_missed_calls_revoke_the_connected_time() -> None:
    """Also outside of the compared time."""
    connected = [interval(-9 * DAY, -8 * DAY, "connected"), interval(-5 * DAY, -4 * DAY, "complete")]
    unchanged_claims = claim_coverage(connected, complete_progress(), BackfillTotals())
    assert [claim.state for claim in unchanged_claims] == ["connected", "complete", "complete"]
    claims = claim_coverage(connected, complete_progress(), BackfillTotals(missed=1))
    assert [claim.state for claim in claims] == ["gap", "complete", "complete"]


def test_claim_coverage_window_that_proves_nothing_changes_nothing() -> None:
    """A call that ended in a window of less than a day may have begun before it."""
    progress = msgspec.structs.replace(complete_progress(), requested_since=NOON - HOUR)
    known_intervals = [interval(-HOUR, 0, "connected")]
    assert claim_coverage(known_intervals, progress, BackfillTotals()) == known_intervals


@pytest.mark.parametrize(
    ("intervals", "reach_until", "is_open"),
    [
        ([interval(-HOUR, 0, "gap")], None, False),
        ([interval(-HOUR, 0, "gap")], NOON, True),
        ([interval(-2 * HOUR, -HOUR, "complete"), interval(-HOUR, 0, "gap")], NOON, True),
        ([interval(-2 * HOUR, -HOUR, "gap"), interval(-HOUR, 0, "complete")], NOON, False),
        ([interval(-HOUR, 0, "connected")], NOON, False),
    ],
    ids=["whole list", "nothing compared", "gap after", "gap before", "no gap"],
)
def test_has_open_gap_gap_after_the_reach_is_open(
    intervals: list[Interval], reach_until: int | None, is_open: bool
) -> None:
    assert has_open_gap(intervals, BackfillTotals(reach_until=reach_until)) is is_open


class ConnectedHarness:
    """Connected time of a channel, with a clock that a test moves."""

    def __init__(self) -> None:
        self.state = MemorySyncState()
        self.current_time = float(NOON)
        self.connected_time = ConnectedTime(self.state, lambda: self.current_time)

    def claims(self) -> list[tuple[float, float, str]]:
        return list_claims(self.state.saved_intervals)


async def test_connected_time_is_stored_at_intervals() -> None:
    """Each write costs an fsync."""
    harness = ConnectedHarness()
    await harness.connected_time.extend(NOON, NOON + 30)
    await harness.connected_time.extend(NOON, NOON + 60)
    assert harness.claims() == [(0, 30, "connected")]
    harness.current_time += CONNECTED_SAVE_SECONDS
    await harness.connected_time.extend(NOON, NOON + 300)
    assert harness.claims() == [(0, 300, "connected")]


async def test_connected_time_of_a_lost_channel_is_stored_before_the_next() -> None:
    harness = ConnectedHarness()
    await harness.connected_time.extend(NOON, NOON)
    await harness.connected_time.extend(NOON, NOON + 60)
    await harness.connected_time.extend(NOON + 100, NOON + 100)
    assert harness.claims() == [(0, 60, "connected")]


async def test_connected_time_save_without_a_channel_stores_nothing() -> None:
    harness = ConnectedHarness()
    await harness.connected_time.save()
    assert harness.claims() == []


@pytest.mark.slow
@pytest.mark.parametrize("seed", counts.seeds(8))
async def test_coverage_no_claim_is_false_at_any_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """After every step of six days, in which the PBX's clock is set twice."""
    monkeypatch.setattr(pbx_session, "ATTEMPTS_MAX", 1)
    async with open_pbx_responder() as responder, open_sync_harness(tmp_path, responder, rows_max=20) as receiver:
        simulation = PbxSimulation(seed, responder, receiver)
        responder.override_response = simulation.fail_now_and_then
        claimed = 0
        for step in range(STEPS):
            simulation.skew = {STEPS // 3: 5400, 2 * STEPS // 3: -900}.get(step, simulation.skew)
            await simulation.pass_time(4 * HOUR)
            if simulation.random.random() < 0.7:
                with suppress(OnhookError):
                    await receiver.pbx_sync.run_cycle(is_nightly=step % 6 == 0)
            claimed = await simulation.check()
        assert claimed > STEPS / 2
