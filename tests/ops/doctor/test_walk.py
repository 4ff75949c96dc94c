"""What `doctor` says of an installation in each of its states: each warning names a thing and what to do."""

import shutil
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import msgspec
import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.config import Address, Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.ops.doctor import pbx as pbx_checks
from onhook.ops.doctor.check import Check
from onhook.ops.doctor.host import check_data, check_installation
from onhook.ops.instance_lock import ProcessInfo, instance_lock, start_server_info, write_server_info
from onhook.pbx.client import PbxWebhook, PbxWebhookConfig
from onhook.runtime.engines import ENGINES
from onhook.sync.certificate_pinning import PeerCertificate
from tests.test_projector import entry, event

BERLIN = ZoneInfo("Europe/Berlin")
SECRET = "0123456789abcdef"
GIBIBYTE = 1024**3


class DiskUsage(NamedTuple):
    """What `shutil.disk_usage` returns, in bytes."""

    total: int
    used: int
    free: int


@pytest.fixture
async def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Config]:
    """Yield an installation that runs and has received a call of a PBX that uses webhooks alone."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: DiskUsage(100 * GIBIBYTE, GIBIBYTE, 99 * GIBIBYTE))
    anywhere = Address("127.0.0.1", 0)
    config = Config(data=tmp_path / "data", intake=anywhere, console=anywhere, pbx_api=anywhere, zone="Europe/Berlin")
    config.data.mkdir(mode=0o700)
    ledger = SqliteLedger(config.ledger_file)
    await ledger.append([entry(event(1, "1001"))])
    await ledger.close()
    async with AppDb(config.appdb_file) as appdb:
        await appdb.add_pbx(name="Office", sn="A1", secret=SECRET, now_us=1)
    config.store_file.touch(0o600)
    with instance_lock(config):
        server = start_server_info(config, SystemClock())
        process = ProcessInfo(pid=1, address="127.0.0.1:1")
        write_server_info(config.running_file, msgspec.structs.replace(server, intake=process, hub=process))
        yield config


async def run_checks(config: Config) -> list[Check]:
    """Return the checks; each that is not `OK` says what to do."""
    checks = [check async for check in check_installation(config, SystemClock(), ENGINES)]
    checks += check_data(0, 0, [], BERLIN, SystemClock().now())
    assert all(check.hint for check in checks if check.status != "OK")
    return checks


async def faults(config: Config) -> list[tuple[str, str]]:
    return [(check.status, check.detail) for check in await run_checks(config) if check.status != "OK"]


async def test_doctor_installation_in_order_has_no_warning(config: Config) -> None:
    assert await faults(config) == []


async def test_doctor_fresh_directory_says_how_to_begin(tmp_path: Path) -> None:
    anywhere = Address("127.0.0.1", 0)
    config = Config(data=tmp_path / "none", intake=anywhere, console=anywhere, pbx_api=anywhere)
    assert await faults(config) == [("WARNING", f"the data directory {config.data} does not exist yet")]
    config.data.mkdir(mode=0o700)
    assert [status for status, _ in await faults(config)] == ["WARNING", "WARNING"]
    assert {path.name for path in config.data.iterdir()} == set()


@pytest.mark.parametrize(
    ("free", "status", "text"), [(5 * GIBIBYTE, "WARNING", "95 % of the disk"), (1, "ERROR", "0 MiB of disk space")]
)
async def test_doctor_disk_that_is_low_is_a_fault(
    config: Config, monkeypatch: pytest.MonkeyPatch, free: int, status: str, text: str
) -> None:
    usage = DiskUsage(100 * GIBIBYTE, 100 * GIBIBYTE - free, free)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: usage)
    ((disk_status, detail),) = await faults(config)
    assert disk_status == status
    assert text in detail


async def test_doctor_paused_destination_is_not_working(config: Config) -> None:
    """Beside one that is failing."""
    async with AppDb(config.appdb_file) as appdb:
        for name in ("CRM", "BI"):
            await appdb.destinations.add(name, DestinationSpec(url="http://a.example/"), None, after=0, now_us=1)
        await appdb.destinations.set_state("CRM", "paused")
        await appdb.destinations.disable(await appdb.destinations.get("BI"), "gone")
    assert await faults(config) == [
        ("ERROR", "BI is disabled: gone"),
        ("WARNING", "CRM is paused: nothing is delivered"),
    ]


@pytest.mark.parametrize("kind", ["silence", "unreachable"])
async def test_doctor_alarm_names_the_pbx(config: Config, kind: str) -> None:
    async with AppDb(config.appdb_file) as appdb:
        await appdb.alarms.raise_alarm("A1", kind, "it is gone", hint="run `onhook doctor Office`", now_us=1)  # type: ignore[arg-type]
    assert await faults(config) == [("WARNING", "Office: it is gone")]


@pytest.mark.parametrize(("days", "status"), [(15, "OK"), (13, "WARNING"), (-1, "WARNING")])
def test_doctor_pbx_certificate_that_ends_soon_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, days: int, status: str
) -> None:
    now = SystemClock().now()
    certificate = PeerCertificate(
        fingerprint="0a" * 32, verification_error="", expires_at=(now + timedelta(days=days)).timestamp()
    )
    monkeypatch.setattr(pbx_checks, "fetch_certificate", lambda _url: certificate)
    credentials = PbxCredentials(url="https://pbx.example:8088", client_id="a", client_secret="b")
    check_certificate: Callable[..., Check] = pbx_checks._check_certificate
    assert check_certificate(credentials, now, BERLIN).status == status


async def test_doctor_pbx_webhooks_of_other_receivers_are_no_warning(config: Config) -> None:
    """Where one is for Onhook; without any, calls come by the connection to the API."""
    own = PbxWebhook(url="https://onhook.example/", secret=SECRET, method="POST", sends_call_ends=True)
    other = PbxWebhook(url="https://crm.example/", secret="another", method="POST", sends_call_ends=False)
    async with AppDb(config.appdb_file) as appdb:
        target = await pbx_checks.load_check_target(appdb, "Office", "", BERLIN)
    for entries, statuses in (((own, other), ["OK", "OK"]), ((other,), ["WARNING"]), ((), ["OK"])):
        webhooks = PbxWebhookConfig(is_enabled=True, entries=entries)
        assert [check.status for check in pbx_checks._check_webhooks(webhooks, target)] == statuses
