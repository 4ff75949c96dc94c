"""CDRs that Asterisk did not write (`unanswered = no` in cdr.conf), from the channel events (CEL) of a call: all of
them, or those after the last one that it wrote.

Invariant: the rows of such a call are those that its CDRs would have given, as far as the events show.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TypeVar

from onhook.cdr.call_details import ANSWERED, BUSY, FAILED, NO_ANSWER
from onhook.pbx.asterisk.applications import ORIGINATION_APPLICATION, QUEUE_APPLICATION
from onhook.pbx.asterisk.call import CUT_SPAN, Cdr, Cel
from onhook.pbx.asterisk.channels import NO_CHANNEL

ItemT = TypeVar("ItemT", Cdr, Cel)

CALLED_APPLICATIONS = frozenset({"AppDial", "AppQueue"})
"""Applications of a channel that is called by another one."""

_WAITING_APPLICATIONS = frozenset({"Dial", QUEUE_APPLICATION})
"""Applications that a caller may leave without an answer, and without a party."""

BUSY_CAUSE = 17
FAILED_CAUSES = frozenset({1, 2, 3, 6, 20, 27, 28, 34, 38, 41, 42, 44, 47, 50, 57, 58, 63, 65, 69, 79, 88, 97, 111})
"""Q.850 causes of a call that reached no party: no such number, no route, out of order, congestion, not understood."""


def derive_cdrs(linked_id: str, cels: Sequence[Cel]) -> tuple[Cdr, ...]:
    """Return a CDR for each called channel, and one for a channel that called no other one."""
    called_channels = {cel.channel.name for cel in cels if cel.application in CALLED_APPLICATIONS}
    events_by_channel = _group_by_channel(cels)
    called_events = {name: events for name, events in events_by_channel.items() if name in called_channels}
    return tuple(
        cdr
        for name, events in events_by_channel.items()
        if name not in called_channels
        for cdr in _caller_cdrs(linked_id, events, called_events)
    )


def derive_later_cdrs(cdrs: Sequence[Cdr], cels: Sequence[Cel]) -> tuple[Cdr, ...]:
    """Return a CDR for each queue and number that a caller called after its last CDR without reaching a party."""
    cdrs_by_channel = _group_by_channel(cdrs)
    return tuple(
        _build_cdr(cdrs[0].linked_id, events, application_start, (), _until_application_end(events, application_start))
        for channel, events in _group_by_channel(cels).items()
        for application_start in events
        if application_start.name == "APP_START"
        and application_start.application in _WAITING_APPLICATIONS
        and _is_without_cdr(application_start, cdrs_by_channel.get(channel, ()))
    )


def _is_without_cdr(application_start: Cel, cdrs: Sequence[Cdr]) -> bool:
    """Return whether an application began after the CDRs of its channel, of which none is its own."""
    begin = application_start.event_time
    name = application_start.application, application_start.application_data
    own_cdrs = (
        cdr
        for cdr in cdrs
        if cdr.start >= begin - CUT_SPAN and (not cdr.dst_channel or (cdr.application, cdr.application_data) == name)
    )
    return bool(cdrs) and begin >= max(cdr.end for cdr in cdrs) and not any(own_cdrs)


def _until_application_end(events: Sequence[Cel], application_start: Cel) -> Sequence[Cel]:
    """Return the events of a channel from the begin of an application to its end."""
    later_events = events[events.index(application_start) :]
    is_end = (cel.name == "APP_END" and cel.application == application_start.application for cel in later_events)
    end_index = next((index for index, is_last in enumerate(is_end) if is_last), len(later_events))
    return later_events[: end_index + 1]


def _group_by_channel(items: Sequence[ItemT]) -> dict[str, list[ItemT]]:
    items_by_channel: dict[str, list[ItemT]] = {}
    for item in items:
        items_by_channel.setdefault(item.channel.name, []).append(item)
    return items_by_channel


def _caller_cdrs(linked_id: str, events: Sequence[Cel], called_events: dict[str, list[Cel]]) -> Iterator[Cdr]:
    """Yield the CDRs of one calling channel."""
    calls_others = False
    for application_start in [cel for cel in events if cel.name == "APP_START"]:
        for name, callee_events in list(called_events.items()):
            if _dials(application_start, callee_events):
                calls_others = True
                del called_events[name]
                yield _build_cdr(linked_id, events, application_start, callee_events)
    if not calls_others:
        applications = [cel for cel in events if cel.name == "APP_START" or cel.application == ORIGINATION_APPLICATION]
        last_application = applications[-1] if applications else events[0]
        yield _build_cdr(linked_id, events, last_application, ())


def _dials(application_start: Cel, callee_events: Sequence[Cel]) -> bool:
    """Return whether an application called this channel: it began later, and is named there or has its number."""
    first_event = callee_events[0]
    if first_event.event_time < application_start.event_time:
        return False
    endpoint = first_event.channel.name.partition("-")[0]
    return endpoint in application_start.application_data or any(
        cel.extension == application_start.extension for cel in callee_events if cel.application in CALLED_APPLICATIONS
    )


def _build_cdr(
    linked_id: str,
    events: Sequence[Cel],
    application_start: Cel,
    callee_events: Sequence[Cel],
    caller_events: Sequence[Cel] = (),
) -> Cdr:
    leg_events = callee_events or caller_events or events
    start, end = leg_events[0].event_time, leg_events[-1].event_time
    answer = next((cel.event_time for cel in leg_events if cel.name in ("ANSWER", "BRIDGE_ENTER")), None)
    return Cdr(
        linked_id=linked_id,
        unique_id=events[0].unique_id,
        start=start,
        answer=answer,
        end=end,
        source=application_start.caller_number or events[0].caller_number,
        caller_id=_format_caller_id(events[0]),
        destination=application_start.extension,
        context=application_start.context,
        channel=events[0].channel,
        dst_channel=callee_events[0].channel if callee_events else NO_CHANNEL,
        application=application_start.application,
        application_data=application_start.application_data,
        duration=_seconds(start, end),
        talk=0 if answer is None else _seconds(answer, end),
        disposition=ANSWERED if answer else _unanswered_disposition(leg_events, events),
    )


def hangup_cause(events: Sequence[Cel]) -> int | None:
    """Return the Q.850 cause with which a channel ended; None where the events contain none."""
    causes = (cel.extra.get("hangupcause") for cel in events if cel.name == "HANGUP")
    return next((cause for cause in causes if isinstance(cause, int) and cause), None)


def _unanswered_disposition(leg_events: Sequence[Cel], caller_events: Sequence[Cel]) -> str:
    cause = hangup_cause(leg_events) or hangup_cause(caller_events)
    if cause == BUSY_CAUSE:
        return BUSY
    return FAILED if cause in FAILED_CAUSES else NO_ANSWER


def _format_caller_id(event: Cel) -> str:
    return f'"{event.caller_name}" <{event.caller_number}>' if event.caller_name else event.caller_number


def _seconds(start: datetime, end: datetime) -> int:
    return max(0, int((end - start).total_seconds()))
