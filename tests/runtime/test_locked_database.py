"""A running server while another process has the application database locked."""

import asyncio
import sqlite3
import statistics
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from onhook.appdb.contract import CALL_SECONDS_MAX
from onhook.console.auth.headers import CONTENT_SECURITY_POLICY
from tests.delivery.harness import WebhookReceiver
from tests.runtime.harness import Server, call_id, create_server, webhook_body
from tests.waiting import wait_until

LOCKED_SECONDS = CALL_SECONDS_MAX + 1
"""Longer than a request waits."""

SLOWER_MAX = 5
"""A latency while the database is locked, as a multiple of that of a calm run."""

FREEZE_SECONDS_MAX = CALL_SECONDS_MAX / 2
"""A call that waits for the lock on the event loop holds it until its deadline, and every answer with it."""

HEALTHZ_SECONDS_MAX = 0.1
"""Median while the database is locked, on a machine on which it takes a fifth of that while it is not."""

PAGES = ("/", "/calls", "/reports", "/pbxs", "/destinations", "/issues", "/apps", "/users", "/audit", "/quarantine")

DELIVERED_SECONDS_MAX = 60


class Latencies(NamedTuple):
    """Medians in seconds, of an event's acknowledgement and of the hub's `/healthz`, and the longest of all."""

    intake: float
    healthz: float
    longest: float


class LockedServer:
    """A server with a destination, and the events that it was sent."""

    def __init__(self, server: Server, client: aiohttp.ClientSession) -> None:
        self.server = server
        self.client = client
        self.sent_ids: set[str] = set()

    async def measure(self, seconds: float) -> Latencies:
        """Post events and ask for the hub's health for so long. Fails where an event is not acknowledged."""
        intake_seconds: list[float] = []
        healthz_seconds: list[float] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            intake_seconds.append(await timed(self._post_event))
            healthz_seconds.append(await timed(self._get_health))
            await asyncio.sleep(0.05)
        longest = max(*intake_seconds, *healthz_seconds)
        return Latencies(statistics.median(intake_seconds), statistics.median(healthz_seconds), longest)

    async def read_pages(self, seconds: float) -> Counter[tuple[str, int]]:
        """Read all pages in turn for so long; return how often each had which status. Fails where one says neither what
        is stored nor when to come again.
        """
        answers: Counter[tuple[str, int]] = Counter()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for path in PAGES:
                async with self.client.get(path, headers={"Accept": "text/html"}) as answer:
                    assert answer.status == 200 or (answer.status == 503 and int(answer.headers["Retry-After"]) > 0)
                    answers[path, answer.status] += 1
            await asyncio.sleep(0.2)
        return answers

    async def add_secret(self) -> aiohttp.ClientResponse:
        body = {"secret": f"another-secret-{len(self.sent_ids)}"}
        return await self.client.post("/api/v1/pbxs/Office/secrets", json=body)

    async def _post_event(self) -> None:
        number = len(self.sent_ids)
        assert await asyncio.to_thread(self.server.post, webhook_body(number)) == 200
        self.sent_ids.add(call_id(number))

    async def _get_health(self) -> None:
        assert (await self.client.get("/healthz")).status == 200


async def timed(action: Callable[[], Awaitable[Any]]) -> float:
    began_at = time.monotonic()
    await action()
    return time.monotonic() - began_at


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock the database of a data directory for writing, as a process that hangs would."""
    with closing(sqlite3.connect(directory / "onhook.db", timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


@pytest.fixture
async def receiver() -> AsyncIterator[WebhookReceiver]:
    async with WebhookReceiver().listen() as receiver:
        yield receiver


@pytest.fixture
async def locked_server(tmp_path: Path, receiver: WebhookReceiver) -> AsyncIterator[LockedServer]:
    with create_server(tmp_path / "data") as server:
        await asyncio.to_thread(server.add_pbx)
        await asyncio.to_thread(
            server.run_command, "destination", "add", "CRM", "--url", receiver.url, "--allow-private"
        )
        await asyncio.to_thread(server.start)
        headers = {"Authorization": f"Bearer {(tmp_path / 'data' / 'admin.token').read_text().strip()}"}
        async with aiohttp.ClientSession(f"http://{server.address('hub')}", headers=headers) as client:
            yield LockedServer(server, client)


async def assert_turn_is_survived(locked_server: LockedServer, calm: Latencies, seconds: float) -> None:
    with locked(locked_server.server.directory):
        refused = asyncio.create_task(locked_server.add_secret())
        reading = asyncio.create_task(locked_server.read_pages(seconds))
        measured = await locked_server.measure(seconds)
        response, answers = await refused, await reading
    assert [path for path in PAGES if not answers[path, 200]] == []
    assert response.status == 503
    assert int(response.headers["Retry-After"]) > 0
    assert response.headers["Content-Type"] == "application/problem+json"
    assert response.headers["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert measured.intake <= SLOWER_MAX * calm.intake
    assert measured.healthz <= SLOWER_MAX * calm.healthz
    assert measured.healthz < HEALTHZ_SECONDS_MAX or calm.healthz > HEALTHZ_SECONDS_MAX / SLOWER_MAX
    assert measured.longest < FREEZE_SECONDS_MAX


@pytest.mark.slow
async def test_locked_database_server_goes_on(locked_server: LockedServer, receiver: WebhookReceiver) -> None:
    """Events are acknowledged, pages are read, a change is refused for now, and deliveries lose nothing."""
    calm, _answers = await asyncio.gather(locked_server.measure(2), locked_server.read_pages(2))
    await assert_turn_is_survived(locked_server, calm, LOCKED_SECONDS)
    assert (await locked_server.add_secret()).status == 201
    await wait_until(lambda: locked_server.sent_ids <= set(receiver.accepted_call_ids()), DELIVERED_SECONDS_MAX)
    assert "request cannot be served now" in locked_server.server.log_text()


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_locked_database_ten_times_for_half_a_minute_loses_nothing(
    locked_server: LockedServer, receiver: WebhookReceiver
) -> None:
    calm, _answers = await asyncio.gather(locked_server.measure(5), locked_server.read_pages(5))
    for _turn in range(10):
        await assert_turn_is_survived(locked_server, calm, 30)
        await asyncio.sleep(1)
    await wait_until(lambda: locked_server.sent_ids <= set(receiver.accepted_call_ids()), DELIVERED_SECONDS_MAX)
