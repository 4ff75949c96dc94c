"""A new ledger in place of one that was lost without a backup.

Invariants: its numbers go on after those that the store and the destinations are past, so that the next event is shown
and sent; the store, whose calls no other file has any longer, stays. What is left of the lost ledger is set aside.
"""

import os
from contextlib import AsyncExitStack

from onhook.config import Config
from onhook.ledger.sqlite_schema import create_ledger_after
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _
from onhook.ops.cluster_ledger import sole_use
from onhook.ops.engines import Engines
from onhook.ops.instance_lock import (
    check_data_directory,
    exclusive_intake_lock,
    has_appdb,
    instance_lock,
    no_data_error,
    prepare_directory,
)
from onhook.ops.ledger_reading import opened


async def begin_ledger(config: Config, engines: Engines) -> int:
    """Begin a new ledger; return the number after which it begins.

    Raises `UsageError` where the ledger is there, or a server or an intake runs, `NotFound` where no data is there, and
    else `OnhookError`; then nothing is changed.
    """
    check_data_directory(config)
    if config.ledger:
        prepare_directory(config)  # also of a new installation
    if not has_appdb(config):
        raise no_data_error(config)
    with instance_lock(config), exclusive_intake_lock(config):
        if config.ledger:
            return await _begin_shared_ledger(config, engines)
        if config.ledger_file.exists() and config.ledger_file.stat().st_size:
            raise UsageError(
                _("the ledger is there: a new one begins only in place of a missing or empty one"),
                location=str(config.ledger_file),
                hint=_("check it with `onhook doctor`"),
            )
        after_seq = await _read_last_number(config, engines)
        async with engines.open_appdb(config) as appdb:
            # Their events are lost too: they are read once more.
            await appdb.swept_folders.files.forget_all()
        try:
            _replace_ledger(config, after_seq)
        except OSError as error:
            raise Unavailable(
                _("cannot begin a new ledger: {reason}", reason=error.strerror or error), location=str(config.data)
            ) from error
    return after_seq


async def _begin_shared_ledger(config: Config, engines: Engines) -> int:
    """Create the streams, and have the application database know them."""
    after_seq = await _read_last_number(config, engines)
    async with engines.open_appdb(config) as appdb, sole_use(appdb, SystemClock()):
        await engines.create_shared_ledger(config.ledger, after_seq)
        async with opened(config, engines.open_ledger) as ledger:
            await appdb.cluster.set_ledger_identity(await ledger.identity())
    return after_seq


async def _read_last_number(config: Config, engines: Engines) -> int:
    """Return the highest number that the store or a destination is past."""
    async with AsyncExitStack() as stack:
        appdb = await stack.enter_async_context(engines.open_appdb(config))
        position = 0
        if config.store_file.exists():
            store = await engines.open_store(config.store_file)
            stack.push_async_callback(store.close)
            position = await store.position()
        return max(position, await appdb.destinations.max_cursor())


def _replace_ledger(config: Config, after_seq: int) -> None:
    """Put the new ledger in place when it is complete."""
    path = config.ledger_file
    partial_path = path.with_name(path.name + ".part")
    partial_path.unlink(missing_ok=True)
    create_ledger_after(partial_path, after_seq)
    wal_path = path.with_name(path.name + "-wal")
    if wal_path.exists():
        # The last events of the lost ledger; never to be read as part of the new one.
        wal_path.replace(path.with_name(wal_path.name + ".replaced"))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    partial_path.replace(path)
    descriptor = os.open(config.data, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
