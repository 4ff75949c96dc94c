"""How files are opened: what `runtime.engines` hands to the operations that open some by themselves."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.ledger.health import LedgerHealth
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.store.contract import Store

AppDbOpener = Callable[[Config], AppDb]
"""Returns the application database of a configuration, which its context or its first call opens. Raises `UsageError`
for a setting that cannot be used, and nothing else.
"""


LedgerOpener = Callable[[Config], Ledger]
"""Returns the ledger of a configuration: that of the file, which is created, or one on servers, which its first call
connects to. Raises `OnhookError`.
"""


class QuarantineLister(Protocol):
    """Returns the quarantined numbers of a store that stays closed, in order; with `without_records` those alone of
    which no part was readable.
    """

    async def __call__(self, path: Path, *, without_records: bool) -> Sequence[int]: ...


class Engines(msgspec.Struct, frozen=True, kw_only=True):
    """How files are opened: the application database, the ledger, the store, and the quarantine of a store that stays
    closed.
    """

    open_appdb: AppDbOpener
    open_ledger: LedgerOpener
    create_shared_ledger: Callable[[str, int], Awaitable[None]]
    """Creates the ledger of the setting `ledger`, which begins after a number. Raises `OnhookError`."""
    read_shared_health: Callable[[str, Clock], Awaitable[LedgerHealth]]
    """Returns how the servers of the setting `ledger` are. Raises `UsageError`."""
    open_store: Callable[[Path], Awaitable[Store]]
    copy_store: Callable[[Path, Path], Awaitable[bool]]
    """Copies a store, which may be in use, with its write-ahead log; returns whether both belong together. Raises
    `OnhookError`, as where the disk gets full.
    """
    list_quarantined_seqs: QuarantineLister


def store_copy_error(path: Path, error: OSError) -> Unavailable:
    """Return the error of a store that cannot be copied, or of its copy."""
    return Unavailable(
        _("cannot copy the store: {error}", error=error.strerror or error),
        location=str(path),
        hint=_("check the disk and the permissions"),
    )
