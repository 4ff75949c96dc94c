"""Adding and changing PBXs that write lines."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.line_connections import LineConnection
from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import SourceMatch
from onhook.config import Config
from onhook.console.line_setup import LineChanges, NewLinePbx, add_line_pbx, merge_line_changes, store_line_connection
from onhook.lib.errors import UsageError

ANY = "0.0.0.0"  # noqa: S104 - not bound here


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    opened_appdb = AppDb(tmp_path / "onhook.db")
    yield opened_appdb
    await opened_appdb.close()


async def add(
    appdb: AppDb,
    *,
    listen: str = "",
    connect: str = "",
    addresses: Sequence[str] = (),
    fields: str = "",
    dialect: str = "3cx",
    name: str = "Office",
    sn: str | None = None,
) -> str:
    new_pbx = NewLinePbx(
        name=name, dialect=dialect, listen=listen, connect=connect, addresses=addresses, fields=fields, sn=sn
    )
    return (await add_line_pbx(Config(data=Path("/unused")), appdb, new_pbx, now_us=1)).pbx.sn


async def test_add_line_pbx_has_its_connection_its_addresses_and_a_serial_number(appdb: AppDb) -> None:
    assert await add(appdb, listen=f"{ANY}:5015", addresses=["192.0.2.7"], fields="time-start,time-end") == "3cx-5015"
    assert await add(appdb, connect="192.0.2.8:5016", name="Branch") == "192.0.2.8"
    assert await add(appdb, listen="127.0.0.1:5017", name="Local", sn="MY-SN") == "MY-SN"
    assert await appdb.line_connections.all() == {
        "3cx-5015": LineConnection(mode="listen", host=ANY, port=5015, fields=("time-start", "time-end")),
        "192.0.2.8": LineConnection(mode="connect", host="192.0.2.8", port=5016),
        "MY-SN": LineConnection(mode="listen", host="127.0.0.1", port=5017),
    }
    assert (await appdb.source_matches.get("3cx-5015")).addresses == ("192.0.2.7",)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "a PBX of the dialect 3cx needs one address"),
        ({"listen": "127.0.0.1:1", "connect": "192.0.2.7:1"}, "a PBX of the dialect 3cx needs one address"),
        ({"listen": f"{ANY}:5015"}, "the addresses that may write them must be known"),
        ({"listen": f"{ANY}:5015", "addresses": ["0.0.0.0/0"]}, "matches every address"),
        ({"listen": "127.0.0.1:0"}, "the port 0"),
        ({"listen": "5015"}, "is not an address"),
        ({"connect": "169.254.169.254:80"}, "169.254.169.254"),
        ({"listen": "127.0.0.1:5015", "fields": "a,b"}, "a 3CX has no field 'a'"),
    ],
)
async def test_add_line_pbx_that_cannot_work_is_refused(appdb: AppDb, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        await add(appdb, **options)
    assert await appdb.pbxs() == []


async def test_add_line_pbx_shares_a_port_with_other_addresses_alone(appdb: AppDb) -> None:
    await add(appdb, listen=f"{ANY}:5015", addresses=["192.0.2.0/24"], sn="A", name="A")
    with pytest.raises(UsageError, match="another PBX writes its lines to the port 5015"):
        await add(appdb, listen=f"{ANY}:5015", addresses=["192.0.2.7", "198.51.100.7"], sn="B", name="B")
    await add(appdb, listen=f"{ANY}:5015", addresses=["198.51.100.7", "2001:db8::7"], sn="B", name="B")
    await add(appdb, listen="127.0.0.1:5016", sn="C", name="C")
    with pytest.raises(UsageError, match="the port 5016"):
        await add(appdb, listen="127.0.0.1:5016", sn="D", name="D")
    await add(appdb, connect="127.0.0.1:5016", sn="D", name="D")


async def change(appdb: AppDb, pbx: Pbx, changes: LineChanges, source_match: SourceMatch) -> None:
    connection = await merge_line_changes(Config(data=Path("/unused")), appdb, pbx, changes)
    await store_line_connection(appdb, pbx, connection, source_match)


async def test_change_line_connection_keeps_what_is_not_given(appdb: AppDb) -> None:
    sn = await add(appdb, listen="127.0.0.1:5015", fields="time-start,time-end")
    pbx, source_match = await appdb.pbx(sn), SourceMatch(("192.0.2.7",))
    await change(appdb, pbx, LineChanges(listen=f"{ANY}:5016"), source_match)
    connection = LineConnection(mode="listen", host=ANY, port=5016, fields=("time-start", "time-end"))
    assert await appdb.line_connections.get(sn) == connection
    with pytest.raises(UsageError, match="the addresses that may write them"):
        await change(appdb, pbx, LineChanges(), SourceMatch())
    await change(appdb, pbx, LineChanges(connect="192.0.2.7:5017", fields=""), source_match)
    assert await appdb.line_connections.get(sn) == LineConnection(mode="connect", host="192.0.2.7", port=5017)


async def test_change_line_connection_of_another_kind_is_refused(appdb: AppDb) -> None:
    pbx = await appdb.add_pbx(name="P", sn="P", secret="first-secret", now_us=1)
    with pytest.raises(UsageError, match="P writes no lines"):
        await change(appdb, pbx, LineChanges(fields=""), SourceMatch())
