"""Health checks of the installation."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.appdb.source_match import SourceMatch
from onhook.config import Address, Config
from onhook.ledger.contract import LedgerEntry
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.ops.doctor.host import check_data, check_installation
from onhook.ops.doctor.settings import check_appdb
from onhook.runtime.engines import ENGINES

BERLIN = ZoneInfo("Europe/Berlin")
SEEN_AT = datetime(2026, 11, 24, 18, tzinfo=UTC)


@pytest.mark.parametrize(("lag", "status"), [(-1, "ERROR"), (0, "OK"), (1_000, "OK"), (1_001, "WARNING")])
def test_check_data_store_ahead_of_its_ledger_is_an_error(lag: int, status: str) -> None:
    """It contains events that the ledger does not have."""
    first = next(check_data(lag, quarantined_count=0, counters=(), zone=BERLIN, now=SEEN_AT))
    assert first.status == status
    if lag < 0:
        assert first.detail == "the store is 1 events ahead of its ledger"
        assert "onhook rebuild" in first.hint


@pytest.mark.parametrize(("pbx", "status"), [("", "WARNING"), ("Office", "OK")])
def test_check_data_unknown_pbx_is_listed_until_it_is_registered(pbx: str, status: str) -> None:
    """A PBX may be set up before it is added."""
    counter = {"kind": "unknown_pbx", "sn": "3631A2124ABC", "pbx": pbx, "count": 6, "last_at": "2026-11-24T17:04:04Z"}
    *_, last = check_data(0, quarantined_count=0, counters=[counter], zone=BERLIN, now=SEEN_AT)
    assert last.status == status
    assert ("pbx add" in last.hint) is (not pbx)


async def test_check_installation_files_of_a_move_are_a_warning(tmp_path: Path) -> None:
    """They have what an erasure does not reach."""
    anywhere = Address("127.0.0.1", 0)
    config = Config(data=tmp_path, intake=anywhere, console=anywhere, pbx_api=anywhere)
    for name in ("onhook.db.moved", "ledger.db.moved"):
        (tmp_path / name).touch()
    checks = [check async for check in check_installation(config, SystemClock(), ENGINES)]
    warned = [check.detail.partition(" ")[0] for check in checks if "no erasure reaches it" in check.detail]
    assert warned == ["onhook.db.moved", "ledger.db.moved"]


async def test_check_destinations_disabled_one_is_an_error(tmp_path: Path) -> None:
    """With what to do and without the key in its URL."""
    anywhere = Address("127.0.0.1", 0)
    config = Config(data=tmp_path, intake=anywhere, console=anywhere, pbx_api=anywhere)
    appdb = AppDb(config.appdb_file)
    destination, _ = await appdb.destinations.add(
        "CRM", DestinationSpec(url="http://a.example/?key=hush"), None, after=0, now_us=1
    )
    checks = [check async for check in check_installation(config, SystemClock(), ENGINES)]
    assert ("OK", "1 destination is working") in [(finding.status, finding.detail) for finding in checks]
    await appdb.destinations.disable(destination, "the application answered 410 Gone")
    await appdb.close()
    checks = [check async for check in check_installation(config, SystemClock(), ENGINES)]
    (wrong,) = [finding for finding in checks if finding.status == "ERROR"]
    assert wrong.detail == "CRM is disabled: the application answered 410 Gone"
    assert "onhook destination resume CRM" in wrong.hint
    assert "hush" not in str(checks)


def new_config(folder: Path) -> Config:
    anywhere = Address("127.0.0.1", 0)
    return Config(data=folder, intake=anywhere, console=anywhere, pbx_api=anywhere)


async def errors(config: Config) -> list[str]:
    return [
        finding.detail
        async for finding in check_installation(config, SystemClock(), ENGINES)
        if finding.status == "ERROR"
    ]


@pytest.mark.parametrize("has_file", [True, False])
async def test_check_installation_lost_settings_are_an_error(tmp_path: Path, has_file: bool) -> None:
    """The ledger has events, and no PBX is registered."""
    config = new_config(tmp_path)
    ledger = SqliteLedger(config.ledger_file)
    if has_file:
        async with AppDb(config.appdb_file):
            pass
    assert await errors(config) == []
    entry = LedgerEntry(
        sn="A", dialect="yeastar", via="webhook", received_at=1, key=bytes(16), body=b"{}", signature="", peer=""
    )
    await ledger.append([entry])
    await ledger.close()
    (error,) = await errors(config)
    assert "the settings are lost" in error


async def test_check_installation_pbxs_that_cannot_be_read_are_not_lost(tmp_path: Path) -> None:
    """As after a downgrade: their events are stored."""
    config = new_config(tmp_path)
    async with AppDb(config.appdb_file) as appdb:
        await appdb.add_pbx(name="Office", sn="A1", secret="first-secret", now_us=1)
    with closing(sqlite3.connect(config.appdb_file, isolation_level=None)) as connection:
        connection.execute("UPDATE pbxs SET number_plan = '{'")
    ledger = SqliteLedger(config.ledger_file)
    await ledger.append([LedgerEntry(sn="A", dialect="yeastar", via="webhook", received_at=1, key=bytes(16), body=b"")])
    await ledger.close()
    pbxs, office = await errors(config)
    assert pbxs == "no registered PBX can be read; their events are stored"
    assert office.startswith("Office in pbxs is disabled")


async def test_check_installation_damaged_ledger_is_an_error(tmp_path: Path) -> None:
    config = new_config(tmp_path)
    config.ledger_file.write_bytes(b"SQLite format 3\x00" + b"x" * 10_000)
    assert any("ledger.db is damaged" in error for error in await errors(config))


async def test_check_installation_names_open_alarms(tmp_path: Path) -> None:
    config = new_config(tmp_path)
    appdb = AppDb(config.appdb_file)
    await appdb.add_pbx(name="Office", sn="A1", secret="first-secret", now_us=1)
    await appdb.alarms.raise_alarm("A1", "clock", "the clock is wrong", hint="set it", now_us=1)
    await appdb.close()
    warnings = [
        finding async for finding in check_installation(config, SystemClock(), ENGINES) if finding.status == "WARNING"
    ]
    assert ("Office: the clock is wrong", "set it") in [(finding.detail, finding.hint) for finding in warnings]


@pytest.mark.parametrize("pbx", ["", "Office"])
def test_check_data_unregistered_serial_number_is_offered_until_it_is_added(pbx: str) -> None:
    counter = {
        "kind": "unregistered", "sn": "3631A2199ZZZ", "label": "3631A2124ABC", "pbx": pbx, "count": 3,
        "last_at": "2026-11-24T17:04:04Z",
    }  # fmt: skip
    hints = [check.hint for check in check_data(0, quarantined_count=1, counters=[counter], zone=BERLIN, now=SEEN_AT)]
    offered = "if it is that PBX: onhook pbx change 3631A2124ABC --add-sn 3631A2199ZZZ"
    assert (offered in hints) is (not pbx)


async def test_check_installation_counts_only_signed_pbxs_as_signed(tmp_path: Path) -> None:
    """An Asterisk is connected to, and a PBX that cannot sign is identified by its address."""
    config = new_config(tmp_path)
    async with AppDb(config.appdb_file) as appdb:
        for name, options in {
            "Office": {"secret": "0123456789abcdef"},
            "Shop": {"secret": "0123456789abcdef", "dialect": "asterisk"},
            "Depot": {"secret": None, "dialect": "newcdr", "source_match": SourceMatch(("192.0.2.7",))},
        }.items():
            await appdb.add_pbx(name=name, sn=name, now_us=1, **options)  # type: ignore[arg-type]
        details = [check.detail async for check in check_appdb(config, SystemClock(), ENGINES)]
        assert "3 PBXs registered: 1 by signature, 1 by address or path, 1 by the connection to it" in details
        await appdb.add_pbx(name="Lab", sn="Lab", secret=None, is_unsigned=True, now_us=1)
        details = [check.detail async for check in check_appdb(config, SystemClock(), ENGINES)]
        assert "any sender can send events as Lab" in details


def test_check_data_request_without_a_signature_names_the_other_dialect() -> None:
    """The older generations cannot sign."""
    counter = {"kind": "missing_signature", "sn": "A", "pbx": "Office", "count": 6, "last_at": "2026-11-24T17:04:04Z"}
    *_, last = check_data(0, quarantined_count=0, counters=[counter], zone=BERLIN, now=SEEN_AT)
    assert "--dialect newcdr" in last.hint


async def test_check_installation_names_a_ledger_that_is_missing(tmp_path: Path) -> None:
    """Where there are calls of it; before the first start there is none."""
    config = Config(data=tmp_path)
    for status in ("OK", "ERROR"):
        details = [
            check.detail
            async for check in check_installation(config, SystemClock(), ENGINES)
            if check.status == "ERROR"
        ]
        assert any("ledger.db is missing" in detail for detail in details) is (status == "ERROR")
        config.store_file.write_bytes(b"")


@pytest.mark.parametrize(("kind", "text"), [("invalid_signature", "pbx secret add Office"), ("unknown_pbx", "--sn A")])
def test_check_data_rejection_of_another_day_is_none(kind: str, text: str) -> None:
    """One of the last day names the PBX, and what to do."""
    pbx = "" if kind == "unknown_pbx" else "Office"
    counter = {"kind": kind, "sn": "A", "pbx": pbx, "count": 6, "last_at": "2026-11-24T17:04:04Z"}
    *_, recent = check_data(0, quarantined_count=0, counters=[counter], zone=BERLIN, now=SEEN_AT)
    assert recent.status == "WARNING"
    assert (pbx or "'A'") in recent.detail
    assert "2026-11-24 18:04:04+01:00" in recent.detail
    assert text in recent.hint
    *_, old = check_data(0, quarantined_count=0, counters=[counter], zone=BERLIN, now=SEEN_AT + timedelta(days=2))
    assert (old.status, old.detail) == ("OK", "no rejected requests in the last day")


@pytest.mark.parametrize(
    ("count", "text"),
    [(1, "1 event could not"), (12, "12 events could not"), (1_000, "1,000 or more events could not")],
)
def test_check_data_quarantine_has_the_number(count: int, text: str) -> None:
    _, check, *_ = check_data(0, quarantined_count=count, counters=[], zone=BERLIN, now=SEEN_AT)
    assert text in check.detail


def test_check_data_pbx_that_was_repaired_is_no_warning() -> None:
    """A webhook was accepted after the rejected one."""
    counters = [
        {"kind": kind, "sn": "A", "pbx": "Office", "count": 6, "last_at": f"2026-11-24T17:0{minute}:00Z"}
        for kind, minute in (("stored", 5), ("invalid_signature", 4))
    ]
    *_, last = check_data(0, quarantined_count=0, counters=counters, zone=BERLIN, now=SEEN_AT)
    assert last.status == "OK"
    assert "has sent accepted ones since" in last.detail
    *_, last = check_data(0, quarantined_count=0, counters=counters[1:], zone=BERLIN, now=SEEN_AT)
    assert last.status == "WARNING"


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ({"kind": "unknown_pbx", "label": "others"}, "requests from further serial numbers: 6 (last: "),
        ({"kind": "unknown_pbx", "label": ""}, "requests from an unknown PBX: 6 (last: "),
        ({"kind": "invalid_signature", "label": "others"}, "requests for further serial numbers with an invalid"),
        ({"kind": "unexpected_source", "pbx": "Shop", "identified_by": ["path"]}, "requests for Shop to a path that"),
        ({"kind": "unexpected_source", "pbx": "Shop", "identified_by": ["address"]}, "for Shop from an address that"),
    ],
)
def test_check_data_rejection_names_what_is_known_of_the_sender(members: dict[str, Any], text: str) -> None:
    counter = {"sn": "", "pbx": "", "count": 6, "last_at": "2026-11-24T17:04:04Z", **members}
    *_, last = check_data(0, quarantined_count=0, counters=[counter], zone=BERLIN, now=SEEN_AT)
    assert text in last.detail
    assert "''" not in last.detail
