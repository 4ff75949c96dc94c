"""Adding and changing PBXs that write lines, for the pages and the command line.

Invariants: an address that others reach has an allow-list, because nothing else says who writes. Two PBXs share a port
of this machine only if no address may be of both.
"""

import shlex
from collections.abc import Sequence
from ipaddress import ip_network

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.line_connections import LineConnection, Precedence, parse_precedence
from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import SourceMatch, parse_source_match
from onhook.cdr.number_plan import NumberPlan
from onhook.config import Address, Config, is_loopback, parse_address
from onhook.console.pbx_setup import PbxAddition, check_pbx_url
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx.threecx.fields import parse_order
from onhook.pbx.threecx.payload import ThreeCx

LISTEN, CONNECT = "listen", "connect"


class NewLinePbx(msgspec.Struct, frozen=True, kw_only=True):
    """A PBX that writes lines, to the address `listen` of this machine, or at its own address `connect`: one of both is
    `HOST:PORT`. `addresses` may connect; `fields` are names with commas between them, empty for the usual ones.
    """

    name: str
    dialect: str
    listen: str = ""
    connect: str = ""
    addresses: Sequence[str] = ()
    fields: str = ""
    sn: str | None = None
    zone: str | None = None
    number_plan: NumberPlan = NumberPlan()


class LineChanges(msgspec.Struct, frozen=True):
    """Changed settings of a line connection; None for those that stay."""

    listen: str | None = None
    connect: str | None = None
    fields: str | None = None
    precedence: str | None = None


async def add_line_pbx(config: Config, appdb: AppDb, new_pbx: NewLinePbx, *, now_us: int) -> PbxAddition:
    """Add a PBX with its connection. Raises `UsageError`."""
    connection = parse_line_connection(new_pbx)
    source_match = parse_source_match(new_pbx.addresses, None)
    check_allow_list(connection, source_match)
    warning = await _check_host(config, connection)
    sn = new_pbx.sn or _default_sn(new_pbx.dialect, connection)
    async with appdb.transaction():
        await check_port(appdb, sn, connection, source_match)
        pbx = await appdb.add_pbx(
            name=new_pbx.name,
            sn=sn,
            secret=None,
            dialect=new_pbx.dialect,
            zone=new_pbx.zone,
            number_plan=new_pbx.number_plan,
            source_match=source_match,
            now_us=now_us,
        )
        await appdb.line_connections.put(pbx.sn, connection)
    return PbxAddition(pbx, (warning,) if warning else ())


async def merge_line_changes(config: Config, appdb: AppDb, pbx: Pbx, changes: LineChanges) -> LineConnection:
    """Return the changed connection of a PBX, to store. Outside of a transaction: the host's name is looked up. Raises
    `UsageError`, also for another kind of PBX.
    """
    stored = await appdb.line_connections.get(pbx.sn)
    if stored is None:
        raise UsageError(
            _("{name} writes no lines", name=pbx.name),
            hint=_("`onhook pbx add NAME --type 3cx|avaya --listen HOST:PORT --from ADDRESS` adds a PBX that does"),
        )
    addresses = {LISTEN: changes.listen or "", CONNECT: changes.connect or ""}
    if not any(addresses.values()):
        addresses = {LISTEN: "", CONNECT: "", stored.mode: str(Address(stored.host, stored.port))}
    fields = ",".join(stored.fields) if changes.fields is None else changes.fields
    new_settings = NewLinePbx(
        name=pbx.name, dialect=pbx.dialect, listen=addresses[LISTEN], connect=addresses[CONNECT], fields=fields
    )
    precedence = stored.precedence if changes.precedence is None else await _parse_precedence(appdb, pbx, changes)
    connection = msgspec.structs.replace(parse_line_connection(new_settings), precedence=precedence)
    await _check_host(config, connection)
    return connection


async def _parse_precedence(appdb: AppDb, pbx: Pbx, changes: LineChanges) -> Precedence:
    """Return which of line and report makes a call. Raises `UsageError`."""
    precedence = parse_precedence(changes.precedence or "")
    if precedence == "report" and await appdb.pbx_credentials.get(pbx.sn) is None:
        raise UsageError(
            _("the reports of {name} cannot be read: its API is not set", name=pbx.name),
            location="--precedence",
            hint=_("`onhook pbx change {name} --api https://HOST:PORT` sets it", name=shlex.quote(pbx.name)),
        )
    return precedence


async def parse_event_socket(config: Config, pbx: Pbx, changes: LineChanges) -> LineConnection:
    """Return the event socket of a FreeSWITCH, whose password is a secret of the PBX. Outside of a transaction: the
    host's name is looked up. Raises `UsageError`.
    """
    if not pbx.secrets:
        raise UsageError(
            _("the event socket of {name} has no password", name=pbx.name),
            hint=_(
                "`onhook pbx secret add {name}` sets the password of event_socket.conf.xml", name=shlex.quote(pbx.name)
            ),
        )
    connection = parse_line_connection(
        NewLinePbx(name=pbx.name, dialect=pbx.dialect, listen=changes.listen or "", connect=changes.connect or "")
    )
    await _check_host(config, connection)
    return connection


async def store_line_connection(appdb: AppDb, pbx: Pbx, connection: LineConnection, source_match: SourceMatch) -> None:
    """Store the connection of a PBX that will have this source. Raises `UsageError`."""
    check_allow_list(connection, source_match)
    await check_port(appdb, pbx.sn, connection, source_match)
    await appdb.line_connections.put(pbx.sn, connection)


def parse_line_connection(new_pbx: NewLinePbx) -> LineConnection:
    """Return the connection. Raises `UsageError`."""
    if bool(new_pbx.listen) == bool(new_pbx.connect):
        raise UsageError(
            _("a PBX of the dialect {dialect} needs one address: of this machine, or its own", dialect=new_pbx.dialect),
            hint=_("give --listen HOST:PORT where it connects to Onhook, or --connect HOST:PORT where it listens"),
        )
    mode, text = (LISTEN, new_pbx.listen) if new_pbx.listen else (CONNECT, new_pbx.connect)
    address = parse_address(text, mode)
    if not address.port:
        raise UsageError(_("the port 0 is none that a PBX can use"), location=mode, hint=_("write HOST:PORT"))
    return LineConnection(
        mode="listen" if new_pbx.listen else "connect",
        host=address.host,
        port=address.port,
        fields=parse_line_fields(new_pbx.dialect, new_pbx.fields),
    )


def check_allow_list(connection: LineConnection, source_match: SourceMatch) -> None:
    """Check that not every address may write lines. Raises `UsageError`."""
    if connection.mode == LISTEN and not source_match.addresses and not is_loopback(connection.host):
        raise UsageError(
            _("lines have no signature: the addresses that may write them must be known"),
            location="--from",
            hint=_("give the address of the PBX with --from, or listen on 127.0.0.1"),
        )


async def check_port(appdb: AppDb, sn: str, connection: LineConnection, source_match: SourceMatch) -> None:
    """Check that no address may write lines of this PBX and of another one to the same port. Raises `UsageError`."""
    source_matches = await appdb.source_matches.all()
    for other_sn, other in (await appdb.line_connections.all()).items():
        is_shared = (other.mode, other.host, other.port) == (LISTEN, connection.host, connection.port)
        if other_sn == sn or not is_shared or connection.mode != LISTEN:
            continue
        if _overlap(source_match.addresses, source_matches.get(other_sn, SourceMatch()).addresses):
            raise UsageError(
                _("another PBX writes its lines to the port {port} from the same addresses", port=connection.port),
                location=LISTEN,
                hint=_("use another port, or other addresses"),
            )


def _overlap(addresses: Sequence[str], other_addresses: Sequence[str]) -> bool:
    """Return whether one address may be in both; without a list it may."""
    if not addresses or not other_addresses:
        return True
    networks, other_networks = list(map(ip_network, addresses)), list(map(ip_network, other_addresses))
    return any(
        network.version == other_network.version and network.overlaps(other_network)
        for network in networks
        for other_network in other_networks
    )


async def _check_host(config: Config, connection: LineConnection) -> str:
    """Return a warning where the host of a PBX has no address now. Raises `UsageError` for one that may not be
    connected to.
    """
    if connection.mode == LISTEN:
        return ""
    return await check_pbx_url(config, f"//{Address(connection.host, connection.port)}", location=CONNECT)


def _default_sn(dialect: str, connection: LineConnection) -> str:
    return connection.host if connection.mode == CONNECT else f"{dialect}-{connection.port}"


def parse_line_fields(dialect: str, text: str) -> tuple[str, ...]:
    """Return the names of fields with commas between them, of a dialect that has a choice. Raises `UsageError`."""
    if dialect == ThreeCx.name:
        return parse_order(text)
    if text.strip():
        raise UsageError(
            _("the fields of a PBX of the dialect {dialect} have one order", dialect=dialect),
            location="--fields",
            hint=_("leave them out"),
        )
    return ()
