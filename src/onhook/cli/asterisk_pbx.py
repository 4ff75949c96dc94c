"""`onhook pbx add --asterisk`: add an Asterisk with an AMI connection."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from onhook.appdb.asterisks import TLS_OFF, TLS_ON
from onhook.appdb.cdr_sources import CdrSource, parse_cdr_source
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import load_config, option_with_default, print_note
from onhook.console.pbx_setup import PEM_BYTES_MAX, NewAsterisk, add_asterisk, check_source_host, validate_tls
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

AsteriskOption = Annotated[
    str | None,
    typer.Option(
        "--asterisk", metavar="HOST[:PORT]", help=_("Address of its manager interface (AMI)"), show_default=False
    ),
]
UserOption = Annotated[
    str | None, typer.Option("--user", metavar="USER", help=_("User in its manager.conf"), show_default=False)
]
TlsOption = Annotated[
    str, typer.Option("--tls", metavar="off|on|FILE", help=_("TLS; FILE has the trusted certificates, as PEM"))
]
TrunksOption = Annotated[
    str | None,
    typer.Option(
        "--trunks", metavar="NAMES", help=_("Its trunks, or auto to detect them; default: auto"), show_default=False
    ),
]
InboundOption = Annotated[
    str | None,
    typer.Option(
        "--inbound-context",
        metavar="NAMES",
        help=_("Contexts of its trunks; detected by default"),
        show_default=False,
    ),
]
CdrOption = Annotated[
    str | None,
    typer.Option(
        "--cdr",
        metavar="FILE|URL",
        help=_("CDR source: a file on this machine, or postgresql:// or mysql://USER:PASSWORD@HOST/DATABASE/TABLE"),
        show_default=False,
    ),
]
CdrTableOption = Annotated[
    str | None,
    option_with_default("--cdr-table", metavar="NAME", help_text=_("Table of the CDR source"), default="cdr"),
]
CdrColumnsOption = Annotated[
    str | None,
    typer.Option(
        "--cdr-columns", metavar="NAMES", help=_("Columns of a CSV file with a custom order"), show_default=False
    ),
]
PinsOption = Annotated[bool, typer.Option("--pins", help=_("Its account code is the PIN that was dialled"))]


async def parse_source_options(
    cdr: str | None, table: str | None, columns: str | None, data: str | None
) -> CdrSource | None:
    """Return the CDR source of the options; None without them. Raises `UsageError`, also for an address that may not be
    connected to.
    """
    if cdr is None and (table or columns):
        raise UsageError(_("--cdr-table and --cdr-columns need a CDR source"), hint=_("set it with --cdr"))
    source = None if cdr is None else parse_cdr_source(cdr, table=table, columns=columns)
    if source is not None:
        await check_source(source, data)
    return source


async def check_source(source: CdrSource, data: str | None) -> None:
    """Check the host of a CDR table, and print a note where it has no address now. Raises `UsageError` for one that may
    not be connected to.
    """
    warning = await check_source_host(load_config(data=data), source)
    if warning:
        print_note(warning)


async def add_asterisk_pbx(new_asterisk: NewAsterisk, data: str | None) -> str:
    """Add the PBX; return the sentence to print. Raises `UsageError`."""
    async with open_appdb(data, create=True) as appdb:
        added = await add_asterisk(
            load_config(data=data),
            appdb,
            new_asterisk,
            location="--asterisk",
            now_us=SystemClock().microseconds(),
        )
    for warning in added.warnings:
        print_note(warning)
    return _(
        'PBX "{name}" ({sn}) added. It is connected while the server runs; check it with `onhook doctor {argument}`.',
        name=added.pbx.name,
        sn=added.pbx.sn,
        argument=shlex.quote(added.pbx.name),
    )


def require_manager(user: str | None, secret: str | None) -> tuple[str, str]:
    """Return user and secret of the manager interface. Raises `UsageError`."""
    if not user:
        raise UsageError(_("no user is given"), hint=_("give the manager's user in manager.conf, with --user"))
    if secret is None:
        raise UsageError(
            _("no secret is given"), hint=_("give that of the manager's user, with --secret or --secret-file")
        )
    return user, secret


def read_tls_option(tls: str) -> str:
    """Return `off`, `on`, or the certificates of a file. Raises `UsageError`."""
    if tls in (TLS_OFF, TLS_ON):
        return tls
    try:
        with Path(tls).open() as file:
            return validate_tls(file.read(PEM_BYTES_MAX))
    except (OSError, UnicodeDecodeError, UsageError) as error:
        message = (
            error.message if isinstance(error, UsageError) else _("cannot read certificates: {error}", error=error)
        )
        raise UsageError(
            message, location=tls, hint=_("name a file with certificates in PEM, or write on or off")
        ) from error
