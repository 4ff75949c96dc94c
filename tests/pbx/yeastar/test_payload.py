"""Event 30012 bodies: every observed form is parsed, and formatting is the inverse of parsing."""

import json
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onhook.cdr.call_details import DETAIL_FIELDS, DURATION_SECONDS_MAX, NUMBER_FIELDS, CallDetails
from onhook.cdr.record import NamedRecord
from onhook.cdr.utc_offset import call_epoch
from onhook.lib.errors import ParseError, UsageError
from onhook.lib.signing import is_signed_by, sign
from onhook.pbx.json_fields import TEXT_CHARACTERS_MAX
from onhook.pbx.newcdr.payload import PAYLOAD_FORMATS as NEWCDR_FORMATS
from onhook.pbx.newcdr.payload import NewCdr
from onhook.pbx.yeastar.payload import PAYLOAD_FORMATS, Yeastar, parse_details
from tests.factories import SN, record

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
def test_yeastar_every_observed_form_is_parsed(file: str, details: CallDetails, sn: str) -> None:
    """The vendor's printed example byte for byte, `msg` as text and as an object, and a body without envelope."""
    body = (PAYLOADS / file).read_bytes()
    assert YEASTAR.parse(body) == [details]
    envelope = YEASTAR.peek(body)
    assert (envelope.kind, envelope.sn, envelope.label) == ("details", sn, "30012")


def test_yeastar_key_is_equal_in_every_form() -> None:
    """The key covers the details, not the envelope or the order of members."""
    files = ("documented_example.txt", "p2025_internal_answered.json", "object_internal_answered.json")
    keys = {YEASTAR.peek((PAYLOADS / file).read_bytes()).key for file in (*files, "flat_internal_answered.json")}
    assert len(keys) == 1
    assert int.from_bytes(keys.pop()[:4]) == 1651057476


@pytest.mark.parametrize(
    ("file", "payload_format"),
    [
        ("p2023_outbound_busy.json", "p-2023"),
        ("p2025_internal_answered.json", "doc"),
        ("p2026_inbound_voicemail.json", "p-2026"),
    ],
)
def test_yeastar_format_of_captured_event_is_byte_identical(file: str, payload_format: str) -> None:
    """Order, blanks and escapes equal those of the PBX."""
    body = (PAYLOADS / file).read_bytes()
    assert YEASTAR.format(YEASTAR.parse(body)[0], YEASTAR.peek(body).sn, payload_format) == body


def test_signature_of_captured_event_matches_published_vector() -> None:
    """`X-Signature` over the raw body of the 2026 capture (payloads' README)."""
    body = (PAYLOADS / "p2026_inbound_voicemail.json").read_bytes()
    signature = sign("0123456789abcdefghijABCDEFGHIJ01", body)
    assert signature == "8wvAMqwj/SABEixDNBjstuq07T+pQggRUErYBKVMpvc="
    assert is_signed_by(["another", "0123456789abcdefghijABCDEFGHIJ01"], body, f" {signature} ")
    assert not is_signed_by(["another"], body, signature)
    assert not is_signed_by(["another"], body, "é")


def omit_members(details: CallDetails, payload_format: str) -> CallDetails:
    """Return the details as a payload format contains them; the members that it omits are empty."""
    spec = PAYLOAD_FORMATS[payload_format]
    defaults: dict[str, Any] = {"enb_call_note": None}
    omitted = {name: defaults.get(name, "") for name in DETAIL_FIELDS if name in spec.omitted_members}
    extra = {name: value for name, value in details.extra.items() if name not in spec.omitted_members}
    return msgspec.structs.replace(details, **omitted, extra={**spec.added_members, **extra})


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20).map(str.strip)
REQUIRED = TEXT.filter(bool)
SECONDS = st.none() | st.integers(0, DURATION_SECONDS_MAX)
_FIRST, _LAST = (datetime.fromisoformat(f"{year}-01-01") for year in (1990, 2100))
TIME_START = st.datetimes(_FIRST, _LAST).map(lambda local: f"{local:%Y-%m-%d %H:%M:%S}")
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(DETAIL_FIELDS, TEXT),
    **dict.fromkeys(NUMBER_FIELDS, SECONDS),
    **dict.fromkeys(("call_id", "call_from", "call_to"), REQUIRED),
    "time_start": TIME_START,
}


@pytest.mark.parametrize("payload_format", PAYLOAD_FORMATS)
@given(details=st.builds(CallDetails, **FIELDS))
@example(CallDetails(call_id="1.1", time_start="2000-01-01 00:00:00", call_from="1", call_to="2", type="0"))
@example(CallDetails(call_id="1.1", time_start="2000-01-01 00:00:00", call_from="1", call_to="2", type="30012"))
def test_yeastar_format_then_parse_returns_same_details(payload_format: str, details: CallDetails) -> None:
    """In every payload format, with emoji, quotes, backslashes and missing numbers."""
    assert YEASTAR.parse(YEASTAR.format(details, "3651XXXXXXXX", payload_format)) == [
        omit_members(details, payload_format)
    ]


@given(
    st.builds(
        CallDetails,
        **FIELDS | {name: st.text(" Ab1\\t\\\\\"'<>", max_size=4) for name in DETAIL_FIELDS if FIELDS[name] is TEXT},
    ),
    st.sampled_from(sorted(PAYLOAD_FORMATS)),
)
def test_yeastar_fast_path_equals_full_parser(details: CallDetails, payload_format: str) -> None:
    """With blanks, quotes, backslashes and tabs anywhere."""
    body = YEASTAR.format(details, "3651XXXXXXXX", payload_format)
    assert YEASTAR.parse(body) == parse_details(body)


def test_yeastar_format_with_unknown_payload_format_names_known_ones() -> None:
    with pytest.raises(UsageError, match="p-2026"):
        YEASTAR.format(BUSY, "3651XXXXXXXX", "p-1999")


def build_body(**changes: Any) -> bytes:
    """Return the 2023 capture with some members changed; None removes a member."""
    members = json.loads(json.loads((PAYLOADS / "p2023_outbound_busy.json").read_text())["msg"])
    members = {name: value for name, value in {**members, **changes}.items() if value is not None}
    return json.dumps({"type": 30012, "sn": "3633XXXXXXXX", "msg": json.dumps(members)}).encode()


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
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
def test_yeastar_value_is_parsed_in_any_spelling(changes: dict[str, Any], name: str, expected: Any) -> None:
    """Numbers as text, blanks, names with quotes and emoji, NUL and lone surrogates, other dates with the
    year first.
    """
    assert getattr(YEASTAR.parse(build_body(**changes))[0], name) == expected


@pytest.mark.parametrize("value", [-5, 10**12, "soon", True, 1.5, ["24"], "-5"])
def test_yeastar_implausible_duration_is_stored_in_extra(value: Any) -> None:
    """The field is None, so that the value does not count as talk time."""
    details = YEASTAR.parse(build_body(call_duration=value))[0]
    assert details.call_duration is None
    assert details.extra["call_duration"] == (str(value) if isinstance(value, float) else value)


def test_yeastar_unknown_members_are_stored_in_extra() -> None:
    """Under their own names, nested ones too."""
    details = YEASTAR.parse(build_body(queue_wait=7, tags={"vip": ["yes"]}))[0]
    assert details.extra == {"queue_wait": 7, "tags": {"vip": ["yes"]}}


@pytest.mark.parametrize("levels", [33, 500, 900])
def test_yeastar_member_nested_too_deep_is_stored_as_text(levels: int) -> None:
    """The call is parsed at any depth, and readers of the record are protected from it."""
    nested: Any = "x"
    for _ in range(levels):
        nested = [nested]
    (details,) = YEASTAR.parse(build_body(zz=nested))
    assert details.extra["zz"] == ("[" * levels + '"x"' + "]" * levels)[:TEXT_CHARACTERS_MAX]


def test_yeastar_number_of_thousands_of_digits_is_stored_as_text() -> None:
    """Python refuses to convert it."""
    body = build_body(zz=7).replace(b'\\"zz\\": 7', b'\\"zz\\": ' + b"9" * 5000)
    assert YEASTAR.parse(body)[0].extra["zz"] == "9" * TEXT_CHARACTERS_MAX


def test_yeastar_call_id_too_long_is_rejected() -> None:
    """A cut id could be another call's, and no page or filter can hold the full one."""
    with pytest.raises(ParseError, match="call_id"):
        YEASTAR.parse(build_body(call_id="9" * 201))


def test_yeastar_numeric_call_id_keeps_last_zero() -> None:
    """As fractions, `….10` and `….1` would be one call (yeastar-p-series.md 2.4)."""
    body = b'{"sn":"S","call_id":1702285525.10,"time_start":"2023-12-11 11:05:25","call_from":"1","call_to":"2"}'
    assert YEASTAR.parse(body)[0].call_id == "1702285525.10"


def test_yeastar_duplicate_members_and_raw_line_breaks_are_accepted() -> None:
    """The last of two members counts; a raw line break is part of the text."""
    body = build_body().replace(b"BUSY", b"BU\nSY").replace(b'"sn"', b'"sn": "OLD", "sn"')
    assert YEASTAR.peek(body).sn == "3633XXXXXXXX"
    assert YEASTAR.parse(body)[0].status == "BU\nSY"


@pytest.mark.parametrize("is_text", [True, False])
def test_yeastar_numeric_call_id_in_msg_keeps_last_zero(is_text: bool) -> None:
    """With `msg` as an object and as text; a duration as a fraction is parsed too."""
    msg = (
        '{"call_id":1702285525.10,"time_start":"2023-12-11 11:05:25","call_from":"1","call_to":"2","call_duration":9.0}'
    )
    body = f'{{"sn":"S","type":30012,"msg":{json.dumps(msg) if is_text else msg}}}'.encode()
    (details,) = YEASTAR.parse(body)
    assert (details.call_id, details.call_duration) == ("1702285525.10", 9)


@pytest.mark.parametrize("layers", [1, 2])
def test_yeastar_msg_encoded_repeatedly_is_parsed(layers: int) -> None:
    """Programs between the PBX and Onhook may encode `msg` once or twice more."""
    envelope = json.loads(build_body())
    for _ in range(layers):
        envelope["msg"] = json.dumps(envelope["msg"])
    body = json.dumps(envelope).encode()
    assert YEASTAR.parse(body) == YEASTAR.parse(build_body())
    assert YEASTAR.peek(body) == YEASTAR.peek(build_body())


def test_yeastar_upper_case_member_names_are_parsed() -> None:
    """A member present under both spellings counts as the event spells it."""
    members = json.loads(json.loads(build_body())["msg"])
    body = json.dumps({"sn": "S", "msg": {name.upper(): value for name, value in members.items()}}).encode()
    assert YEASTAR.parse(body) == YEASTAR.parse(build_body())
    assert YEASTAR.parse(build_body(Status="ANSWERED"))[0].status == "BUSY"


def test_yeastar_flat_body_with_event_number_has_no_direction() -> None:
    """`type` is then the number of the event, not the direction of the call."""
    flat = {**json.loads(json.loads(build_body())["msg"]), "sn": "S", "type": 30012}
    assert YEASTAR.parse(json.dumps(flat).encode())[0].type == ""


@pytest.mark.parametrize(
    ("displayed", "expected"),
    [
        ("11/12/2023 11:05:25", "2023-12-11 11:05:25"),
        ("12/11/2023 11:05:25 AM", "2023-12-11 11:05:25"),
        ("11.12.2023 23:05:25", "2023-12-11 23:05:25"),
        ("12/12/2023 00:05:25", "2023-12-12 00:05:25"),
    ],
)
def test_yeastar_day_or_month_first_is_resolved_by_ids(displayed: str, expected: str) -> None:
    """Only one reading matches the second in `call_id`."""
    assert YEASTAR.parse(build_body(time_start=displayed))[0].time_start == expected


@pytest.mark.parametrize("changes", [{"call_id": "a"}, {"time_start": "11/10/2023 11:05:25"}])
def test_yeastar_ambiguous_date_without_proof_is_rejected(changes: dict[str, Any]) -> None:
    """An id without a time, or one that is months away from both readings."""
    with pytest.raises(ParseError, match="would be ambiguous"):
        YEASTAR.parse(build_body(**{"time_start": "11/12/2023 11:05:25", **changes}))


@pytest.mark.parametrize("missing", ["call_id", "time_start", "call_from", "call_to"])
@pytest.mark.parametrize("blank", [None, {}])
def test_yeastar_missing_required_member_is_rejected(missing: str, blank: Any) -> None:
    """The reason names the member."""
    with pytest.raises(ParseError, match=missing):
        YEASTAR.parse(build_body(**{missing: blank}))


@pytest.mark.parametrize("missing", ["call_id", "time_start"])
@pytest.mark.parametrize("blank", ["", " "])
def test_yeastar_blank_call_id_or_time_is_rejected(missing: str, blank: str) -> None:
    with pytest.raises(ParseError, match=missing):
        YEASTAR.parse(build_body(**{missing: blank}))


@pytest.mark.parametrize("party", ["call_from", "call_to"])
@pytest.mark.parametrize("blank", ['""', '" "', "null"])
def test_yeastar_withheld_number_is_accepted(party: str, blank: str) -> None:
    """A party that is present and blank becomes empty."""
    body = build_body(**{party: "WITHHELD"}).replace(b'\\"WITHHELD\\"', blank.replace('"', '\\"').encode())
    assert getattr(YEASTAR.parse(body)[0], party) == ""


def test_yeastar_four_members_are_sufficient() -> None:
    """The other texts are empty, the other numbers None, not zero."""
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
def test_yeastar_other_body_is_classified_and_rejected(body: bytes, kind: str, label: str) -> None:
    envelope = YEASTAR.peek(body)
    assert (envelope.kind, envelope.label, len(envelope.key)) == (kind, label, 16)
    with pytest.raises(ParseError):
        YEASTAR.parse(body)


@given(st.binary(max_size=200) | st.text('{}[]":,\\ut1', max_size=60).map(str.encode))
def test_yeastar_any_bytes_raise_only_parse_error(body: bytes) -> None:
    envelope = YEASTAR.peek(body)
    assert len(envelope.key) == 16
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
def test_yeastar_any_member_values_are_parsed(members: dict[str, Any]) -> None:
    """The details can be written as JSON again."""
    required_members = {
        "call_id": "1702285525.1",
        "time_start": "2023-12-11 11:05:25",
        "call_from": "1",
        "call_to": "2",
    }
    body = json.dumps({"type": 30012, "sn": "S", "msg": json.dumps({**members, **required_members})}).encode()
    details = YEASTAR.parse(body)[0]
    assert msgspec.json.decode(msgspec.json.encode(details), type=CallDetails) == details
    assert call_epoch(details.call_id) == 1702285525
    assert YEASTAR.peek(body).kind == "details"


@pytest.mark.parametrize("payload_format", NEWCDR_FORMATS)
def test_yeastar_event_of_older_generation_names_its_dialect(payload_format: str) -> None:
    """The reason in the quarantine says how the PBX is added."""
    details = CallDetails(call_id="1.1", time_start="2026-06-30 21:37:17", call_from="1", call_to="1001")
    with pytest.raises(ParseError) as error:
        Yeastar().parse(NewCdr().format(details, "3651", payload_format))
    assert "NewCdr" in error.value.message
    assert "--dialect newcdr" in error.value.hint


def test_yeastar_flat_event_has_names_where_the_record_has_them() -> None:
    leg = record()
    members = {field: getattr(leg, field) for field in leg.__struct_fields__}
    named = NamedRecord(**members, call_from_name="Alice Smith", call_to_name="Bob Jones")
    plain, with_names = (json.loads(Yeastar().format(each, SN, "flat")) for each in (leg, named))
    assert with_names == plain | {"call_from_name": "Alice Smith", "call_to_name": "Bob Jones"}
