"""`onhook destination secret`: signing secrets of a destination."""

from collections.abc import Iterable
from typing import Annotated

import typer

from onhook.appdb.destination_spec import WHSEC_PREFIX, format_standard_webhooks_secret
from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption
from onhook.cli.pbx_secrets import SecretFileOption, SecretOption, read_webhook_secret
from onhook.lib.clock import SystemClock
from onhook.lib.messages import _

app = CommandGroup(
    add_completion=False,
    help=_("Manage the signing secrets of a destination."),
    epilog="Example: onhook destination secret add CRM",
)

DestinationName = Annotated[str, typer.Argument(metavar="NAME", help=_("Name of the destination"))]


@app.command("add", epilog="Example: onhook destination secret add CRM --label 'from May on'")
async def add_secret(
    name: DestinationName,
    *,
    secret: SecretOption = None,
    secret_file: SecretFileOption = None,
    label: Annotated[str, typer.Option("--label", metavar="TEXT", help=_("Description of the secret"))] = "webhook",
    data: DataOption = None,
) -> None:
    """Add a signing secret: X-Signature uses the oldest, Standard Webhooks all of them."""
    secret_value = read_webhook_secret(secret, secret_file)
    async with open_appdb(data) as appdb:
        new_secret, signing_secret = await appdb.destinations.add_secret(
            name, secret_value, now_us=SystemClock().microseconds(), label=label
        )
    print(_("Secret {secret_id} ({label}) added.", secret_id=new_secret.secret_id, label=new_secret.label))
    if secret_value is None:
        print(_("Shown this once: {signing_secret}", signing_secret=signing_secret))


@app.command(
    "remove", epilog="Example: onhook destination secret remove CRM 1, after: onhook destination secret add CRM"
)
async def remove_secret(
    name: DestinationName,
    secret_id: Annotated[int, typer.Argument(metavar="NUMBER", help=_("Number in `onhook destination show`"))],
    data: DataOption = None,
) -> None:
    """Remove a signing secret."""
    async with open_appdb(data) as appdb:
        await appdb.destinations.remove_secret(name, secret_id)
    print(_("Secret {secret_id} removed.", secret_id=secret_id))


def print_standard_webhooks_secrets(secrets: Iterable[str]) -> None:
    """Print the secrets as receivers by Standard Webhooks need them; those that have this form are known already."""
    for secret in secrets:
        if not secret.startswith(WHSEC_PREFIX):
            secret_text = format_standard_webhooks_secret(secret)
            print(_("Secret for Standard Webhooks, shown this once: {secret}", secret=secret_text))
