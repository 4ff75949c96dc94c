"""Data files opened by a command, when no server runs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.config import Config
from onhook.ledger.contract import Ledger
from onhook.lib.clock import SystemClock
from onhook.ops.cluster_ledger import open_checked_ledger
from onhook.ops.instance_lock import (
    check_data_directory,
    check_ledger_file,
    has_appdb,
    has_ledger,
    no_data_error,
    rename_old_files,
)
from onhook.ops.number_erasure import NumberEraser
from onhook.ops.quarantine_retry import QuarantineRetrier
from onhook.ops.rebuild import discard_absent_store, install_rebuilt_store
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector
from onhook.runtime.adapters.erasure import create_eraser
from onhook.runtime.adapters.ingest import create_publisher
from onhook.runtime.engines import ENGINES, open_sql_runner, open_store_file
from onhook.store.contract import Store
from onhook.store.sql.contract import SqlRunner


class OpenDataFiles(msgspec.Struct, frozen=True, kw_only=True):
    """All three files of a data directory, open, and the store up to date with the ledger; `catch_up` brings it up to
    date again.
    """

    appdb: AppDb
    ledger: Ledger
    store: Store
    sql_runner: SqlRunner
    quarantine_retrier: QuarantineRetrier
    eraser: NumberEraser
    catch_up: Callable[[], Awaitable[int]]


@asynccontextmanager
async def open_files(config: Config, *, create: bool = False) -> AsyncIterator[OpenDataFiles]:
    """Yield the open files. Raises `NotFound` for a directory without a ledger, unless `create`, and `OnhookError`
    where they cannot be opened or the application database is missing: a command that reads creates none.
    """
    check_data_directory(config)
    check_ledger_file(config)
    if not create and not (has_ledger(config) and has_appdb(config)):
        raise no_data_error(config)
    rename_old_files(config)
    async with AsyncExitStack() as stack:
        appdb = await stack.enter_async_context(ENGINES.open_appdb(config))
        ledger = await open_checked_ledger(config, appdb, ENGINES)
        stack.push_async_callback(ledger.close)
        await discard_absent_store(config, appdb, SystemClock(), ENGINES)
        await install_rebuilt_store(config, appdb, SystemClock(), ENGINES)
        store = await open_store_file(config.store_file)
        stack.push_async_callback(store.close)
        sql_runner = await stack.enter_async_context(open_sql_runner(config, SystemClock()))
        await create_publisher(appdb=appdb, ledger=ledger, clock=SystemClock()).publish()
        projector = Projector(
            ledger=ledger,
            store=store,
            dialects=dialects(),
            clock=SystemClock(),
            on_erased=sql_runner.forget_copy,
        )
        await projector.catch_up()
        quarantine_retrier = QuarantineRetrier(projector, appdb, SystemClock())
        yield OpenDataFiles(
            appdb=appdb,
            ledger=ledger,
            store=store,
            sql_runner=sql_runner,
            quarantine_retrier=quarantine_retrier,
            eraser=create_eraser(
                config, appdb=appdb, ledger=ledger, store=store, projector=projector, clock=SystemClock()
            ),
            catch_up=projector.catch_up,
        )


async def read_last_seq(config: Config) -> int:
    """Return the number of the last raw event; 0 without one."""
    if not has_ledger(config):
        return 0
    ledger = ENGINES.open_ledger(config)
    try:
        return await ledger.last_seq()
    finally:
        await ledger.close()
