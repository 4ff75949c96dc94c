"""Bytes become messages, however they arrive and whatever they are."""

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


def read(parts: Iterable[bytes]) -> list[AmiMessage | OversizedMessage]:
    reader = AmiMessageReader()
    return [message for part in parts for message in reader.receive_data(part)]


def split(data: bytes, at: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(at), len(data)]
    return [data[begin:end] for begin, end in pairwise(places)]


@given(st.lists(st.integers(0, len(QUEUE)), max_size=40))
def test_any_split_gives_the_same_messages(at: list[int]) -> None:
    """Of a real stream, cut anywhere."""
    assert read(split(QUEUE, at)) == read([QUEUE])


@given(st.lists(st.binary(max_size=300), max_size=20))
def test_no_bytes_are_an_error(parts: list[bytes]) -> None:
    """And what follows them is read."""
    after = b"\r\n\r\nEvent: Cdr\r\nSource: 1001\r\n\r\n"
    assert read([*parts, after])[-1] == AmiMessage((("Event", "Cdr"), ("Source", "1001")))


@given(st.integers(1, 9), st.integers(0, 3))
def test_a_message_of_any_size_kills_nothing(times: int, more: int) -> None:
    """One that is too large is left out and told, with its name and size; its neighbours are read."""
    large = b"Event: Huge\r\nValue: " + b"x" * (MESSAGE_BYTES_MAX * times + more) + b"\r\n\r\n"
    small = b"Event: Cdr\r\n\r\n"
    whole = small + large + small
    for parts in ([whole], split(whole, range(0, len(whole), 1000))):
        first, told, last = read(parts)
        assert first == last == AmiMessage((("Event", "Cdr"),))
        assert isinstance(told, OversizedMessage)
        assert (told.event_name, told.size_bytes) == ("Huge", len(large) - 4)


def test_what_is_held_is_bounded() -> None:
    """Of a message that never ends no more is held than one may have."""
    reader = AmiMessageReader()
    for _ in range(50):
        assert list(reader.receive_data(b"x" * 10_000)) == []
        assert len(reader._buffer) <= MESSAGE_BYTES_MAX


def test_names_are_found_whatever_their_case() -> None:
    """The first value counts; those of a command's output are all there."""
    (message,) = parse_messages(b"Output: one\r\noutput: two\r\nLinkedID: 1.1\r\n\r\n")
    assert (message.get("Output"), message.get_all("Output"), message.get("linkedid")) == ("one", ["one", "two"], "1.1")
    assert message.fields == {"output": "one", "linkedid": "1.1"}


def test_lines_that_say_nothing_are_not_kept() -> None:
    """A name without a value is as good as none."""
    (message,) = parse_messages(b"Event: Cdr\r\nAccountCode: \r\nSource: 1001\r\n\r\n")
    assert message.text == "Event: Cdr\r\nSource: 1001\r\n\r\n"
    assert parse_messages(message.text.encode())[0].fields == {"event": "Cdr", "source": "1001"}
