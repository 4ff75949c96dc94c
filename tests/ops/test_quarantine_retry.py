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

    def __init__(self, settings: AppDb) -> None:
        self.settings = settings
        self.fails = False
        self.seen: list[int] = []

    async def retry(self, seqs: list[int]) -> list[object]:
        self.seen.append(len(self.settings.subscriptions.streams(1)))
        if self.fails:
            raise Unavailable("no disk")
        return []


async def test_it_is_owed_before_it_is_read(tmp_path: Path) -> None:
    """But not sent before; where reading fails it stays held, for what was begun may still come to its end."""
    settings = AppDb(tmp_path / "onhook.db")
    settings.subscriptions.add("crm", DestinationSpec(url="http://a.example/"), None, after=9, at=1)
    projector = Projector(settings)
    rereading = QuarantineRetrier(projector, settings, SystemClock())  # type: ignore[arg-type] # it has the one method
    await rereading.read_again([5])
    projector.fails = True
    with pytest.raises(Unavailable):
        await rereading.read_again([7])
    assert projector.seen == [1, 2]
    assert [one.until for one in settings.subscriptions.streams(1)] == [None, 5]
    settings.subscriptions.let_go()
    assert [(one.cursor, one.until) for one in settings.subscriptions.streams(1)[1:]] == [(4, 5), (6, 7)]
    settings.close()
