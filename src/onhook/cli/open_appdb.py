"""The application database, opened for a command; apart from `options`, which commands without it import too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from onhook.appdb.appdb import AppDb
from onhook.cli.options import load_config
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.ops.cluster_move import check_moved
from onhook.ops.instance_lock import check_data_directory, has_appdb, no_data_error, prepare_directory, rename_old_files
from onhook.runtime.engines import ENGINES


async def add_audit_entry(config: Config, action: str) -> None:
    """Add an entry to the audit log for a command that has done its work on other files; where there is no application
    database, as in a directory with a ledger alone, there is no audit log.
    """
    rename_old_files(config)
    if not has_appdb(config):
        return
    async with ENGINES.open_appdb(config) as appdb:
        await appdb.audit.add_action(action, now_us=SystemClock().microseconds())


@asynccontextmanager
async def open_appdb(data: str | None, *, create: bool = False) -> AsyncIterator[AppDb]:
    """Open the application database of a data directory. Raises `NotFound` where there is none, unless `create`."""
    config = load_config(data=data)
    check_data_directory(config)
    if create:
        prepare_directory(config)
    elif not has_appdb(config):
        raise no_data_error(config)
    rename_old_files(config)
    async with ENGINES.open_appdb(config) as appdb:
        await check_moved(config, appdb)
        yield appdb
