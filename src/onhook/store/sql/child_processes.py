"""Query processes as the hub sees them: started, asked once, and ended whatever happens."""

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import TypeVar

import msgspec

from onhook.store.sql.contract import SqlCell
from onhook.store.sql.wire import QueryFailure, SqlReply

REPLY_BYTES_MAX = 12 * 2**20
"""A result has 8 MiB of rows; with its columns and their names less than this."""

ERROR_BYTES_MAX = 16 * 1024
"""Of the text that a process prints before it fails: enough for a traceback."""

KILL_SECONDS_MAX = 5.0
"""Time for the system to end a killed process, which may be writing to a slow disk."""

DECODED_BYTES_MAX = 128 * 1024
"""Of a reply that are decoded at once: some milliseconds, in which the hub does nothing else."""

_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
"""Nothing of the server's own environment. One arena: the limit of the address space is for data."""

ReplyT = TypeVar("ReplyT")


class ProcessEnded(Exception):
    """A process ended without a reply: its exit code (below 0: the number of a signal), and what it printed."""

    def __init__(self, exit_code: int, error_text: str) -> None:
        super().__init__(f"exit code {exit_code}")
        self.exit_code = exit_code
        self.error_text = error_text

    @property
    def reason(self) -> str:
        """Return the exit code for the log, or the name of the signal."""
        return signal.Signals(-self.exit_code).name if self.exit_code < 0 else f"exit code {self.exit_code}"


class _EncodedReply(msgspec.Struct, frozen=True, kw_only=True):
    """A reply whose rows are not decoded yet."""

    columns: Sequence[str] = ()
    rows: Sequence[msgspec.Raw] = ()
    is_truncated: bool = False
    failure: QueryFailure | None = None


_REPLY_DECODER = msgspec.json.Decoder(_EncodedReply)
_ROW_DECODER: msgspec.json.Decoder[list[SqlCell]] = msgspec.json.Decoder(list[SqlCell])


async def ask_process(module: str, request: msgspec.Struct, *, seconds_max: float, niceness: int) -> SqlReply:
    """Start a process with a lower priority, send the request, return its reply. Cancelling the caller kills it.

    Raises `ProcessEnded` where it ends without a reply, `TimeoutError`, and `OSError` where it cannot be started.
    """
    # Isolated (-I): neither the current directory nor the environment decides what is imported. Where an extension
    # module crashes, also while it is imported, the stacks of all threads are printed.
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-X", "faulthandler", "-m", module, str(os.getpid())),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_ENVIRONMENT,
    )
    try:
        with suppress(ProcessLookupError):  # it has ended already
            os.setpriority(os.PRIO_PROCESS, process.pid, niceness)
        async with asyncio.timeout(seconds_max):
            return await _exchange(process, msgspec.json.encode(request))
    finally:
        await _end_process(process)


async def _exchange(process: asyncio.subprocess.Process, request: bytes) -> SqlReply:
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    _sent, reply, error_text = await asyncio.gather(
        _send(process.stdin, request),
        _read(process.stdout, REPLY_BYTES_MAX),
        _read(process.stderr, ERROR_BYTES_MAX),
    )
    exit_code = await process.wait()
    try:
        return await decode_reply(reply)
    except msgspec.DecodeError:
        raise ProcessEnded(exit_code, error_text.decode(errors="replace")) from None


async def decode_reply(content: bytes) -> SqlReply:
    """Return the reply in a text, decoded part by part between other tasks: a thread would hold the interpreter's lock
    for as long. Raises `msgspec.DecodeError`.
    """
    reply = _REPLY_DECODER.decode(content)
    rows: list[list[SqlCell]] = []
    part_bytes = 0
    for encoded_row in reply.rows:
        part_bytes += len(bytes(encoded_row))
        if part_bytes > DECODED_BYTES_MAX:
            part_bytes = 0
            await asyncio.sleep(0)
        rows.append(_ROW_DECODER.decode(encoded_row))
    return SqlReply(columns=reply.columns, rows=rows, is_truncated=reply.is_truncated, failure=reply.failure)


async def _send(stdin: asyncio.StreamWriter, request: bytes) -> None:
    try:
        stdin.write(request)
        await stdin.drain()
        stdin.close()
        await stdin.wait_closed()
    except (BrokenPipeError, ConnectionResetError):
        # The process has ended; its exit code says why.
        return


async def _read(stream: asyncio.StreamReader, bytes_max: int) -> bytes:
    """Read to the end; return at most so many bytes, and drop the rest."""
    content = bytearray()
    while chunk := await stream.read(256 * 1024):
        content += chunk[: bytes_max - len(content)]
    return bytes(content)


async def _end_process(process: asyncio.subprocess.Process) -> None:
    """Kill the process unless it has ended, and wait for its end. A cancelled caller waits too, and not for long."""
    if process.returncode is not None:
        return
    process.kill()
    wait_task = asyncio.create_task(process.wait())
    try:
        await asyncio.wait([wait_task], timeout=KILL_SECONDS_MAX)
    finally:
        wait_task.cancel()
