"""Line endpoints from the application database."""

from ipaddress import ip_network
from pathlib import Path

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.line_connections import LineConnection
from onhook.receiver.line_server import LineEndpoint
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.runtime.adapters.credentials_file import CredentialsFile
from onhook.runtime.adapters.line_endpoints import AppDbLineEndpoints


async def test_line_endpoints_without_a_line_pbx_read_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database changes with every delivery, and most intakes have no such PBX."""
    appdb = AppDb(tmp_path / "onhook.db")

    async def fail() -> None:
        raise AssertionError

    monkeypatch.setattr(appdb, "pbxs", fail)
    monkeypatch.setattr(appdb.source_matches, "all", fail)
    credentials_file = CredentialsFile(tmp_path / "intake-pbxs.json")
    assert await AppDbLineEndpoints(appdb, credentials_file).list_endpoints() == []
    await appdb.close()


async def test_line_endpoints_and_pbxs_of_the_file_do_not_replace_each_other(tmp_path: Path) -> None:
    """Each of the two is as it was last read."""
    networks = (ip_network("192.0.2.0/24"), ip_network("2001:db8::/32"))
    pbx = RegisteredPbx(sn="3cx-5015", dialect="3cx", networks=networks)
    endpoint = LineEndpoint(pbx=pbx, mode="connect", host="192.0.2.1", port=5015)
    secret_pbx = RegisteredPbx(sn="OFFICE", dialect="yeastar", secrets=("secret",), further_sns=("BRANCH",))
    path = tmp_path / "intake-pbxs.json"
    CredentialsFile(path).write_endpoints([endpoint])
    CredentialsFile(path).write_pbxs([(secret_pbx, ("OFFICE", "BRANCH"))])
    CredentialsFile(path).write_endpoints([endpoint, endpoint])
    assert CredentialsFile(path).read_pbxs() == [(secret_pbx, ("OFFICE", "BRANCH"))]
    assert CredentialsFile(path).read_endpoints() == [endpoint, endpoint]


async def test_line_endpoints_of_an_unwritable_file_are_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The file is for the next start alone."""
    (tmp_path / "intake-pbxs.json.part").mkdir()
    async with AppDb(tmp_path / "onhook.db") as appdb:
        await appdb.add_pbx(name="Office", sn="3cx", secret=None, dialect="3cx", now_us=1)
        await appdb.line_connections.put("3cx", LineConnection(mode="connect", host="192.0.2.1", port=5015))
        source = AppDbLineEndpoints(appdb, CredentialsFile(tmp_path / "intake-pbxs.json"))
        assert [endpoint.host for endpoint in await source.list_endpoints()] == ["192.0.2.1"]
    assert "cannot write the file of line connections" in caplog.text
