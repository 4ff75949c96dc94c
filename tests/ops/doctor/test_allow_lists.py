"""Health checks of PBXs that are accepted without a signature."""

from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.source_match import SourceMatch
from onhook.config import Address, Config
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.settings import check_appdb

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
    checks = [check async for check in check_appdb(config, SystemClock(), AppDb)]
    assert [check.status for check in checks if "legs of Fusion" in check.detail] == statuses
    (registered,) = [check for check in checks if "1 PBX registered" in check.detail]
    assert (registered.status, "1 by address or path" in registered.detail) == ("OK", True)
    assert PATH not in str(checks)
