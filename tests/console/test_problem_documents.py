"""Errors as problem documents (RFC 9457)."""

import doctest

import aiohttp
import pytest

from onhook.console import problem_documents as problems
from tests.console.conftest import ConsoleHarness, module_loop
from tests.factories import SN

MISTAKES = [
    ("GET", "/api/v1/records?nmber=1001", 400, "nmber"),
    ("GET", "/api/v1/calls?status=BUSY&status=FAILED", 400, "status"),
    ("GET", "/api/v1/records?limit=0", 400, "limit"),
    ("GET", "/api/v1/records?limit=1001", 400, "limit"),
    ("GET", "/api/v1/records?limit=ten", 400, "limit"),
    ("GET", "/api/v1/records?cursor=nonsense", 400, "cursor"),
    ("GET", "/api/v1/records?since=tomorrowish", 400, "since"),
    ("GET", "/api/v1/records?until=2026-02-31", 400, "until"),
    ("GET", "/api/v1/records?zone=Mars/Olympus", 400, "Mars/Olympus"),
    ("GET", "/api/v1/records?min_talk_duration=-1", 400, "min_talk_duration"),
    ("GET", "/api/v1/records?number=" + "1" * 201, 400, "number"),
    ("GET", "/api/v1/summary?by=moon", 400, "moon"),
    ("GET", "/api/v1/export.csv?by=day", 400, "by"),
    ("GET", "/api/v1/export.pdf", 404, ""),
    ("GET", "/api/v1/live?after=-1", 400, "after"),
    ("GET", "/api/v1/nothing", 404, "nothing at this address"),
    ("GET", f"/api/v1/calls/{SN}/1.1", 404, "1.1"),
    ("GET", "/api/v1/events/1", 404, "1"),
    ("GET", "/api/v1/events/99999999999999999999", 400, "seq"),
    ("GET", "/api/v1/quarantine/1", 404, "1"),
    ("POST", "/api/v1/records", 405, "does not support the method"),
    ("DELETE", "/api/v1/pbxs/unknown", 404, "unknown"),
    ("GET", "/static/../app.py", 404, ""),
    ("GET", "/static/..%2fapp.py", 404, ""),
]


@module_loop
@pytest.mark.parametrize(("method", "path", "status", "names"), MISTAKES)
async def test_problem_has_status_and_detail(
    module_harness: ConsoleHarness, method: str, path: str, status: int, names: str
) -> None:
    async with module_harness.client() as client:
        answer = await client.request(method, path)
        assert answer.status == status
        assert answer.content_type == "application/problem+json"
        problem = await answer.json()
        assert problem["status"] == status
        assert names in problem["detail"] + " ".join(problem.get("parameters", ()))


@module_loop
@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("/calls?limit=abc", "limit: write a whole number"),
        ("/api/v1/records?limit=", "limit: write a whole number"),
        ("/api/v1/calls?limit=1001", "limit: write a whole number, at most 1000"),
        ("/api/v1/live?after=-1", "after: write a whole number, at least 0"),
        ("/api/v1/live?after=x", "after: write a whole number"),
        ("/api/v1/calls?min_talk_duration=x", "min_talk_duration: write digits only, at most 9"),
        ("/api/v1/calls?number=" + "1" * 201, "number: write at most 200 characters"),
        ("/api/v1/quarantine/7", "event 7 is not in the quarantine"),
    ],
)
async def test_problem_detail_has_no_library_text(module_harness: ConsoleHarness, path: str, sentence: str) -> None:
    """It does not contain names of types either."""
    async with module_harness.client() as client:
        problem = await (await client.get(path)).json()
        assert problem["detail"] == sentence
        assert "GET" not in problem.get("hint", ""), "people ask by the command line too"


@module_loop
@pytest.mark.parametrize(
    ("body", "names"),
    [
        (b"", ""),
        (b"{", ""),
        (b'{"name":"branch"}', "sn"),
        (b'{"name":"branch","sn":"has blanks"}', "sn"),
        (b'{"name":"branch","sn":"X1","colour":"red"}', "colour"),
        (b'{"name":"office","sn":"X1"}', "office"),
        (b'{"name":"branch","sn":"X1","zone":"Nowhere"}', "Nowhere"),
        (b'{"name":"branch","sn":"X1","number_plan":{"queue":"9-1"}}', "queue"),
        (b'{"name":"branch","sn":"X1","secret":"abcdefgh","is_unsigned":true}', "is_unsigned"),
    ],
)
async def test_problem_invalid_pbx_is_rejected(module_harness: ConsoleHarness, body: bytes, names: str) -> None:
    """The status is 400, and nothing is stored."""
    async with module_harness.client() as client:
        answer = await client.post("/api/v1/pbxs", data=body, headers={"Content-Type": "application/json"})
        problem = await answer.json()
        assert (answer.status, answer.content_type) == (400, "application/problem+json"), problem
        assert names in str(problem)
        assert len((await (await client.get("/api/v1/pbxs")).json())["data"]) == 1


def test_problem_doctests_hold() -> None:
    result = doctest.testmod(problems)
    assert result.attempted >= 1
    assert not result.failed


async def test_problem_large_body_is_rejected(client: aiohttp.ClientSession) -> None:
    """64 KiB are enough for a PBX."""
    answer = await client.post("/api/v1/pbxs", data=b" " * 70_000, headers={"Content-Type": "application/json"})
    assert (answer.status, answer.content_type) == (413, "application/problem+json")


async def test_problem_browser_receives_page(harness: ConsoleHarness, client: aiohttp.ClientSession) -> None:
    """The page is escaped HTML; a program receives JSON at the same URL."""
    answer = await client.get("/calls?since=<b>soon", headers={"Accept": "text/html"})
    assert (answer.status, answer.content_type) == (400, "text/html")
    text = await answer.text()
    assert "&lt;b&gt;soon" in text
    assert "<b>soon" not in text
    assert (await client.get("/calls?since=<b>soon")).content_type == "application/problem+json"
    async with harness.client("") as anonymous:
        answer = await anonymous.get("/", headers={"Accept": "text/html"}, allow_redirects=False)
        assert (answer.status, answer.headers["Location"]) == (303, "/sign-in?next=%2F")
