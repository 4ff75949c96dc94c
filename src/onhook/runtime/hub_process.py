"""The process that does the rest: reads the ledger, fills the store, serves the pages and the API."""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Coroutine
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
from onhook.ops.rollup_job import run_rollup_job
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
    appdb = AppDb(config.appdb_file)
    ledger = SqliteLedger(config.ledger_file)
    await install_rebuilt_store(config, appdb, clock)
    # What a hub that died was about to read late.
    appdb.destinations.release_replays()
    store = await open_store_file(config.store_file)
    projector = _create_projector(ledger, store, appdb)
    position_notifier = PositionNotifier()
    delivery_appdb = AppDb(config.appdb_file)
    record_reader = RecordReader(store, position_notifier)
    dispatcher = _create_dispatcher(
        config, DeliveryDeps(record_reader=record_reader, appdb=delivery_appdb, clock=clock)
    )
    actions = ConsoleActionRunner(config, appdb, clock)
    sync_appdb = AppDb(config.appdb_file)
    ingestor = create_ingestor(appdb=sync_appdb, ledger=ledger, clock=clock)
    silence_monitor = SilenceMonitor(appdb=sync_appdb, store=store, clock=clock)
    appdb.asterisks.reset_connections()
    retention = Retention(config=config, appdb=sync_appdb, ledger=ledger, projector=projector, clock=clock)
    sync_deps = SyncDeps(data=config.data, appdb=sync_appdb, store=store, clock=clock, ingestor=ingestor)
    sync_manager = PbxSyncManager(sync_deps)
    connection_manager = ConnectionManager(
        state=AsteriskConnectionState(sync_appdb, clock, sync_manager.on_reconnected), ingestor=ingestor, clock=clock
    )
    app = console_app(
        store=store,
        ledger=ledger,
        appdb=appdb,
        clock=clock,
        config=config,
        position_notifier=position_notifier,
        retry_parsing=QuarantineRetrier(projector, appdb, clock).retry,
        delivery_actions=_create_delivery_actions(config, appdb, dispatcher, clock),
        actions=_get_console_actions(actions),
    )
    try:
        async with run_server(app, config.console) as http_server:
            pbx_api = _create_pbx_api(config, appdb, store, position_notifier, clock)
            await pbx_api.start()
            tasks = _start_services(
                projector=projector.run(position_notifier.announce),
                rollups=run_rollup_job(store),
                dispatcher=dispatcher.run(),
                pbx_sync=sync_manager.run(),
                silence=silence_monitor.run(),
                ami_connections=connection_manager.run(),
                retention=retention.run(),
                pbx_api=pbx_api.run(),
            )
            try:
                yield RunningService(
                    str(Address(config.console.host, http_server.port)),
                    (*tasks, http_server.task),
                    pbx_api.listen_address,
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


def _get_console_actions(runner: ConsoleActionRunner) -> ConsoleActions:
    """Return the actions that the console offers for PBXs."""
    return ConsoleActions(
        send_test_event=runner.send_test_event,
        run_pbx_checks=runner.run_pbx_checks,
        start_simulated_pbx=runner.start_simulated_pbx,
    )


def _start_services(**services: Coroutine[object, object, None]) -> list[asyncio.Task[None]]:
    """Start a task for each service, named for it."""
    return [asyncio.create_task(service, name=name) for name, service in services.items()]


def _create_delivery_actions(
    config: Config, appdb: AppDb, dispatcher: DeliveryDispatcher, clock: Clock
) -> DeliveryActions:
    return DeliveryActions(
        send_test=partial(send_test_by_name, appdb, destination_kinds(config), clock),
        delivery_metrics=lambda: dispatcher.metrics,
    )


def _create_dispatcher(config: Config, deps: DeliveryDeps) -> DeliveryDispatcher:
    return DeliveryDispatcher(
        deps=deps, destination_kinds=destination_kinds(config), on_error=_log_delivery_error, on_issue=_log_issue
    )


def _create_projector(ledger: Ledger, store: Store, appdb: AppDb) -> Projector:
    return Projector(
        ledger=ledger,
        store=store,
        dialects=dialects(),
        get_facts=AppDbPbxFacts(appdb),
        on_error=_log_projector_error,
    )


def _create_pbx_api(
    config: Config, appdb: AppDb, store: Store, position_notifier: PositionNotifier, clock: Clock
) -> PbxApiManager:
    calls, webhooks = (
        StoreCallSource(store, position_notifier, appdb, config),
        DestinationWebhookStore(appdb, destination_kinds(config), clock),
    )
    return PbxApiManager(config, appdb, calls, clock, webhooks)


def _log_projector_error(error: OnhookError | None) -> None:
    log = logging.getLogger("projector")
    if error is None:
        log.info("projection resumed")
    else:
        log.error("cannot write to the store: raw events wait in the ledger", extra={"error": str(error)})


def _log_delivery_error(name: str, error: Exception | None) -> None:
    log = logging.getLogger("delivery")
    if error is None:
        log.info("destination delivery resumed", extra={"destination": name})
    else:
        log.error("destination delivery failed", extra={"destination": name, "error": str(error)})


def _log_issue(issue: Issue, has_begun: bool) -> None:
    log = logging.getLogger("delivery")
    extra = {"destination": issue.name, "kind": issue.kind}
    if has_begun:
        log.warning("destination needs attention", extra={**extra, "detail": issue.detail, "hint": issue.hint})
    else:
        log.info("destination issue resolved", extra=extra)


if __name__ == "__main__":
    # The console's structured log goes the way of all other lines.
    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, structlog.stdlib.render_to_log_kwargs],
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    sys.exit(run_child("hub", open_hub))
