"""What the channel events (CEL) know better than the CDRs, row by row (PROTOCOL.md 10.2).

A CDR of a caller whom an IVR has answered counts the ringing of an agent as talk, begins a queue with the call, and
says of a call that somebody else picked up that it was answered. Channel events say when each channel was made, who was
in a bridge when, and why it was hung up. Laws: only the events of a whole call are asked; where they and a CDR disagree
they decide, and the row says in `extra`, as `cdr_…`, what the CDR had said.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

import msgspec

from onhook.pbx.asterisk.call import AsteriskCall, Cel, QueueEvent
from onhook.pbx.asterisk.channels import Channel, channel_named, is_dialled
from onhook.pbx.asterisk.rows import (
    ANSWERED,
    CONFERENCES,
    FAILED,
    NO_ANSWER,
    QUEUE,
    VOICEMAIL,
    Row,
    is_trunk,
    seconds_between,
)

TALK_TOLERANCE_SECONDS = 1
"""Events tell whole seconds, a CDR counts milliseconds and cuts them off: a second between them is no disagreement."""

BUSY_CAUSE = 17
FAILED_CAUSES = frozenset({1, 2, 3, 6, 20, 27, 28, 34, 38, 41, 42, 44, 47, 50, 57, 58, 63, 65, 69, 79, 88, 97, 111})
"""Q.850 causes by which nobody was reached: no such number, no route, out of order, congestion, not understood."""

IVR_APPLICATIONS = frozenset({"BackGround", "WaitExten", "Read", "Playback"})
"""Applications by which a caller is asked to press a digit."""

RECORDING_APPLICATION = "MixMonitor"


def corrected(rows: Sequence[Row], call: AsteriskCall) -> list[Row]:
    """The rows as the channel events tell them, with those that no CDR tells: the IVRs."""
    events = _Events(call)
    told = [_told(row, events) for row in rows]
    told = [_told_head(row, told, events) if row.kind in ("queue", "group") else row for row in told]
    told += [row for row in _ivr_rows(told, events) if row.call_to not in {one.call_to for one in told}]
    return [_remembered(row, events) for row in told]


class _Events:
    """The channel and queue events of a call, by what is asked of them."""

    def __init__(self, call: AsteriskCall) -> None:
        self.call = call
        self.by_channel: dict[str, list[Cel]] = {}
        for cel in call.cels:
            self.by_channel.setdefault(cel.channel.name, []).append(cel)

    def of(self, channel: Channel, *names: str) -> list[Cel]:
        """Those of one channel with these names, in order."""
        return [cel for cel in self.by_channel.get(channel.name, ()) if cel.name in names]

    def first(self, channel: Channel, *names: str) -> Cel | None:
        return next(iter(self.of(channel, *names)), None)

    def named(self, *names: str) -> list[Cel]:
        return [cel for cel in self.call.cels if cel.name in names]

    def queue(self, name: str, agent: Channel) -> QueueEvent | None:
        return next((one for one in self.call.queue if one.name == name and one.agent == agent), None)

    @property
    def did(self) -> str:
        """What the world dialled: where the call's first channel began, if that was a trunk's."""
        first = next((cel for cel in self.call.cels if cel.name == "CHAN_START"), None)
        is_from_outside = first is not None and is_trunk(first.channel, self.call.header)
        return first.extension if first is not None and is_from_outside and is_dialled(first.extension) else ""


# ---------------------------------------------------------------- parties and members


def _told(row: Row, events: _Events) -> Row:
    row = msgspec.structs.replace(row, did=row.did or (events.did if is_from_trunk(row, events) else ""))
    if row.cdr.application in CONFERENCES:
        return _in_conference(row, events)
    if events.first(row.callee, "CHAN_START") is None:
        # A channel that began in another call, such as that of who picks up, has its first events there.
        return row
    row = _with_name(row, events)
    if row.status == VOICEMAIL:
        return row
    row = _from_ringing(row, events) if row.cdr.application == QUEUE else row
    talk = _talk(row, events)
    status = _status(row, talk, events)
    is_off = abs((talk or 0) - row.talk) > TALK_TOLERANCE_SECONDS
    is_before_ringing = row.cdr.answer is not None and row.cdr.answer <= row.cdr.start
    decided = (talk or 0) if status != row.status or is_off or (is_before_ringing and talk is not None) else row.talk
    return _said_otherwise(msgspec.structs.replace(row, status=status, talk=decided if status == ANSWERED else 0), row)


def _in_conference(row: Row, events: _Events) -> Row:
    """Until the caller left it; the CDRs end when all others have."""
    mine = [cel for cel in events.of(row.cdr.channel, "BRIDGE_ENTER", "BRIDGE_EXIT") if cel.at >= row.start]
    mine = [cel for cel in mine if cel.application == row.cdr.application]
    spans = [
        (one.at, other.at) for one, other in pairwise(mine) if (one.name, other.name) == ("BRIDGE_ENTER", "BRIDGE_EXIT")
    ]
    if not spans:
        return row
    talk = sum(seconds_between(enter, leave) for enter, leave in spans)
    return msgspec.structs.replace(row, duration=seconds_between(row.start, spans[-1][1]), talk=talk, status=ANSWERED)


def is_from_trunk(row: Row, events: _Events) -> bool:
    """Whether the caller of a row is outside."""
    return is_trunk(row.cdr.channel, events.call.header)


def _with_name(row: Row, events: _Events) -> Row:
    """With the callee's number and name as the PBX knows them."""
    born = events.first(row.callee, "CHAN_START")
    if born is None or is_trunk(row.callee, events.call.header) or not born.caller_number:
        return row
    return msgspec.structs.replace(row, call_to=born.caller_number, name=born.caller_name)


def _from_ringing(row: Row, events: _Events) -> Row:
    """An agent's row begins when the telephone began to ring, not when the caller came into the PBX."""
    born = events.first(row.callee, "CHAN_START")
    if born is None or born.at <= row.start:
        return _with_ring_time(row, events)
    end = max(row.cdr.end, born.at)
    return _with_ring_time(msgspec.structs.replace(row, start=born.at, duration=seconds_between(born.at, end)), events)


def _with_ring_time(row: Row, events: _Events) -> Row:
    """What the queue says of its agent; who did not answer has none."""
    connected = events.queue("AgentConnect", row.callee)
    if connected is None:
        return msgspec.structs.replace(row, agent_ring_time=0 if row.status != ANSWERED else None)
    held = {} if connected.hold_seconds is None else {"hold_time": connected.hold_seconds}
    return msgspec.structs.replace(row, agent_ring_time=connected.ring_seconds, extra={**row.extra, **held})


def _talk(row: Row, events: _Events) -> int | None:
    """Seconds that the callee spent in bridges while this row lasted; None where it never was in one."""
    spans = [
        (max(enter, row.start), min(leave, row.cdr.end))
        for enter, leave in _spans(row.callee, events)
        if enter <= row.cdr.end and leave >= row.start
    ]
    return sum(seconds_between(enter, leave) for enter, leave in spans) if spans else None


def _spans(channel: Channel, events: _Events) -> Iterator[tuple[datetime, datetime]]:
    """From entering a bridge to leaving it, to the channel's end, or to no end that this call knows."""
    entered: datetime | None = None
    for cel in events.of(channel, "BRIDGE_ENTER", "BRIDGE_EXIT", "HANGUP", "CHAN_END"):
        if cel.name == "BRIDGE_ENTER":
            entered = entered or cel.at
        elif entered is not None:
            yield entered, cel.at
            entered = None
    if entered is not None:
        # It went on in another call, as who was asked before a caller was handed over.
        yield entered, datetime.max  # noqa: DTZ901 - a wall clock, cut off by the row's end


def _status(row: Row, talk: int | None, events: _Events) -> str:
    """Answered is who was in a bridge; else why the channel was hung up."""
    if talk is not None:
        return ANSWERED
    hung_up = events.first(row.callee, "HANGUP")
    cause = hung_up.extra.get("hangupcause") if hung_up is not None else None
    if cause == BUSY_CAUSE:
        return "BUSY"
    if cause in FAILED_CAUSES:
        return FAILED
    return NO_ANSWER if row.status == ANSWERED and hung_up is not None else row.status


def _said_otherwise(row: Row, cdr: Row) -> Row:
    """With what the CDR had said, where that is something else."""
    extra = dict(row.extra)
    if row.status != cdr.status:
        extra["cdr_status"] = cdr.status
    if row.talk != cdr.talk:
        extra["cdr_talk_duration"] = cdr.talk
    return msgspec.structs.replace(row, extra=extra)


# ---------------------------------------------------------------- queues, groups and IVRs


def _told_head(row: Row, rows: Sequence[Row], events: _Events) -> Row:
    """A queue begins when the caller joined it; it and a group are answered when a member was."""
    members = [one for one in rows if one.kind == "member" and one.cdr.channel == row.cdr.channel]
    members = [one for one in members if one.cdr.application_data == row.cdr.application_data]
    answered = next((one for one in members if one.status == ANSWERED), None)
    row = _in_queue(row, events) if row.kind == "queue" else row
    told = msgspec.structs.replace(
        row,
        status=ANSWERED if answered else NO_ANSWER,
        talk=answered.talk if answered else 0,
        agent_ring_time=answered.agent_ring_time if answered else 0,
        extra={
            **row.extra,
            **({"hold_time": answered.extra["hold_time"]} if answered and "hold_time" in answered.extra else {}),
        },
    )
    return _said_otherwise(told, row)


def _in_queue(row: Row, events: _Events) -> Row:
    """From the application's begin to its end; who waited and gave up is told from who was sent on."""
    applications = events.of(row.cdr.channel, "APP_START", "APP_END")
    mine = [
        one for one in applications if one.application == QUEUE and one.application_data == row.cdr.application_data
    ]
    if not mine:
        return row
    name = row.cdr.application_data.partition(",")[0]
    end = max(mine[-1].at, row.end) if mine[-1].name == "APP_START" else mine[-1].at
    left = any(one.name == "QueueCallerAbandon" and one.queue == name for one in events.call.queue)
    return msgspec.structs.replace(
        row,
        name=name,
        start=mine[0].at,
        duration=seconds_between(mine[0].at, end),
        extra={**row.extra, **({"abandoned": 1} if left else {})},
    )


def _ivr_rows(rows: Sequence[Row], events: _Events) -> Iterator[Row]:
    """A row for each number at which a caller was asked to press a digit."""
    for channel in {row.cdr.channel.name: row.cdr.channel for row in rows}.values():
        first = next(row for row in rows if row.cdr.channel == channel)
        for asked in _asked_at(channel, events):
            begin, end = _stay(asked, channel, events)
            yield Row(
                cdr=first.cdr,
                kind="machine",
                callee=Channel(""),
                call_to=asked,
                start=begin,
                duration=seconds_between(begin, end),
                talk=seconds_between(begin, end),
                status=ANSWERED,
                did=first.did,
            )


def _asked_at(channel: Channel, events: _Events) -> list[str]:
    """The numbers, in order, without the digits that were pressed there."""
    asked = [cel.extension for cel in events.of(channel, "APP_START") if cel.application in IVR_APPLICATIONS]
    return [number for number in dict.fromkeys(asked) if is_dialled(number) and len(number) > 1]


def _stay(number: str, channel: Channel, events: _Events) -> tuple[datetime, datetime]:
    """From the first sign of a caller at a number to the first one elsewhere."""
    cels = events.by_channel[channel.name]
    begin = next(index for index, cel in enumerate(cels) if cel.extension == number)
    after = (cel for cel in cels[begin:] if cel.extension != number or cel.name in ("HANGUP", "CHAN_END"))
    return cels[begin].at, next((cel.at for cel in after), cels[-1].at)


# ---------------------------------------------------------------- what else is worth remembering


def _remembered(row: Row, events: _Events) -> Row:
    """With its recording, and who sent it on, took it over or forwarded it."""
    extra = {**row.extra, **_transferred(row, events), **_picked_up(row, events), **_forwarded(row, events)}
    recording = row.recording or (_recorded(row, events) if row.talk and row.callee else "")
    return msgspec.structs.replace(row, extra=extra, recording=recording)


def _recorded(row: Row, events: _Events) -> str:
    """The name of the last recording that either side began before the row's end, without its folder."""
    begun = [
        cel.application_data
        for channel in (row.cdr.channel, row.callee)
        for cel in events.of(channel, "APP_START")
        if cel.application == RECORDING_APPLICATION and cel.at <= row.end
    ]
    return begun[-1].partition(",")[0].rpartition("/")[2] if begun else ""


def _transferred(row: Row, events: _Events) -> dict[str, str]:
    """Of the row of whoever sent the caller on: to whom, and how."""
    for cel in events.named("BLINDTRANSFER", "ATTENDEDTRANSFER"):
        if row.callee and cel.channel == row.callee and row.start <= cel.at <= row.end:
            target = cel.extra.get("extension") or channel_named(_text(cel, "transfer_target_channel_name")).number
            return {"transfer": "blind" if cel.name == "BLINDTRANSFER" else "attended", "transferred_to": str(target)}
    return {}


def _picked_up(row: Row, events: _Events) -> dict[str, str]:
    """Of the row of whoever picked up: whose telephone was ringing."""
    for cel in events.named("PICKUP"):
        if row.callee and _text(cel, "pickup_channel") == row.callee.name:
            return {"picked_up_for": cel.channel.number or cel.caller_number}
    return {}


def _forwarded(row: Row, events: _Events) -> dict[str, str]:
    """Of the row of a telephone that sends its calls on: where to."""
    for cel in events.of(row.cdr.channel, "FORWARD"):
        if row.callee and row.status != ANSWERED and row.start <= cel.at <= row.end and _text(cel, "forward"):
            return {"forwarded_to": _text(cel, "forward")}
    return {}


def _text(cel: Cel, name: str) -> str:
    value = cel.extra.get(name)
    return value if isinstance(value, str) else ""
