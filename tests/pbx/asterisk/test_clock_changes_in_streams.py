"""Recorded calls, moved into a night in which the clock is changed: each call is what it was, to the second."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.record import Call
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.payload import Asterisk
from tests.pbx.asterisk.ami_streams import STREAMS, bodies, events

FORWARD, BACK = timedelta(hours=1), timedelta(hours=-1)
CHANGES = ((FORWARD, datetime(2026, 3, 29, 2)), (BACK, datetime(2026, 10, 25, 3)))  # noqa: DTZ001 - wall clocks
TIMES = ("StartTime", "AnswerTime", "EndTime", "EventTime")
EPOCH = re.compile(r"\b1[67]\d{8}(?=\.\d)")

ROUNDING = timedelta(seconds=1)
"""What happens in the second of the change is shown in the one before it, or in the one after it."""

CHANGED_STREAMS = ("summer_time_begins", "summer_time_ends")
"""Their clock was changed when they were recorded."""
STREAM_NAMES = sorted({path.stem for path in STREAMS.glob("*.ami")} - set(CHANGED_STREAMS))

Leg = tuple[str, str, str, str]


def wall_clock(text: str) -> datetime:
    return datetime.fromisoformat(text[:19])


def list_times(messages: Sequence[AmiMessage]) -> list[datetime]:
    return sorted({wall_clock(message.get(name)) for message in messages for name in TIMES if message.get(name)})


class Night:
    """The clock is changed one second after this time of a recorded stream."""

    def __init__(self, last: datetime, change: timedelta, bound: datetime) -> None:
        self.moved_by = bound - timedelta(seconds=1) - last
        self.change, self.bound = change, bound

    def move(self, message: AmiMessage, *, with_change: bool) -> AmiMessage:
        """Return a message as sent in that night, by a clock that was changed, or was not."""
        return AmiMessage(tuple((name, self._move_value(name, value, with_change)) for name, value in message.lines))

    def _move_value(self, name: str, value: str, with_change: bool) -> str:
        if name not in TIMES:
            seconds = round(self.moved_by.total_seconds())
            return EPOCH.sub(lambda match: str(int(match[0]) + seconds), value)
        if not value:
            return value
        moved = wall_clock(value) + self.moved_by
        return str(moved + self.change if with_change and moved >= self.bound else moved)

    def read(self, messages: Sequence[AmiMessage], *, with_change: bool) -> list[Call]:
        """Return the calls of a stream, in order of their ids."""
        legs: dict[str, list[ReportedLeg]] = {}
        for body in bodies([self.move(message, with_change=with_change) for message in messages]):
            for details in Asterisk().parse(body):
                leg = ReportedLeg(details=details, seq=1, via="ami", received_at=datetime.now(UTC))
                legs.setdefault(details.call_id, []).append(leg)
        return [assemble_call("LAB", legs[call_id], PbxFacts(dialect="asterisk")) for call_id in sorted(legs)]


def list_legs(calls: Sequence[Call]) -> list[Leg]:
    return sorted((leg.call_from, leg.call_to, leg.status, leg.type) for call in calls for leg in call.legs)


def list_durations(calls: Sequence[Call]) -> dict[tuple[str, str], list[timedelta]]:
    """Return the begin within the call, the duration and the talk of each leg, by caller and called party."""
    durations: dict[tuple[str, str], list[timedelta]] = {}
    for call in calls:
        for leg in call.legs:
            seconds = (leg.call_duration or 0, leg.talk_duration or 0)
            times = [leg.started_at - call.started_at, *(timedelta(seconds=value) for value in seconds)]
            durations.setdefault((leg.call_from, leg.call_to), []).extend(times)
    return durations


@pytest.mark.parametrize("has_events", [True, False], ids=["with events", "without events"])
@pytest.mark.parametrize("name", STREAM_NAMES)
def test_stream_in_which_the_clock_is_changed_at_any_second_is_the_same(name: str, *, has_events: bool) -> None:
    messages = [message for message in events(name) if has_events or message.get("Event") == "Cdr"]
    for last in list_times(messages)[:-1]:
        for change, bound in CHANGES:
            night = Night(last, change, bound)
            calls = night.read(messages, with_change=False)
            changed_calls = night.read(messages, with_change=True)
            assert list_legs(changed_calls) == list_legs(calls), (last, change)
            expected = list_durations(calls)
            for parties, times in list_durations(changed_calls).items():
                differences = [abs(time - other) for time, other in zip(times, expected[parties], strict=True)]
                assert max(differences) <= ROUNDING, (last, change, parties, times)
