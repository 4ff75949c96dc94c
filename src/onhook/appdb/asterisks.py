"""How each Asterisk is reached, what was learned of it, and since when we hear it."""

from datetime import datetime
from typing import Any

import msgspec

from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.timestamps import to_datetime

PORT, TLS_PORT = 5038, 5039
"""Those of Asterisk itself."""

HOST_CHARACTERS_MAX = 253
USER_CHARACTERS_MAX = 80
SECRET_CHARACTERS_MAX = 256
"""More than anybody writes into manager.conf; a shorter secret than ours may be all that the PBX has."""

NAMES_MAX = 200
"""Trunks and contexts of one PBX."""

TLS_OFF, TLS_ON = "off", "on"
"""Or the certificates, as PEM, that alone are trusted."""

_COLUMNS = (
    "sn, host, port, user, tls, trunks, inbound, has_pins, learned, is_connected, connected_at, covered_until, trouble"
)


class AsteriskPbx(msgspec.Struct, frozen=True, kw_only=True):
    """How an Asterisk is reached, and how it fares; the secret is told to whoever connects, and to nobody else.

    `trunks` and `inbound` are None where they are read from the PBX; `learned` is what was read. `covered_until` is the
    moment up to which every call that it told us of is kept. `trouble` says why there is no connection.
    """

    sn: str
    host: str
    port: int
    user: str
    tls: str = TLS_OFF
    trunks: tuple[str, ...] | None = None
    inbound: tuple[str, ...] = ()
    has_pins: bool = False
    learned: str = ""
    is_connected: bool = False
    connected_at: datetime | None = None
    covered_until: datetime | None = None
    trouble: str = ""


class Asterisks:
    """What is kept of them. Moments that go in are microseconds since 1970, UTC."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def add(self, reached: AsteriskPbx, secret: str) -> None:
        """Say how a PBX that is declared is reached. Raises `UsageError`."""
        validate_asterisk(reached, secret)
        values = (
            *(reached.sn, reached.host, reached.port, reached.user, secret, reached.tls),
            *(_join_names(reached.trunks), _join_names(reached.inbound), reached.has_pins),
        )
        self._database.write(
            "INSERT INTO asterisks (sn, host, port, user, secret, tls, trunks, inbound, has_pins)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            values,
        )

    def all(self) -> list[AsteriskPbx]:
        """Every one, by serial number."""
        return [_asterisk(*row) for row in self._database.rows(f"SELECT {_COLUMNS} FROM asterisks ORDER BY sn")]

    def of(self, sn: str) -> AsteriskPbx:
        """How a PBX is reached. Raises `NotFound` for one that is no Asterisk."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM asterisks WHERE sn = ?", (sn,))
        if not rows:
            raise NotFound(
                f"{sn[:80]!r} is no Asterisk that we connect to",
                todo="onhook pbx add NAME --asterisk HOST --user USER --secret SECRET",
            )
        return _asterisk(*rows[0])

    def secret(self, sn: str) -> str:
        """What proves us to it: for whoever connects. Raises `NotFound`."""
        rows = self._database.rows("SELECT secret FROM asterisks WHERE sn = ?", (self.of(sn).sn,))
        return str(rows[0][0])

    # -- how it fares

    def begin(self) -> None:
        """Nobody hears any of them: whoever does so next begins anew."""
        self._database.write("UPDATE asterisks SET is_connected = 0 WHERE is_connected")

    def opened(self, sn: str, at: int) -> None:
        """We hear it from now on."""
        self._database.write(
            "UPDATE asterisks SET is_connected = 1, connected_at = ?1, covered_until = ?1, trouble = '' WHERE sn = ?2",
            (at, sn),
        )

    def covered(self, sn: str, until: int) -> None:
        """All that it told us of up to this moment is kept."""
        self._database.write(
            "UPDATE asterisks SET covered_until = max(coalesce(covered_until, ?1), ?1) WHERE sn = ?2", (until, sn)
        )

    def closed(self, sn: str, why: str) -> None:
        """We do not hear it any more, or still not."""
        self._database.write(
            "UPDATE asterisks SET is_connected = 0, trouble = ?1 WHERE sn = ?2 AND (is_connected OR trouble != ?1)",
            (why[:500], sn),
        )

    def learned(self, sn: str, text: str) -> None:
        """Remember what was read from the PBX."""
        self._database.write("UPDATE asterisks SET learned = ? WHERE sn = ?", (text, sn))


def validate_asterisk(reached: AsteriskPbx, secret: str) -> None:
    """Raises `UsageError` for what cannot be meant so; the secret is never shown."""
    _validate_text("the secret", secret, SECRET_CHARACTERS_MAX)
    _validate_text("the host", reached.host, HOST_CHARACTERS_MAX)
    _validate_text("the user", reached.user, USER_CHARACTERS_MAX)
    if not 0 < reached.port < 65_536:
        raise UsageError(f"there is no port {reached.port}", todo="use 1 to 65535; Asterisk's is 5038")
    for name in (*(reached.trunks or ()), *reached.inbound):
        _validate_text("a trunk or context", name, USER_CHARACTERS_MAX)
    if len(reached.trunks or ()) > NAMES_MAX or len(reached.inbound) > NAMES_MAX:
        raise UsageError(f"there are more than {NAMES_MAX} trunks or contexts", todo="name those that are in use")


def _validate_text(what: str, text: str, characters_max: int) -> None:
    """Never shown: it may be the secret."""
    if not 1 <= len(text) <= characters_max or not text.isprintable() or text != text.strip():
        raise UsageError(f"{what} cannot be that", todo=f"use 1 to {characters_max} printable characters")


def _join_names(names: tuple[str, ...] | None) -> str | None:
    return None if names is None else ",".join(names)


def _split_names(text: str | None) -> tuple[str, ...]:
    return tuple(name for name in (text or "").split(",") if name)


def _asterisk(*row: Any) -> AsteriskPbx:
    values = dict(zip((name.strip() for name in _COLUMNS.split(",")), row, strict=True))
    values["trunks"] = None if values["trunks"] is None else _split_names(values["trunks"])
    values["inbound"] = _split_names(values["inbound"])
    for name in ("has_pins", "is_connected"):
        values[name] = bool(values[name])
    for name in ("connected_at", "covered_until"):
        values[name] = None if values[name] is None else to_datetime(values[name])
    return AsteriskPbx(**values)
