"""Source of a PBX that cannot sign: its addresses, and the secret path it posts to.

Either identifies the sender; where both are set, both must match; so must the password of a PBX that sends one. A path
is a secret: it is in no listing.
"""

import ipaddress
import re
from collections.abc import Sequence

import msgspec

from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row, read_rows
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

PASSWORD_DIALECTS = frozenset({"freeswitch", "grandstream"})
"""Dialects without signatures whose PBXs can send a password: their secrets are passwords (freeswitch.md 1,
grandstream.md 1).
"""

LINE_DIALECTS = frozenset({"3cx", "avaya"})
"""Dialects of lines: a connection identifies the PBX, and the addresses are those that may open one (lines.md)."""

SOCKET_DIALECTS = frozenset({"freeswitch"})
"""Dialects whose PBXs offer events at a socket, with a secret of theirs as its password (freeswitch.md 11)."""

FILE_DIALECTS = frozenset({"cucm"})
"""Dialects of files: the folder identifies the PBX, which sends nothing (cucm.md)."""

UNSIGNED_DIALECTS = frozenset({"newcdr"}) | PASSWORD_DIALECTS | LINE_DIALECTS | FILE_DIALECTS
"""Dialects without signatures (yeastar-p-series.md 9)."""

UNTESTED_DIALECTS = PASSWORD_DIALECTS | LINE_DIALECTS | FILE_DIALECTS
"""Dialects without test events: their PBXs send calls alone."""

LIST_DIALECTS = frozenset({"grandstream", "3cx"})
"""Dialects without signatures whose PBXs have a list of calls that can be read (grandstream.md 5, lines.md 9)."""

ADDRESSES_MAX = 20
"""Per PBX: its own, its spare's, and those of its Internet provider."""

PATH_CHARACTERS_MIN = 16
"""After the slash: a shorter path is easy to guess."""

PATH_CHARACTERS_MAX = 200
"""Some PBXs cut a longer address off when they save it (yeastar-p-series.md 12, 35)."""

_PATH = re.compile(r"/[A-Za-z0-9._~/-]+")


class SourceMatch(msgspec.Struct, frozen=True):
    """`addresses` are single ones or networks, `192.0.2.7` or `192.0.2.0/24`; `path` may be empty."""

    addresses: tuple[str, ...] = ()
    path: str = ""

    def __bool__(self) -> bool:
        return bool(self.addresses or self.path)

    @property
    def parts(self) -> tuple[str, ...]:
        """Return what identifies the PBX: `address`, `path`, both in this order, or nothing."""
        values = {"address": self.addresses, "path": self.path}
        return tuple(name for name, value in values.items() if value)

    def __repr__(self) -> str:
        return f"SourceMatch(addresses={self.addresses!r}, {'a' if self.path else 'no'} path)"


class SourceMatches:
    """Repository of sources, by serial number."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, SourceMatch]:
        """Return the sources of all PBXs that have one."""
        rows = await self._database.rows("SELECT sn, addresses, path FROM source_matches")
        return dict(read_rows(rows, _source_match))

    async def get(self, sn: str) -> SourceMatch:
        """Return the source of a PBX; an empty one where it has none."""
        rows = await self._database.rows("SELECT sn, addresses, path FROM source_matches WHERE sn = ?", (sn,))
        return read_row(rows[0], _source_match)[1] if rows else SourceMatch()

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        rows = await self._database.rows("SELECT sn, addresses, path FROM source_matches ORDER BY sn")
        return list_unreadable("source_matches", rows, _source_match)

    async def put(self, sn: str, source_match: SourceMatch) -> None:
        """Set the source of a registered PBX; an empty one removes it. `source_match` is validated already."""
        if not source_match:
            await self._database.write("DELETE FROM source_matches WHERE sn = ?", (sn,))
            return
        await self._database.write(
            "INSERT INTO source_matches VALUES (?, ?, ?) ON CONFLICT (sn) DO UPDATE"
            " SET addresses = excluded.addresses, path = excluded.path",
            (sn, " ".join(source_match.addresses), source_match.path),
        )


def parse_source_match(addresses: Sequence[str], path: str | None) -> SourceMatch:
    """Return the source described by texts. Raises `UsageError`, never showing the path."""
    if len(addresses) > ADDRESSES_MAX:
        raise UsageError(
            _("a PBX cannot have more than {maximum} addresses", maximum=ADDRESSES_MAX), hint=_("name their networks")
        )
    return SourceMatch(tuple(dict.fromkeys(map(_parse_address, addresses))), _parse_path(path) if path else "")


def validate_sender_identification(
    dialect: str, source_match: SourceMatch, *, has_secret: bool, is_unsigned: bool
) -> None:
    """Check that the sender of an event can be verified. Raises `UsageError`."""
    if dialect in LINE_DIALECTS:
        if has_secret or is_unsigned or source_match.path:
            raise UsageError(
                _("a PBX of the dialect {dialect} is identified by its connection", dialect=dialect),
                hint=_("give the addresses that may connect with --from, and neither a secret nor a path"),
            )
    elif dialect in FILE_DIALECTS:
        if has_secret or is_unsigned or source_match:
            raise UsageError(
                _("a PBX of the dialect {dialect} sends nothing: its calls are read from files", dialect=dialect),
                hint=_("leave secret, path and addresses out; `onhook pbx files NAME FOLDER` names the folder"),
            )
    elif dialect in PASSWORD_DIALECTS:
        if is_unsigned or not (source_match or has_secret):
            raise UsageError(
                _("a PBX of the dialect {dialect} cannot sign events: its source must identify it", dialect=dialect),
                hint=_("give its address with --from, a secret path with --path, or a password with --secret"),
            )
    elif dialect in UNSIGNED_DIALECTS:
        if has_secret or is_unsigned:
            raise UsageError(
                _("a PBX of the dialect {dialect} cannot sign events", dialect=dialect),
                hint=_("identify it by --from or --path instead"),
            )
        if not source_match:
            raise UsageError(
                _("a PBX of the dialect {dialect} cannot sign events: its source must identify it", dialect=dialect),
                hint=_("give its address with --from, or a secret path with --path"),
            )
    elif source_match:
        raise UsageError(
            _("a PBX of the dialect {dialect} signs its events", dialect=dialect),
            hint=_("give its --secret, not an address or a path"),
        )
    elif not has_secret and not is_unsigned:
        raise UsageError(_("a PBX needs a secret"), hint=_("give its webhook secret, or add it as unsigned"))


def validate_has_api(dialect: str) -> None:
    """Check that Onhook supports an API of this dialect. Raises `UsageError`."""
    if dialect in UNSIGNED_DIALECTS - LIST_DIALECTS:
        raise UsageError(
            _("the API of {dialect} PBXs is not supported", dialect=dialect), hint=_("leave --api and its options out")
        )


def _parse_address(text: str) -> str:
    try:
        network = ipaddress.ip_network(text.strip())
    except ValueError as error:
        raise UsageError(
            _("{text} is neither an address nor a network ({error})", text=repr(text[:80]), error=error),
            hint=_("write 192.0.2.7 or 192.0.2.0/24"),
        ) from None
    if not network.prefixlen:
        raise UsageError(_("{text} matches every address", text=text[:80]), hint=_("write the addresses of the PBX"))
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _parse_path(path: str) -> str:
    path = path.strip()
    characters = len(path) - 1
    if not _PATH.fullmatch(path) or not PATH_CHARACTERS_MIN <= characters <= PATH_CHARACTERS_MAX:
        raise UsageError(
            _("invalid secret path"),
            hint=_(
                "write a slash and {minimum} to {maximum} of a-z, A-Z, 0-9, - . _ ~ /",
                minimum=PATH_CHARACTERS_MIN,
                maximum=PATH_CHARACTERS_MAX,
            ),
        )
    return path


def _source_match(row: Row) -> tuple[str, SourceMatch]:
    sn, addresses, path = row
    for address in addresses.split():
        ipaddress.ip_network(address)
    return sn, SourceMatch(tuple(addresses.split()), path)
