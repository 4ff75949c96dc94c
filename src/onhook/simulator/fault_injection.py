"""Faults between a PBX and its receiver. Pure, and the same for the same seed.

`late=0.1,duplicated=0.2` means: one event in ten is sent after many later ones, one in five is sent twice. Faults of
events apply to webhooks and sockets alike, and never to responses of the PBX's API, which has faults of its own.
"""

import heapq
from collections.abc import Mapping, Sequence
from random import Random
from typing import Final

import msgspec

from onhook.appdb.api_behaviour import ApiBehaviour, DateFormat, TimeForm, TimeFormat
from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

LATE_EVENTS_RANGE: Final = (20, 200)
"""Minimum and maximum number of later events that are sent before a late one."""

DUPLICATE_DELAY_EVENTS_MAX: Final = 20
"""Maximum number of other events before a repeat: PBXs repeat soon after a missing response."""

REORDERED_MAX: Final = 10_000
"""Events that are held back for reordering are in memory."""

WRONG_CLOCK_SECONDS_MAX: Final = 366 * 86_400
"""A clock that was never set is years wrong, but ids keep ten digits only within some years."""


SILENT_EVENTS_MAX: Final = 20
"""Maximum number of events before a socket falls silent: soon enough for a test."""

SLOW_RESPONSE_SECONDS_MAX: Final = 600
TOKEN_SECONDS_MAX: Final = 1_800
CHANGING_DISPLAY_MAX: Final = 1_000_000

DISPLAY_FORMATS: Final[tuple[tuple[DateFormat, TimeFormat], ...]] = (
    *(("YYYY/MM/DD", "24"), ("DD/MM/YYYY", "12"), ("MM/DD/YYYY", "24")),
    *(("YYYY/MM/DD", "12"), ("DD/MM/YYYY", "24"), ("MM/DD/YYYY", "12")),
)
"""Order in which the display format changes: each differs from the previous one in the order of day and month."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """Shares and amounts of faults; the default is none.

    `late`, `duplicated`, `lost` and `malformed` are shares of the events, 0 to 1. `reordered` is how many others may
    overtake an event. `wrong_clock` is how many seconds the PBX's clock is ahead (negative: behind).

    The PBX's API has shares of sockets that fall silent, of valid logins that fail, of responses that are cut off, that
    reject Unix seconds or the display format, and that find no rows for Unix seconds. `slow_response` is the longest
    delay of a response in seconds, `expired_token` the actual lifetime of a token in seconds, though half an hour was
    promised (0: as promised), `changing_display` the number of responses after which the display format changes (0:
    never).
    """

    late: float = 0
    duplicated: float = 0
    lost: float = 0
    malformed: float = 0
    reordered: int = 0
    wrong_clock: int = 0
    silent_socket: float = 0
    failing_login: float = 0
    garbage_response: float = 0
    refused_seconds: float = 0
    refused_display: float = 0
    zero_rows: float = 0
    slow_response: int = 0
    expired_token: int = 0
    changing_display: int = 0

    def __post_init__(self) -> None:
        """Raises `UsageError` for a share or a number out of range."""
        for name in _SHARE_NAMES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(
                    _("{name} cannot be {value}", name=name, value=getattr(self, name)),
                    hint=_("write a share from 0 to 1"),
                )
        for name, maximum in _INTEGER_LIMITS.items():
            if not 0 <= getattr(self, name) <= maximum:
                raise UsageError(
                    _("{name} cannot be {value}", name=name, value=getattr(self, name)),
                    hint=_("write 0 to {maximum:,}", maximum=maximum),
                )
        if abs(self.wrong_clock) > WRONG_CLOCK_SECONDS_MAX:
            raise UsageError(
                _("{name} cannot be {value}", name="wrong_clock", value=self.wrong_clock),
                hint=_("write seconds, at most a year"),
            )


_SHARE_NAMES: Final = tuple(field.name for field in msgspec.structs.fields(Faults) if field.type is float)
_INTEGER_LIMITS: Final = {
    "reordered": REORDERED_MAX,
    "slow_response": SLOW_RESPONSE_SECONDS_MAX,
    "expired_token": TOKEN_SECONDS_MAX,
    "changing_display": CHANGING_DISPLAY_MAX,
}


class SimulatedEvent(msgspec.Struct, frozen=True):
    """Event to send. `faults` are the names of its faults in `Faults`; a `lost` one is never sent. `call` has the
    details of all legs of its call.
    """

    details: CallDetails
    faults: tuple[str, ...] = ()
    call: tuple[CallDetails, ...] = ()

    @property
    def is_first(self) -> bool:
        """Return whether this is the event itself and not a repeat."""
        return "duplicated" not in self.faults


def parse_faults(text: str) -> Faults:
    """Return the faults in `late=0.1,reordered=5`; an empty text means none. Raises `UsageError` that lists the known
    faults for an unknown one.
    """
    values: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in Faults.__struct_fields__:
            raise UsageError(
                _("there is no fault {name!r}", name=name),
                hint=_("use some of {names}", names=", ".join(Faults.__struct_fields__)),
            )
        values[name] = _parse_value(name, value if equals else "")
    return Faults(**values)  # type: ignore[arg-type]  # _parse_value gives whole numbers where they belong


class EventFaultInjector:
    """Applies faults to a stream of events: each is returned now, later, twice or never."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._rng = Random(f"{seed}/faults")
        self._position = 0
        self._delay_queue: list[tuple[int, int, SimulatedEvent]] = []
        self._sequence = 0

    def inject(self, details: CallDetails, call: tuple[CallDetails, ...] = ()) -> list[SimulatedEvent]:
        """Add the event of a leg of a call; return the events that are to be sent now."""
        self._position += 1
        event = SimulatedEvent(details, self._draw_faults(), call)
        if "lost" in event.faults:
            return [event, *self._pop_due()]
        self._enqueue(event, self._draw_delay(event.faults))
        if self._draw(self._faults.duplicated):
            duplicate = SimulatedEvent(details, (*event.faults, "duplicated"), call)
            self._enqueue(duplicate, self._draw_delay(event.faults) + self._rng.randint(0, DUPLICATE_DELAY_EVENTS_MAX))
        return self._pop_due()

    def drain(self) -> list[SimulatedEvent]:
        """Return all events that are held back."""
        return [heapq.heappop(self._delay_queue)[2] for _unused in range(len(self._delay_queue))]

    def _draw_faults(self) -> tuple[str, ...]:
        return tuple(name for name in ("late", "lost", "malformed") if self._draw(getattr(self._faults, name)))

    def _draw(self, share: float) -> bool:
        return share > 0 and self._rng.random() < share

    def _draw_delay(self, faults: tuple[str, ...]) -> int:
        late_delay = self._rng.randint(*LATE_EVENTS_RANGE) if "late" in faults else 0
        return late_delay + (self._rng.randint(0, self._faults.reordered) if self._faults.reordered else 0)

    def _enqueue(self, event: SimulatedEvent, delay: int) -> None:
        self._sequence += 1
        heapq.heappush(self._delay_queue, (self._position + delay, self._sequence, event))

    def _pop_due(self) -> list[SimulatedEvent]:
        due_events: list[SimulatedEvent] = []
        while self._delay_queue and self._delay_queue[0][0] <= self._position:
            due_events.append(heapq.heappop(self._delay_queue)[2])
        return due_events


class ApiFault(msgspec.Struct, frozen=True):
    """Faults of one response of the PBX's API. `refused_forms` are among `seconds` and `display`; `display` is another
    order of the date and hours of the clock, or None.
    """

    delay_seconds: float = 0
    is_garbage: bool = False
    refused_forms: frozenset[TimeForm] = frozenset()
    matches_nothing: bool = False
    display: tuple[DateFormat, TimeFormat] | None = None

    def apply_to(self, behaviour: ApiBehaviour) -> ApiBehaviour:
        """Return the behaviour of the PBX in this response."""
        date_format, time_format = self.display or (behaviour.date_format, behaviour.time_format)
        return msgspec.structs.replace(
            behaviour,
            date_format=date_format,
            time_format=time_format,
            time_forms=self._accepted_forms(behaviour.time_forms),
        )

    def _accepted_forms(self, time_forms: Sequence[TimeForm]) -> tuple[TimeForm, ...]:
        forms = [form for form in time_forms if form.removeprefix("no-rows-for-") not in self.refused_forms]
        return tuple("no-rows-for-seconds" if self.matches_nothing and form == "seconds" else form for form in forms)


class ApiFaultInjector:
    """Applies faults to the PBX's API; called once for each operation that can fail."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._rng = Random(f"{seed}/face")
        self._response_count = 0

    def token_seconds(self) -> float | None:
        """Return the actual lifetime of a new token, or None for the promised one."""
        return self._faults.expired_token or None

    def rejects_login(self) -> bool:
        """Return whether a valid login fails."""
        return self._draw(self._faults.failing_login)

    def silent_after(self) -> int | None:
        """Return the number of events after which a new socket falls silent, or None for never."""
        return self._rng.randint(0, SILENT_EVENTS_MAX) if self._draw(self._faults.silent_socket) else None

    def response_fault(self) -> ApiFault:
        """Return the faults of the next response."""
        faults = self._faults
        change_index = self._response_count // faults.changing_display if faults.changing_display else None
        self._response_count += 1
        refusal_shares: Mapping[TimeForm, float] = {
            "seconds": faults.refused_seconds,
            "display": faults.refused_display,
        }
        return ApiFault(
            delay_seconds=self._rng.uniform(0, faults.slow_response) if faults.slow_response else 0,
            is_garbage=self._draw(faults.garbage_response),
            refused_forms=frozenset(form for form, share in refusal_shares.items() if self._draw(share)),
            matches_nothing=self._draw(faults.zero_rows),
            display=None if change_index is None else DISPLAY_FORMATS[change_index % len(DISPLAY_FORMATS)],
        )

    def _draw(self, share: float) -> bool:
        return share > 0 and self._rng.random() < share


def corrupt_body(body: bytes, rng: Random) -> bytes:
    """Return a corrupted event that cannot be parsed as a call, but still contains the PBX's serial number."""
    if b'"msg"' not in body and b'"call_id"' not in body:  # a row or a document of another PBX
        return body[: rng.randrange(len(body) // 2)]
    # A flat event has the call's fields themselves where others have `msg`.
    details_offset = body.index(b'"msg"' if b'"msg"' in body else b'"call_id"')
    variants = (
        body[: rng.randrange(details_offset + 12, len(body) - 2)],  # The connection was cut in the middle.
        body[:details_offset] + b'"msg":"out of memory at %08x"}' % rng.getrandbits(32),
        body.replace(b"time_start", b"time_strat", 1),
        body.replace(b"call_id", b"call_di", 1),
    )
    return rng.choice(variants)


def _parse_value(name: str, text: str) -> float:
    try:
        return float(text) if name in _SHARE_NAMES else int(text)
    except ValueError:
        hint = (
            _("write {name}= and a share from 0 to 1", name=name)
            if name in _SHARE_NAMES
            else _("write {name}= and a whole number", name=name)
        )
        raise UsageError(_("the fault {name} has no value {value!r}", name=name, value=text), hint=hint) from None
