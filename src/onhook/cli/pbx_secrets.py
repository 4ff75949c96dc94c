"""`onhook pbx secret`: webhook secrets of a PBX."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from onhook.appdb.pbxs import SECRET_CHARACTERS_MAX, validate_secret
from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

app = CommandGroup(
    add_completion=False,
    help=_("Manage the webhook secrets of a PBX."),
    epilog="Example: onhook pbx secret add Office --secret 0123456789abcdef0123456789abcdef",
)
STDIN = "-"

PbxName = Annotated[str, typer.Argument(metavar="NAME", help=_("Name or serial number of the PBX"))]
SecretOption = Annotated[
    str | None, typer.Option("--secret", metavar="SECRET", help=_("Its webhook secret"), show_default=False)
]
SecretFileOption = Annotated[
    str | None,
    typer.Option(
        "--secret-file", metavar="FILE", help=_("File with the secret; - is standard input"), show_default=False
    ),
]


@app.command("add", epilog="Example: onhook pbx secret add Office --secret-file - < secret.txt")
async def add_secret(
    name: PbxName,
    *,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help=_("Description of the secret"))] = "webhook",
    data: DataOption = None,
) -> None:
    """Add a secret beside the others, so that it can be changed without losing a call."""
    text = read_webhook_secret(secret, secret_file)
    if text is None:
        raise UsageError(_("no secret is given"), hint=_("give it with --secret or --secret-file"))
    async with open_appdb(data) as appdb:
        new_secret = await appdb.add_secret(name, text, label=label, now_us=SystemClock().microseconds())
    print(_("Secret {secret_id} ({label}) added.", secret_id=new_secret.secret_id, label=new_secret.label))


@app.command(
    "remove", epilog="Example: onhook pbx secret remove Office 1, after: onhook pbx secret add Office --secret SECRET"
)
async def remove_secret(
    name: PbxName,
    secret_id: Annotated[int, typer.Argument(metavar="NUMBER", help=_("Number in `onhook pbx list`"))],
    data: DataOption = None,
) -> None:
    """Remove a secret: events signed with it are rejected from now on."""
    async with open_appdb(data) as appdb:
        await appdb.remove_secret(name, secret_id)
    print(_("Secret {secret_id} removed.", secret_id=secret_id))


def read_webhook_secret(secret: str | None, file: str | None) -> str | None:
    """Return the secret of the given option, or None. Raises `UsageError`."""
    text = read_secret_option(secret, file)
    return None if text is None else validate_secret(text)


def read_secret_option(secret: str | None, file: str | None) -> str | None:
    """Return a secret that has other rules, like `read_webhook_secret`."""
    if file is None:
        return secret
    if secret is not None:
        raise UsageError(_("the secret is given twice"), hint=_("leave one of --secret and --secret-file out"))
    return read_secret_file(file, SECRET_CHARACTERS_MAX)


def read_secret_file(file: str, characters_max: int) -> str:
    """Return a secret of a file, or of standard input. Raises `UsageError`."""
    try:
        with sys.stdin if file == STDIN else Path(file).open() as source:
            return source.read(characters_max + 2).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(_("cannot read the secret: {error}", error=error), location=file) from error
