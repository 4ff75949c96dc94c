"""A simulated PBX that writes lines, in both directions."""

import asyncio
from datetime import UTC, datetime

import pytest

from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.pbx.lines import LineSplitter
from onhook.pbx.threecx.payload import ThreeCx
from onhook.simulator.line_writer import LineWriter
from onhook.simulator.office_plan import SimulationPlan
from onhook.simulator.results import NO_RESPONSE
from onhook.simulator.sender import simulate

START = datetime(2026, 4, 27, 8, tzinfo=UTC)


def plan(url: str, payload_format: str = "3cx-v20") -> SimulationPlan:
    return SimulationPlan(url=url, sn="3cx-5015", payload_format=payload_format, count=12, rate=None, start=START)


async def read_calls(reader: asyncio.StreamReader) -> list[str]:
    splitter = LineSplitter()
    lines = splitter.feed(await reader.read()) + splitter.flush()
    return [details.call_id for line in lines for details in ThreeCx().parse(line)]


@pytest.mark.parametrize("payload_format", ["3cx-v18", "3cx-v20-new"])
async def test_simulate_lines_are_written_to_the_receiver(payload_format: str) -> None:
    received: asyncio.Queue[list[str]] = asyncio.Queue()

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.put_nowait(await read_calls(reader))
        writer.close()

    server = await asyncio.start_server(receive, "127.0.0.1", 0)
    url = f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    result = await simulate(plan(url, payload_format), SystemClock())
    assert (result.acknowledged, result.failed, result.responses) == (12, 0, {"written": 12})
    assert len(await received.get()) == 12
    server.close()


async def test_simulate_lines_are_written_to_a_receiver_that_connects(unused_tcp_port: int) -> None:
    task = asyncio.create_task(simulate(plan(f"tcp-listen://127.0.0.1:{unused_tcp_port}"), SystemClock()))
    await asyncio.sleep(0)
    reader, writer = await asyncio.open_connection("127.0.0.1", unused_tcp_port)
    assert len(await read_calls(reader)) == 12
    assert (await task).acknowledged == 12
    writer.close()


async def test_line_writer_without_a_receiver_has_no_response(unused_tcp_port: int) -> None:
    async with LineWriter(f"tcp://127.0.0.1:{unused_tcp_port}", 1.0) as line_writer:
        assert await line_writer.post(b"Call 1\r\n") == NO_RESPONSE
    async with LineWriter(f"tcp-listen://127.0.0.1:{unused_tcp_port}", 0.01) as line_writer:
        assert await line_writer.post(b"Call 1\r\n") == NO_RESPONSE


@pytest.mark.parametrize(
    ("url", "payload_format", "message"),
    [
        ("tcp://127.0.0.1", "3cx-v20", "is not the address of a connection for lines"),
        ("tcp://127.0.0.1:5015/path", "3cx-v20", "is not the address of a connection for lines"),
        ("tcp://[::1:5015", "3cx-v20", "is not the address of a connection for lines"),
        ("tcp://127.0.0.1:5015", "p-2026", "unknown payload format 'p-2026'"),
        ("http://127.0.0.1:30012/", "3cx-v20", "unknown payload format '3cx-v20'"),
    ],
)
def test_plan_of_lines_has_an_address_and_a_format_of_lines(url: str, payload_format: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plan(url, payload_format)
