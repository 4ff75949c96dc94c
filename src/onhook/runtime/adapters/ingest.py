"""The ingestor with its parts: of the intake, of the hub for events that it fetches, and of a command that imports."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import OnhookError
from onhook.ops.instance_lock import check_ledger_file
from onhook.pbx.registry import dialects
from onhook.receiver.ingest import Ingestor
from onhook.receiver.unregistered import count_unregistered
from onhook.runtime.adapters.credentials_file import CredentialsFile
from onhook.runtime.adapters.registry import AppDbPbxRegistry
from onhook.runtime.engines import ENGINES


def create_ingestor(*, appdb: AppDb, ledger: Ledger, clock: Clock, publisher: FactsPublisher | None = None) -> Ingestor:
    """Return an ingestor for the events of connections that Onhook opens, whose senders are known; with the publisher
    of the process, where it has one.
    """
    publisher = publisher or create_publisher(appdb=appdb, ledger=ledger, clock=clock)
    return Ingestor(
        ledger=ledger,
        registry=AppDbPbxRegistry(appdb),
        dialects=dialects(),
        clock=clock,
        prepare_append=publisher.prepare,
    )


def create_publisher(*, appdb: AppDb, ledger: Ledger, clock: Clock) -> FactsPublisher:
    """Return what publishes the facts of PBXs, as the application database has them, in the ledger."""
    return FactsPublisher(ledger, AppDbPbxFacts(appdb), clock)


@asynccontextmanager
async def running_ingestor(
    *,
    appdb: AppDb,
    ledger: Ledger,
    clock: Clock,
    has_events: bool = False,
    credentials_file: CredentialsFile | None = None,
    on_ledger_error: Callable[[OnhookError | None], None] = lambda _error: None,
) -> AsyncIterator[Ingestor]:
    """Yield an ingestor for the requests of the registered PBXs, which follows the database; see `Ingestor`."""
    registry = AppDbPbxRegistry(appdb, credentials_file)
    await registry.load()
    publisher = create_publisher(appdb=appdb, ledger=ledger, clock=clock)
    # What was changed while no process ran; where it cannot be now, it is before the next event of a new PBX.
    with suppress(OnhookError):
        await publisher.publish()
    follower = asyncio.create_task(registry.follow(), name="pbx registry")
    ingestor = Ingestor(
        ledger=ledger,
        registry=registry,
        dialects=dialects(),
        clock=clock,
        has_events=has_events,
        unregistered_counts=await count_unregistered(ledger),
        on_ledger_error=on_ledger_error,
        prepare_append=publisher.prepare,
    )
    try:
        yield ingestor
    finally:
        await ingestor.close()
        follower.cancel()
        await asyncio.wait([follower])


@asynccontextmanager
async def open_ingestor(config: Config) -> AsyncIterator[Ingestor]:
    """Yield an ingestor for a command that imports events, also while a server runs."""
    async with AsyncExitStack() as stack:
        appdb = await stack.enter_async_context(ENGINES.open_appdb(config))
        check_ledger_file(config)
        ledger = ENGINES.open_ledger(config.ledger_file)
        stack.push_async_callback(ledger.close)
        ingestor = create_ingestor(appdb=appdb, ledger=ledger, clock=SystemClock())
        stack.push_async_callback(ingestor.close)
        yield ingestor
