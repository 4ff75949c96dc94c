"""One process of the house: how it starts, says that it is ready, and stops.

Laws: it stops when told by a signal, and by itself when whoever started it is gone: then its standard input ends.
On standard output it says where it listens or why it does not; again when that changes; and nothing else.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path

import msgspec
import uvloop

from onhook.config import Config, read_config
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import OnhookError
from onhook.runtime.logging import configure_logging

STDIN, STDOUT = 0, 1

Tasks = Sequence[asyncio.Task[None]]
"""What runs until the end: where one ends by itself, the process cannot go on."""


class ObservableAddress:
    """Where something listens that may begin and end while the process runs (`HOST:PORT`, or empty)."""

    def __init__(self) -> None:
        self.address = ""
        self._tell: Callable[[str], None] | None = None

    def is_now(self, address: str) -> None:
        """It listens there from now on, or nowhere."""
        self.address = address
        if self._tell is not None:
            self._tell(address)

    def tell(self, tell: Callable[[str], None]) -> None:
        """Call this whenever it changes."""
        self._tell = tell


class RunningService(msgspec.Struct, frozen=True):
    """A part of the house, open: where it listens (`HOST:PORT`, or empty), and what runs in it."""

    address: str
    tasks: Tasks = ()
    exchange: ObservableAddress | None = None


class StatusMessage(msgspec.Struct, frozen=True, kw_only=True):
    """A line on standard output. `exchange` is where that listens, which only the hub says."""

    address: str = ""
    exchange: str = ""
    error: str = ""
    exit_code: int = 0
    is_permanent: bool = False


class ChildArguments(msgspec.Struct, frozen=True, kw_only=True):
    """The first argument: the configuration as texts, and whether somebody watches over this process."""

    settings: Mapping[str, str]
    is_watched: bool = True


ServiceFactory = Callable[[Config, Clock], AbstractAsyncContextManager[RunningService]]


def build_command(module: str, config: Config, *words: str, is_watched: bool = True) -> list[str]:
    """The command line that starts a module of the hall with this configuration. It holds no secret.

    `words` are for the module itself, which finds them in `sys.argv` behind the configuration. The directory that the
    server was started in is no place to import from (`-P`): an `http.py` there would be taken for Python's own.
    """
    config_values = {name: str(getattr(config, name)) for name in Config.__struct_fields__}
    child_arguments = ChildArguments(settings=config_values, is_watched=is_watched)
    return [sys.executable, "-P", "-m", module, msgspec.json.encode(child_arguments).decode(), *words]


def run_child(part: str, open_part: ServiceFactory) -> int:
    """Open a part of the house, stay until told to stop, close it; the exit code."""
    child_arguments = msgspec.json.decode(sys.argv[1], type=ChildArguments)
    clock = SystemClock()
    # Logs that the engines make beside their files are for the owner alone too.
    os.umask(0o077)
    try:
        config = read_config(child_arguments.settings, directory=Path.cwd(), environ={})
        configure_logging(config, clock, part)
        uvloop.run(_run_until_stopped(open_part, config, clock, is_watched=child_arguments.is_watched))
    except OnhookError as error:
        return _report_failure(
            child_arguments, StatusMessage(error=str(error), exit_code=error.exit_code, is_permanent=error.permanent)
        )
    except Exception as error:
        logging.getLogger(part).exception("stopped by an unexpected error")
        return _report_failure(
            child_arguments, StatusMessage(error=f"{part} failed: {type(error).__name__}: {error}", exit_code=1)
        )
    return 0


async def _run_until_stopped(open_part: ServiceFactory, config: Config, clock: Clock, *, is_watched: bool) -> None:
    stop_event = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_number, stop_event.set)
    if is_watched:
        _stop_on_stdin_eof(loop, stop_event)
    async with open_part(config, clock) as service:
        if is_watched:
            _report_addresses(service)
        else:
            logging.getLogger("onhook").info("listening", extra={"address": service.address})
        await _wait_for_stop_or_failure(stop_event, service.tasks)


async def _wait_for_stop_or_failure(told: asyncio.Event, tasks: Tasks) -> None:
    """Wait for the word to stop; a task that ends before raises what ended it."""
    stop_task = asyncio.create_task(_wait_for_event(told))
    finished_tasks, _ = await asyncio.wait([stop_task, *tasks], return_when=asyncio.FIRST_COMPLETED)
    stop_task.cancel()
    for task in finished_tasks - {stop_task}:
        task.result()
        raise OnhookError("a part that should run for ever has ended", todo="look at the log")


async def _wait_for_event(told: asyncio.Event) -> None:
    await told.wait()


def _stop_on_stdin_eof(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    """Nobody writes to our standard input: when it can be read, it has ended."""

    def on_readable() -> None:
        if not os.read(STDIN, 1):
            loop.remove_reader(STDIN)
            told.set()

    loop.add_reader(STDIN, on_readable)


def _report_addresses(opened: RunningService) -> None:
    """Say where we listen, and again whenever the exchange begins or ends to."""
    status_fd = os.dup(STDOUT)
    if opened.exchange is None:
        _send_status(StatusMessage(address=opened.address))
        os.close(status_fd)
        return
    _send_status(StatusMessage(address=opened.address, exchange=opened.exchange.address))
    opened.exchange.tell(
        lambda pbx_api_address: _write_status(
            status_fd, StatusMessage(address=opened.address, exchange=pbx_api_address)
        )
    )


def _send_status(said: StatusMessage) -> None:
    _write_status(STDOUT, said)
    # What a library prints must not be taken for ours, nor fill the pipe and make us wait.
    devnull_fd = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull_fd, STDOUT)
    os.close(devnull_fd)


def _write_status(descriptor: int, said: StatusMessage) -> None:
    # Whoever wanted to know may be gone; the end of standard input says so too, and stops us.
    with suppress(BrokenPipeError):
        os.write(descriptor, msgspec.json.encode(said) + b"\n")


def _report_failure(start: ChildArguments, said: StatusMessage) -> int:
    if start.is_watched:
        _send_status(said)
    else:
        sys.stderr.write(f"onhook: {said.error}\n")
    return said.exit_code
