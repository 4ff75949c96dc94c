"""`onhook version`."""

import platform
from importlib.metadata import version as version_of

from onhook.cli.commands import CommandGroup
from onhook.lib.messages import _

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook version")
def version() -> None:
    """Show the versions of Onhook and its components."""
    print(
        _(
            "onhook {version} (Python {python_version}, DuckDB {duckdb_version})",
            version=version_of("onhook"),
            python_version=platform.python_version(),
            duckdb_version=version_of("duckdb"),
        )
    )
