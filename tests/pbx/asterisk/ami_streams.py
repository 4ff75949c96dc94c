"""Recorded AMI streams of the real Asterisk, one per scenario, in `streams/`; numbers and names are invented, addresses
are loopback.
"""

import functools
from pathlib import Path

from onhook.pbx.asterisk.call_collector import GRACE_SECONDS, AsteriskParserConfig, CallCollector
from onhook.pbx.asterisk.messages import AmiMessage, parse_messages

STREAMS = Path(__file__).parent / "streams"
PARSE_OPTIONS = AsteriskParserConfig(trunks=("trunk-a",), inbound_contexts=("from-trunk",))


def stream(name: str) -> bytes:
    return (STREAMS / f"{name}.ami").read_bytes()


def events(name: str) -> list[AmiMessage]:
    return list(_parse_events(name))


@functools.cache
def _parse_events(name: str) -> tuple[AmiMessage, ...]:
    return tuple(message for message in parse_messages(stream(name)) if message.get("Event"))


def bodies(messages: list[AmiMessage], waited: float = GRACE_SECONDS) -> list[bytes]:
    """Return the bodies collected from these events, received in order over one connection, so many seconds later."""
    collector = CallCollector(PARSE_OPTIONS)
    for message in messages:
        assert collector.add_event(message, now=1.0) == []
    return [collected_call.body for collected_call in collector.pop_completed(1.0 + waited)]


def build_event(event: str, **lines: str) -> AmiMessage:
    return AmiMessage((("Event", event), *lines.items()))
