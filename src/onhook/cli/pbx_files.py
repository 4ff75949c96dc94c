"""`onhook pbx files`: the folder in which a PBX leaves files, which the server stores."""

import shlex
from pathlib import Path
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from onhook.appdb.swept_folders import SweptFolder
from onhook.cli.formats import print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_reader_zone
from onhook.cli.pbx_secrets import PbxName
from onhook.console.file_setup import set_swept_folder
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN
from onhook.lib.timestamps import format_time

EXAMPLE = "Example: onhook pbx files Office /var/log/freeswitch/json_cdr_err --move-to /var/log/freeswitch/stored"


async def files(
    name: PbxName,
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER", help=_("Folder of the files, or a file of lines; none shows it"), show_default=False
        ),
    ] = None,
    *,
    move_to: Annotated[
        Path | None,
        typer.Option(
            "--move-to",
            metavar="FOLDER",
            help=_("Folder for files that are stored; they stay by default"),
            show_default=False,
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help=_("Store its files no longer"))] = False,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Have the server store the files in which a PBX leaves its calls, or what it could not send."""
    if remove and (folder or move_to):
        raise UsageError(_("a folder is set or removed"), hint=_("leave one of both out"))
    if move_to and not folder:
        raise UsageError(_("there is no folder whose files could be moved"), hint=_("name both, or neither"))
    async with open_appdb(data) as appdb:
        pbx = await appdb.pbx(name)
        if folder is None and not remove:
            stored = await appdb.swept_folders.get(pbx.sn)
            if stored is None:
                print(_("{name} has no folder of files.", name=pbx.name))
            else:
                _print_folder(stored, load_reader_zone(data, zone))
            return
        texts = (str(path.absolute()) if path else "" for path in (folder, move_to))
        await set_swept_folder(appdb, pbx, *texts)
    print(
        _("The files of {name} are no longer stored.", name=pbx.name)
        if remove
        else _(
            "The server stores the files of {name} from now on; `onhook pbx files {argument}` shows what became of"
            " them.",
            name=pbx.name,
            argument=shlex.quote(pbx.name),
        )
    )


def _print_folder(folder: SweptFolder, zone: ZoneInfo) -> None:
    swept_at = UNKNOWN if folder.swept_at is None else format_time(folder.swept_at, zone)
    row = (folder.path, folder.target or UNKNOWN, swept_at, str(folder.stored), str(folder.unreadable), folder.error)
    print_table([row], ("folder", "move to", "last read", "new", "no events", "error"))
