"""Group commit: every request is answered, and none waits for a lock longer than one commit does."""

import asyncio
import sqlite3
from pathlib import Path

from onhook.ledger.contract import AppendResult
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.errors import OnhookError
from onhook.receiver.group_commit import GroupCommitter
from tests.ledger.entries import entry


async def test_group_commit_queued_entries_fail_with_the_commit_that_failed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    troubles: list[OnhookError | None] = []
    committer = GroupCommitter(ledger=ledger, on_ledger_error=troubles.append)
    settled: dict[int, AppendResult | None] = {}
    together: list[set[int]] = []

    def put(number: int) -> None:
        def settle(appended: AppendResult | None) -> None:
            settled[number] = appended
            if number == 1:
                together.append(set(settled))

        assert committer.put(entry(number), settle)

    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    put(1)
    await asyncio.sleep(0)
    assert not committer._queue, "the first one is being committed"
    put(2)
    put(3)
    await committer.drain()
    assert together == [{1, 2, 3}]
    assert set(settled.values()) == {None}
    other.execute("ROLLBACK")
    put(4)
    await committer.drain()
    assert settled[4] is not None
    assert [trouble is None for trouble in troubles] == [False, True]
    other.close()
    await ledger.close()
