"""Process of the hub: fills the store from the ledger, delivers, synchronises, serves the console and the APIs."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import msgspec
from litestar import Litestar

from onhook.appdb.appdb import AppDb
from onhook.appdb.leases import LeaseHolder
from onhook.cdr.utc_offset import get_zone
from onhook.config import Address, Config
from onhook.console.actions import ConsoleActions, DeliveryActions, ErasureActions
from onhook.console.app import console_app, create_app_state
from onhook.console.report_mails.mails import build_report_mails
from onhook.console.state import AppState
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.dispatcher import DeliveryDispatcher, send_test_by_name
from onhook.delivery.issues import Issue
from onhook.delivery.mail_sender import MailSender, send_test_mail
from onhook.delivery.preview import preview_notification
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from onhook.ledger.contract import Ledger
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.languages import use_language
from onhook.lib.leased_work import LeasedWork
from onhook.lib.proxies import TrustedProxies
from onhook.ops.alert_job import AlertJob
from onhook.ops.call_time_monitor import CallTimeMonitor
from onhook.ops.cluster_ledger import FILE_LEDGER_LEASE, open_checked_ledger
from onhook.ops.cluster_move import check_moved
from onhook.ops.event_deletion import report_positions, store_name
from onhook.ops.issue_mailer import IssueMailer
from onhook.ops.issue_monitor import IssueMonitor
from onhook.ops.leg_gatherer import LegGatherer
from onhook.ops.log_retention import LogRetention
from onhook.ops.mail_job import MailJob
from onhook.ops.name_learner import NameLearner
from onhook.ops.node_report import report_node
from onhook.ops.number_erasure import NumberEraser
from onhook.ops.quarantine_retry import QuarantineRetrier, release_left_replays
from onhook.ops.rebuild import discard_absent_store, install_rebuilt_store, order_rebuild
from onhook.ops.report_job import ReportJob
from onhook.ops.retention import Retention
from onhook.ops.rollup_job import run_rollup_job
from onhook.ops.serial_number_joiner import SerialNumberJoiner
from onhook.ops.silence_monitor import SilenceMonitor
from onhook.pbx.registry import dialects
from onhook.pbx_api.frame_masks import FloodCounter
from onhook.projector.projector import Projector
from onhook.receiver.ingest import Ingestor
from onhook.runtime.adapters.actions import ConsoleActionRunner
from onhook.runtime.adapters.call_lookup import StoreCallSource
from onhook.runtime.adapters.erasure import create_eraser
from onhook.runtime.adapters.ingest import create_ingestor, create_publisher
from onhook.runtime.adapters.live_queues import HubQueues
from onhook.runtime.adapters.node import ensure_admin_token, holding_node_name
from onhook.runtime.adapters.pbx_gateway import SyncPbxGateway
from onhook.runtime.adapters.webhooks import DestinationWebhookStore
from onhook.runtime.child import RunningService, run_child
from onhook.runtime.engines import ENGINES, open_sql_runner, open_store_file
from onhook.runtime.http_server import HttpServer
from onhook.runtime.pbx_api_service import PbxApiManager
from onhook.runtime.rebuild_mode import open_rebuild_mode, restart_when_damaged
from onhook.runtime.rebuild_process import rebuild_in_process, rebuild_when_outdated, run_rebuild_process
from onhook.runtime.services import Service, running
from onhook.store.contract import Store, StoreUnusable
from onhook.store.position_notifier import PositionNotifier
from onhook.store.sql.contract import SqlRunner
from onhook.sync.ami_connections import ConnectionManager, LiveQueues
from onhook.sync.asterisk_sync import AsteriskConnectionState
from onhook.sync.event_sockets import EventSocketState
from onhook.sync.file_sweeps import FileSweepManager
from onhook.sync.pbx_sync_manager import PbxSyncManager, SyncDeps


class HubResources(msgspec.Struct, frozen=True, kw_only=True):
    """Files and shared objects of the hub's services."""

    config: Config
    clock: Clock
    appdb: AppDb
    ledger: Ledger
    store: Store
    sql_runner: SqlRunner
    position_notifier: PositionNotifier
    leases: LeaseHolder
    publisher: FactsPublisher
    live_queues: LiveQueues
    hub_queues: HubQueues
    lowered_stream_count: int
    """Streams of destinations that were past the end of the ledger."""


@asynccontextmanager
async def open_hub(config: Config, clock: Clock) -> AsyncIterator[RunningService]:
    """Run the hub while the context is open: services start in order, and stop in reverse. A store that cannot be used
    is rebuilt first. Raises `OnhookError`.
    """
    async with AsyncExitStack() as stack:
        try:
            resources = await _open_resources(stack, config, clock)
        except StoreUnusable as error:
            yield await stack.enter_async_context(open_rebuild_mode(config, error))
            return
        projector, dispatcher = _create_projector(resources), _create_dispatcher(resources)
        eraser = create_eraser(
            config,
            appdb=resources.appdb,
            ledger=resources.ledger,
            store=resources.store,
            projector=projector,
            clock=clock,
            rebuild_store=partial(rebuild_in_process, config),
        )
        # Closed after the web server, whose last requests may still use it.
        action_runner = ConsoleActionRunner(config, resources.appdb, clock)
        stack.push_async_callback(action_runner.close)
        flood_counter = FloodCounter()
        app = _create_console(
            resources, action_runner, projector, dispatcher, flood_counter=flood_counter, eraser=eraser
        )
        trusted_proxies = TrustedProxies(config.trusted_proxy_networks)
        console = await stack.enter_async_context(HttpServer(app, config.console, trusted_proxies))
        ingestor = create_ingestor(
            appdb=resources.appdb, ledger=resources.ledger, clock=clock, publisher=resources.publisher
        )
        stack.push_async_callback(ingestor.close)
        sync_manager = _create_sync_manager(resources, ingestor)
        pbx_api = _create_pbx_api(resources, sync_manager, flood_counter)
        stack.push_async_callback(pbx_api.close)
        await pbx_api.start()
        services = (
            Service("console", console.run),
            Service("projector", partial(projector.run, resources.position_notifier.announce)),
            Service("store", partial(restart_when_damaged, resources.store)),
            Service("rebuild", partial(rebuild_when_outdated, config, projector, run_rebuild_process)),
            *_create_store_services(resources),
            Service("rollups", partial(run_rollup_job, resources.store, resources.position_notifier)),
            Service("dispatcher", dispatcher.run),
            *_create_sync_services(resources, ingestor, sync_manager),
            *_create_maintenance_services(resources, projector, eraser),
            _create_report_service(resources, app.state.app_state),
            Service("pbx_api", pbx_api.run),
        )
        await stack.enter_async_context(running(*services))
        # First of all at a stop: waiting readers end, and queries of users.
        stack.callback(resources.position_notifier.close)
        stack.push_async_callback(resources.sql_runner.close)
        yield RunningService(str(Address(config.console.host, console.port)), pbx_api=pbx_api.listen_address)


async def _open_resources(stack: AsyncExitStack, config: Config, clock: Clock) -> HubResources:
    appdb = await stack.enter_async_context(ENGINES.open_appdb(config))
    leases = await _open_leases(stack, config, appdb, clock)
    if config.appdb:
        # `serve` could not, where the database did not answer it.
        await check_moved(config, appdb)
        await ensure_admin_token(config, appdb, clock)
    ledger = await open_checked_ledger(config, appdb, ENGINES)
    stack.push_async_callback(ledger.close)
    await discard_absent_store(config, appdb, clock, ENGINES)
    await install_rebuilt_store(config, appdb, clock, ENGINES)
    lowered_stream_count = await _lower_cursors(appdb, ledger)
    for row in await appdb.list_unreadable():
        logging.getLogger("appdb").error(
            "a stored row cannot be read and is disabled",
            extra={"table": row.table, "row": row.name, "reason": row.reason},
        )
    # Before the projector: what was changed while no hub ran comes before the events that it finds.
    publisher = create_publisher(appdb=appdb, ledger=ledger, clock=clock)
    try:
        await publisher.publish()
    except OnhookError as error:
        logging.getLogger("hub").error("cannot publish changes of PBXs yet", extra={"error": str(error)})
    store = await open_store_file(config.store_file)
    stack.push_async_callback(store.close)
    live_queues = LiveQueues()
    return HubResources(
        config=config,
        clock=clock,
        appdb=appdb,
        ledger=ledger,
        store=store,
        sql_runner=await stack.enter_async_context(open_sql_runner(config, clock)),
        position_notifier=PositionNotifier(),
        leases=leases,
        publisher=publisher,
        live_queues=live_queues,
        hub_queues=HubQueues(live_queues, appdb, clock, config.node_name),
        lowered_stream_count=lowered_stream_count,
    )


async def _open_leases(stack: AsyncExitStack, config: Config, appdb: AppDb, clock: Clock) -> LeaseHolder:
    """Return the leases of this process, renewed until the stack is closed. Raises `Unavailable` for a hub beside
    another one, which must change nothing: the numbers of its ledger mean other events.
    """
    leases = LeaseHolder(appdb.leases, clock)
    services = [Service("leases", leases.run)]
    if config.node_name:
        node_leases, lost = await stack.enter_async_context(holding_node_name(config, appdb, clock))
        services += [Service("node", node_leases.run), Service("node_name", partial(_stop_when_set, lost))]
        services.append(Service("node_state", partial(report_node, config, appdb, clock, "hub", leases.owner)))
    if config.appdb and not config.ledger:
        lost = await stack.enter_async_context(leases.holding(FILE_LEDGER_LEASE))
        services.append(Service("ledger_lease", partial(_stop_when_set, lost)))
    elif not config.appdb:
        # There is one hub at a time with these files: another owner has died.
        await appdb.leases.release_all()
    await stack.enter_async_context(running(*services))
    return leases


async def _stop_when_set(lost: asyncio.Event) -> None:
    """Stop this process once another hub has its lease, as after it stood still."""
    await lost.wait()
    logging.getLogger("hub").error("another hub has the place of this one: stopping")
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()


async def _lower_cursors(appdb: AppDb, ledger: Ledger) -> int:
    """Lower cursors that are past the end of another ledger than theirs: its next events would not be sent. Return the
    number of streams.
    """
    last_seq = await ledger.last_seq()
    stream_count = await appdb.destinations.lower_cursors(last_seq)
    if stream_count:
        logging.getLogger("delivery").error(
            "destinations were past the end of the ledger, which was replaced by another one: they go on at its end",
            extra={"streams": stream_count, "last_seq": last_seq, "hint": "`onhook destination replay` sends again"},
        )
    return stream_count


def _create_sync_manager(resources: HubResources, ingestor: Ingestor) -> PbxSyncManager:
    return PbxSyncManager(
        SyncDeps(
            appdb=resources.appdb,
            store=resources.store,
            clock=resources.clock,
            ingestor=ingestor,
            run_leased=resources.leases.run_leased,
        )
    )


def _create_store_services(resources: HubResources) -> tuple[Service, ...]:
    """Return what reports how far this store is, where another hub may delete the raw events, and the callers in queues
    whose PBX another hub is not connected to.
    """
    if not resources.config.ledger:
        return ()
    name = store_name(resources.config)
    return (
        Service("position", partial(report_positions, resources.appdb, resources.store, resources.clock, name)),
        Service("live_queues", resources.hub_queues.share),
    )


def _create_sync_services(
    resources: HubResources, ingestor: Ingestor, sync_manager: PbxSyncManager
) -> tuple[Service, ...]:
    """Return the services that receive from PBXs over connections that Onhook opens, and from files."""
    appdb, clock = resources.appdb, resources.clock
    connection_state = AsteriskConnectionState(appdb, clock, sync_manager.on_reconnected)
    connection_manager = ConnectionManager(
        state=connection_state,
        ingestor=ingestor,
        clock=clock,
        run_leased=resources.leases.run_leased,
        live_queues=resources.live_queues,
    )
    event_sockets = ConnectionManager(
        state=EventSocketState(appdb, clock), ingestor=ingestor, clock=clock, run_leased=resources.leases.run_leased
    )
    file_sweeps = FileSweepManager(
        appdb=appdb,
        ingestor=ingestor,
        clock=clock,
        read_last_seq=resources.ledger.last_seq,
        run_leased=resources.leases.run_leased,
    )
    return (
        Service("pbx_sync", sync_manager.run),
        Service("ami_connections", connection_manager.run),
        Service("event_sockets", event_sockets.run),
        Service("files", file_sweeps.run),
    )


def _create_maintenance_services(
    resources: HubResources, projector: Projector, eraser: NumberEraser
) -> tuple[Service, ...]:
    """Return the services that make calls of legs, watch for silent PBXs, wrong clocks and issues, join histories,
    learn names, send mails, delete expired calls and attempts, and finish erasures.
    """
    appdb, clock = resources.appdb, resources.clock
    zone, language = get_zone(resources.config.zone), resources.config.language
    silence_monitor = SilenceMonitor(appdb=appdb, store=resources.store, clock=clock, zone=zone)
    retention = Retention(
        config=resources.config,
        appdb=appdb,
        ledger=resources.ledger,
        store=resources.store,
        projector=projector,
        clock=clock,
    )
    joiner = SerialNumberJoiner(
        appdb=appdb,
        ledger=resources.ledger,
        store=resources.store,
        publisher=resources.publisher,
        projector=projector,
        retrier=QuarantineRetrier(projector, appdb, clock),
    )
    call_time_monitor = CallTimeMonitor(appdb=appdb, store=resources.store, clock=clock)
    issue_monitor = IssueMonitor(
        config=resources.config,
        appdb=appdb,
        store=resources.store,
        ledger=resources.ledger,
        clock=clock,
        lowered_stream_count=resources.lowered_stream_count,
    )
    leg_gatherer = LegGatherer(appdb=appdb, ledger=resources.ledger, dialects=dialects(), clock=clock)
    name_learner = NameLearner(appdb=appdb, store=resources.store, position_notifier=resources.position_notifier)
    jobs: Mapping[str, LeasedWork] = {
        "legs": leg_gatherer.run,
        "directory": name_learner.run,
        "serial_numbers": joiner.run,
        "silence": silence_monitor.run,
        "call_times": call_time_monitor.run,
        "issues": issue_monitor.run,
        "replays": partial(release_left_replays, appdb, clock),
        "retention": retention.run,
        "erasure": eraser.run,
        "issue_mails": partial(_run_in_language, language, IssueMailer(appdb, clock, zone).run),
        "alerts": partial(_run_in_language, language, AlertJob(appdb, clock, zone).run),
        "mail": MailJob(appdb, MailSender(resources.config, appdb), clock).run,
        "destination_log": LogRetention(appdb, clock, log_days=resources.config.log_days).run,
    }
    run_leased = resources.leases.run_leased
    return tuple(Service(name, partial(run_leased, f"job:{name}", run)) for name, run in jobs.items())


async def _run_in_language(code: str, run: LeasedWork) -> None:
    """Run a job that writes texts for people who have perhaps chosen no language."""
    with use_language(code):
        await run()


def _create_report_service(resources: HubResources, app_state: AppState) -> Service:
    """Return the service that runs scheduled reports, which are what the console shows to their users."""
    job = ReportJob(resources.appdb, partial(build_report_mails, app_state), resources.clock)
    run = partial(_run_in_language, resources.config.language, job.run)
    return Service("reports", partial(resources.leases.run_leased, "job:reports", run))


def _create_console(
    resources: HubResources,
    action_runner: ConsoleActionRunner,
    projector: Projector,
    dispatcher: DeliveryDispatcher,
    *,
    flood_counter: FloodCounter,
    eraser: NumberEraser,
) -> Litestar:
    app_state = create_app_state(
        store=resources.store,
        sql_runner=resources.sql_runner,
        ledger=resources.ledger,
        appdb=resources.appdb,
        clock=resources.clock,
        config=resources.config,
        position_notifier=resources.position_notifier,
        retry_parsing=QuarantineRetrier(projector, resources.appdb, resources.clock).retry,
        delivery_actions=_create_delivery_actions(resources, dispatcher),
        erasure=ErasureActions(preview=eraser.preview, erase=eraser.erase, list_erasures=eraser.list_erasures),
        actions=ConsoleActions(
            send_test_event=action_runner.send_test_event,
            run_pbx_checks=action_runner.run_pbx_checks,
            start_simulated_pbx=action_runner.start_simulated_pbx,
            fetch_certificate=action_runner.fetch_certificate,
            rebuild=partial(order_rebuild, resources.config, resources.publisher, projector, ENGINES),
            restrict_permissions=action_runner.restrict_permissions,
            send_test_mail=partial(send_test_mail, resources.config, resources.appdb, resources.clock),
        ),
        count_flooding_sockets=lambda: flood_counter.count,
        read_live_queues=resources.hub_queues.read,
    )
    return console_app(app_state)


def _create_delivery_actions(resources: HubResources, dispatcher: DeliveryDispatcher) -> DeliveryActions:
    open_destination = destination_opener(resources.config)
    return DeliveryActions(
        send_test=partial(
            send_test_by_name,
            resources.appdb,
            open_destination,
            resources.clock,
            log_days=resources.config.log_days,
        ),
        preview=partial(preview_notification, resources.appdb, resources.store, open_destination),
        delivery_metrics=lambda: dispatcher.metrics,
    )


def _create_dispatcher(resources: HubResources) -> DeliveryDispatcher:
    return DeliveryDispatcher(
        deps=DeliveryDeps(
            record_reader=RecordReader(resources.store, resources.position_notifier),
            appdb=resources.appdb,
            clock=resources.clock,
            run_leased=resources.leases.run_leased,
            read_ledger_end=resources.ledger.last_seq,
            read_control_entries=resources.ledger.control_entries,
            log_days=resources.config.log_days,
        ),
        open_destination=destination_opener(resources.config),
        on_error=_log_delivery_error,
        on_issue=_log_issue,
    )


def _create_projector(resources: HubResources) -> Projector:
    return Projector(
        ledger=resources.ledger,
        store=resources.store,
        dialects=dialects(),
        clock=resources.clock,
        on_erased=resources.sql_runner.forget_copy,
    )


def _create_pbx_api(
    resources: HubResources, sync_manager: PbxSyncManager, flood_counter: FloodCounter
) -> PbxApiManager:
    config, appdb = resources.config, resources.appdb
    calls = StoreCallSource(resources.store, resources.position_notifier, appdb, config)
    webhooks = DestinationWebhookStore(config, appdb, destination_opener(config), resources.clock)
    gateway = SyncPbxGateway(sync_manager.find_session, appdb, resources.clock)
    return PbxApiManager(
        config, appdb, calls, resources.clock, webhooks=webhooks, gateway=gateway, on_flood=flood_counter.add
    )


def _log_delivery_error(destination_id: int, name: str, error: Exception | None) -> None:
    log = logging.getLogger("delivery")
    extra: dict[str, object] = {"destination": name, "destination_id": destination_id}
    if error is None:
        log.info("delivery resumed", extra=extra)
    else:
        log.error("delivery failed", extra={**extra, "error": str(error)})


def _log_issue(issue: Issue, has_begun: bool) -> None:
    log = logging.getLogger("delivery")
    extra = {"destination": issue.name, "kind": issue.kind}
    if has_begun:
        log.warning("destination needs attention", extra={**extra, "detail": issue.detail, "hint": issue.hint})
    else:
        log.info("destination issue resolved", extra=extra)


if __name__ == "__main__":
    sys.exit(run_child("hub", open_hub))
