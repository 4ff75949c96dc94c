"""Supervisor of `onhook serve`: starts the processes, restarts one that ends, stops them in reverse.

Invariants: the intake is the first to start and the last to stop; an error of another process does not affect it.
Without an intake nothing is served: when its first start fails for good, `serve` ends with the error.
"""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

import msgspec

from onhook.appdb.contract import AccessRefused
from onhook.appdb.tokens import read_token_file
from onhook.config import Address, Config, child_environment, parse_address
from onhook.lib.backoff import Backoff, delay_seconds
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.lib.service_manager import ServiceManager, ServiceNotifier
from onhook.lib.sockets import passed_socket
from onhook.ops.cluster_move import check_moved
from onhook.ops.instance_lock import (
    READY_SECONDS_MAX,
    ProcessInfo,
    ServerInfo,
    add_end,
    check_ledger_file,
    instance_lock,
    prepare_directory,
    start_server_info,
    wait_until_removed,
    write_server_info,
)
from onhook.runtime.adapters.node import ensure_admin_token
from onhook.runtime.child import PING, StatusMessage, build_command, listen_arguments
from onhook.runtime.engines import ENGINES
from onhook.runtime.watchdog import watchdog
from onhook.simulator.demo import WITH_HISTORY, register_demo_pbx

STOP_SECONDS_MAX = 15.0
"""Time for a process to stop: the intake gives its last commit and slow readers 10 seconds."""

RESTART_SECONDS_FIRST = 0.2
RESTART_SECONDS_MAX = 10.0
"""The wait before a restart doubles up to this: soon enough when the cause is gone."""

RESTART_SECONDS_MAX_BY_PROCESS: Mapping[str, float] = {"intake": 1.0}
"""PBXs give up after some seconds: the intake never waits long."""

FIRST_START_ATTEMPTS_MAX = 4
"""Attempts of the intake's first start, within a second or two: enough for a short lock; after that a person, or the
parent process, should know.
"""

LAST_STATUS_SECONDS_MAX = 2.0
"""Time to read the last status line of a process that has ended: it says why."""

STEADY_SECONDS = 30.0
"""After a run of this length the next wait is the first again."""

NO_MANAGER = ServiceManager()
"""A person has started the server."""

ReadyCallback = Callable[[ServerInfo, str], Awaitable[None]]
"""Called once, when all processes have started: their addresses and the administrator's token."""

EndCallback = Callable[[str, bool], None]
"""Receives the name of a process that has ended or could not be started, and whether its end was requested."""


class SupervisedProcess:
    """One process, kept running."""

    def __init__(
        self,
        name: str,
        on_change: Callable[[str, ProcessInfo | None], None],
        *first_arguments: str,
        on_end: EndCallback = lambda name, is_requested: None,
        listen_fd: int | None = None,
    ) -> None:
        """`first_arguments` are passed at the first start only; `listen_fd` is a socket that the process gets each
        time.
        """
        self.name = name
        self._arguments = first_arguments
        self._on_change = on_change
        self._on_end = on_end
        self._listen_fd = listen_fd
        self._child: asyncio.subprocess.Process | None = None
        self._stop_event = asyncio.Event()
        self._wake_event = asyncio.Event()
        self._supervision_task: asyncio.Task[None] | None = None
        self._status_task: asyncio.Task[None] | None = None
        self._answer_event: asyncio.Event | None = None
        self._has_pbx_api = False
        self._pbx_api_address = ""
        self._log = logging.getLogger("serve")

    async def start(self, config: Config) -> str:
        """Start the process; return its address. Raises `UsageError` for an error that only a person can resolve, such
        as a port in use.

        Any other error is logged and the start is retried: the address is empty until it succeeds.
        """
        return self._begin_supervision(config, await self._spawn(config))

    async def start_with_retry(self, config: Config) -> str:
        """Start the process; return its address. Raises `OnhookError` where it fails some times, or for good."""
        status = await self._spawn(config)
        for failures in range(1, FIRST_START_ATTEMPTS_MAX):
            if not status.error or status.is_permanent or self._stop_event.is_set():
                break
            self._log_error(status)
            await asyncio.sleep(delay_seconds(failures, first=RESTART_SECONDS_FIRST, maximum=RESTART_SECONDS_MAX))
            status = await self._spawn(config)
        if status.error:
            raise _to_error(status)
        return self._begin_supervision(config, status)

    def _begin_supervision(self, config: Config, status: StatusMessage) -> str:
        if status.exit_code == UsageError.exit_code:
            raise _to_error(status)
        self._log_error(status)
        self._supervision_task = asyncio.create_task(
            self._restart_on_exit(_with_address(config, self.name, status.address))
        )
        return status.address

    def _report_status(self, child: asyncio.subprocess.Process, status: StatusMessage) -> None:
        self._on_change(self.name, ProcessInfo(pid=child.pid, address=status.address))
        if status.pbx_api or self._has_pbx_api:
            self._on_change("pbx_api", ProcessInfo(pid=child.pid, address=status.pbx_api) if status.pbx_api else None)
        self._has_pbx_api = bool(status.pbx_api)
        # Kept, so that applications find it at the same port after a restart.
        self._pbx_api_address = status.pbx_api or self._pbx_api_address

    def restart(self) -> None:
        """Stop the process so that it is restarted at once."""
        self._wake_event.set()
        if self._child is not None and self._child.returncode is None:
            self._child.terminate()

    async def is_responsive(self, timeout_seconds: float) -> bool:
        """Return whether the process answers in this time, or is being started."""
        child, answer_event = self._child, self._answer_event
        if answer_event is None or child is None or child.stdin is None:
            return True
        answer_event.clear()
        child.stdin.write(PING)
        try:
            async with asyncio.timeout(timeout_seconds):
                await answer_event.wait()
        except TimeoutError:
            return self._answer_event is not answer_event
        return True

    async def stop(self) -> None:
        """Stop the process, by a signal first, and return when it has ended."""
        self._stop_event.set()
        self._wake_event.set()
        await self._terminate()
        if self._supervision_task is not None:
            await self._supervision_task

    async def _restart_on_exit(self, config: Config) -> None:
        maximum = RESTART_SECONDS_MAX_BY_PROCESS.get(self.name, RESTART_SECONDS_MAX)
        backoff = Backoff(first=RESTART_SECONDS_FIRST, maximum=maximum, steady_seconds=STEADY_SECONDS)
        while True:
            loop = asyncio.get_running_loop()
            started_at = loop.time()
            # None for a process that could not be started: that error is logged already.
            exit_code = None if self._child is None else await self._child.wait()
            self._answer_event = None
            config = _with_address(config, "pbx_api", self._pbx_api_address)
            await self._read_last_status()
            self._report_exit()
            if self._stop_event.is_set():
                return
            wait_seconds = backoff.after_run(loop.time() - started_at)
            if exit_code is not None and not self._wake_event.is_set():
                message = f"{self.name} exited, restarting"
                self._log.warning(message, extra={**_exit_reason(exit_code), "delay_seconds": wait_seconds})
            await self._wait_or_wake(wait_seconds)
            if self._stop_event.is_set():
                return
            self._log_error(await self._spawn(config))
            if self._stop_event.is_set():
                # Stopped between the two lines above, when there was no process yet.
                await self._terminate()

    async def _wait_or_wake(self, seconds: float) -> None:
        """Wait, or return early for an immediate restart."""
        try:
            async with asyncio.timeout(seconds):
                await self._wake_event.wait()
        except TimeoutError:
            return
        self._wake_event.clear()

    async def _spawn(self, config: Config) -> StatusMessage:
        """Start the process and wait for its status line; an error is returned as a status, never raised. The standard
        input of the process ends with this one.
        """
        self._child = None
        try:
            self._child = await asyncio.create_subprocess_exec(
                *build_command(
                    f"onhook.runtime.{self.name}_process",
                    config,
                    *self._arguments,
                    *listen_arguments(self._listen_fd),
                ),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=child_environment(config),
                pass_fds=[] if self._listen_fd is None else [self._listen_fd],
                process_group=0,  # Ctrl-C is for the supervisor alone, which stops the others in order
            )
        except OSError as error:
            return _to_status(_("{process} could not be started: {error}", process=self.name, error=error))
        self._arguments = ()
        status = await self._read_first_status(self._child)
        if not status.error:
            self._report_status(self._child, status)
            self._answer_event = asyncio.Event()
            self._status_task = asyncio.create_task(self._read_later_statuses(self._child))
        return status

    async def _read_later_statuses(self, child: asyncio.subprocess.Process) -> None:
        """Read later status lines: answers to pings, and the address of the PBX API."""
        while status := await self._read_status(child):
            if status.error:
                self._log_error(status)
            elif status.is_answer:
                if self._answer_event is not None:
                    self._answer_event.set()
            else:
                self._report_status(child, status)

    async def _read_last_status(self) -> None:
        """Log the error that a process printed before it ended."""
        if self._status_task is not None:
            await asyncio.wait([self._status_task], timeout=LAST_STATUS_SECONDS_MAX)
            self._status_task.cancel()

    def _report_exit(self) -> None:
        self._on_end(self.name, self._stop_event.is_set() or self._wake_event.is_set())
        self._on_change(self.name, None)
        if self._has_pbx_api:
            self._on_change("pbx_api", None)
        self._has_pbx_api = False

    async def _read_first_status(self, child: asyncio.subprocess.Process) -> StatusMessage:
        """Return the first status line, or why there is none; a process without a valid one is killed."""
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                status = await self._read_status(child)
        except TimeoutError:
            child.kill()
            text = _(
                "{process} was not ready after {seconds:.0f} seconds", process=self.name, seconds=READY_SECONDS_MAX
            )
            return _to_status(text)
        if status is None:
            code = await child.wait()
            if code < 0:
                name = _signal_name(-code)
                return _to_status(
                    _("{process} was ended by {signal} before it was ready", process=self.name, signal=name)
                )
            return _to_status(_("{process} ended with code {code} before it was ready", process=self.name, code=code))
        return status

    async def _read_status(self, child: asyncio.subprocess.Process) -> StatusMessage | None:
        """Return the next status line of a process, or None at its end; kill a process that prints another line."""
        assert child.stdout is not None
        try:
            line = await child.stdout.readline()
            return msgspec.json.decode(line, type=StatusMessage) if line else None
        except (msgspec.DecodeError, ValueError) as error:  # ValueError: the line is too long, or is not UTF-8
            with suppress(ProcessLookupError):
                child.kill()
            return _to_status(_("{process} printed an invalid status: {error}", process=self.name, error=error))

    async def _terminate(self) -> None:
        if self._child is None or self._child.returncode is not None:
            return
        self._child.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await self._child.wait()
        except TimeoutError:
            self._log.warning(f"{self.name} did not stop in time and was killed")
            self._child.kill()
            await self._child.wait()

    def _log_error(self, status: StatusMessage) -> None:
        if status.error:
            self._log.error(status.error)


def _signal_name(number: int) -> str:
    """Return the name of a signal, such as `SIGSEGV`; its number where it has none."""
    return signal.Signals(number).name if number in list(signal.Signals) else str(number)


def _exit_reason(exit_code: int) -> dict[str, object]:
    """Return the exit code for the log, and the name of the signal that ended the process.

    >>> _exit_reason(1), _exit_reason(-11)
    ({'exit_code': 1}, {'exit_code': -11, 'signal': 'SIGSEGV'})
    """
    if exit_code >= 0:
        return {"exit_code": exit_code}
    return {"exit_code": exit_code, "signal": _signal_name(-exit_code)}


def _to_status(error: str) -> StatusMessage:
    return StatusMessage(error=error, exit_code=1)


def _to_error(status: StatusMessage) -> OnhookError:
    return UsageError(status.error) if status.exit_code == UsageError.exit_code else OnhookError(status.error)


async def supervise(
    config: Config,
    clock: Clock,
    on_ready: ReadyCallback,
    *,
    with_demo: bool = False,
    manager: ServiceManager = NO_MANAGER,
) -> None:
    """Run the server until stopped. Raises `OnhookError` where it cannot be started."""
    config = _with_passed_address(config, manager.listen_fd)
    notifier = ServiceNotifier(manager.notify_socket)
    prepare_directory(config)
    check_ledger_file(config)
    with instance_lock(config):
        server_info = start_server_info(config, clock)
        is_new_demo, token = await _prepare_appdb(config, clock, with_demo=with_demo)
        supervisor = _Supervisor(config, clock, server_info, manager.listen_fd)
        try:
            await supervisor.open(with_demo=with_demo, is_new_demo=is_new_demo)
            supervisor.mark_as_run()
            # On the first start the hub writes the file, where the database answered it and not this process.
            await on_ready(supervisor.server_info, token or read_token_file(config.admin_token_file))
            notifier.notify("READY=1", f"STATUS={_describe_addresses(supervisor.server_info)}")
            async with watchdog(manager, notifier, supervisor.processes):
                await supervisor.wait_for_stop()
        finally:
            notifier.notify("STOPPING=1")
            await supervisor.close()


async def _prepare_appdb(config: Config, clock: Clock, *, with_demo: bool) -> tuple[bool, str]:
    """Return whether the simulated PBX is new, and the administrator's token; that is empty where a database on a
    server does not answer, and the intake starts all the same. So it does where that server refuses the setting, but
    for a first start: it would have no PBX. Raises `OnhookError`.
    """
    try:
        async with ENGINES.open_appdb(config) as appdb:
            await check_moved(config, appdb)
            is_new_demo = with_demo and await register_demo_pbx(appdb, clock)
            # A machine with the intake alone has no console.
            token = "" if config.role == "intake" else await ensure_admin_token(config, appdb, clock)
            return is_new_demo, token
    except (AccessRefused, Unavailable) as error:
        if not config.appdb or (isinstance(error, AccessRefused) and not config.credentials_file.exists()):
            raise
        logging.getLogger("serve").error(
            "the application database cannot be used: events are received, the console starts when it can",
            extra={"error": str(error)},
        )
        return False, read_token_file(config.admin_token_file)


class _Supervisor:
    """Running processes, in the order of their start."""

    def __init__(self, config: Config, clock: Clock, server_info: ServerInfo, listen_fd: int | None) -> None:
        self._config = config
        self._clock = clock
        self._listen_fd = listen_fd
        self.processes: list[SupervisedProcess] = []
        self._stop_event = asyncio.Event()
        self.server_info = server_info

    async def open(self, *, with_demo: bool, is_new_demo: bool) -> None:
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signal_number, self._stop_event.set)
        intake = ""
        if self._config.role != "hub":
            intake = await self._add_process("intake", listen_fd=self._listen_fd).start_with_retry(self._config)
        if self._config.role != "intake":
            hub = self._add_process("hub")
            loop.add_signal_handler(signal.SIGUSR1, hub.restart)
            await hub.start(self._config)
        if with_demo:
            demo = self._add_process("demo", *([WITH_HISTORY] if is_new_demo else []))
            await demo.start(_with_address(self._config, "intake", intake))

    async def wait_for_stop(self) -> None:
        """Return when stopped. Raises `OnhookError` when the data directory was removed."""
        stop_task, removed_task = (
            asyncio.create_task(self._stop_event.wait()),
            asyncio.create_task(wait_until_removed(self._config)),
        )
        try:
            await asyncio.wait([stop_task, removed_task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop_task.cancel()
            removed_task.cancel()
        if not self._stop_event.is_set():
            raise OnhookError(
                _(
                    "the data directory, or a file in it, was removed while the server was running ({name});"
                    " the server has stopped",
                    name=removed_task.result().name,
                ),
                location=str(self._config.data),
                hint=_("restore a backup, or start again with a new one"),
            )

    async def close(self) -> None:
        for process in reversed(self.processes):
            await process.stop()

    def _add_process(self, name: str, *first_arguments: str, listen_fd: int | None = None) -> SupervisedProcess:
        process = SupervisedProcess(
            name, self._update_server_info, *first_arguments, on_end=self._add_end, listen_fd=listen_fd
        )
        self.processes.append(process)
        return process

    def mark_as_run(self) -> None:
        """Store that all processes have run: from now on an end without a stop is an error."""
        self._write(msgspec.structs.replace(self.server_info, has_run=True))

    def _update_server_info(self, name: str, process_info: ProcessInfo | None) -> None:
        changes: dict[str, ProcessInfo | None] = {name: process_info}
        self._write(msgspec.structs.replace(self.server_info, **changes))

    def _add_end(self, name: str, is_requested: bool) -> None:
        """Count an end; it is written with the change that follows."""
        ends = add_end(self.server_info.ends.get(name), self._clock.now(), is_requested=is_requested)
        self.server_info = msgspec.structs.replace(self.server_info, ends={**self.server_info.ends, name: ends})

    def _write(self, server_info: ServerInfo) -> None:
        self.server_info = server_info
        try:
            write_server_info(self._config.running_file, self.server_info)
        except OSError as error:
            # As on a full disk: a process that has ended is restarted all the same.
            extra = {"error": error.strerror, "file": self._config.running_file.name}
            logging.getLogger("serve").error("cannot write running.json", extra=extra)


def _with_address(config: Config, name: str, address: str) -> Config:
    """Return the configuration with the port of a process: after a restart it must be found again."""
    field = {"intake": "intake", "hub": "console", "pbx_api": "pbx_api"}.get(name)
    if field is None or not address:
        return config
    return msgspec.structs.replace(config, **{field: parse_address(address, field)})


def _with_passed_address(config: Config, listen_fd: int | None) -> Config:
    """Return the configuration with the address of a socket that listens already. Raises `UsageError`."""
    if listen_fd is None:
        return config
    with passed_socket(listen_fd) as server_socket:
        host, port = server_socket.getsockname()[:2]
    return msgspec.structs.replace(config, intake=Address(host, port))


def _describe_addresses(server_info: ServerInfo) -> str:
    """Return a line about a running server, for the service manager."""
    processes = {"intake": server_info.intake, "console": server_info.hub, "PBX API": server_info.pbx_api}
    return ", ".join(f"{name} {process.address}" for name, process in processes.items() if process is not None)
