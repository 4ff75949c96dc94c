"""What may be made to go wrong, for whoever writes an application: the contract, and the default, which is nothing.

The made-up PBX hands in another one. The rules of it are the simulator's; here is only where they bite.
"""

from typing import Protocol

import msgspec


class InjectedFault(msgspec.Struct, frozen=True):
    """What befalls one answer: it comes so much later, and may be no answer at all.

    `refused_forms` are the forms of time (`seconds`, `display`) that are refused; with `matches_nothing` Unix seconds
    find nothing. `display` is another display format: order of the date and hours of the clock; None is the usual one.
    """

    delay_seconds: float = 0.0
    is_garbage: bool = False
    refused_forms: frozenset[str] = frozenset()
    matches_nothing: bool = False
    display: tuple[str, str] | None = None


class FaultPolicy(Protocol):
    """Asked once for each thing that could go wrong."""

    def token_seconds(self) -> float | None:
        """How long a new access token really counts; None is as long as is said."""
        ...

    def rejects_login(self) -> bool:
        """Whether a good login is refused this time."""
        ...

    def response_fault(self) -> InjectedFault:
        """What befalls the next answer."""
        ...

    def silent_after(self) -> int | None:
        """After how many events a new socket falls silent; None is never."""
        ...


class NoFaults:
    """Everything goes well."""

    def token_seconds(self) -> float | None:
        return None

    def rejects_login(self) -> bool:
        return False

    def response_fault(self) -> InjectedFault:
        return InjectedFault()

    def silent_after(self) -> int | None:
        return None
