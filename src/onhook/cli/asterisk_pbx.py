"""`onhook pbx add --asterisk`: add an Asterisk with an AMI connection."""

import shlex
import ssl
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onhook.appdb.appdb import AppDb
from onhook.appdb.asterisks import PORT, TLS_OFF, TLS_ON, TLS_PORT, AsteriskPbx, validate_asterisk
from onhook.appdb.cdr_sources import CdrSource, parse_cdr_source
from onhook.appdb.pbxs import Pbx
from onhook.appdb.tokens import generate_token
from onhook.cdr.number_plan import NumberPlan
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import option_with_default
from onhook.cli.pbx_apis import check_url_host
from onhook.config import Address, parse_address
from onhook.lib.clock import SystemClock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

AUTO = "auto"
"""Value of `--trunks` with which the trunks are detected."""

NO_SOURCE = "none"
"""Value of `--cdr` that removes the CDR source."""

PEM_BYTES_MAX = 64 * 1024
"""A certificate and its chain have some 6 KiB."""

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


class NewAsterisk(msgspec.Struct, frozen=True):
    """Options of an Asterisk."""

    name: str
    sn: str | None
    address: str
    user: str | None
    tls: str
    trunks: str | None
    inbound: str | None
    has_pins: bool
    zone: str | None
    source: CdrSource | None


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
        await check_source_host(source, data)
    return source


async def check_source_host(source: CdrSource, data: str | None) -> None:
    """Check the host of a CDR table; a file has none. Raises `UsageError` for one that may not be connected to."""
    if "://" in source.location:
        await check_url_host(source.location, "--cdr", data)


class AsteriskChanges(msgspec.Struct, frozen=True):
    """Changed settings of an Asterisk; None for those that stay."""

    source: CdrSource | None = None
    trunks: str | None = None
    inbound: str | None = None


async def change_asterisk(appdb: AppDb, pbx: Pbx, changes: AsteriskChanges) -> None:
    """Set the CDR source and the trunks of a PBX. Raises `NotFound` for one without an AMI connection."""
    if any(change is not None for change in msgspec.structs.astuple(changes)):
        await appdb.asterisks.get(pbx.sn)
    if changes.source is not None:
        source = None if changes.source == parse_cdr_source(NO_SOURCE) else changes.source
        await appdb.cdr_sources.put(pbx.sn, source)
    if changes.trunks is not None:
        await appdb.asterisks.set_trunks(pbx.sn, trunks=_parse_trunks(changes.trunks))
    if changes.inbound is not None:
        await appdb.asterisks.set_trunks(pbx.sn, inbound=_split_names(changes.inbound))


async def add_asterisk(new_asterisk: NewAsterisk, number_plan: NumberPlan, secret: str | None, data: str | None) -> str:
    """Add the PBX; return the sentence to print. Raises `UsageError`.

    It sends no webhooks, so it gets a random webhook secret that is never shown.
    """
    asterisk = _build_asterisk(new_asterisk)
    if secret is None:
        raise UsageError(
            _("no secret is given"), hint=_("give that of the manager's user, with --secret or --secret-file")
        )
    validate_asterisk(asterisk, secret)
    await check_url_host(f"//{Address(asterisk.host, asterisk.port)}", "--asterisk", data)
    async with open_appdb(data, create=True) as appdb:
        pbx = await appdb.add_pbx(
            name=new_asterisk.name,
            sn=asterisk.sn,
            secret=generate_token(),
            dialect="asterisk",
            zone=new_asterisk.zone,
            number_plan=number_plan,
            now_us=SystemClock().microseconds(),
        )
        await appdb.asterisks.add(asterisk, secret)
        await appdb.cdr_sources.put(pbx.sn, new_asterisk.source)
    return _(
        'PBX "{name}" ({sn}) added. It is connected while the server runs; check it with `onhook doctor {argument}`.',
        name=pbx.name,
        sn=pbx.sn,
        argument=shlex.quote(pbx.name),
    )


def _build_asterisk(new_asterisk: NewAsterisk) -> AsteriskPbx:
    if not new_asterisk.user:
        raise UsageError(_("no user is given"), hint=_("give the manager's user in manager.conf, with --user"))
    default_port = PORT if new_asterisk.tls == TLS_OFF else TLS_PORT
    has_port = new_asterisk.address.rpartition(":")[2].isdigit() and not new_asterisk.address.endswith("]")
    address = parse_address(
        new_asterisk.address if has_port else f"{new_asterisk.address}:{default_port}", "--asterisk"
    )
    return AsteriskPbx(
        sn=new_asterisk.sn or (address.host if address.port == default_port else str(address)),
        host=address.host,
        port=address.port,
        user=new_asterisk.user,
        tls=_read_tls_option(new_asterisk.tls),
        trunks=None if new_asterisk.trunks is None else _parse_trunks(new_asterisk.trunks),
        inbound=_split_names(new_asterisk.inbound or ""),
        has_pins=new_asterisk.has_pins,
    )


def _read_tls_option(tls: str) -> str:
    """Return `off`, `on`, or the certificates of a file. Raises `UsageError`."""
    if tls in (TLS_OFF, TLS_ON):
        return tls
    try:
        with Path(tls).open() as file:
            pem = file.read(PEM_BYTES_MAX)
        ssl.create_default_context(cadata=pem)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(
            _("cannot read certificates: {error}", error=error),
            location=tls,
            hint=_("name a file with certificates in PEM, or write on or off"),
        ) from error
    return pem


def _parse_trunks(text: str) -> tuple[str, ...] | None:
    """Return the names, or None where they are to be detected."""
    return None if text.strip() == AUTO else _split_names(text)


def _split_names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
