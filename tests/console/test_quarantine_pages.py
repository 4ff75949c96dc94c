"""Retrying events on the page Quarantine, and the page About."""

import aiohttp
import pytest

from onhook.console.pages import quarantine
from tests.console.conftest import ConsoleHarness
from tests.factories import SN, details


async def test_quarantine_page_retries_events(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """Events are retried one by one or by page; an event that still cannot be parsed shows the reason."""
    assert "All events were parsed" in await (await client.get("/quarantine")).text()
    await harness.ingest_bodies([b'{"type":30012,"sn":"%s","n":%d}' % (SN.encode(), n) for n in range(3)])
    text = await (await client.get("/quarantine")).text()
    assert "3 in all" in text
    assert text.count("/retry") == 4
    assert "Retry all 3" in text
    assert "Event 2 still cannot be parsed" in await (await client.post("/quarantine/2/retry")).text()
    assert "0 of 3 events were parsed" in await (await client.post("/quarantine/retry")).text()
    entries = await harness.appdb.audit.latest(20)
    assert [entry.actor for entry in entries if entry.action == "retry quarantined events"] == ["admin"]
    assert (await client.post("/quarantine/9/retry")).status == 404


async def test_quarantine_page_says_that_only_the_first_events_are_retried(
    harness: ConsoleHarness, client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quarantine, "QUARANTINE_ROWS_MAX", 2)
    await harness.ingest_bodies([b'{"type":30012,"sn":"%s","n":%d}' % (SN.encode(), n) for n in range(3)])
    assert "Retry the first 2" in await (await client.get("/quarantine")).text()


async def test_about_page_shows_versions_files_and_retention(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """No secret and no token is on the page."""
    await harness.ingest_details([details()])
    text = await (await client.get("/about")).text()
    for word in ("ledger.db", "onhook.db", "calls.duckdb", "litestar", "KiB", "Apache ECharts"):
        assert word in text
    assert harness.admin_token not in text
    assert "Nothing is deleted automatically" in text
    await harness.appdb.retention_overrides.put(SN, 90)
    text = await (await client.get("/about")).text()
    assert "Nothing is deleted automatically" not in text
    assert "after 90 days" in text
