"""Event 30012 as bytes: what PBXs were seen to send is read, and can be written again."""

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_details import DETAIL_FIELDS, DURATION_SECONDS_MAX, NUMBER_FIELDS, CallDetails
from onhook.cdr.utc_offset import call_epoch
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.signing import is_signed_by, sign
from onhook.pbx.json_fields import TEXT_CHARACTERS_MAX
from onhook.pbx.yeastar.payload import PAYLOAD_FORMATS, Yeastar, parse_details

PAYLOADS = Path(__file__).parents[2] / "payloads"
YEASTAR = Yeastar()

DOCUMENTED = CallDetails(
    call_id="1651057476.362",
    time_start="2022-04-27 19:04:36",
    call_from="2005",
    call_to="2002",
    call_duration=24,
    talk_duration=21,
    status="ANSWERED",
    type="Internal",
    recording="20220427190445-1651057476.362-2005-2002-Internal.wav",
    agent_ring_time=0,
    uid="2024111913594421D77",
    call_note_id="20250307162604-15379",
    enb_call_note=1,
)
BUSY = CallDetails(
    call_id="1702285525.16",
    time_start="2023-12-11 11:05:25",
    call_from="703",
    call_to="5550101",
    call_duration=0,
    talk_duration=0,
    dst_trunk_name="Trunk_SIP",
    status="BUSY",
    type="Outbound",
    agent_ring_time=0,
)
VOICEMAIL = CallDetails(
    call_id="1790197458.5215",
    time_start="2026-09-24 00:04:18",
    call_from="5550100",
    call_to="1002",
    call_duration=11,
    talk_duration=11,
    src_trunk_name="Trunk-A",
    status="VOICEMAIL",
    type="Inbound",
    agent_ring_time=0,
    uid="2026092400041852EE8",
    call_note_id="20260924000418-0FA8E",
    enb_call_note=4,
    extra={"is_display": 1, "realclidnum": ""},
)


@pytest.mark.parametrize(
    ("file", "details", "sn"),
    [
        ("documented_example.txt", DOCUMENTED, "3631A2124XXX"),
        ("p2025_internal_answered.json", DOCUMENTED, "3631A2124XXX"),
        ("object_internal_answered.json", DOCUMENTED, "3631A2124XXX"),
        ("flat_internal_answered.json", DOCUMENTED, "3631A2124XXX"),
        ("p2023_outbound_busy.json", BUSY, "3633XXXXXXXX"),
        ("p2026_inbound_voicemail.json", VOICEMAIL, "3651XXXXXXXX"),
    ],
)
def test_every_shape_that_was_seen_is_read(file: str, details: CallDetails, sn: str) -> None:
    """The vendor's printed example byte for byte, `msg` as text and as an object, and no envelope at all."""
    body = (PAYLOADS / file).read_bytes()
    assert YEASTAR.parse(body) == [details]
    glance = YEASTAR.peek(body)
    assert (glance.kind, glance.sn, glance.label) == ("details", sn, "30012")


def test_one_report_in_another_shape_is_an_exact_repeat() -> None:
    """Four shapes of the documented example have one key: the details count, not the envelope or the order."""
    files = ("documented_example.txt", "p2025_internal_answered.json", "object_internal_answered.json")
    keys = {YEASTAR.peek((PAYLOADS / file).read_bytes()).key for file in (*files, "flat_internal_answered.json")}
    assert len(keys) == 1
    assert int.from_bytes(keys.pop()[:4]) == 1651057476


@pytest.mark.parametrize(
    ("file", "profile"),
    [
        ("p2023_outbound_busy.json", "p-2023"),
        ("p2025_internal_answered.json", "doc"),
        ("p2026_inbound_voicemail.json", "p-2026"),
    ],
)
def test_what_was_captured_is_written_byte_for_byte(file: str, profile: str) -> None:
    """Order, blanks, escapes: an application cannot tell our bytes from the PBX's."""
    body = (PAYLOADS / file).read_bytes()
    assert YEASTAR.format(YEASTAR.parse(body)[0], YEASTAR.peek(body).sn, profile) == body


def test_the_signature_is_the_one_of_the_published_vector() -> None:
    """`X-Signature` over the raw body of the 2026 capture (payloads' README)."""
    body = (PAYLOADS / "p2026_inbound_voicemail.json").read_bytes()
    signature = sign("0123456789abcdefghijABCDEFGHIJ01", body)
    assert signature == "8wvAMqwj/SABEixDNBjstuq07T+pQggRUErYBKVMpvc="
    assert is_signed_by(["another", "0123456789abcdefghijABCDEFGHIJ01"], body, f" {signature} ")
    assert not is_signed_by(["another"], body, signature)
    assert not is_signed_by(["another"], body, "é")


def carried(details: CallDetails, profile: str) -> CallDetails:
    """What of some details a profile carries: the members it leaves out are empty."""
    shape = PAYLOAD_FORMATS[profile]
    defaults: dict[str, Any] = {"enb_call_note": None}
    left_out = {name: defaults.get(name, "") for name in DETAIL_FIELDS if name in shape.omitted_members}
    extra = {name: value for name, value in details.extra.items() if name not in shape.omitted_members}
    return msgspec.structs.replace(details, **left_out, extra={**shape.added_members, **extra})


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20).map(str.strip)
REQUIRED = TEXT.filter(bool)
SECONDS = st.none() | st.integers(0, DURATION_SECONDS_MAX)
_FIRST, _LAST = (datetime.fromisoformat(f"{year}-01-01") for year in (1990, 2100))
MOMENT = st.datetimes(_FIRST, _LAST).map(lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}")
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(DETAIL_FIELDS, TEXT),
    **dict.fromkeys(NUMBER_FIELDS, SECONDS),
    **dict.fromkeys(("call_id", "call_from", "call_to"), REQUIRED),
    "time_start": MOMENT,
}


@pytest.mark.parametrize("profile", PAYLOAD_FORMATS)
@given(details=st.builds(CallDetails, **FIELDS))
def test_what_is_written_is_read_again(profile: str, details: CallDetails) -> None:
    """For every profile, all that it carries comes back: emoji, quotes, backslashes, numbers nobody sent."""
    assert YEASTAR.parse(YEASTAR.format(details, "3651XXXXXXXX", profile)) == [carried(details, profile)]


@given(
    st.builds(
        CallDetails,
        **FIELDS | {name: st.text(" Ab1\\t\\\\\"'<>", max_size=4) for name in DETAIL_FIELDS if FIELDS[name] is TEXT},
    ),
    st.sampled_from(sorted(PAYLOAD_FORMATS)),
)
def test_the_short_way_reads_what_the_thorough_way_reads(details: CallDetails, profile: str) -> None:
    """Blanks, quotes, backslashes and tabs anywhere: both ways give the same details."""
    body = YEASTAR.format(details, "3651XXXXXXXX", profile)
    assert YEASTAR.parse(body) == [parse_details(body)]


def test_an_unknown_profile_is_refused() -> None:
    """The sentence names those that there are."""
    with pytest.raises(UsageError, match="p-2026"):
        YEASTAR.format(BUSY, "3651XXXXXXXX", "p-1999")


def body_of(**changes: Any) -> bytes:
    """The 2023 capture with some members changed; None takes one away."""
    members = json.loads(json.loads((PAYLOADS / "p2023_outbound_busy.json").read_text())["msg"])
    members = {name: value for name, value in {**members, **changes}.items() if value is not None}
    return json.dumps({"type": 30012, "sn": "3633XXXXXXXX", "msg": json.dumps(members)}).encode()


@pytest.mark.parametrize(
    ("changes", "name", "read"),
    [
        ({"call_duration": "24"}, "call_duration", 24),
        ({"call_duration": " 24 "}, "call_duration", 24),
        ({"call_duration": "24.0"}, "call_duration", 24),
        ({"call_duration": 24.0}, "call_duration", 24),
        ({"call_duration": ""}, "call_duration", None),
        ({"call_from": 703}, "call_from", "703"),
        ({"src_trunk_name": " "}, "src_trunk_name", ""),
        ({"call_from": 'Zoë "Z" \\ 😀<703>'}, "call_from", 'Zoë "Z" \\ 😀<703>'),
        ({"call_from": "A\x00B"}, "call_from", "A\ufffdB"),
        ({"call_from": "A\ud800B"}, "call_from", "A\ufffdB"),
        ({"time_start": "2023/12/11 11:05:25"}, "time_start", "2023-12-11 11:05:25"),
        ({"recording": "r" * 10_000}, "recording", "r" * TEXT_CHARACTERS_MAX),
    ],
)
def test_a_value_is_read_however_it_is_written(changes: dict[str, Any], name: str, read: Any) -> None:
    """Numbers as text, blanks, names with quotes and emoji, NUL and lone surrogates, other year-first dates."""
    assert getattr(YEASTAR.parse(body_of(**changes))[0], name) == read


@pytest.mark.parametrize("value", [-5, 10**12, "soon", True, 1.5, ["24"], "-5"])
def test_a_number_that_cannot_be_is_kept_but_not_counted(value: Any) -> None:
    """Negative and huge durations are nobody's talk time: the field is empty and the value stands in `extra`."""
    details = YEASTAR.parse(body_of(call_duration=value))[0]
    assert details.call_duration is None
    assert details.extra["call_duration"] == (str(value) if isinstance(value, float) else value)


def test_unknown_members_are_kept() -> None:
    """Under their own names, nested ones too."""
    details = YEASTAR.parse(body_of(queue_wait=7, tags={"vip": ["yes"]}))[0]
    assert details.extra == {"queue_wait": 7, "tags": {"vip": ["yes"]}}


@pytest.mark.parametrize("levels", [33, 500, 900])
def test_a_member_that_is_nested_too_deep_is_kept_as_text(levels: int) -> None:
    """However deep, the call can be read, and what reads it on is not brought down by its depth."""
    nested: Any = "x"
    for _ in range(levels):
        nested = [nested]
    (details,) = YEASTAR.parse(body_of(zz=nested))
    assert details.extra["zz"] == ("[" * levels + '"x"' + "]" * levels)[:TEXT_CHARACTERS_MAX]


def test_a_number_of_thousands_of_digits_costs_nobody_a_call() -> None:
    """Python refuses to convert it; the call is read, and its digits are kept."""
    body = body_of(zz=7).replace(b'\\"zz\\": 7', b'\\"zz\\": ' + b"9" * 5000)
    assert YEASTAR.parse(body)[0].extra["zz"] == "9" * TEXT_CHARACTERS_MAX


def test_a_call_id_that_nobody_could_ask_for_is_refused() -> None:
    """Cut, it would be another call's; whole, no page or filter could hold it."""
    with pytest.raises(ParseError, match="call_id"):
        YEASTAR.parse(body_of(call_id="9" * 201))


def test_a_call_id_that_comes_as_a_number_keeps_its_last_zero() -> None:
    """As a fraction, `….10` and `….1` would be one call (yeastar-p-series.md 2.4)."""
    body = b'{"sn":"S","call_id":1702285525.10,"time_start":"2023-12-11 11:05:25","call_from":"1","call_to":"2"}'
    assert YEASTAR.parse(body)[0].call_id == "1702285525.10"


def test_duplicate_members_and_line_breaks_inside_texts_are_borne() -> None:
    """The last of two members counts; a raw line break inside a text is part of it."""
    body = body_of().replace(b"BUSY", b"BU\nSY").replace(b'"sn"', b'"sn": "OLD", "sn"')
    assert YEASTAR.peek(body).sn == "3633XXXXXXXX"
    assert YEASTAR.parse(body)[0].status == "BU\nSY"


@pytest.mark.parametrize("is_text", [True, False])
def test_a_call_id_inside_msg_keeps_its_last_zero_too(is_text: bool) -> None:
    """`msg` as an object or as text, durations as fractions: neither the call nor its length is lost."""
    msg = (
        '{"call_id":1702285525.10,"time_start":"2023-12-11 11:05:25","call_from":"1","call_to":"2","call_duration":9.0}'
    )
    body = f'{{"sn":"S","type":30012,"msg":{json.dumps(msg) if is_text else msg}}}'.encode()
    (details,) = YEASTAR.parse(body)
    assert (details.call_id, details.call_duration) == ("1702285525.10", 9)


@pytest.mark.parametrize("layers", [1, 2])
def test_text_that_was_encoded_again_on_its_way_is_read(layers: int) -> None:
    """A program between the PBX and us may encode `msg` once more, and another one again."""
    envelope = json.loads(body_of())
    for _ in range(layers):
        envelope["msg"] = json.dumps(envelope["msg"])
    body = json.dumps(envelope).encode()
    assert YEASTAR.parse(body) == YEASTAR.parse(body_of())
    assert YEASTAR.peek(body) == YEASTAR.peek(body_of())


def test_members_in_another_case_are_the_same_members() -> None:
    """`CALL_ID` is `call_id`; what is there under both names counts as the event names it."""
    members = json.loads(json.loads(body_of())["msg"])
    body = json.dumps({"sn": "S", "msg": {name.upper(): value for name, value in members.items()}}).encode()
    assert YEASTAR.parse(body) == YEASTAR.parse(body_of())
    assert YEASTAR.parse(body_of(Status="ANSWERED"))[0].status == "BUSY"


def test_a_flat_body_may_have_the_number_of_the_event() -> None:
    """Then `type` says which event it is, and not which direction the call had."""
    flat = {**json.loads(json.loads(body_of())["msg"]), "sn": "S", "type": 30012}
    assert YEASTAR.parse(json.dumps(flat).encode())[0].type == ""


@pytest.mark.parametrize(
    ("shown", "meant"),
    [
        ("11/12/2023 11:05:25", "2023-12-11 11:05:25"),
        ("12/11/2023 11:05:25 AM", "2023-12-11 11:05:25"),
        ("11.12.2023 23:05:25", "2023-12-11 23:05:25"),
        ("12/12/2023 00:05:25", "2023-12-12 00:05:25"),
    ],
)
def test_a_date_with_the_day_or_the_month_first_is_proven_by_the_ids(shown: str, meant: str) -> None:
    """Of the two readings only one lies at the second that `call_id` names; nothing is guessed."""
    assert YEASTAR.parse(body_of(time_start=shown))[0].time_start == meant


@pytest.mark.parametrize("changes", [{"call_id": "a"}, {"time_start": "11/10/2023 11:05:25"}])
def test_a_date_that_nothing_proves_is_not_guessed(changes: dict[str, Any]) -> None:
    """An id that tells no second, or one that is months away from both readings."""
    with pytest.raises(ParseError, match="must not be guessed"):
        YEASTAR.parse(body_of(**{"time_start": "11/12/2023 11:05:25", **changes}))


@pytest.mark.parametrize("missing", ["call_id", "time_start", "call_from", "call_to"])
@pytest.mark.parametrize("blank", [None, {}])
def test_only_four_members_are_required(missing: str, blank: Any) -> None:
    """A report without one of them says no call, and the reason names it."""
    with pytest.raises(ParseError, match=missing):
        YEASTAR.parse(body_of(**{missing: blank}))


@pytest.mark.parametrize("missing", ["call_id", "time_start"])
@pytest.mark.parametrize("blank", ["", " "])
def test_a_call_without_an_id_or_a_time_is_none(missing: str, blank: str) -> None:
    """They have to say something."""
    with pytest.raises(ParseError, match=missing):
        YEASTAR.parse(body_of(**{missing: blank}))


@pytest.mark.parametrize("party", ["call_from", "call_to"])
@pytest.mark.parametrize("blank", ['""', '" "', "null"])
def test_a_caller_who_withholds_the_number_is_a_caller(party: str, blank: str) -> None:
    """A party that is there and blank is empty; the call is counted like any other."""
    body = body_of(**{party: "WITHHELD"}).replace(b'\\"WITHHELD\\"', blank.replace('"', '\\"').encode())
    assert getattr(YEASTAR.parse(body)[0], party) == ""


def test_four_members_are_enough() -> None:
    """All others are empty: texts empty, numbers None and not zero."""
    body = b'{"sn":"S","call_id":"a","time_start":"2023-12-11 11:05:25","call_from":"1","call_to":"2"}'
    expected = CallDetails(call_id="a", time_start="2023-12-11 11:05:25", call_from="1", call_to="2")
    assert YEASTAR.parse(body) == [expected]


@pytest.mark.parametrize(
    ("body", "kind", "label"),
    [
        (b"", "not_json", "unknown"),
        (b"hello", "not_json", "unknown"),
        (b"\xff\xfe\x00", "not_json", "unknown"),
        (b"null", "not_json", "unknown"),
        (b"{", "unparsable", "unknown"),
        (b"[1]", "unparsable", "unknown"),
        (b"{}", "unparsable", "unknown"),
        (b"[" * 100_000, "unparsable", "unknown"),
        (b'{"a":' * 50_000, "unparsable", "unknown"),
        (b'{"type":30012,"sn":"S","msg":' + b"[" * 100_000, "unparsable", "unknown"),
        (b'{"type":30012,"sn":"S","msg":"{broken"}', "unparsable", "30012"),
        (b'{"type":30012,"sn":"S"}', "unparsable", "30012"),
        (b'{"type":30012,"sn":"S","msg":7}', "unparsable", "30012"),
        (b'{"type":30011,"sn":"S","msg":"{}"}', "other_event", "30011"),
        (b'{"type":"30008","sn":"S","msg":"{}"}', "other_event", "30008"),
        (b'{"type":30022,"msg":"{}"}', "other_event", "30022"),
        (b'{"event":"test"}', "test_message", "test"),
        (b'{"event":"NewCdr","sn":"S","callid":"1.1"}', "unparsable", "unknown"),
        (b"{" + b"9" * 5000 + b"}", "unparsable", "unknown"),
        (b'{"type":' + b"9" * 5000 + b"}", "unparsable", "unknown"),
        (b'{"type":"' + b"9" * 5000 + b'"}', "unparsable", "unknown"),
        ((b'"msg":" {} "x' * 30_000)[: 256 * 1024], "not_json", "unknown"),
        ((b'"msg":"{' * 40_000)[: 256 * 1024], "not_json", "unknown"),
    ],
)
def test_whatever_comes_is_told_apart(body: bytes, kind: str, label: str) -> None:
    """Glancing never fails, and what glancing does not take for call details, reading refuses with a reason."""
    glance = YEASTAR.peek(body)
    assert (glance.kind, glance.label, len(glance.key)) == (kind, label, 16)
    with pytest.raises(ParseError):
        YEASTAR.parse(body)


@given(st.binary(max_size=200) | st.text('{}[]":,\\ut1', max_size=60).map(str.encode))
def test_no_bytes_make_a_reader_fail_otherwise(body: bytes) -> None:
    """Whatever the bytes: a glance, and details or `ParseError`, never another error."""
    glance = YEASTAR.peek(body)
    assert len(glance.key) == 16
    with suppress(ParseError):
        assert len(YEASTAR.parse(body)) == 1


@given(
    st.dictionaries(
        st.sampled_from([*DETAIL_FIELDS, "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
            lambda inner: st.lists(inner, max_size=2),
        ),
        max_size=20,
    )
)
def test_whatever_members_have_as_values_reading_holds(members: dict[str, Any]) -> None:
    """Any JSON value in any member gives details that can be written as JSON, or `ParseError`."""
    fixed = {"call_id": "1702285525.1", "time_start": "2023-12-11 11:05:25", "call_from": "1", "call_to": "2"}
    body = json.dumps({"type": 30012, "sn": "S", "msg": json.dumps({**members, **fixed})}).encode()
    details = YEASTAR.parse(body)[0]
    assert msgspec.json.decode(msgspec.json.encode(details), type=CallDetails) == details
    assert call_epoch(details.call_id) == 1702285525
    assert YEASTAR.peek(body).kind == "details"
