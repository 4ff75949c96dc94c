"""`onhook version`."""

import platform
from importlib.metadata import version as version_of

import typer

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: onhook version")
def version() -> None:
    """Show the versions of Onhook and its components."""
    print(f"onhook {version_of('onhook')} (Python {platform.python_version()}, DuckDB {version_of('duckdb')})")
