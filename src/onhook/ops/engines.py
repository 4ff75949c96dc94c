"""How files are opened: what `runtime.engines` hands to the operations that open some by themselves."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.store.contract import Store

AppDbOpener = Callable[[Config], AppDb]
"""Returns the application database of a configuration, which its context or its first call opens. Raises `UsageError`
for a setting that cannot be used, and nothing else.
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
    open_ledger: Callable[[Path], Ledger]
    open_store: Callable[[Path], Awaitable[Store]]
    list_quarantined_seqs: QuarantineLister
