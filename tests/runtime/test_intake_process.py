"""What the intake says about the settings when it starts."""

import logging
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.config import Address, Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.runtime.intake_process import open_intake
from tests.test_projector import SN, entry, event


@pytest.mark.parametrize("is_registered", [True, False])
async def test_intake_settings_are_lost_only_where_no_pbx_is_registered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, is_registered: bool
) -> None:
    """A PBX whose row a page cannot show, as after a downgrade, is accepted."""
    config = Config(data=tmp_path, intake=Address("127.0.0.1", 0))
    async with AppDb(config.appdb_file) as appdb:
        if is_registered:
            await appdb.add_pbx(name="Office", sn=SN, secret="first-secret", now_us=1)
    with closing(sqlite3.connect(config.appdb_file, isolation_level=None)) as connection:
        connection.execute("UPDATE pbxs SET number_plan = '{'")
    ledger = SqliteLedger(config.ledger_file)
    await ledger.append([entry(event(0, "1001"))])
    await ledger.close()
    with caplog.at_level(logging.ERROR):
        async with open_intake(config, SystemClock()):
            pass
    assert ("settings are lost" in caplog.text) is not is_registered
