"""Calls for which Asterisk wrote no CDR, from their channel events."""

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError
from onhook.pbx.asterisk.call import CallHeader, format_body
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.test_origination import LINKED_ID, cel

CALLER, FIRST, SECOND = "PJSIP/trunk-a-00000001", "PJSIP/1001-00000002", "PJSIP/1002-00000003"


def event(name: str, channel: str, second: int, application: str = "", **lines: str) -> AmiMessage:
    return cel(name, channel, application, EventTime=f"2026-04-27 19:04:{36 + second}", **lines)


def parse(*events: AmiMessage) -> list[CallDetails]:
    return Asterisk().parse(format_body(CallHeader(trunks=("trunk-a",), has_all_events=True), events))


def hung_up(channel: str, second: int, cause: int = 16) -> AmiMessage:
    return event("HANGUP", channel, second, Extra=f'{{"hangupcause":{cause}}}')


CALL_START = event("CHAN_START", CALLER, 0, CallerIDnum="5550199", CallerIDname="Outside", Exten="5550001")


def test_each_called_telephone_has_a_row() -> None:
    """One is busy, the other answers; of two the data of the application name one, the extension the other."""
    rows = parse(
        CALL_START,
        event("APP_START", CALLER, 0, "Dial", AppData="PJSIP/1001,20", Exten="1001", CallerIDnum="5550199"),
        event("CHAN_START", FIRST, 1),
        event("HANGUP", FIRST, 5, "AppDial", Extra='{"hangupcause":17}', Exten="1001"),
        event("APP_START", CALLER, 6, "Queue", AppData="support", Exten="6400", CallerIDnum="5550199"),
        event("CHAN_START", SECOND, 7),
        event("ANSWER", SECOND, 9, "AppQueue", Exten="6400"),
        event("BRIDGE_ENTER", SECOND, 9, "AppQueue", Exten="6400"),
        event("BRIDGE_EXIT", SECOND, 15, "AppQueue", Exten="6400"),
        event("HANGUP", SECOND, 15, "AppQueue", Extra='{"hangupcause":16}', Exten="6400"),
        hung_up(CALLER, 15),
    )
    assert [(row.call_to, row.status, row.talk_duration) for row in rows if row.call_to != "support<6400>"] == [
        ("1001", "BUSY", 0),
        ("1002", "ANSWERED", 6),
    ]
    assert {row.call_from for row in rows} == {"Outside<5550199>"}


@pytest.mark.parametrize(("cause", "status"), [(3, "FAILED"), (17, "BUSY"), (19, "NO ANSWER"), (0, "NO ANSWER")])
def test_call_that_reached_no_telephone_has_its_reason(cause: int, status: str) -> None:
    (row,) = parse(
        CALL_START,
        event("APP_START", CALLER, 0, "Dial", AppData="PJSIP/1009,10", Exten="2009", CallerIDnum="5550199"),
        hung_up(CALLER, 2, cause),
    )
    assert (row.call_to, row.status, row.call_duration, row.call_id) == ("2009", status, 2, LINKED_ID)


def test_call_without_an_application_is_read_too() -> None:
    (row,) = parse(CALL_START, hung_up(CALLER, 2))
    assert (row.call_to, row.status) == ("5550001", "NO ANSWER")


def test_telephone_that_was_called_before_belongs_to_no_later_application() -> None:
    rows = parse(
        CALL_START,
        event("CHAN_START", FIRST, 1, "AppDial", Exten="1001"),
        event("APP_START", CALLER, 2, "Dial", AppData="PJSIP/1002,20", Exten="1002", CallerIDnum="5550199"),
        hung_up(CALLER, 3),
    )
    assert [row.call_to for row in rows] == ["1002"]


def test_body_without_cdr_and_with_unreadable_times_is_quarantined() -> None:
    with pytest.raises(ParseError, match="no CDR"):
        parse(cel("CHAN_START", CALLER, EventTime="soon"))


def test_body_without_cdr_has_a_key_of_its_events() -> None:
    body = format_body(CallHeader(has_all_events=True), [CALL_START, hung_up(CALLER, 2)])
    same_body = format_body(CallHeader(has_all_events=True), [hung_up(CALLER, 2), CALL_START])
    assert Asterisk().peek(body).kind == "details"
    assert Asterisk().peek(body).key == Asterisk().peek(same_body).key
