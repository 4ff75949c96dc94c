"""`onhook version`."""

from onhook.cli.commands import CommandGroup
from onhook.lib.versions import describe_versions

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook version")
def version() -> None:
    """Show the versions of Onhook and its components."""
    print(describe_versions())
