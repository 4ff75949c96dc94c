"""`onhook cluster`: from one machine to several."""

from onhook.cli.commands import CommandGroup
from onhook.cli.options import DataOption, load_config
from onhook.lib.messages import _n
from onhook.ops import cluster_move

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
            name=config.appdb_file.name + cluster_move.MOVED_SUFFIX,
        )
    )
