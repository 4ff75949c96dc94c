"""Make the streams of `streams/` anew, from the real Asterisk: `python -m tests.pbx.asterisk.capture`."""

from pathlib import Path

from tests.pbx.asterisk.lab import build, laboratory
from tests.pbx.asterisk.scenarios import SCENARIOS

STREAMS = Path(__file__).parent / "streams"


def main() -> None:
    """Act out every scenario, and keep what Asterisk says of it."""
    build()
    with laboratory("capture") as lab, lab.listening() as listener:
        for scenario in SCENARIOS:
            scenario.act(lab)
            lab.until_silent()
            (STREAMS / f"{scenario.name}.ami").write_bytes(listener.said())


if __name__ == "__main__":
    main()
