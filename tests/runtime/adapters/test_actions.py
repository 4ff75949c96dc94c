"""What a person asks of the house from a page: the way in is tried as a PBX would, and a made-up PBX calls."""

import asyncio
from contextlib import closing
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.config import Address, Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotFound, Unavailable
from onhook.runtime.adapters.actions import ConsoleActionRunner
from onhook.simulator.demo import DEMO_SN
from tests.receiver.harness import SECRET, SN, open_door


async def test_the_way_in_is_tried(tmp_path: Path) -> None:
    """Signed as the PBX signs, the intake says that the test arrived; with another secret it refuses it."""
    async with open_door(tmp_path / "ledger.db") as door:
        settings = AppDb(tmp_path / "onhook.db")
        settings.add_pbx(name="office", sn=SN, secret=SECRET, at=1)
        settings.add_pbx(name="wrong", sn="WRONG", secret="another secret", at=1)
        acting = ConsoleActionRunner(
            Config(data=tmp_path, intake=Address("127.0.0.1", door.port)), settings, SystemClock()
        )
        assert await acting.try_intake(SN) == "the intake answered 200: the test arrived"
        assert "401" in await acting.try_intake("WRONG")
        with pytest.raises(NotFound):
            await acting.try_intake("nobody")
        await acting.close()
        settings.close()


async def test_a_made_up_pbx_calls_until_the_house_closes(tmp_path: Path) -> None:
    """It is declared like any other, posts to the intake, and stops; without an intake it is not begun."""
    settings = AppDb(tmp_path / "onhook.db")
    nowhere = ConsoleActionRunner(Config(data=tmp_path, intake=Address("127.0.0.1", 0)), settings, SystemClock())
    with pytest.raises(Unavailable):
        await nowhere.show_made_up()
    assert settings.pbxs() == []
    async with open_door(tmp_path / "ledger.db") as door:
        acting = ConsoleActionRunner(
            Config(data=tmp_path, intake=Address("127.0.0.1", door.port)), settings, SystemClock()
        )
        await acting.show_made_up()
        await acting.show_made_up()
        while not await door.counts():  # noqa: ASYNC110 - an intake tells nobody of what it counts
            await asyncio.sleep(0.01)
        await acting.close()
    assert [pbx.sn for pbx in settings.pbxs()] == [DEMO_SN]
    settings.close()


async def test_a_pbx_is_examined(tmp_path: Path) -> None:
    """As its doctor does, whatever its dialect; one visit at a time; what cannot be reached is told, not raised."""
    with closing(AppDb(tmp_path / "onhook.db")) as settings:
        settings.add_pbx(name="office", sn=SN, secret=SECRET, at=1)
        settings.add_pbx(name="shop", sn="SHOP", secret=None, dialect="asterisk", is_unsigned=True, at=1)
        settings.asterisks.add(AsteriskPbx(sn="SHOP", host="127.0.0.1", port=1, user="onhook"), SECRET)
        acting = ConsoleActionRunner(Config(data=tmp_path), settings, SystemClock())
        assert "cannot be asked" in (await acting.examine(SN))[-1].what
        first = asyncio.create_task(acting.examine("SHOP"))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="already"):
            await acting.examine("SHOP")
        (found,) = await first
        assert (found.grade, "no connection" in found.what) == ("wrong", True)
        with pytest.raises(NotFound):
            await acting.examine("nobody")
        await acting.close()
