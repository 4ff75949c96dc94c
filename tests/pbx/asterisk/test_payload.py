"""Asterisk's events become the call details that the original PBX would send."""

import random
from collections.abc import Sequence
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import extract_number, record_key
from onhook.lib.errors import ParseError, UsageError
from onhook.pbx.asterisk.call import CallHeader, format_body, get_linked_id
from onhook.pbx.asterisk.messages import AmiMessage, parse_message, parse_messages
from onhook.pbx.asterisk.payload import PAYLOAD_FORMAT, Asterisk, has_channel_events
from onhook.pbx.yeastar.payload import Yeastar
from tests.pbx.asterisk.ami_streams import PARSE_OPTIONS, bodies, events, stream
from tests.pbx.asterisk.scenario_tables import Scenario, table, to_table_rows
from tests.pbx.asterisk.scenarios import SCENARIOS

ASTERISK = Asterisk()
EACH_SCENARIO = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)


def bodies_from_cdrs(name: str) -> list[bytes]:
    """Return the CDRs of a scenario, call by call, as read from a file."""
    header = CallHeader(trunks=PARSE_OPTIONS.trunks, inbound_contexts=PARSE_OPTIONS.inbound_contexts)
    calls: dict[str, list[AmiMessage]] = {}
    for event in events(name):
        if event.get("Event") == "Cdr":
            calls.setdefault(get_linked_id(event.fields), []).append(event)
    return [format_body(header, cdrs) for cdrs in calls.values()]


def parse_all(call_bodies: Sequence[bytes]) -> list[CallDetails]:
    """Return the details of all legs in these bodies."""
    return [details for body in call_bodies for details in ASTERISK.parse(body)]


def cdr(**lines: str) -> bytes:
    """Return a body with one CDR; by default, Alice calls Bob."""
    defaults = {
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
    text = "".join(f"{name}: {value}\r\n" for name, value in (defaults | lines).items())
    message = parse_message(text.encode())
    assert message is not None
    return format_body(CallHeader(trunks=("trunk-a",), inbound_contexts=("from-trunk",)), [message])


@EACH_SCENARIO
def test_asterisk_scenario_events_give_expected_rows(scenario: Scenario) -> None:
    call_bodies = bodies(events(scenario.name))
    # A channel that only helps another call is no call.
    assert len([body for body in call_bodies if ASTERISK.parse(body)]) == scenario.call_count
    assert to_table_rows(parse_all(call_bodies)) == list(scenario.expected)


@pytest.mark.parametrize("name", ["summer_time", "restarted"])
def test_asterisk_time_zone_and_restart_do_not_change_call(name: str) -> None:
    (row,) = to_table_rows(parse_all(bodies(events(name))))
    assert (row["at"], row["from"], row["to"], row["status"]) == ("0", "Alice<1001>", "Bob<1002>", "ANSWERED")


def test_asterisk_call_active_at_connect_is_parsed_from_its_cdr() -> None:
    """Its first events are missing, so its channel events are left out."""
    (body,) = bodies(events("on_when_connected"))
    assert b"CEL: none" in body
    assert to_table_rows(parse_all([body])) == list(
        table("""
        at | from        | to   | total | talk | status   | type     | in | out | did | ring | more
        0  | Alice<1001> | 1002 | 7     | 6    | ANSWERED | Internal |    |     |     | 0    |
        """)
    )


def test_asterisk_pickup_gives_same_rows_for_either_disposition() -> None:
    """Asterisk marks the ringing telephone of a picked-up call as answered, or not; the talk is the same."""
    (scenario,) = (candidate for candidate in SCENARIOS if candidate.name == "picked_up")
    rows = to_table_rows(parse_all(bodies(events("picked_up_by_chance"))))
    assert rows == [{**row, "more": row["more"].replace("cdr_status=ANSWERED", "")} for row in scenario.expected]


@pytest.mark.parametrize(
    "scenario",
    # The CDR of a customer who is called first is that of a call from the customer.
    [scenario for scenario in SCENARIOS if scenario.name != "originated_customer_first"],
    ids=lambda scenario: scenario.name,
)
def test_asterisk_cdrs_alone_give_same_parties(scenario: Scenario) -> None:
    """Without channel events only the rows of IVRs are missing, and the name of a caller who shows another one."""
    cdr_only, ami_details = parse_all(bodies_from_cdrs(scenario.name)), parse_all(bodies(events(scenario.name)))
    numbers = sorted(
        record_key("", details)[3]
        for details in ami_details
        if details.call_to not in ("6200", "ivr-1") or len(ami_details) == 1
    )
    assert sorted(record_key("", details)[3] for details in cdr_only) == numbers
    assert {extract_number(details.call_from) for details in cdr_only} == {
        extract_number(details.call_from) for details in ami_details
    }
    assert {(details.call_id, details.uid) for details in cdr_only} == {
        (details.call_id, details.uid) for details in ami_details
    }


@EACH_SCENARIO
def test_asterisk_key_does_not_depend_on_channel_or_order(scenario: Scenario) -> None:
    """It is equal with and without channel events, so a call received twice is stored once."""
    keys = {ASTERISK.peek(body).key for body in bodies(events(scenario.name))}
    cdr_only = bodies_from_cdrs(scenario.name)
    assert {ASTERISK.peek(body).key for body in cdr_only} == keys
    shuffled = [random.Random(1).sample(cdrs, len(cdrs)) for cdrs in (parse_messages(body)[1:] for body in cdr_only)]
    assert {ASTERISK.peek(format_body(CallHeader(), cdrs)).key for cdrs in shuffled} == keys


def test_asterisk_key_differs_between_calls() -> None:
    """It differs too if the call has one more CDR."""
    call_bodies = [body for scenario in SCENARIOS for body in bodies_from_cdrs(scenario.name) if ASTERISK.parse(body)]
    keys = {ASTERISK.peek(body).key for body in call_bodies}
    assert len(keys) == sum(scenario.call_count for scenario in SCENARIOS)
    cdrs = [event for event in events("ring_group") if event.get("Event") == "Cdr"]
    assert ASTERISK.peek(format_body(CallHeader(), cdrs[:1])).key != ASTERISK.peek(format_body(CallHeader(), cdrs)).key


def test_asterisk_rows_do_not_depend_on_order_of_cdrs() -> None:
    for body in (body for scenario in SCENARIOS for body in bodies_from_cdrs(scenario.name)):
        header = CallHeader(trunks=PARSE_OPTIONS.trunks, inbound_contexts=PARSE_OPTIONS.inbound_contexts)
        assert ASTERISK.parse(format_body(header, parse_messages(body)[:0:-1])) == ASTERISK.parse(body)


def test_asterisk_recording_comes_from_mixmonitor_or_cdr_field() -> None:
    """The file name of MixMonitor without folder, a field of the CDR, or a user field that names a file."""
    (body,) = bodies(events("recorded"))
    (details,) = ASTERISK.parse(body)
    assert details.recording == f"{details.call_id}.wav"
    (by_field,) = ASTERISK.parse(cdr(RecordingFile="q-6400-1777309476.1.wav"))
    (by_user_field,) = ASTERISK.parse(cdr(UserField="in-1.wav"))
    (by_neither,) = ASTERISK.parse(cdr(UserField="customer 7"))
    recordings = (by_field.recording, by_user_field.recording, by_neither.recording)
    assert recordings == ("q-6400-1777309476.1.wav", "in-1.wav", "")


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
def test_asterisk_disposition_becomes_status(lines: dict[str, str], status: str, talk: int) -> None:
    """yeastar-p-series.md 10.1; an unanswered call has no talk time, whatever the CDR counts."""
    (details,) = ASTERISK.parse(cdr(**lines))
    assert (details.status, details.talk_duration) == (status, talk)


@pytest.mark.parametrize(
    ("channel", "dst_channel", "direction"),
    [
        ("PJSIP/trunk-a-1", "PJSIP/1002-00000002", "Internal"),  # Not a trunk: `-1` is not the number of a channel.
        ("PJSIP/trunk-a-00000001", "PJSIP/1002-00000002", "Inbound"),
        ("PJSIP/1001-00000001", "PJSIP/trunk-a-00000002", "Outbound"),
        ("PJSIP/trunk-a-00000001", "PJSIP/trunk-a-00000002", "Outbound"),
        ("PJSIP/1001-00000001", "PJSIP/1002-00000002", "Internal"),
    ],
)
def test_asterisk_direction_follows_from_trunks(channel: str, dst_channel: str, direction: str) -> None:
    """A call forwarded to a trunk is outbound."""
    (details,) = ASTERISK.parse(cdr(Channel=channel, DestinationChannel=dst_channel))
    assert details.type == direction


def test_asterisk_callee_is_owner_of_other_channel() -> None:
    """A transfer changes the destination of a CDR; the destination counts if the channel has no number."""
    (moved,) = ASTERISK.parse(cdr(Destination="1006"))
    (named,) = ASTERISK.parse(cdr(Destination="1002", DestinationChannel="PJSIP/bobs-desk-00000002"))
    (special,) = ASTERISK.parse(cdr(Destination="s", DestinationChannel="PJSIP/bobs-desk-00000002"))
    out = cdr(Destination="s", DestinationChannel="PJSIP/trunk-a-00000002", LastData="PJSIP/5550123@trunk-a,20")
    (outside,) = ASTERISK.parse(out)
    callees = [details.call_to for details in (moved, named, special, outside)]
    assert callees == ["1002", "1002", "bobs-desk", "5550123"]


QUEUE = {"Destination": "6400", "LastApplication": "Queue", "LastData": "support", "DestinationChannel": ""}
MENU = {"Destination": "s", "DestinationContext": "ivr-1", "LastApplication": "WaitExten", "DestinationChannel": ""}
CONFERENCE = {"Destination": "6500", "LastApplication": "ConfBridge", "DestinationChannel": ""}


def two_callers(first: dict[str, str], second: dict[str, str]) -> list[CallDetails]:
    """Return the legs of two callers in one call, in order of the caller."""
    callers = ({"Source": "111", "CallerID": "111"}, {"Source": "222", "CallerID": "222"})
    channels = ("PJSIP/trunk-a-00000001", "PJSIP/trunk-a-00000005")
    messages = []
    for caller, channel, lines in zip(callers, channels, (first, second), strict=True):
        message = parse_message(cdr(**{"Channel": channel} | caller | lines).split(b"\r\n\r\n")[1])
        assert message is not None
        messages.append(message)
    body = format_body(CallHeader(trunks=("trunk-a",)), messages)
    legs = ASTERISK.parse(body)
    assert ASTERISK.parse(format_body(CallHeader(trunks=("trunk-a",)), messages[::-1])) == legs
    return sorted(legs, key=lambda leg: leg.call_from)


@pytest.mark.parametrize("lines", [{}, QUEUE, MENU], ids=["extension", "queue", "IVR"])
def test_asterisk_callers_of_one_party_in_one_second_are_two_records(lines: dict[str, str]) -> None:
    """Their channels differ."""
    legs = two_callers(lines, lines | {"Disposition": "BUSY"})
    assert [leg.call_from for leg in legs] == ["111", "222"]
    assert [leg.extra["identified_by"] for leg in legs] == ["channel", "channel"]
    assert len({record_key("", leg) for leg in legs}) == 2


def test_asterisk_group_that_two_callers_reach_in_one_second_has_two_rows() -> None:
    group = {"Destination": "600", "LastData": "PJSIP/1002&PJSIP/1003,20"}
    legs = two_callers(group, group | {"DestinationChannel": "PJSIP/1003-00000007"})
    assert [(leg.call_from, leg.call_to, "identified_by" in leg.extra) for leg in legs] == [
        ("111", "600", True),
        ("111", "1002", False),
        ("222", "600", True),
        ("222", "1003", False),
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({}, {"StartTime": "2026-04-27 19:04:37"}),
        ({}, {"DestinationChannel": "PJSIP/1003-00000002"}),
        (CONFERENCE, CONFERENCE),
    ],
    ids=["start", "party", "conference"],
)
def test_asterisk_legs_that_differ_keep_their_identity(first: dict[str, str], second: dict[str, str]) -> None:
    """By start or party; the key of a participant of a conference always contains the channel."""
    assert [leg.extra.get("identified_by") for leg in two_callers(first, second)] == [None, None]


def test_asterisk_rows_of_one_caller_are_one_record() -> None:
    """Such as a telephone that rings twice in a second: the row that says more."""
    unanswered = {"Disposition": "NO ANSWER", "BillableSeconds": "0", "DestinationChannel": "PJSIP/1002-00000009"}
    (leg,) = two_callers({}, {"Channel": "PJSIP/trunk-a-00000001", "Source": "111", "CallerID": "111"} | unanswered)
    assert (leg.status, "identified_by" in leg.extra) == ("ANSWERED", False)


def test_asterisk_column_of_the_operator_does_not_change_the_identity() -> None:
    (leg,) = ASTERISK.parse(cdr(identified_by="channel"))
    assert record_key("", leg)[3] == "1002"


def test_asterisk_caller_without_number_is_anonymous() -> None:
    """The event requires a caller."""
    (details,) = ASTERISK.parse(cdr(Source="", CallerID=""))
    assert details.call_from == "anonymous"


def test_asterisk_account_code_is_pin_only_if_configured() -> None:
    """Otherwise it may be a customer's number, and is shown as what it is."""
    message = parse_message(cdr(AccountCode="4711").split(b"\r\n\r\n")[1])
    assert message is not None
    (with_pins,) = ASTERISK.parse(format_body(CallHeader(has_pins=True), [message]))
    (without_pins,) = ASTERISK.parse(cdr(AccountCode="4711"))
    assert (with_pins.pin_code, without_pins.pin_code) == ("4711", "")
    assert (without_pins.extra["account_code"], "account_code" in with_pins.extra) == ("4711", False)


def test_asterisk_password_of_application_is_removed() -> None:
    """The data of `Authenticate` is a password."""
    (details,) = ASTERISK.parse(cdr(LastApplication="Authenticate", LastData="4711", DestinationChannel=""))
    assert "4711" not in str(details)


def test_asterisk_cdr_without_linkedid_is_own_call() -> None:
    """yeastar-p-series.md 10.1."""
    (details,) = ASTERISK.parse(cdr(LinkedID="", UniqueID="1777309480.9"))
    assert details.call_id == "1777309480.9"


def test_asterisk_later_leg_uses_offset_from_header() -> None:
    """The ids of the second leg of a long call do not contain the offset of the clock."""
    message = parse_message(cdr(StartTime="2026-04-27 19:25:36").split(b"\r\n\r\n")[1])
    assert message is not None
    (details,) = ASTERISK.parse(format_body(CallHeader(offset_seconds=7200), [message]))
    assert details.uid.startswith("20260427190436")


def test_asterisk_clock_put_back_between_legs_uid_is_start_of_first_leg() -> None:
    """The second leg's wall clock is the earlier one."""
    ids = {"UniqueID": "1792889970.0", "LinkedID": "1792889970.0", "Duration": "20", "EndTime": ""}
    starts = ("2026-10-25 02:59:30", "2026-10-25 02:00:10")
    messages = [parse_message(cdr(**ids, StartTime=start).split(b"\r\n\r\n")[1]) for start in starts]
    legs = ASTERISK.parse(format_body(CallHeader(), [message for message in messages if message]))
    assert [leg.uid[:14] for leg in legs] == ["20261025025930"] * 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Asterisk: 1\r\n\r\n",
        cdr(StartTime="yesterday"),
        cdr(LinkedID="", UniqueID=""),
        b"Asterisk: 1\r\nCEL: whole\r\n\r\nEvent: CEL\r\nApplication: AppDial\r\nEventTime: 2026-11-24 10:41:57",
    ],
)
def test_asterisk_body_without_call_is_rejected(body: bytes) -> None:
    assert ASTERISK.peek(body).kind in ("not_json", "unparsable", "details")
    with pytest.raises(ParseError):
        ASTERISK.parse(body)


@given(st.binary(max_size=400))
def test_asterisk_any_bytes_raise_only_parse_error(body: bytes) -> None:
    for candidate in (body, b"Asterisk: 1\r\n" + body, b"Asterisk: 1\r\n\r\nEvent: Cdr\r\nLinkedID: 1.1\r\n" + body):
        assert len(ASTERISK.peek(candidate).key) == 16
        with suppress(ParseError):
            ASTERISK.parse(candidate)


@given(st.data())
def test_asterisk_damaged_stream_is_parsed_or_rejected(data: st.DataObject) -> None:
    """With lines removed, repeated or moved."""
    name = data.draw(st.sampled_from([scenario.name for scenario in SCENARIOS]))
    lines = stream(name).split(b"\r\n")
    indexes = data.draw(st.lists(st.sampled_from(range(len(lines))), max_size=60))
    body = CallHeader(has_all_events=True, trunks=PARSE_OPTIONS.trunks).text.encode() + b"\r\n".join(
        lines[index] for index in indexes
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


def test_asterisk_format_then_parse_returns_same_details() -> None:
    """Except the uid and `extra`, which are derived again."""
    (details,) = ASTERISK.parse(ASTERISK.format(DETAILS, "pbx.example.org", PAYLOAD_FORMAT))
    names = [name for name in CallDetails.__struct_fields__ if name not in ("uid", "extra")]
    assert [getattr(details, name) for name in names] == [getattr(DETAILS, name) for name in names]


def test_asterisk_format_with_unknown_payload_format_is_rejected() -> None:
    with pytest.raises(UsageError, match="p-2026"):
        ASTERISK.format(DETAILS, "pbx.example.org", "p-2026")


@EACH_SCENARIO
def test_asterisk_details_as_yeastar_event_are_parsed_back(scenario: Scenario) -> None:
    for details in parse_all(bodies(events(scenario.name))):
        event = Yeastar().format(details, "pbx.example.org", "p-2026")
        (parsed_again,) = Yeastar().parse(event)
        assert record_key("", parsed_again) == record_key("", details)
        assert (parsed_again.status, parsed_again.type, parsed_again.talk_duration) == (
            details.status,
            details.type,
            details.talk_duration,
        )


def test_asterisk_body_has_channel_events_where_cel_was_read() -> None:
    header = CallHeader(trunks=())
    assert [
        has_channel_events(format_body(header, [stream_event]))
        for stream_event in (AmiMessage((("Event", "CEL"),)), AmiMessage((("Event", "Cdr"),)))
    ] == [True, False]
