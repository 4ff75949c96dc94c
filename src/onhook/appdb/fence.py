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


SELECT_FENCE = "SELECT fence, owner FROM leases WHERE name = ?"
"""Run by every commit of a task with a lease, with the name of it."""


def check_fence(lease: Lease, row: tuple[Any, ...] | None) -> None:
    """Check a lease against the row of SELECT_FENCE. Raises `FencedOff`.

    The owner too: a standby that lacked the last commits gives a number again that an earlier owner had from the server
    that failed.
    """
    if row is None or tuple(row) != (lease.fence, lease.owner):
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
