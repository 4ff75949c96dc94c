"""Actions of the console: the test event, the checks of a PBX, the simulated PBX."""

import asyncio
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import AsteriskPbx
from onhook.config import Address, Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import NotAllowed, NotFound, Unavailable
from onhook.runtime.adapters.actions import ConsoleActionRunner
from onhook.simulator.demo import DEMO_SN
from tests.receiver.harness import SECRET, SN, open_receiver


async def test_send_test_event_is_accepted_with_the_right_secret(tmp_path: Path) -> None:
    """With another secret the receiver rejects it."""
    async with open_receiver(tmp_path / "ledger.db") as webhook_server:
        appdb = AppDb(tmp_path / "onhook.db")
        await appdb.add_pbx(name="office", sn=SN, secret=SECRET, now_us=1)
        await appdb.add_pbx(name="wrong", sn="WRONG", secret="another secret", now_us=1)
        acting = ConsoleActionRunner(
            Config(data=tmp_path, intake=Address("127.0.0.1", webhook_server.port)), appdb, SystemClock()
        )
        assert await acting.send_test_event(SN) == "HTTP 200, test message received"
        with pytest.raises(NotAllowed, match="401"):
            await acting.send_test_event("WRONG")
        with pytest.raises(NotFound):
            await acting.send_test_event("unknown")
        await acting.close()
        await appdb.close()


async def test_start_simulated_pbx_runs_until_the_server_stops(tmp_path: Path) -> None:
    """It is registered like any other, and posts to the receiver; without a receiver it does not start."""
    appdb = AppDb(tmp_path / "onhook.db")
    nowhere = ConsoleActionRunner(Config(data=tmp_path, intake=Address("127.0.0.1", 0)), appdb, SystemClock())
    with pytest.raises(Unavailable):
        await nowhere.start_simulated_pbx()
    assert await appdb.pbxs() == []
    async with open_receiver(tmp_path / "ledger.db") as webhook_server:
        acting = ConsoleActionRunner(
            Config(data=tmp_path, intake=Address("127.0.0.1", webhook_server.port)), appdb, SystemClock()
        )
        await acting.start_simulated_pbx()
        await acting.start_simulated_pbx()
        while not await webhook_server.count_verdicts():  # noqa: ASYNC110 - the counters of a receiver set no event
            await asyncio.sleep(0.01)
        await acting.close()
    assert [pbx.sn for pbx in await appdb.pbxs()] == [DEMO_SN]
    await appdb.close()


async def test_run_pbx_checks_returns_the_checks_of_the_dialect(tmp_path: Path) -> None:
    """One run at a time; a PBX that cannot be reached is a check, not an exception."""
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.add_pbx(name="office", sn=SN, secret=SECRET, now_us=1)
        await appdb.add_pbx(name="shop", sn="SHOP", secret=None, dialect="asterisk", is_unsigned=True, now_us=1)
        await appdb.asterisks.add(AsteriskPbx(sn="SHOP", host="127.0.0.1", port=1, user="onhook"), SECRET)
        acting = ConsoleActionRunner(Config(data=tmp_path), appdb, SystemClock())
        assert "is not set: no further checks" in (await acting.run_pbx_checks(SN))[-1].detail
        first = asyncio.create_task(acting.run_pbx_checks("SHOP"))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="already"):
            await acting.run_pbx_checks("SHOP")
        checks = await first
        (check,) = [check for check in checks if check.status == "ERROR"]
        assert "no connection" in check.detail
        assert "no CDR source is set: gaps cannot be filled" in [check.detail for check in checks]
        with pytest.raises(NotFound):
            await acting.run_pbx_checks("unknown")
        await acting.close()
