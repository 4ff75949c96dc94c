"""`NewCdr` as bytes: every spelling of the manuals is read, and can be written again."""

import json
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


def test_the_sample_of_the_second_version_is_read() -> None:
    """All its numbers are text, and one of its members is spelt as nowhere else."""
    assert NEWCDR.parse(CLOUD_V2) == [ANSWERED]
    glance = NEWCDR.peek(CLOUD_V2)
    assert (glance.kind, glance.sn, glance.label) == ("details", "369451090405", "NewCdr")


@pytest.mark.parametrize("spelling", ["desttrunkname", "dsttrcunkname", "dstrunkname"])
def test_the_trunk_that_a_call_went_out_on_is_spelt_in_three_ways(spelling: str) -> None:
    """yeastar-p-series.md 9: accept all three; a blank beside it does not hide it."""
    (details,) = NEWCDR.parse(changed(**{spelling: "SPS-6-36"}))
    assert details.dst_trunk_name == "SPS-6-36"


def test_numbers_may_be_numbers() -> None:
    """The table types `callto` and `didnumber` as integers where the sample has text."""
    (details,) = NEWCDR.parse(changed(callto=2023, didnumber=5550100, pincode=1234, callduraction=19))
    assert (details.call_to, details.did_number, details.pin_code, details.call_duration) == (
        "2023",
        "5550100",
        "1234",
        19,
    )


def test_the_first_version_of_the_s_series_names_no_sender() -> None:
    """Its event is a call's end all the same, and `cdrid` is kept as its `uid`."""
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
def test_what_is_no_call_is_told_apart(body: bytes, kind: str, label: str) -> None:
    """Other events are counted by name, and read as no call."""
    glance = NEWCDR.peek(body)
    assert (glance.kind, glance.label) == (kind, label)
    with pytest.raises(ParseError):
        NEWCDR.parse(body)


def test_an_exact_repeat_has_the_same_key_in_any_order_of_members() -> None:
    """And another call has another."""
    turned = json.dumps(dict(reversed(json.loads(CLOUD_V2).items()))).encode()
    assert NEWCDR.peek(turned).key == NEWCDR.peek(CLOUD_V2).key
    assert NEWCDR.peek(changed(callto="2024")).key != NEWCDR.peek(CLOUD_V2).key


@given(
    details=st.builds(
        CallDetails,
        call_id=st.from_regex(r"1[0-9]{9}\.[0-9]{1,5}", fullmatch=True),
        time_start=st.datetimes().filter(lambda at: 1990 <= at.year <= 2100).map(lambda at: f"{at:%Y-%m-%d %H:%M:%S}"),
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
    profile=st.sampled_from(sorted(PAYLOAD_FORMATS)),
)
def test_what_is_written_is_read_again(details: CallDetails, profile: str) -> None:
    """Each generation says all that it knows of a call."""
    assert NEWCDR.parse(NEWCDR.format(details, "369451090405", profile)) == [details]


def test_a_profile_that_nobody_knows_is_refused() -> None:
    """With those that there are."""
    with pytest.raises(UsageError, match="cloud-v1"):
        NEWCDR.format(ANSWERED, "369451090405", "v3")


@given(st.binary(max_size=200) | st.builds(msgspec.json.encode, st.dictionaries(st.text(), st.none() | st.text())))
def test_glancing_never_fails(body: bytes) -> None:
    """Whatever the bytes."""
    assert len(NEWCDR.peek(body).key) == 16


def changed(**members: Any) -> bytes:
    """The sample with other members."""
    return msgspec.json.encode(json.loads(CLOUD_V2) | members)
