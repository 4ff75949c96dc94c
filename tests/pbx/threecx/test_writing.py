"""What is written as a 3CX writes it is read back; lines that are cut, joined and repeated; mutated lines.

`ROUNDS` is the number of mutated lines in the slow test (some 50 µs each).
"""

import random
from datetime import datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.lines import LINE_BYTES_MAX, LineSplitter
from onhook.pbx.threecx.fields import parse_order
from onhook.pbx.threecx.writing import GENERATIONS
from tests.counts import examples, rounds
from tests.pbx.threecx.test_acceptance import (
    COMMA,
    OUTBOUND,
    QUEUE,
    REORDERED,
    REORDERED_FIELDS,
    THREE_CX,
    V18,
    load,
)

EXTENSIONS = st.integers(1001, 1099).map(str)
OUTSIDE = st.from_regex(r"\+49[1-9][0-9]{6,10}", fullmatch=True)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z"), exclude_characters="<>,"), min_size=1, max_size=12
)
SAMPLES = [load(name) for name in (V18, QUEUE, OUTBOUND, COMMA, REORDERED)]
READ_BACK = (
    *("call_id", "time_start", "call_from", "call_to", "call_duration", "talk_duration"),
    *("status", "type", "src_trunk_name", "dst_trunk_name"),
)


def named(number: str, name: str | None) -> str:
    return f"{name}<{number}>" if name and name != number else number


@st.composite
def generated_details(draw: st.DrawFn) -> CallDetails:
    """Draw a call that a 3CX can write."""
    direction = draw(st.sampled_from(["Internal", "Inbound", "Outbound"]))
    caller = draw(OUTSIDE if direction == "Inbound" else EXTENSIONS)
    called = draw(OUTSIDE if direction == "Outbound" else EXTENSIONS)
    statuses = ["ANSWERED", "NO ANSWER", "BUSY", "FAILED"] + ([] if direction == "Outbound" else ["VOICEMAIL"])
    status = draw(st.sampled_from(statuses))
    talk = draw(st.integers(0, 90_000)) if status in ("ANSWERED", "VOICEMAIL") else 0
    has_queue = direction == "Inbound" and status == "ANSWERED" and draw(st.booleans())
    start = draw(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1))).replace(microsecond=0)  # noqa: DTZ001
    return CallDetails(
        call_id=draw(st.from_regex(r"[0-9a-f]{16}_[0-9]{1,5}", fullmatch=True)),
        time_start=str(start),
        call_from=named(caller, draw(st.none() | NAMES)),
        call_to=named(called, draw(st.none() | NAMES)),
        call_duration=talk + draw(st.integers(0, 600)),
        talk_duration=talk,
        status=status,
        type=direction,
        src_trunk_name="10001" if direction == "Inbound" else "",
        dst_trunk_name="10002" if direction == "Outbound" else "",
        extra={"queue": "80002"} if has_queue else {},
    )


def to_read_back(details: CallDetails) -> dict[str, Any]:
    return {name: getattr(details, name) for name in READ_BACK}


@pytest.mark.parametrize("payload_format", ["3cx-v20", "3cx-v20-new"])
@given(details=generated_details())
@settings(max_examples=examples(200), deadline=None)
def test_line_that_is_written_is_read_back(payload_format: str, details: CallDetails) -> None:
    line = THREE_CX.format(details, "3cx-5015", payload_format)
    assert THREE_CX.is_line(line.rstrip())
    (read_details,) = THREE_CX.parse(line)
    assert to_read_back(read_details) == to_read_back(details)
    assert read_details.extra.get("queue") == details.extra.get("queue")


@pytest.mark.parametrize(
    ("direction", "status", "queue"),
    [
        ("Inbound", "ANSWERED", "80002"),
        ("Inbound", "ANSWERED", None),
        ("Inbound", "VOICEMAIL", None),
        ("Inbound", "NO ANSWER", None),
        ("Internal", "BUSY", None),
        ("Outbound", "ANSWERED", None),
    ],
)
def test_line_of_each_journey_is_read_back(direction: str, status: str, queue: str | None) -> None:
    details = CallDetails(
        call_id="0000000000000001_1",
        time_start="2026-01-01 09:00:00",
        call_from="Ada<+4930901820>" if direction == "Inbound" else "Alice<1001>",
        call_to="+4930901821" if direction == "Outbound" else "Bob<1002>",
        call_duration=40,
        talk_duration=30 if status in ("ANSWERED", "VOICEMAIL") else 0,
        status=status,
        type=direction,
        src_trunk_name="10001" if direction == "Inbound" else "",
        dst_trunk_name="10002" if direction == "Outbound" else "",
        extra={"queue": queue} if queue else {},
    )
    (read_details,) = THREE_CX.parse(THREE_CX.format(details, "3cx-5015", "3cx-v20"))
    assert to_read_back(read_details) == to_read_back(details)
    assert read_details.extra.get("queue") == queue


@given(details=generated_details())
@settings(max_examples=examples(100), deadline=None)
def test_line_of_version_18_is_read_back_without_names(details: CallDetails) -> None:
    (read_details,) = THREE_CX.parse(THREE_CX.format(details, "3cx-5015", "3cx-v18"))
    for name in ("call_id", "time_start", "call_duration", "talk_duration", "type", "src_trunk_name", "dst_trunk_name"):
        assert getattr(read_details, name) == getattr(details, name)


def test_format_of_another_payload_format_is_refused() -> None:
    details = CallDetails(call_id="1_1", time_start="2026-01-01 00:00:00", call_from="101", call_to="102")
    assert set(GENERATIONS) == {"3cx-v18", "3cx-v20", "3cx-v20-new"}
    assert THREE_CX.format(details, "", "3cx-v20").startswith(b"Call ")
    with pytest.raises(UsageError, match="unknown payload format 'p-2026'"):
        THREE_CX.format(details, "", "p-2026")


@given(order=st.permutations(SAMPLES * 2), cuts=st.lists(st.integers(0, 3_000), max_size=20), ends=st.booleans())
@settings(max_examples=examples(200), deadline=None)
def test_lines_that_are_cut_and_joined_are_all_there(order: list[bytes], cuts: list[int], *, ends: bool) -> None:
    stream = b"".join(order) if ends else b"".join(order).rstrip()
    splitter = LineSplitter()
    lines: list[bytes] = []
    places = [0, *sorted(cuts), len(stream)]
    for begin, end in pairwise(places):
        lines += splitter.feed(stream[begin:end])
    lines += splitter.flush()
    assert lines == [line.rstrip() for line in order]
    assert len({THREE_CX.peek(line).key for line in lines}) == len(SAMPLES)


def test_line_that_is_too_long_is_left_out() -> None:
    splitter = LineSplitter()
    first, last = SAMPLES[0], SAMPLES[1]
    assert splitter.feed(first + b"x" * (LINE_BYTES_MAX + 1) + b"\r\n" + last) == [first.rstrip(), last.rstrip()]
    assert splitter.is_overlong
    splitter = LineSplitter()
    for _chunk in range(16):
        assert splitter.feed(b"x" * 64 * 1024) == []
    assert (splitter.is_overlong, splitter.has_partial_line) == (True, False)


TOKENS = (
    b"",
    b",",
    b",,,",
    b"\r\n",
    b"Call ",
    b"Ext.",
    b"9" * 30,
    b"1970/01/01 00:00:00",
    b"\x00",
    b"\xff",
    b"99:99:99",
)


def mutate(line: bytes, source: random.Random) -> bytes:
    """Return a line with one to four changes: bytes replaced, a part removed, repeated or exchanged."""
    for _change in range(source.randint(1, 4)):
        begin = source.randrange(len(line) + 1)
        end = min(len(line), begin + source.choice((0, 1, 1, 4, 40)))
        line = line[:begin] + source.choice((*TOKENS, line[begin:end] * 2, source.randbytes(end - begin))) + line[end:]
    return line


def check_mutated(seed: int) -> None:
    source = random.Random(seed)
    line = mutate(source.choice(SAMPLES), source)
    order = parse_order(REORDERED_FIELDS) if source.randrange(2) else ()
    assert len(THREE_CX.peek(line).key) == 16
    try:
        (details,) = THREE_CX.parse_in_order(line, order)
    except ParseError:
        return
    assert "1990" <= details.time_start[:4] <= "2100"
    assert 0 <= (details.talk_duration or 0) <= (details.call_duration or details.talk_duration or 0)


@pytest.mark.parametrize("count", [400, rounds(1_000_000, seconds_each=0.001)])
def test_mutated_line_is_a_possible_call_or_a_parse_error(count: int) -> None:
    for seed in range(count):
        try:
            check_mutated(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
