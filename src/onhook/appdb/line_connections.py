"""Line connections: where a PBX writes a line for each call, or where it offers them."""

from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

LineMode = Literal["listen", "connect"]
Precedence = Literal["line", "report"]
"""Which makes a call where the PBX has both; the other one fills gaps, or is ignored (lines.md 9)."""

HOST_CHARACTERS_MAX = 253
FIELDS_MAX = 60
"""Names of fields; a 3CX has 27."""

FIELD_CHARACTERS_MAX = 40

_SELECT = "SELECT sn, mode, host, port, fields, precedence FROM line_connections ORDER BY sn"


class LineConnection(msgspec.Struct, frozen=True, kw_only=True):
    """In mode `listen` the PBX connects to `host` and `port` of this machine, in mode `connect` Onhook connects to
    those of the PBX. `fields` are the names of the values of a line in their order; none where it is the usual one.
    """

    mode: LineMode
    host: str
    port: int
    fields: tuple[str, ...] = ()
    precedence: Precedence = "line"


class LineConnections:
    """Repository of line connections, by serial number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Mapping[str, LineConnection]:
        """Return the connections of all PBXs that have one."""
        return dict(read_rows(await self._database.rows(_SELECT), _line_connection))

    async def get(self, sn: str) -> LineConnection | None:
        """Return the connection of a PBX, or None."""
        return (await self.all()).get(sn)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("line_connections", await self._database.rows(_SELECT), _line_connection)

    async def put(self, sn: str, connection: LineConnection) -> None:
        """Set the connection of a registered PBX. Raises `UsageError`."""
        _validate(connection)
        await self._database.write(
            "INSERT INTO line_connections VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (sn) DO UPDATE SET"
            " mode = excluded.mode, host = excluded.host, port = excluded.port, fields = excluded.fields,"
            " precedence = excluded.precedence",
            (sn, connection.mode, connection.host, connection.port, ",".join(connection.fields), connection.precedence),
        )

    async def remove(self, sn: str) -> None:
        """Remove the connection of a PBX, if it has one."""
        await self._database.write("DELETE FROM line_connections WHERE sn = ?", (sn,))


def _validate(connection: LineConnection) -> None:
    if connection.mode not in get_args(LineMode):
        raise UsageError(_("{mode} is no mode of a line connection", mode=repr(connection.mode[:20])))
    parse_precedence(connection.precedence)
    host = connection.host
    if not 1 <= len(host) <= HOST_CHARACTERS_MAX or not host.isprintable() or not 0 < connection.port < 65_536:
        raise UsageError(_("this is no address of a line connection"), hint=_("write HOST:PORT"))
    if len(connection.fields) > FIELDS_MAX or any(len(name) > FIELD_CHARACTERS_MAX for name in connection.fields):
        raise UsageError(_("these are no names of fields"), hint=_("copy them from the console of the PBX"))


def parse_precedence(text: str) -> Precedence:
    """Return which of a line and a report makes a call. Raises `UsageError`."""
    for word in get_args(Precedence):
        if text == word:
            return word  # type: ignore[no-any-return] # of get_args
    raise UsageError(
        _("{text} can have no precedence", text=repr(text[:20])),
        location="--precedence",
        hint=_("write line or report"),
    )


def _line_connection(row: Row) -> tuple[str, LineConnection]:
    sn, mode, host, port, fields, precedence = row
    names = tuple(name for name in fields.split(",") if name)
    connection = LineConnection(mode=mode, host=host, port=port, fields=names, precedence=precedence)
    _validate(connection)
    return sn, connection
