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
from tests.receiver.harness import SECRET, SN, open_receiver


async def test_the_way_in_is_tried(tmp_path: Path) -> None:
    """Signed as the PBX signs, the intake says that the test arrived; with another secret it refuses it."""
    async with open_receiver(tmp_path / "ledger.db") as door:
        appdb = AppDb(tmp_path / "onhook.db")
        appdb.add_pbx(name="office", sn=SN, secret=SECRET, now_us=1)
        appdb.add_pbx(name="wrong", sn="WRONG", secret="another secret", now_us=1)
        acting = ConsoleActionRunner(
            Config(data=tmp_path, intake=Address("127.0.0.1", door.port)), appdb, SystemClock()
        )
        assert await acting.send_test_event(SN) == "the intake answered 200: test message received"
        assert "401" in await acting.send_test_event("WRONG")
        with pytest.raises(NotFound):
            await acting.send_test_event("nobody")
        await acting.close()
        appdb.close()


async def test_a_made_up_pbx_calls_until_the_house_closes(tmp_path: Path) -> None:
    """It is declared like any other, posts to the intake, and stops; without an intake it is not begun."""
    appdb = AppDb(tmp_path / "onhook.db")
    nowhere = ConsoleActionRunner(Config(data=tmp_path, intake=Address("127.0.0.1", 0)), appdb, SystemClock())
    with pytest.raises(Unavailable):
        await nowhere.start_simulated_pbx()
    assert appdb.pbxs() == []
    async with open_receiver(tmp_path / "ledger.db") as door:
        acting = ConsoleActionRunner(
            Config(data=tmp_path, intake=Address("127.0.0.1", door.port)), appdb, SystemClock()
        )
        await acting.start_simulated_pbx()
        await acting.start_simulated_pbx()
        while not await door.count_verdicts():  # noqa: ASYNC110 - an intake tells nobody of what it counts
            await asyncio.sleep(0.01)
        await acting.close()
    assert [pbx.sn for pbx in appdb.pbxs()] == [DEMO_SN]
    appdb.close()


async def test_a_pbx_is_examined(tmp_path: Path) -> None:
    """As its doctor does, whatever its dialect; one visit at a time; what cannot be reached is told, not raised."""
    with closing(AppDb(tmp_path / "onhook.db")) as appdb:
        appdb.add_pbx(name="office", sn=SN, secret=SECRET, now_us=1)
        appdb.add_pbx(name="shop", sn="SHOP", secret=None, dialect="asterisk", is_unsigned=True, now_us=1)
        appdb.asterisks.add(AsteriskPbx(sn="SHOP", host="127.0.0.1", port=1, user="onhook"), SECRET)
        acting = ConsoleActionRunner(Config(data=tmp_path), appdb, SystemClock())
        assert "cannot be asked" in (await acting.run_pbx_checks(SN))[-1].detail
        first = asyncio.create_task(acting.run_pbx_checks("SHOP"))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="already"):
            await acting.run_pbx_checks("SHOP")
        (found,) = await first
        assert (found.status, "no connection" in found.detail) == ("ERROR", True)
        with pytest.raises(NotFound):
            await acting.run_pbx_checks("nobody")
        await acting.close()
