"""What Asterisk told becomes the call details that the original PBX would send."""

import random
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import record_key
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.asterisk.call import CallHeader, format_body, get_linked_id
from onhook.pbx.asterisk.messages import AmiMessage, parse_message, parse_messages
from onhook.pbx.asterisk.payload import PAYLOAD_FORMAT, Asterisk
from onhook.pbx.yeastar.payload import Yeastar
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS, bodies, events, stream
from tests.pbx.asterisk.scenarios import SCENARIOS, Scenario, table, to_table_rows

ASTERISK = Asterisk()
IN_EACH = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


def cdrs_alone(name: str) -> list[bytes]:
    """The CDRs of a scenario, call by call, as a file would have them."""
    header = CallHeader(trunks=PARSE_OPTIONS.trunks, inbound_contexts=PARSE_OPTIONS.inbound_contexts)
    calls: dict[str, list[AmiMessage]] = {}
    for event in events(name):
        if event.get("Event") == "Cdr":
            calls.setdefault(get_linked_id(event.fields), []).append(event)
    return [format_body(header, cdrs) for cdrs in calls.values()]


def told_by(heard: Sequence[bytes]) -> list[CallDetails]:
    """What all these calls say."""
    return [one for body in heard for one in ASTERISK.parse(body)]


def cdr(**lines: str) -> bytes:
    """A body with one CDR, Alice calling Bob unless said otherwise."""
    usual = {
        "Event": "Cdr",
        "Source": "1001",
        "Destination": "1002",
        "DestinationContext": "internal",
        "CallerID": '"Alice" <1001>',
        "Channel": "PJSIP/1001-00000001",
        "DestinationChannel": "PJSIP/1002-00000002",
        "LastApplication": "Dial",
        "LastData": "PJSIP/1002,20",
        "StartTime": "2026-04-27 19:04:36",
        "EndTime": "2026-04-27 19:04:46",
        "Duration": "10",
        "BillableSeconds": "7",
        "Disposition": "ANSWERED",
        "UniqueID": "1777309476.1",
        "LinkedID": "1777309476.1",
    }
    text = "".join(f"{name}: {value}\r\n" for name, value in (usual | lines).items())
    message = parse_message(text.encode())
    assert message is not None
    return format_body(CallHeader(trunks=("trunk-a",), inbound_contexts=("from-trunk",)), [message])


@IN_EACH
def test_each_scenario_becomes_the_expected_rows(scenario: Scenario) -> None:
    """Of what the real Asterisk said, event by event, a report of each call is kept, which reads as the table says."""
    heard = bodies(events(scenario.name))
    assert len(heard) == scenario.call_count
    assert to_table_rows(told_by(heard)) == list(scenario.expected)


@pytest.mark.parametrize("name", ["summer_time", "restarted"])
def test_neither_a_zone_nor_a_restart_changes_a_call(name: str) -> None:
    """Heard where it is eleven hours later, or as the last before a restart: Alice and Bob talk."""
    (row,) = to_table_rows(told_by(bodies(events(name))))
    assert (row["at"], row["from"], row["to"], row["status"]) == ("0", "Alice<1001>", "Bob<1002>", "ANSWERED")


def test_a_call_that_was_on_when_we_connected_is_told_by_its_cdr() -> None:
    """Its begin was not heard, so that its channel events are half a story, and are left out."""
    (body,) = bodies(events("on_when_connected"))
    assert b"CEL: none" in body
    assert to_table_rows(told_by([body])) == list(
        table("""
        at | from        | to   | lasts | talk | status   | type     | in | out | did | ring | more
        0  | Alice<1001> | 1002 | 7     | 6    | ANSWERED | Internal |    |     |     | 0    |
        """)
    )


def test_what_a_cdr_says_by_chance_changes_no_row() -> None:
    """Asterisk calls a telephone answered, or not, whose call is picked up elsewhere; who talked is the same."""
    (scenario,) = (one for one in SCENARIOS if one.name == "picked_up")
    rows = to_table_rows(told_by(bodies(events("picked_up_by_chance"))))
    assert rows == [{**row, "more": row["more"].replace("cdr_status=ANSWERED", "")} for row in scenario.expected]


@IN_EACH
def test_the_cdrs_alone_tell_the_same_calls(scenario: Scenario) -> None:
    """Without channel events every row but the IVRs' is there, to the same number and with the same caller."""
    alone, told = told_by(cdrs_alone(scenario.name)), told_by(bodies(events(scenario.name)))
    numbers = sorted(record_key("", one)[3] for one in told if one.call_to != "6200" or len(told) == 1)
    assert sorted(record_key("", one)[3] for one in alone) == numbers
    assert {one.call_from for one in alone} == {one.call_from for one in told}
    assert {(one.call_id, one.uid) for one in alone} == {(one.call_id, one.uid) for one in told}


@IN_EACH
def test_a_call_is_the_same_report_by_whichever_way_it_came(scenario: Scenario) -> None:
    """Its key is equal with and without channel events, in any order of its CDRs: seen twice, it is kept once."""
    keys = {ASTERISK.peek(body).key for body in bodies(events(scenario.name))}
    alone = cdrs_alone(scenario.name)
    assert {ASTERISK.peek(body).key for body in alone} == keys
    shuffled = [random.Random(1).sample(cdrs, len(cdrs)) for cdrs in (parse_messages(body)[1:] for body in alone)]
    assert {ASTERISK.peek(format_body(CallHeader(), cdrs)).key for cdrs in shuffled} == keys


def test_different_calls_have_different_keys() -> None:
    """And one with a CDR more is another report of the call."""
    keys = {ASTERISK.peek(body).key for scenario in SCENARIOS for body in cdrs_alone(scenario.name)}
    assert len(keys) == sum(scenario.call_count for scenario in SCENARIOS)
    cdrs = [event for event in events("ring_group") if event.get("Event") == "Cdr"]
    assert ASTERISK.peek(format_body(CallHeader(), cdrs[:1])).key != ASTERISK.peek(format_body(CallHeader(), cdrs)).key


def test_the_order_of_the_cdrs_does_not_matter() -> None:
    """The same CDRs in any order make the same rows."""
    for body in (body for scenario in SCENARIOS for body in cdrs_alone(scenario.name)):
        header = CallHeader(trunks=PARSE_OPTIONS.trunks, inbound_contexts=PARSE_OPTIONS.inbound_contexts)
        assert ASTERISK.parse(format_body(header, parse_messages(body)[:0:-1])) == ASTERISK.parse(body)


def test_a_recording_is_found_by_the_application_that_made_it() -> None:
    """By MixMonitor's file name, without its folder; by a field of the CDR, and by a user field that names one."""
    (body,) = bodies(events("recorded"))
    (told,) = ASTERISK.parse(body)
    assert told.recording == f"{told.call_id}.wav"
    (by_field,) = ASTERISK.parse(cdr(RecordingFile="q-6400-1777309476.1.wav"))
    (by_user_field,) = ASTERISK.parse(cdr(UserField="in-1.wav"))
    (by_neither,) = ASTERISK.parse(cdr(UserField="customer 7"))
    found = (by_field.recording, by_user_field.recording, by_neither.recording)
    assert found == ("q-6400-1777309476.1.wav", "in-1.wav", "")


@pytest.mark.parametrize(
    ("lines", "status", "talk"),
    [
        ({"Disposition": "ANSWERED"}, "ANSWERED", 7),
        ({"Disposition": "NO ANSWER"}, "NO ANSWER", 0),
        ({"Disposition": "BUSY"}, "BUSY", 0),
        ({"Disposition": "FAILED"}, "FAILED", 0),
        ({"Disposition": "CONGESTION"}, "FAILED", 0),
        ({"LastApplication": "VoiceMail", "DestinationChannel": ""}, "VOICEMAIL", 7),
    ],
)
def test_a_disposition_becomes_a_status(lines: dict[str, str], status: str, talk: int) -> None:
    """As yeastar-p-series.md 10.1 says; who was not answered has not talked, whatever the CDR counts."""
    (told,) = ASTERISK.parse(cdr(**lines))
    assert (told.status, told.talk_duration) == (status, talk)


@pytest.mark.parametrize(
    ("channel", "dst_channel", "direction"),
    [
        ("PJSIP/trunk-a-1", "PJSIP/1002-00000002", "Internal"),  # no trunk: `1` is no number of a channel
        ("PJSIP/trunk-a-00000001", "PJSIP/1002-00000002", "Inbound"),
        ("PJSIP/1001-00000001", "PJSIP/trunk-a-00000002", "Outbound"),
        ("PJSIP/trunk-a-00000001", "PJSIP/trunk-a-00000002", "Outbound"),
        ("PJSIP/1001-00000001", "PJSIP/1002-00000002", "Internal"),
    ],
)
def test_the_trunks_tell_the_direction(channel: str, dst_channel: str, direction: str) -> None:
    """Forwarded out counts as outbound."""
    (told,) = ASTERISK.parse(cdr(Channel=channel, DestinationChannel=dst_channel))
    assert told.type == direction


def test_who_was_called_is_who_the_other_channel_belongs_to() -> None:
    """For a transfer changes the destination of a CDR; where the channel has no number, the destination counts."""
    (moved,) = ASTERISK.parse(cdr(Destination="1006"))
    (named,) = ASTERISK.parse(cdr(Destination="1002", DestinationChannel="PJSIP/bobs-desk-00000002"))
    (special,) = ASTERISK.parse(cdr(Destination="s", DestinationChannel="PJSIP/bobs-desk-00000002"))
    out = cdr(Destination="s", DestinationChannel="PJSIP/trunk-a-00000002", LastData="PJSIP/5550123@trunk-a,20")
    (outside,) = ASTERISK.parse(out)
    called = [one.call_to for one in (moved, named, special, outside)]
    assert called == ["1002", "1002", "bobs-desk", "5550123"]


def test_a_caller_without_a_number_is_anonymous() -> None:
    """The event cannot do without a caller."""
    (told,) = ASTERISK.parse(cdr(Source="", CallerID=""))
    assert told.call_from == "anonymous"


def test_the_account_code_is_a_pin_only_where_that_was_said() -> None:
    """Elsewhere it is a customer's number, or nothing."""
    message = parse_message(cdr(AccountCode="4711").split(b"\r\n\r\n")[1])
    assert message is not None
    (said,) = ASTERISK.parse(format_body(CallHeader(has_pins=True), [message]))
    (unsaid,) = ASTERISK.parse(cdr(AccountCode="4711"))
    assert (said.pin_code, unsaid.pin_code) == ("4711", "")
    assert "4711" not in str(unsaid)


def test_a_password_in_an_application_is_not_shown() -> None:
    """`Authenticate` has it as its data."""
    (told,) = ASTERISK.parse(cdr(LastApplication="Authenticate", LastData="4711", DestinationChannel=""))
    assert "4711" not in str(told)


def test_without_linkedid_each_cdr_stands_for_itself() -> None:
    """By its own id (yeastar-p-series.md 10.1)."""
    (told,) = ASTERISK.parse(cdr(LinkedID="", UniqueID="1777309480.9"))
    assert told.call_id == "1777309480.9"


def test_a_leg_alone_finds_the_offset_where_the_report_says_it() -> None:
    """The second leg of a long call tells nothing about the clock by its ids; the header does."""
    message = parse_message(cdr(StartTime="2026-04-27 19:25:36").split(b"\r\n\r\n")[1])
    assert message is not None
    (told,) = ASTERISK.parse(format_body(CallHeader(offset_seconds=7200), [message]))
    assert told.uid.startswith("20260427190436")


@pytest.mark.parametrize(
    "body", [b"", b"Asterisk: 1\r\n\r\n", cdr(StartTime="yesterday"), cdr(LinkedID="", UniqueID="")]
)
def test_a_body_that_says_no_call_is_unreadable(body: bytes) -> None:
    """With a reason; whoever glances at it is told too, and nothing fails."""
    assert ASTERISK.peek(body).kind in ("not_json", "unparsable", "details")
    with pytest.raises(ParseError):
        ASTERISK.parse(body)


@given(st.binary(max_size=400))
def test_no_bytes_make_a_glance_fail(body: bytes) -> None:
    """Nor the reader, but for saying that it cannot read."""
    for one in (body, b"Asterisk: 1\r\n" + body, b"Asterisk: 1\r\n\r\nEvent: Cdr\r\nLinkedID: 1.1\r\n" + body):
        assert len(ASTERISK.peek(one).key) == 16
        with suppress(ParseError):
            ASTERISK.parse(one)


@given(st.data())
def test_damaged_streams_are_read_or_refused(data: st.DataObject) -> None:
    """Of real events, with any lines left out, doubled or moved, nothing but calls or a reason comes."""
    name = data.draw(st.sampled_from([scenario.name for scenario in SCENARIOS]))
    lines = stream(name).split(b"\r\n")
    picked = data.draw(st.lists(st.sampled_from(range(len(lines))), max_size=60))
    body = CallHeader(has_all_events=True, trunks=PARSE_OPTIONS.trunks).text.encode() + b"\r\n".join(
        lines[at] for at in picked
    )
    with suppress(ParseError):
        ASTERISK.parse(body)


DETAILS = CallDetails(
    call_id="1777309476.362",
    time_start="2026-04-27 19:04:36",
    call_from="Alice<1001>",
    call_to="1002",
    call_duration=30,
    talk_duration=20,
    status="ANSWERED",
    type="Internal",
    recording="a.wav",
    agent_ring_time=0,
)


def test_what_is_written_is_read_back() -> None:
    """All that a CDR can hold; the uid is made anew, and `extra` says what it was made of."""
    (told,) = ASTERISK.parse(ASTERISK.format(DETAILS, "pbx.example.org", PAYLOAD_FORMAT))
    names = [name for name in CallDetails.__struct_fields__ if name not in ("uid", "extra")]
    assert [getattr(told, name) for name in names] == [getattr(DETAILS, name) for name in names]


def test_an_unknown_profile_is_refused() -> None:
    """There is one."""
    with pytest.raises(UsageError, match="p-2026"):
        ASTERISK.format(DETAILS, "pbx.example.org", "p-2026")


@IN_EACH
def test_an_application_gets_the_same_event_as_from_the_original(scenario: Scenario) -> None:
    """Every row can be said as event 30012, and reads back as what it was."""
    for told in told_by(bodies(events(scenario.name))):
        event = Yeastar().format(told, "pbx.example.org", "p-2026")
        (again,) = Yeastar().parse(event)
        assert record_key("", again) == record_key("", told)
        assert (again.status, again.type, again.talk_duration) == (told.status, told.type, told.talk_duration)
