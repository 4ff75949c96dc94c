"""The PBX's clock is changed during a call: durations stay, and each row begins by the clock at its own start."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import ParseError
from onhook.pbx.asterisk.call import CallHeader, format_body
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.test_origination import cdr, cel

CALLER, FIRST, SECOND = "PJSIP/trunk-a-00000001", "PJSIP/1001-00000002", "PJSIP/1002-00000003"
BEGIN = datetime(2026, 10, 25, 2, 59, 30)  # noqa: DTZ001 - a wall clock


class Night:
    """A call of a minute: the first telephone talks 20 seconds and transfers the caller to the second one."""

    def __init__(self, change: timedelta, changed_after: int) -> None:
        self.change = change
        self.changed_after = changed_after

    def clock(self, second: int) -> str:
        """Return the wall clock this long after the begin of the call."""
        local = BEGIN + timedelta(seconds=second)
        return str(local if second < self.changed_after else local + self.change)

    def cdr(self, dst_channel: str, begin: int, end: int) -> AmiMessage:
        return cdr(
            CALLER,
            dst_channel,
            Source="5550199",
            CallerID="5550199",
            Destination=dst_channel[6:10],
            StartTime=self.clock(begin),
            AnswerTime=self.clock(begin + 2),
            EndTime=self.clock(end),
            Duration=str(end - begin),
            BillableSeconds=str(end - begin - 2),
        )

    def events(self) -> list[AmiMessage]:
        times = [
            (0, "CHAN_START", CALLER),
            (0, "CHAN_START", FIRST),
            (2, "ANSWER", FIRST),
            (2, "BRIDGE_ENTER", FIRST),
            (22, "BRIDGE_EXIT", FIRST),
            (22, "HANGUP", FIRST),
            (22, "CHAN_START", SECOND),
            (24, "BRIDGE_ENTER", SECOND),
            (60, "BRIDGE_EXIT", SECOND),
            (60, "HANGUP", SECOND),
            (60, "HANGUP", CALLER),
        ]
        return [cel(name, channel, EventTime=self.clock(second)) for second, name, channel in times]

    def parse(self, *, has_all_events: bool) -> list[CallDetails]:
        header = CallHeader(trunks=("trunk-a",), has_all_events=has_all_events)
        cdrs = [self.cdr(FIRST, 0, 22), self.cdr(SECOND, 22, 60)]
        return Asterisk().parse(format_body(header, [*cdrs, *(self.events() if has_all_events else [])]))


@pytest.mark.parametrize("has_all_events", [True, False])
@pytest.mark.parametrize("changed_after", [10, 22, 40, 1_000])
@pytest.mark.parametrize("minutes", [-60, -30, 60, 30])
def test_clock_change_moves_no_duration(minutes: int, changed_after: int, has_all_events: bool) -> None:
    night = Night(timedelta(minutes=minutes), changed_after)
    rows = {row.call_to: row for row in night.parse(has_all_events=has_all_events)}
    assert {call_to: (row.status, row.call_duration, row.talk_duration) for call_to, row in rows.items()} == {
        "1001": ("ANSWERED", 22, 20),
        "1002": ("ANSWERED", 38, 36),
    }
    assert (rows["1001"].time_start, rows["1002"].time_start) == (night.clock(0), night.clock(22))


@pytest.mark.parametrize(("minutes", "has_gap"), [(-60, False), (-60, True), (-30, False), (30, False), (60, False)])
def test_clock_change_in_a_queue_without_events_moves_no_duration(minutes: int, has_gap: bool) -> None:
    """The first agent's telephone rings, the second one's answers; the clock is changed while one rings, or between."""
    night = Night(timedelta(minutes=minutes), changed_after=22 if has_gap else 10)
    columns = {"LastApplication": "Queue", "LastData": "6400,,,,30", "Source": "5550199", "Destination": "6400"}
    columns |= {"LinkedID": "1792889970.1", "UniqueID": "1792889970.1"}
    unanswered = {"AnswerTime": "", "BillableSeconds": "0", "Disposition": "NO ANSWER"}
    first = {"StartTime": night.clock(0), "EndTime": night.clock(20), "Duration": "20", **unanswered}
    second = {
        "StartTime": night.clock(25),
        "AnswerTime": night.clock(30),
        "EndTime": night.clock(60),
        "Duration": "35",
        "BillableSeconds": "30",
    }
    rows = [cdr(CALLER, FIRST, **columns | first), cdr(CALLER, SECOND, **columns | second)]
    legs = Asterisk().parse(format_body(CallHeader(trunks=("trunk-a",)), rows))
    assert {leg.call_to: (leg.time_start, leg.status, leg.call_duration, leg.talk_duration) for leg in legs} == {
        "6400": (night.clock(0), "ANSWERED", 60, 30),
        "1001": (night.clock(0), "NO ANSWER", 20, 0),
        "1002": (night.clock(25), "ANSWERED", 35, 30),
    }


@pytest.mark.parametrize("minutes", [-60, 60])
@pytest.mark.parametrize("talk", [2_900, 3_598, 3_599, 3_700, 9_000])
def test_clock_change_in_a_call_without_events_for_long_is_found(talk: int, minutes: int) -> None:
    """The clock may show a later time after it was put back, because more than an hour has passed."""
    night = Night(timedelta(minutes=minutes), changed_after=100)
    times = [(0, "CHAN_START"), (2, "BRIDGE_ENTER"), (2 + talk, "BRIDGE_EXIT"), (2 + talk, "HANGUP")]
    events = [cel(name, FIRST, EventTime=night.clock(second)) for second, name in times]
    body = format_body(CallHeader(trunks=("trunk-a",), has_all_events=True), [night.cdr(FIRST, 0, 2 + talk), *events])
    (details,) = Asterisk().parse(body)
    assert (details.status, details.talk_duration, details.call_duration) == ("ANSWERED", talk, 2 + talk)


@pytest.mark.parametrize("changed_after", [30, 2_000])
def test_clock_change_before_or_after_the_answer_is_known_from_the_cdr(changed_after: int) -> None:
    """The gap with the change is not the longest: a minute of ringing, and half an hour, against 50 minutes of talk."""
    night = Night(timedelta(minutes=30), changed_after=changed_after)
    ring, end = 60, 3_060
    times = [(0, "CHAN_START"), (ring, "BRIDGE_ENTER"), (end, "BRIDGE_EXIT"), (end, "HANGUP")]
    events = [cel(name, FIRST, EventTime=night.clock(second)) for second, name in times]
    row = cdr(
        CALLER,
        FIRST,
        Destination="1001",
        StartTime=night.clock(0),
        AnswerTime=night.clock(ring),
        EndTime=night.clock(end),
        Duration=str(end),
        BillableSeconds=str(end - ring),
    )
    (details,) = Asterisk().parse(format_body(CallHeader(trunks=("trunk-a",), has_all_events=True), [row, *events]))
    assert (details.talk_duration, details.call_duration) == (end - ring, end)


@pytest.mark.parametrize("minutes", [-60, 60])
def test_clock_change_while_a_telephone_rings_without_an_answer(minutes: int) -> None:
    night = Night(timedelta(minutes=minutes), changed_after=10)
    times = [(0, "CHAN_START", CALLER), (0, "CHAN_START", FIRST), (30, "HANGUP", FIRST), (30, "HANGUP", CALLER)]
    events = [cel(name, channel, EventTime=night.clock(second)) for second, name, channel in times]
    row = cdr(
        CALLER,
        FIRST,
        Destination="1001",
        StartTime=night.clock(0),
        AnswerTime="",
        EndTime=night.clock(30),
        Duration="30",
        BillableSeconds="0",
        Disposition="NO ANSWER",
    )
    (details,) = Asterisk().parse(format_body(CallHeader(trunks=("trunk-a",), has_all_events=True), [row, *events]))
    assert (details.time_start, details.status, details.call_duration) == (night.clock(0), "NO ANSWER", 30)


def test_clock_change_in_a_talk_that_events_show_otherwise() -> None:
    """The talk of the CDR has the announcement before it; the jump in the events is found all the same."""
    night = Night(timedelta(minutes=-60), changed_after=100)
    times = [
        *((0, "CHAN_START", CALLER), (0, "CHAN_START", FIRST), (30, "BRIDGE_ENTER", FIRST)),
        *((200, "BRIDGE_EXIT", FIRST), (200, "HANGUP", FIRST), (200, "HANGUP", CALLER)),
    ]
    events = [cel(name, channel, EventTime=night.clock(second)) for second, name, channel in times]
    body = format_body(CallHeader(trunks=("trunk-a",), has_all_events=True), [night.cdr(FIRST, 0, 200), *events])
    (details,) = Asterisk().parse(body)
    assert (details.call_duration, details.talk_duration) == (200, 170)


def test_call_without_a_cdr_whose_events_cannot_be_read_is_an_error() -> None:
    event = cel("CHAN_START", FIRST, EventTime="yesterday")
    with pytest.raises(ParseError, match="no CDR"):
        Asterisk().parse(format_body(CallHeader(has_all_events=True), [event]))


def test_clock_change_that_no_event_shows_moves_no_event() -> None:
    """A CDR whose end contradicts its duration, as that of a clock that was set by hand."""
    night = Night(timedelta(minutes=60), changed_after=1)
    events = [cel(name, FIRST, EventTime=night.clock(0)) for name in ("CHAN_START", "BRIDGE_ENTER", "HANGUP")]
    body = format_body(CallHeader(trunks=("trunk-a",), has_all_events=True), [night.cdr(FIRST, 0, 22), *events])
    (details,) = Asterisk().parse(body)
    assert (details.time_start, details.call_duration) == (night.clock(0), 22)


@pytest.mark.parametrize("talk", [3_540, 3_600, 3_660])
def test_clock_change_after_an_hour_of_talk_that_hides_it(talk: int) -> None:
    """The wall clock is the same, or a minute off: only the talk of the CDR shows the change."""
    night = Night(timedelta(minutes=-60), changed_after=100)
    ids = {"LinkedID": "1792889970.1", "UniqueID": "1792889970.1"}
    times = [
        *((0, "CHAN_START", CALLER), (0, "CHAN_START", FIRST), (0, "BRIDGE_ENTER", FIRST)),
        *((talk, "BRIDGE_EXIT", FIRST), (talk, "HANGUP", FIRST), (talk, "CHAN_START", SECOND)),
        *((talk, "BRIDGE_ENTER", SECOND), (talk, "BRIDGE_EXIT", SECOND), (talk, "HANGUP", SECOND)),
    ]
    events = [cel(name, channel, EventTime=night.clock(second), **ids) for second, name, channel in times]
    rows = [
        cdr(
            CALLER,
            channel,
            Destination=channel[6:10],
            StartTime=night.clock(begin),
            AnswerTime=night.clock(begin),
            EndTime=night.clock(end),
            Duration=str(end - begin),
            BillableSeconds=str(end - begin),
            **ids,
        )
        for channel, begin, end in ((FIRST, 0, talk), (SECOND, talk, talk))
    ]
    body = format_body(CallHeader(trunks=("trunk-a",), has_all_events=True), [*rows, *events])
    reported_legs = [
        ReportedLeg(details=details, seq=1, via="ami", received_at=datetime(2026, 10, 25, 3, tzinfo=UTC))
        for details in Asterisk().parse(body)
    ]
    call = assemble_call("LAB", reported_legs, PbxFacts(dialect="asterisk", zone=ZoneInfo("Europe/Berlin")))
    assert [(leg.call_to, leg.talk_duration, leg.utc_offset) for leg in call.legs] == [
        ("1001", talk, "+02:00"),
        ("1002", 0, "+01:00"),
    ]
    assert call.legs[1].started_at - call.legs[0].started_at == timedelta(seconds=talk)


def test_clock_change_before_the_leg_of_a_later_channel_is_known_from_its_events() -> None:
    """In the hour that comes twice, the start of the second leg alone does not show by which clock it is."""
    night = Night(timedelta(minutes=-60), changed_after=3_500)
    times = [
        *((0, "CHAN_START", CALLER), (0, "CHAN_START", FIRST), (2, "BRIDGE_ENTER", FIRST)),
        *((4_000, "BRIDGE_EXIT", FIRST), (4_000, "CHAN_START", SECOND), (4_002, "BRIDGE_ENTER", SECOND)),
        *((4_060, "BRIDGE_EXIT", SECOND), (4_060, "HANGUP", SECOND), (4_060, "HANGUP", CALLER)),
    ]
    events = [cel(name, channel, EventTime=night.clock(second)) for second, name, channel in times]
    cdrs = [night.cdr(FIRST, 0, 4_000), night.cdr(SECOND, 4_000, 4_060)]
    rows = Asterisk().parse(format_body(CallHeader(trunks=("trunk-a",), has_all_events=True), [*cdrs, *events]))
    assert {row.call_to: (row.time_start, row.call_duration, row.talk_duration) for row in rows} == {
        "1001": (night.clock(0), 4_000, 3_998),
        "1002": (night.clock(4_000), 60, 58),
    }


@pytest.mark.parametrize("has_all_events", [True, False])
@pytest.mark.parametrize(
    ("first_start", "second_start", "duration"),
    [
        pytest.param("01:59:30", "03:00:02", 52, id="the clock left the hour out"),
        pytest.param("01:59:30", "03:00:30", 3_680, id="a wait that is too long"),
        pytest.param("01:29:30", "02:30:02", 3_652, id="another minute"),
        pytest.param("04:59:30", "06:00:02", 3_652, id="another hour"),
    ],
)
def test_clock_change_between_two_agents_of_a_queue(
    first_start: str, second_start: str, duration: int, *, has_all_events: bool
) -> None:
    """No CDR contains the time between; a caller may wait an hour there."""
    queue = {"LastApplication": "Queue", "LastData": "6400", "Destination": "6400", "LinkedID": "1774749570.1"}
    starts = [datetime.fromisoformat(f"2026-03-29 {text}") for text in (first_start, second_start)]
    rows, events = [], []
    for channel, start, talk in ((FIRST, starts[0], 0), (SECOND, starts[1], 18)):
        end = str(start + timedelta(seconds=20))
        answer = {"AnswerTime": str(start + timedelta(seconds=2)), "BillableSeconds": "18"} if talk else {}
        unanswered = {"Disposition": "NO ANSWER", "BillableSeconds": "0"}
        times = {"StartTime": str(start), "EndTime": end, "Duration": "20"} | (answer or unanswered)
        rows.append(cdr(CALLER, channel, **queue | times))
        bridge = [cel("BRIDGE_ENTER", channel, EventTime=answer["AnswerTime"])] if answer else []
        events += [cel("CHAN_START", channel, EventTime=str(start)), *bridge, cel("HANGUP", channel, EventTime=end)]
    header = CallHeader(trunks=("trunk-a",), has_all_events=has_all_events)
    legs = Asterisk().parse(format_body(header, [*rows, *(events if has_all_events else [])]))
    assert {leg.call_to: (leg.time_start[11:], leg.call_duration, leg.talk_duration) for leg in legs} == {
        "6400": (first_start, duration, 18),
        "1001": (first_start, 20, 0),
        "1002": (second_start, 20, 18),
    }


@pytest.mark.parametrize(("start", "end"), [("01:59:50", "03:00:10"), ("02:59:50", "02:00:10")])
def test_clock_change_in_a_cdr_without_a_duration_of_its_own(start: str, end: str) -> None:
    """A participant of a conference has a CDR of no second."""
    row = cdr(
        CALLER,
        Destination="6500",
        LastApplication="ConfBridge",
        StartTime=f"2026-03-29 {start}",
        AnswerTime=f"2026-03-29 {start}",
        EndTime=f"2026-03-29 {end}",
        Duration="0",
        BillableSeconds="0",
    )
    (details,) = Asterisk().parse(format_body(CallHeader(trunks=("trunk-a",)), [row]))
    assert (details.call_duration, details.talk_duration) == (0, 0)
