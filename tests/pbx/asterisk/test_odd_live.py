"""Special cases with a real Asterisk: a connection during a call, a restart, and another time zone."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.pbx.asterisk.capture import SYDNEY
from tests.pbx.asterisk.harness import AsteriskHarness, open_asterisk_harness
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
