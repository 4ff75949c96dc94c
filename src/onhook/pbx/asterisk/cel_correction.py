"""What the channel events (CEL) know better than the CDRs, row by row (yeastar-p-series.md 10.2).

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
from onhook.pbx.asterisk.channels import Channel, is_dialled, parse_channel
from onhook.pbx.asterisk.rows import (
    ANSWERED,
    CONFERENCE_APPLICATIONS,
    FAILED,
    NO_ANSWER,
    QUEUE_APPLICATION,
    VOICEMAIL,
    CallRow,
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


def correct_rows(rows: Sequence[CallRow], call: AsteriskCall) -> list[CallRow]:
    """The rows as the channel events tell them, with those that no CDR tells: the IVRs."""
    events = _CallEvents(call)
    corrected_rows = [_correct_row(row, events) for row in rows]
    corrected_rows = [
        _correct_group_row(row, corrected_rows, events) if row.kind in ("queue", "group") else row
        for row in corrected_rows
    ]
    corrected_rows += [
        row
        for row in _build_ivr_rows(corrected_rows, events)
        if row.call_to not in {corrected_row.call_to for corrected_row in corrected_rows}
    ]
    return [_add_call_details(row, events) for row in corrected_rows]


class _CallEvents:
    """The channel and queue events of a call, by what is asked of them."""

    def __init__(self, call: AsteriskCall) -> None:
        self.call = call
        self.by_channel: dict[str, list[Cel]] = {}
        for cel in call.cels:
            self.by_channel.setdefault(cel.channel.name, []).append(cel)

    def get_events(self, channel: Channel, *names: str) -> list[Cel]:
        """Those of one channel with these names, in order."""
        return [cel for cel in self.by_channel.get(channel.name, ()) if cel.name in names]

    def get_first_event(self, channel: Channel, *names: str) -> Cel | None:
        return next(iter(self.get_events(channel, *names)), None)

    def get_events_by_name(self, *names: str) -> list[Cel]:
        return [cel for cel in self.call.cels if cel.name in names]

    def get_queue_event(self, name: str, agent: Channel) -> QueueEvent | None:
        return next(
            (
                queue_event
                for queue_event in self.call.queue_events
                if queue_event.name == name and queue_event.agent == agent
            ),
            None,
        )

    @property
    def did(self) -> str:
        """What the world dialled: where the call's first channel began, if that was a trunk's."""
        first_event = next((cel for cel in self.call.cels if cel.name == "CHAN_START"), None)
        is_from_outside = first_event is not None and is_trunk(first_event.channel, self.call.header)
        return (
            first_event.extension
            if first_event is not None and is_from_outside and is_dialled(first_event.extension)
            else ""
        )


# ---------------------------------------------------------------- parties and members


def _correct_row(row: CallRow, events: _CallEvents) -> CallRow:
    row = msgspec.structs.replace(row, did=row.did or (events.did if is_from_trunk(row, events) else ""))
    if row.cdr.application in CONFERENCE_APPLICATIONS:
        return _correct_conference_row(row, events)
    if events.get_first_event(row.callee, "CHAN_START") is None:
        # A channel that began in another call, such as that of who picks up, has its first events there.
        return row
    row = _add_callee_name(row, events)
    if row.status == VOICEMAIL:
        return row
    row = _start_at_ringing(row, events) if row.cdr.application == QUEUE_APPLICATION else row
    talk = _talk_seconds(row, events)
    status = _status(row, talk, events)
    differs_from_cdr = abs((talk or 0) - row.talk) > TALK_TOLERANCE_SECONDS
    is_answered_before_start = row.cdr.answer is not None and row.cdr.answer <= row.cdr.start
    corrected_talk = (
        (talk or 0)
        if status != row.status or differs_from_cdr or (is_answered_before_start and talk is not None)
        else row.talk
    )
    return _record_cdr_differences(
        msgspec.structs.replace(row, status=status, talk=corrected_talk if status == ANSWERED else 0), row
    )


def _correct_conference_row(row: CallRow, events: _CallEvents) -> CallRow:
    """Until the caller left it; the CDRs end when all others have."""
    bridge_events = [
        cel for cel in events.get_events(row.cdr.channel, "BRIDGE_ENTER", "BRIDGE_EXIT") if cel.event_time >= row.start
    ]
    bridge_events = [cel for cel in bridge_events if cel.application == row.cdr.application]
    spans = [
        (enter_event.event_time, exit_event.event_time)
        for enter_event, exit_event in pairwise(bridge_events)
        if (enter_event.name, exit_event.name) == ("BRIDGE_ENTER", "BRIDGE_EXIT")
    ]
    if not spans:
        return row
    talk = sum(seconds_between(enter, leave) for enter, leave in spans)
    return msgspec.structs.replace(row, duration=seconds_between(row.start, spans[-1][1]), talk=talk, status=ANSWERED)


def is_from_trunk(row: CallRow, events: _CallEvents) -> bool:
    """Whether the caller of a row is outside."""
    return is_trunk(row.cdr.channel, events.call.header)


def _add_callee_name(row: CallRow, events: _CallEvents) -> CallRow:
    """With the callee's number and name as the PBX knows them."""
    channel_start = events.get_first_event(row.callee, "CHAN_START")
    if channel_start is None or is_trunk(row.callee, events.call.header) or not channel_start.caller_number:
        return row
    return msgspec.structs.replace(row, call_to=channel_start.caller_number, name=channel_start.caller_name)


def _start_at_ringing(row: CallRow, events: _CallEvents) -> CallRow:
    """An agent's row begins when the telephone began to ring, not when the caller came into the PBX."""
    channel_start = events.get_first_event(row.callee, "CHAN_START")
    if channel_start is None or channel_start.event_time <= row.start:
        return _add_ring_time(row, events)
    end = max(row.cdr.end, channel_start.event_time)
    return _add_ring_time(
        msgspec.structs.replace(
            row, start=channel_start.event_time, duration=seconds_between(channel_start.event_time, end)
        ),
        events,
    )


def _add_ring_time(row: CallRow, events: _CallEvents) -> CallRow:
    """What the queue says of its agent; who did not answer has none."""
    connect_event = events.get_queue_event("AgentConnect", row.callee)
    if connect_event is None:
        return msgspec.structs.replace(row, agent_ring_time=0 if row.status != ANSWERED else None)
    hold_time = {} if connect_event.hold_seconds is None else {"hold_time": connect_event.hold_seconds}
    return msgspec.structs.replace(row, agent_ring_time=connect_event.ring_seconds, extra={**row.extra, **hold_time})


def _talk_seconds(row: CallRow, events: _CallEvents) -> int | None:
    """Seconds that the callee spent in bridges while this row lasted; None where it never was in one."""
    spans = [
        (max(enter, row.start), min(leave, row.cdr.end))
        for enter, leave in _bridge_spans(row.callee, events)
        if enter <= row.cdr.end and leave >= row.start
    ]
    return sum(seconds_between(enter, leave) for enter, leave in spans) if spans else None


def _bridge_spans(channel: Channel, events: _CallEvents) -> Iterator[tuple[datetime, datetime]]:
    """From entering a bridge to leaving it, to the channel's end, or to no end that this call knows."""
    entered_at: datetime | None = None
    for cel in events.get_events(channel, "BRIDGE_ENTER", "BRIDGE_EXIT", "HANGUP", "CHAN_END"):
        if cel.name == "BRIDGE_ENTER":
            entered_at = entered_at or cel.event_time
        elif entered_at is not None:
            yield entered_at, cel.event_time
            entered_at = None
    if entered_at is not None:
        # It went on in another call, as who was asked before a caller was handed over.
        yield entered_at, datetime.max  # noqa: DTZ901 - a wall clock, cut off by the row's end


def _status(row: CallRow, talk: int | None, events: _CallEvents) -> str:
    """Answered is who was in a bridge; else why the channel was hung up."""
    if talk is not None:
        return ANSWERED
    hangup_event = events.get_first_event(row.callee, "HANGUP")
    cause = hangup_event.extra.get("hangupcause") if hangup_event is not None else None
    if cause == BUSY_CAUSE:
        return "BUSY"
    if cause in FAILED_CAUSES:
        return FAILED
    return NO_ANSWER if row.status == ANSWERED and hangup_event is not None else row.status


def _record_cdr_differences(row: CallRow, original_row: CallRow) -> CallRow:
    """With what the CDR had said, where that is something else."""
    extra = dict(row.extra)
    if row.status != original_row.status:
        extra["cdr_status"] = original_row.status
    if row.talk != original_row.talk:
        extra["cdr_talk_duration"] = original_row.talk
    return msgspec.structs.replace(row, extra=extra)


# ---------------------------------------------------------------- queues, groups and IVRs


def _correct_group_row(row: CallRow, rows: Sequence[CallRow], events: _CallEvents) -> CallRow:
    """A queue begins when the caller joined it; it and a group are answered when a member was."""
    members = [member for member in rows if member.kind == "member" and member.cdr.channel == row.cdr.channel]
    members = [member for member in members if member.cdr.application_data == row.cdr.application_data]
    answered_member = next((member for member in members if member.status == ANSWERED), None)
    row = _correct_queue_row(row, events) if row.kind == "queue" else row
    corrected_row = msgspec.structs.replace(
        row,
        status=ANSWERED if answered_member else NO_ANSWER,
        talk=answered_member.talk if answered_member else 0,
        agent_ring_time=answered_member.agent_ring_time if answered_member else 0,
        extra={
            **row.extra,
            **(
                {"hold_time": answered_member.extra["hold_time"]}
                if answered_member and "hold_time" in answered_member.extra
                else {}
            ),
        },
    )
    return _record_cdr_differences(corrected_row, row)


def _correct_queue_row(row: CallRow, events: _CallEvents) -> CallRow:
    """From the application's begin to its end; who waited and gave up is told from who was sent on."""
    applications = events.get_events(row.cdr.channel, "APP_START", "APP_END")
    queue_applications = [
        event
        for event in applications
        if event.application == QUEUE_APPLICATION and event.application_data == row.cdr.application_data
    ]
    if not queue_applications:
        return row
    name = row.cdr.application_data.partition(",")[0]
    end = (
        max(queue_applications[-1].event_time, row.end)
        if queue_applications[-1].name == "APP_START"
        else queue_applications[-1].event_time
    )
    has_abandoned = any(
        event.name == "QueueCallerAbandon" and event.queue == name for event in events.call.queue_events
    )
    return msgspec.structs.replace(
        row,
        name=name,
        start=queue_applications[0].event_time,
        duration=seconds_between(queue_applications[0].event_time, end),
        extra={**row.extra, **({"abandoned": 1} if has_abandoned else {})},
    )


def _build_ivr_rows(rows: Sequence[CallRow], events: _CallEvents) -> Iterator[CallRow]:
    """A row for each number at which a caller was asked to press a digit."""
    for channel in {row.cdr.channel.name: row.cdr.channel for row in rows}.values():
        first_row = next(row for row in rows if row.cdr.channel == channel)
        for ivr_number in _find_ivr_numbers(channel, events):
            start, end = _ivr_span(ivr_number, channel, events)
            yield CallRow(
                cdr=first_row.cdr,
                kind="machine",
                callee=Channel(""),
                call_to=ivr_number,
                start=start,
                duration=seconds_between(start, end),
                talk=seconds_between(start, end),
                status=ANSWERED,
                did=first_row.did,
            )


def _find_ivr_numbers(channel: Channel, events: _CallEvents) -> list[str]:
    """The numbers, in order, without the digits that were pressed there."""
    extensions = [
        cel.extension for cel in events.get_events(channel, "APP_START") if cel.application in IVR_APPLICATIONS
    ]
    return [number for number in dict.fromkeys(extensions) if is_dialled(number) and len(number) > 1]


def _ivr_span(number: str, channel: Channel, events: _CallEvents) -> tuple[datetime, datetime]:
    """From the first sign of a caller at a number to the first one elsewhere."""
    cels = events.by_channel[channel.name]
    start_index = next(index for index, cel in enumerate(cels) if cel.extension == number)
    later_events = (cel for cel in cels[start_index:] if cel.extension != number or cel.name in ("HANGUP", "CHAN_END"))
    return cels[start_index].event_time, next((cel.event_time for cel in later_events), cels[-1].event_time)


# ---------------------------------------------------------------- what else is worth remembering


def _add_call_details(row: CallRow, events: _CallEvents) -> CallRow:
    """With its recording, and who sent it on, took it over or forwarded it."""
    extra = {
        **row.extra,
        **_transfer_details(row, events),
        **_pickup_details(row, events),
        **_forward_details(row, events),
    }
    recording = row.recording or (_find_recording(row, events) if row.talk and row.callee else "")
    return msgspec.structs.replace(row, extra=extra, recording=recording)


def _find_recording(row: CallRow, events: _CallEvents) -> str:
    """The name of the last recording that either side began before the row's end, without its folder."""
    recordings = [
        cel.application_data
        for channel in (row.cdr.channel, row.callee)
        for cel in events.get_events(channel, "APP_START")
        if cel.application == RECORDING_APPLICATION and cel.event_time <= row.end
    ]
    return recordings[-1].partition(",")[0].rpartition("/")[2] if recordings else ""


def _transfer_details(row: CallRow, events: _CallEvents) -> dict[str, str]:
    """Of the row of whoever sent the caller on: to whom, and how."""
    for cel in events.get_events_by_name("BLINDTRANSFER", "ATTENDEDTRANSFER"):
        if row.callee and cel.channel == row.callee and row.start <= cel.event_time <= row.end:
            target = (
                cel.extra.get("extension") or parse_channel(_extra_text(cel, "transfer_target_channel_name")).number
            )
            return {"transfer": "blind" if cel.name == "BLINDTRANSFER" else "attended", "transferred_to": str(target)}
    return {}


def _pickup_details(row: CallRow, events: _CallEvents) -> dict[str, str]:
    """Of the row of whoever picked up: whose telephone was ringing."""
    for cel in events.get_events_by_name("PICKUP"):
        if row.callee and _extra_text(cel, "pickup_channel") == row.callee.name:
            return {"picked_up_for": cel.channel.number or cel.caller_number}
    return {}


def _forward_details(row: CallRow, events: _CallEvents) -> dict[str, str]:
    """Of the row of a telephone that sends its calls on: where to."""
    for cel in events.get_events(row.cdr.channel, "FORWARD"):
        if (
            row.callee
            and row.status != ANSWERED
            and row.start <= cel.event_time <= row.end
            and _extra_text(cel, "forward")
        ):
            return {"forwarded_to": _extra_text(cel, "forward")}
    return {}


def _extra_text(cel: Cel, name: str) -> str:
    value = cel.extra.get(name)
    return value if isinstance(value, str) else ""
