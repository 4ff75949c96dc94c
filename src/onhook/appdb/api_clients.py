"""Apps that use the PBX API: credentials (the secret as a hash) and permissions.

Failed logins that are blocked, by address and client id, are stored here too, so that `onhook app unblock` has effect
at once. A block rejects wrong credentials only.
"""

import hmac
import ipaddress
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import msgspec

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.appdb.audited_tables import Change
from onhook.appdb.contract import ConstraintViolation, Database, Version, transactional
from onhook.appdb.pbxs import new_secret, validate_name
from onhook.appdb.stored_json import UnreadableRow, decode_column, encode_column, list_unreadable, read_row, read_rows
from onhook.appdb.tokens import LAST_USED_SECONDS, LAST_USED_STEP_MICROSECONDS, hash_secret
from onhook.lib.errors import NotFound, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime, to_microseconds

APPS_MAX = 200
"""Apps of one installation: each may have eight tokens and some hundred sockets."""

PBXS_OF_APP_MAX = 1_000
"""As many as an installation has."""

NETWORKS_MAX = 50
"""An office or two, and a data centre."""

BLOCKED_MAX = 1_000
"""Blocked logins; beyond that the one blocked for longest is unblocked."""

BLOCKED_OF_ADDRESS_MAX = 5
"""Client ids of one address; after that every client id is blocked there, so that an outsider who invents client ids
causes no further writes.
"""

BLOCKED_MICROSECONDS = 3_600_000_000
"""An hour: a person who mistyped a secret has noticed, and guessing is limited to 120 tries a day."""

CREDENTIAL_CHARACTERS_MAX = 200
"""A longer text is no secret of Onhook and is not hashed."""

_COLUMNS = "name, client_id, secret_hash, pbxs, networks, behaviour, created_at, last_used_at, allow_control"


class App(msgspec.Struct, frozen=True, kw_only=True):
    """An app. `pbxs` are the serial numbers that it may see, empty means all; `networks` are its allowed
    addresses, empty means any. `behaviour` is that of the PBX API it uses. `allow_control`: it may place and end calls
    through its PBX.
    """

    name: str
    client_id: str
    pbxs: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    behaviour: ApiBehaviour = ApiBehaviour()
    allow_control: bool = False
    created_at: datetime
    last_used_at: datetime | None = None

    def allows_address(self, address: str) -> bool:
        """Return whether the app may send requests from this address."""
        return not self.networks or any(_is_in(address, network) for network in self.networks)


class BlockedAddress(msgspec.Struct, frozen=True):
    """An address whose wrong credentials for a client id are rejected without counting, for a while."""

    address: str
    client_id: str
    until: datetime


class Apps:
    """Repository of apps. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[App]:
        """Return all apps, by name."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM apps ORDER BY name COLLATE NOCASE")
        return read_rows(rows, _app)

    async def get(self, name: str) -> App:
        """Return the app with this name or else this client id. Raises `NotFound`."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM apps WHERE name = ?1 OR client_id = ?1 ORDER BY name = ?1 DESC", (name,)
        )
        if not rows:
            raise _not_found_error(name)
        return read_row(rows[0], _app)

    async def find_by_client_id(self, client_id: str) -> tuple[App, bytes] | None:
        """Return the app with this client id and the hash of its secret, or None."""
        if len(client_id) > CREDENTIAL_CHARACTERS_MAX:
            return None
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM apps WHERE client_id = ?", (client_id,))
        return (read_row(rows[0], _app), rows[0][2]) if rows else None

    async def find_by_credentials(self, client_id: str, client_secret: str) -> App | None:
        """Return the app with these credentials, or None."""
        match = await self.find_by_client_id(client_id)
        if match is None or not verify_secret(client_secret, match[1]):
            return None
        return match[0]

    @transactional
    async def add(
        self,
        name: str,
        *,
        now_us: int,
        pbxs: Sequence[str] = (),
        networks: Sequence[str] = (),
        behaviour: ApiBehaviour | None = None,
        allow_control: bool = False,
    ) -> tuple[App, str]:
        """Add an app. Return it and its secret, which is stored as a hash only.

        Raises `UsageError`.
        """
        name, parsed_networks = validate_name(name), parse_networks(networks)
        _validate_permissions(pbxs, allow_control=allow_control)
        if len(await self.all()) >= APPS_MAX:
            raise UsageError(_("there are already {maximum} apps", maximum=APPS_MAX), hint=_("remove one"))
        # In the form of a PBX's credentials: 32 letters and digits.
        client_id, client_secret = new_secret(), new_secret()
        effective_behaviour = behaviour or ApiBehaviour()
        values = (
            encode_column(tuple(dict.fromkeys(pbxs))),
            encode_column(parsed_networks),
            encode_column(effective_behaviour),
            now_us,
        )
        try:
            await self._database.write(
                f"INSERT INTO apps ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?)",
                (name, client_id, hash_secret(client_secret), *values, int(allow_control)),
            )
        except ConstraintViolation:
            raise UsageError(
                _("there is already an app {name}", name=repr(name)), hint=_("choose another name")
            ) from None
        return await self.get(name), client_secret

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM apps ORDER BY name")
        return list_unreadable("apps", rows, _app)

    @transactional
    async def change(
        self,
        name: str,
        *,
        pbxs: Sequence[str] | None = None,
        networks: Sequence[str] | None = None,
        allow_control: bool | None = None,
    ) -> App:
        """Change the permissions of an app that are not None; its open sockets have the new ones within a second.

        Raises `NotFound`, `UsageError`.
        """
        app = await self.get(name)
        changed_app = msgspec.structs.replace(
            app,
            pbxs=app.pbxs if pbxs is None else tuple(dict.fromkeys(pbxs)),
            networks=app.networks if networks is None else parse_networks(networks),
            allow_control=app.allow_control if allow_control is None else allow_control,
        )
        _validate_permissions(changed_app.pbxs, allow_control=changed_app.allow_control)
        await self._database.write(
            "UPDATE apps SET pbxs = ?, networks = ?, allow_control = ? WHERE client_id = ?",
            (
                encode_column(changed_app.pbxs),
                encode_column(changed_app.networks),
                int(changed_app.allow_control),
                changed_app.client_id,
            ),
        )
        return changed_app

    @transactional
    async def renew_secret(self, name: str) -> tuple[App, str]:
        """Replace the secret and return the new one; the old one and all tokens made with it become invalid.

        Raises `NotFound`.
        """
        app, client_secret = await self.get(name), new_secret()
        await self._database.write(
            "UPDATE apps SET secret_hash = ? WHERE client_id = ?", (hash_secret(client_secret), app.client_id)
        )
        await self._database.write("DELETE FROM app_tokens WHERE client_id = ?", (app.client_id,))
        return app, client_secret

    async def remove(self, name: str) -> str:
        """Remove an app, also one that cannot be read, and the webhooks that it has set itself. Return its client id.
        Raises `NotFound`.
        """
        async with self._database.transaction():
            rows = await self._database.rows(
                "SELECT client_id FROM apps WHERE name = ?1 OR client_id = ?1 ORDER BY name = ?1 DESC", (name,)
            )
            if not rows:
                raise _not_found_error(name)
            await self._database.write("DELETE FROM destinations WHERE app = ?", rows[0])
            await self._database.write("DELETE FROM apps WHERE client_id = ?", rows[0])
        return str(rows[0][0])

    async def record_use(self, app: App, now_us: int) -> None:
        """Store the time of the last use, to the minute."""
        if app.last_used_at is None or now_us - to_microseconds(app.last_used_at) >= LAST_USED_STEP_MICROSECONDS:
            with suppress(Unavailable):  # with a lock or a full disk authentication still works
                await self._database.write(
                    "UPDATE apps SET last_used_at = ? WHERE client_id = ?",
                    (now_us, app.client_id),
                    seconds=LAST_USED_SECONDS,
                )

    # Blocked addresses

    async def blocked_addresses(self, now_us: int) -> list[BlockedAddress]:
        """Return the addresses that are blocked now, with the client id of each, sorted."""
        rows = await self._database.rows(
            "SELECT address, client_id, until FROM blocked_addresses WHERE until > ? ORDER BY address, client_id",
            (now_us,),
        )
        return read_rows(rows, lambda row: BlockedAddress(row[0], row[1], to_datetime(row[2])))

    async def is_blocked(self, address: str, client_id: str, now_us: int) -> bool:
        """Return whether wrong credentials for this client id are blocked at this address now."""
        rows = await self._database.rows(
            "SELECT client_id FROM blocked_addresses WHERE address = ? AND until > ?", (address, now_us)
        )
        return len(rows) >= BLOCKED_OF_ADDRESS_MAX or (client_id[:CREDENTIAL_CHARACTERS_MAX],) in rows

    async def block(self, address: str, client_id: str, now_us: int) -> None:
        """Block wrong credentials for a client id at an address for an hour."""
        values = (address, client_id[:CREDENTIAL_CHARACTERS_MAX], now_us + BLOCKED_MICROSECONDS)
        async with self._database.transaction():
            await self._database.write("DELETE FROM blocked_addresses WHERE until <= ?", (now_us,))
            await self._database.write(
                "INSERT INTO blocked_addresses VALUES (?, ?, ?) ON CONFLICT (address, client_id) DO UPDATE"
                " SET until = excluded.until",
                values,
            )
            await self._database.write(
                "DELETE FROM blocked_addresses WHERE (address, client_id) NOT IN"
                " (SELECT address, client_id FROM blocked_addresses ORDER BY until DESC LIMIT ?)",
                (BLOCKED_MAX,),
            )

    async def unblock(self, address: str | None = None) -> int:
        """Unblock all client ids of an address, or everything; return how many were blocked."""
        async with self._database.transaction():
            count = await self._database.write(
                "DELETE FROM blocked_addresses WHERE address = coalesce(?, address)", (address,)
            )
            if count:
                name = address or "all"
                self._database.note_change(
                    Change(table="blocked_addresses", name=name, before={"blocked": count}, after=None)
                )
        return count

    async def version(self) -> Version:
        """Return a value that changes with every write by any process."""
        return await self._database.version()


def verify_secret(text: str, secret_hash: bytes) -> bool:
    """Return whether the text has this hash; compared in constant time."""
    return len(text) <= CREDENTIAL_CHARACTERS_MAX and hmac.compare_digest(hash_secret(text), secret_hash)


def _validate_permissions(pbxs: Sequence[str], *, allow_control: bool) -> None:
    if len(pbxs) > PBXS_OF_APP_MAX:
        raise UsageError(
            _("more than {maximum} PBXs are named", maximum=PBXS_OF_APP_MAX), hint=_("name none, to allow all")
        )
    if allow_control and len(set(pbxs)) != 1:
        raise UsageError(
            _("only an app of one PBX can control calls"), location="allow_control", hint=_("name its PBX")
        )


def parse_networks(networks: Sequence[str]) -> tuple[str, ...]:
    """Return addresses and networks, each as `192.0.2.0/24` or `192.0.2.7`, in canonical form. Raises `UsageError`."""
    if len(networks) > NETWORKS_MAX:
        raise UsageError(
            _("more than {maximum} addresses are named", maximum=NETWORKS_MAX),
            hint=_("name a network that contains several"),
        )
    return tuple(dict.fromkeys(_parse_network(text) for text in networks))


def _parse_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text.strip(), strict=False))
    except ValueError:
        raise UsageError(
            _("{text} is not an address or network", text=repr(text[:80])),
            hint=_("write it as 192.0.2.7 or 192.0.2.0/24"),
        ) from None


def _is_in(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network)
    except ValueError:
        return False


def _not_found_error(name: str) -> NotFound:
    return NotFound(_("there is no app {name}", name=repr(name[:80])), hint=_("`onhook app list` shows them"))


def _app(row: tuple[Any, ...]) -> App:
    name, client_id, _, pbxs, networks, behaviour, created_at, last_used_at, allow_control = row
    return App(
        name=name,
        client_id=client_id,
        pbxs=decode_column(pbxs, tuple[str, ...]),
        networks=decode_column(networks, tuple[str, ...]),
        behaviour=decode_column(behaviour, ApiBehaviour),
        allow_control=bool(allow_control),
        created_at=to_datetime(created_at),
        last_used_at=None if last_used_at is None else to_datetime(last_used_at),
    )
