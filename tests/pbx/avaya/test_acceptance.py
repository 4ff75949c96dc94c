"""What lines of SMDR say: the samples, and the calls of several segments."""

import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onhook.cdr.call_details import CallDetails
from onhook.cdr.leg_joining import join_legs
from onhook.cdr.number_plan import NumberPlan
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.avaya.payload import Avaya
from tests.counts import examples, rounds

AVAYA = Avaya()
SAMPLE = Path(__file__).parents[2] / "payloads" / "lines" / "avaya_ip_office_smdr.csv"
LINES = SAMPLE.read_bytes().splitlines(keepends=True)
OUTBOUND, INTERNAL, ANSWERED, VOICEMAIL, CHARGED = LINES


def values_of(details: CallDetails, *names: str) -> dict[str, Any]:
    return {name: getattr(details, name) for name in names}


def test_avaya_outbound_call_has_ring_talk_hold_and_account() -> None:
    (details,) = AVAYA.parse(OUTBOUND)
    expected = {
        "call_id": "1000014160-20240210143000",
        "time_start": "2024-02-10 14:30:00",
        "call_from": "John Example<201>",
        "call_to": "+441632960553",
        "call_duration": 232,
        "talk_duration": 225,
        "type": "Outbound",
        "status": "ANSWERED",
        "dst_trunk_name": "LINE 1.1",
        "src_trunk_name": "",
        "did_number": "",
        "pin_code": "",
    }
    assert values_of(details, *expected) == expected
    assert (details.extra["hold_seconds"], details.extra["accountcode"]) == (11, "ACCT001")
    assert (details.extra["targeting_cause"], details.extra["currency"]) == ("HG:fb", "GBP")


def test_avaya_internal_call_has_both_names() -> None:
    (details,) = AVAYA.parse(INTERNAL)
    expected = {
        "call_from": "John Example<201>",
        "call_to": "Jane Example<202>",
        "type": "Internal",
        "talk_duration": 75,
        "call_duration": 77,
        "dst_trunk_name": "",
        "src_trunk_name": "",
    }
    assert values_of(details, *expected) == expected


@pytest.mark.parametrize("bodies", [[ANSWERED, VOICEMAIL], [VOICEMAIL, ANSWERED, VOICEMAIL, ANSWERED]])
def test_avaya_segments_of_a_call_follow_each_other(bodies: list[bytes]) -> None:
    """Answered after 7 seconds for 13, and 11 on hold; then the mailbox, which is no person."""
    legs = AVAYA.parse_legs(bodies)
    names = ("call_id", "time_start", "call_to", "status", "call_duration", "talk_duration", "type", "did_number")
    common = {"call_id": "1000014160-20020628093057", "type": "Inbound", "did_number": "299999"}
    assert [values_of(leg, *names) for leg in legs] == [
        common
        | {
            "time_start": "2002-06-28 09:30:57",
            "call_to": "John Example<4750>",
            "status": "ANSWERED",
            "call_duration": 20,
            "talk_duration": 13,
        },
        common
        | {
            "time_start": "2002-06-28 09:31:28",
            "call_to": "VM Channel 2<9502>",
            "status": "VOICEMAIL",
            "call_duration": 21,
            "talk_duration": 21,
        },
    ]
    assert [NumberPlan().kind_of_leg(leg) for leg in legs] == ["extension", "voicemail"]
    assert {leg.src_trunk_name for leg in legs} == {"LINE 1.2"}


def test_avaya_call_id_of_another_start_is_another_call() -> None:
    links = [AVAYA.read_links(line) for line in LINES]
    assert [len(group) for group in join_legs(links)] == [2, 1, 1, 1]
    answered, last = AVAYA.read_links(ANSWERED), AVAYA.read_links(VOICEMAIL)
    assert answered.awaited_ids == {last.leg_id}
    assert last.awaited_ids == frozenset()


def test_avaya_charge_and_dialled_number_are_kept_beside_the_call() -> None:
    (details,) = AVAYA.parse(CHARGED)
    assert values_of(details, "call_to", "dst_trunk_name", "talk_duration") == {
        "call_to": "99040",
        "dst_trunk_name": "Line 1.1",
        "talk_duration": 38,
    }
    assert (details.extra["dialled"], details.extra["call_charge"]) == ("00540299040", "0.0618")


def test_avaya_unanswered_call_without_a_device_has_the_called_number() -> None:
    line = VOICEMAIL.replace(b"00:00:21,0", b"00:00:00,9").replace(b"V9502,VM Channel 2", b",")
    (details,) = AVAYA.parse(line)
    assert values_of(details, "call_to", "status", "talk_duration", "call_duration") == {
        "call_to": "299999",
        "status": "NO ANSWER",
        "talk_duration": 0,
        "call_duration": 9,
    }
    assert "callee_kind" not in details.extra


@pytest.mark.parametrize(("code", "expected"), [(b"4711", "4711"), (b"n/a", "")])
def test_avaya_authorisation_code_is_the_pin(code: bytes, expected: str) -> None:
    (details,) = AVAYA.parse(OUTBOUND.replace(b"0,n/a,", b"1," + code + b","))
    assert details.pin_code == expected


def test_avaya_names_with_commas_shift_nothing() -> None:
    line = OUTBOUND.replace(b"John Example", b"Example, John").replace(b"LINE 1.1", b"Line, first")
    (details,) = AVAYA.parse(line)
    assert values_of(details, "call_from", "dst_trunk_name", "talk_duration") == {
        "call_from": "Example, John<201>",
        "dst_trunk_name": "Line, first",
        "talk_duration": 225,
    }
    assert details.extra["hold_seconds"] == 11


@pytest.mark.parametrize(
    ("device", "name", "kind", "status", "call_to"),
    [
        (b"V9501", b"VM Channel 1", "voicemail", "VOICEMAIL", "VM Channel 1<9501>"),
        (b"V11003", b"CO Channel 100.3", "conference", "ANSWERED", "CO Channel 100.3<11003>"),
        (b"V8000", b"U1 0.0", None, "ANSWERED", "202"),
    ],
)
def test_avaya_device_of_the_pbx_itself_has_its_kind(
    device: bytes, name: bytes, kind: str | None, status: str, call_to: str
) -> None:
    (details,) = AVAYA.parse(INTERNAL.replace(b"E202,Jane Example", device + b"," + name))
    assert (details.extra.get("callee_kind"), details.status, details.call_to) == (kind, status, call_to)


@pytest.mark.parametrize("tail", [b"0,0", b"0,0,0,n/a,,0.00,GBP,0.00,,0,0,,,,"])
def test_avaya_barred_call_has_the_called_number(tail: bytes) -> None:
    line = b"2024/02/10 14:30:00,00:00:00,0,201,O,0900,0900,,0,1000014170,0,E201,Ann,Barred,Barred," + tail
    (details,) = AVAYA.parse(line)
    assert values_of(details, "call_from", "call_to", "status", "dst_trunk_name") == {
        "call_from": "Ann<201>",
        "call_to": "0900",
        "status": "NO ANSWER",
        "dst_trunk_name": "",
    }


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"2024/02/10 14:30:00,00:03:45,7,201,O,1,1,,0,1,0", "it has 11 values"),
        (OUTBOUND.replace(b"00:03:45", b"soon"), "no connected time and ring time"),
        (OUTBOUND.replace(b"00:03:45", b"9000:00:00"), "longer than a year"),
        (OUTBOUND.replace(b",7,201", b",-7,201"), "no connected time and ring time"),
        (OUTBOUND.replace(b",O,", b",X,"), "no direction and call id"),
        (OUTBOUND.replace(b"1000014160", b"id"), "no direction and call id"),
        (OUTBOUND.replace(b"2024/02/10 14:30:00", b"10/02/2024 14:30:00"), "call start is no time"),
        (OUTBOUND.replace(b",11,3,0,", b",x,y,z,"), "cannot be separated"),
        (
            OUTBOUND.replace(b"T9001,LINE 1.1,11,3", b"other,LINE 1.1,11,3").replace(b",0,0.00,,HG", b",0,0,,HG"),
            "cannot",
        ),
    ],
)
def test_avaya_line_without_a_segment_is_refused(line: bytes, reason: str) -> None:
    assert AVAYA.peek(line).kind in ("unparsable", "details")
    with pytest.raises(ParseError, match=reason):
        AVAYA.parse(line)


def test_avaya_segment_that_would_begin_after_the_calendar_is_refused() -> None:
    late = [line.replace(b"2002/06/28 09:30:57", b"2100/12/31 23:59:59") for line in (ANSWERED, VOICEMAIL)]
    assert len(AVAYA.parse(late[0])) == 1
    with pytest.raises(ParseError):
        AVAYA.parse_legs(late)


def test_avaya_peek_of_a_line_is_equal_for_repeats_and_recognises_no_request() -> None:
    envelope = AVAYA.peek(OUTBOUND)
    assert (envelope.kind, envelope.sn, envelope.label) == ("details", "", "segment")
    assert AVAYA.peek(b"\x00" + OUTBOUND.rstrip()) == envelope
    assert AVAYA.peek(b"GET / HTTP/1.1").kind == "not_json"
    assert AVAYA.is_line(OUTBOUND.rstrip())
    assert not AVAYA.recognizes(OUTBOUND)


EXTENSIONS = st.integers(201, 299).map(str)
OUTSIDE = st.from_regex(r"\+44[1-9][0-9]{6,9}", fullmatch=True)
NAMES = st.text(
    st.characters(codec="utf-8", exclude_categories=("C", "Z", "N"), exclude_characters="<>,"), min_size=2, max_size=12
)


@st.composite
def generated_details(draw: st.DrawFn) -> CallDetails:
    """Draw a call of one segment."""
    direction = draw(st.sampled_from(["Internal", "Inbound", "Outbound"]))
    status = draw(st.sampled_from(["ANSWERED", "NO ANSWER"] + (["VOICEMAIL"] if direction != "Outbound" else [])))
    talk = 0 if status == "NO ANSWER" else draw(st.integers(1, 90_000))
    start = draw(st.datetimes(datetime(2000, 1, 1), datetime(2090, 1, 1))).replace(microsecond=0)  # noqa: DTZ001
    caller, called = draw(EXTENSIONS), draw(EXTENSIONS)
    return CallDetails(
        call_id=f"{draw(st.integers(1, 10**9))}-{start:%Y%m%d%H%M%S}",
        time_start=str(start),
        call_from=draw(OUTSIDE) if direction == "Inbound" else f"{draw(NAMES)}<{caller}>",
        call_to=draw(OUTSIDE) if direction == "Outbound" else f"{draw(NAMES)}<{called}>",
        call_duration=talk + draw(st.integers(0, 600)),
        talk_duration=talk,
        status=status,
        type=direction,
        src_trunk_name="Line 1.1" if direction == "Inbound" else "",
        dst_trunk_name="Line 2.1" if direction == "Outbound" else "",
        did_number=draw(OUTSIDE) if direction == "Inbound" else "",
    )


@given(details=generated_details())
@settings(max_examples=examples(200), deadline=None)
def test_avaya_line_that_is_written_is_read_back(details: CallDetails) -> None:
    line = AVAYA.format(details, "avaya-1150", "avaya-smdr")
    assert AVAYA.is_line(line.rstrip())
    (read_details,) = AVAYA.parse(line)
    names = [name for name in CallDetails.__struct_fields__ if name != "extra"]
    assert values_of(read_details, *names) == values_of(details, *names)


def test_avaya_format_makes_an_id_and_refuses_another_format() -> None:
    details = CallDetails(call_id="1651057476.362", time_start="2026-01-01 00:00:00", call_from="201", call_to="202")
    (read_details,) = AVAYA.parse(AVAYA.format(details, "", "avaya-smdr"))
    assert read_details.call_id.endswith("-20260101000000")
    with pytest.raises(UsageError, match="unknown payload format"):
        AVAYA.format(details, "", "p-2026")


TOKENS = (b"", b",", b",,,", b"\r\n", b"9" * 30, b"1970/01/01 00:00:00", b"\x00", b"\xff", b"E1", b"I")


def check_mutated(seed: int) -> None:
    source = random.Random(seed)
    line = source.choice(LINES)
    for _change in range(source.randint(1, 4)):
        begin = source.randrange(len(line) + 1)
        end = min(len(line), begin + source.choice((0, 1, 1, 4, 40)))
        line = line[:begin] + source.choice((*TOKENS, line[begin:end] * 2, source.randbytes(end - begin))) + line[end:]
    assert len(AVAYA.peek(line).key) == 16
    try:
        legs = AVAYA.parse_legs([line, source.choice(LINES)])
        AVAYA.read_links(line)
    except ParseError:
        return
    for leg in legs:
        assert "1990" <= leg.time_start[:4] <= "2100"
        assert 0 <= (leg.talk_duration or 0) <= (leg.call_duration or 0)


@pytest.mark.parametrize("count", [400, rounds(1_000_000, seconds_each=0.001)])
def test_avaya_mutated_line_is_a_possible_call_or_a_parse_error(count: int) -> None:
    for seed in range(count):
        try:
            check_mutated(seed)
        except Exception as error:
            raise AssertionError(f"seed {seed}") from error
