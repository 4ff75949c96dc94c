"""A real Asterisk, with real telephones and a real trunk: `make test-pbx`.

What a subscribed webhook receives of each scenario is what its table says, to a second; whatever is killed or cut,
every call that Asterisk wrote down is there once afterwards.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from onhook.cdr.call_details import CallDetails
from tests.pbx.asterisk.harness import AsteriskHarness, open_asterisk_harness
from tests.pbx.asterisk.scenarios import SCENARIOS, SECONDS, Scenario, to_table_rows
from tests.runtime.harness import wait_until

pytestmark = [pytest.mark.pbx, pytest.mark.usefixtures("asterisk_lab_root"), pytest.mark.timeout(900)]

CALLS_AT_ONCE = 200
SECONDS_OFF_MAX = 1
"""A telephone rings for a second; whether that is one or two on a clock is chance."""


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AsteriskHarness]:
    """One for all scenarios: an Asterisk does not stop between calls either."""
    with open_asterisk_harness(tmp_path_factory.mktemp("office"), "scenarios") as one:
        yield one


def alike(row: Mapping[str, str], expected: Mapping[str, str]) -> bool:
    """Equal, but for a second here and there."""
    names = [name for name in expected if name not in (*SECONDS, "more")]
    near = all(
        row[name] == expected[name] or abs(int(row[name] or -9) - int(expected[name] or -9)) <= SECONDS_OFF_MAX
        for name in SECONDS
    )
    return near and all(row[name] == expected[name] for name in names) and words(row) == words(expected)


def words(row: Mapping[str, str]) -> set[str]:
    """What else is said, without seconds. What a CDR had said otherwise is left out: by chance it counts a second more,
    or calls a telephone answered whose call was picked up elsewhere."""
    more = {word.partition("=")[0] if word[-1].isdigit() else word for word in row["more"].split()}
    return {word for word in more if not word.startswith("cdr_")}


def in_order(rows: Sequence[Mapping[str, str]]) -> list[Mapping[str, str]]:
    return sorted(rows, key=lambda row: (row["from"], row["to"], row["status"]))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_a_subscribed_webhook_receives_the_table(office: AsteriskHarness, scenario: Scenario) -> None:
    """Act, hang up, and the application has the expected events of new calls, signed."""
    before = set(office.cdr_calls())
    scenario.run(office.lab)
    office.lab.wait_until_idle()
    wait_until(lambda: len(set(office.cdr_calls()) - before) == scenario.call_count)
    new = set(office.cdr_calls()) - before

    def events() -> list[CallDetails]:
        return [detail for call_id in new for detail in office.receiver.details_of_call(call_id)]

    wait_until(lambda: len(events()) >= len(scenario.expected))
    rows = in_order(to_table_rows(events()))
    expected = in_order(scenario.expected)
    assert len(rows) == len(expected), rows
    for row, wanted in zip(rows, expected, strict=True):
        assert alike(row, wanted), f"\n{row}\n{wanted}"


def test_the_file_knows_nothing_that_was_not_heard(office: AsteriskHarness) -> None:
    """After all scenarios, reading the file adds no record: seen by both ways, a call is one."""
    time.sleep(16)
    before = Counter(office.record_keys())
    out = office.server.run_command("backfill", "Office", "--from", str(office.cdr_file), "--since", "1d")
    assert ": 0 new, 0 changed" in out
    assert Counter(office.record_keys()) == before


def test_two_hundred_calls_at_once(office: AsteriskHarness) -> None:
    """Each is there, once, with both of its ends; the application was told of each."""
    before = set(office.cdr_calls())
    callers = office.lab.call("1002", talk_seconds=20, call_count=CALLS_AT_ONCE)
    wait_until(lambda: f"{CALLS_AT_ONCE} active calls" in office.lab.cli("core show channels"))
    callers.wait(120)
    office.lab.wait_until_idle()
    wait_until(lambda: len(set(office.cdr_calls()) - before) == CALLS_AT_ONCE)
    new = set(office.cdr_calls()) - before
    wait_until(lambda: new <= office.notified_call_ids())
    counts = Counter(key for key in office.record_keys() if key[1] in new)
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


@pytest.mark.parametrize("harm", [crash_hub, crash_asterisk, cut_line], ids=lambda harm: harm.__name__)
def test_nothing_is_missing_and_nothing_twice(tmp_path: Path, harm: Callable[[AsteriskHarness], None]) -> None:
    """In the middle of 200 calls something is killed or cut; when the gaps are filled, what Asterisk wrote is there."""
    with open_asterisk_harness(tmp_path, harm.__name__) as office:
        office.lab.call("1002").wait(60)
        calling = [
            office.lab.call(number, talk_seconds=talks, call_count=CALLS_AT_ONCE // 4)
            for number, talks in (("1002", 1), ("1002", 5), ("6300", 3), ("95550123", 9))
        ]
        time.sleep(5)
        harm(office)
        for callers in calling:
            callers.wait(120)
        office.lab.wait_until_idle()
        wait_until(office.is_connected)
        office.fill_gaps()
        written = set(office.cdr_calls())
        wait_until(lambda: written <= office.notified_call_ids())
        records = office.record_keys()
        assert {key[1] for key in records} == written
        assert max(Counter(records).values()) == 1
        legs = Counter(key[1] for key in records)
        # A ring group has a row for itself and one for each of its two members.
        assert set(legs.values()) <= {1, 3}
        assert office.server.run_command("asterisk", "list").rstrip().endswith("0")
