"""What is read late is sent on, too, to those who are past its number."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable
from onhook.ops.quarantine_retry import QuarantineRetrier


class Projector:
    """Reads, and is looked at meanwhile."""

    def __init__(self, appdb: AppDb) -> None:
        self.appdb = appdb
        self.fails = False
        self.seen: list[int] = []

    async def retry(self, seqs: list[int]) -> list[object]:
        self.seen.append(len(self.appdb.destinations.streams(1)))
        if self.fails:
            raise Unavailable("no disk")
        return []


async def test_it_is_owed_before_it_is_read(tmp_path: Path) -> None:
    """But not sent before; where reading fails it stays held, for what was begun may still come to its end."""
    appdb = AppDb(tmp_path / "onhook.db")
    appdb.destinations.add("crm", DestinationSpec(url="http://a.example/"), None, after=9, now_us=1)
    projector = Projector(appdb)
    rereading = QuarantineRetrier(projector, appdb, SystemClock())  # type: ignore[arg-type] # it has the one method
    await rereading.retry([5])
    projector.fails = True
    with pytest.raises(Unavailable):
        await rereading.retry([7])
    assert projector.seen == [1, 2]
    assert [stream.until for stream in appdb.destinations.streams(1)] == [None, 5]
    appdb.destinations.release_replays()
    assert [(stream.cursor, stream.until) for stream in appdb.destinations.streams(1)[1:]] == [(4, 5), (6, 7)]
    appdb.close()
