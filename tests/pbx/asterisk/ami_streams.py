"""What the real Asterisk said in each scenario, kept in `streams/`: numbers and names made up, addresses loopback."""

from pathlib import Path

from onhook.pbx.asterisk.call_collector import GRACE_SECONDS, Gathering, PbxReading
from onhook.pbx.asterisk.messages import Message, parse_messages

STREAMS = Path(__file__).parent / "streams"
READING = PbxReading(trunks=("trunk-a",), inbound=("from-trunk",))


def stream(name: str) -> bytes:
    return (STREAMS / f"{name}.ami").read_bytes()


def events(name: str) -> list[Message]:
    return [message for message in parse_messages(stream(name)) if message.get("Event")]


def bodies(heard: list[Message]) -> list[bytes]:
    """What is kept of these events, heard one after the other over one connection."""
    gathering = Gathering(READING)
    for message in heard:
        assert gathering.heard(message, now=1.0) == []
    return [one.body for one in gathering.due(1.0 + GRACE_SECONDS)]
