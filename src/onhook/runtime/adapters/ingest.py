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
from onhook.lib.errors import OnhookError, Unavailable
from onhook.ops.cluster_ledger import open_checked_ledger
from onhook.pbx.registry import dialects
from onhook.receiver.event_spool import EventSpool
from onhook.receiver.ingest import Ingestor
from onhook.receiver.unregistered import count_unregistered
from onhook.runtime.adapters.credentials_file import CredentialsFile
from onhook.runtime.adapters.registry import AppDbPbxRegistry
from onhook.runtime.engines import ENGINES

RETRY_SECONDS = 1.0
"""Between two tries to read a ledger that was away at the start."""


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
    credentials_file: CredentialsFile | None = None,
    on_ledger_error: Callable[[OnhookError | None], None] = lambda _error: None,
    spool: EventSpool | None = None,
    publisher: FactsPublisher | None = None,
) -> AsyncIterator[Ingestor]:
    """Yield an ingestor for the requests of the registered PBXs, which follows the database; see `Ingestor`. A ledger
    that is away is no reason not to begin: requests are answered 503 until it is there, or events go to the `spool`.
    """
    registry = AppDbPbxRegistry(appdb, credentials_file)
    await registry.load()
    publisher = publisher or create_publisher(appdb=appdb, ledger=ledger, clock=clock)
    # What was changed while no process ran; where it cannot be now, it is before the next event of a new PBX.
    with suppress(OnhookError):
        await publisher.publish()
    ingestor = Ingestor(
        ledger=ledger,
        registry=registry,
        dialects=dialects(),
        clock=clock,
        has_events=None,
        on_ledger_error=on_ledger_error,
        prepare_append=(lambda _entries: None) if spool else publisher.prepare,
        spool=spool,
    )
    followers = [asyncio.create_task(registry.follow(), name="pbx registry")]
    try:
        await _learn_ledger(ingestor, ledger)
    except Unavailable as error:
        ingestor.report_ledger_result(error)
        followers.append(asyncio.create_task(_learn_when_there(ingestor, ledger), name="ledger"))
    try:
        yield ingestor
    finally:
        await ingestor.close()
        for follower in followers:
            follower.cancel()
        await asyncio.wait(followers)


async def _learn_ledger(ingestor: Ingestor, ledger: Ledger) -> None:
    has_events = await ledger.has_events()
    ingestor.learn_ledger(has_events=has_events, unregistered_counts=await count_unregistered(ledger))


async def _learn_when_there(ingestor: Ingestor, ledger: Ledger) -> None:
    while True:
        await asyncio.sleep(RETRY_SECONDS)
        try:
            await _learn_ledger(ingestor, ledger)
        except OnhookError as error:
            ingestor.report_ledger_result(error)
            continue
        return


@asynccontextmanager
async def open_ingestor(config: Config) -> AsyncIterator[Ingestor]:
    """Yield an ingestor for a command that imports events, also while a server runs."""
    async with AsyncExitStack() as stack:
        appdb = await stack.enter_async_context(ENGINES.open_appdb(config))
        ledger = await open_checked_ledger(config, appdb, ENGINES)
        stack.push_async_callback(ledger.close)
        ingestor = create_ingestor(appdb=appdb, ledger=ledger, clock=SystemClock())
        stack.push_async_callback(ingestor.close)
        yield ingestor
