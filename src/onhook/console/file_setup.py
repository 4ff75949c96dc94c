"""Setting the folder in which a PBX leaves files, for the pages and the command line."""

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import Pbx
from onhook.appdb.swept_folders import parse_swept_folder
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.dialect import Dialect, LegDialect, LineDialect
from onhook.pbx.registry import dialects


def can_leave_files(pbx: Pbx) -> bool:
    """Return whether a PBX of this kind leaves files that can be read one by one."""
    dialect: Dialect | None = dialects().get(pbx.dialect)
    return isinstance(dialect, LineDialect | LegDialect)


async def set_swept_folder(appdb: AppDb, pbx: Pbx, path_text: str, target_text: str) -> None:
    """Store the folder of a PBX, and where its stored files are moved to; an empty path removes it. Whether it can be
    read shows with the first sweep: only the server's user has to. Raises `UsageError`.
    """
    folder = parse_swept_folder(path_text, target_text)
    if folder is not None and not can_leave_files(pbx):
        raise UsageError(
            _("a PBX of the dialect {dialect} leaves no files", dialect=pbx.dialect),
            hint=_("`onhook import` reads a call file"),
        )
    await appdb.swept_folders.put(pbx.sn, folder)
