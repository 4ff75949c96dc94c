"""The simulated machine: the parts of intake and hub on one data directory, as their processes open them.

Invariants: after a death of the machine only the files are left that it had at that operation. A start that fails is
tried again, as the supervisor does; until it succeeds, that part is down.
"""

import asyncio
import logging
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from random import Random

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.config import Address, Config
from onhook.delivery.destinations.webhook import webhook_opener
from onhook.delivery.dispatcher import DeliveryDispatcher
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.worker import DeliveryDeps
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.ops.instance_lock import ServerInfo, instance_lock, write_server_info
from onhook.ops.quarantine_retry import QuarantineRetrier
from onhook.ops.rebuild import rebuild
from onhook.ops.retention import Retention
from onhook.projector.projector import Projector
from onhook.runtime.adapters.ingest import create_ingestor
from onhook.runtime.engines import ENGINES
from onhook.runtime.hub_process import HubResources, _create_projector, _open_resources
from onhook.runtime.intake_process import open_intake
from onhook.runtime.services import Service, running
from onhook.store.contract import Store, StoreUnusable
from onhook.sync.pbx_sync_manager import PbxSyncManager, SyncDeps
from tests.faults.operations import one_failing_operation
from tests.simulation.disk import SimulatedDisk

START_ATTEMPTS_MAX = 5
RESTART_SECONDS = 1.0


class RunningHub(msgspec.Struct, frozen=True, kw_only=True):
    """The running parts of the hub."""

    appdb: AppDb
    ledger: Ledger
    store: Store
    projector: Projector
    retention: Retention
    quarantine_retrier: QuarantineRetrier


class SimulatedMachine:
    """One machine. Its files are in a numbered directory; each death leaves them in the next one."""

    def __init__(self, folder: Path, clock: Clock, rng: Random, keep_days: int) -> None:
        self.hub: RunningHub | None = None
        self.intake_address = ""
        self.deaths = 0
        self._folder = folder
        self._clock = clock
        self._rng = rng
        self._keep_days = keep_days
        self._hub_stack = AsyncExitStack()
        self._intake_stack = AsyncExitStack()
        self._disk_stack = ExitStack()
        self.disk = SimulatedDisk(self._save_files)

    @property
    def config(self) -> Config:
        return Config(data=self._directory(self.deaths), intake=Address("127.0.0.1", 0), keep_days=self._keep_days)

    @property
    def is_up(self) -> bool:
        """Return whether both parts run."""
        return self.hub is not None and bool(self.intake_address) and not self.disk.is_dead

    def open(self) -> None:
        """Create the data directory. What is opened from now on is on the simulated disk."""
        self.config.data.mkdir()
        self._attach_disk()

    async def ensure_running(self) -> bool:
        """Replace a dead machine, and start what is down. Return whether both parts run now."""
        if self.disk.is_dead:
            await self._replace()
        for _attempt in range(START_ATTEMPTS_MAX):
            if not self.intake_address:
                await self._try_start(self._start_intake)
            if self.hub is None:
                await self._try_start(self._start_hub)
            if self.disk.is_dead:
                await self._replace()
            elif self.is_up:
                break
            await asyncio.sleep(RESTART_SECONDS)
        return self.is_up

    async def die(self) -> None:
        """Kill everything at once, and start again with the files that are left."""
        self.disk.die()
        await self.ensure_running()

    async def stop_hub(self) -> None:
        self.hub = None
        await self._close(self._hub_stack)

    async def stop_intake(self) -> None:
        self.intake_address = ""
        await self._close(self._intake_stack)

    async def close(self) -> None:
        await self.stop_hub()
        await self.stop_intake()
        self._disk_stack.close()

    async def rebuild(self) -> None:
        """Rebuild the store beside the running hub, which then changes to it. Raises `OnhookError`."""
        loop, is_requested = asyncio.get_running_loop(), asyncio.Event()
        if self.hub is None:
            await rebuild(self.config, lambda _position, _last: None, ENGINES)
            return
        loop.add_signal_handler(signal.SIGUSR1, is_requested.set)
        try:
            with instance_lock(self.config):
                write_server_info(self.config.running_file, ServerInfo(pid=os.getpid()))
                await rebuild(self.config, lambda _position, _last: None, ENGINES)
                await is_requested.wait()
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)
        await self.stop_hub()
        await self.ensure_running()

    @asynccontextmanager
    async def open_appdb(self) -> AsyncIterator[AppDb]:
        """Open the application database as a command does."""
        async with AppDb(self.config.appdb_file) as appdb:
            yield appdb

    # Starts

    async def _try_start(self, start: Callable[[], Awaitable[None]]) -> None:
        try:
            await start()
        except Exception as error:
            # Of a machine that dies meanwhile any error may come.
            if not isinstance(error, OnhookError) and not self.disk.is_dead:
                raise
            logging.getLogger("simulation").warning("cannot start: %s", error)

    async def _start_intake(self) -> None:
        service = await self._intake_stack.enter_async_context(open_intake(self.config, self._clock))
        self.intake_address = service.address

    async def _start_hub(self) -> None:
        try:
            self.hub = await self._hub_stack.enter_async_context(self._open_hub())
        except StoreUnusable:
            # As in rebuild mode; the next start finds the new store.
            await rebuild(self.config, lambda _position, _last: None, ENGINES)

    @asynccontextmanager
    async def _open_hub(self) -> AsyncIterator[RunningHub]:
        async with AsyncExitStack() as stack:
            resources = await _open_resources(stack, self.config, self._clock)
            projector = _create_projector(resources)
            ingestor = create_ingestor(appdb=resources.appdb, ledger=resources.ledger, clock=self._clock)
            stack.push_async_callback(ingestor.close)
            sync_manager = PbxSyncManager(
                SyncDeps(
                    appdb=resources.appdb,
                    store=resources.store,
                    clock=self._clock,
                    ingestor=ingestor,
                    jitter=self._rng.random,
                )
            )
            services = (
                Service("projector", partial(projector.run, resources.position_notifier.announce)),
                Service("dispatcher", self._create_dispatcher(resources).run),
                Service("pbx_sync", sync_manager.run),
            )
            await stack.enter_async_context(running(*services))
            stack.callback(resources.position_notifier.close)
            yield self._running_hub(resources, projector)

    def _running_hub(self, resources: HubResources, projector: Projector) -> RunningHub:
        retention = Retention(
            config=self.config,
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
            projector=projector,
            retention=retention,
            quarantine_retrier=QuarantineRetrier(projector, resources.appdb, self._clock),
        )

    def _create_dispatcher(self, resources: HubResources) -> DeliveryDispatcher:
        return DeliveryDispatcher(
            deps=DeliveryDeps(
                record_reader=RecordReader(resources.store, resources.position_notifier),
                appdb=resources.appdb,
                clock=self._clock,
                jitter=self._rng.random,
            ),
            open_destination=webhook_opener(self.config),
            on_error=lambda _id, _name, _error: None,
            on_issue=lambda _issue, _has_begun: None,
        )

    # Deaths

    async def _replace(self) -> None:
        """Drop a dead machine, and use the files that it left."""
        await self.stop_hub()
        await self.stop_intake()
        self._disk_stack.close()
        shutil.rmtree(self._directory(self.deaths))
        self.deaths += 1
        self._attach_disk()

    async def _close(self, stack: AsyncExitStack) -> None:
        try:
            await stack.aclose()
        except Exception as error:
            # A dead machine no longer writes, so closing its files may fail.
            if not isinstance(error, OnhookError) and not self.disk.is_dead:
                raise
            logging.getLogger("simulation").warning("cannot close: %s", error)

    def _attach_disk(self) -> None:
        self.disk = SimulatedDisk(self._save_files)
        self._disk_stack.enter_context(one_failing_operation(self.disk))

    def _save_files(self) -> None:
        """Copy the files as they are: all that was written, with or without a commit."""
        ignored = shutil.ignore_patterns("*-shm")
        shutil.copytree(self._directory(self.deaths), self._directory(self.deaths + 1), ignore=ignored)

    def _directory(self, number: int) -> Path:
        return self._folder / f"data-{number}"
