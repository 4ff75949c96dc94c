"""`onhook begin-ledger`: begin a new ledger in place of a lost one."""

from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import add_audit_entry
from onhook.cli.options import DataOption, load_config
from onhook.lib.messages import _
from onhook.ops.lost_ledger import begin_ledger as begin_new_ledger
from onhook.runtime.engines import ENGINES

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook begin-ledger --data /var/lib/onhook")
async def begin_ledger(data: DataOption = None) -> None:
    """Begin a new ledger in place of one that was lost without a backup, while no server and no intake runs; with the
    setting ledger on NATS, also for a new installation.

    Calls in calls.duckdb stay, and the next event has the number after the last one.
    """
    config = load_config(data=data)
    after_seq = await begin_new_ledger(config, ENGINES)
    if config.ledger:
        print(_("A new ledger begins on NATS: the next event has number {number}.", number=after_seq + 1))
    else:
        print(
            _(
                "A new ledger begins in {data}: the next event has number {number}. Do not delete calls.duckdb: no"
                " other file has the calls up to now.",
                data=config.data,
                number=after_seq + 1,
            )
        )
    await add_audit_entry(config, f"begin a new ledger after entry {after_seq}")
