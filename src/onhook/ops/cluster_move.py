"""Moves from one machine to several: the application database to PostgreSQL.

Invariants: no server and no intake runs meanwhile. What was moved is renamed, so that no process goes on with it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onhook.appdb.appdb import AppDb
from onhook.appdb.sqlite_file import has_pbxs, leave_wal_mode
from onhook.config import Config
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import NotFound, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.ops.instance_lock import check_data_directory, exclusive_intake_lock, instance_lock

if TYPE_CHECKING:
    from onhook.appdb import move as appdb_move
    from onhook.appdb.move import CopiedTable
else:
    appdb_move = DeferredModule("onhook.appdb.move")

MOVED_SUFFIX = ".moved"
"""Of the name of a file after its move."""


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


async def check_moved(config: Config, appdb: AppDb) -> None:
    """Check that the move was not forgotten: a server would go on without PBXs, and its first rows would be in the way
    of the move. Raises `UsageError`.
    """
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
