"""Attempts that are logged when the number of their calls is erased already: none stays in the log."""

from pathlib import Path

import pytest

from onhook.appdb import erasures
from onhook.appdb.appdb import AppDb
from onhook.appdb.delivery_rows import NewAttempt, NewLoggedAttempt
from onhook.appdb.destination_log import LogFilter
from onhook.appdb.erasures import NumberRows
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.ops import number_erasure
from tests.factories import SN
from tests.ops.erasure_world import NUMBER, call_id, fill, open_directory


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return Config(data=tmp_path / "data", zone="Europe/Berlin")


async def test_erase_deletes_attempts_that_are_logged_later(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether few were logged since the last time or many; those of other calls stay."""
    await fill(config)
    calls = [(SN, call_id(0)), (SN, call_id(1))]
    async with AppDb(config.appdb_file) as appdb:
        await appdb.erasures.erase(calls, NumberRows())
        for is_long_ago in (False, True):
            if is_long_ago:
                monkeypatch.setattr(erasures, "NEW_ATTEMPTS_MAX", 1)
            for number in (0, 1, 3):
                await log_attempt(appdb, number)
            assert await appdb.erasures.delete_deliveries(calls) == 2
            assert await appdb.erasures.delete_deliveries(calls) == 0
        attempts = (await appdb.destination_log.page(1, LogFilter(), 9)).data
        assert [attempt.call_id for attempt in attempts] == [call_id(3)] * 3


async def test_erase_another_number_meanwhile_deletes_attempts_that_are_logged_later(config: Config) -> None:
    """Those of the calls of the number before: it was erased some minutes ago, and its attempts in progress end."""
    await fill(config)
    first_call, second_call = (SN, call_id(0)), (SN, call_id(1))
    async with AppDb(config.appdb_file) as appdb:
        await appdb.erasures.erase([first_call], NumberRows())
        await appdb.erasures.delete_deliveries([first_call])
        await log_attempt(appdb, 0)
        await appdb.erasures.erase([second_call], NumberRows())
        await appdb.erasures.delete_deliveries([first_call, second_call])
        assert await appdb.destination_log.list_for_call(first_call) == []


async def test_finish_erases_attempts_that_end_after_it(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows were erased long after the entry: the disk was full, or the machine was suspended. Then the cycles fail
    for longer than an attempt takes.
    """
    await fill(config)
    async with open_directory(config) as files:
        await files.eraser.erase(NUMBER)
        monkeypatch.setattr(files.eraser, "_clock", LaterClock())
        await files.eraser.finish()
        await log_attempt(files.appdb, 0)
        monkeypatch.setattr(number_erasure, "SETTLING_SECONDS", 0.0)
        monkeypatch.setattr(files.eraser._settling, "_ends", dict.fromkeys(files.eraser._settling.seqs, 0.0))
        await files.eraser.finish()
        assert await files.appdb.destination_log.list_for_call((SN, call_id(0))) == []
        assert files.eraser._settling.seqs == []


async def test_finish_erases_attempts_that_the_process_before_left(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended before it looked for them, and another one begins an hour later; once is enough."""
    await fill(config)
    async with open_directory(config) as files:
        await files.eraser.erase(NUMBER)
        await files.eraser.finish()
        (erasure,) = await files.eraser.list_erasures()
        await files.ledger.set_erasure_state([erasure.seq], "finished")
        await log_attempt(files.appdb, 0)
    async with open_directory(config) as files:
        monkeypatch.setattr(files.eraser, "_clock", LaterClock())
        await files.eraser.finish()
        assert await files.appdb.destination_log.list_for_call((SN, call_id(0))) == []
        assert files.eraser._settling.seqs == []


class LaterClock(SystemClock):
    """A clock an hour ahead."""

    def microseconds(self) -> int:
        return super().microseconds() + 3_600 * 1_000_000


async def log_attempt(appdb: AppDb, number: int) -> None:
    """Log an attempt of the call with this number."""
    attempt = NewAttempt(attempted_at=1, duration_ms=1, status=200, detail="HTTP 200", body=b"")
    logged_attempt = NewLoggedAttempt(
        notification_id="n", seq=1, call=(SN, call_id(number)), body=b"030901820", state="accepted", attempt=attempt
    )
    await appdb.destination_log.add(1, logged_attempt)
