"""Erasure of numbers, with the countries in which a number without a country code may be."""

from collections.abc import Awaitable, Callable, Sequence

from onhook.appdb.appdb import AppDb
from onhook.config import Config
from onhook.console.search import list_regions
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.ops.number_erasure import NumberEraser
from onhook.projector.projector import Projector
from onhook.store.contract import Store


def create_eraser(
    config: Config,
    *,
    appdb: AppDb,
    ledger: Ledger,
    store: Store,
    projector: Projector,
    clock: Clock,
    rebuild_store: Callable[[], Awaitable[None]] | None = None,
) -> NumberEraser:
    """Return the eraser of a data directory; see `ops.number_erasure`."""

    async def find_regions() -> Sequence[str]:
        return list_regions(await appdb.pbxs(), config.zone)

    return NumberEraser(
        config=config,
        appdb=appdb,
        ledger=ledger,
        store=store,
        projector=projector,
        clock=clock,
        find_regions=find_regions,
        rebuild_store=rebuild_store,
    )
