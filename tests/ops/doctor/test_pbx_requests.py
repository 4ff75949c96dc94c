"""Health checks of one PBX that need no connection to it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from onhook.appdb.appdb import AppDb
from onhook.appdb.source_match import SourceMatch
from onhook.config import Config
from onhook.ledger.contract import CounterKey
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.timestamps import to_microseconds
from onhook.ops.doctor.check import Check
from onhook.ops.doctor.pbx import check_pbx, load_check_target
from onhook.runtime.engines import ENGINES

NOW = datetime(2026, 11, 28, 9, tzinfo=UTC)
SN = "3631A2124ABC"


class FixedClock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW

    def microseconds(self) -> int:
        return to_microseconds(NOW)


async def checks(directory: Path, *counters: tuple[str, str, str, timedelta]) -> list[Check]:
    """Return the checks of a PBX that uses webhooks alone; counters are kind, serial number, label and age."""
    config = Config(data=directory)
    if counters:
        ledger = SqliteLedger(config.ledger_file)
        for kind, sn, label, age in counters:
            await ledger.add_counts({CounterKey(kind, sn, label): 3}, to_microseconds(NOW - age))
        await ledger.close()
    async with AppDb(config.appdb_file) as appdb:
        if not await appdb.pbxs():
            await appdb.add_pbx(name="Head office", sn=SN, secret="first-secret", now_us=1)
        target = await load_check_target(appdb, "Head office", "", ZoneInfo("Europe/Berlin"))
        return [check async for check in check_pbx(config, appdb, FixedClock(), target, ENGINES.open_ledger)]


def statuses(pbx_checks: list[Check], text: str) -> list[str]:
    return [check.status for check in pbx_checks if text in check.detail]


async def test_check_pbx_by_webhooks_in_order_has_no_warning(tmp_path: Path) -> None:
    """What is not configured is no fault."""
    pbx_checks = await checks(tmp_path, ("stored", SN, "", timedelta(minutes=5)))
    assert {check.status for check in pbx_checks} == {"OK"}
    assert statuses(pbx_checks, "the last event was received at 2026-11-28 09:55:00+01:00") == ["OK"]
    assert statuses(pbx_checks, "missing ones are not searched for") == ["OK"]


async def test_check_pbx_without_an_event_is_a_warning(tmp_path: Path) -> None:
    """The ledger may not exist yet, and is not created."""
    pbx_checks = await checks(tmp_path)
    assert statuses(pbx_checks, "no event was received yet") == ["WARNING"]
    assert not (tmp_path / "ledger.db").exists()


@pytest.mark.parametrize(("age", "expected"), [(timedelta(hours=1), ["WARNING"]), (timedelta(days=2), [])])
async def test_check_pbx_names_rejected_requests_of_the_last_day(
    tmp_path: Path, age: timedelta, expected: list[str]
) -> None:
    pbx_checks = await checks(tmp_path, ("stored", SN, "", timedelta(days=3)), ("invalid_signature", SN, "", age))
    assert statuses(pbx_checks, "requests for Head office with an invalid signature: 3 (last: ") == expected
    hints = [check.hint for check in pbx_checks if "invalid signature" in check.detail]
    assert all("`onhook pbx secret add 'Head office'`" in hint for hint in hints)


async def test_check_pbx_whose_requests_are_accepted_again_is_in_order(tmp_path: Path) -> None:
    """A wrong secret was corrected."""
    pbx_checks = await checks(
        tmp_path, ("invalid_signature", SN, "", timedelta(hours=2)), ("stored", SN, "", timedelta(hours=1))
    )
    assert statuses(pbx_checks, "invalid signature") == []
    assert statuses(pbx_checks, "has sent accepted ones since") == ["OK"]


@pytest.mark.parametrize("channel", ["via:import", "via:backfill", "row"])
async def test_check_pbx_by_webhooks_with_imported_calls_alone_is_a_warning(tmp_path: Path, channel: str) -> None:
    """A file with old calls says nothing about the webhook."""
    pbx_checks = await checks(
        tmp_path, ("stored", SN, channel, timedelta(minutes=5)), ("duplicate", SN, channel, timedelta())
    )
    assert statuses(pbx_checks, "no event was received yet") == ["WARNING"]


async def test_check_pbx_last_event_is_the_last_live_one(tmp_path: Path) -> None:
    pbx_checks = await checks(
        tmp_path, ("stored", SN, "", timedelta(hours=2)), ("stored", SN, "via:import", timedelta(minutes=5))
    )
    assert statuses(pbx_checks, "the last event was received at 2026-11-28 08:00:00+01:00") == ["OK"]


async def test_check_pbx_that_is_identified_by_its_path_names_the_path(tmp_path: Path) -> None:
    async with AppDb(tmp_path / "onhook.db") as appdb:
        source_match = SourceMatch(path="/0123456789abcdef")
        await appdb.add_pbx(
            name="Head office", sn=SN, secret=None, dialect="newcdr", source_match=source_match, now_us=1
        )
    pbx_checks = await checks(tmp_path, ("unexpected_source", SN, "", timedelta(hours=1)))
    assert statuses(pbx_checks, "requests for Head office to a path that is not configured: 3") == ["WARNING"]
    (hint,) = [check.hint for check in pbx_checks if "to a path" in check.detail]
    assert "--path PATH" in hint
    assert "--from" not in hint


async def test_check_pbx_forged_serial_numbers_hide_no_counter(tmp_path: Path) -> None:
    """Of any kind, and however many there are."""
    forged = [("unregistered", f"S{number}", "OTHER", timedelta()) for number in range(999)]
    forged += [("stored", f"S{number}", "", timedelta()) for number in range(999)]
    pbx_checks = await checks(
        tmp_path, ("stored", SN.lower(), "", timedelta(days=1)), ("unregistered", "Z", SN, timedelta(days=1)), *forged
    )
    assert statuses(pbx_checks, "the last event was received at 2026-11-27") == ["OK"]
    assert statuses(pbx_checks, "3 events of the serial number 'Z' are in the quarantine") == ["WARNING"]


async def test_check_pbx_names_unregistered_serial_numbers(tmp_path: Path) -> None:
    """Their events are in the quarantine; those of another PBX are not named here."""
    pbx_checks = await checks(
        tmp_path,
        ("stored", SN, "", timedelta()),
        ("unregistered", "3631A2199ZZZ", SN, timedelta(days=9)),
        ("unregistered", "3631A2199YYY", "OTHER", timedelta()),
    )
    assert statuses(pbx_checks, "3 events of the serial number '3631A2199ZZZ' are in the quarantine") == ["WARNING"]
    assert statuses(pbx_checks, "3631A2199YYY") == []
