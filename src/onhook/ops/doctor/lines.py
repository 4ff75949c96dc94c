"""Health checks of PBXs that write lines: their connection, their allow-list, and the zone of their clock."""

import asyncio
import errno
import shlex
from collections.abc import AsyncIterator

from onhook.appdb.appdb import AppDb
from onhook.appdb.line_connections import LineConnection
from onhook.appdb.pbxs import Pbx
from onhook.appdb.source_match import SOCKET_DIALECTS
from onhook.config import Address, Config, is_loopback
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.sockets import listening_socket
from onhook.ops.doctor.check import Check
from onhook.ops.instance_lock import is_server_running

CONNECT_SECONDS_MAX = 5.0


async def check_line_listeners(appdb: AppDb) -> list[Check]:
    """Return the PBXs for whose lines this machine listens on an address that others reach, without an allow-list: no
    signature says who writes.
    """
    connections, source_matches = await appdb.line_connections.all(), await appdb.source_matches.all()
    return [
        _allow_list_error(pbx)
        for pbx in await appdb.pbxs()
        if pbx.sn in connections and pbx.sn not in source_matches and _is_exposed(connections[pbx.sn])
    ]


async def check_line_pbx(config: Config, appdb: AppDb, pbx: Pbx) -> AsyncIterator[Check]:
    """Yield the checks of one PBX."""
    connection = await appdb.line_connections.get(pbx.sn)
    if connection is None:
        yield Check(
            "ERROR",
            _("it has no connection for its lines"),
            _(
                "`onhook pbx remove {name}`, then"
                " `onhook pbx add {name} --type {dialect} --listen HOST:PORT --from ADDRESS`",
                name=shlex.quote(pbx.name),
                dialect=shlex.quote(pbx.dialect),
            ),
        )
        return
    source_match = await appdb.source_matches.get(pbx.sn)
    address = Address(connection.host, connection.port)
    if connection.mode == "connect":
        yield await _check_port(address)
    elif not source_match.addresses and _is_exposed(connection):
        yield _allow_list_error(pbx)
    else:
        yield await asyncio.to_thread(_check_listener, config, address)
    if connection.mode == "listen" and source_match.addresses:
        yield Check("OK", _("lines are accepted from {addresses}", addresses=", ".join(source_match.addresses)))
    yield _check_zone(pbx)
    if connection.fields:
        yield Check("OK", _("its fields have an order of their own: {fields}", fields=", ".join(connection.fields)))


async def check_event_socket(appdb: AppDb, pbx: Pbx) -> list[Check]:
    """Return whether the event socket of a FreeSWITCH can be reached; nothing where it has none."""
    connection = await appdb.line_connections.get(pbx.sn) if pbx.dialect in SOCKET_DIALECTS else None
    return [] if connection is None else [await _check_port(Address(connection.host, connection.port))]


def _is_exposed(connection: LineConnection) -> bool:
    return connection.mode == "listen" and not is_loopback(connection.host)


def _allow_list_error(pbx: Pbx) -> Check:
    return Check(
        "ERROR",
        _("no address may write lines of {name}: what every address could write is not accepted", name=pbx.name),
        _("`onhook pbx change {name} --from ADDRESS` allows its address alone", name=shlex.quote(pbx.name)),
    )


async def _check_port(address: Address) -> Check:
    """Return whether a PBX listens; the connection is closed at once, and no line is read."""
    try:
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            _reader, writer = await asyncio.open_connection(address.host, address.port)
    except (OSError, TimeoutError) as error:
        reason = getattr(error, "strerror", None) or str(error) or _("no answer in time")
        return Check(
            "ERROR",
            _("{address} cannot be reached: {reason}", address=address, reason=reason),
            _("compare it with the address and the port that the PBX listens on for its CDRs; check the firewall"),
        )
    writer.close()
    return Check("OK", _("{address} is open", address=address))


def _check_listener(config: Config, address: Address) -> Check:
    """Return whether this machine listens for lines: while the server runs, no other socket can have the address."""
    if not is_server_running(config):
        return Check("OK", _("no server is running: nothing listens on {address}", address=address))
    try:
        listening_socket(address.host, address.port, backlog=1, option="listen").close()
    except UsageError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.EADDRINUSE:
            return Check("OK", _("the intake listens for lines on {address}", address=address))
        return Check(
            "ERROR", error.message, _("choose another address with `onhook pbx change NAME --listen HOST:PORT`")
        )
    return Check(
        "ERROR",
        _("the intake does not listen for lines on {address}", address=address),
        _("look for the reason in the log of the server"),
    )


def _check_zone(pbx: Pbx) -> Check:
    if pbx.zone is None:
        return Check(
            "WARNING",
            _("its lines do not contain a time zone, and none is set: UTC is assumed"),
            _("`onhook pbx change {name} --zone ZONE`, with UTC or that of its clock", name=shlex.quote(pbx.name)),
        )
    return Check("OK", _("the times of its lines are read in the zone {zone}", zone=pbx.zone))
