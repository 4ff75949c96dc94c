"""Events gathered call by call, until a call is over and can be kept.

With channel events (CEL) a call is over at LINKEDID_END, and its CDRs come a moment later; without, when no CDR of it
has come for a while. Laws: every CDR that was heard is handed out, once, whatever else happens; a call is called whole
only if it was heard from its first channel to its end over one connection; what is held is bounded. `now` is any clock
that only goes forward, in seconds.
"""

from collections.abc import Iterator

import msgspec

from onhook.pbx.asterisk.call import CDRS_MAX, EVENTS_MAX, CallHeader, format_body, get_linked_id
from onhook.pbx.asterisk.channels import parse_channel
from onhook.pbx.asterisk.messages import AmiMessage
from onhook.pbx.asterisk.rows import CALLEE_APPLICATIONS

GRACE_SECONDS = 2.0
"""Between a call's end and its CDRs, which another thread of Asterisk writes; under load it was seen to take one."""

LATE_CDR_SECONDS = 30.0
"""How long a call that is over waits for the CDR of a channel that was called: a slow database holds CDRs up one by
one, while some of them have come already."""

QUIET_SECONDS = 3.0
"""Without channel events: CDRs of one call that come later than this after each other are kept as two reports."""

MISSING_CDR_SECONDS = 900.0
"""A call whose CDR does not come: Asterisk may gather CDRs too (`batch` in cdr.conf), by default for 300 seconds."""

CDR_HOLD_SECONDS_MAX = 4 * 3600.0
"""The CDR of a leg of a call that goes on: then it is handed out alone, so that no crash can cost much."""

OPEN_CALLS_MAX = 20_000
"""Going on at once; more than any Asterisk carries. Past that the oldest is handed out as it is."""


class CollectedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call to be kept: its id, and the body that says it."""

    linked_id: str
    body: bytes


class AsteriskParserConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a PBX that its events cannot be read without: its trunks, the contexts that they call into, and
    whether the account code is the PIN that was dialled."""

    trunks: tuple[str, ...] = ()
    inbound_contexts: tuple[str, ...] = ()
    has_pins: bool = False


class _OpenCall:
    """One call that goes on, or is just over."""

    def __init__(self) -> None:
        self.cdrs: list[AmiMessage] = []
        self.events: list[AmiMessage] = []
        self.has_all_events = False
        self.has_ended = False
        self.has_cel = False
        self.open_channels: set[str] = set()
        self.callee_channels: set[str] = set()
        self.cdr_callee_channels: set[str] = set()
        self.last_event_at = 0.0
        self.first_cdr_at: float | None = None
        self.offset_seconds: int | None = None


class CallCollector:
    """All calls of one connection to one PBX. `reading` may be exchanged while it runs."""

    def __init__(self, parser_config: AsteriskParserConfig) -> None:
        self.parser_config = parser_config
        self.dropped_count = 0
        """Calls without a CDR: Asterisk was told not to write one, or it was lost."""
        self._open_calls: dict[str, _OpenCall] = {}

    def add_event(self, message: AmiMessage, now: float, offset_seconds: int | None = None) -> list[CollectedCall]:
        """Take one event; calls that have to make room for it are handed out."""
        fields = message.fields
        linked_id = get_linked_id(fields)
        if not linked_id:
            return []
        call = self._open_calls.setdefault(linked_id, _OpenCall())
        call.last_event_at = now
        if fields["event"] == "Cdr":
            call.cdrs.append(message)
            call.cdr_callee_channels.add(message.get("DestinationChannel"))
            call.first_cdr_at = call.first_cdr_at or now
            call.offset_seconds = offset_seconds
        else:
            _add_channel_event(call, message)
        return list(self._enforce_limits(linked_id, call))

    def pop_completed(self, now: float) -> list[CollectedCall]:
        """The calls that are over and have all their CDRs, as far as can be told."""
        ready_calls = [(linked_id, call) for linked_id, call in self._open_calls.items() if _is_ready(call, now)]
        for linked_id, call in list(self._open_calls.items()):
            if call.has_ended and not call.cdrs and now - call.last_event_at > MISSING_CDR_SECONDS:
                self.dropped_count += 1
                del self._open_calls[linked_id]
        return [
            self._pop_call(linked_id, call, has_all_events=call.has_all_events and call.has_ended)
            for linked_id, call in ready_calls
        ]

    def flush(self) -> list[CollectedCall]:
        """The connection is gone: whatever has a CDR is handed out, and nothing that goes on can be whole any more."""
        collected_calls = [
            self._pop_call(linked_id, call, has_all_events=False)
            for linked_id, call in list(self._open_calls.items())
            if call.cdrs
        ]
        self._open_calls.clear()
        return collected_calls

    def oldest_cdr_at(self) -> float | None:
        """When the first CDR was heard that is not handed out yet; None where there is none."""
        return min(
            (call.first_cdr_at for call in self._open_calls.values() if call.first_cdr_at is not None), default=None
        )

    def _enforce_limits(self, linked_id: str, call: _OpenCall) -> Iterator[CollectedCall]:
        if len(call.cdrs) >= CDRS_MAX:
            yield self._pop_call(linked_id, call, has_all_events=False)
        elif len(self._open_calls) > OPEN_CALLS_MAX:
            oldest_id = next(iter(self._open_calls))
            if self._open_calls[oldest_id].cdrs:
                yield self._pop_call(oldest_id, self._open_calls[oldest_id], has_all_events=False)
            else:
                self.dropped_count += 1
                del self._open_calls[oldest_id]

    def _pop_call(self, linked_id: str, call: _OpenCall, *, has_all_events: bool) -> CollectedCall:
        del self._open_calls[linked_id]
        events = [*call.cdrs, *(call.events if has_all_events else ())]
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


def _add_channel_event(call: _OpenCall, message: AmiMessage) -> None:
    name = message.get("EventName") if message.get("Event") == "CEL" else ""
    if name == "CHAN_START" and not call.has_cel:
        call.has_all_events = message.get("UniqueID") == message.get("LinkedID")
    call.has_cel = call.has_cel or bool(name)
    if name == "CHAN_START":
        call.open_channels.add(message.get("UniqueID"))
    elif name == "CHAN_END":
        call.open_channels.discard(message.get("UniqueID"))
    if message.get("Application") in CALLEE_APPLICATIONS:
        call.callee_channels.add(message.get("Channel"))
    call.has_ended = call.has_ended or name == "LINKEDID_END"
    if len(call.events) < EVENTS_MAX:
        call.events.append(message)
    else:
        call.has_all_events = False
        call.events.clear()


def _is_ready(call: _OpenCall, now: float) -> bool:
    if not call.cdrs:
        return False
    if call.has_ended:
        has_all_cdrs = call.callee_channels <= call.cdr_callee_channels
        return now - call.last_event_at >= (GRACE_SECONDS if has_all_cdrs else LATE_CDR_SECONDS)
    is_quiet = now - call.last_event_at >= QUIET_SECONDS
    is_held_too_long = call.first_cdr_at is not None and now - call.first_cdr_at >= CDR_HOLD_SECONDS_MAX
    # Whoever does not let us hear LINKEDID_END may still tell of channels.
    return is_held_too_long or (is_quiet and not call.open_channels)
