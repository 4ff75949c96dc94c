"""The engines of the application database, the ledger and the store: all processes and commands open their files here.

Files are readable for their owner alone. The engine of the store is imported where one is opened: the intake, and most
commands, do without.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from onhook.appdb.appdb import AppDb, open_appdb
from onhook.config import SECRET_FILE_MODE, Config
from onhook.ledger.contract import Ledger
from onhook.ledger.opening import create_shared_ledger, open_ledger, read_shared_health
from onhook.lib.clock import Clock
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import Unavailable
from onhook.lib.messages import _
from onhook.ops.engines import Engines, store_copy_error
from onhook.store.contract import Store
from onhook.store.sql.contract import SqlRunner
from onhook.store.sql.failures import to_error
from onhook.store.sql.runner import SqlProcessRunner
from onhook.store.sql.store_copy import RESERVE_BYTES
from onhook.store.sql.wire import QueryError

if TYPE_CHECKING:
    from onhook.store import duckdb as store_engine
    from onhook.store.sql import copy_process
else:
    store_engine = DeferredModule("onhook.store.duckdb")
    copy_process = DeferredModule("onhook.store.sql.copy_process")

LOCKED_SECONDS_MAX = 5.0
LOCKED_RETRY_SECONDS = 0.1
"""Time to wait for a command that has the store open: most take less than a second."""

ResultT = TypeVar("ResultT")


async def open_store_file(path: Path) -> Store:
    """Open the store; create it if it does not exist. It contains callers' numbers. Raises `OnhookError`."""
    return await retry_while_locked(lambda: _open_private(path))


@asynccontextmanager
async def open_sql_runner(config: Config, clock: Clock) -> AsyncIterator[SqlRunner]:
    """Run SQL of users on copies of the store while the context is open; no copy is left afterwards."""
    runner = SqlProcessRunner(config.store_file, config.sql_directory, clock)
    await runner.open()
    try:
        yield runner
    finally:
        await runner.close()


async def retry_while_locked(action: Callable[[], Awaitable[ResultT]]) -> ResultT:
    """Run an action on the store, waiting while another process has it open. Raises `Unavailable` where that takes too
    long.
    """
    for _attempt in range(round(LOCKED_SECONDS_MAX / LOCKED_RETRY_SECONDS)):
        try:
            return await action()
        except Unavailable:
            await asyncio.sleep(LOCKED_RETRY_SECONDS)
    return await action()


async def _open_private(path: Path) -> Store:
    store = await store_engine.open_store(path)
    try:
        await asyncio.to_thread(path.chmod, SECRET_FILE_MODE)
    except OSError as error:
        await store.close()
        raise Unavailable(
            _("cannot restrict the store to its owner: {error}", error=error.strerror),
            location=str(path),
            hint=_("check the permissions of the data directory"),
        ) from error
    return store


async def _list_quarantined_seqs(path: Path, *, without_records: bool) -> Sequence[int]:
    return await retry_while_locked(lambda: store_engine.list_quarantined_seqs(path, without_records=without_records))


async def _copy_store(source: Path, target: Path) -> bool:
    try:
        return await asyncio.to_thread(copy_process.copy_files, source, target, RESERVE_BYTES)
    except QueryError as error:
        raise to_error(error.failure, location=str(target.parent)) from error
    except OSError as error:
        raise store_copy_error(source, error) from error


def _open_appdb(config: Config) -> AppDb:
    return open_appdb(config.appdb_file, config.appdb, config.node_name)


def _open_ledger(config: Config) -> Ledger:
    return open_ledger(config.ledger_file, config.ledger)


ENGINES = Engines(
    open_appdb=_open_appdb,
    open_ledger=_open_ledger,
    create_shared_ledger=create_shared_ledger,
    read_shared_health=read_shared_health,
    open_store=open_store_file,
    copy_store=_copy_store,
    list_quarantined_seqs=_list_quarantined_seqs,
)
