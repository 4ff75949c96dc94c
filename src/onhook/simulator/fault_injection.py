"""What goes wrong between a PBX and its receiver, made on purpose: pure, and the same for the same seed.

`late=0.1,doubled=0.2` reads: one report in ten comes after many later ones, one in five comes twice. What befalls
reports befalls webhooks and sockets alike, and never what the PBX's API answers; that has faults of its own.
"""

import heapq
from random import Random
from typing import Final

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.lib.errors import UsageError

LATE_REPORTS: Final = (20, 200)
"""A late report comes after at least and at most so many later ones."""

DOUBLED_REPORTS_MAX: Final = 20
"""A repeat comes after at most so many others: PBXs repeat soon, when no answer came in time."""

REORDERED_MAX: Final = 10_000
"""Reports held back to be reordered are held in memory."""

WRONG_CLOCK_SECONDS_MAX: Final = 366 * 86_400
"""A clock that was never set is years off, but the ids keep ten digits only within sensible years."""


SILENT_EVENTS_MAX: Final = 20
"""A socket falls silent after at most so many events: soon enough to be noticed in a test."""

SLOW_SECONDS_MAX: Final = 600
TOKEN_SECONDS_MAX: Final = 1_800
CHANGES_MAX: Final = 1_000_000

DISPLAYS: Final = (
    *(("YYYY/MM/DD", "24"), ("DD/MM/YYYY", "12"), ("MM/DD/YYYY", "24")),
    *(("YYYY/MM/DD", "12"), ("DD/MM/YYYY", "24"), ("MM/DD/YYYY", "12")),
)
"""The order in which a display format changes: each differs from the one before in the order of day and month."""


class Faults(msgspec.Struct, frozen=True, kw_only=True):
    """How much of what goes wrong; the default is nothing.

    `late`, `doubled`, `lost` and `malformed` are shares of the reports, 0 to 1. `reordered` is how many others a
    report may be overtaken by. `wrong_clock` is how many seconds the PBX's clock is ahead (negative: behind).

    Of the PBX's API: shares of the sockets that fall silent, of good logins that fail, of answers that are cut off in
    the middle, that refuse Unix seconds or the display format, that find nothing for Unix seconds. `slow_answer` is how
    many seconds an answer may take, `expired_token` after how many a token ends though half an hour was promised (0:
    then), `changing_display` after how many answers the display format changes (0: never).
    """

    late: float = 0
    doubled: float = 0
    lost: float = 0
    malformed: float = 0
    reordered: int = 0
    wrong_clock: int = 0
    silent_socket: float = 0
    failing_login: float = 0
    garbage_answer: float = 0
    refused_seconds: float = 0
    refused_display: float = 0
    zero_rows: float = 0
    slow_answer: int = 0
    expired_token: int = 0
    changing_display: int = 0

    def __post_init__(self) -> None:
        """Raises `UsageError` for a share or a number that cannot be."""
        for name in _SHARES:
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"{name} cannot be {getattr(self, name)}", todo="write a share from 0 to 1")
        if not 0 <= self.reordered <= REORDERED_MAX:
            raise UsageError(f"reordered cannot be {self.reordered}", todo=f"write 0 to {REORDERED_MAX:,}")
        for name, most in _WHOLE.items():
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(f"{name} cannot be {getattr(self, name)}", todo=f"write 0 to {most:,}")
        if abs(self.wrong_clock) > WRONG_CLOCK_SECONDS_MAX:
            raise UsageError(f"wrong_clock cannot be {self.wrong_clock}", todo="write seconds, at most a year")


_SHARES: Final = (
    *("late", "doubled", "lost", "malformed", "silent_socket", "failing_login", "garbage_answer", "refused_seconds"),
    *("refused_display", "zero_rows"),
)
_WHOLE: Final = {
    "slow_answer": SLOW_SECONDS_MAX,
    "expired_token": TOKEN_SECONDS_MAX,
    "changing_display": CHANGES_MAX,
}


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


class FaceAnswer(msgspec.Struct, frozen=True):
    """What befalls one answer of the PBX's API. `refused_forms` are among `seconds` and `display`; `display` is another
    order of the date and hours of the clock, or None."""

    delay_seconds: float = 0
    is_garbage: bool = False
    refused_forms: frozenset[str] = frozenset()
    finds_nothing: bool = False
    display: tuple[str, str] | None = None


class FaceMischief:
    """Lets faults befall what the PBX's API answers; asked once for each thing that could go wrong."""

    def __init__(self, faults: Faults, seed: int) -> None:
        self._faults = faults
        self._rng = Random(f"{seed}/face")
        self._answers = 0

    def token_seconds(self) -> float | None:
        """How long a new token really counts; None is as long as was promised."""
        return self._faults.expired_token or None

    def fails_login(self) -> bool:
        """Whether a good login fails."""
        return self._happens(self._faults.failing_login)

    def silent_after(self) -> int | None:
        """After how many events a new socket falls silent; None is never."""
        return self._rng.randint(0, SILENT_EVENTS_MAX) if self._happens(self._faults.silent_socket) else None

    def answer(self) -> FaceAnswer:
        """What befalls the next answer."""
        faults = self._faults
        change = self._answers // faults.changing_display if faults.changing_display else None
        self._answers += 1
        refused = {"seconds": faults.refused_seconds, "display": faults.refused_display}
        return FaceAnswer(
            delay_seconds=self._rng.uniform(0, faults.slow_answer) if faults.slow_answer else 0,
            is_garbage=self._happens(faults.garbage_answer),
            refused_forms=frozenset(form for form, share in refused.items() if self._happens(share)),
            finds_nothing=self._happens(faults.zero_rows),
            display=None if change is None else DISPLAYS[change % len(DISPLAYS)],
        )

    def _happens(self, share: float) -> bool:
        return share > 0 and self._rng.random() < share


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
