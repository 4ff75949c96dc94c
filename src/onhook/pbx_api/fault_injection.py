"""Contract of fault injection, for developers of apps, and the default without faults.

The simulated PBX passes another implementation; the rules of faults belong to the simulator.
"""

from typing import Protocol

import msgspec


class InjectedFault(msgspec.Struct, frozen=True):
    """Faults of one response: it is delayed, and may be missing.

    `refused_forms` are the forms of time (`seconds`, `display`) that are rejected; with `matches_nothing` Unix seconds
    match no rows. `display` is another display format: order of the date and hours of the clock; None is the default
    one.
    """

    delay_seconds: float = 0.0
    is_garbage: bool = False
    refused_forms: frozenset[str] = frozenset()
    matches_nothing: bool = False
    display: tuple[str, str] | None = None


class FaultPolicy(Protocol):
    """Policy that is called once for each operation that can fail."""

    def token_seconds(self) -> float | None:
        """Return the actual lifetime of a new access token, or None for the promised one."""
        ...

    def rejects_login(self) -> bool:
        """Return whether a valid login is rejected this time."""
        ...

    def response_fault(self) -> InjectedFault:
        """Return the faults of the next response."""
        ...

    def silent_after(self) -> int | None:
        """Return the number of events after which a new socket stops sending, or None for never."""
        ...


class NoFaults:
    """Policy without faults."""

    def token_seconds(self) -> float | None:
        return None

    def rejects_login(self) -> bool:
        return False

    def response_fault(self) -> InjectedFault:
        return InjectedFault()

    def silent_after(self) -> int | None:
        return None
