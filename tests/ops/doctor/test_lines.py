"""Health checks of PBXs that write lines."""

import socket
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.line_connections import LineConnection, LineMode
from onhook.appdb.source_match import SourceMatch
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.ops.doctor import lines
from onhook.ops.doctor.pbx import check_pbx, load_check_target
from onhook.ops.doctor.settings import check_appdb
from onhook.runtime.engines import ENGINES

ANY = "0.0.0.0"  # noqa: S104 - not bound here


async def add_pbx(
    config: Config,
    *,
    host: str = "127.0.0.1",
    port: int = 5015,
    mode: LineMode = "listen",
    addresses: tuple[str, ...] = (),
    zone: str | None = "UTC",
    fields: tuple[str, ...] = (),
) -> None:
    async with AppDb(config.appdb_file) as appdb:
        source = SourceMatch(addresses)
        await appdb.add_pbx(
            name="Office", sn="3CX", secret=None, dialect="3cx", source_match=source, zone=zone, now_us=1
        )
        await appdb.line_connections.put("3CX", LineConnection(mode=mode, host=host, port=port, fields=fields))


async def run_checks(config: Config) -> dict[str, str]:
    async with AppDb(config.appdb_file) as appdb:
        target = await load_check_target(appdb, "Office", "", ZoneInfo("UTC"))
        return {
            check.detail: check.status
            async for check in check_pbx(config, appdb, SystemClock(), target, ENGINES.open_ledger)
        }


@pytest.mark.parametrize(
    ("host", "addresses", "statuses"),
    [
        (ANY, (), ["ERROR"]),
        ("192.0.2.1", (), ["ERROR"]),
        (ANY, ("192.0.2.7",), []),
        ("127.0.0.1", (), []),
    ],
)
async def test_check_appdb_listener_without_an_allow_list_is_an_error(
    tmp_path: Path, host: str, addresses: tuple[str, ...], statuses: list[str]
) -> None:
    config = Config(data=tmp_path)
    await add_pbx(config, host=host, addresses=addresses)
    checks = [check async for check in check_appdb(config, SystemClock(), ENGINES)]
    assert [check.status for check in checks if "lines of Office" in check.detail] == statuses
    assert ("lines of Office" in str(await run_checks(config))) is bool(statuses)


async def test_check_pbx_that_writes_lines_shows_its_connection_zone_and_fields(tmp_path: Path) -> None:
    config = Config(data=tmp_path)
    await add_pbx(config, addresses=("192.0.2.7",), zone=None, fields=("time-start", "time-end"))
    checks = await run_checks(config)
    assert checks["no server is running: nothing listens on 127.0.0.1:5015"] == "OK"
    assert checks["lines are accepted from 192.0.2.7"] == "OK"
    assert checks["its lines do not contain a time zone, and none is set: UTC is assumed"] == "WARNING"
    assert checks["its fields have an order of their own: time-start, time-end"] == "OK"
    assert checks["no event was received yet"] == "WARNING"


async def test_check_pbx_without_a_line_connection_is_an_error(tmp_path: Path) -> None:
    config = Config(data=tmp_path)
    async with AppDb(config.appdb_file) as appdb:
        await appdb.add_pbx(name="Office", sn="3CX", secret=None, dialect="3cx", now_us=1)
    assert (await run_checks(config))["it has no connection for its lines"] == "ERROR"


async def test_check_pbx_that_listens_is_reached_or_an_error(tmp_path: Path) -> None:
    config = Config(data=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as pbx:
        port = pbx.getsockname()[1]
        await add_pbx(config, mode="connect", port=port)
        checks = await run_checks(config)
        assert checks[f"127.0.0.1:{port} is open"] == "OK"
        assert checks["the times of its lines are read in the zone UTC"] == "OK"
    checks = await run_checks(config)
    assert [status for detail, status in checks.items() if "cannot be reached" in detail] == ["ERROR"]


async def test_check_listener_of_a_running_server_is_in_use_or_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = Config(data=tmp_path)
    monkeypatch.setattr(lines, "is_server_running", lambda _config: True)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        await add_pbx(config, port=port)
        assert (await run_checks(config))[f"the intake listens for lines on 127.0.0.1:{port}"] == "OK"
    assert (await run_checks(config))[f"the intake does not listen for lines on 127.0.0.1:{port}"] == "ERROR"
    async with AppDb(config.appdb_file) as appdb:
        await appdb.line_connections.put("3CX", LineConnection(mode="listen", host="192.0.2.77", port=5015))
        await appdb.source_matches.put("3CX", SourceMatch(("192.0.2.7",)))
    checks = await run_checks(config)
    assert [status for detail, status in checks.items() if "cannot listen on 192.0.2.77:5015" in detail] == ["ERROR"]
