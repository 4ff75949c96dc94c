"""Oracle of leases: at each commit by a lease, the lease is still that of the one who commits.

It reads the table of leases on the connection of each commit, right after it, and so knows nothing of how the commit
was checked.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from onhook.appdb import sqlite
from onhook.appdb.fence import Lease


def watch_commits(patch: pytest.MonkeyPatch, errors: list[str]) -> None:
    """Add to `errors` each commit by a lease that another one had by then."""
    commit: Callable[..., None] = sqlite._commit

    def watched(origin: Any, lease: Lease | None, changes: Sequence[Any], connection: sqlite3.Connection) -> None:
        commit(origin, lease, changes, connection)
        if lease is not None:
            owner_fences = _read_leases(connection).get(lease.name)
            if owner_fences is None or owner_fences[1] != lease.fence:
                errors.append(f"committed by a lost lease: {lease}, now {owner_fences}")

    patch.setattr(sqlite, "_commit", watched)


def _read_leases(connection: sqlite3.Connection) -> dict[str, tuple[str, int]]:
    """Return owner and fence by name; not by an operation that may fail."""
    cursor = sqlite3.Connection.execute(connection, "SELECT name, owner, fence FROM leases")
    return {name: (owner, fence) for name, owner, fence in cursor.fetchall()}
