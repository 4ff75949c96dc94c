"""Moves from one machine to several, and back: the application database to PostgreSQL, the ledger to NATS JetStream.

Invariants: no server and no intake of the data directory runs meanwhile. What was moved is renamed, so that no process
goes on with it; the application database says where the ledger is.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.sqlite_file import has_pbxs, leave_wal_mode
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import NotFound, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.ops.cluster_ledger import check_ledger, check_ledger_setting, sole_use
from onhook.ops.engines import Engines
from onhook.ops.event_deletion import STORE_NAME
from onhook.ops.instance_lock import check_data_directory, exclusive_intake_lock, instance_lock, prepare_directory
from onhook.ops.ledger_reading import opened
from onhook.ops.moved_files import MOVED_SUFFIX

if TYPE_CHECKING:
    from onhook.appdb import move as appdb_move
    from onhook.appdb.move import CopiedTable
    from onhook.ledger import jetstream_copy, sqlite_copy
    from onhook.ledger.jetstream_copy import CopiedLedger, CopyProgressCallback
else:
    appdb_move = DeferredModule("onhook.appdb.move")
    jetstream_copy = DeferredModule("onhook.ledger.jetstream_copy")
    sqlite_copy = DeferredModule("onhook.ledger.sqlite_copy")


async def move_appdb(config: Config) -> Sequence["CopiedTable"]:
    """Copy `onhook.db` to the database that the setting `appdb` names, compare it, and rename the file; return what was
    copied. A move that was interrupted is completed by another one.

    Raises `UsageError` without the setting, where a server or an intake runs, and for a database with other rows,
    `NotFound` without the file, and else `OnhookError`; then the file is as before.
    """
    if not config.appdb:
        raise UsageError(
            _("the setting `appdb` names no PostgreSQL database"),
            hint=_("set it in onhook.toml or as ONHOOK_APPDB: postgresql://USER:PASSWORD@HOST/DATABASE"),
        )
    check_data_directory(config)
    if not config.appdb_file.exists():
        raise NotFound(
            _("there is no {name} to move", name=config.appdb_file.name),
            location=str(config.data),
            hint=_("name the data directory with --data; without one, `onhook serve` begins a new database"),
        )
    with instance_lock(config), exclusive_intake_lock(config):
        try:
            tables = await appdb_move.copy_to_postgresql(config.appdb_file, config.appdb)
        except ModuleNotFoundError as error:
            raise UsageError(
                _("PostgreSQL needs the library {name}, which is not installed", name=error.name),
                hint=_("run `make install CLUSTER=1`, or install the package with the extra cluster"),
            ) from error
        leave_wal_mode(config.appdb_file)
        _set_aside(config.appdb_file)
    return tables


async def move_ledger(config: Config, engines: Engines, on_progress: "CopyProgressCallback") -> "CopiedLedger":
    """Copy `ledger.db` to the streams that the setting `ledger` names, which are created, compare it, and rename the
    file; return what was copied. A move that was interrupted is completed by another one.

    Raises `UsageError` without the setting, where a server or an intake runs, and for streams with another ledger,
    `NotFound` without the file, and else `OnhookError`; then the file is as before.
    """
    _check_ledger_setting(config)
    path = config.ledger_file
    if not path.exists():
        raise NotFound(
            _("there is no {name} to move", name=path.name),
            location=str(config.data),
            hint=_("name the data directory with --data; without one, `onhook begin-ledger` begins a new ledger"),
        )
    async with _ledger_use(config, engines) as appdb:
        identity = await appdb.cluster.ledger_identity()
        async with opened(msgspec.structs.replace(config, ledger=""), engines.open_ledger) as ledger:
            file_identity = await ledger.identity()
        if identity not in ("", file_identity):
            raise UsageError(
                _("the application database has another ledger on NATS already"),
                location=str(path),
                hint=_("look into {name}: another machine's ledger was moved", name=path.name),
            )
        copied = await jetstream_copy.copy_to_jetstream(path, config.ledger, on_progress)
        await appdb.cluster.set_ledger_identity(file_identity)
        # The store of this machine has another name from now on, and raw events would wait for the old one for days.
        await appdb.store_positions.remove(STORE_NAME)
        leave_wal_mode(path)
        _set_aside(path)
    return copied


async def move_ledger_back(
    config: Config, engines: Engines, on_progress: "CopyProgressCallback"
) -> tuple["CopiedLedger", int]:
    """Copy the streams that the setting `ledger` names to a new `ledger.db`, and compare it; return what was copied,
    and how many late repeats were left out. The streams stay. From then on the setting must be gone.

    Raises `UsageError` without the setting, where a server or an intake runs here, where the file exists, and for
    streams with another ledger than that of the application database, and else `OnhookError`; then there is no file.
    """
    _check_ledger_setting(config)
    path = config.ledger_file
    async with _ledger_use(config, engines) as appdb:
        async with opened(config, engines.open_ledger) as ledger:
            await check_ledger(config, appdb, ledger)
        if path.exists():
            raise UsageError(
                _("{name} is there already", name=path.name), location=str(config.data), hint=_("rename it")
            )
        result = await sqlite_copy.copy_to_file(config.ledger, path, on_progress)
        await appdb.cluster.set_ledger_identity("")
    return result


def _check_ledger_setting(config: Config) -> None:
    if not config.ledger:
        raise UsageError(
            _("the setting `ledger` names no ledger on NATS"),
            hint=_(
                "set it in onhook.toml or as ONHOOK_LEDGER: nats://USER:PASSWORD@HOST,HOST,HOST/STREAM?monitor=8222"
            ),
        )
    check_data_directory(config)


@asynccontextmanager
async def _ledger_use(config: Config, engines: Engines) -> AsyncIterator[AppDb]:
    """Yield the application database while no process of this data directory runs, and no hub with a file of a ledger
    on whichever machine.
    """
    prepare_directory(config)
    with instance_lock(config), exclusive_intake_lock(config):
        async with engines.open_appdb(config) as appdb, sole_use(appdb, SystemClock()):
            await check_appdb_moved(config, appdb)
            yield appdb


async def check_moved(config: Config, appdb: AppDb) -> None:
    """Check that no move was forgotten: a server would go on without PBXs, and its first rows would be in the way of
    the move, or without its ledger. Raises `UsageError`.
    """
    await check_ledger_setting(config, appdb)
    await check_appdb_moved(config, appdb)


async def check_appdb_moved(config: Config, appdb: AppDb) -> None:
    """Check that the move of the application database was not forgotten. Raises `UsageError`."""
    if config.appdb and has_pbxs(config.appdb_file) and not await appdb.pbxs():
        raise UsageError(
            _("{name} has PBXs, and the database of the setting `appdb` has none", name=config.appdb_file.name),
            location=str(config.data),
            hint=_("stop the server and run `onhook cluster move-appdb`, or rename the file"),
        )


def _set_aside(path: Path) -> None:
    """Rename a file. Raises `Unavailable`."""
    try:
        path.replace(path.with_name(path.name + MOVED_SUFFIX))
    except OSError as error:
        raise Unavailable(
            _("cannot rename {name} after its move: {reason}", name=path.name, reason=error.strerror or error),
            location=str(path.parent),
            hint=_("rename it by hand"),
        ) from error
