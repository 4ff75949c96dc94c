"""Manager of the syncs: runs each PBX in tasks of its own, and restarts it when its settings change.

Invariants: an error of one PBX affects no other one. A change of the settings takes effect within a second, or as soon
as the syncs that it ends have stopped: closing a push channel and revoking the tokens of a PBX that does not respond
takes some seconds. The syncs that continue are not delayed.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.cdr_sources import CdrSource
from onhook.appdb.pbx_credentials import PbxCredentials
from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import LINE_DIALECTS
from onhook.cdr.utc_offset import get_zone
from onhook.lib.change_watcher import ChangeWatcher, appdb_failure_log
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.leased_work import RunLeased, run_without_lease
from onhook.lib.task_reconciler import TaskReconciler, raise_if_cancelled
from onhook.pbx.client import ClientCredentials
from onhook.pbx.registry import call_list_clients, dialects, pbx_clients
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.store.contract import Store
from onhook.sync.api_backfill import ApiBackfill
from onhook.sync.appdb_state import AppDbSyncState, AppDbTokenStore
from onhook.sync.call_list_reader import CallListReader
from onhook.sync.call_lookup import StoreCallLookup
from onhook.sync.cdr_sources import create_cdr_sync, expand_rotated_files
from onhook.sync.line_matching import LineMatcher
from onhook.sync.list_backfill import ListBackfill
from onhook.sync.name_reader import NameReader
from onhook.sync.page_ingest import PageIngestor
from onhook.sync.pbx_session import PbxEndpoint, PbxSession
from onhook.sync.pbx_sync import PbxSync
from onhook.sync.push_channel import PushReceiver

POLL_SECONDS = 0.5
"""Time between two checks of the settings while the application database changes all the time."""

CHECK_SECONDS = 30.0
"""Time after which the settings are checked without a notification of a change."""

RESTART_SECONDS = 10.0
"""Wait before a sync that failed with an internal error is restarted."""

ApiSyncSpec = tuple[str, str, float, PbxCredentials]
"""Serial number, dialect, time of registration (Unix seconds) and credentials; a change restarts the sync."""


class CdrSourceSyncSpec(msgspec.Struct, frozen=True):
    """A PBX with an AMI connection and a CDR source."""

    sn: str
    source: CdrSource


class ListSyncSpec(msgspec.Struct, frozen=True):
    """A PBX with a list of calls; a change restarts the sync. `registered_at` is in Unix seconds. With
    `prefers_reports` its lines make no calls.
    """

    sn: str
    dialect: str
    registered_at: float
    credentials: PbxCredentials
    zone: str | None
    prefers_reports: bool = False


SyncSpec = ApiSyncSpec | CdrSourceSyncSpec | ListSyncSpec
"""The settings of one PBX's sync."""


class SyncDeps(msgspec.Struct, frozen=True, kw_only=True):
    """Dependencies of each sync."""

    appdb: AppDb
    store: Store
    clock: Clock
    ingestor: Ingestor
    run_leased: RunLeased = run_without_lease
    jitter: Callable[[], float] = random.SystemRandom().random


class PbxSyncTasks(msgspec.Struct, frozen=True, kw_only=True):
    """Parts of one PBX's sync."""

    session: PbxSession
    api_backfill: ApiBackfill
    pbx_sync: PbxSync
    push_receiver: PushReceiver
    name_reader: NameReader


def create_pbx_session(spec: ApiSyncSpec, *, appdb: AppDb, clock: Clock, jitter: Callable[[], float]) -> PbxSession:
    """Return a session with one PBX; its tokens are shared with other processes."""
    sn, dialect, _, credentials = spec
    return PbxSession(
        client=pbx_clients()[dialect],
        endpoint=_endpoint_of(credentials),
        token_store=AppDbTokenStore(appdb=appdb, clock=clock, sn=sn, credentials=credentials),
        clock=clock,
        jitter=jitter,
    )


def _endpoint_of(credentials: PbxCredentials) -> PbxEndpoint:
    return PbxEndpoint(
        url=credentials.url,
        login=ClientCredentials(credentials.client_id, credentials.client_secret),
        fingerprint=credentials.fingerprint,
    )


@asynccontextmanager
async def open_pbx_sync(deps: SyncDeps, spec: ApiSyncSpec) -> AsyncIterator[PbxSyncTasks]:
    """Yield the parts of one PBX's sync, ready for use."""
    sn, dialect, registered_at, _ = spec
    sender = RegisteredPbx(sn=sn, dialect=dialect)
    session = create_pbx_session(spec, appdb=deps.appdb, clock=deps.clock, jitter=deps.jitter)
    api_backfill = ApiBackfill(
        session=session,
        ingestor=deps.ingestor,
        sender=sender,
        dialect=dialects()[dialect],
        call_lookup=StoreCallLookup(deps.store),
    )
    sync_state = AppDbSyncState(appdb=deps.appdb, store=deps.store, clock=deps.clock, sn=sn)
    pbx_sync = PbxSync(
        access=session, backfill_source=api_backfill, state=sync_state, registered_at=registered_at, jitter=deps.jitter
    )
    push_receiver = PushReceiver(
        session=session, ingestor=deps.ingestor, sender=sender, observer=pbx_sync, jitter=deps.jitter
    )
    async with session:
        yield PbxSyncTasks(
            session=session,
            api_backfill=api_backfill,
            pbx_sync=pbx_sync,
            push_receiver=push_receiver,
            name_reader=NameReader(session=session, directory=deps.appdb.directory, sn=sn),
        )


def create_cdr_sync_from_spec(deps: SyncDeps, spec: CdrSourceSyncSpec) -> PbxSync:
    """Return the sync of one PBX that fills gaps from its CDR source."""
    sync_state = AppDbSyncState(appdb=deps.appdb, store=deps.store, clock=deps.clock, sn=spec.sn)
    return create_cdr_sync(
        spec.sn,
        lambda: expand_rotated_files(spec.source),
        appdb=deps.appdb,
        sync_state=sync_state,
        load_intervals=sync_state.intervals,
        call_lookup=StoreCallLookup(deps.store),
        ingestor=deps.ingestor,
        clock=deps.clock,
        jitter=deps.jitter,
    )


def create_call_list_reader(spec: ListSyncSpec, *, clock: Clock) -> CallListReader:
    """Return the reader of one PBX's list of calls."""
    return CallListReader(
        client=call_list_clients()[spec.dialect],
        endpoint=_endpoint_of(spec.credentials),
        clock=clock,
        zone=get_zone(spec.zone) if spec.zone else None,
    )


def create_list_sync(deps: SyncDeps, spec: ListSyncSpec) -> PbxSync:
    """Return the sync of one PBX that fills gaps from its list of calls."""
    reader = create_call_list_reader(spec, clock=deps.clock)
    pages = PageIngestor(
        ingestor=deps.ingestor,
        sender=RegisteredPbx(sn=spec.sn, dialect=spec.dialect),
        dialect=dialects()[spec.dialect],
        call_lookup=StoreCallLookup(deps.store),
        host=reader.host,
    )
    return PbxSync(
        access=reader,
        backfill_source=ListBackfill(reader, pages, _create_line_matcher(deps, spec)),
        state=AppDbSyncState(appdb=deps.appdb, store=deps.store, clock=deps.clock, sn=spec.sn),
        registered_at=spec.registered_at,
        jitter=deps.jitter,
    )


def _create_line_matcher(deps: SyncDeps, spec: ListSyncSpec) -> LineMatcher | None:
    """Return what leaves out calls of which there are lines; None where lines make no calls."""
    if spec.dialect not in LINE_DIALECTS or spec.prefers_reports:
        return None
    return LineMatcher(sn=spec.sn, dialect=dialects()[spec.dialect], lookup=StoreCallLookup(deps.store))


async def load_list_sync_spec(appdb: AppDb, pbx: Pbx, credentials: PbxCredentials) -> ListSyncSpec:
    """Return the settings that the sync of a list of calls depends on."""
    connection = await appdb.line_connections.get(pbx.sn)
    prefers_reports = connection is not None and connection.precedence == "report"
    return ListSyncSpec(pbx.sn, pbx.dialect, pbx.created_at.timestamp(), credentials, pbx.zone, prefers_reports)


def build_api_sync_spec(pbx: Pbx, credentials: PbxCredentials) -> ApiSyncSpec:
    """Return the settings that a sync depends on; name and number plan are not among them."""
    return pbx.sn, pbx.dialect, pbx.created_at.timestamp(), credentials


class PbxSyncManager:
    """All syncs of a process; created once, inside its event loop."""

    def __init__(self, deps: SyncDeps) -> None:
        self._deps = deps
        self._pbx_syncs: dict[str, PbxSync] = {}
        self._sessions: dict[str, PbxSession] = {}
        self._failure_log = appdb_failure_log(logging.getLogger("appdb"), consequence="using the last known values")

    async def run(self) -> None:
        """Run all syncs until cancelled; then revoke their tokens."""
        watcher = ChangeWatcher(self._deps.appdb, self._build_specs)
        reconciler = TaskReconciler[str, SyncSpec](self._run_leased, name="pbx_sync")
        try:
            while True:
                specs = await watcher.poll_or_log(self._failure_log)
                if specs is not None:
                    await reconciler.reconcile(specs)
                    await self._check_backfill_requests()
                await watcher.wait(POLL_SECONDS, CHECK_SECONDS)
        finally:
            await reconciler.close()

    async def _check_backfill_requests(self) -> None:
        for pbx_sync in list(self._pbx_syncs.values()):
            await pbx_sync.check_backfill_request()

    def find_session(self, sn: str) -> PbxSession | None:
        """Return the session with the web API of a PBX that is synchronised now, or None."""
        return self._sessions.get(sn)

    async def on_reconnected(self, sn: str) -> None:
        """Start a cycle for a PBX whose AMI connection is back: missed calls are read from its CDR source."""
        if sn in self._pbx_syncs:
            await self._pbx_syncs[sn].on_connected()

    async def _build_specs(self) -> Mapping[str, SyncSpec]:
        credentials_by_sn, clients = await self._deps.appdb.pbx_credentials.all(), pbx_clients()
        pbxs = await self._deps.appdb.pbxs() if credentials_by_sn else []
        api_specs: dict[str, SyncSpec] = {
            pbx.sn: build_api_sync_spec(pbx, credentials_by_sn[pbx.sn])
            for pbx in pbxs
            if pbx.sn in credentials_by_sn and pbx.dialect in clients
        }
        list_specs: dict[str, SyncSpec] = {
            pbx.sn: await load_list_sync_spec(self._deps.appdb, pbx, credentials_by_sn[pbx.sn])
            for pbx in pbxs
            if pbx.sn in credentials_by_sn and pbx.dialect in call_list_clients()
        }
        sources = await self._deps.appdb.cdr_sources.all_here()
        return api_specs | list_specs | {sn: CdrSourceSyncSpec(sn, source) for sn, source in sources.items()}

    async def _run_leased(self, sn: str, spec: SyncSpec) -> None:
        """Run a sync without end, while this process has the lease of the PBX."""
        await self._deps.run_leased(f"pbx:{sn}", partial(self._run_with_restart, sn, spec))

    async def _run_with_restart(self, sn: str, spec: SyncSpec) -> None:
        """Run a sync without end; restart it after an error, as of the application database, or an internal one: it
        affects this PBX only.
        """
        while True:
            try:
                if isinstance(spec, CdrSourceSyncSpec):
                    await self._run_pbx_sync(sn, create_cdr_sync_from_spec(self._deps, spec))
                elif isinstance(spec, ListSyncSpec):
                    await self._run_pbx_sync(sn, create_list_sync(self._deps, spec))
                else:
                    await self._run_api_sync(spec)
            except* OnhookError as errors:
                text = "; ".join(map(str, _leaves(errors)))
                logging.getLogger("pbx_sync").error(
                    "PBX sync is interrupted", extra={"sn": sn, "error": text, "retry_seconds": RESTART_SECONDS}
                )
            except* Exception:
                logging.getLogger("pbx_sync").exception("PBX sync failed unexpectedly", extra={"sn": sn})
            raise_if_cancelled()
            await asyncio.sleep(RESTART_SECONDS)

    async def _run_api_sync(self, spec: ApiSyncSpec) -> None:
        """Run push channel, cycles and the reading of names of a PBX with an API; when one fails, all end."""
        async with open_pbx_sync(self._deps, spec) as sync_tasks:
            self._sessions[spec[0]] = sync_tasks.session
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(sync_tasks.push_receiver.run())
                    group.create_task(sync_tasks.name_reader.run())
                    group.create_task(self._run_pbx_sync(spec[0], sync_tasks.pbx_sync))
            finally:
                self._sessions.pop(spec[0], None)
                await sync_tasks.session.revoke_tokens()

    async def _run_pbx_sync(self, sn: str, pbx_sync: PbxSync) -> None:
        self._pbx_syncs[sn] = pbx_sync
        try:
            await pbx_sync.run()
        finally:
            self._pbx_syncs.pop(sn, None)


def _leaves(errors: BaseExceptionGroup[OnhookError]) -> Iterator[OnhookError]:
    """Yield the errors in a group and in its groups."""
    for error in errors.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
