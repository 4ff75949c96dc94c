"""Whether the hub is ready, told to machines: behind is told, and so is what cannot be."""

import aiohttp
import pytest

from onhook.console import health
from onhook.store.contract import StoreBatch
from tests.console.conftest import ConsoleHarness, module_loop
from tests.factories import details


async def test_it_is_ready(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """With all that was kept in the store, and with none."""
    assert await (await client.get("/readyz")).json() == {"lag": 0}
    await harness.ingest_details([details()])
    assert await (await client.get("/readyz")).json() == {"lag": 0}


async def test_far_behind_is_not_ready(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store has yet to read too much: 503, and by how much stands in the problem as it does in the good answer."""
    monkeypatch.setattr(health, "LAG_MAX", 1)
    await harness.append_to_ledger([b"1", b"2"])
    answer = await client.get("/readyz")
    assert (answer.status, answer.content_type) == (503, "application/problem+json")
    assert int(answer.headers["Retry-After"]) > 0
    assert (await answer.json())["lag"] == 2


async def test_ahead_is_not_ready(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A store that knows reports which the ledger never had is another ledger's: said so, with what to do."""
    await harness.store.put(StoreBatch(calls=[], quarantined=[], reparsed_seqs=[], position=7))
    answer = await client.get("/readyz")
    assert (answer.status, answer.content_type) == (503, "application/problem+json")
    problem = await answer.json()
    assert problem["lag"] == -7
    assert "7 reports ahead of the ledger" in problem["detail"]
    assert "onhook rebuild" in problem["hint"]
    assert "onhook_store_lag -7.0" in await (await client.get("/metrics")).text()


@module_loop
@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/issues", "/schema", "/schema/openapi.json"])
async def test_head_is_get_without_a_body(module_client: aiohttp.ClientSession, path: str) -> None:
    """A monitor that only looks at the head gets the same head."""
    whole, head = await module_client.get(path), await module_client.head(path)
    assert (head.status, head.content_type) == (200, whole.content_type)
    assert await head.read() == b""
    assert "default-src 'none'" in head.headers["Content-Security-Policy"]


async def test_head_opens_nothing(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """A stranger's HEAD is refused like his GET; the API, where answers may be endless, keeps to GET."""
    async with harness.client("") as stranger:
        assert (await stranger.head("/")).status == 401
    assert (await client.head("/api/v1/live")).status == 405
