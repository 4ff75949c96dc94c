"""Compression and caching of responses."""

import re
from datetime import timedelta

import aiohttp

from tests.console.conftest import ConsoleHarness
from tests.factories import STARTED_AT, details

FIRST_BYTES_MAX, AFTER_BYTES_MAX = 700_000, 60_000
"""Bytes transferred for a page the first time, and after that."""

GZIP = {"Accept-Encoding": "gzip"}


async def test_compression_page_size_is_bounded(harness: ConsoleHarness) -> None:
    """Measure a page of calls and a report with all their files; static files are not requested again."""
    await harness.ingest_details(details(STARTED_AT + timedelta(minutes=number)) for number in range(60))
    async with harness.client(auto_decompress=False) as client:
        for path in ("/calls", "/reports?since=2026-04-01&until=2026-05-01&by=hour"):
            async with harness.client() as reader:
                text = await (await reader.get(path)).text()
            files = set(re.findall(r'"(/static/[^"]+)"', text))
            page = await _response_bytes(client, path)
            first = page + sum([await _response_bytes(client, file, "immutable") for file in files])
            assert files
            assert first < FIRST_BYTES_MAX
            assert page < min(AFTER_BYTES_MAX, len(text) / 4), path


async def _response_bytes(client: aiohttp.ClientSession, path: str, caching: str = "") -> int:
    async with client.get(path, headers=GZIP) as answer:
        assert answer.status == 200
        assert caching in answer.headers["Cache-Control"]
        assert answer.headers.get("Content-Encoding") == "gzip" or path.endswith(".svg")
        return len(await answer.read())


async def test_static_file_of_another_version_is_not_served(harness: ConsoleHarness) -> None:
    """A browser would cache it for a year."""
    async with harness.client() as client:
        assert (await client.get("/static/style.0123456789abcdef.css")).status == 404
        async with client.get("/static/style.css") as answer:
            assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-cache")
            etag = answer.headers["ETag"]
        assert (await client.get("/static/style.css", headers={"If-None-Match": etag})).status == 304


async def test_compression_skips_live_feed_and_posts(harness: ConsoleHarness) -> None:
    """Events are not delayed, and the length of a response reveals nothing about a secret."""
    async with harness.client() as client:
        async with client.get("/api/v1/live", headers=GZIP) as answer:
            assert "Content-Encoding" not in answer.headers
        new = {"name": "shop", "sn": "3631A2124YYY", "secret": "s" * 32}
        async with client.post("/api/v1/pbxs", json=new, headers=GZIP) as answer:
            assert answer.status == 201, await answer.text()
            assert "Content-Encoding" not in answer.headers
