"""What the console serves while the store is being rebuilt."""

import json
from typing import Any

import pytest

from onhook.console.rebuild_page import RebuildProgress, rebuild_app

PROGRESS = RebuildProgress("the store is damaged <script>", position=250, last_seq=1_000)


async def request(path: str, accept: str = "", progress: RebuildProgress = PROGRESS) -> tuple[int, dict[str, str], str]:
    """Return status, headers and body of a response."""
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    scope = {"type": "http", "path": path, "headers": [(b"accept", accept.encode())]}
    await rebuild_app(progress)(scope, None, send)
    headers = {name.decode(): value.decode() for name, value in messages[0]["headers"]}
    return messages[0]["status"], headers, messages[1]["body"].decode()


@pytest.mark.parametrize("path", ["/", "/calls", "/sign-in"])
async def test_rebuild_page_says_how_far_it_is(path: str) -> None:
    status, headers, body = await request(path, "text/html,*/*")
    assert (status, headers["retry-after"], headers["cache-control"]) == (503, "5", "no-store")
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "250 of 1000 events are done" in body
    assert "25 %" in body
    assert "<script>" not in body


@pytest.mark.parametrize("path", ["/api/v1/calls", "/readyz", "/metrics", "/calls"])
async def test_rebuild_api_answers_with_a_problem_document(path: str) -> None:
    status, headers, body = await request(path, "text/html" if path != "/calls" else "application/json")
    assert (status, headers["content-type"]) == (503, "application/problem+json")
    problem = json.loads(body)
    assert (problem["status"], problem["lag"]) == (503, 750)
    assert "250 of 1000 events" in problem["detail"]


async def test_rebuild_that_failed_says_why() -> None:
    progress = RebuildProgress("the store is damaged", failure="the disk has 3 MiB left: free disk space")
    for accept in ("text/html", "application/json"):
        _, _, body = await request("/calls", accept, progress)
        assert "the disk has 3 MiB left: free disk space" in body


async def test_rebuild_process_is_alive() -> None:
    assert (await request("/healthz"))[0] == 200


async def test_rebuild_app_ignores_other_protocols() -> None:
    assert await rebuild_app(PROGRESS)({"type": "lifespan"}, None, None) is None  # type: ignore[func-returns-value]


def test_rebuild_progress_of_an_empty_ledger_is_zero() -> None:
    assert RebuildProgress("reason").percent == 0
