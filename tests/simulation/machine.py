"""The simulated machine: the parts of intake and hubs on one data directory, as their processes open them.

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
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.ops.instance_lock import ServerInfo, instance_lock, write_server_info
from onhook.ops.rebuild import rebuild
from onhook.runtime.engines import ENGINES
from onhook.runtime.intake_process import open_intake
from tests.faults.operations import one_failing_operation
from tests.simulation.disk import SimulatedDisk
from tests.simulation.hubs import RunningHub, SecondHubConfig, SimulatedHub

START_ATTEMPTS_MAX = 5
RESTART_SECONDS = 1.0


class SimulatedMachine:
    """One machine, with as many hubs. Its files are in a numbered directory; each death leaves them in the next one."""

    def __init__(self, folder: Path, clock: Clock, rng: Random, keep_days: int, hub_count: int) -> None:
        self.intake_address = ""
        self.deaths = 0
        self._folder = folder
        self._clock = clock
        self._keep_days = keep_days
        configs = (lambda: self.config, lambda: SecondHubConfig(**msgspec.structs.asdict(self.config)))
        self.hubs = [SimulatedHub(f"hub {number}", configs[number], clock, rng) for number in range(hub_count)]
        self._intake_stack = AsyncExitStack()
        self._disk_stack = ExitStack()
        self.disk = SimulatedDisk(self._save_files)

    @property
    def hub(self) -> RunningHub | None:
        """Return the first hub, where it runs."""
        return self.hubs[0].running

    @property
    def config(self) -> Config:
        return Config(data=self._directory(self.deaths), intake=Address("127.0.0.1", 0), keep_days=self._keep_days)

    @property
    def is_up(self) -> bool:
        """Return whether all parts run."""
        return all(hub.running for hub in self.hubs) and bool(self.intake_address) and not self.disk.is_dead

    def open(self) -> None:
        """Create the data directory. What is opened from now on is on the simulated disk."""
        self.config.data.mkdir()
        self._attach_disk()

    async def ensure_running(self) -> bool:
        """Replace a dead machine, and start what is down. Return whether all parts run now."""
        if self.disk.is_dead:
            await self._replace()
        for _attempt in range(START_ATTEMPTS_MAX):
            if not self.intake_address:
                await self._try_start(self._start_intake)
            for hub in self.hubs:
                if hub.must_restart:
                    await self._close(hub.close)
                if hub.running is None:
                    await self._try_start(hub.start)
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

    async def stop_hubs(self, *hubs: SimulatedHub) -> None:
        """Stop these hubs, or all."""
        for hub in hubs or self.hubs:
            await self._close(hub.close)

    async def kill_hub(self, hub: SimulatedHub) -> None:
        """Let one hub die, while the machine goes on."""
        self.disk.dead_processes.add(hub.name)
        try:
            await self._close(hub.close)
        finally:
            self.disk.dead_processes.discard(hub.name)

    async def stop_intake(self) -> None:
        self.intake_address = ""
        await self._close(self._intake_stack.aclose)

    async def close(self) -> None:
        await self.stop_hubs()
        await self.stop_intake()
        self._disk_stack.close()

    async def rebuild(self, *, reads_again: bool = False) -> None:
        """Rebuild the store beside the running hub, which then changes to it. Raises `OnhookError`."""
        run_rebuild = partial(rebuild, self.config, lambda _position, _last: None, ENGINES, reads_again=reads_again)
        loop, is_requested = asyncio.get_running_loop(), asyncio.Event()
        if self.hub is None:
            await run_rebuild()
            return
        loop.add_signal_handler(signal.SIGUSR1, is_requested.set)
        try:
            with instance_lock(self.config):
                write_server_info(self.config.running_file, ServerInfo(pid=os.getpid()))
                await run_rebuild()
                await is_requested.wait()
        finally:
            loop.remove_signal_handler(signal.SIGUSR1)
        await self.stop_hubs(self.hubs[0])
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

    # Deaths

    async def _replace(self) -> None:
        """Drop a dead machine, and use the files that it left."""
        await self.stop_hubs()
        await self.stop_intake()
        self._disk_stack.close()
        shutil.rmtree(self._directory(self.deaths))
        self.deaths += 1
        self._attach_disk()

    async def _close(self, close: Callable[[], Awaitable[None]]) -> None:
        try:
            await close()
        except Exception as error:
            # A dead machine or process no longer writes, so closing its files may fail.
            is_dead = self.disk.is_dead or bool(self.disk.dead_processes)
            if not isinstance(error, OnhookError) and not is_dead:
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
