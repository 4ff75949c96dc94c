"""What goes wrong between a PBX and its receiver, made on purpose: pure, and the same for the same seed.

`late=0.1,doubled=0.2` reads: one report in ten comes after many later ones, one in five comes twice.
"""

import heapq
from random import Random
from typing import Final

import msgspec

from onhook.cdr.details import CallDetails
from onhook.errors import UsageError

LATE_REPORTS: Final = (20, 200)
"""A late report comes after at least and at most so many later ones."""

DOUBLED_REPORTS_MAX: Final = 20
"""A repeat comes after at most so many others: PBXs repeat soon, when no answer came in time."""

REORDERED_MAX: Final = 10_000
"""Reports held back to be reordered are held in memory."""

WRONG_CLOCK_SECONDS_MAX: Final = 366 * 86_400
"""A clock that was never set is years off, but the ids keep ten digits only within sensible years."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what goes wrong; the default is nothing.

    `late`, `doubled`, `lost` and `malformed` are shares of the reports, 0 to 1. `reordered` is how many others a
    report may be overtaken by. `wrong_clock` is how many seconds the PBX's clock is ahead (negative: behind).
    """

    late: float = 0
    doubled: float = 0
    lost: float = 0
    malformed: float = 0
    reordered: int = 0
    wrong_clock: int = 0

    def __post_init__(self) -> None:
        """Raises `UsageError` for a share or a number that cannot be."""
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} cannot be {getattr(self, name)}", todo="write a share from 0 to 1")
        if not 0 <= self.reordered <= REORDERED_MAX:
            raise UsageError(f"reordered cannot be {self.reordered}", todo=f"write 0 to {REORDERED_MAX:,}")
        if abs(self.wrong_clock) > WRONG_CLOCK_SECONDS_MAX:
            raise UsageError(f"wrong_clock cannot be {self.wrong_clock}", todo="write seconds, at most a year")


_SHARES: Final = ("late", "doubled", "lost", "malformed")


class Sending(msgspec.Struct, frozen=True):
    """A report on its way. `faults` says what befell it, in the words of `Faults`; `lost` is never sent."""

    details: CallDetails
    faults: tuple[str, ...] = ()

    @property
    def is_first(self) -> bool:
        """Whether this is the report itself and not its repeat."""
        return "doubled" not in self.faults


def parse_faults(text: str) -> Faults:
    """Read `late=0.1,reordered=5`; empty is none. Raises `UsageError` naming what is unknown and what there is."""
    given: dict[str, float] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in Faults.__struct_fields__:
            raise UsageError(f"there is no fault {name!r}", todo=f"use some of {', '.join(Faults.__struct_fields__)}")
        given[name] = _number(name, value if equals else "")
    return Faults(**given)  # type: ignore[arg-type]  # _number gives whole numbers where they belong


class Mischief:
    """Lets faults befall a stream of reports: what goes in comes out now, later, twice or never."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._rng = Random(f"{seed}/faults")
        self._position = 0
        self._held: list[tuple[int, int, Sending]] = []
        self._number = 0

    def pass_on(self, details: CallDetails) -> list[Sending]:
        """Take one report, and give those whose turn it is now."""
        self._position += 1
        sending = Sending(details, self._befalling())
        if "lost" in sending.faults:
            return [sending, *self._due()]
        self._hold(sending, self._delay(sending.faults))
        if self._happens(self._faults.doubled):
            repeat = Sending(details, (*sending.faults, "doubled"))
            self._hold(repeat, self._delay(sending.faults) + self._rng.randint(0, DOUBLED_REPORTS_MAX))
        return self._due()

    def rest(self) -> list[Sending]:
        """All that is still held back."""
        return [heapq.heappop(self._held)[2] for _ in range(len(self._held))]

    def _befalling(self) -> tuple[str, ...]:
        return tuple(name for name in ("late", "lost", "malformed") if self._happens(getattr(self._faults, name)))

    def _happens(self, share: float) -> bool:
        return share > 0 and self._rng.random() < share

    def _delay(self, faults: tuple[str, ...]) -> int:
        late = self._rng.randint(*LATE_REPORTS) if "late" in faults else 0
        return late + (self._rng.randint(0, self._faults.reordered) if self._faults.reordered else 0)

    def _hold(self, sending: Sending, delay: int) -> None:
        self._number += 1
        heapq.heappush(self._held, (self._position + delay, self._number, sending))

    def _due(self) -> list[Sending]:
        due: list[Sending] = []
        while self._held and self._held[0][0] <= self._position:
            due.append(heapq.heappop(self._held)[2])
        return due


def garbled(body: bytes, rng: Random) -> bytes:
    """The body of an event, spoilt: no call can be read from it, though it still says whose it is."""
    middle = body.index(b'"msg"')
    ways = (
        body[: rng.randrange(middle + 12, len(body) - 2)],  # the connection's other end stopped in the middle
        body[:middle] + b'"msg":"out of memory at %08x"}' % rng.getrandbits(32),
        body.replace(b"time_start", b"time_strat", 1),
        body.replace(b"call_id", b"call_di", 1),
    )
    return rng.choice(ways)


def _number(name: str, text: str) -> float:
    try:
        return float(text) if name in _SHARES else int(text)
    except ValueError:
        kind = "a share from 0 to 1" if name in _SHARES else "a whole number"
        raise UsageError(f"the fault {name} has no value {text!r}", todo=f"write {name}= and {kind}") from None
