"""Correct the CDR rows by the more precise channel events (CEL), row by row (yeastar-p-series.md 10.2).

The CDR of a caller who was answered by an IVR counts the ringing of an agent as talk, begins a queue with the call, and
marks a call as answered that another extension picked up. Channel events contain when each channel was created, when it
was in a bridge, and why it was hung up. Invariants: only the events of a complete call are used; where they contradict
a CDR they decide, and the row's `extra` keeps the CDR's value as `cdr_…`.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise

import msgspec

from onhook.cdr.call_details import ANSWERED, FAILED, NO_ANSWER, VOICEMAIL
from onhook.pbx.asterisk.applications import CONFERENCE_APPLICATIONS, IVR_APPLICATIONS, QUEUE_APPLICATION
from onhook.pbx.asterisk.call import CUT_SPAN, AsteriskCall, seconds_between
from onhook.pbx.asterisk.call_events import CallEvents
from onhook.pbx.asterisk.call_row import CallRow, is_trunk
from onhook.pbx.asterisk.cdrs_from_events import BUSY_CAUSE, FAILED_CAUSES
from onhook.pbx.asterisk.channels import NO_CHANNEL, Channel, is_device_of, is_dialled
from onhook.pbx.asterisk.row_details import add_details
from onhook.pbx.asterisk.row_groups import list_members

TALK_TOLERANCE_SECONDS = 1
"""Events have whole seconds, a CDR truncates milliseconds: a difference of one second is no contradiction."""

_CALLING_APPLICATIONS = frozenset({"Dial", "Queue", "AppDial", "AppQueue", "AppDial2"})
"""Applications in which a caller's channel is answered by a party, not by the PBX itself."""


def correct_rows(rows: Sequence[CallRow], call: AsteriskCall) -> list[CallRow]:
    """Return the corrected rows, and rows for the IVRs, which have no CDR. All times are on the continuous clock."""
    events = CallEvents(call)
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
    return list(add_details(corrected_rows, events))


# Parties and members.


def _correct_row(row: CallRow, events: CallEvents) -> CallRow:
    row = msgspec.structs.replace(row, did=row.did or (events.did if is_from_trunk(row, events) else ""))
    if row.cdr.is_reversed and not row.cdr.channel:
        # A customer whom a machine called is in no bridge.
        return row
    if row.cdr.application in CONFERENCE_APPLICATIONS:
        return _correct_conference_row(row, events)
    if events.get_first_event(row.answering_channel, "CHAN_START") is None:
        # A channel that began in another call, such as that of a call pickup, has its first events there.
        return _add_number_of_joined_channel(row, events)
    row = _add_callee_name(row, events)
    if row.status == VOICEMAIL:
        return row
    row = (
        _start_at_ringing(row, events)
        if row.cdr.application == QUEUE_APPLICATION
        else _start_after_machine(row, events)
    )
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


def _correct_conference_row(row: CallRow, events: CallEvents) -> CallRow:
    """End the row when the caller left the conference; the CDRs end when all others have left."""
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


def is_from_trunk(row: CallRow, events: CallEvents) -> bool:
    """Return whether the caller of a row is external."""
    return is_trunk(row.cdr.channel, events.call.header)


def _add_callee_name(row: CallRow, events: CallEvents) -> CallRow:
    """Set the callee's number and name as known to the PBX; of a queue member outside, the number that was called."""
    if is_trunk(row.callee, events.call.header):
        number = events.get_member_number(row)
        return msgspec.structs.replace(row, call_to=number) if number else row
    channel_start = events.get_first_event(row.callee, "CHAN_START")
    if channel_start is None or not channel_start.caller_number:
        return row
    if channel_start.caller_number == row.callee.number and is_device_of(row.callee, row.call_to):
        # A second device that shows its own number.
        return msgspec.structs.replace(row, name=channel_start.caller_name)
    return msgspec.structs.replace(row, call_to=channel_start.caller_number, name=channel_start.caller_name)


def _add_number_of_joined_channel(row: CallRow, events: CallEvents) -> CallRow:
    """Set the number of a callee whose channel began in another call and shows none by its name."""
    bridge_enter = events.get_first_event(row.callee, "BRIDGE_ENTER", "ANSWER", "HANGUP")
    is_known = not row.callee or row.callee.number or is_trunk(row.callee, events.call.header)
    if is_known or bridge_enter is None or not bridge_enter.caller_number:
        return row
    return msgspec.structs.replace(row, call_to=bridge_enter.caller_number)


def _start_at_ringing(row: CallRow, events: CallEvents) -> CallRow:
    """Begin an agent's row when the telephone began to ring, not when the caller reached the PBX."""
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


def _start_after_machine(row: CallRow, events: CallEvents) -> CallRow:
    """Begin the row of a party when its telephone began to ring, where a machine had answered the caller before."""
    channel_start = events.get_first_event(row.callee, "CHAN_START")
    answer = events.get_first_event(row.cdr.channel, "ANSWER")
    if channel_start is None or answer is None or row.cdr.origination:
        return row
    start = channel_start.event_time
    is_answered_before = answer.event_time < start and answer.application not in _CALLING_APPLICATIONS
    tolerance = 0 if events.has_prompt(row.cdr.channel, start) else TALK_TOLERANCE_SECONDS
    if not is_answered_before or seconds_between(row.start, start) <= tolerance or start > row.end:
        return row
    return msgspec.structs.replace(row, start=start, duration=seconds_between(start, max(row.end, row.cdr.end)))


def _add_ring_time(row: CallRow, events: CallEvents) -> CallRow:
    """Set the agent's ring time from the queue event; an agent who did not answer has none."""
    connect_event = events.get_queue_event("AgentConnect", row)
    if connect_event is None:
        return msgspec.structs.replace(row, agent_ring_time=0 if row.status != ANSWERED else None)
    hold_time = {} if connect_event.hold_seconds is None else {"hold_time": connect_event.hold_seconds}
    return msgspec.structs.replace(row, agent_ring_time=connect_event.ring_seconds, extra={**row.extra, **hold_time})


def _talk_seconds(row: CallRow, events: CallEvents) -> int | None:
    """Return the seconds that the answering party spent in bridges during this row; None if it never was in one."""
    spans = [
        (max(enter, row.start), min(leave, row.cdr.end))
        for enter, leave in _bridge_spans(row.answering_channel, events)
        if enter <= row.cdr.end and leave >= row.start
    ]
    return min(sum(seconds_between(enter, leave) for enter, leave in spans), row.duration) if spans else None


def _bridge_spans(channel: Channel, events: CallEvents) -> Iterator[tuple[datetime, datetime]]:
    """Yield the time spans in bridges: from entering to leaving or to the channel's end, or open-ended if this call
    contains no end.
    """
    entered_at: datetime | None = None
    for cel in events.get_events(channel, "BRIDGE_ENTER", "BRIDGE_EXIT", "HANGUP", "CHAN_END"):
        if cel.name == "BRIDGE_ENTER":
            entered_at = entered_at or cel.event_time
        elif entered_at is not None:
            yield entered_at, cel.event_time
            entered_at = None
    if entered_at is not None:
        # The channel continued in another call, as in a consultation before a transfer.
        yield entered_at, datetime.max  # noqa: DTZ901 - a wall clock, bounded by the row's end


def _status(row: CallRow, talk: int | None, events: CallEvents) -> str:
    """Return ANSWERED if the answering party was in a bridge, else the status for the hangup cause."""
    if talk is not None:
        return ANSWERED
    hangup_event = events.get_first_event(row.answering_channel, "HANGUP")
    cause = hangup_event.extra.get("hangupcause") if hangup_event is not None else None
    if cause == BUSY_CAUSE:
        return "BUSY"
    if isinstance(cause, int) and cause in FAILED_CAUSES:
        return FAILED
    return NO_ANSWER if row.status == ANSWERED and hangup_event is not None else row.status


def _record_cdr_differences(row: CallRow, original_row: CallRow) -> CallRow:
    """Add the values of the CDR that differ."""
    extra = dict(row.extra)
    if row.status != original_row.status:
        extra["cdr_status"] = original_row.status
    if row.talk != original_row.talk:
        extra["cdr_talk_duration"] = original_row.talk
    return msgspec.structs.replace(row, extra=extra)


# Queues, groups and IVRs.


def _correct_group_row(row: CallRow, rows: Sequence[CallRow], events: CallEvents) -> CallRow:
    """Begin a queue when the caller joined it; mark a queue or group as answered if a member answered."""
    answered_member = next((member for member in list_members(row, rows) if member.status == ANSWERED), None)
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


def _correct_queue_row(row: CallRow, events: CallEvents) -> CallRow:
    """Use APP_START and APP_END of `Queue()`; flag abandoned callers."""
    applications = events.get_events(row.cdr.channel, "APP_START", "APP_END")
    queue_applications = [
        event
        for event in applications
        if event.application == QUEUE_APPLICATION and event.application_data == row.cdr.application_data
    ]
    name = row.cdr.application_data.partition(",")[0]
    has_abandoned = _has_abandoned(name, row, events)
    row = msgspec.structs.replace(row, name=name, extra={**row.extra, **({"abandoned": 1} if has_abandoned else {})})
    if not queue_applications or queue_applications[0].name != "APP_START":
        return row
    end = (
        max(queue_applications[-1].event_time, row.end)
        if queue_applications[-1].name == "APP_START"
        else queue_applications[-1].event_time
    )
    return msgspec.structs.replace(
        row,
        start=queue_applications[0].event_time,
        duration=seconds_between(queue_applications[0].event_time, end),
    )


def _has_abandoned(queue: str, row: CallRow, events: CallEvents) -> bool:
    """Return whether the caller hung up while waiting: Asterisk also reports a caller as abandoned whose wait timed out
    and who went on to something else.
    """
    if not any(event.name == "QueueCallerAbandon" and event.queue == queue for event in events.call.queue_events):
        return False
    hangup = events.get_first_event(row.cdr.channel, "HANGUP")
    if hangup is not None and hangup.extra.get("hangupsource"):
        is_by_caller = hangup.extra["hangupsource"] == row.cdr.channel.name
        return is_by_caller and hangup.event_time <= row.end + CUT_SPAN
    return hangup is None or hangup.event_time <= row.end + CUT_SPAN


def _build_ivr_rows(rows: Sequence[CallRow], events: CallEvents) -> Iterator[CallRow]:
    """Yield a row for each place of the dialplan at which a machine answered a caller: an IVR, an announcement."""
    for channel in {row.cdr.channel.name: row.cdr.channel for row in rows}.values():
        first_row = next(row for row in rows if row.cdr.channel == channel)
        for call_to, start, end in _machine_spans(channel, rows, events):
            yield CallRow(
                cdr=first_row.cdr,
                kind="ivr",
                callee=NO_CHANNEL,
                call_to=call_to,
                start=start,
                duration=seconds_between(start, end),
                talk=seconds_between(start, end),
                status=ANSWERED,
                did=first_row.did,
            )


def _machine_spans(
    channel: Channel, rows: Sequence[CallRow], events: CallEvents
) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield name and span of each machine that answered a caller, in order: the number dialled, or the context."""
    numbers = _find_ivr_numbers(channel, events)
    for number in numbers:
        yield (number, *_ivr_span(number, channel, events))
    answer = events.get_first_event(channel, "ANSWER")
    if numbers or answer is None or answer.application in _CALLING_APPLICATIONS:
        return
    next_starts = [row.start for row in rows if row.cdr.channel == channel and row.start >= answer.event_time]
    has_party = any(row.callee or row.kind == "queue" for row in rows if row.cdr.channel == channel)
    if not has_party or not next_starts:
        return
    end = min(next_starts)
    if events.has_prompt(channel, end) or seconds_between(answer.event_time, end) > TALK_TOLERANCE_SECONDS:
        yield answer.extension if is_dialled(answer.extension) else answer.context, answer.event_time, end


def _find_ivr_numbers(channel: Channel, events: CallEvents) -> list[str]:
    """Return the IVR numbers in order, without the pressed digits."""
    extensions = [
        cel.extension for cel in events.get_events(channel, "APP_START") if cel.application in IVR_APPLICATIONS
    ]
    return [number for number in dict.fromkeys(extensions) if is_dialled(number) and len(number) > 1]


def _ivr_span(number: str, channel: Channel, events: CallEvents) -> tuple[datetime, datetime]:
    """Return the span from the first event at this number to the first one elsewhere."""
    cels = events.by_channel[channel.name]
    start_index = next(index for index, cel in enumerate(cels) if cel.extension == number)
    later_events = (cel for cel in cels[start_index:] if cel.extension != number or cel.name in ("HANGUP", "CHAN_END"))
    return cels[start_index].event_time, next((cel.event_time for cel in later_events), cels[-1].event_time)
