"""Groups of commands. A command may be a coroutine function: it gets one event loop, which begins and ends here."""

import asyncio
import functools
import getpass
import inspect
import os
import signal
import threading
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from types import FrameType
from typing import Any, TypeVar

import typer

from onhook.appdb.origin import Origin, set_origin
from onhook.cli.plain_values import PlainValueCommand, PlainValueGroup

CommandT = TypeVar("CommandT", bound=Callable[..., Any])


class CommandGroup(typer.Typer):
    """Typer whose commands may be coroutine functions."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=PlainValueGroup, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[CommandT], CommandT]:
        """Return the decorator that adds a command."""
        register = super().command(name, cls=PlainValueCommand, **options)

        def add(command: CommandT) -> CommandT:
            register(_run_on_event_loop(command) if inspect.iscoroutinefunction(command) else command)
            return command

        return add


def _run_on_event_loop(command: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        def run_as_user() -> Any:
            set_origin(Origin(actor=_user_name(), credential="operating system", address="", way="cli"))
            return asyncio.run(_run_interruptibly(command(*arguments, **options)))

        # A context of its own: the caller's changes have another origin.
        return copy_context().run(run_as_user)

    return run


async def _run_interruptibly(command: Coroutine[Any, Any, Any]) -> Any:
    """Run a command so that Ctrl-C also ends one that begins by reading a secret from a pipe, which blocks its event
    loop. Afterwards the command is cancelled, as asyncio does.
    """
    cancel, loop = signal.getsignal(signal.SIGINT), asyncio.get_running_loop()
    if not callable(cancel) or threading.current_thread() is not threading.main_thread():
        return await command
    has_begun_to_wait = asyncio.Event()
    # Called when the command waits for the first time.
    loop.call_soon(has_begun_to_wait.set)

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not has_begun_to_wait.is_set():
            raise KeyboardInterrupt
        cancel(number, frame)

    signal.signal(signal.SIGINT, interrupt)
    try:
        return await command
    finally:
        signal.signal(signal.SIGINT, cancel)


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"user {os.getuid()}"
