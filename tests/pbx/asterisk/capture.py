"""Record the files in `streams/` again from the real Asterisk: `python -m tests.pbx.asterisk.capture [NAME ...]`."""

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.pbx.asterisk.lab import AsteriskLab, build, open_asterisk_lab
from tests.pbx.asterisk.scenario_tables import Scenario
from tests.pbx.asterisk.scenarios import SCENARIOS

STREAMS = Path(__file__).parent / "streams"

SYDNEY = "Australia/Sydney"
"""UTC+11 in summer, while it is winter in the northern hemisphere."""


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


def capture_scenario(scenario: Scenario, lab: AsteriskLab) -> bytes:
    """Record one scenario."""
    with lab.open_listener() as listener:
        scenario.run(lab)
        lab.wait_until_idle()
        return listener.read_until_idle()


CAPTURES: Mapping[str, Callable[[AsteriskLab], bytes]] = {
    **{scenario.name: partial(capture_scenario, scenario) for scenario in SCENARIOS},
    "on_when_connected": capture_call_before_connection,
    "summer_time": partial(capture_scenario, SCENARIOS[0]),
    "restarted": capture_restart,
}


def main() -> None:
    """Run the named scenarios, or all, and store their streams."""
    build()
    for name, capture in CAPTURES.items():
        if name in sys.argv[1:] or not sys.argv[1:]:
            with open_asterisk_lab("capture", zone=SYDNEY if name == "summer_time" else "") as lab:
                (STREAMS / f"{name}.ami").write_bytes(capture(lab))


if __name__ == "__main__":
    main()
