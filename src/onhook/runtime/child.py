"""One process of the server: how it starts, reports that it is ready, and stops.

Invariants: it stops on a signal, and by itself when its parent has ended: then its standard input ends. It prints its
address on standard output, again when the address changes, the error that ends it, whenever that is, and an answer to
each ping on standard input; and nothing else.
"""

import asyncio
import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import msgspec
import uvloop

from onhook.config import SECRET_SETTINGS, Config, read_config, secret_environment
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _
from onhook.runtime.logging import configure_logging

STDIN, STDOUT = 0, 1

PING = b"\n"
"""Written to standard input by the supervisor; the event loop of the process answers."""

PINGS_MAX = 64
"""Pings that are answered at once, by one answer."""

LISTEN_FD_ARGUMENT = "--listen-fd="
"""Argument with the descriptor of a socket that listens already."""

Tasks = Sequence[asyncio.Task[None]]
"""Tasks that run until the end: when one ends by itself, the process stops. The hub has none: its services restart."""


class ObservableAddress:
    """Address of a listener that may start and stop while the process runs (`HOST:PORT`, or empty)."""

    def __init__(self) -> None:
        self.address = ""
        self._callback: Callable[[str], None] | None = None

    def update(self, address: str) -> None:
        """Set the address; empty where nothing listens."""
        self.address = address
        if self._callback is not None:
            self._callback(address)

    def on_change(self, callback: Callable[[str], None]) -> None:
        """Call this function on every change."""
        self._callback = callback


class RunningService(msgspec.Struct, frozen=True):
    """A running part of the server: its address (`HOST:PORT`, or empty), and its tasks."""

    address: str
    tasks: Tasks = ()
    pbx_api: ObservableAddress | None = None


class StatusMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A line on standard output. `pbx_api` is the address of the PBX API, in the hub only. `is_answer` says that the
    line is the answer to a ping, and nothing else.
    """

    address: str = ""
    pbx_api: str = ""
    error: str = ""
    exit_code: int = 0
    is_permanent: bool = False
    is_answer: bool = False


class ChildArguments(msgspec.Struct, frozen=True, kw_only=True):
    """The first argument: the configuration as texts, and whether the process has a supervisor."""

    config_values: Mapping[str, str]
    is_supervised: bool = True


ServiceFactory = Callable[[Config, Clock], AbstractAsyncContextManager[RunningService]]


def build_command(module: str, config: Config, *arguments: str, is_supervised: bool = True) -> list[str]:
    """Return the command line that starts a module with this configuration. It contains no secret; `child_environment`
    has them.

    `arguments` are for the module itself, in `sys.argv` after the configuration. The current directory is not on the
    import path (`-P`): an `http.py` there would replace Python's own.
    """
    config_values = {
        name: str(getattr(config, name)) for name in Config.__struct_fields__ if name not in SECRET_SETTINGS
    }
    child_arguments = ChildArguments(config_values=config_values, is_supervised=is_supervised)
    return [sys.executable, "-P", "-m", module, msgspec.json.encode(child_arguments).decode(), *arguments]


def listen_arguments(listen_fd: int | None) -> list[str]:
    """Return the arguments of a process that gets this socket; none without one."""
    return [] if listen_fd is None else [f"{LISTEN_FD_ARGUMENT}{listen_fd}"]


def parse_listen_fd(arguments: Sequence[str]) -> int | None:
    """Return the descriptor in the arguments of a process.

    >>> parse_listen_fd(["{}", *listen_arguments(3)]), parse_listen_fd(["{}"])
    (3, None)
    """
    descriptors = [text.removeprefix(LISTEN_FD_ARGUMENT) for text in arguments if text.startswith(LISTEN_FD_ARGUMENT)]
    return int(descriptors[0]) if descriptors else None


def run_child(process_name: str, open_service: ServiceFactory) -> int:
    """Open a part of the server, run until stopped, close it; return the exit code."""
    # The stacks of all threads, where an extension module crashes.
    faulthandler.enable()
    child_arguments = msgspec.json.decode(sys.argv[1], type=ChildArguments)
    status_fd = _take_stdout() if child_arguments.is_supervised else None
    clock = SystemClock()
    # Logs that the engines write beside their files are for the owner alone too.
    os.umask(0o077)
    try:
        config = read_config(child_arguments.config_values, directory=Path.cwd(), environ=secret_environment())
        configure_logging(config, clock, process_name)
        uvloop.run(_run_until_stopped(open_service, config, clock, status_fd))
    except OnhookError as error:
        return _report_failure(
            status_fd, StatusMessage(error=str(error), exit_code=error.exit_code, is_permanent=error.permanent)
        )
    except Exception as error:
        logging.getLogger(process_name).exception("stopped by an unexpected error")
        return _report_failure(
            status_fd, StatusMessage(error=f"{process_name} failed: {type(error).__name__}: {error}", exit_code=1)
        )
    return 0


def _take_stdout() -> int:
    """Return a descriptor of standard output for status lines, and drop what libraries print: it must not be read for a
    status line, nor fill the pipe and block.
    """
    status_fd = os.dup(STDOUT)
    devnull_fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull_fd, STDOUT)
    os.close(devnull_fd)
    return status_fd


async def _run_until_stopped(open_service: ServiceFactory, config: Config, clock: Clock, status_fd: int | None) -> None:
    """Run until stopped; `status_fd` is None for a process without a supervisor."""
    stop_event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop_event.set)
    if status_fd is not None:
        _follow_stdin(loop, stop_event, status_fd)
    async with open_service(config, clock) as service:
        if status_fd is not None:
            _report_addresses(service, status_fd)
        else:
            logging.getLogger("onhook").info("listening", extra={"address": service.address})
        await _wait_for_stop_or_failure(stop_event, service.tasks)


async def _wait_for_stop_or_failure(stop_event: asyncio.Event, tasks: Tasks) -> None:
    """Wait for the stop; raise the error of a task that ends before."""
    stop_task = asyncio.create_task(_wait_for_event(stop_event))
    finished_tasks, _unused = await asyncio.wait([stop_task, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stop_task.cancel()
    for task in finished_tasks - {stop_task}:
        task.result()
        raise OnhookError(_("a background task ended unexpectedly"), hint=_("see the log"))


async def _wait_for_event(event: asyncio.Event) -> None:
    await event.wait()


def _follow_stdin(loop: asyncio.AbstractEventLoop, stop_event: asyncio.Event, status_fd: int) -> None:
    """Answer the pings on standard input, and stop at its end."""

    def on_readable() -> None:
        if os.read(STDIN, PINGS_MAX):
            _write_status(status_fd, StatusMessage(is_answer=True))
        else:
            loop.remove_reader(STDIN)
            stop_event.set()

    loop.add_reader(STDIN, on_readable)


def _report_addresses(service: RunningService, status_fd: int) -> None:
    """Print the addresses, and again whenever that of the PBX API changes."""
    pbx_api_address = "" if service.pbx_api is None else service.pbx_api.address
    _write_status(status_fd, StatusMessage(address=service.address, pbx_api=pbx_api_address))
    if service.pbx_api is not None:
        service.pbx_api.on_change(
            lambda changed_address: _write_status(
                status_fd, StatusMessage(address=service.address, pbx_api=changed_address)
            )
        )


def _write_status(descriptor: int, status: StatusMessage) -> None:
    # The parent may have ended; then standard input ends too, and stops this process.
    with suppress(BrokenPipeError):
        os.write(descriptor, msgspec.json.encode(status) + b"\n")


def _report_failure(status_fd: int | None, status: StatusMessage) -> int:
    if status_fd is not None:
        _write_status(status_fd, status)
    else:
        sys.stderr.write(f"onhook: {status.error}\n")
    return status.exit_code
