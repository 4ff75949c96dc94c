"""`onhook serve`: starts the processes of the house, starts one again that dies, stops them in reverse.

Laws: the intake is first to start and last to stop; nothing that befalls the others touches it. Without an intake
nothing is served: when its first start fails for good, `serve` ends and says why.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Callable

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.config import Config, parse_address
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, UsageError
from onhook.ops.instance_lock import (
    ProcessInfo,
    ServerInfo,
    instance_lock,
    prepare_directory,
    wait_until_removed,
    write_server_info,
)
from onhook.runtime.child import StatusMessage, build_command
from onhook.simulator.demo import WITH_HISTORY, register_demo_pbx

READY_SECONDS_MAX = 60.0
"""How long a process may take to be ready: opening a large store after a crash reads its log."""

STOP_SECONDS_MAX = 15.0
"""How long a process may take to stop: the intake gives its last commit and slow readers 10 seconds."""

RESTART_SECONDS_FIRST = 0.2
RESTART_SECONDS_MAX = 10.0
"""The wait before a process is started again doubles up to this: soon enough to be there when the reason is gone."""

FIRST_START_ATTEMPTS_MAX = 4
"""How often the intake's first start is tried, in a second or two: enough for a lock that passes; then a person, or
whoever started us, should know."""

STEADY_SECONDS = 30.0
"""Who ran this long had a good start: the next wait is the first again."""

ReadyCallback = Callable[[ServerInfo, str], None]
"""Is told once, when all parts have been started: their addresses and the administrator's token."""


class SupervisedProcess:
    """One process, and how it is kept alive."""

    def __init__(self, name: str, told: Callable[[str, ProcessInfo | None], None], *first_words: str) -> None:
        """`first_words` are said to the process when it is first started, and never again."""
        self.name = name
        self._words = first_words
        self._told = told
        self._child: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._wake = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._hearing: asyncio.Task[None] | None = None
        self._has_exchange = False
        self._exchange = ""
        self._log = logging.getLogger("serve")

    async def start(self, config: Config) -> str:
        """Start it; its address. Raises `UsageError` for what only a person can mend, such as a port in use.

        Anything else is logged and tried again: the address is then empty until it stands.
        """
        return self._keep_on(config, await self._spawn(config))

    async def start_surely(self, config: Config) -> str:
        """Start it; its address. Raises `OnhookError` where it does not stand after some tries, or never can."""
        delay_seconds = RESTART_SECONDS_FIRST
        status = await self._spawn(config)
        for _ in range(FIRST_START_ATTEMPTS_MAX - 1):
            if not status.error or status.is_permanent or self._stopping.is_set():
                break
            self._tell_trouble(status)
            await asyncio.sleep(delay_seconds)
            delay_seconds *= 2
            status = await self._spawn(config)
        if status.error:
            raise _to_error(status)
        return self._keep_on(config, status)

    def _keep_on(self, config: Config, said: StatusMessage) -> str:
        if said.exit_code == UsageError.exit_code:
            raise _to_error(said)
        self._tell_trouble(said)
        self._keeping = asyncio.create_task(self._keep(_with_address(config, self.name, said.address)))
        return said.address

    def _tell(self, child: asyncio.subprocess.Process, said: StatusMessage) -> None:
        self._told(self.name, ProcessInfo(pid=child.pid, address=said.address))
        if said.exchange or self._has_exchange:
            self._told("exchange", ProcessInfo(pid=child.pid, address=said.exchange) if said.exchange else None)
        self._has_exchange = bool(said.exchange)
        # Remembered, so that applications find it at the same port when the process is started again.
        self._exchange = said.exchange or self._exchange

    def restart(self) -> None:
        """Stop it so that it is started again at once."""
        self._wake.set()
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()

    async def stop(self) -> None:
        """Stop it, kindly at first, and return when it is gone."""
        self._stopping.set()
        self._wake.set()
        await self._end()
        if self._keeping is not None:
            await self._keeping

    async def _keep(self, config: Config) -> None:
        delay_seconds = RESTART_SECONDS_FIRST
        while True:
            assert self._child is not None
            loop = asyncio.get_running_loop()
            started_at = loop.time()
            exit_code = await self._child.wait()
            config = _with_address(config, "exchange", self._exchange)
            self._tell_gone()
            if self._stopping.is_set():
                return
            delay_seconds = (
                RESTART_SECONDS_FIRST
                if loop.time() - started_at > STEADY_SECONDS
                else min(2 * delay_seconds, RESTART_SECONDS_MAX)
            )
            if not self._wake.is_set():
                message = f"the {self.name} has ended and is started again"
                self._log.warning(message, extra={"code": exit_code, "pause": delay_seconds})
            await self._pause(delay_seconds)
            if self._stopping.is_set():
                return
            self._tell_trouble(await self._spawn(config))
            if self._stopping.is_set():
                # Told to stop between the two lines above, when there was nothing to stop yet.
                await self._end()

    async def _pause(self, seconds: float) -> None:
        """Wait, or less when somebody asks for a start at once."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return
        self._wake.clear()

    async def _spawn(self, config: Config) -> StatusMessage:
        """Start the process and wait for the one line that it says. Its standard input ends when we do."""
        self._child = await asyncio.create_subprocess_exec(
            *build_command(f"onhook.runtime.{self.name}_process", config, *self._words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            process_group=0,  # Ctrl-C is for us alone; we stop the others in order
        )
        self._words = ()
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                status = await self._hear(self._child)
        except TimeoutError:
            self._child.kill()
            return StatusMessage(error=f"{self.name} was not ready after {READY_SECONDS_MAX:.0f} seconds", exit_code=1)
        if not status.error:
            self._tell(self._child, status)
            self._hearing = asyncio.create_task(self._hear_on(self._child))
        return status

    async def _hear_on(self, child: asyncio.subprocess.Process) -> None:
        """What it says later: where the exchange listens now."""
        assert child.stdout is not None
        while line := await child.stdout.readline():
            self._tell(child, msgspec.json.decode(line, type=StatusMessage))

    def _tell_gone(self) -> None:
        if self._hearing is not None:
            self._hearing.cancel()
        self._told(self.name, None)
        if self._has_exchange:
            self._told("exchange", None)
        self._has_exchange = False

    async def _hear(self, child: asyncio.subprocess.Process) -> StatusMessage:
        assert child.stdout is not None
        line = await child.stdout.readline()
        if not line:
            return StatusMessage(
                error=f"{self.name} ended with code {await child.wait()} before it was ready", exit_code=1
            )
        return msgspec.json.decode(line, type=StatusMessage)

    async def _end(self) -> None:
        if self._child is None or self._child.returncode is not None:
            return
        self._child.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await self._child.wait()
        except TimeoutError:
            self._log.warning(f"the {self.name} did not stop in time and was killed")
            self._child.kill()
            await self._child.wait()

    def _tell_trouble(self, said: StatusMessage) -> None:
        if said.error:
            self._log.error(said.error)


def _to_error(said: StatusMessage) -> OnhookError:
    return UsageError(said.error) if said.exit_code == UsageError.exit_code else OnhookError(said.error)


async def supervise(config: Config, clock: Clock, announce: ReadyCallback, *, with_demo: bool = False) -> None:
    """Run the house until told to stop. Raises `OnhookError` where it cannot be started as asked."""
    prepare_directory(config)
    with instance_lock(config):
        appdb = AppDb(config.settings_file)
        try:
            is_new_demo = with_demo and register_demo_pbx(appdb, clock)
            token = appdb.ensure_admin_token(config.admin_token_file, at=clock.microseconds())
        finally:
            appdb.close()
        supervisor = _Supervisor(config)
        try:
            await supervisor.open(with_demo=with_demo, is_new_demo=is_new_demo)
            announce(supervisor.running, token)
            await supervisor.told_to_stop()
        finally:
            await supervisor.close()


class _Supervisor:
    """The processes that run, in the order in which they were started."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._watched: list[SupervisedProcess] = []
        self._stop = asyncio.Event()
        self.running = ServerInfo(pid=os.getpid())

    async def open(self, *, with_demo: bool, is_new_demo: bool) -> None:
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signal_number, self._stop.set)
        intake = await self._watched_as("intake").start_surely(self._config)
        hub = self._watched_as("hub")
        loop.add_signal_handler(signal.SIGUSR1, hub.restart)
        await hub.start(self._config)
        if with_demo:
            demo = self._watched_as("demo", *([WITH_HISTORY] if is_new_demo else []))
            await demo.start(_with_address(self._config, "intake", intake))

    async def told_to_stop(self) -> None:
        """Return when told so. Raises `OnhookError` when there is nothing left to serve."""
        stop_task, removed_task = (
            asyncio.create_task(self._stop.wait()),
            asyncio.create_task(wait_until_removed(self._config)),
        )
        try:
            await asyncio.wait([stop_task, removed_task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop_task.cancel()
            removed_task.cancel()
        if not self._stop.is_set():
            raise OnhookError(
                "the data directory, or a file in it, was removed while the server ran, which has stopped",
                where=str(self._config.data),
                todo="put it back from a backup, or begin a new one by starting again",
            )

    async def close(self) -> None:
        for process in reversed(self._watched):
            await process.stop()

    def _watched_as(self, name: str, *first_words: str) -> SupervisedProcess:
        process = SupervisedProcess(name, self._told, *first_words)
        self._watched.append(process)
        return process

    def _told(self, name: str, part: ProcessInfo | None) -> None:
        self.running = msgspec.structs.replace(self.running, **{name: part})
        try:
            write_server_info(self._config.running_file, self.running)
        except OSError as error:
            # As on a full disk: a part that has ended is started again all the same.
            extra = {"error": error.strerror, "file": self._config.running_file.name}
            logging.getLogger("serve").error("commands cannot be told what runs", extra=extra)


def _with_address(config: Config, name: str, address: str) -> Config:
    """The configuration with the port that a process was given: one that is started again must be found again."""
    field = {"intake": "intake", "hub": "console", "exchange": "exchange"}.get(name)
    if field is None or not address:
        return config
    return msgspec.structs.replace(config, **{field: parse_address(address, field)})
