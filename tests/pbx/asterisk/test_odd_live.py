"""What happens around calls at a real Asterisk: we connect in the middle of one, it restarts, it is in another zone."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.pbx.asterisk.capture import SYDNEY
from tests.pbx.asterisk.harness import Office, office_in
from tests.pbx.asterisk.scenarios import as_rows
from tests.runtime.harness import wait_until

pytestmark = [pytest.mark.pbx, pytest.mark.usefixtures("built"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with office_in(tmp_path_factory.mktemp("office"), "odd") as one:
        yield one


def new_call(office: Office, before: set[str]) -> dict[str, str]:
    """The one row of the one call that came since, as the application was told of it."""
    wait_until(lambda: office.told_ids() > before)
    (call_id,) = office.told_ids() - before
    (row,) = as_rows(office.application.of_call(call_id))
    return row


def connected(office: Office) -> int:
    """How often the connection was made."""
    return office.house.text_of_log().count('"a PBX is heard"')


def test_a_call_that_was_on_when_we_connected(office: Office) -> None:
    """It ends, and is told, from its CDR alone: who talked, and for how long."""
    before = office.told_ids()
    office.link.cut()
    alice = office.lab.call("1002", talks=9)
    time.sleep(2)
    office.link.mend()
    wait_until(office.is_heard)
    alice.wait(60)
    row = new_call(office, before)
    assert (row["from"], row["to"], row["status"], row["type"]) == ("Alice<1001>", "1002", "ANSWERED", "Internal")
    assert abs(int(row["talk"]) - 9) <= 1


def test_a_restart_when_nobody_talks_any_more(office: Office) -> None:
    """The call that it waited for is told; the connection is made again; what lies between is a gap that has a name."""
    before, connections = office.told_ids(), connected(office)
    alice = office.lab.call("1002", talks=5)
    time.sleep(2)
    office.lab.restart_gracefully()
    alice.wait(60)
    assert new_call(office, before)["to"] == "Bob<1002>"
    wait_until(lambda: connected(office) > connections)
    assert "it was not heard" in office.house.onhook("coverage", "--since", "1h")
    before = office.told_ids()
    office.lab.call("1002").wait(60)
    assert new_call(office, before)["to"] == "Bob<1002>"


def test_a_pbx_where_it_is_summer(tmp_path: Path) -> None:
    """Its wall clock is eleven hours ahead: moments are told in UTC, and the file says the same."""
    with office_in(tmp_path, "summer", zone=SYDNEY) as office:
        office.lab.call("1002").wait(60)
        new_call(office, set())
        (row,) = json.loads(office.house.onhook("records", "--format", "json"))
        assert (row["utc_offset"], row["offset_from"]) == ("+11:00", "ids")
        assert abs((datetime.fromisoformat(row["started_at"]) - datetime.now(UTC)).total_seconds()) < 120
        time.sleep(16)
        assert ": 0 new, 0 changed, 1 here already" in office.house.onhook(
            "backfill", "Office", "--from", str(office.file)
        )
