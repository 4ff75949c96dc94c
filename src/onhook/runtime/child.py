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

from onhook.config import Config, load
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import OnhookError
from onhook.runtime.logging import set_up_logs

STDIN, STDOUT = 0, 1

Tasks = Sequence[asyncio.Task[None]]
"""What runs until the end: where one ends by itself, the process cannot go on."""


class Whereabouts:
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


class Opened(msgspec.Struct, frozen=True):
    """A part of the house, open: where it listens (`HOST:PORT`, or empty), and what runs in it."""

    address: str
    tasks: Tasks = ()
    exchange: Whereabouts | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """A line on standard output. `exchange` is where that listens, which only the hub says."""

    address: str = ""
    exchange: str = ""
    error: str = ""
    exit_code: int = 0
    is_permanent: bool = False


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """The first argument: the configuration as texts, and whether somebody watches over this process."""

    settings: Mapping[str, str]
    is_watched: bool = True


Open = Callable[[Config, Clock], AbstractAsyncContextManager[Opened]]


def command(module: str, config: Config, *words: str, is_watched: bool = True) -> list[str]:
    """The command line that starts a module of the hall with this configuration. It holds no secret.

    `words` are for the module itself, which finds them in `sys.argv` behind the configuration. The directory that the
    server was started in is no place to import from (`-P`): an `http.py` there would be taken for Python's own.
    """
    texts = {name: str(getattr(config, name)) for name in Config.__struct_fields__}
    start = Start(settings=texts, is_watched=is_watched)
    return [sys.executable, "-P", "-m", module, msgspec.json.encode(start).decode(), *words]


def run_child(part: str, open_part: Open) -> int:
    """Open a part of the house, stay until told to stop, close it; the exit code."""
    start = msgspec.json.decode(sys.argv[1], type=Start)
    clock = SystemClock()
    # Logs that the engines make beside their files are for the owner alone too.
    os.umask(0o077)
    try:
        config = load(start.settings, directory=Path.cwd(), environ={})
        set_up_logs(config, clock, part)
        uvloop.run(_stay(open_part, config, clock, is_watched=start.is_watched))
    except OnhookError as error:
        return _failed(start, Said(error=str(error), exit_code=error.exit_code, is_permanent=error.permanent))
    except Exception as error:
        logging.getLogger(part).exception("stopped by an unexpected error")
        return _failed(start, Said(error=f"{part} failed: {type(error).__name__}: {error}", exit_code=1))
    return 0


async def _stay(open_part: Open, config: Config, clock: Clock, *, is_watched: bool) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    if is_watched:
        _stop_when_alone(loop, told)
    async with open_part(config, clock) as opened:
        if is_watched:
            _say_where(opened)
        else:
            logging.getLogger("onhook").info("listening", extra={"address": opened.address})
        await _told_or_failed(told, opened.tasks)


async def _told_or_failed(told: asyncio.Event, tasks: Tasks) -> None:
    """Wait for the word to stop; a task that ends before raises what ended it."""
    waiting = asyncio.create_task(_wait(told))
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for task in done - {waiting}:
        task.result()
        raise OnhookError("a part that should run for ever has ended", todo="look at the log")


async def _wait(told: asyncio.Event) -> None:
    await told.wait()


def _stop_when_alone(loop: asyncio.AbstractEventLoop, told: asyncio.Event) -> None:
    """Nobody writes to our standard input: when it can be read, it has ended."""

    def look() -> None:
        if not os.read(STDIN, 1):
            loop.remove_reader(STDIN)
            told.set()

    loop.add_reader(STDIN, look)


def _say_where(opened: Opened) -> None:
    """Say where we listen, and again whenever the exchange begins or ends to."""
    ears = os.dup(STDOUT)
    if opened.exchange is None:
        _say(Said(address=opened.address))
        os.close(ears)
        return
    _say(Said(address=opened.address, exchange=opened.exchange.address))
    opened.exchange.tell(lambda exchange: _write(ears, Said(address=opened.address, exchange=exchange)))


def _say(said: Said) -> None:
    _write(STDOUT, said)
    # What a library prints must not be taken for ours, nor fill the pipe and make us wait.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, STDOUT)
    os.close(nowhere)


def _write(descriptor: int, said: Said) -> None:
    # Whoever wanted to know may be gone; the end of standard input says so too, and stops us.
    with suppress(BrokenPipeError):
        os.write(descriptor, msgspec.json.encode(said) + b"\n")


def _failed(start: Start, said: Said) -> int:
    if start.is_watched:
        _say(said)
    else:
        sys.stderr.write(f"onhook: {said.error}\n")
    return said.exit_code
