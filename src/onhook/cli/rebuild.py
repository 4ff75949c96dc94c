"""`onhook rebuild`: rebuild the store from the ledger."""

from onhook.cli.commands import CommandGroup
from onhook.cli.event_progress import event_progress
from onhook.cli.open_appdb import add_audit_entry
from onhook.cli.options import DataOption, load_config
from onhook.lib.errors import NotFound
from onhook.lib.messages import _
from onhook.ops.instance_lock import check_data_directory, check_ledger_file, has_appdb, has_ledger, no_data_error
from onhook.ops.rebuild import check_begin
from onhook.ops.rebuild import rebuild as rebuild_store
from onhook.runtime.engines import ENGINES

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook rebuild")
async def rebuild(data: DataOption = None) -> None:
    """Rebuild calls.duckdb from the ledger, after a change of time zone or number plan, or when it is damaged.

    A running server shows the old store meanwhile, and changes to the new one within a second or two.
    """
    config = load_config(data=data)
    check_data_directory(config)
    check_ledger_file(config)
    if not has_ledger(config):
        raise NotFound(
            _("there is no ledger"), location=str(config.data), hint=_("name the data directory with --data")
        )
    if not has_appdb(config):
        raise no_data_error(config)  # without the names, zones and numbers of the PBXs the calls would be others
    await check_begin(config, ENGINES)
    with event_progress() as on_progress:
        position = await rebuild_store(config, on_progress, ENGINES, reads_again=True)
    print(_("The store contains all events of the ledger, up to entry {position}.", position=position))
    await add_audit_entry(config, "rebuild the store")
