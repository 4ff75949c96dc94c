"""Collect events by call until the call is complete and can be stored.

With channel events (CEL) a call ends at LINKEDID_END, and its CDRs follow shortly after. Without CEL it goes on while
one of its channels (`Newchannel` to `Hangup`) or its queue (`QueueCallerJoin` to `AgentComplete`) does, and ends when
no CDR has arrived for a while after that: so it is stored, and destinations are notified, once.

Invariants: every received CDR is returned exactly once, whatever else happens, except that each part of a very long
call begins with the first CDRs of its queues and ring groups; a call is marked complete only if it was received from
its first channel to its end over one connection; memory is bounded. `now` is a monotonic clock, in seconds.
"""

from collections.abc import Iterator, Sequence

import msgspec

from onhook.cdr.call_details import ANSWERED
from onhook.pbx.asterisk.applications import CALLEE_APPLICATIONS, ORIGINATION_APPLICATION, QUEUE_APPLICATION
from onhook.pbx.asterisk.call import CDRS_MAX, EVENTS_MAX, CallHeader, format_body, get_linked_id
from onhook.pbx.asterisk.channels import is_dialled, parse_channel
from onhook.pbx.asterisk.messages import AmiMessage

GRACE_SECONDS = 2.0
"""Between a call's end and its CDRs, which another thread of Asterisk writes; one second was observed under load."""

LATE_CDR_SECONDS = 30.0
"""Wait of an ended call for the CDR of a called channel: a slow database delays CDRs one by one, after some have
arrived already.
"""

QUIET_SECONDS = 3.0
"""Without channel events: CDRs of one call with a larger gap are stored as two raw events."""

MISSING_CDR_SECONDS = 330.0
"""Wait for a missing CDR: Asterisk may send CDRs in batches (`batch` in cdr.conf), by default every 300 seconds. Then
the call is stored with its channel events alone: `unanswered = no` in cdr.conf suppresses the CDRs of missed calls.
"""

CDR_HOLD_SECONDS_MAX = 4 * 3600.0
"""Limit for holding the CDR of a leg while the call continues: beyond this it is returned alone, which bounds the loss
in a crash.
"""

OPEN_CALLS_MAX = 20_000
"""Concurrent calls; more than any Asterisk carries. Beyond this the oldest call is returned as it is."""

GROUP_BEGINS_MAX = 10
"""Queues and ring groups of one caller whose first CDR begins each further part of a call."""

CALLS_IN_PARTS_MAX = 100
"""Concurrent calls with more than `CDRS_MAX` CDRs: hours of ringing for each."""


CHANNEL_EVENTS = frozenset({"Newchannel", "Hangup"})
"""Begin and end of a channel, also where no CEL is configured."""

QUEUE_BEGINS = frozenset({"QueueCallerJoin", "AgentConnect"})
QUEUE_ENDS = frozenset({"QueueCallerAbandon", "AgentComplete"})
"""A caller waits or talks from one to the other; `QueueCallerLeave` ends the wait, and `AgentConnect` follows at once
where an agent answered.
"""


class CollectedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call to store: its id and its body."""

    linked_id: str
    body: bytes


class AsteriskParserConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Facts about a PBX needed to parse its events: its trunks, the contexts that they call into, whether the account
    code is the dialled PIN, and the zone of its wall clock, where known.
    """

    trunks: tuple[str, ...] = ()
    inbound_contexts: tuple[str, ...] = ()
    has_pins: bool = False
    zone: str = ""


class _OpenCall:
    """One call in progress, or one that has just ended."""

    def __init__(self) -> None:
        self.cdrs: list[AmiMessage] = []
        self.events: list[AmiMessage] = []
        self.has_all_events = False
        self.has_ended = False
        self.has_cel = False
        self.has_application = False
        self.has_destination = False
        self.has_answer = False
        self.has_first_channel_end = False
        self.open_channels: set[str] = set()
        self.queue_callers: set[str] = set()
        self.callee_channels: set[str] = set()
        self.cdr_callee_channels: set[str] = set()
        self.last_event_at = 0.0
        self.first_cdr_at: float | None = None
        self.offset_seconds: int | None = None


class CallCollector:
    """All calls of one connection to one PBX. `parser_config` may be replaced at any time."""

    def __init__(self, parser_config: AsteriskParserConfig) -> None:
        self.parser_config = parser_config
        self.dropped_count = 0
        """Calls without a CDR and without all their channel events."""
        self._open_calls: dict[str, _OpenCall] = {}
        self._group_begins: dict[str, list[AmiMessage]] = {}
        """The first CDRs of the queues and ring groups of calls of which a part was returned, by linked id."""
        self._call_of_channel: dict[str, str] = {}
        """Linked id of the call in which each open channel began: it may have joined another call since."""

    def add_event(self, message: AmiMessage, now: float, offset_seconds: int | None = None) -> list[CollectedCall]:
        """Add one event; return the calls that were removed to stay within the limits."""
        fields = message.fields
        if fields["event"] in CHANNEL_EVENTS:
            return self._add_channel(message, now)
        linked_id = get_linked_id(fields)
        if not linked_id:
            return []
        call = self._open_calls.setdefault(linked_id, _OpenCall())
        call.last_event_at = now
        if fields["event"] == "Cdr":
            call.cdrs.append(message)
            call.cdr_callee_channels.add(message.get("DestinationChannel"))
            call.first_cdr_at = call.first_cdr_at or now
            # A CDR that arrived late does not show the offset; an earlier one may have done so.
            call.offset_seconds = call.offset_seconds if offset_seconds is None else offset_seconds
        else:
            _add_channel_event(call, message)
            _add_queue_event(call, message)
        return list(self._enforce_limits(linked_id, call))

    def _add_channel(self, message: AmiMessage, now: float) -> list[CollectedCall]:
        """Begin or end a channel; the end of one that is not known begins no call."""
        channel, linked_id = message.get("Uniqueid"), get_linked_id(message.fields)
        if message.get("Event") == "Newchannel" and channel:
            call = self._open_calls.setdefault(linked_id, _OpenCall())
            call.last_event_at = now
            call.open_channels.add(channel)
            self._call_of_channel[channel] = linked_id
            return list(self._enforce_limits(linked_id, call))
        begun_call = self._open_calls.get(self._call_of_channel.pop(channel, ""))
        if begun_call is not None:
            begun_call.last_event_at = now
            begun_call.open_channels.discard(channel)
            begun_call.queue_callers.discard(channel)
        return []

    def pop_completed(self, now: float) -> list[CollectedCall]:
        """Return the ended calls that have all their CDRs, as far as can be determined."""
        ready_calls = [(linked_id, call) for linked_id, call in self._open_calls.items() if _is_ready(call, now)]
        for linked_id, call in list(self._open_calls.items()):
            if _lacks_cdrs(call, now):
                if call.has_all_events and _is_unanswered_call(call):
                    ready_calls.append((linked_id, call))
                else:
                    self._drop_call(linked_id)
        return [
            self._pop_call(linked_id, call, has_all_events=call.has_all_events and call.has_ended)
            for linked_id, call in ready_calls
        ]

    def flush(self) -> list[CollectedCall]:
        """Handle the loss of the connection: return every call that has a CDR; an open call can no longer
        become complete.
        """
        collected_calls = [
            self._pop_call(linked_id, call, has_all_events=False)
            for linked_id, call in list(self._open_calls.items())
            if call.cdrs
        ]
        self._open_calls.clear()
        self._group_begins.clear()
        self._call_of_channel.clear()
        return collected_calls

    def oldest_cdr_at(self) -> float | None:
        """Return when the oldest CDR not yet returned was received; None if there is none."""
        return min(
            (call.first_cdr_at for call in self._open_calls.values() if call.first_cdr_at is not None), default=None
        )

    def _enforce_limits(self, linked_id: str, call: _OpenCall) -> Iterator[CollectedCall]:
        if len(call.cdrs) >= CDRS_MAX:
            cdrs = [*self._group_begins.get(linked_id, ()), *call.cdrs]
            yield self._pop_call(linked_id, call, has_all_events=False)
            if begins := list_group_begins(cdrs):
                self._group_begins[linked_id] = begins
            if len(self._group_begins) > CALLS_IN_PARTS_MAX:
                del self._group_begins[next(iter(self._group_begins))]
        elif len(self._open_calls) > OPEN_CALLS_MAX:
            oldest_id = next(iter(self._open_calls))
            if self._open_calls[oldest_id].cdrs:
                yield self._pop_call(oldest_id, self._open_calls[oldest_id], has_all_events=False)
            else:
                self._drop_call(oldest_id)

    def _drop_call(self, linked_id: str) -> None:
        self.dropped_count += 1
        self._forget_channels(self._open_calls.pop(linked_id))

    def _forget_channels(self, call: _OpenCall) -> None:
        for channel in call.open_channels:
            self._call_of_channel.pop(channel, None)

    def _pop_call(self, linked_id: str, call: _OpenCall, *, has_all_events: bool) -> CollectedCall:
        del self._open_calls[linked_id]
        self._forget_channels(call)
        events = [*self._group_begins.pop(linked_id, ()), *call.cdrs, *(call.events if has_all_events else ())]
        channels = {parse_channel(event.get(name)) for event in events for name in ("Channel", "DestinationChannel")}
        endpoints = {channel.endpoint for channel in channels}
        header = CallHeader(
            trunks=tuple(name for name in self.parser_config.trunks if name in endpoints),
            inbound_contexts=self.parser_config.inbound_contexts,
            has_all_events=has_all_events,
            has_pins=self.parser_config.has_pins,
            offset_seconds=call.offset_seconds,
        )
        return CollectedCall(linked_id=linked_id, body=format_body(header, events))


def list_group_begins(cdrs: Sequence[AmiMessage]) -> list[AmiMessage]:
    """Return the first CDR of each queue and ring group among CDRs that are written as parts of a call, and the first
    one that was answered: the row of the group, which each part has, begins with the one and shows the other.
    """
    begins: dict[tuple[str, ...], AmiMessage] = {}
    answered: dict[tuple[str, ...], AmiMessage] = {}
    for cdr in sorted(cdrs, key=lambda cdr: cdr.get("StartTime")):
        application, data = cdr.get("LastApplication"), cdr.get("LastData")
        if application == QUEUE_APPLICATION or (application == "Dial" and "&" in data):
            group = (cdr.get("Channel"), application, data, cdr.get("Destination"))
            begins.setdefault(group, cdr)
            if cdr.get("DestinationChannel") and cdr.get("Disposition") == ANSWERED:
                answered.setdefault(group, cdr)
    group_cdrs = [
        part[group] for group in list(begins)[:GROUP_BEGINS_MAX] for part in (begins, answered) if group in part
    ]
    return list({id(cdr): cdr for cdr in group_cdrs}.values())


def _add_channel_event(call: _OpenCall, message: AmiMessage) -> None:
    name = message.get("EventName") if message.get("Event") == "CEL" else ""
    if name == "CHAN_START" and not call.has_cel:
        call.has_all_events = message.get("UniqueID") == message.get("LinkedID")
        is_helper = parse_channel(message.get("Channel")).is_helper
        call.has_destination = is_dialled(message.get("Exten")) and not is_helper
    call.has_cel = call.has_cel or bool(name)
    if name == "CHAN_START":
        call.open_channels.add(message.get("UniqueID"))
    elif name == "CHAN_END":
        call.open_channels.discard(message.get("UniqueID"))
        is_first_channel = message.get("UniqueID") == message.get("LinkedID")
        call.has_first_channel_end = call.has_first_channel_end or is_first_channel
    call.has_answer = call.has_answer or name == "ANSWER"
    call.has_application = call.has_application or name == "APP_START"
    if message.get("Application") == ORIGINATION_APPLICATION:
        call.has_destination = True
    if message.get("Application") in CALLEE_APPLICATIONS:
        call.callee_channels.add(message.get("Channel"))
    call.has_ended = call.has_ended or name == "LINKEDID_END"
    if len(call.events) < EVENTS_MAX:
        call.events.append(message)
    else:
        call.has_all_events = False
        call.events.clear()


def _add_queue_event(call: _OpenCall, message: AmiMessage) -> None:
    name, caller = message.get("Event"), message.get("Uniqueid")
    if name in QUEUE_BEGINS:
        call.queue_callers.add(caller)
    elif name in QUEUE_ENDS or name == "QueueCallerLeave":
        call.queue_callers.discard(caller)


def _lacks_cdrs(call: _OpenCall, now: float) -> bool:
    """Return whether a call has ended and its CDRs are overdue."""
    has_ended = call.has_ended or not (call.has_cel or call.open_channels or call.queue_callers)
    return has_ended and not call.cdrs and now - call.last_event_at > MISSING_CDR_SECONDS


def _is_unanswered_call(call: _OpenCall) -> bool:
    """Return whether a call without CDRs is one that reached no party. Asterisk reports the begin of some applications
    alone: not of those that let a caller wait, or hang up. A channel that was answered, or has no end here, has its CDR
    in a call that it joined.
    """
    has_reached_no_party = call.has_first_channel_end and not call.has_answer
    return call.has_application or (call.has_destination and has_reached_no_party)


def _is_ready(call: _OpenCall, now: float) -> bool:
    if not call.cdrs:
        return False
    if call.has_ended:
        has_all_cdrs = call.callee_channels <= call.cdr_callee_channels
        return now - call.last_event_at >= (GRACE_SECONDS if has_all_cdrs else LATE_CDR_SECONDS)
    is_quiet = now - call.last_event_at >= QUIET_SECONDS
    is_held_too_long = call.first_cdr_at is not None and now - call.first_cdr_at >= CDR_HOLD_SECONDS_MAX
    # A PBX that does not send LINKEDID_END may still send channel events.
    return is_held_too_long or (is_quiet and not call.open_channels and not call.queue_callers)
