"""Make the streams of `streams/` anew, from the real Asterisk: `python -m tests.pbx.asterisk.capture [NAME ...]`."""

import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from tests.pbx.asterisk.lab import Laboratory, build, laboratory
from tests.pbx.asterisk.scenarios import SCENARIOS, Scenario

STREAMS = Path(__file__).parent / "streams"

SYDNEY = "Australia/Sydney"
"""Where it is summer, and +11 hours, while it is winter elsewhere."""


def on_when_connected(lab: Laboratory) -> bytes:
    """Alice and Bob talk already when somebody begins to listen."""
    alice = lab.call("1002", talks=6)
    time.sleep(2.5)
    with lab.listening() as listener:
        alice.wait(60)
        lab.until_silent()
        return listener.said()


def restarted(lab: Laboratory) -> bytes:
    """Asterisk is told to restart when nobody talks any more, and somebody does."""
    with lab.listening() as listener:
        alice = lab.call("1002", talks=4)
        time.sleep(2)
        lab.restart_gracefully()
        alice.wait(60)
        return listener.said()


def of_scenario(scenario: Scenario, lab: Laboratory) -> bytes:
    """What is said of it."""
    with lab.listening() as listener:
        scenario.act(lab)
        lab.until_silent()
        return listener.said()


HEARD: Mapping[str, Callable[[Laboratory], bytes]] = {
    **{scenario.name: partial(of_scenario, scenario) for scenario in SCENARIOS},
    "on_when_connected": on_when_connected,
    "summer_time": partial(of_scenario, SCENARIOS[0]),
    "restarted": restarted,
}


def main() -> None:
    """Act out everything, or what is named, and keep what Asterisk says of it."""
    build()
    for name, hear in HEARD.items():
        if name in sys.argv[1:] or not sys.argv[1:]:
            with laboratory("capture", zone=SYDNEY if name == "summer_time" else "") as lab:
                (STREAMS / f"{name}.ami").write_bytes(hear(lab))


if __name__ == "__main__":
    main()
