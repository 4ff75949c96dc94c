"""Data files opened by commands, several at once."""

import asyncio
import json
import subprocess
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.config import Config
from onhook.lib.errors import OnhookError
from onhook.runtime.data_files import open_files
from tests.runtime.harness import ONHOOK, Server, command_environment, webhook_body


@pytest.mark.slow
def test_commands_wait_for_each_other(server: Server) -> None:
    """DuckDB lets one process in; four concurrent commands all succeed."""
    server.start()
    assert server.post(webhook_body(1)) == 200
    server.stop()
    asking = [
        subprocess.Popen(
            [str(ONHOOK), "calls", "--format", "json"],
            env=command_environment(server.directory),
            stdout=subprocess.PIPE,
        )
        for _ in range(4)
    ]
    answers = [process.communicate(timeout=30)[0] for process in asking]
    assert [len(json.loads(answer)) for answer in answers] == [1, 1, 1, 1]


@pytest.mark.slow
def test_rebuild_second_one_is_rejected_or_waits(server: Server) -> None:
    """Two would write the same new file."""
    (server.directory / "ledger.db").touch()

    async def find_both() -> list[int]:
        started = [
            await asyncio.create_subprocess_exec(
                str(ONHOOK), "rebuild", env=command_environment(server.directory), stderr=subprocess.DEVNULL
            )
            for _ in range(2)
        ]
        return [await process.wait() for process in started]

    assert sorted(asyncio.run(find_both())) in ([0, 0], [0, 2])
    assert server.calls() == []


async def test_open_files_ledger_that_cannot_be_opened_closes_the_application_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with AppDb(tmp_path / "onhook.db"):
        pass
    closed: list[AppDb] = []
    close = AppDb.close

    async def close_and_record(appdb: AppDb) -> None:
        closed.append(appdb)
        await close(appdb)

    monkeypatch.setattr(AppDb, "close", close_and_record)
    (tmp_path / "ledger.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(OnhookError):
        async with open_files(Config(data=tmp_path)):
            pass
    assert len(closed) == 1
