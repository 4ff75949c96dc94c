"""Record the files in `streams/` again from the real Asterisk: `python -m tests.pbx.asterisk.capture [NAME ...]`."""

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import msgspec

from tests.pbx.asterisk.lab import DIRECTORY, AsteriskLab, build, open_asterisk_lab
from tests.pbx.asterisk.scenario_tables import EXTERNAL_CALLER, Scenario, make_call
from tests.pbx.asterisk.scenarios import SCENARIOS

STREAMS = Path(__file__).parent / "streams"

SYDNEY = "Australia/Sydney"
"""UTC+11 in summer, while it is winter in the northern hemisphere."""

WITHOUT_UNANSWERED: Mapping[str, str] = {
    "cdr.conf": (DIRECTORY / "etc" / "cdr.conf").read_text().replace("unanswered = yes", "unanswered = no")
}


class Capture(msgspec.Struct, frozen=True, kw_only=True):
    """What is recorded, and the zone and the changed configuration files of its laboratory."""

    record: Callable[[AsteriskLab], bytes]
    zone: str = ""
    changes: Mapping[str, str] = {}


def capture_call_before_connection(lab: AsteriskLab) -> bytes:
    """Record a call of Alice and Bob that began before the listener connected."""
    caller = lab.call("1002", talk_seconds=6)
    time.sleep(2.5)
    with lab.open_listener() as listener:
        caller.wait(60)
        lab.wait_until_idle()
        return listener.read_until_idle()


def capture_restart(lab: AsteriskLab) -> bytes:
    """Record a graceful restart of Asterisk during a call."""
    with lab.open_listener() as listener:
        caller = lab.call("1002", talk_seconds=4)
        time.sleep(2)
        lab.restart_gracefully()
        caller.wait(60)
        return listener.read_until_idle()


def capture_run(run: Callable[[AsteriskLab], None], lab: AsteriskLab) -> bytes:
    """Record calls."""
    with lab.open_listener() as listener:
        run(lab)
        lab.wait_until_idle()
        return listener.read_until_idle()


def call_while_clock_changes(lab: AsteriskLab) -> None:
    """A customer talks with Bob for seven seconds, in the third of which the clock is changed."""
    lab.wait_for_clock_change(4)
    make_call("5550002", talk_seconds=7, **EXTERNAL_CALLER)(lab)


def call_unregistered_telephone(lab: AsteriskLab) -> None:
    """A customer calls an extension whose telephone is not registered."""
    lab.call("5550020", behaviour="refused", caller="5550199", name="Outside").wait(60)


def _capture_scenario(scenario: Scenario) -> Capture:
    return Capture(record=partial(capture_run, scenario.run))


CAPTURES: Mapping[str, Capture] = {
    **{scenario.name: _capture_scenario(scenario) for scenario in SCENARIOS},
    "on_when_connected": Capture(record=capture_call_before_connection),
    "summer_time": Capture(record=partial(capture_run, SCENARIOS[0].run), zone=SYDNEY),
    "summer_time_begins": Capture(record=partial(capture_run, call_while_clock_changes), zone="summer time begins"),
    "summer_time_ends": Capture(record=partial(capture_run, call_while_clock_changes), zone="summer time ends"),
    "restarted": Capture(record=capture_restart),
}


def main() -> None:
    """Run the named scenarios, or all, and store their streams."""
    build()
    for name, capture in CAPTURES.items():
        if name in sys.argv[1:] or not sys.argv[1:]:
            with open_asterisk_lab("capture", capture.changes, capture.zone) as lab:
                (STREAMS / f"{name}.ami").write_bytes(capture.record(lab))


if __name__ == "__main__":
    main()
