"""`onhook erase`: erase a telephone number from all that is stored."""

from typing import Annotated

import typer

from onhook.cli.commands import CommandGroup
from onhook.cli.options import DataOption, load_config, print_note
from onhook.cli.server_lookup import Row, open_data_client
from onhook.config import Config
from onhook.console.actions import ERASURE_LABELS
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.ops.instance_lock import is_server_running
from onhook.ops.rebuild import check_begin, rebuild
from onhook.runtime.engines import ENGINES

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook erase '+49 30 901820'")
async def erase(
    number: Annotated[str, typer.Argument(metavar="NUMBER", help=_("The number in any notation, or an extension"))],
    *,
    yes: Annotated[bool, typer.Option("--yes", help=_("Erase without a question"))] = False,
    calls: Annotated[
        int | None,
        typer.Option("--calls", metavar="N", min=0, help=_("With --yes: how many calls have it, where it is many")),
    ] = None,
    data: DataOption = None,
) -> None:
    """Erase a telephone number from all that is stored, after saying what has it. Calls stay, without the number. This
    cannot be undone. Calls that are received later are stored with the number.
    """
    config = load_config(data=data)
    async with await open_data_client(config) as client:
        preview = await client.preview_erasure(number)
        print(_("The number is in:"))
        _print_counts(preview)
        confirmed_calls = calls if yes else _confirm(preview)
        await client.erase(number, confirmed_calls)
    if is_server_running(config):
        print(_("The number was erased. The server cleans its files; the page Erase a number says when that is done."))
    else:
        await _rebuild(config)
        print(_("The number was erased."))


def _print_counts(counts: Row) -> None:
    for name, label in ERASURE_LABELS:
        if counts[name] or name == "calls":
            print(f"  {_(label)}: {counts[name]}")
    if counts["settings"]:
        print_note(_("these settings name it and stay as they are: {names}", names=", ".join(counts["settings"])))
    for text in counts["elsewhere"]:
        print_note(_("not reached: {place}", place=text))


def _confirm(preview: Row) -> int:
    """Return how many calls a person confirms. Raises `UsageError` where nothing answers the question."""
    try:
        is_confirmed = typer.confirm(_("Erase it? This cannot be undone."))
    except typer.Abort:
        raise UsageError(_("nothing was erased"), hint=_("answer the question, or add --yes")) from None
    if not is_confirmed:
        raise UsageError(_("nothing was erased"))
    return int(preview["calls"])


async def _rebuild(config: Config) -> None:
    """Make the store anew, whose file may have the number in parts that are not in use."""
    await check_begin(config, ENGINES)
    await rebuild(config, lambda _position, _last_seq: None, ENGINES)
