"""Process of the intake: verify, append, commit, answer. It imports nothing that only reading needs."""

import logging
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial

from onhook.appdb.appdb import AppDb
from onhook.appdb.contract import AccessRefused, DamagedDatabase
from onhook.appdb.leases import LeaseHolder
from onhook.config import Address, Config
from onhook.ledger.contract import Ledger
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.ledger.opening import open_ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.leased_work import run_without_lease
from onhook.lib.proxies import TrustedProxies
from onhook.lib.sockets import passed_socket
from onhook.ops.cluster_ledger import check_ledger, check_ledger_setting
from onhook.ops.instance_lock import check_ledger_file, shared_intake_lock
from onhook.ops.node_report import report_node, report_spool
from onhook.pbx.registry import dialects
from onhook.receiver.event_spool import EventSpool
from onhook.receiver.http_server import WebhookServer
from onhook.receiver.line_server import LineServer
from onhook.runtime.adapters.credentials_file import CredentialsFile
from onhook.runtime.adapters.ingest import create_publisher, running_ingestor
from onhook.runtime.adapters.line_endpoints import AppDbLineEndpoints
from onhook.runtime.child import RunningService, parse_listen_fd, run_child
from onhook.runtime.engines import ENGINES
from onhook.runtime.services import Service, running

SPOOL_NAME = "spool.db"
"""Events that the intake has acknowledged and the ledger on NATS lacks."""


@asynccontextmanager
async def open_intake(config: Config, clock: Clock, *, listen_fd: int | None = None) -> AsyncIterator[RunningService]:
    """Yield the listening intake; `listen_fd` is a socket that listens at its address. Raises `OnhookError` where it
    cannot listen.
    """
    with shared_intake_lock(config):
        async with _open_unlocked_intake(config, clock, listen_fd) as service:
            yield service


@asynccontextmanager
async def _open_unlocked_intake(config: Config, clock: Clock, listen_fd: int | None) -> AsyncIterator[RunningService]:
    async with AsyncExitStack() as stack:
        # Opened by its first call, and again until it succeeds: a damaged database is no reason not to listen.
        appdb = ENGINES.open_appdb(config)
        stack.push_async_callback(appdb.close)
        check_ledger_file(config)
        with suppress(AccessRefused, DamagedDatabase, Unavailable):
            await check_ledger_setting(config, appdb)
        ledger = ENGINES.open_ledger(config)
        stack.push_async_callback(ledger.close)
        with suppress(AccessRefused, DamagedDatabase, Unavailable):
            await check_ledger(config, appdb, ledger)
        if await _has_no_pbxs(appdb) and await _has_events(ledger):
            logging.getLogger("intake").error(
                "the settings are lost: the ledger has events and no PBX is registered; answering 503 to every request",
                extra={"hint": "restore onhook.db with `onhook restore`, or add the PBXs again"},
            )
        credentials_file = CredentialsFile(config.credentials_file)
        publisher = create_publisher(appdb=appdb, ledger=ledger, clock=clock)
        spool = await _open_spool(stack, config, ledger, publisher)
        ingestor = await stack.enter_async_context(
            running_ingestor(
                appdb=appdb,
                ledger=ledger,
                clock=clock,
                credentials_file=credentials_file,
                on_ledger_error=_log_ledger_error,
                spool=spool,
                publisher=publisher,
            )
        )
        server = WebhookServer(
            ingestor=ingestor, clock=clock, trusted_proxies=TrustedProxies(config.trusted_proxy_networks)
        )
        port = await server.start(config.intake, None if listen_fd is None else passed_socket(listen_fd))
        stack.push_async_callback(server.stop)
        leases = LeaseHolder(appdb.leases, clock)
        line_server = LineServer(
            source=AppDbLineEndpoints(appdb, credentials_file),
            ingestor=ingestor,
            dialects=dialects(),
            # One machine has one intake.
            run_leased=leases.run_unless_held if config.appdb else run_without_lease,
        )
        services = [Service("leases", leases.run), Service("lines", line_server.run)]
        if config.node_name:
            services.append(Service("node_state", partial(report_node, config, appdb, clock, "intake", leases.owner)))
        if spool is not None:
            services.append(Service("spool", spool.run))
            services.append(Service("spool_report", partial(report_spool, config, appdb, clock, spool.count)))
        await stack.enter_async_context(running(*services))
        yield RunningService(str(Address(config.intake.host, port)))


async def _open_spool(
    stack: AsyncExitStack, config: Config, ledger: Ledger, publisher: FactsPublisher
) -> EventSpool | None:
    """Return the spool where one is set, or has events that an earlier process kept; None without. Raises
    `OnhookError`.
    """
    path = config.data / SPOOL_NAME
    if not config.ledger or (config.on_quorum_loss != "spool" and not path.exists()):
        return None
    spool = EventSpool(
        ledger=ledger,
        path=path,
        open_file=open_ledger,
        prepare_append=publisher.prepare,
        may_grow=config.on_quorum_loss == "spool",
    )
    stack.push_async_callback(spool.close)
    await spool.open()
    return spool


async def _has_events(ledger: Ledger) -> bool:
    """Return whether the ledger has events; False while that is not known, which the ingestor logs."""
    try:
        return await ledger.has_events()
    except Unavailable:
        return False


async def _has_no_pbxs(appdb: AppDb) -> bool:
    """Return whether no PBX is registered; False while that is not known, which the registry logs."""
    try:
        return not await appdb.webhook_credentials()
    except (AccessRefused, DamagedDatabase, Unavailable):
        return False


def _log_ledger_error(error: OnhookError | None) -> None:
    log = logging.getLogger("ledger")
    if error is None:
        log.info("ledger is writable again")
    else:
        log.error("cannot write to the ledger: answering 503", extra={"error": str(error)})


if __name__ == "__main__":
    sys.exit(run_child("intake", partial(open_intake, listen_fd=parse_listen_fd(sys.argv))))
