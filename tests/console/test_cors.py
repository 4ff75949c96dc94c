"""Web pages of other origins: none by default, those of `cors_origins` with a token."""

from pathlib import Path

import pytest

from tests.console.conftest import ConsoleHarness, open_console_harness

CRM = "https://crm.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}


async def test_cors_is_off_by_default(harness: ConsoleHarness) -> None:
    async with harness.client(headers={"Origin": CRM}) as client:
        answer = await client.get("/api/v1/records")
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        preflight = await client.options("/api/v1/records", headers=PREFLIGHT)
        assert "Access-Control-Allow-Origin" not in preflight.headers


async def test_cors_allows_the_named_origins_in_the_api(tmp_path: Path) -> None:
    """A preflight needs no token, the request does; errors can be read too."""
    async with open_console_harness(tmp_path, cors_origins=f"{CRM},http://localhost:3000") as harness:
        async with harness.client("", headers={"Origin": CRM}) as client:
            preflight = await client.options("/api/v1/records", headers=PREFLIGHT)
            assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, CRM)
            assert "authorization" in preflight.headers["Access-Control-Allow-Headers"]
            assert "Access-Control-Allow-Credentials" not in preflight.headers
            answer = await client.get("/api/v1/records")
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (401, CRM)
        async with harness.client(headers={"Origin": CRM}) as client:
            answer = await client.post("/api/v1/tokens", json={"name": "crm"})
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (201, CRM)
            assert "Origin" in answer.headers["Vary"]


@pytest.mark.parametrize(
    ("path", "origin"),
    [("/api/v1/records", "https://evil.example"), ("/api/v1/records", f"{CRM}.evil.example"), ("/calls", CRM)],
)
async def test_cors_rejects_other_origins_and_pages(tmp_path: Path, path: str, origin: str) -> None:
    async with (
        open_console_harness(tmp_path, cors_origins=CRM) as harness,
        harness.client(headers={"Origin": origin}) as client,
    ):
        async with client.get(path) as answer:
            assert "Access-Control-Allow-Origin" not in answer.headers
            assert await answer.read()
        preflight = await client.options(path, headers=PREFLIGHT)
        assert "Access-Control-Allow-Origin" not in preflight.headers
