"""`onhook cluster`: from one machine to several, and back."""

from pathlib import Path
from typing import Annotated

import typer

from onhook.cdr.utc_offset import get_zone
from onhook.cli.commands import CommandGroup
from onhook.cli.event_progress import event_progress
from onhook.cli.open_appdb import add_audit_entry, open_appdb
from onhook.cli.options import DataOption, load_config
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _, _n
from onhook.lib.timestamps import format_time
from onhook.ops import cluster_move, store_snapshot
from onhook.ops.moved_files import MOVED_SUFFIX
from onhook.ops.restored_erasures import erase_again as erase_restored
from onhook.runtime.engines import ENGINES

app = CommandGroup(add_completion=False)


@app.callback(epilog="Example: onhook cluster move-appdb --data /var/lib/onhook")
def cluster() -> None:
    """Move from one machine to several."""


@app.command("move-appdb", epilog="Example: onhook cluster move-appdb --data /var/lib/onhook")
async def move_appdb(data: DataOption = None) -> None:
    """Copy onhook.db to the empty PostgreSQL database of the setting appdb, compare both, and rename the file, while no
    server and no intake runs.
    """
    config = load_config(data=data)
    tables = await cluster_move.move_appdb(config)
    row_count = sum(table.rows for table in tables)
    print(
        _n(
            "Moved 1 row of {tables} tables, and compared it; the file is {name} now.",
            "Moved {count} rows of {tables} tables, and compared each; the file is {name} now.",
            row_count,
            tables=sum(1 for table in tables if table.rows),
            name=config.appdb_file.name + MOVED_SUFFIX,
        )
    )


@app.command("move-ledger", epilog="Example: onhook cluster move-ledger --data /var/lib/onhook")
async def move_ledger(
    *,
    back: Annotated[bool, typer.Option("--back", help=_("Copy the streams to a new ledger.db"))] = False,
    data: DataOption = None,
) -> None:
    """Copy ledger.db with its numbers to the streams of the setting ledger, compare both, and rename the file, while no
    server and no intake runs.
    """
    config = load_config(data=data)
    if back:
        with event_progress() as on_progress:
            copied, omitted_count = await cluster_move.move_ledger_back(config, ENGINES, on_progress)
        print(
            _(
                "Copied {entries} entries up to number {seq} to {name}, and compared each. Remove the setting `ledger`,"
                " and start the server.",
                entries=copied.entries,
                seq=copied.last_seq,
                name=config.ledger_file.name,
            )
        )
        if omitted_count:
            print(_("Left out, because they were sent twice: {count}.", count=omitted_count))
        await add_audit_entry(config, "copy the ledger from NATS to a file")
        return
    with event_progress() as on_progress:
        copied = await cluster_move.move_ledger(config, ENGINES, on_progress)
    print(
        _(
            "Moved {entries} entries up to number {seq}, and compared each; the file is {name} now.",
            entries=copied.entries,
            seq=copied.last_seq,
            name=config.ledger_file.name + MOVED_SUFFIX,
        )
    )
    await add_audit_entry(config, "move the ledger to NATS")


@app.command("erase-again", epilog="Example: onhook cluster erase-again /mnt/backups/erasures.jsonl")
async def erase_again(
    lists: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help=_("The erasures.jsonl of each data directory with a hub"))
    ],
    *,
    data: DataOption = None,
) -> None:
    """Erase again what was erased after a backup that PostgreSQL or NATS has restored, while no server runs on any
    machine. Afterwards each hub needs onhook rebuild.
    """
    config = load_config(data=data)
    result = await erase_restored(config, lists, ENGINES, SystemClock())
    print(
        _n(
            "1 erasure applies to {calls} calls; the ledger lacked {appended}.",
            "{count} erasures apply to {calls} calls; the ledger lacked {appended}.",
            result.erasures,
            calls=result.calls,
            appended=result.appended,
        )
    )
    await add_audit_entry(config, f"erase again: erasures: {result.erasures}, calls: {result.calls}")


@app.command("forget-spool", epilog="Example: onhook cluster forget-spool n2")
async def forget_spool(
    node: Annotated[str, typer.Argument(metavar="MACHINE", help=_("Name of the machine whose disk is lost"))],
    *,
    data: DataOption = None,
) -> None:
    """Forget the events that a machine kept for the ledger, because its disk is lost, and they are too."""
    async with open_appdb(data) as appdb:
        await appdb.node_states.forget_spool(node)
        print(_("The events that machine {node} kept are listed no longer.", node=node))
        action = f"forget the events that {node} kept"
        await appdb.audit.add_action(action, now_us=SystemClock().microseconds())


@app.command("save-store", epilog="Example: onhook cluster save-store /mnt/copies/store")
async def save_store(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help=_("New directory for the copy"))],
    *,
    data: DataOption = None,
) -> None:
    """Copy the store of this machine, also while its hub runs, for a new hub that begins with it within a day."""
    config = load_config(data=data)
    manifest = await store_snapshot.save_store(config, directory, ENGINES, SystemClock())
    print(
        _(
            "Copied the store up to entry {position}, and verified it: load it by {valid_until}, then delete it.",
            position=manifest.position,
            valid_until=format_time(manifest.valid_until, get_zone(config.zone)),
        )
    )
    await add_audit_entry(config, f"copy the store of {manifest.node} up to entry {manifest.position}")


@app.command("load-store", epilog="Example: onhook cluster load-store /mnt/copies/store --data /var/lib/onhook")
async def load_store(
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help=_("Directory that `onhook cluster save-store` wrote"))
    ],
    *,
    replace: Annotated[bool, typer.Option("--replace", help=_("Replace the store of this machine"))] = False,
    data: DataOption = None,
) -> None:
    """Begin the store of this machine with the copy of that of another one, while no server runs here."""
    config = load_config(data=data)
    loaded = await store_snapshot.load_store(config, directory, ENGINES, SystemClock(), replace=replace)
    node, position = loaded.manifest.node, loaded.manifest.position
    print(
        _n(
            "The store is that of machine {node} up to entry {position}; the hub reads 1 entry when it starts.",
            "The store is that of machine {node} up to entry {position}; the hub reads {count} entries when it starts.",
            loaded.lag,
            node=node,
            position=position,
        )
    )
    await add_audit_entry(config, f"begin the store of {config.node_name} with that of {node} up to entry {position}")
