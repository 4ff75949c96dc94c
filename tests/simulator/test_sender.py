"""Posting like a PBX, over real sockets to a real HTTP server."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import record_id, record_key
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.lib.signing import SIGNATURE_HEADER, is_signed_by
from onhook.pbx.yeastar.payload import PAYLOAD_FORMATS, Yeastar
from onhook.simulator.fault_injection import Faults
from onhook.simulator.office_plan import SimulationPlan, SimulationResult
from onhook.simulator.sender import simulate

SN, SECRET = "3631A2124XXX", "0123456789abcdefghijABCDEFGHIJ01"
NOW = datetime(2026, 6, 3, 10, 30, tzinfo=UTC)
Answer = Callable[[int], int]


class FixedClock:
    """Clock that stands still."""

    def microseconds(self) -> int:
        return int(NOW.timestamp() * 1_000_000)

    def now(self) -> datetime:
        return NOW


class Receiver:
    """Accepts events; `answer` gives the status for the nth request."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.url = ""
        self.bodies: list[bytes] = []
        self.signatures: list[str] = []
        self.peers: list[tuple[str, int]] = []
        self.open = 0
        self.open_max = 0

    async def handle_event(self, request: web.Request) -> web.Response:
        self.open += 1
        self.open_max = max(self.open_max, self.open)
        self.bodies.append(await request.read())
        self.signatures.append(request.headers.get(SIGNATURE_HEADER, ""))
        assert request.transport is not None
        self.peers.append(request.transport.get_extra_info("peername"))
        await asyncio.sleep(0)
        self.open -= 1
        return web.Response(status=self.answer(len(self.bodies)))

    def details(self) -> list[CallDetails]:
        return [Yeastar().parse(body)[0] for body in self.bodies]

    def record_ids(self) -> list[str]:
        return [record_id(record_key(SN, details)) for details in self.details()]


@asynccontextmanager
async def open_receiver(answer: Answer = lambda _: 200) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer)
    server = web.AppRunner(app := web.Application())
    app.router.add_post("/{path:.*}", receiver.handle_event)
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{server.addresses[0][1]}/webhook"
    try:
        yield receiver
    finally:
        await server.cleanup()


def plan(url: str, **changes: Any) -> SimulationPlan:
    return SimulationPlan(
        **{"url": url, "sn": SN, "secret": SECRET, "rate": None, "count": 40, "retry_seconds": 0, **changes}
    )


@pytest.mark.parametrize("profile", sorted(PAYLOAD_FORMATS))
async def test_sender_every_event_is_signed_and_can_be_parsed(profile: str) -> None:
    """With the PBX's secret, for every payload format."""
    async with open_receiver() as receiver:
        result = await simulate(plan(receiver.url, payload_format=profile), FixedClock())
    assert (result.records, result.requests, result.acknowledged, result.failed) == (40, 40, 40, 0)
    pairs = zip(receiver.bodies, receiver.signatures, strict=True)
    assert all(is_signed_by([SECRET], body, signature) for body, signature in pairs)
    assert len(set(receiver.record_ids())) == 40
    assert {Yeastar().peek(body).sn for body in receiver.bodies} == {SN}


async def test_sender_without_a_secret_signs_nothing() -> None:
    async with open_receiver() as receiver:
        await simulate(plan(receiver.url, secret="", count=3), FixedClock())
    assert receiver.signatures == ["", "", ""]


async def test_sender_each_event_has_its_own_connection() -> None:
    """As with PBXs: no connection is used twice, and never more are open than the plan allows."""
    async with open_receiver() as receiver:
        await simulate(plan(receiver.url, connections=4), FixedClock())
    assert len(set(receiver.peers)) == 40
    assert receiver.open_max <= 4


async def test_sender_event_is_retried_with_the_same_bytes() -> None:
    """After any response but 2xx, until the attempts are used up or the receiver accepted the event."""
    async with open_receiver(lambda n: 200 if n % 3 == 0 else 503) as receiver:
        result = await simulate(plan(receiver.url, count=5, max_attempts=3, connections=1), FixedClock())
    assert sorted(Counter(receiver.bodies).values()) == [3] * 5
    assert (result.acknowledged, result.responses) == (5, {"200": 5, "503": 10})


@pytest.mark.parametrize("status", [400, 401, 302, 500])
async def test_sender_after_the_last_attempt_the_event_has_failed(status: int) -> None:
    """Errors and redirects alike: two attempts, then the next event."""
    async with open_receiver(lambda _: status) as receiver:
        result = await simulate(plan(receiver.url, count=3, max_attempts=2), FixedClock())
    assert (result.requests, result.acknowledged, result.failed) == (6, 0, 3)
    assert result.responses == {str(status): 6}


async def test_sender_refused_connection_is_no_response() -> None:
    """Counted like any other failed attempt."""
    async with open_receiver() as receiver:
        url = receiver.url
    result = await simulate(plan(url, count=2, max_attempts=2), FixedClock())
    assert (result.responses, result.failed) == ({"no response": 4}, 2)


async def test_sender_late_response_is_no_response() -> None:
    """The PBX disconnects after the time-out."""
    disconnected = asyncio.Event()

    async def never_respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()
        disconnected.set()

    async with await asyncio.start_server(never_respond, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        result = await simulate(plan(url, count=1, max_attempts=1, timeout_seconds=0.1), FixedClock())
        await disconnected.wait()
    assert (result.responses, result.failed) == ({"no response": 1}, 1)


async def test_sender_files_prove_what_was_made_and_acknowledged(tmp_path: Path) -> None:
    """Truth minus lost, malformed and failed is exactly what is recorded as acknowledged, and what the
    receiver accepted.
    """
    truth, acked = tmp_path / "truth.jsonl", tmp_path / "acked"
    faults = Faults(late=0.1, duplicated=0.3, lost=0.2, malformed=0.1, reordered=5)
    async with open_receiver(lambda n: 503 if n % 7 == 0 else 200) as receiver:
        result = await simulate(
            plan(receiver.url, count=300, max_attempts=1, faults=faults, truth_path=truth, acked_path=acked),
            FixedClock(),
        )
    generated = [msgspec.json.decode(line) for line in truth.read_bytes().splitlines()]
    acked_ids = acked.read_text().splitlines()
    assert len(generated) == len({record["record_id"] for record in generated}) == result.records == 300
    assert len(acked_ids) == len(set(acked_ids)) == result.acknowledged
    assert set(acked_ids) < {
        record["record_id"] for record in generated if not {"lost", "malformed"} & set(record["faults"])
    }
    assert result.lost == sum("lost" in record["faults"] for record in generated) > 0
    assert result.records == result.lost + result.acknowledged + result.malformed + result.failed
    assert result.requests == len(receiver.bodies) == result.records - result.lost + result.repeats
    assert min(result.malformed, result.failed, result.repeats) > 0


async def test_sender_history_comes_first_and_live_calls_end_now() -> None:
    """After the history each further call ends at the moment at which it is reported."""
    async with open_receiver() as receiver:
        await simulate(plan(receiver.url, history_calls=20, count=100, connections=1), FixedClock())
    ends = {details.call_id: NOW - timedelta(days=1) for details in receiver.details()}
    for details in receiver.details():
        end = datetime.fromtimestamp(int(details.call_id.partition(".")[0]), UTC)
        drift = datetime.fromisoformat(details.time_start) - datetime.strptime(details.uid[:14], "%Y%m%d%H%M%S")  # noqa: DTZ007
        ends[details.call_id] = max(ends[details.call_id], end + drift + timedelta(seconds=details.call_duration or 0))
    past, live = list(ends.values())[:20], list(ends.values())[20:-1]  # the last call is cut short by the count
    assert all(end <= NOW for end in past)
    assert min(past) < NOW - timedelta(minutes=5)
    assert set(live) == {NOW}


async def test_sender_history_without_a_count_ends_now() -> None:
    """All calls since the start that have ended are sent, at full speed."""
    async with open_receiver() as receiver:
        result = await simulate(plan(receiver.url, start=NOW - timedelta(days=1), count=None), FixedClock())
    calls = {details.call_id for details in receiver.details()}
    assert 100 < len(calls) < 400
    assert result.acknowledged == result.records
    assert all((NOW - timedelta(days=1)).timestamp() <= float(call_id) <= NOW.timestamp() for call_id in calls)


async def test_sender_history_with_a_count_ends_now_too() -> None:
    """A call that has not ended yet is not sent, however many are asked for."""
    async with open_receiver() as receiver:
        await simulate(plan(receiver.url, start=NOW - timedelta(hours=2), count=5_000), FixedClock())
    assert receiver.details()
    assert max(map(_ended_at, receiver.details())) <= NOW.timestamp()


async def test_sender_history_that_continues_live_reaches_the_present() -> None:
    async with open_receiver() as receiver:
        simulation_plan = plan(
            receiver.url, start=NOW - timedelta(hours=1), count=None, continues_live=True, rate=2_000.0
        )
        running = asyncio.create_task(simulate(simulation_plan, FixedClock()))
        while not receiver.bodies or _ended_at(receiver.details()[-1]) < NOW.timestamp():
            assert not running.done()
            await asyncio.sleep(0.02)
        running.cancel()
    assert min(float(details.call_id) for details in receiver.details()) < NOW.timestamp() - 600


async def test_sender_keeps_the_rate() -> None:
    """Whatever the receiver answers: events are not sent all at once."""
    loop = asyncio.get_running_loop()
    async with open_receiver() as receiver:
        began = loop.time()
        await simulate(plan(receiver.url, rate=200.0, count=60), FixedClock())
        assert loop.time() - began > 0.1


async def test_sender_progress_ends_with_the_result() -> None:
    """With growing counters."""
    progress: list[SimulationResult] = []
    async with open_receiver() as receiver:
        result = await simulate(plan(receiver.url, count=60, rate=150.0), SystemClock(), progress.append)
    assert progress[-1].acknowledged == result.acknowledged == 60
    assert [update.requests for update in progress] == sorted(update.requests for update in progress)


async def test_sender_cancelled_simulation_leaves_whole_lines(tmp_path: Path) -> None:
    """And passes the result to `on_progress`."""
    progress: list[SimulationResult] = []
    acked = tmp_path / "acked"
    arrived = asyncio.Event()

    def signal_arrival(number: int) -> int:
        if number >= 30:
            arrived.set()
        return 200

    async with open_receiver(signal_arrival) as receiver:
        task = asyncio.create_task(
            simulate(plan(receiver.url, count=None, acked_path=acked), SystemClock(), progress.append)
        )
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert progress[-1].acknowledged == len(acked.read_text().splitlines())
    assert set(acked.read_text().splitlines()) <= set(receiver.record_ids())


async def test_sender_truth_that_cannot_be_written_stops_it() -> None:
    """With a full disk nothing more is sent, and the error is the sentence itself, not a group of errors."""
    async with open_receiver() as receiver:
        with pytest.raises(Unavailable, match="No space left"):
            await simulate(plan(receiver.url, truth_path=Path("/dev/full")), FixedClock())
    assert receiver.bodies == []


def _ended_at(details: CallDetails) -> float:
    return float(details.call_id) + (details.call_duration or 0)
