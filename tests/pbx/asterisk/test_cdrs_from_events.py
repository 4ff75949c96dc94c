"""Calls for which Asterisk wrote no CDR, from their channel events."""

import pytest

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError
from onhook.pbx.asterisk.call import CallHeader, format_body
from onhook.pbx.asterisk.call_collector import MISSING_CDR_SECONDS, AsteriskParserConfig, CallCollector
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.test_origination import LINKED_ID, cdr, cel

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


SETTINGS = AsteriskParserConfig(trunks=("trunk-a",), inbound_contexts=("from-trunk",))
OUTSIDE = {"CallerIDnum": "5550199", "Exten": "5550001", "Context": "from-trunk"}


def collect(*events: AmiMessage) -> list[CallDetails]:
    """Return the legs of a call as received over one connection, long after its end."""
    collector = CallCollector(SETTINGS)
    for message in events:
        assert collector.add_event(message, now=1.0) == []
    return [
        details
        for call in collector.pop_completed(2.0 + MISSING_CDR_SECONDS)
        for details in Asterisk().parse(call.body)
    ]


def ended(channel: str, second: int) -> list[AmiMessage]:
    return [hung_up(channel, second), *(event(name, channel, second) for name in ("CHAN_END", "LINKEDID_END"))]


def test_call_that_only_waits_or_is_hung_up_is_kept() -> None:
    """Asterisk reports no begin of `Wait`, `Ringing`, `Congestion` and `Hangup`."""
    (row,) = collect(event("CHAN_START", CALLER, 0, **OUTSIDE), *ended(CALLER, 15))
    assert (row.type, row.call_from, row.call_to) == ("Inbound", "5550199", "5550001")
    assert (row.status, row.did_number, row.call_duration) == ("NO ANSWER", "5550001", 15)


def test_attempt_of_a_telephone_that_is_called_first_is_kept() -> None:
    start = event("CHAN_START", SECOND, 0, CallerIDnum="95550123", Exten="s")
    rings = event("HANGUP", SECOND, 15, "AppDial2", CallerIDnum="95550123", Exten="s", Extra='{"hangupcause":0}')
    (row,) = collect(start, rings, *ended(SECOND, 15)[1:])
    assert (row.type, row.call_from, row.call_to) == ("Outbound", "1002", "95550123")
    assert (row.status, row.extra["originated"]) == ("NO ANSWER", "attempt")


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([event("CHAN_START", "Snoop/1001-00000009", 0, Exten="1001")], id="a helper"),
        pytest.param([event("CHAN_START", CALLER, 0, Exten="s")], id="it dialled nothing"),
        pytest.param(
            [event("CHAN_START", CALLER, 0, **OUTSIDE), event("ANSWER", CALLER, 1)], id="it joined another call"
        ),
    ],
)
def test_channel_that_made_no_call_is_no_call(events: list[AmiMessage]) -> None:
    assert collect(*events, *ended(events[0].get("Channel"), 15)) == []


RANG = cdr(
    CALLER,
    SECOND,
    Source="5550199",
    CallerID="5550199",
    Destination="1002",
    LastData="PJSIP/1002,10",
    AnswerTime="",
    Disposition="NO ANSWER",
    BillableSeconds="0",
)
"""A telephone rang for ten seconds: Asterisk writes this CDR."""


def then(*events: AmiMessage, last_cdrs: tuple[AmiMessage, ...] = ()) -> list[tuple[str, str, int | None]]:
    """Return the legs of a call in which a telephone has rung, and these events follow."""
    start = event("CHAN_START", CALLER, 0, **OUTSIDE)
    dial = {"Exten": "1002", "AppData": "PJSIP/1002,10"}
    before = [start, event("APP_START", CALLER, 0, "Dial", **dial), event("CHAN_START", SECOND, 0)]
    before += [hung_up(SECOND, 10, 0), event("APP_END", CALLER, 10, "Dial", **dial)]
    rows = parse(RANG, *last_cdrs, *before, *events, hung_up(CALLER, 20, 0))
    return [(row.call_to, row.status, row.call_duration) for row in rows]


def test_queue_after_the_last_cdr_has_a_row() -> None:
    queue = {"Exten": "6400", "AppData": "support"}
    joined = [event("APP_START", CALLER, 10, "Queue", **queue), event("APP_END", CALLER, 20, "Queue", **queue)]
    expected = [("1002", "NO ANSWER", 10), ("support<6400>", "NO ANSWER", 10)]
    assert then(*joined) == expected
    assert then(*joined[:1]) == expected


def test_number_after_the_last_cdr_that_cannot_be_called_has_a_row() -> None:
    dial = {"Exten": "2009", "AppData": "PJSIP/2009,10"}
    dialled = [event("APP_START", CALLER, 10, "Dial", **dial), event("APP_END", CALLER, 10, "Dial", **dial)]
    assert then(*dialled) == [("1002", "NO ANSWER", 10), ("2009", "NO ANSWER", 0)]


def test_application_that_has_its_cdr_has_no_second_row() -> None:
    queue = {"Exten": "6400", "AppData": "support"}
    times = {"StartTime": "2026-04-27 19:04:46", "EndTime": "2026-04-27 19:04:46"}
    times |= {"Duration": "0", "BillableSeconds": "0"}
    lines = {"Destination": "6400", "LastApplication": "Queue", "LastData": "support", "Disposition": "NO ANSWER"}
    for channel in ("", FIRST):
        own_cdr = cdr(CALLER, channel, Source="5550199", CallerID="5550199", **lines | times)
        legs = then(event("APP_START", CALLER, 10, "Queue", **queue), last_cdrs=(own_cdr,))
        assert [call_to for call_to, _, _ in legs].count("support<6400>") == 1
    playback = event("APP_START", CALLER, 10, "Playback", Exten="1002", AppData="busy-now")
    assert then(playback) == [("1002", "NO ANSWER", 10)]


def test_channel_that_ends_in_another_call_is_no_call() -> None:
    assert collect(event("CHAN_START", CALLER, 0, **OUTSIDE), event("LINKEDID_END", CALLER, 15)) == []
