"""Line connections: storage and limits."""

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.line_connections import LineConnection
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.appdb.source_match import SourceMatch
from onhook.lib.errors import UsageError
from onhook.runtime.adapters.credentials_file import CredentialsFile
from onhook.runtime.adapters.line_endpoints import AppDbLineEndpoints
from onhook.runtime.adapters.registry import AppDbPbxRegistry

pytestmark = pytest.mark.usefixtures("each_engine")

SN = "3cx-5015"
CONNECTION = LineConnection(mode="listen", host="0.0.0.0", port=5015, fields=("time-start", "time-end"))  # noqa: S104
SOURCE = SourceMatch(("192.0.2.7",))


@pytest.fixture
async def appdb(tmp_path: Path) -> AsyncIterator[AppDb]:
    opened_appdb = AppDb(tmp_path / "onhook.db")
    await opened_appdb.add_pbx(name="Office", sn=SN, secret=None, dialect="3cx", source_match=SOURCE, now_us=1)
    yield opened_appdb
    await opened_appdb.close()


async def test_line_connection_is_stored_changed_and_removed_with_its_pbx(appdb: AppDb) -> None:
    assert await appdb.line_connections.get(SN) is None
    reported = LineConnection(mode="connect", host="192.0.2.7", port=5016, precedence="report")
    for connection in (CONNECTION, reported):
        await appdb.line_connections.put(SN, connection)
        assert await appdb.line_connections.get(SN) == connection
    await appdb.remove_pbx(SN)
    assert await appdb.line_connections.all() == {}


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "write"},
        {"host": ""},
        {"host": "a\n"},
        {"port": 0},
        {"port": 65_536},
        {"fields": ("a" * 41,)},
        {"precedence": "none"},
    ],
)
async def test_line_connection_with_another_value_is_refused(appdb: AppDb, changes: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        await appdb.line_connections.put(SN, msgspec.structs.replace(CONNECTION, **changes))


async def test_line_connection_has_its_fields_in_the_facts_and_its_endpoint(appdb: AppDb, tmp_path: Path) -> None:
    await appdb.line_connections.put(SN, CONNECTION)
    facts = await AppDbPbxFacts(appdb)()
    assert (facts["3CX-5015"].fields, facts["3CX-5015"].ignores_lines) == (CONNECTION.fields, False)
    await appdb.line_connections.put(SN, msgspec.structs.replace(CONNECTION, precedence="report"))
    assert (await AppDbPbxFacts(appdb)())["3CX-5015"].ignores_lines
    (endpoint,) = await AppDbLineEndpoints(appdb, CredentialsFile(tmp_path / "intake-pbxs.json")).list_endpoints()
    assert (endpoint.pbx.sn, endpoint.mode, endpoint.host, endpoint.port) == (*(SN, "listen", CONNECTION.host, 5015),)
    assert (endpoint.admits("192.0.2.7"), endpoint.admits("::ffff:192.0.2.7"), endpoint.admits("192.0.2.8")) == (
        *(True, True, False),
    )


async def test_addresses_of_a_pbx_that_writes_lines_send_no_requests(appdb: AppDb) -> None:
    """What they post is not of this PBX: an HTTP request from behind the same router may be of another one."""
    registry = AppDbPbxRegistry(appdb)
    await registry.load()
    assert registry.find_by_source("/", "192.0.2.7") is None


@pytest.mark.parametrize("options", [{"secret": "a-known-secret"}, {"is_unsigned": True}])
async def test_pbx_that_writes_lines_has_no_other_sender(appdb: AppDb, options: dict[str, object]) -> None:
    settings: dict[str, object] = {"name": "B", "sn": "B", "secret": None, "dialect": "3cx", "now_us": 1}
    with pytest.raises(UsageError, match="a PBX of the dialect 3cx is identified by its connection"):
        await appdb.add_pbx(**settings | options)  # type: ignore[arg-type]  # of the test
