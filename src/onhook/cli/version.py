"""`onhook version`."""

import platform
from importlib.metadata import version as version_of

import typer

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: onhook version")
def version() -> None:
    """Show which version this is, and of what it is made."""
    print(f"onhook {version_of('onhook')} (Python {platform.python_version()}, DuckDB {version_of('duckdb')})")
