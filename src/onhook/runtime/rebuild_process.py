"""Process that rebuilds the store beside the hub, which uses the old one until the new one is complete: after an
erasure, and where the store is outdated.

A store is outdated where another hub has had all events read again (`onhook rebuild` there) and this one was not made
by that order: its calls differ from those of the other.

Invariants: a rebuild that fails, or that would lose calls, leaves the old store in use and is tried again. The process
ends with the hub.
"""

import asyncio
import logging
import os
import signal
import sys
from asyncio import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from onhook.config import Config, child_environment
from onhook.lib.clock import Clock
from onhook.lib.errors import Unavailable
from onhook.lib.file_lock import is_locked
from onhook.lib.messages import _
from onhook.ops.rebuild import LOCK_NAME, check_begin, rebuild
from onhook.projector.projector import Projector
from onhook.runtime.child import RunningService, StatusMessage, build_command, run_child
from onhook.runtime.engines import ENGINES

MODULE = "onhook.runtime.rebuild_process"

LOCKED_SECONDS = 1.0
"""Between two looks at a rebuild that a person has started, which makes this one needless."""

RETRY_SECONDS = 60.0
"""After a failure: the old store is in use meanwhile."""

NICENESS = 10
"""The hub, which serves the old store, comes first."""

RunRebuild = Callable[[Config], Awaitable[str]]
"""Rebuilds the store; returns why that failed, or an empty text."""


async def rebuild_when_outdated(config: Config, projector: Projector, run_rebuild: RunRebuild) -> None:
    """Rebuild the store once it is found outdated. With the new store this process is restarted by its supervisor."""
    await projector.wait_until_outdated()
    log = logging.getLogger("rebuild")
    log.warning("all events were read again elsewhere: the store is rebuilt beside the one in use")
    while True:
        while is_locked(config.data / LOCK_NAME):  # noqa: ASYNC110 - another process cannot set an event here
            await asyncio.sleep(LOCKED_SECONDS)
        failure = await run_rebuild(config)
        if not failure:
            break
        log.error("cannot rebuild the store", extra={"error": failure, "retry_seconds": RETRY_SECONDS})
        await asyncio.sleep(RETRY_SECONDS)
    log.info("rebuilt the store")
    await asyncio.Event().wait()


async def rebuild_in_process(config: Config) -> None:
    """Rebuild the store in a process of its own; this one is then restarted with it. Raises `Unavailable`."""
    if failure := await run_rebuild_process(config):
        raise Unavailable(_("cannot rebuild the store: {reason}", reason=failure), hint=_("it is tried again"))


async def run_rebuild_process(config: Config) -> str:
    """Rebuild the store in a process of its own; see `RunRebuild`. Cancelling the caller ends the process."""
    try:
        process = await asyncio.create_subprocess_exec(
            *build_command(MODULE, config),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=child_environment(config),
        )
    except OSError as error:
        return str(error)
    try:
        with suppress(ProcessLookupError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, NICENESS)
        assert process.stdout is not None
        output = await process.stdout.read()
        return _read_failure(output, await process.wait())
    finally:
        if process.returncode is None:
            process.kill()


def _read_failure(output: bytes, exit_code: int) -> str:
    """Return the error of the last status line; without one why the process ended, unless it was successful."""
    for line in reversed(output.splitlines()):
        with suppress(msgspec.DecodeError):
            if error := msgspec.json.decode(line, type=StatusMessage).error:
                return error
    return "" if exit_code == 0 else f"the process ended with code {exit_code}"


@asynccontextmanager
async def open_rebuild(config: Config, _clock: Clock) -> AsyncIterator[RunningService]:
    """Rebuild the store while the context is open, then stop this process. Its task raises `OnhookError`."""
    task = asyncio.create_task(_rebuild(config), name="rebuild")
    try:
        yield RunningService("", (task,))
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _rebuild(config: Config) -> None:
    await check_begin(config, ENGINES)
    await rebuild(config, lambda _position, _last_seq: None, ENGINES)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.Event().wait()


if __name__ == "__main__":
    sys.exit(run_child("rebuild", open_rebuild))
