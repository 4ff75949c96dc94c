"""AMI connections of Asterisk PBXs: address, detected configuration, connection state."""

from datetime import datetime

import msgspec
from msgspec import UNSET, UnsetType

from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import (
    UnreadableRow,
    decode_json_text,
    encode_json_text,
    list_unreadable,
    read_row,
    read_rows,
)
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

PORT, TLS_PORT = 5038, 5039
"""Asterisk's own defaults."""

HOST_CHARACTERS_MAX = 253
USER_CHARACTERS_MAX = 80
SECRET_CHARACTERS_MAX = 256
"""More than common in manager.conf; a PBX may have a shorter secret than Onhook's minimum."""

NAMES_MAX = 200
"""Trunks and contexts of one PBX."""

TLS_OFF, TLS_ON = "off", "on"
"""Or the trusted certificates, as PEM."""

_COLUMNS = (
    'sn, host, port, "user", tls, trunks, inbound, has_pins, detected_config, is_connected, connected_at,'
    " covered_until, error"
)


_SELECT = f"SELECT {_COLUMNS}, secret FROM asterisks ORDER BY sn"
"""With the secret: without one that can be read there is no connection."""


class AsteriskPbx(msgspec.Struct, frozen=True, kw_only=True):
    """The connection of an Asterisk and its state; the secret is only passed to the connecting code.

    `trunks` and `inbound` are None where they are read from the PBX; `detected_config` is what was read. All calls up
    to `covered_until` that the PBX reported are stored. `error` says why there is no connection.
    """

    sn: str
    host: str
    port: int
    user: str
    tls: str = TLS_OFF
    trunks: tuple[str, ...] | None = None
    inbound: tuple[str, ...] = ()
    has_pins: bool = False
    detected_config: str = ""
    is_connected: bool = False
    connected_at: datetime | None = None
    covered_until: datetime | None = None
    error: str = ""


class Asterisks:
    """Repository of AMI connections. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, asterisk: AsteriskPbx, secret: str) -> None:
        """Add the connection of a registered PBX. Raises `UsageError`."""
        validate_asterisk(asterisk, secret)
        values = (
            *(asterisk.sn, asterisk.host, asterisk.port, asterisk.user, secret, asterisk.tls),
            *(_join_names(asterisk.trunks), _join_names(asterisk.inbound), asterisk.has_pins),
        )
        await self._database.write(
            'INSERT INTO asterisks (sn, host, port, "user", secret, tls, trunks, inbound, has_pins)'
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )

    async def change(self, asterisk: AsteriskPbx, secret: str) -> None:
        """Change the connection of the PBX with this serial number; its state stays until it is connected anew. Raises
        `NotFound`, `UsageError`.
        """
        validate_asterisk(asterisk, secret)
        await self.get(asterisk.sn)
        await self._database.write(
            'UPDATE asterisks SET host = ?, port = ?, "user" = ?, secret = ?, tls = ?, trunks = ?, inbound = ?,'
            " has_pins = ? WHERE sn = ?",
            (
                *(asterisk.host, asterisk.port, asterisk.user, secret, asterisk.tls),
                *(_join_names(asterisk.trunks), _join_names(asterisk.inbound), asterisk.has_pins, asterisk.sn),
            ),
        )

    async def all(self) -> list[AsteriskPbx]:
        """Return all connections, by serial number."""
        return read_rows(await self._database.rows(_SELECT), _asterisk_with_secret)

    async def get(self, sn: str) -> AsteriskPbx:
        """Return the connection of a PBX. Raises `NotFound` for one that is not an Asterisk."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM asterisks WHERE sn = ?", (sn,))
        if not rows:
            raise NotFound(
                _("{sn} is not an Asterisk with an AMI connection", sn=repr(sn[:80])),
                hint=_("onhook pbx add NAME --asterisk HOST --user USER --secret SECRET"),
            )
        return read_row(rows[0], _asterisk)

    async def get_secret(self, sn: str) -> str:
        """Return the AMI secret, for the connecting code only. Raises `NotFound`, `RowUnreadable`."""
        rows = await self._database.rows("SELECT secret FROM asterisks WHERE sn = ?", ((await self.get(sn)).sn,))
        return read_row(rows[0], lambda row: str(row[0]))

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("asterisks", await self._database.rows(_SELECT), _asterisk_with_secret)

    async def set_trunks(
        self,
        sn: str,
        *,
        trunks: tuple[str, ...] | UnsetType | None = UNSET,
        inbound: tuple[str, ...] | UnsetType = UNSET,
    ) -> None:
        """Change the trunks, None to detect them, and the contexts that they call into, as far as they are given.
        Raises `NotFound`, `UsageError`.
        """
        asterisk = await self.get(sn)
        asterisk = msgspec.structs.replace(
            asterisk,
            trunks=asterisk.trunks if trunks is UNSET else trunks,
            inbound=asterisk.inbound if inbound is UNSET else inbound,
        )
        _validate_names(asterisk)
        await self._database.write(
            "UPDATE asterisks SET trunks = ?, inbound = ? WHERE sn = ?",
            (_join_names(asterisk.trunks), _join_names(asterisk.inbound), asterisk.sn),
        )

    # Connection state

    async def reset_connection(self, sn: str) -> None:
        """Mark a PBX as disconnected, before its connection starts: the last owner of it may have died."""
        await self._database.write("UPDATE asterisks SET is_connected = 0 WHERE is_connected = 1 AND sn = ?", (sn,))

    async def set_connected(self, sn: str, now_us: int) -> None:
        """Mark a PBX as connected from now on."""
        await self._database.write(
            "UPDATE asterisks SET is_connected = 1, connected_at = ?1, covered_until = ?1, error = '' WHERE sn = ?2",
            (now_us, sn),
        )

    async def set_covered_until(self, sn: str, until: int) -> None:
        """Store the time up to which every reported call is stored."""
        await self._database.write(
            "UPDATE asterisks SET covered_until = CASE WHEN covered_until > ?1 THEN covered_until ELSE ?1 END"
            " WHERE sn = ?2",
            (until, sn),
        )

    async def set_disconnected(self, sn: str, error: str) -> None:
        """Mark a PBX as disconnected, with the reason."""
        await self._database.write(
            "UPDATE asterisks SET is_connected = 0, error = ?1 WHERE sn = ?2 AND (is_connected = 1 OR error != ?1)",
            (error[:500], sn),
        )

    async def set_detected_config(self, sn: str, text: str) -> None:
        """Store the configuration that was read from the PBX."""
        await self._database.write(
            "UPDATE asterisks SET detected_config = ? WHERE sn = ?", (encode_json_text(text), sn)
        )


def validate_asterisk(asterisk: AsteriskPbx, secret: str) -> None:
    """Check a connection. Raises `UsageError`, never showing the secret."""
    _validate_text("the secret", secret, SECRET_CHARACTERS_MAX)
    _validate_text("the host", asterisk.host, HOST_CHARACTERS_MAX)
    _validate_text("the user", asterisk.user, USER_CHARACTERS_MAX)
    if not 0 < asterisk.port < 65_536:
        raise UsageError(
            _("there is no port {asterisk_port}", asterisk_port=asterisk.port),
            hint=_("use 1 to 65535; Asterisk's is 5038"),
        )
    _validate_names(asterisk)


def _validate_names(asterisk: AsteriskPbx) -> None:
    for name in (*(asterisk.trunks or ()), *asterisk.inbound):
        _validate_text("a trunk or context", name, USER_CHARACTERS_MAX)
    if len(asterisk.trunks or ()) > NAMES_MAX or len(asterisk.inbound) > NAMES_MAX:
        raise UsageError(
            _("there are more than {maximum} trunks or contexts", maximum=NAMES_MAX),
            hint=_("name those that are in use"),
        )


def _validate_text(field: str, text: str, characters_max: int) -> None:
    """Check the length and characters of a text without showing it: it may be the secret."""
    if not 1 <= len(text) <= characters_max or not text.isprintable() or text != text.strip():
        raise UsageError(
            _("{field} is invalid", field=field),
            hint=_("use 1 to {maximum} printable characters", maximum=characters_max),
        )


def _join_names(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else ",".join(names)


def _split_names(text: str | None) -> tuple[str, ...]:
    return tuple(name for name in (text or "").split(",") if name)


def _asterisk_with_secret(row: Row) -> AsteriskPbx:
    *columns, _secret = row
    return _asterisk(tuple(columns))


def _asterisk(row: Row) -> AsteriskPbx:
    values = dict(zip((name.strip(' "') for name in _COLUMNS.split(",")), row, strict=True))
    values["trunks"] = None if values["trunks"] is None else _split_names(values["trunks"])
    values["inbound"] = _split_names(values["inbound"])
    values["detected_config"] = decode_json_text(values["detected_config"])
    for name in ("has_pins", "is_connected"):
        values[name] = bool(values[name])
    for name in ("connected_at", "covered_until"):
        values[name] = None if values[name] is None else to_datetime(values[name])
    return AsteriskPbx(**values)
