"""AMI messages are parsed from any split of any bytes."""

from collections.abc import Iterable
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from onhook.pbx.asterisk.messages import (
    MESSAGE_BYTES_MAX,
    AmiMessage,
    AmiMessageReader,
    OversizedMessage,
    parse_messages,
)
from tests.pbx.asterisk.ami_streams import stream

QUEUE = stream("inbound_ivr_queue_two_agents")


def read_messages(parts: Iterable[bytes]) -> list[AmiMessage | OversizedMessage]:
    reader = AmiMessageReader()
    return [message for part in parts for message in reader.receive_data(part)]


def split_at(data: bytes, positions: Iterable[int]) -> list[bytes]:
    boundaries = [0, *sorted(positions), len(data)]
    return [data[begin:end] for begin, end in pairwise(boundaries)]


@given(st.lists(st.integers(0, len(QUEUE)), max_size=40))
def test_messages_do_not_depend_on_split(positions: list[int]) -> None:
    assert read_messages(split_at(QUEUE, positions)) == read_messages([QUEUE])


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_messages_after_any_bytes_are_parsed(parts: list[bytes]) -> None:
    after = b"\r\n\r\nEvent: Cdr\r\nSource: 1001\r\n\r\n"
    assert read_messages([*parts, after])[-1] == AmiMessage((("Event", "Cdr"), ("Source", "1001")))


@given(st.integers(1, 9), st.integers(0, 3))
def test_messages_oversized_message_is_reported_and_skipped(times: int, extra_bytes: int) -> None:
    """With its name and size; its neighbours are parsed."""
    large = b"Event: Huge\r\nValue: " + b"x" * (MESSAGE_BYTES_MAX * times + extra_bytes) + b"\r\n\r\n"
    small = b"Event: Cdr\r\n\r\n"
    whole = small + large + small
    for parts in ([whole], split_at(whole, range(0, len(whole), 1000))):
        first, oversized, last = read_messages(parts)
        assert first == last == AmiMessage((("Event", "Cdr"),))
        assert isinstance(oversized, OversizedMessage)
        assert (oversized.event_name, oversized.size_bytes) == ("Huge", len(large) - 4)


def test_messages_buffer_is_bounded() -> None:
    """Also for a message without end."""
    reader = AmiMessageReader()
    for _ in range(50):
        assert list(reader.receive_data(b"x" * 10_000)) == []
        assert len(reader._buffer) <= MESSAGE_BYTES_MAX


def test_message_names_ignore_case() -> None:
    """`get` returns the first value, `get_all` all of them."""
    (message,) = parse_messages(b"Output: one\r\noutput: two\r\nLinkedID: 1.1\r\n\r\n")
    assert (message.get("Output"), message.get_all("Output"), message.get("linkedid")) == ("one", ["one", "two"], "1.1")
    assert message.fields == {"output": "one", "linkedid": "1.1"}


def test_message_text_leaves_out_names_without_value() -> None:
    (message,) = parse_messages(b"Event: Cdr\r\nAccountCode: \r\nSource: 1001\r\n\r\n")
    assert message.text == "Event: Cdr\r\nSource: 1001\r\n\r\n"
    assert parse_messages(message.text.encode())[0].fields == {"event": "Cdr", "source": "1001"}


def test_messages_without_names_are_skipped() -> None:
    data = b"\r\n\r\nno name\r\n: no name\r\n\r\nEvent: Cdr\r\n\r\n"
    assert read_messages([data]) == [AmiMessage((("Event", "Cdr"),))]
