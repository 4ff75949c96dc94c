"""A real Asterisk with real telephones and a real trunk: `make test-pbx`.

The events received by a webhook destination equal the table of each scenario, to a second; after any crash or cut
connection, every call that Asterisk recorded is stored exactly once.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from onhook.cdr.call_details import CallDetails
from tests.pbx.asterisk.harness import AsteriskHarness, open_asterisk_harness
from tests.pbx.asterisk.scenario_tables import SECONDS, Scenario, to_table_rows
from tests.pbx.asterisk.scenarios import SCENARIOS
from tests.runtime.harness import wait_until

pytestmark = [pytest.mark.pbx, pytest.mark.usefixtures("asterisk_lab_root"), pytest.mark.timeout(900)]

CALLS_AT_ONCE = 200
SECONDS_OFF_MAX = 1
"""A telephone rings for a second, which a clock may count as one or two."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsteriskHarness]:
    """One harness for all scenarios: Asterisk does not stop between calls either."""
    with open_asterisk_harness(tmp_path_factory.mktemp("office"), "scenarios") as harness:
        yield harness


def is_equal_within_tolerance(row: Mapping[str, str], expected: Mapping[str, str]) -> bool:
    """Return whether the rows are equal, to a second."""
    names = [name for name in expected if name not in (*SECONDS, "more")]
    near = all(
        row[name] == expected[name] or abs(int(row[name] or -9) - int(expected[name] or -9)) <= SECONDS_OFF_MAX
        for name in SECONDS
    )
    return near and all(row[name] == expected[name] for name in names) and detail_words(row) == detail_words(expected)


def detail_words(row: Mapping[str, str]) -> set[str]:
    """Return the words in `more`, without seconds. `cdr_…` is left out: a CDR sometimes counts a second more, or marks
    a telephone as answered whose call was picked up elsewhere.
    """
    more = {word.partition("=")[0] if word[-1].isdigit() else word for word in row["more"].split()}
    return {word for word in more if not word.startswith("cdr_")}


def sort_rows(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    return sorted(rows, key=lambda row: (row["from"], row["to"], row["status"]))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_live_scenario_events_equal_expected_table(office: AsteriskHarness, scenario: Scenario) -> None:
    before = set(office.cdr_calls())
    scenario.run(office.lab)
    office.lab.wait_until_idle()
    wait_until(lambda: len(set(office.cdr_calls()) - before) == scenario.call_count)
    new_call_ids = set(office.cdr_calls()) - before

    def events() -> list[CallDetails]:
        return [detail for call_id in new_call_ids for detail in office.receiver.details_of_call(call_id)]

    wait_until(lambda: len(events()) >= len(scenario.expected))
    rows = sort_rows(to_table_rows(events()))
    expected = sort_rows(scenario.expected)
    assert len(rows) == len(expected), rows
    for row, expected_row in zip(rows, expected, strict=True):
        assert is_equal_within_tolerance(row, expected_row), f"\n{row}\n{expected_row}"


def test_live_backfill_after_all_scenarios_adds_no_record(office: AsteriskHarness) -> None:
    """A call received over AMI and from the file is one call."""
    time.sleep(16)
    before = Counter(office.record_keys())
    out = office.server.run_command("backfill", "Office", "--from", str(office.cdr_file), "--since", "1d")
    assert ": 0 new, 0 changed" in out
    assert Counter(office.record_keys()) == before


def test_live_two_hundred_concurrent_calls_are_stored_and_delivered_once(office: AsteriskHarness) -> None:
    before = set(office.cdr_calls())
    callers = office.lab.call("1002", talk_seconds=20, call_count=CALLS_AT_ONCE)
    wait_until(lambda: f"{CALLS_AT_ONCE} active calls" in office.lab.cli("core show channels"))
    callers.wait(120)
    office.lab.wait_until_idle()
    wait_until(lambda: len(set(office.cdr_calls()) - before) == CALLS_AT_ONCE)
    new_call_ids = set(office.cdr_calls()) - before
    wait_until(lambda: new_call_ids <= office.notified_call_ids())
    counts = Counter(key for key in office.record_keys() if key[1] in new_call_ids)
    assert len(counts) == CALLS_AT_ONCE
    assert set(counts.values()) == {1}


def crash_hub(office: AsteriskHarness) -> None:
    office.server.kill("hub")
    wait_until(lambda: office.server.process_info("hub") is not None)


def crash_asterisk(office: AsteriskHarness) -> None:
    office.lab.kill_asterisk()
    office.lab.start_asterisk()


def cut_line(office: AsteriskHarness) -> None:
    office.proxy.disconnect()
    time.sleep(4)
    office.proxy.reconnect()


@pytest.mark.parametrize("disrupt", [crash_hub, crash_asterisk, cut_line], ids=lambda disrupt: disrupt.__name__)
def test_live_crash_or_cut_connection_loses_and_duplicates_no_call(
    tmp_path: Path, disrupt: Callable[[AsteriskHarness], None]
) -> None:
    """A crash or cut happens during 200 calls; after the backfill the records equal Asterisk's CDRs."""
    with open_asterisk_harness(tmp_path, disrupt.__name__) as office:
        office.lab.call("1002").wait(60)
        caller_groups = [
            office.lab.call(number, talk_seconds=talk_seconds, call_count=CALLS_AT_ONCE // 4)
            for number, talk_seconds in (("1002", 1), ("1002", 5), ("6300", 3), ("95550123", 9))
        ]
        time.sleep(5)
        disrupt(office)
        for callers in caller_groups:
            callers.wait(120)
        office.lab.wait_until_idle()
        wait_until(office.is_connected)
        office.fill_gaps()
        recorded_call_ids = set(office.cdr_calls())
        wait_until(lambda: recorded_call_ids <= office.notified_call_ids())
        records = office.record_keys()
        assert {key[1] for key in records} == recorded_call_ids
        assert max(Counter(records).values()) == 1
        legs = Counter(key[1] for key in records)
        # A ring group has a row of its own and one for each of its two members.
        assert set(legs.values()) <= {1, 3}
        assert office.server.run_command("asterisk", "list").rstrip().endswith("0")
