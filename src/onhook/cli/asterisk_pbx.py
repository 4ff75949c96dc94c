"""`onhook pbx add --asterisk`: declare an Asterisk, which we connect to."""

import ssl
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from onhook.cdr.plan import NumberPlan
from onhook.cli.settings import open_settings
from onhook.clock import SystemClock
from onhook.config import parse_address
from onhook.errors import UsageError
from onhook.settings.asterisks import PORT, TLS_OFF, TLS_ON, TLS_PORT, Reached, check
from onhook.settings.tokens import new_text

PEM_BYTES_MAX = 64 * 1024
"""A certificate and those above it have some 6 KiB."""

AsteriskOption = Annotated[
    str | None,
    typer.Option("--asterisk", metavar="HOST[:PORT]", help="An Asterisk's manager interface.", show_default=False),
]
UserOption = Annotated[
    str | None, typer.Option("--user", metavar="USER", help="Our user in its manager.conf.", show_default=False)
]
TlsOption = Annotated[
    str, typer.Option("--tls", metavar="off|on|FILE", help="Speak TLS; FILE has the certificates to trust, as PEM.")
]
TrunksOption = Annotated[
    str | None,
    typer.Option("--trunks", metavar="NAMES", help="Its trunks; read from it unless given.", show_default=False),
]
InboundOption = Annotated[
    str | None,
    typer.Option("--inbound-context", metavar="NAMES", help="Contexts that its trunks call into.", show_default=False),
]
PinsOption = Annotated[bool, typer.Option("--pins", help="Its account code is the PIN that was dialled.")]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a person said of an Asterisk."""

    name: str
    sn: str | None
    at: str
    user: str | None
    tls: str
    trunks: str | None
    inbound: str | None
    has_pins: bool
    zone: str | None


def add_asterisk(wanted: Wanted, plan: NumberPlan, secret: str | None, data: str | None) -> str:
    """Declare it; the sentence to be printed. Raises `UsageError`.

    It signs nothing, so it gets a secret for webhooks that nobody knows: none can report in its name from outside.
    """
    reached = _reached(wanted)
    if secret is None:
        raise UsageError("no secret is given", todo="give that of the manager's user, with --secret or --secret-file")
    check(reached, secret)
    with open_settings(data, makes=True) as settings:
        pbx = settings.add_pbx(
            name=wanted.name,
            sn=reached.sn,
            secret=new_text(),
            dialect="asterisk",
            zone=wanted.zone,
            plan=plan,
            at=SystemClock().microseconds(),
        )
        settings.asterisks.add(reached, secret)
    return f"{pbx.name} ({pbx.sn}) is connected to while the server runs; `onhook asterisk doctor` looks at it."


def _reached(wanted: Wanted) -> Reached:
    if not wanted.user:
        raise UsageError("no user is given", todo="give the manager's user in manager.conf, with --user")
    default = PORT if wanted.tls == TLS_OFF else TLS_PORT
    has_port = wanted.at.rpartition(":")[2].isdigit() and not wanted.at.endswith("]")
    address = parse_address(wanted.at if has_port else f"{wanted.at}:{default}", "--asterisk")
    return Reached(
        sn=wanted.sn or (address.host if address.port == default else str(address)),
        host=address.host,
        port=address.port,
        user=wanted.user,
        tls=_trusted(wanted.tls),
        trunks=None if wanted.trunks is None else _names(wanted.trunks),
        inbound=_names(wanted.inbound or ""),
        has_pins=wanted.has_pins,
    )


def _trusted(tls: str) -> str:
    """`off`, `on`, or the certificates in a file. Raises `UsageError`."""
    if tls in (TLS_OFF, TLS_ON):
        return tls
    try:
        with Path(tls).open() as file:
            pem = file.read(PEM_BYTES_MAX)
        ssl.create_default_context(cadata=pem)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(
            f"cannot read certificates: {error}",
            where=tls,
            todo="name a file with certificates in PEM, or say on or off",
        ) from error
    return pem


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
