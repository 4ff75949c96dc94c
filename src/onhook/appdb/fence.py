"""The lease by which a task works: every commit of the task is checked against it.

Invariant: of two processes that believe to have one lease, the one that had it first can commit nothing any more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec

from onhook.lib.errors import OnhookError


class Lease(msgspec.Struct, frozen=True):
    """A lease as it was acquired. `fence` is higher for each owner."""

    name: str
    owner: str
    fence: int


class FencedOff(OnhookError):
    """Another process has the lease of this task by now: nothing was committed."""


_lease: ContextVar[Lease | None] = ContextVar("lease", default=None)


def get_lease() -> Lease | None:
    """Return the lease of this task; None where it needs none."""
    return _lease.get()


@contextmanager
def fenced(lease: Lease) -> Iterator[None]:
    """Check every commit of the block, and of the tasks that it starts, against a lease."""
    token = _lease.set(lease)
    try:
        yield
    finally:
        _lease.reset(token)
