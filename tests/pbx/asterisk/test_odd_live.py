"""Special cases with a real Asterisk: a connection during a call, a restart, and another time zone."""

import json
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from onhook.pbx.asterisk.call_collector import MISSING_CDR_SECONDS
from onhook.pbx.asterisk.files import parse_rows
from onhook.pbx.asterisk.messages import parse_messages
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.ami_streams import bodies
from tests.pbx.asterisk.capture import (
    SYDNEY,
    WITHOUT_UNANSWERED,
    call_unregistered_telephone,
    call_while_clock_changes,
    capture_run,
)
from tests.pbx.asterisk.harness import AsteriskHarness, open_asterisk_harness
from tests.pbx.asterisk.lab import CLOCK_CHANGES, open_asterisk_lab
from tests.pbx.asterisk.scenario_tables import to_table_rows
from tests.runtime.harness import wait_until

pytestmark = [pytest.mark.pbx, pytest.mark.usefixtures("asterisk_lab_root"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsteriskHarness]:
    with open_asterisk_harness(tmp_path_factory.mktemp("office"), "odd") as harness:
        yield harness


def wait_for_new_call(office: AsteriskHarness, before: set[str]) -> dict[str, str]:
    """Return the only row of the only new call, as received by the webhook."""
    wait_until(lambda: office.notified_call_ids() > before)
    (call_id,) = office.notified_call_ids() - before
    (row,) = to_table_rows(office.receiver.details_of_call(call_id))
    return row


def count_connections(office: AsteriskHarness) -> int:
    """Return the number of connections made so far."""
    return office.server.log_text().count('"PBX connected"')


def test_live_call_active_at_connect_is_delivered_from_its_cdr(office: AsteriskHarness) -> None:
    """With the right parties and talk time."""
    before = office.notified_call_ids()
    office.proxy.disconnect()
    alice = office.lab.call("1002", talk_seconds=9)
    time.sleep(2)
    office.proxy.reconnect()
    wait_until(office.is_connected)
    alice.wait(60)
    row = wait_for_new_call(office, before)
    assert (row["from"], row["to"], row["status"], row["type"]) == ("Alice<1001>", "1002", "ANSWERED", "Internal")
    assert abs(int(row["talk"]) - 9) <= 1


def test_live_graceful_restart_delivers_call_and_reconnects(office: AsteriskHarness) -> None:
    """The time without a connection is a gap with a reason."""
    before, connections = office.notified_call_ids(), count_connections(office)
    alice = office.lab.call("1002", talk_seconds=5)
    time.sleep(2)
    office.lab.restart_gracefully()
    alice.wait(60)
    assert wait_for_new_call(office, before)["to"] == "Bob<1002>"
    wait_until(lambda: count_connections(office) > connections)
    assert "not connected" in office.server.run_command("coverage", "--since", "1h")
    before = office.notified_call_ids()
    office.lab.call("1002").wait(60)
    assert wait_for_new_call(office, before)["to"] == "Bob<1002>"


def test_live_pbx_in_other_time_zone_is_stored_in_utc(tmp_path: Path) -> None:
    """Its wall clock is eleven hours ahead; a backfill from the file finds the same call."""
    with open_asterisk_harness(tmp_path, "summer", zone=SYDNEY) as office:
        office.lab.call("1002").wait(60)
        wait_for_new_call(office, set())
        (row,) = json.loads(office.server.run_command("records", "--format", "json"))
        assert (row["utc_offset"], row["offset_from"]) == ("+11:00", "ids")
        assert abs((datetime.fromisoformat(row["started_at"]) - datetime.now(UTC)).total_seconds()) < 120
        time.sleep(16)
        assert ": 0 new, 0 changed, 1 already stored" in office.server.run_command(
            "backfill", "Office", "--from", str(office.cdr_file)
        )


def _clock_change(cdr_file: Path) -> timedelta:
    """Return by how much the wall clocks of the last CDR differ from its duration."""
    *_earlier, row = parse_rows(cdr_file.read_text().splitlines(keepends=True))
    assert isinstance(row, Mapping)
    start, end = (datetime.fromisoformat(row[name]) for name in ("start", "end"))
    return timedelta(hours=round((end - start - timedelta(seconds=int(row["duration"]))) / timedelta(hours=1)))


@pytest.mark.parametrize("zone", CLOCK_CHANGES)
def test_live_call_during_which_the_clock_is_changed_keeps_its_times(tmp_path: Path, zone: str) -> None:
    """Seven seconds of talk, whatever the wall clock shows; a backfill from the file finds the same call."""
    with open_asterisk_harness(tmp_path, "clock", zone=zone) as office:
        call_while_clock_changes(office.lab)
        row = wait_for_new_call(office, set())
        assert (row["from"], row["to"], row["status"]) == ("Outside<5550199>", "Bob<1002>", "ANSWERED")
        assert abs(int(row["talk"]) - 7) <= 1
        assert abs(int(row["total"]) - 8) <= 1
        assert _clock_change(office.cdr_file) == timedelta(hours=CLOCK_CHANGES[zone])
        (stored,) = json.loads(office.server.run_command("records", "--format", "json"))
        assert (stored["utc_offset"], stored["offset_from"]) == ("+01:00", "ids")
        assert abs((datetime.fromisoformat(stored["started_at"]) - datetime.now(UTC)).total_seconds()) < 120
        time.sleep(16)
        assert ": 0 new, 0 changed, 1 already stored" in office.server.run_command(
            "backfill", "Office", "--from", str(office.cdr_file)
        )


def test_live_call_to_an_unregistered_telephone_is_read_without_a_cdr() -> None:
    """Asterisk writes none (`unanswered = no`); what its events say is enough."""
    with open_asterisk_lab("unanswered", WITHOUT_UNANSWERED) as lab:
        stream = capture_run(call_unregistered_telephone, lab)
    assert b"Event: Cdr" not in stream
    messages = [message for message in parse_messages(stream) if message.get("Event")]
    (body,) = bodies(messages, waited=1.0 + MISSING_CDR_SECONDS)
    (row,) = to_table_rows(Asterisk().parse(body))
    assert (row["from"], row["to"], row["status"], row["type"]) == ("Outside<5550199>", "2009", "FAILED", "Inbound")
