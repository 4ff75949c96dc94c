"""Health checks of PBXs that are accepted without a signature."""

from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.source_match import SourceMatch
from onhook.config import Address, Config
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.pbx import check_pbx, load_check_target
from onhook.ops.doctor.settings import check_appdb
from onhook.runtime.engines import ENGINES

PATH = "/3kFz0qLrB7xN9sVe"


@pytest.mark.parametrize(
    ("host", "addresses", "statuses"),
    [
        ("0.0.0.0", (), ["ERROR"]),  # noqa: S104 - not bound here
        ("::", (), ["ERROR"]),
        ("0.0.0.0", ("192.0.2.7",), []),  # noqa: S104 - not bound here
        ("127.0.0.1", (), []),
        ("192.0.2.1", (), []),
    ],
)
async def test_check_appdb_legs_from_every_address_are_an_error(
    tmp_path: Path, host: str, addresses: tuple[str, ...], statuses: list[str]
) -> None:
    config = Config(data=tmp_path, intake=Address(host, 30012))
    async with AppDb(config.appdb_file) as appdb:
        source_match = SourceMatch(addresses, PATH)
        await appdb.add_pbx(
            name="Fusion", sn="FS-1", secret="a password", dialect="freeswitch", source_match=source_match, now_us=1
        )
    checks = [check async for check in check_appdb(config, SystemClock(), ENGINES)]
    assert [check.status for check in checks if "legs of Fusion" in check.detail] == statuses
    (registered,) = [check for check in checks if "1 PBX registered" in check.detail]
    assert (registered.status, "1 by address or path" in registered.detail) == ("OK", True)
    assert PATH not in str(checks)


async def test_check_pbx_without_a_test_button_asks_for_a_call(tmp_path: Path) -> None:
    config = Config(data=tmp_path)
    async with AppDb(config.appdb_file) as appdb:
        match = SourceMatch(("192.0.2.7",))
        await appdb.add_pbx(name="Fusion", sn="FS", secret=None, dialect="freeswitch", source_match=match, now_us=1)
        target = await load_check_target(appdb, "Fusion", "", ZoneInfo("UTC"))
        checks = [check async for check in check_pbx(config, appdb, SystemClock(), target, ENGINES.open_ledger)]
    (check,) = [check for check in checks if "no event" in check.detail]
    assert (check.status, check.hint) == ("WARNING", "make a call, and end it")
