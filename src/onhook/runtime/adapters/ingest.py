"""The ingestor with its parts: of the intake, of the hub for events that it fetches, and of a command that imports."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from onhook.appdb.appdb import AppDb
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import OnhookError
from onhook.pbx.registry import dialects
from onhook.receiver.ingest import Ingestor
from onhook.runtime.adapters.registry import AppDbPbxRegistry


def create_ingestor(
    *,
    appdb: AppDb,
    ledger: Ledger,
    clock: Clock,
    has_events: bool = False,
    on_ledger_error: Callable[[OnhookError | None], None] = lambda _error: None,
) -> Ingestor:
    """Return an ingestor for the registered PBXs; see `Ingestor`."""
    return Ingestor(
        ledger=ledger,
        registry=AppDbPbxRegistry(appdb),
        dialects=dialects(),
        clock=clock,
        has_events=has_events,
        on_ledger_error=on_ledger_error,
    )


@asynccontextmanager
async def open_ingestor(config: Config) -> AsyncIterator[Ingestor]:
    """Yield an ingestor for a command that imports events, also while a server runs."""
    async with AsyncExitStack() as stack:
        appdb = AppDb(config.appdb_file)
        stack.callback(appdb.close)
        ledger = SqliteLedger(config.ledger_file)
        stack.push_async_callback(ledger.close)
        ingestor = create_ingestor(appdb=appdb, ledger=ledger, clock=SystemClock())
        stack.push_async_callback(ingestor.close)
        yield ingestor
