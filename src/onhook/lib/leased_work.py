"""Work that one process does at a time, where there are several: `appdb/leases.py` decides which.

A module of its own, because packages that cannot name the application database have such work too.
"""

from collections.abc import Awaitable, Callable, Coroutine

LeasedWork = Callable[[], Coroutine[None, None, None]]

RunLeased = Callable[[str, LeasedWork], Awaitable[None]]
"""Runs work while this process has the lease of that name; see `LeaseHolder.run_leased`."""


async def run_without_lease(_name: str, work: LeasedWork) -> None:
    """Run work of which there is one process: see `RunLeased`."""
    await work()
