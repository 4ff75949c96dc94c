"""Adding a PBX of each kind by the API: the settings and checks of the pages."""

from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest

from onhook.appdb.asterisks import PORT
from onhook.config import Config
from onhook.console import pbx_setup
from onhook.console.pages.add_pbx import KINDS
from tests.console.conftest import ConsoleHarness
from tests.factories import SN

PATH = "/api/v1/pbxs"
SECRET = "0123456789abcdef"
MANAGER = {"address": "127.0.0.1", "user": "onhook", "secret": SECRET}
CREDENTIALS = {"url": "https://127.0.0.1:8088", "client_id": "a", "client_secret": "b"}
LINES = {"listen": "127.0.0.1:5015"}

BODIES: Mapping[str, Mapping[str, Any]] = {
    "p-series": {"sn": "S1"},
    "p-series-api": {
        "sn": "S1",
        "credentials": {"url": "https://127.0.0.1:8088", "client_id": "a", "client_secret": "b"},
    },
    "newcdr": {"sn": "S1", "dialect": "newcdr", "addresses": ["192.0.2.7"]},
    "freeswitch": {"sn": "S1", "dialect": "freeswitch", "path": "/secret-path-0123456789"},
    "grandstream": {"sn": "S1", "dialect": "grandstream", "secret": SECRET},
    "3cx": {"dialect": "3cx", "lines": LINES | {"fields": "time-start,time-end,from-no"}},
    "avaya": {"dialect": "avaya", "lines": {"connect": "127.0.0.1:5016"}},
    "cucm": {"sn": "S1", "dialect": "cucm"},
    "asterisk": {"dialect": "asterisk", "manager": MANAGER},
}


async def add(client: aiohttp.ClientSession, body: Mapping[str, Any]) -> tuple[int, dict[str, Any]]:
    async with client.post(PATH, json={"name": "branch", **body}) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("kind", KINDS)
async def test_new_pbx_of_each_kind_of_the_pages_is_added(
    harness: ConsoleHarness, client: aiohttp.ClientSession, kind: str
) -> None:
    status, added = await add(client, BODIES[kind])
    assert status == 201, added
    pbx = await harness.appdb.pbx("branch")
    assert added["pbx"]["sn"] == pbx.sn
    assert pbx.dialect == BODIES[kind].get("dialect", "yeastar")
    assert (added["secret"] is None) is (kind not in {"p-series", "p-series-api", "grandstream"})


async def test_new_pbx_of_an_asterisk_has_its_connection_and_cdr_source(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    """With a serial number of its address; neither answer nor list has its secrets."""
    cdr = {"location": "mysql://cdr@127.0.0.1/asteriskcdrdb", "password": "tables", "table": "cdr2"}
    manager = MANAGER | {"trunks": "provider, backup", "inbound": "from-trunk", "has_pins": True, "cdr": cdr}
    body = {"dialect": "asterisk", "manager": manager, "zone": "Europe/Berlin", "number_plan": {"queue": "6400-6499"}}
    status, added = await add(client, body)
    assert (status, added["secret"]) == (201, None)
    pbx = await harness.appdb.pbx("branch")
    assert (pbx.sn, pbx.zone, pbx.dialect) == ("127.0.0.1", "Europe/Berlin", "asterisk")
    asterisk = await harness.appdb.asterisks.get(pbx.sn)
    assert (asterisk.port, asterisk.user, asterisk.trunks, asterisk.inbound, asterisk.has_pins) == (
        *(PORT, "onhook", ("provider", "backup"), ("from-trunk",), True),
    )
    source = await harness.appdb.cdr_sources.get(pbx.sn)
    assert source is not None
    assert (source.table, source.password) == ("cdr2", "tables")
    texts = str(added) + await (await client.get(PATH)).text()
    assert SECRET not in texts
    assert "tables" not in texts


async def test_new_pbx_of_an_asterisk_with_a_cdr_file_stores_no_password(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    cdr = {"location": "/var/log/asterisk/Master.csv", "password": "tables"}
    status, _added = await add(client, {"dialect": "asterisk", "manager": MANAGER | {"cdr": cdr}})
    assert status == 201
    source = await harness.appdb.cdr_sources.get("127.0.0.1")
    assert source is not None
    assert (source.location, source.password) == (cdr["location"], "")


async def test_new_pbx_of_an_asterisk_has_the_host_of_its_cdr_table_checked_once(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[tuple[str, str]] = []

    async def check_pbx_host(_config: Config, host: str, *, location: str) -> str:
        checked.append((host, location))
        return ""

    monkeypatch.setattr(pbx_setup, "check_pbx_host", check_pbx_host)
    manager = MANAGER | {"cdr": {"location": "mysql://cdr@192.0.2.9/asteriskcdrdb"}}
    assert (await add(client, {"dialect": "asterisk", "manager": manager}))[0] == 201
    assert checked == [("127.0.0.1", "manager.address"), ("192.0.2.9", "manager.cdr")]


async def test_new_pbx_that_writes_lines_has_its_connection(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    lines = {"listen": "0.0.0.0:5017", "fields": "time-start,time-end,from-no"}
    status, _added = await add(client, {"sn": "S1", "dialect": "3cx", "lines": lines, "addresses": ["192.0.2.7"]})
    assert status == 201
    connection = await harness.appdb.line_connections.get("S1")
    assert connection is not None
    assert (connection.mode, connection.port, connection.fields) == (
        *("listen", 5017, ("time-start", "time-end", "from-no")),
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "a PBX of the dialect yeastar needs sn"),
        ({"sn": SN}, "already"),
        ({"dialect": "asterisk"}, "a PBX of the dialect asterisk needs manager"),
        ({"dialect": "asterisk", "manager": MANAGER, "path": "/x"}, "a PBX of the dialect asterisk does not have path"),
        ({"dialect": "asterisk", "manager": MANAGER | {"tls": "PEM"}}, "cannot read certificates"),
        ({"dialect": "asterisk", "manager": MANAGER | {"address": ":0:0"}}, "address"),
        ({"dialect": "asterisk", "manager": MANAGER | {"cdr": {"location": "mysql://host"}}}, "lacks a user"),
        ({"dialect": "3cx"}, "a PBX of the dialect 3cx needs lines"),
        ({"dialect": "3cx", "lines": {}}, "needs one address"),
        ({"dialect": "3cx", "lines": LINES, "secret": SECRET}, "a PBX of the dialect 3cx does not have secret"),
        ({"dialect": "3cx", "lines": {"listen": "0.0.0.0:5015"}}, "the addresses that may write them must be known"),
        ({"dialect": "3cx", "lines": LINES | {"fields": "colour"}}, "colour"),
        ({"sn": "S1", "dialect": "cucm", "path": "/secret-path-0123456789"}, "sends nothing"),
        ({"sn": "S1", "lines": LINES}, "a PBX of the dialect yeastar does not have lines"),
        ({"sn": "S1", "dialect": "newcdr"}, "a PBX of the dialect newcdr cannot sign events"),
        ({"sn": "S1", "dialect": "3com"}, "3com"),
    ],
)
async def test_new_pbx_with_invalid_settings_is_rejected_whole(
    harness: ConsoleHarness, client: aiohttp.ClientSession, body: Mapping[str, Any], message: str
) -> None:
    status, problem = await add(client, body)
    assert (status, message in str(problem)) == (400, True), problem
    assert [pbx.sn for pbx in await harness.appdb.pbxs()] == [SN]
