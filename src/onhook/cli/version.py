"""`onhook version`."""

import platform
from importlib.metadata import version as version_of

import typer

from onhook.lib.messages import _

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: onhook version")
def version() -> None:
    """Show the versions of Onhook and its components."""
    print(
        _(
            "onhook {version_of} (Python {platform}, DuckDB {version_of_2})",
            version_of=version_of("onhook"),
            platform=platform.python_version(),
            version_of_2=version_of("duckdb"),
        )
    )
