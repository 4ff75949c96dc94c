"""The lease by which a task works: every commit of the task is checked against it.

Invariant: of two processes that believe to have one lease, the one that had it first can commit nothing any more.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import msgspec

from onhook.lib.errors import OnhookError
from onhook.lib.messages import _


class Lease(msgspec.Struct, frozen=True):
    """A lease as it was acquired. `fence` is higher for each owner."""

    name: str
    owner: str
    fence: int


class FencedOff(OnhookError):
    """Another process has the lease of this task by now: nothing was committed."""


SELECT_FENCE = "SELECT fence FROM leases WHERE name = ?"
"""Run by every commit of a task with a lease, with the name of it."""


def check_fence(lease: Lease, row: tuple[Any, ...] | None) -> None:
    """Check a lease against the row of SELECT_FENCE. Raises `FencedOff`."""
    if row is None or row[0] != lease.fence:
        raise FencedOff(_("another process has the lease {name} by now", name=lease.name))


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
