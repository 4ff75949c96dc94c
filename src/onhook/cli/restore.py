"""`onhook restore`: restore a backup."""

from pathlib import Path
from typing import Annotated

import typer

from onhook.cdr.utc_offset import get_zone
from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import add_audit_entry
from onhook.cli.options import DataOption, load_config
from onhook.lib.messages import _
from onhook.lib.timestamps import format_time
from onhook.ops.backup import restore as restore_backup

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook restore /mnt/backups/onhook-2026-04-27 --data /var/lib/onhook")
async def restore(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help=_("Directory that `onhook backup` wrote"))],
    *,
    replace: Annotated[bool, typer.Option("--replace", help=_("Replace existing data"))] = False,
    erasures: Annotated[
        list[Path] | None, typer.Option("--erasures", metavar="FILE", help=_("Further list of erasures to apply"))
    ] = None,
    data: DataOption = None,
) -> None:
    """Restore a backup to the data directory, while no server and no intake runs. The store is rebuilt later."""
    config = load_config(data=data)
    result = restore_backup(config, directory, replace=replace, erasure_lists=erasures or ())
    manifest = result.manifest
    print(
        _(
            "Restored {files} of {made_at} to {data}.",
            files=" and ".join(manifest.files),
            made_at=format_time(manifest.made_at, get_zone(config.zone)),
            data=config.data,
        )
    )
    if result.erased_call_count:
        print(
            _(
                "Numbers that were erased after the backup are erased from {count} calls again, once the server runs.",
                count=result.erased_call_count,
            )
        )
    await add_audit_entry(config, f"restore the backup {directory.name}")
