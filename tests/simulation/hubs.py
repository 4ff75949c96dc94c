"""The hubs of a simulated machine: processes with a store of their own, and one ledger and application database.

Invariants: a hub that has died does no further operation, nor does it release a lease. One that is frozen stands still
wherever it is, and goes on there.
"""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, TypeVar

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.leases import LeaseHolder
from onhook.config import Config
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.dispatcher import DeliveryDispatcher
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.lib.file_lock import file_lock_soon
from onhook.ops.number_erasure import NumberEraser
from onhook.ops.quarantine_retry import QuarantineRetrier, release_left_replays
from onhook.ops.rebuild import LOCK_NAME, _build_new_store, rebuild
from onhook.ops.retention import Retention
from onhook.projector.projector import Projector
from onhook.runtime.adapters.erasure import create_eraser
from onhook.runtime.adapters.ingest import create_ingestor
from onhook.runtime.engines import ENGINES
from onhook.runtime.hub_process import HubResources, _create_projector, _open_resources
from onhook.runtime.rebuild_process import rebuild_when_outdated
from onhook.runtime.services import Service, running
from onhook.store.contract import Store, StoreUnusable
from onhook.sync.pbx_sync_manager import PbxSyncManager, SyncDeps
from tests.simulation.virtual_time import PROCESS, VirtualLoop

REPORT_SECONDS = 1.0
"""A store that is not the first one reports its position, so that raw events are kept for it."""

ResultT = TypeVar("ResultT")


class SecondHubConfig(Config, frozen=True):
    """The configuration of a hub beside the first one: with a store of its own."""

    @property
    def store_file(self) -> Path:
        return self.data / "calls-2.duckdb"


class RunningHub(msgspec.Struct, frozen=True, kw_only=True):
    """The running parts of the hub."""

    appdb: AppDb
    ledger: Ledger
    store: Store
    leases: LeaseHolder
    projector: Projector
    retention: Retention
    quarantine_retrier: QuarantineRetrier
    eraser: NumberEraser


class SimulatedHub:
    """One hub. `config` is read at each start: the files are elsewhere after a death of the machine."""

    def __init__(self, name: str, config: Callable[[], Config], clock: Clock, rng: Random) -> None:
        self.name = name
        self.running: RunningHub | None = None
        self.must_restart = False
        """Whether a rebuilt store is to be used."""
        self._read_config = config
        self._clock = clock
        self._rng = rng
        self._stack = AsyncExitStack()
        self._context = contextvars.copy_context()
        self._context.run(PROCESS.set, name)

    @property
    def is_outdated(self) -> bool:
        """Return whether the store is to be rebuilt by the last order to read all events again."""
        return self.running is not None and self.running.projector._is_outdated.is_set()

    async def start(self) -> None:
        """Start, or rebuild a store that cannot be used: the next start finds the new one."""
        await self._run(self._start())

    async def close(self) -> None:
        """Stop: what can be committed is, and the leases are released. Raises what closing the files raises."""
        self.running = None
        self.must_restart = False
        stack, self._stack = self._stack, AsyncExitStack()
        await self._run(stack.aclose())

    def freeze(self) -> None:
        """Let the process stand still."""
        _get_loop().freeze(self.name)

    def thaw(self) -> None:
        """Let the process go on where it stands."""
        _get_loop().thaw(self.name)

    async def _run(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """Run a part of this process."""
        return await asyncio.create_task(work, context=self._context)

    async def _start(self) -> None:
        config = self._read_config()
        try:
            self.running = await self._stack.enter_async_context(self._open(config))
        except StoreUnusable:
            # As in rebuild mode.
            await rebuild(config, lambda _position, _last: None, ENGINES)

    @asynccontextmanager
    async def _open(self, config: Config) -> AsyncIterator[RunningHub]:
        async with AsyncExitStack() as stack:
            resources = await _open_resources(stack, config, self._clock)
            projector = _create_projector(resources)
            ingestor = create_ingestor(appdb=resources.appdb, ledger=resources.ledger, clock=self._clock)
            stack.push_async_callback(ingestor.close)
            sync_manager = PbxSyncManager(
                SyncDeps(
                    appdb=resources.appdb,
                    store=resources.store,
                    clock=self._clock,
                    ingestor=ingestor,
                    run_leased=resources.leases.run_leased,
                    jitter=self._rng.random,
                )
            )
            running_hub = self._running_hub(resources, projector)
            release_replays = partial(release_left_replays, resources.appdb, self._clock)
            services = (
                Service("leases", resources.leases.run),
                Service("projector", partial(projector.run, resources.position_notifier.announce)),
                Service("rebuild", partial(rebuild_when_outdated, config, projector, self._rebuild_beside)),
                Service("dispatcher", self._create_dispatcher(resources).run),
                Service("pbx_sync", sync_manager.run),
                Service("erasure", partial(resources.leases.run_leased, "job:erasure", running_hub.eraser.run)),
                Service("replays", partial(resources.leases.run_leased, "job:replays", release_replays)),
                Service("position", partial(self._report_position, resources)),
            )
            await stack.enter_async_context(running(*services))
            stack.callback(resources.position_notifier.close)
            yield running_hub

    def _running_hub(self, resources: HubResources, projector: Projector) -> RunningHub:
        retention = Retention(
            config=resources.config,
            appdb=resources.appdb,
            ledger=resources.ledger,
            store=resources.store,
            projector=projector,
            clock=self._clock,
        )
        return RunningHub(
            appdb=resources.appdb,
            ledger=resources.ledger,
            store=resources.store,
            leases=resources.leases,
            projector=projector,
            retention=retention,
            quarantine_retrier=QuarantineRetrier(projector, resources.appdb, self._clock),
            eraser=create_eraser(
                resources.config,
                appdb=resources.appdb,
                ledger=resources.ledger,
                store=resources.store,
                projector=projector,
                clock=self._clock,
            ),
        )

    def _create_dispatcher(self, resources: HubResources) -> DeliveryDispatcher:
        return DeliveryDispatcher(
            deps=DeliveryDeps(
                record_reader=RecordReader(resources.store, resources.position_notifier),
                appdb=resources.appdb,
                clock=self._clock,
                run_leased=resources.leases.run_leased,
                read_ledger_end=resources.ledger.last_seq,
                read_control_entries=resources.ledger.control_entries,
                jitter=self._rng.random,
            ),
            open_destination=destination_opener(resources.config),
            on_error=lambda _id, _name, _error: None,
            on_issue=lambda _issue, _has_begun: None,
        )

    async def _report_position(self, resources: HubResources) -> None:
        while True:
            with suppress(OnhookError):
                position, now_us = await resources.store.position(), self._clock.microseconds()
                await resources.appdb.store_positions.report(f"store of {self.name}", position, now_us=now_us)
            await asyncio.sleep(REPORT_SECONDS)

    async def _rebuild_beside(self, config: Config) -> str:
        """Rebuild the store as the process beside the hub does; the machine restarts the hub then."""
        async with file_lock_soon(config.data / LOCK_NAME) as has_lock:
            if not has_lock:
                return "locked"
            await _build_new_store(config, lambda _position, _last: None, ENGINES, reads_again=False)
        self.must_restart = True
        return ""


def _get_loop() -> VirtualLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop
