"""Calls that the PBX begins by itself: whichever side is called first, the telephone inside is the caller."""

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.pbx.asterisk.call import CallHeader, format_body
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.ami_streams import build_event

LINKED_ID = "1777309476.1"
AGENT, CUSTOMER = "PJSIP/1002-00000001", "PJSIP/trunk-a-00000002"
FIRST_HALF, SECOND_HALF = "Local/x@internal-00000003;1", "Local/x@internal-00000003;2"


def cdr(channel: str, dst_channel: str = "", **lines: str) -> AmiMessage:
    defaults = {
        "Source": "95550123",
        "CallerID": '"Web" <95550123>',
        "Channel": channel,
        "DestinationChannel": dst_channel,
        "LastApplication": "Dial",
        "StartTime": "2026-04-27 19:04:36",
        "EndTime": "2026-04-27 19:04:46",
        "Duration": "10",
        "BillableSeconds": "7",
        "Disposition": "ANSWERED",
        "LinkedID": LINKED_ID,
        "UniqueID": LINKED_ID,
    }
    return build_event("Cdr", **(defaults | lines))


def cel(name: str, channel: str, application: str = "", **lines: str) -> AmiMessage:
    defaults = {
        "EventName": name,
        "Channel": channel,
        "Application": application,
        "EventTime": "2026-04-27 19:04:36",
        "UniqueID": LINKED_ID,
        "LinkedID": LINKED_ID,
    }
    return build_event("CEL", **(defaults | lines))


def parse(*events: AmiMessage) -> list[CallDetails]:
    has_all_events = any(event.get("Event") == "CEL" for event in events)
    header = CallHeader(trunks=("trunk-a", "trunk-b"), has_all_events=has_all_events)
    return Asterisk().parse(format_body(header, events))


def summary(details: CallDetails) -> tuple[str, str, str, str, str]:
    return details.type, details.call_from, details.call_to, details.status, str(details.extra.get("originated", ""))


CALLED_FIRST = cel("ANSWER", CUSTOMER, "AppDial2")
OUTBOUND = ("Outbound", "1002", "95550123", "ANSWERED", "call")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [cdr(AGENT, CUSTOMER, Destination="95550123"), cel("ANSWER", AGENT, "AppDial2")],
            id="agent first, by extension",
        ),
        pytest.param(
            [
                cdr(AGENT, CUSTOMER, Destination="s", LastData="PJSIP/95550123@trunk-a,20"),
                cel("ANSWER", AGENT, "AppDial2"),
            ],
            id="agent first, by application",
        ),
        pytest.param([cdr(CUSTOMER, AGENT, Destination="1002"), CALLED_FIRST], id="customer first, by extension"),
        pytest.param([cdr(CUSTOMER, AGENT, Destination="s"), CALLED_FIRST], id="customer first, by application"),
        pytest.param(
            [cdr(FIRST_HALF, CUSTOMER, Destination="95550123"), cdr(SECOND_HALF, AGENT, Destination="1002")],
            id="agent first, by a Local channel",
        ),
        pytest.param(
            [cdr(FIRST_HALF, AGENT, Destination="1002"), cdr(SECOND_HALF, CUSTOMER, Destination="95550123")],
            id="customer first, by a Local channel",
        ),
        pytest.param(
            [cdr(FIRST_HALF, AGENT, Destination="s"), cdr(SECOND_HALF, CUSTOMER, Destination="95550123", CallerID="")],
            id="customer first, by a Local channel and an application",
        ),
    ],
)
def test_call_that_the_pbx_begins_is_the_telephones_call(events: list[AmiMessage]) -> None:
    (details,) = parse(*events)
    assert summary(details) == OUTBOUND
    assert details.talk_duration == 7 or details.extra["cdr_talk_duration"] == 7


def test_attempt_that_no_telephone_answers_is_its_own() -> None:
    unanswered = {"Disposition": "NO ANSWER", "BillableSeconds": "0", "Destination": "s"}
    (direct,) = parse(cdr(AGENT, LastApplication="AppDial2", **unanswered))
    (local,) = parse(
        cdr(FIRST_HALF, LastApplication="AppDial2", **unanswered),
        cdr(SECOND_HALF, AGENT, **unanswered | {"Destination": "1002"}),
    )
    assert summary(direct) == summary(local) == ("Outbound", "1002", "95550123", "NO ANSWER", "attempt")


def test_attempt_without_a_number_for_display_is_internal() -> None:
    """Such as a call file without a caller id: the telephone's own number is shown to it."""
    (details,) = parse(
        cdr(AGENT, LastApplication="AppDial2", Source="1002", CallerID="1002", Disposition="NO ANSWER", Destination="s")
    )
    assert (details.type, details.call_to, details.status) == ("Internal", "1002", "NO ANSWER")


def test_customer_who_does_not_answer_is_a_call_to_the_customer() -> None:
    (details,) = parse(cdr(SECOND_HALF, CUSTOMER, Destination="95550123", Disposition="NO ANSWER", BillableSeconds="0"))
    assert (details.type, details.call_to, details.status) == ("Outbound", "95550123", "NO ANSWER")


@pytest.mark.parametrize("disposition", ["NO ANSWER", "BUSY"])
def test_customer_called_directly_who_does_not_answer_is_called_by_no_one_yet(disposition: str) -> None:
    unanswered = {"Disposition": disposition, "BillableSeconds": "0", "Destination": "s"}
    (details,) = parse(cdr(CUSTOMER, LastApplication="AppDial2", LastData="(Outgoing Line)", **unanswered))
    assert summary(details) == ("Outbound", "anonymous", "95550123", disposition, "call")
    assert (details.src_trunk_name, details.dst_trunk_name) == ("", "trunk-a")


def test_first_party_alone_is_kept() -> None:
    """The other half was not reported."""
    (details,) = parse(cdr(SECOND_HALF, AGENT, Destination="1002"))
    assert (details.call_to, details.status, details.extra["originated"]) == ("1002", "ANSWERED", "call")
    (details,) = parse(cdr(FIRST_HALF, AGENT, Destination="1002"))
    assert (details.call_to, details.status) == ("1002", "ANSWERED")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param(
            [
                cdr(FIRST_HALF, CUSTOMER, Destination="95550123"),
                cdr(SECOND_HALF, LastApplication="ConfBridge", LastData="6500,,", Destination="6500"),
            ],
            id="the conference first",
        ),
        pytest.param(
            [
                cdr(FIRST_HALF, LastApplication="ConfBridge", LastData="6500,,", Destination="6500"),
                cdr(SECOND_HALF, CUSTOMER, Destination="95550123"),
            ],
            id="the customer first",
        ),
        pytest.param(
            [cdr(CUSTOMER, LastApplication="ConfBridge", LastData="6500,,", Destination="s"), CALLED_FIRST],
            id="the customer directly",
        ),
    ],
)
def test_customer_called_into_a_conference_talks_there(events: list[AmiMessage]) -> None:
    (details,) = parse(*events)
    assert (details.type, details.call_from, details.status) == ("Outbound", "6500", "ANSWERED")
    assert details.call_to == "95550123"


def test_telephone_called_into_a_conference_is_in_it() -> None:
    (details,) = parse(
        cdr(FIRST_HALF, AGENT, Destination="1002"),
        cdr(SECOND_HALF, LastApplication="ConfBridge", LastData="6500,,", Destination="6500"),
    )
    assert (details.type, details.call_to, details.status) == ("Internal", "6500", "ANSWERED")
    assert details.extra["callee_kind"] == "conference"


def test_two_customers_are_connected_from_the_first_to_the_second() -> None:
    second = "PJSIP/trunk-b-00000009"
    (details,) = parse(
        cdr(FIRST_HALF, second, Destination="95550199"), cdr(SECOND_HALF, CUSTOMER, Destination="95550123")
    )
    assert (details.type, details.call_to, details.dst_trunk_name) == ("Outbound", "95550199", "trunk-b")


def test_local_channel_without_a_party_is_no_call() -> None:
    assert parse(cdr(SECOND_HALF, Destination="ussd", LastApplication="Hangup")) == []


def test_call_of_a_telephone_is_unchanged() -> None:
    (details,) = parse(cdr(AGENT, "PJSIP/1003-00000004", Source="1002", CallerID="1002", Destination="1003"))
    assert summary(details) == ("Internal", "1002", "1003", "ANSWERED", "")


def test_customers_number_may_be_unknown() -> None:
    """Called directly by a trunk, with the agent's number for display, or none."""
    for caller_id in ('"Bob" <1002>', ""):
        (details,) = parse(cdr(CUSTOMER, AGENT, Source="1002", CallerID=caller_id, Destination="1002"), CALLED_FIRST)
        assert (details.type, details.call_from, details.call_to) == ("Outbound", "1002", "trunk-a")


def test_customers_number_may_be_that_for_display() -> None:
    """Where the trunk's channel has no number of its own."""
    (details,) = parse(cdr(CUSTOMER, AGENT, Source="", CallerID='"Web" <95550123>', Destination="1002"), CALLED_FIRST)
    assert (details.call_from, details.call_to) == ("1002", "95550123")
