"""`NewCdr` bodies: every spelling in the manuals is parsed, and formatting is the inverse of parsing."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.newcdr.payload import PAYLOAD_FORMATS, NewCdr

PAYLOADS = Path(__file__).parents[2] / "payloads"
NEWCDR = NewCdr()
CLOUD_V2 = (PAYLOADS / "newcdr_cloud_v2.json").read_bytes()

ANSWERED = CallDetails(
    call_id="1571897930.5",
    time_start="2019-10-23 22:18:50",
    call_from="1023",
    call_to="2023",
    call_duration=19,
    talk_duration=14,
    status="ANSWERED",
    type="Internal",
    recording="20191024201242-1571897930.5-203-201-Internal.wav",
    agent_ring_time=0,
)


def test_newcdr_cloud_v2_sample_is_parsed() -> None:
    """All its numbers are text, and one member has a spelling that occurs nowhere else."""
    assert NEWCDR.parse(CLOUD_V2) == [ANSWERED]
    envelope = NEWCDR.peek(CLOUD_V2)
    assert (envelope.kind, envelope.sn, envelope.label) == ("details", "369451090405", "NewCdr")


@pytest.mark.parametrize("spelling", ["desttrunkname", "dsttrcunkname", "dstrunkname"])
def test_newcdr_outbound_trunk_is_parsed_in_three_spellings(spelling: str) -> None:
    """yeastar-p-series.md 9: accept all three; a blank one beside it does not hide the value."""
    (details,) = NEWCDR.parse(change_sample(**{spelling: "SPS-6-36"}))
    assert details.dst_trunk_name == "SPS-6-36"


def test_newcdr_number_members_are_parsed() -> None:
    """The manual's table types `callto` and `didnumber` as integers; the sample has text."""
    (details,) = NEWCDR.parse(change_sample(callto=2023, didnumber=5550100, pincode=1234, callduraction=19))
    assert (details.call_to, details.did_number, details.pin_code, details.call_duration) == (
        "2023",
        "5550100",
        "1234",
        19,
    )


def test_newcdr_s_series_v1_without_sn_is_parsed() -> None:
    """`cdrid` is stored as `uid`."""
    body = b'{"action":"NewCdr","callid":"1505352615.274","cdrid":"20170914093015B9","timestart":"2017-09-14 09:30:15",'
    body += b'"callfrom":"1001","callto":"1002","callduraction":"9","talkduraction":"4","status":"ANSWERED"}'
    assert (NEWCDR.peek(body).kind, NEWCDR.peek(body).sn) == ("details", "")
    (details,) = NEWCDR.parse(body)
    assert (details.uid, details.talk_duration) == ("20170914093015B9", 4)


@pytest.mark.parametrize(
    ("body", "kind", "label"),
    [
        (b'{"action":"RINGING","callid":"1"}', "other_event", "RINGING"),
        (b'{"event":"test"}', "test_message", "test"),
        (b'{"event":"<script>"}', "other_event", "unknown"),
        (b'{"a":1}', "unparsable", "unknown"),
        (b'{"event":"NewCdr"', "unparsable", "unknown"),
        (b"hello", "not_json", "unknown"),
        (b"", "not_json", "unknown"),
    ],
)
def test_newcdr_other_body_is_classified_and_rejected(body: bytes, kind: str, label: str) -> None:
    envelope = NEWCDR.peek(body)
    assert (envelope.kind, envelope.label) == (kind, label)
    with pytest.raises(ParseError):
        NEWCDR.parse(body)


def test_newcdr_key_ignores_member_order() -> None:
    """Another call has another key."""
    reordered_body = json.dumps(dict(reversed(json.loads(CLOUD_V2).items()))).encode()
    assert NEWCDR.peek(reordered_body).key == NEWCDR.peek(CLOUD_V2).key
    assert NEWCDR.peek(change_sample(callto="2024")).key != NEWCDR.peek(CLOUD_V2).key


@given(
    details=st.builds(
        CallDetails,
        call_id=st.from_regex(r"1[0-9]{9}\.[0-9]{1,5}", fullmatch=True),
        time_start=st.datetimes(datetime(1990, 1, 1), datetime(2100, 12, 31)).map(  # noqa: DTZ001 - written without a zone
            lambda moment: f"{moment:%Y-%m-%d %H:%M:%S}"
        ),
        call_from=st.from_regex(r"[0-9]{3,12}", fullmatch=True),
        call_to=st.from_regex(r"[0-9]{3,12}", fullmatch=True),
        call_duration=st.none() | st.integers(0, 86_400),
        talk_duration=st.none() | st.integers(0, 86_400),
        src_trunk_name=st.sampled_from(["", "Trunk-A"]),
        dst_trunk_name=st.sampled_from(["", "Trunk-B"]),
        pin_code=st.sampled_from(["", "0042"]),
        status=st.sampled_from(["ANSWERED", "NO ANSWER", "BUSY", "VOICEMAIL"]),
        type=st.sampled_from(["Inbound", "Outbound", "Internal", "Callback", "Transfer"]),
    ),
    payload_format=st.sampled_from(sorted(PAYLOAD_FORMATS)),
)
def test_newcdr_format_then_parse_returns_same_details(details: CallDetails, payload_format: str) -> None:
    assert NEWCDR.parse(NEWCDR.format(details, "369451090405", payload_format)) == [details]


def test_newcdr_format_with_unknown_payload_format_names_known_ones() -> None:
    with pytest.raises(UsageError, match="cloud-v1"):
        NEWCDR.format(ANSWERED, "369451090405", "v3")


@given(st.binary(max_size=200) | st.builds(msgspec.json.encode, st.dictionaries(st.text(), st.none() | st.text())))
def test_newcdr_peek_of_any_bytes_does_not_fail(body: bytes) -> None:
    assert len(NEWCDR.peek(body).key) == 16


def change_sample(**members: Any) -> bytes:
    """Return the sample with some members changed."""
    return msgspec.json.encode(json.loads(CLOUD_V2) | members)


def test_newcdr_trunk_in_two_spellings_counts_as_first_with_value() -> None:
    trunks = {"desttrunkname": "", "dsttrcunkname": "SPS-1", "dstrunkname": "SPS-2"}
    body = msgspec.json.encode(
        {name: value for name, value in json.loads(CLOUD_V2).items() if name not in trunks} | trunks
    )
    assert NEWCDR.parse(body)[0].dst_trunk_name == "SPS-1"


@pytest.mark.parametrize(
    ("payload_format", "discriminator", "trunk_name", "sn"),
    [
        ("s-v1", "action", "desttrunkname", None),
        ("cloud-v1", "action", "desttrunkname", "369451090405"),
        ("v2", "event", "dsttrcunkname", "369451090405"),
    ],
)
def test_newcdr_format_uses_names_of_generation(
    payload_format: str, discriminator: str, trunk_name: str, sn: str | None
) -> None:
    """All values are text; unknown numbers are left out."""
    details = msgspec.structs.replace(ANSWERED, dst_trunk_name="SPS-1", talk_duration=None)
    members = json.loads(NEWCDR.format(details, "369451090405", payload_format))
    assert (members[discriminator], members[trunk_name], members.get("sn")) == ("NewCdr", "SPS-1", sn)
    assert (members["callduraction"], "talkduraction" in members) == ("19", False)
