"""What happens around calls at a real Asterisk: we connect in the middle of one, it restarts, it is in another zone."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.pbx.asterisk.capture import SYDNEY
from tests.pbx.asterisk.harness import AsteriskHarness, open_asterisk_harness
from tests.pbx.asterisk.scenarios import to_table_rows
from tests.runtime.harness import wait_until

pytestmark = [pytest.mark.pbx, pytest.mark.usefixtures("asterisk_lab_root"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsteriskHarness]:
    with open_asterisk_harness(tmp_path_factory.mktemp("office"), "odd") as one:
        yield one


def new_call(office: AsteriskHarness, before: set[str]) -> dict[str, str]:
    """The one row of the one call that came since, as the application was told of it."""
    wait_until(lambda: office.notified_call_ids() > before)
    (call_id,) = office.notified_call_ids() - before
    (row,) = to_table_rows(office.receiver.details_of_call(call_id))
    return row


def connected(office: AsteriskHarness) -> int:
    """How often the connection was made."""
    return office.server.log_text().count('"PBX connected"')


def test_a_call_that_was_on_when_we_connected(office: AsteriskHarness) -> None:
    """It ends, and is told, from its CDR alone: who talked, and for how long."""
    before = office.notified_call_ids()
    office.proxy.disconnect()
    alice = office.lab.call("1002", talk_seconds=9)
    time.sleep(2)
    office.proxy.reconnect()
    wait_until(office.is_connected)
    alice.wait(60)
    row = new_call(office, before)
    assert (row["from"], row["to"], row["status"], row["type"]) == ("Alice<1001>", "1002", "ANSWERED", "Internal")
    assert abs(int(row["talk"]) - 9) <= 1


def test_a_restart_when_nobody_talks_any_more(office: AsteriskHarness) -> None:
    """The call that it waited for is told; the connection is made again; what lies between is a gap that has a name."""
    before, connections = office.notified_call_ids(), connected(office)
    alice = office.lab.call("1002", talk_seconds=5)
    time.sleep(2)
    office.lab.restart_gracefully()
    alice.wait(60)
    assert new_call(office, before)["to"] == "Bob<1002>"
    wait_until(lambda: connected(office) > connections)
    assert "it was not heard" in office.server.run_command("coverage", "--since", "1h")
    before = office.notified_call_ids()
    office.lab.call("1002").wait(60)
    assert new_call(office, before)["to"] == "Bob<1002>"


def test_a_pbx_where_it_is_summer(tmp_path: Path) -> None:
    """Its wall clock is eleven hours ahead: moments are told in UTC, and the file says the same."""
    with open_asterisk_harness(tmp_path, "summer", zone=SYDNEY) as office:
        office.lab.call("1002").wait(60)
        new_call(office, set())
        (row,) = json.loads(office.server.run_command("records", "--format", "json"))
        assert (row["utc_offset"], row["offset_from"]) == ("+11:00", "ids")
        assert abs((datetime.fromisoformat(row["started_at"]) - datetime.now(UTC)).total_seconds()) < 120
        time.sleep(16)
        assert ": 0 new, 0 changed, 1 here already" in office.server.run_command(
            "backfill", "Office", "--from", str(office.cdr_file)
        )
