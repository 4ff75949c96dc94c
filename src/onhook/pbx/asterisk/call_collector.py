"""Events gathered call by call, until a call is over and can be kept.

With channel events (CEL) a call is over at LINKEDID_END, and its CDRs come a moment later; without, when no CDR of it
has come for a while. Laws: every CDR that was heard is handed out, once, whatever else happens; a call is called whole
only if it was heard from its first channel to its end over one connection; what is held is bounded. `now` is any clock
that only goes forward, in seconds.
"""

from collections.abc import Iterator

import msgspec

from onhook.pbx.asterisk.call import CDRS_MAX, EVENTS_MAX, Header, body_of, linked_id_of
from onhook.pbx.asterisk.channels import channel_named
from onhook.pbx.asterisk.messages import Message
from onhook.pbx.asterisk.rows import OWN_OF_CALLEE

GRACE_SECONDS = 2.0
"""Between a call's end and its CDRs, which another thread of Asterisk writes; under load it was seen to take one."""

LATE_SECONDS = 30.0
"""How long a call that is over waits for the CDR of a channel that was called: a slow database holds CDRs up one by
one, while some of them have come already."""

QUIET_SECONDS = 3.0
"""Without channel events: CDRs of one call that come later than this after each other are kept as two reports."""

WITHOUT_CDR_SECONDS = 900.0
"""A call whose CDR does not come: Asterisk may gather CDRs too (`batch` in cdr.conf), by default for 300 seconds."""

HELD_SECONDS_MAX = 4 * 3600.0
"""The CDR of a leg of a call that goes on: then it is handed out alone, so that no crash can cost much."""

CALLS_MAX = 20_000
"""Going on at once; more than any Asterisk carries. Past that the oldest is handed out as it is."""


class Gathered(msgspec.Struct, frozen=True, kw_only=True):
    """A call to be kept: its id, and the body that says it."""

    linked_id: str
    body: bytes


class PbxReading(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a PBX that its events cannot be read without: its trunks, the contexts that they call into, and
    whether the account code is the PIN that was dialled."""

    trunks: tuple[str, ...] = ()
    inbound: tuple[str, ...] = ()
    has_pins: bool = False


class _Call:
    """One call that goes on, or is just over."""

    def __init__(self) -> None:
        self.cdrs: list[Message] = []
        self.events: list[Message] = []
        self.is_whole = False
        self.is_over = False
        self.has_cel = False
        self.open_channels: set[str] = set()
        self.called: set[str] = set()
        self.called_by_cdrs: set[str] = set()
        self.heard_at = 0.0
        self.first_cdr_at: float | None = None
        self.offset_seconds: int | None = None


class Gathering:
    """All calls of one connection to one PBX. `reading` may be exchanged while it runs."""

    def __init__(self, reading: PbxReading) -> None:
        self.reading = reading
        self.dropped = 0
        """Calls without a CDR: Asterisk was told not to write one, or it was lost."""
        self._calls: dict[str, _Call] = {}

    def heard(self, message: Message, now: float, offset_seconds: int | None = None) -> list[Gathered]:
        """Take one event; calls that have to make room for it are handed out."""
        fields = message.fields
        linked_id = linked_id_of(fields)
        if not linked_id:
            return []
        call = self._calls.setdefault(linked_id, _Call())
        call.heard_at = now
        if fields["event"] == "Cdr":
            call.cdrs.append(message)
            call.called_by_cdrs.add(message.get("DestinationChannel"))
            call.first_cdr_at = call.first_cdr_at or now
            call.offset_seconds = offset_seconds
        else:
            _add_event(call, message)
        return list(self._made_room(linked_id, call))

    def due(self, now: float) -> list[Gathered]:
        """The calls that are over and have all their CDRs, as far as can be told."""
        ready = [(linked_id, call) for linked_id, call in self._calls.items() if _is_ready(call, now)]
        for linked_id, call in list(self._calls.items()):
            if call.is_over and not call.cdrs and now - call.heard_at > WITHOUT_CDR_SECONDS:
                self.dropped += 1
                del self._calls[linked_id]
        return [self._hand_out(linked_id, call, is_whole=call.is_whole and call.is_over) for linked_id, call in ready]

    def cut(self) -> list[Gathered]:
        """The connection is gone: whatever has a CDR is handed out, and nothing that goes on can be whole any more."""
        left = [
            self._hand_out(linked_id, call, is_whole=False)
            for linked_id, call in list(self._calls.items())
            if call.cdrs
        ]
        self._calls.clear()
        return left

    def oldest_cdr_at(self) -> float | None:
        """When the first CDR was heard that is not handed out yet; None where there is none."""
        return min((call.first_cdr_at for call in self._calls.values() if call.first_cdr_at is not None), default=None)

    def _made_room(self, linked_id: str, call: _Call) -> Iterator[Gathered]:
        if len(call.cdrs) >= CDRS_MAX:
            yield self._hand_out(linked_id, call, is_whole=False)
        elif len(self._calls) > CALLS_MAX:
            oldest = next(iter(self._calls))
            if self._calls[oldest].cdrs:
                yield self._hand_out(oldest, self._calls[oldest], is_whole=False)
            else:
                self.dropped += 1
                del self._calls[oldest]

    def _hand_out(self, linked_id: str, call: _Call, *, is_whole: bool) -> Gathered:
        del self._calls[linked_id]
        events = [*call.cdrs, *(call.events if is_whole else ())]
        channels = {channel_named(event.get(name)) for event in events for name in ("Channel", "DestinationChannel")}
        endpoints = {channel.endpoint for channel in channels}
        header = Header(
            trunks=tuple(name for name in self.reading.trunks if name in endpoints),
            inbound=self.reading.inbound,
            is_whole=is_whole,
            has_pins=self.reading.has_pins,
            offset_seconds=call.offset_seconds,
        )
        return Gathered(linked_id=linked_id, body=body_of(header, events))


def _add_event(call: _Call, message: Message) -> None:
    name = message.get("EventName") if message.get("Event") == "CEL" else ""
    if name == "CHAN_START" and not call.has_cel:
        call.is_whole = message.get("UniqueID") == message.get("LinkedID")
    call.has_cel = call.has_cel or bool(name)
    if name == "CHAN_START":
        call.open_channels.add(message.get("UniqueID"))
    elif name == "CHAN_END":
        call.open_channels.discard(message.get("UniqueID"))
    if message.get("Application") in OWN_OF_CALLEE:
        call.called.add(message.get("Channel"))
    call.is_over = call.is_over or name == "LINKEDID_END"
    if len(call.events) < EVENTS_MAX:
        call.events.append(message)
    else:
        call.is_whole = False
        call.events.clear()


def _is_ready(call: _Call, now: float) -> bool:
    if not call.cdrs:
        return False
    if call.is_over:
        is_complete = call.called <= call.called_by_cdrs
        return now - call.heard_at >= (GRACE_SECONDS if is_complete else LATE_SECONDS)
    is_quiet = now - call.heard_at >= QUIET_SECONDS
    is_held_long = call.first_cdr_at is not None and now - call.first_cdr_at >= HELD_SECONDS_MAX
    # Whoever does not let us hear LINKEDID_END may still tell of channels.
    return is_held_long or (is_quiet and not call.open_channels)
