"""Four clients whose SQL is meant to exhaust the server: everything else goes on as before."""

import asyncio
import logging
import statistics
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import aiohttp
import pytest

from onhook.lib.signing import SIGNATURE_HEADER, sign
from tests import counts
from tests.delivery.harness import WebhookReceiver
from tests.runtime.harness import SECRET, Server, call_id, webhook_body

ATTACKS = (
    "SELECT length(string_agg(repeat('a',1000),'')) FROM range(170000)",
    "SELECT count(*) FROM (SELECT list(range) l FROM range(12000000) GROUP BY range%1000)",
    "SELECT len(list(range)) FROM range(11000000)",
)
ATTACKERS = 4
EVENTS_PER_SECOND = 50
SENDERS = 4
PROBE_SECONDS = 0.05
CALM_SECONDS_MAX = 60
HUB_BYTES_MAX = 600 * 10**6
QUERIES_BYTES_MAX = 10**9
LATENCY_FACTOR_MAX = 5
DELIVERY_SECONDS_MAX = 120
REPORTS = ("/reports?report=volume&since=7d", "/api/v1/summary?by=hour", "/api/v1/export.csv", "/calls")


class Siege:
    """A running server under everyday load; what it answered, and how much memory its processes had."""

    def __init__(self, server: Server, client: aiohttp.ClientSession) -> None:
        self._server = server
        self._client = client
        self._intake_url = f"http://{server.address('intake')}/"
        self._console_url = f"http://{server.address('hub')}"
        self._numbers = count(1)
        self.sent: list[str] = []
        self.latencies: list[float] = []
        self.sql_statuses: list[int] = []
        self.hub_bytes = 0
        self.queries_bytes = 0
        self.copies = 0

    async def run_for(self, seconds: float, *, attackers: int) -> list[float]:
        """Let clients work side by side for so long; return the latencies of `/healthz` meanwhile."""
        self.latencies = []
        workers = (self._read_report, self._probe, self._measure)
        tasks = [asyncio.create_task(_repeat(worker)) for worker in workers]
        tasks += [asyncio.create_task(self._send_events()) for _ in range(SENDERS)]
        tasks += [asyncio.create_task(self._attack(ATTACKS[number % len(ATTACKS) :])) for number in range(attackers)]
        try:
            done, _pending = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        return self.latencies

    async def _send_events(self) -> None:
        """Send on time, whatever the answer takes."""
        loop_time = asyncio.get_running_loop().time
        due_at = loop_time()
        while True:
            await self._send_event()
            due_at += SENDERS / EVENTS_PER_SECOND
            await asyncio.sleep(max(0, due_at - loop_time()))

    async def _send_event(self) -> None:
        number = next(self._numbers)
        body = webhook_body(number)
        async with self._client.post(
            self._intake_url, data=body, headers={SIGNATURE_HEADER: sign(SECRET, body)}
        ) as response:
            assert response.status == 200
        self.sent.append(call_id(number))

    async def _read_report(self) -> None:
        for path in REPORTS:
            async with self._client.get(self._console_url + path) as response:
                await response.read()
                assert response.status == 200
            await asyncio.sleep(0.1)

    async def _probe(self) -> None:
        started_at = time.perf_counter()
        async with self._client.get(f"{self._console_url}/healthz") as response:
            assert response.status == 200
        self.latencies.append(time.perf_counter() - started_at)
        await asyncio.sleep(PROBE_SECONDS)

    async def _measure(self) -> None:
        hub = self._server.process_info("hub")
        assert hub is not None
        self.hub_bytes = max(self.hub_bytes, resident_bytes(hub["pid"]))
        self.queries_bytes = max(self.queries_bytes, sum(map(resident_bytes, child_pids(hub["pid"]))))
        with suppress(FileNotFoundError):
            self.copies = max(self.copies, len(list((self._server.directory / "sql").glob("*.duckdb"))))
        await asyncio.sleep(0.1)

    async def _attack(self, queries: Sequence[str]) -> None:
        while True:
            for query in queries:
                self.sql_statuses.append(await self.ask(query))

    async def ask(self, query: str) -> int:
        """Run a query; return the status of the answer."""
        async with self._client.get(f"{self._console_url}/api/v1/sql", params={"sql": query}) as response:
            await response.read()
            return response.status


async def _repeat(action: Callable[[], Awaitable[None]]) -> None:
    while True:
        await action()


def child_pids(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children")
    return [int(pid) for pid in children.read_text().split()] if children.exists() else []


def resident_bytes(pid: int) -> int:
    """Return the memory of a process; 0 when it has ended."""
    with suppress(OSError, IndexError):
        status = Path(f"/proc/{pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) * 1024
    return 0


@asynccontextmanager
async def besieged(server: Server) -> AsyncIterator[tuple[Siege, WebhookReceiver]]:
    """Yield a running server with a destination that receives every record."""
    receiver = WebhookReceiver()
    async with receiver.listen():
        server.run_command("destination", "add", "CRM", "--url", receiver.url, "--allow-private")
        server.start()
        token = (server.directory / "admin.token").read_text().strip()
        timeout = aiohttp.ClientTimeout(total=120)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, timeout=timeout) as client:
            yield Siege(server, client), receiver


def percentile_99(latencies: Sequence[float]) -> float:
    return sorted(latencies)[int(len(latencies) * 0.99)]


@pytest.mark.parametrize("seconds", [counts.duration(600, times=2)])
async def test_server_under_hostile_sql_works_on(server: Server, seconds: int) -> None:
    """No process restarts, memory is bounded, every event is delivered, and answers stay fast."""
    calm_seconds = min(CALM_SECONDS_MAX, seconds)
    async with besieged(server) as (siege, receiver):
        pids = {name: server.process_info(name) for name in ("intake", "hub")}
        await siege.run_for(2, attackers=0)
        before = await siege.run_for(calm_seconds / 2, attackers=0)
        attacked = await siege.run_for(seconds, attackers=ATTACKERS)
        after = await siege.run_for(calm_seconds / 2, attackers=0)
        async with asyncio.timeout(DELIVERY_SECONDS_MAX):
            while not set(siege.sent) <= {payload["call_id"] for payload in receiver.payloads}:  # noqa: ASYNC110
                await asyncio.sleep(0.2)  # the receiver is in this process, and has no event for it
        assert {name: server.process_info(name) for name in ("intake", "hub")} == pids
    calm = [*before, *after]
    figures = {
        "healthz median calm": statistics.median(calm),
        "healthz median attacked": statistics.median(attacked),
        "healthz p99 calm": percentile_99(calm),
        "healthz p99 attacked": percentile_99(attacked),
        "hub MB": siege.hub_bytes // 10**6,
        "queries MB": siege.queries_bytes // 10**6,
        "queries": len(siege.sql_statuses),
        "events": len(siege.sent),
    }
    logging.getLogger("siege").info("figures: %s", {name: round(value, 4) for name, value in figures.items()})
    assert set(siege.sql_statuses) <= {200, 400, 503}
    assert 400 in siege.sql_statuses
    assert siege.copies == 1
    assert siege.hub_bytes < HUB_BYTES_MAX
    assert 0 < siege.queries_bytes < QUERIES_BYTES_MAX
    assert figures["healthz median attacked"] <= LATENCY_FACTOR_MAX * figures["healthz median calm"]
    assert figures["healthz p99 attacked"] <= LATENCY_FACTOR_MAX * figures["healthz p99 calm"]


@pytest.mark.slow
async def test_server_with_running_queries_stops_at_once_and_leaves_nothing(server: Server) -> None:
    async with besieged(server) as (siege, _receiver):
        await siege.run_for(5, attackers=ATTACKERS)
        hub = server.process_info("hub")
        assert hub is not None
        endless = "SELECT count(*) FROM range(10000000000) a, range(1000) b WHERE a.range * b.range % 7 = 3"
        asking = asyncio.create_task(siege.ask(endless))
        async with asyncio.timeout(60):
            while not child_pids(hub["pid"]):  # noqa: ASYNC110
                await asyncio.sleep(0.05)  # the system has no event for it
        queries = child_pids(hub["pid"])
        assert await asyncio.to_thread(server.stop) == 0
        await asyncio.gather(asking, return_exceptions=True)
    assert "did not stop in time" not in server.log_text()
    assert "open responses were cancelled" not in server.log_text()
    assert [pid for pid in queries if resident_bytes(pid)] == []
    assert not (server.directory / "sql").exists()
