"""Claimed coverage is true at every moment: days of a PBX with a lossy channel, a failing API and a wrong clock."""

from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from aiohttp import web

from onhook.lib.errors import OnhookError
from onhook.pbx.yeastar.rows import RowContext, wrap_row
from onhook.sync import pbx_session
from tests import counts
from tests.pbx.yeastar.lists import NOON, SN, row
from tests.sync.harness import SyncHarness, open_sync_harness
from tests.sync.pbx_responder import PbxResponder, json_response, open_pbx_responder

HOUR = 3600
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
