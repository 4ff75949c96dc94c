"""`onhook pbx add --type 3cx`: add a PBX that writes lines, and change its connection."""

import shlex
from typing import Annotated

import typer

from onhook.appdb.appdb import AppDb
from onhook.appdb.line_connections import LineConnection
from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import LINE_DIALECTS, SOCKET_DIALECTS, SourceMatch
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import load_config, print_note
from onhook.console.line_setup import LineChanges, NewLinePbx, add_line_pbx, merge_line_changes, parse_event_socket
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

ListenOption = Annotated[
    str | None,
    typer.Option(
        "--listen",
        metavar="HOST:PORT",
        help=_("Address of this machine to which a 3CX or Avaya writes its lines"),
        show_default=False,
    ),
]
ConnectOption = Annotated[
    str | None,
    typer.Option(
        "--connect",
        metavar="HOST:PORT",
        help=_("Address of a 3CX or Avaya that waits for a connection, or of the event socket of a FreeSWITCH"),
        show_default=False,
    ),
]
FieldsOption = Annotated[
    str | None,
    typer.Option(
        "--fields",
        metavar="NAMES",
        help=_("Fields of the lines of a 3CX in their order; '' for that of one whose fields were not changed"),
        show_default=False,
    ),
]
PrecedenceOption = Annotated[
    str | None,
    typer.Option(
        "--precedence",
        metavar="WORD",
        help=_("Which makes the calls of a 3CX with an API: line, or report"),
        show_default=False,
    ),
]


def is_line_pbx(dialect: str, changes: LineChanges, *, has_other_sender: bool) -> bool:
    """Return whether a new PBX writes lines. Raises `UsageError` for options of another kind of PBX; `has_other_sender`
    says that there is a secret or a path.
    """
    if dialect not in LINE_DIALECTS:
        if changes != LineChanges():
            raise UsageError(
                _("a PBX of the dialect {dialect} writes no lines", dialect=dialect),
                hint=_("give --type {dialects} with --listen, --connect and --fields", dialects="3cx|avaya"),
            )
        return False
    if has_other_sender:
        raise UsageError(
            _("a PBX of the dialect {dialect} is identified by its connection", dialect=dialect),
            hint=_("give the addresses that may connect with --from, and neither a secret nor a path"),
        )
    return True


async def store_line_pbx(new_pbx: NewLinePbx, data: str | None) -> str:
    """Add the PBX; return the sentence to print. Raises `UsageError`."""
    async with open_appdb(data, create=True) as appdb:
        added = await add_line_pbx(load_config(data=data), appdb, new_pbx, now_us=SystemClock().microseconds())
    for warning in added.warnings:
        print_note(warning)
    return _(
        'PBX "{name}" ({sn}) added. Its lines are received while the server runs;'
        " check it with `onhook doctor {argument}`.",
        name=added.pbx.name,
        sn=added.pbx.sn,
        argument=shlex.quote(added.pbx.name),
    )


async def merge_line_pbx(
    appdb: AppDb, pbx: Pbx, changes: LineChanges, new_match: SourceMatch, data: str | None
) -> LineConnection | None:
    """Return the connection of a PBX to store, if it or its source changes; None else. Raises `UsageError`."""
    if pbx.dialect in SOCKET_DIALECTS and changes.connect is not None:
        if changes.connect:
            return await parse_event_socket(load_config(data=data), pbx, changes)
        await appdb.line_connections.remove(pbx.sn)
        return None
    if changes == LineChanges() and (pbx.dialect not in LINE_DIALECTS or not new_match):
        return None
    return await merge_line_changes(load_config(data=data), appdb, pbx, changes)
