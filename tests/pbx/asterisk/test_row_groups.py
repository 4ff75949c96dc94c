"""The devices of an extension are one row, whichever of them rings, answers or calls."""

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.pbx.asterisk.messages import AmiMessage
from tests.pbx.asterisk.test_origination import (
    CUSTOMER,
    FIRST_HALF,
    SECOND_HALF,
    UNANSWERED,
    cdr,
    cel,
    customer_first,
    parse,
)

CALLER = "PJSIP/trunk-a-00000001"
FIRST, SECOND, OTHER = "PJSIP/201-00000002", "PJSIP/99201-00000003", "PJSIP/202-00000004"
BOTH = {"LastData": "PJSIP/201&PJSIP/99201,15", "Destination": "201"}
INBOUND = {"Source": "5550199", "CallerID": "5550199", "DestinationContext": "ext-local"}

Row = tuple[str, str, int | None]


def rows(*events: AmiMessage) -> list[Row]:
    return sorted((details.call_to, details.status, details.talk_duration) for details in parse(*events))


def inbound(channel: str, **lines: str) -> AmiMessage:
    return cdr(CALLER, channel, **INBOUND | lines)


def devices(channel: str, **lines: str) -> list[AmiMessage]:
    """Return the CDRs of a channel that calls both devices, of which the second one answers."""
    return [cdr(channel, FIRST, **INBOUND | BOTH | UNANSWERED | lines), cdr(channel, SECOND, **INBOUND | BOTH | lines)]


@pytest.mark.parametrize(
    ("extension", "outer"),
    [
        ("201", {"LastApplication": "Queue", "LastData": "6400,t,,,300", "Destination": "6400"}),
        ("RG-600-201", {"LastData": "Local/RG-600-201@internal&Local/RG-600-202@internal,20", "Destination": "600"}),
        ("FMPR-201", {"LastData": "Local/FMPR-201@internal,20", "Destination": "201"}),
    ],
    ids=["queue", "ring group", "follow me"],
)
def test_devices_behind_a_local_channel_are_their_extension(extension: str, outer: dict[str, str]) -> None:
    local = f"Local/{extension}@internal-00000001"
    group = [] if outer["Destination"] == "201" else [(outer["Destination"], "ANSWERED", 7)]
    called = rows(inbound(f"{local};1", **outer), *devices(f"{local};2", Destination=extension))
    assert called == [("201", "ANSWERED", 7), *group]


def test_device_alone_is_its_extension() -> None:
    """The other one is not registered; one channel, or the one of two that has a CDR."""
    assert rows(inbound(SECOND, LastData="PJSIP/99201,20", Destination="201")) == [("201", "ANSWERED", 7)]
    assert rows(inbound(SECOND, **BOTH)) == [("201", "ANSWERED", 7)]


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ({"LastApplication": "Queue", "LastData": "support,t", "Destination": "6400"}, "6400"),
        ({"LastData": "PJSIP/201&PJSIP/99201&PJSIP/202,20", "Destination": "600"}, "600"),
    ],
    ids=["queue", "ring group"],
)
def test_devices_that_are_members_are_their_extension(lines: dict[str, str], number: str) -> None:
    """A queue calls them again and again."""
    later_times = {"StartTime": "2026-04-27 19:05:36", "EndTime": "2026-04-27 19:05:46"}
    called = rows(
        *(inbound(channel, **lines | UNANSWERED) for channel in (FIRST, SECOND, OTHER)),
        inbound(FIRST[:-1] + "5", **lines | UNANSWERED | later_times),
        inbound(OTHER[:-1] + "6", **lines | UNANSWERED | later_times),
        inbound(SECOND[:-1] + "7", **lines | later_times),
    )
    unanswered = ("201", "NO ANSWER", 0), ("202", "NO ANSWER", 0), ("202", "NO ANSWER", 0)
    assert called == sorted([("201", "ANSWERED", 7), *unanswered, (number, "ANSWERED", 7)])


def test_telephones_with_similar_numbers_are_not_one_extension() -> None:
    called = rows(
        *(
            inbound(f"PJSIP/{name}-0000000a", Destination="600", LastData="PJSIP/201&PJSIP/1201")
            for name in ("201", "1201")
        )
    )
    assert called == [("1201", "ANSWERED", 7), ("201", "ANSWERED", 7), ("600", "ANSWERED", 7)]


def test_message_after_both_devices_is_one_row() -> None:
    mailbox = {"LastApplication": "VoiceMail", "LastData": "201@default,u", "Destination": "vmu201"}
    unanswered = [inbound(channel, **BOTH | UNANSWERED) for channel in (FIRST, SECOND)]
    (details,) = parse(
        *unanswered, inbound("", StartTime="2026-04-27 19:04:46", EndTime="2026-04-27 19:04:56", **mailbox)
    )
    assert (details.call_to, details.status, details.call_duration) == ("201", "VOICEMAIL", 20)


def callers(*events: AmiMessage) -> list[str]:
    return [details.call_from for details in parse(*events)]


def test_device_that_calls_out_is_its_extension_as_far_as_it_is_known() -> None:
    outgoing = {"Destination": "95550123", "LastData": "PJSIP/95550123@trunk-a"}
    assert callers(cdr(SECOND, CUSTOMER, **outgoing, Source="201", CallerID='"Sue" <201>')) == ["Sue<201>"]
    assert callers(cdr(SECOND, CUSTOMER, **outgoing, Source="5550000", CallerID='"ACME" <5550000>')) == ["99201"]


def test_device_that_the_pbx_calls_first_is_its_extension() -> None:
    first_half = cdr(FIRST_HALF, CUSTOMER, Destination="95550123")
    assert callers(first_half, *devices(SECOND_HALF)) == ["201"]
    unanswered = [cdr(SECOND_HALF, channel, **BOTH | UNANSWERED) for channel in (SECOND, FIRST)]
    (attempt,) = parse(*unanswered)
    assert (attempt.call_from, attempt.call_to, attempt.extra["originated"]) == ("201", "95550123", "attempt")


@pytest.mark.parametrize("by_local", [False, True])
def test_device_to_which_a_customer_is_connected_is_its_extension(*, by_local: bool) -> None:
    (details,) = parse(*customer_first((SECOND, {"Destination": "201"}), by_local=by_local))
    assert (details.call_from, details.call_to, details.status) == ("201", "95550123", "ANSWERED")


@pytest.mark.parametrize(("own_number", "name"), [("201", "Sue<201>"), ("99201", "Sue<201>"), ("205", "Sue<205>")])
def test_device_with_channel_events_has_the_name_of_its_extension(own_number: str, name: str) -> None:
    """Whichever number it shows itself; another one than its own is that of the dialplan."""
    start = cel("CHAN_START", SECOND, CallerIDnum=own_number, CallerIDname="Sue")
    bridge = [cel(event, SECOND, EventTime=f"2026-04-27 19:04:{second}") for event, second in BRIDGE]
    (details,) = parse(inbound(SECOND, **BOTH), start, *bridge)
    assert details_of(details) == (name, "ANSWERED", 7)


BRIDGE = (("BRIDGE_ENTER", 39), ("BRIDGE_EXIT", 46))


def details_of(details: CallDetails) -> Row:
    return details.call_to, details.status, details.talk_duration
