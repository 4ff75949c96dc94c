"""Work on missed calls."""

from pathlib import Path

import pytest

from onhook.appdb import missed_call_work
from onhook.appdb.appdb import AppDb
from onhook.appdb.missed_call_work import MissedCallWork
from onhook.lib.errors import UsageError
from onhook.lib.timestamps import to_datetime

pytestmark = pytest.mark.usefixtures("each_engine")

FIRST, SECOND = ("A", "1.1"), ("A", "1.2")


async def test_missed_call_work_is_claimed_by_one_user_and_done(tmp_path: Path) -> None:
    """A claim of another user is respected for all calls or none, until it is released or done."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        work = appdb.missed_call_work
        await work.claim([FIRST], "Alice", now_us=1)
        await work.claim([FIRST], "Alice", now_us=2)
        with pytest.raises(UsageError, match="Alice has claimed"):
            await work.claim([SECOND, FIRST], "Bob", now_us=3)
        with pytest.raises(UsageError):
            await work.remind([FIRST], "Bob", remind_at_us=9, now_us=3)
        claimed = MissedCallWork(claimed_by="Alice", claimed_at=to_datetime(2))
        assert await work.find([FIRST, SECOND]) == {FIRST: claimed}
        await work.release([FIRST])
        await work.remind([FIRST, SECOND], "Bob", remind_at_us=9, now_us=4)
        claimed = MissedCallWork(claimed_by="Bob", claimed_at=to_datetime(4), remind_at=to_datetime(9))
        assert await work.find([FIRST, SECOND]) == {FIRST: claimed, SECOND: claimed}
        await work.finish([FIRST], "Carol", now_us=5)
        done = MissedCallWork(
            claimed_by="Bob", claimed_at=to_datetime(4), done_by="Carol", done_at=to_datetime(5), remind_at=None
        )
        assert (await work.find([FIRST]))[FIRST] == done
        await work.claim([FIRST], "Alice", now_us=6)
        assert (await work.find([FIRST]))[FIRST] == MissedCallWork(claimed_by="Alice", claimed_at=to_datetime(6))
        await work.finish([FIRST], "Alice", now_us=7)
        await work.reopen([FIRST])
        assert (await work.find([FIRST]))[FIRST].done_at is None
        assert [key for key, _work in await work.latest(1)] == [FIRST]


async def test_missed_call_work_of_the_latest_calls_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is more than can be checked, what was worked on last is."""
    monkeypatch.setattr(missed_call_work, "CHECKED_ROWS_MAX", 1)
    async with AppDb(tmp_path / "onhook.db") as appdb:
        for now_us, key in ((1, FIRST), (2, SECOND)):
            await appdb.missed_call_work.claim([key], "Alice", now_us=now_us)
        await appdb._database.write("UPDATE missed_call_work SET claimed_at = ?", (2**62,))
        await appdb._database.write("UPDATE missed_call_work SET claimed_at = 1 WHERE call_id = ?", (FIRST[1],))
        assert [row.name for row in await appdb.missed_call_work.list_unreadable()] == ["A 1.2"]


async def test_missed_call_work_is_in_the_audit_log_and_goes_with_its_call(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.missed_call_work.claim([FIRST], "Alice", now_us=1)
        assert (await appdb.audit.latest(1))[0].action == "add work on missed call 1.1"
        await appdb.missed_call_work.delete_for_calls([FIRST])
        assert await appdb.missed_call_work.find([FIRST]) == {}
