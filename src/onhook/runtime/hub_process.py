"""The process that does the rest: reads the ledger, fills the store, serves the pages and the API."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_facts import SettingsFacts
from onhook.config import Address, Config
from onhook.console.actions import ConsoleActions
from onhook.console.app import console_app
from onhook.console.queries.destinations import DeliveryActions
from onhook.delivery.destinations.registry import all_sinks
from onhook.delivery.dispatcher import DeliveryDispatcher, send_test_by_name
from onhook.delivery.issues import Issue
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from onhook.ledger.contract import Ledger
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.ops.quarantine_retry import Rereading
from onhook.ops.rebuild import adopt_rebuilt
from onhook.ops.retention import Retention
from onhook.ops.rollup_job import sum_up_for_ever
from onhook.ops.silence_monitor import SilenceWatch
from onhook.pbx.registry import all_dialects
from onhook.projector import Projector
from onhook.runtime.adapters.actions import Acting
from onhook.runtime.adapters.call_lookup import StoreCalls
from onhook.runtime.adapters.ingest import door_of
from onhook.runtime.adapters.webhooks import AppWebhooks
from onhook.runtime.child import Opened, run_child
from onhook.runtime.engines import store_at
from onhook.runtime.http_server import serving
from onhook.runtime.pbx_api_service import ExchangeKeeper
from onhook.store.contract import Store
from onhook.store.position_notifier import PositionNotifier
from onhook.sync.ami_connections import ConnectionManager
from onhook.sync.asterisk_sync import AsteriskBook
from onhook.sync.pbx_sync_manager import Care, House


@asynccontextmanager
async def open_hub(config: Config, clock: Clock) -> AsyncIterator[Opened]:
    """The hub, at work. Raises `OnhookError` where it cannot."""
    settings = AppDb(config.settings_file)
    ledger = SqliteLedger(config.ledger_file)
    await adopt_rebuilt(config, settings, clock)
    # What a hub that died was about to read late.
    settings.subscriptions.let_go()
    store = await store_at(config.store_file)
    projector = _projector(ledger, store, settings)
    feed = PositionNotifier()
    sending = AppDb(config.settings_file)
    courier = _courier(config, DeliveryDeps(reading=RecordReader(store, feed), settings=sending, clock=clock))
    acting = Acting(config, settings, clock)
    caring = AppDb(config.settings_file)
    accept = door_of(settings=caring, ledger=ledger, clock=clock)
    silence = SilenceWatch(settings=caring, store=store, clock=clock)
    settings.asterisks.begin()
    retention = Retention(config=config, settings=caring, ledger=ledger, projector=projector, clock=clock)
    care = Care(House(data=config.data, settings=caring, store=store, clock=clock, accept=accept))
    outgoing = ConnectionManager(book=AsteriskBook(caring, clock, care.is_heard_again), accept=accept, clock=clock)
    app = console_app(
        store=store,
        ledger=ledger,
        settings=settings,
        clock=clock,
        config=config,
        feed=feed,
        read_again=Rereading(projector, settings, clock).read_again,
        sending=DeliveryActions(
            try_out=partial(send_test_by_name, settings, all_sinks(config), clock), figures=lambda: courier.figures
        ),
        acts=ConsoleActions(try_intake=acting.try_intake, examine=acting.examine, show_made_up=acting.show_made_up),
    )
    try:
        async with serving(app, config.console) as served:
            projecting = asyncio.create_task(projector.run(feed.announce), name="projector")
            summing = asyncio.create_task(sum_up_for_ever(store), name="summing")
            carrying = asyncio.create_task(courier.run(), name="courier")
            looking_after = asyncio.create_task(care.run(), name="care")
            listening = asyncio.create_task(silence.run(), name="silence")
            hearing = asyncio.create_task(outgoing.run(), name="outgoing")
            forgetting = asyncio.create_task(retention.run(), name="retention")
            exchange = _exchange(config, settings, store, feed, clock)
            await exchange.begin()
            keeping = asyncio.create_task(exchange.keep(), name="exchange")
            running = [forgetting, hearing, keeping, looking_after, listening, projecting, summing, carrying]
            try:
                yield Opened(
                    str(Address(config.console.host, served.port)), (*running, served.task), exchange.whereabouts
                )
            finally:
                feed.close()
                for task in running:
                    task.cancel()
                await asyncio.wait(running)
                await exchange.close()
                await accept.close()
    finally:
        await acting.close()
        caring.close()
        sending.close()
        await store.close()
        await ledger.close()
        settings.close()


def _courier(config: Config, means: DeliveryDeps) -> DeliveryDispatcher:
    return DeliveryDispatcher(
        means=means, sinks=all_sinks(config), tell_trouble=_tell_sending_trouble, tell_plight=_tell_plight
    )


def _projector(ledger: Ledger, store: Store, settings: AppDb) -> Projector:
    return Projector(
        ledger=ledger,
        store=store,
        dialects=all_dialects(),
        facts_of=SettingsFacts(settings),
        tell_trouble=_tell_trouble,
    )


def _exchange(config: Config, settings: AppDb, store: Store, feed: PositionNotifier, clock: Clock) -> ExchangeKeeper:
    calls, webhooks = StoreCalls(store, feed, settings, config), AppWebhooks(settings, all_sinks(config), clock)
    return ExchangeKeeper(config, settings, calls, clock, webhooks)


def _tell_trouble(error: OnhookError | None) -> None:
    log = logging.getLogger("projector")
    if error is None:
        log.info("calls are being put into the store again")
    else:
        log.error("calls cannot be put into the store now: they wait in the ledger", extra={"error": str(error)})


def _tell_sending_trouble(name: str, error: Exception | None) -> None:
    log = logging.getLogger("courier")
    if error is None:
        log.info("a subscription is served again", extra={"subscription": name})
    else:
        log.error("a subscription cannot be served now", extra={"subscription": name, "error": str(error)})


def _tell_plight(plight: Issue, has_begun: bool) -> None:
    log = logging.getLogger("courier")
    told = {"subscription": plight.name, "kind": plight.kind}
    if has_begun:
        log.warning("a subscription needs a person", extra={**told, "what": plight.what, "todo": plight.todo})
    else:
        log.info("a subscription is out of its plight", extra=told)


if __name__ == "__main__":
    # The console's structured log goes the way of all other lines.
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    sys.exit(run_child("hub", open_hub))
