"""Health checks of the folders in which PBXs leave files."""

import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import FILE_DIALECTS
from onhook.lib.messages import _, _n
from onhook.lib.timestamps import format_time
from onhook.ops.doctor.check import Check

AGE_MAX = timedelta(minutes=15)
"""The hub stores the result of a sweep every five minutes at least."""


async def check_swept_folders(appdb: AppDb) -> list[Check]:
    """Return the folders that could not be read."""
    folders = await appdb.swept_folders.all()
    pbxs = await appdb.pbxs() if folders else []
    return [
        _unreadable_check(pbx, folders[pbx.sn].error) for pbx in pbxs if pbx.sn in folders and folders[pbx.sn].error
    ]


async def check_swept_folder(appdb: AppDb, pbx: Pbx, now: datetime, zone: ZoneInfo) -> Sequence[Check]:
    """Return the checks of the folder of one PBX; none where it has none."""
    folder = await appdb.swept_folders.get(pbx.sn)
    if folder is None:
        return (_missing_check(pbx),) if pbx.dialect in FILE_DIALECTS else ()
    if folder.error:
        return (_unreadable_check(pbx, folder.error),)
    if folder.swept_at is None or now - folder.swept_at > AGE_MAX:
        since = _("never") if folder.swept_at is None else format_time(folder.swept_at, zone)
        detail = _("its files in {path} were last read: {time}", path=folder.path, time=since)
        return (Check("WARNING", detail, _("they are read while the server runs; look into its log")),)
    time = format_time(folder.swept_at, zone)
    checks = [Check("OK", _("its files in {path} were read at {time}", path=folder.path, time=time))]
    if folder.unreadable:
        detail = _n(
            "1 file or line in {path} is no event of this PBX",
            "{count} files or lines in {path} are no events of this PBX",
            folder.unreadable,
            path=folder.path,
        )
        checks.append(Check("WARNING", detail, _("look into the folder; remove what does not belong there")))
    return checks


def _missing_check(pbx: Pbx) -> Check:
    return Check(
        "ERROR",
        _("its calls are read from files, and no folder is set"),
        _("`onhook pbx files {name} FOLDER` sets it", name=shlex.quote(pbx.name)),
    )


def find_worst(checks: Sequence[Check]) -> Check:
    """Return the first check; `OK` where there is none."""
    return checks[0] if checks else Check("OK", _("all folders of files can be read"))


def _unreadable_check(pbx: Pbx, error: str) -> Check:
    return Check(
        "ERROR",
        _("the files of {name} cannot be read: {error}", name=pbx.name, error=error),
        _(
            "let the user of the server read the folder, or set another one with `onhook pbx files {name} FOLDER`",
            name=shlex.quote(pbx.name),
        ),
    )
