"""Secrets that are added and removed while a server runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.harness import SECRET, Server, create_server, wait_until, webhook_body

NEW_SECRET = "another-secret-of-the-office"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with create_server(tmp_path / "data") as server:
        server.add_pbx()
        server.start(ready_process="intake")
        yield server


@pytest.mark.slow
def test_secret_that_was_just_added_is_accepted_at_once(server: Server) -> None:
    server.run_command("pbx", "secret", "add", "Office", "--secret", NEW_SECRET)
    assert server.post(webhook_body(1), NEW_SECRET) == 200


@pytest.mark.slow
def test_secret_that_was_removed_is_refused_soon(server: Server) -> None:
    """And the other one is not."""
    server.run_command("pbx", "secret", "add", "Office", "--secret", NEW_SECRET)
    server.run_command("pbx", "secret", "remove", "Office", "1")
    wait_until(lambda: server.post(webhook_body(1), SECRET) == 401, seconds=10)
    assert server.post(webhook_body(2), NEW_SECRET) == 200
