"""Readiness of the hub."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest

from onhook.console import health
from onhook.ops.issue_monitor import IssueMonitor
from onhook.store.contract import StoreBatch
from tests.console.conftest import ConsoleHarness, module_loop
from tests.factories import details


async def test_readiness_up_to_date_is_200(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    assert await (await client.get("/readyz")).json() == {"lag": 0, "position": await harness.store.position()}
    await harness.ingest_details([details()])
    assert await (await client.get("/readyz")).json() == {"lag": 0, "position": await harness.store.position()}


async def test_readiness_far_behind_is_503(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number is that of the 200 response."""
    monkeypatch.setattr(health, "LAG_MAX", 1)
    await harness.append_to_ledger([b"1", b"2"])
    answer = await client.get("/readyz")
    assert (answer.status, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await answer.json())["lag"] == 2


async def test_readiness_store_ahead_of_the_ledger_is_503(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """The store belongs to another ledger: the response says what to do."""
    await harness.store.put(StoreBatch(calls=[], quarantined=[], reparsed_seqs=[], position=8))
    answer = await client.get("/readyz")
    assert (answer.status, answer.content_type) == (503, "application/problem+json")
    problem = await answer.json()
    assert problem["lag"] == -7
    assert "7 events ahead of the ledger" in problem["detail"]
    assert "onhook rebuild" in problem["hint"]
    assert "onhook_store_lag -7.0" in await (await client.get("/metrics")).text()


async def test_readiness_ledger_that_lost_events_and_grew_again_is_503(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """Its end is past the store's position, but the event there is another one."""
    await harness.append_to_ledger([b"1", b"2"])
    await harness.store.put(StoreBatch(calls=[], quarantined=[], reparsed_seqs=[], position=2, position_key=b"other"))
    answer = await client.get("/readyz")
    problem = await answer.json()
    assert answer.status == 503
    assert "event 2 differs, and the ledger ends at event 3" in problem["detail"]
    assert "onhook rebuild" in problem["hint"]


async def test_readiness_damaged_ledger_is_503(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """As the daily check of the files found it, with what is damaged and what to do."""
    await harness.append_to_ledger([b"%d" % number for number in range(200)])
    harness.feed.announce(await harness.projector.catch_up())
    assert await asyncio.to_thread(_damage_second_half, harness.config.ledger_file) > 0
    monitor = IssueMonitor(
        config=harness.config,
        appdb=harness.appdb,
        store=harness.store,
        ledger=harness.ledger,
        clock=harness.clock,
    )
    await monitor.check_all()
    answer = await client.get("/readyz")
    assert (answer.status, answer.content_type) == (503, "application/problem+json")
    problem = await answer.json()
    assert problem["detail"].startswith("ledger.db is damaged: ")
    assert "onhook restore" in problem["hint"]
    assert int(answer.headers["Retry-After"]) > 0


def _damage_second_half(path: Path) -> int:
    """Overwrite the last pages of the file; return the number of bytes."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        return file.write(b"\xff" * (size - size // 2))


@module_loop
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/issues", "/schema", "/schema/openapi.json"])
async def test_head_has_the_headers_of_get(module_client: aiohttp.ClientSession, path: str) -> None:
    """Some monitors use HEAD."""
    whole, head = await module_client.get(path), await module_client.head(path)
    assert (head.status, head.content_type) == (200, whole.content_type)
    assert await head.read() == b""
    assert "default-src 'none'" in head.headers["Content-Security-Policy"]


async def test_head_needs_a_token_like_get(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Responses of the API may be endless, so it allows GET only."""
    async with harness.client("") as anonymous:
        assert (await anonymous.head("/")).status == 401
    assert (await client.head("/api/v1/live")).status == 405
