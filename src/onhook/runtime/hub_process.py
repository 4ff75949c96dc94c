"""The process that does the rest: reads the ledger, fills the store, serves the pages and the API."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import structlog

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.config import Address, Config
from onhook.console.actions import ConsoleActions
from onhook.console.app import console_app
from onhook.console.queries.destinations import DeliveryActions
from onhook.delivery.destinations.registry import destination_kinds
from onhook.delivery.dispatcher import DeliveryDispatcher, send_test_by_name
from onhook.delivery.issues import Issue
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from onhook.ledger.contract import Ledger
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.ops.quarantine_retry import QuarantineRetrier
from onhook.ops.rebuild import install_rebuilt_store
from onhook.ops.retention import Retention
from onhook.ops.rollup_job import run_summary_job
from onhook.ops.silence_monitor import SilenceMonitor
from onhook.pbx.registry import dialects
from onhook.projector import Projector
from onhook.runtime.adapters.actions import ConsoleActionRunner
from onhook.runtime.adapters.call_lookup import StoreCallSource
from onhook.runtime.adapters.ingest import create_ingestor
from onhook.runtime.adapters.webhooks import DestinationWebhookStore
from onhook.runtime.child import RunningService, run_child
from onhook.runtime.engines import open_store_file
from onhook.runtime.http_server import run_server
from onhook.runtime.pbx_api_service import PbxApiManager
from onhook.store.contract import Store
from onhook.store.position_notifier import PositionNotifier
from onhook.sync.ami_connections import ConnectionManager
from onhook.sync.asterisk_sync import AsteriskConnectionState
from onhook.sync.pbx_sync_manager import PbxSyncManager, SyncDeps


@asynccontextmanager
async def open_hub(config: Config, clock: Clock) -> AsyncIterator[RunningService]:
    """The hub, at work. Raises `OnhookError` where it cannot."""
    appdb = AppDb(config.settings_file)
    ledger = SqliteLedger(config.ledger_file)
    await install_rebuilt_store(config, appdb, clock)
    # What a hub that died was about to read late.
    appdb.subscriptions.let_go()
    store = await open_store_file(config.store_file)
    projector = _create_projector(ledger, store, appdb)
    position_notifier = PositionNotifier()
    delivery_appdb = AppDb(config.settings_file)
    delivery_deps = DeliveryDeps(reading=RecordReader(store, position_notifier), settings=delivery_appdb, clock=clock)
    dispatcher = _create_dispatcher(config, delivery_deps)
    actions = ConsoleActionRunner(config, appdb, clock)
    sync_appdb = AppDb(config.settings_file)
    ingestor = create_ingestor(settings=sync_appdb, ledger=ledger, clock=clock)
    silence_monitor = SilenceMonitor(settings=sync_appdb, store=store, clock=clock)
    appdb.asterisks.begin()
    retention = Retention(config=config, settings=sync_appdb, ledger=ledger, projector=projector, clock=clock)
    sync_deps = SyncDeps(data=config.data, settings=sync_appdb, store=store, clock=clock, accept=ingestor)
    sync_manager = PbxSyncManager(sync_deps)
    connection_manager = ConnectionManager(
        book=AsteriskConnectionState(sync_appdb, clock, sync_manager.is_heard_again), accept=ingestor, clock=clock
    )
    app = console_app(
        store=store,
        ledger=ledger,
        settings=appdb,
        clock=clock,
        config=config,
        feed=position_notifier,
        read_again=QuarantineRetrier(projector, appdb, clock).read_again,
        sending=_create_delivery_actions(config, appdb, dispatcher, clock),
        acts=ConsoleActions(try_intake=actions.try_intake, examine=actions.examine, show_made_up=actions.show_made_up),
    )
    try:
        async with run_server(app, config.console) as http_server:
            pbx_api = _create_pbx_api(config, appdb, store, position_notifier, clock)
            await pbx_api.begin()
            services = {
                "projector": projector.run(position_notifier.announce),
                "summing": run_summary_job(store),
                "courier": dispatcher.run(),
                "care": sync_manager.run(),
                "silence": silence_monitor.run(),
                "outgoing": connection_manager.run(),
                "retention": retention.run(),
                "exchange": pbx_api.keep(),
            }
            tasks = [asyncio.create_task(service, name=name) for name, service in services.items()]
            try:
                yield RunningService(
                    str(Address(config.console.host, http_server.port)), (*tasks, http_server.task), pbx_api.whereabouts
                )
            finally:
                position_notifier.close()
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks)
                await pbx_api.close()
                await ingestor.close()
    finally:
        await actions.close()
        sync_appdb.close()
        delivery_appdb.close()
        await store.close()
        await ledger.close()
        appdb.close()


def _create_delivery_actions(
    config: Config, appdb: AppDb, dispatcher: DeliveryDispatcher, clock: Clock
) -> DeliveryActions:
    return DeliveryActions(
        try_out=partial(send_test_by_name, appdb, destination_kinds(config), clock),
        figures=lambda: dispatcher.figures,
    )


def _create_dispatcher(config: Config, means: DeliveryDeps) -> DeliveryDispatcher:
    return DeliveryDispatcher(
        means=means, sinks=destination_kinds(config), tell_trouble=_log_delivery_error, tell_plight=_log_issue
    )


def _create_projector(ledger: Ledger, store: Store, settings: AppDb) -> Projector:
    return Projector(
        ledger=ledger,
        store=store,
        dialects=dialects(),
        facts_of=AppDbPbxFacts(settings),
        tell_trouble=_log_projector_error,
    )


def _create_pbx_api(
    config: Config, settings: AppDb, store: Store, feed: PositionNotifier, clock: Clock
) -> PbxApiManager:
    calls, webhooks = (
        StoreCallSource(store, feed, settings, config),
        DestinationWebhookStore(settings, destination_kinds(config), clock),
    )
    return PbxApiManager(config, settings, calls, clock, webhooks)


def _log_projector_error(error: OnhookError | None) -> None:
    log = logging.getLogger("projector")
    if error is None:
        log.info("calls are being put into the store again")
    else:
        log.error("calls cannot be put into the store now: they wait in the ledger", extra={"error": str(error)})


def _log_delivery_error(name: str, error: Exception | None) -> None:
    log = logging.getLogger("courier")
    if error is None:
        log.info("a subscription is served again", extra={"subscription": name})
    else:
        log.error("a subscription cannot be served now", extra={"subscription": name, "error": str(error)})


def _log_issue(plight: Issue, has_begun: bool) -> None:
    log = logging.getLogger("courier")
    extra = {"subscription": plight.name, "kind": plight.kind}
    if has_begun:
        log.warning("a subscription needs a person", extra={**extra, "what": plight.what, "todo": plight.todo})
    else:
        log.info("a subscription is out of its plight", extra=extra)


if __name__ == "__main__":
    # The console's structured log goes the way of all other lines.
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    sys.exit(run_child("hub", open_hub))
