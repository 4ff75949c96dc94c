"""All that people set, in one object: PBXs with their secrets and number plans, access tokens, subscriptions,
applications.

Several processes may have it open; what one writes, the others read at once.
"""

import hmac
import sqlite3
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from onhook.appdb.alarms import Alarms
from onhook.appdb.api_clients import Apps
from onhook.appdb.asterisks import Asterisks
from onhook.appdb.audit import Audit
from onhook.appdb.cdr_sources import Sources
from onhook.appdb.deliveries import Deliveries
from onhook.appdb.destinations import Subscriptions
from onhook.appdb.notes import Notes
from onhook.appdb.pbx_credentials import Api, Apis
from onhook.appdb.pbxs import (
    DIALECT_DEFAULT,
    PBXS_MAX,
    SECRETS_MAX,
    Credentials,
    Pbx,
    Secret,
    checked_name,
    checked_secret,
    checked_sn,
    checked_zone,
)
from onhook.appdb.recordings import Recordings
from onhook.appdb.retention_overrides import Keeping
from onhook.appdb.saved_searches import Searches
from onhook.appdb.source_match import Place, Places, check_can_be_asked, check_can_be_told
from onhook.appdb.sqlite import Database
from onhook.appdb.sync_state import Receiving
from onhook.appdb.tokens import (
    ADMIN_NAME,
    TOKEN_CHARACTERS_MAX,
    TOKENS_MAX,
    Role,
    Token,
    checked_role,
    hash_of,
    new_text,
    read_token_file,
    write_token_file,
)
from onhook.appdb.users import People, checked_limits, limits_from, limits_text
from onhook.cdr.access_scope import Limits
from onhook.cdr.number_plan import NumberPlan
from onhook.lib.errors import NotFound, Unavailable, UsageError
from onhook.lib.timestamps import moment

LAST_USED_STEP_MICROSECONDS = 60_000_000
"""The last use of a token is noted to the minute: a page that asks every second must not write every second."""

_PBX_COLUMNS = "name, sn, dialect, zone, is_unsigned, plan, created_at, (SELECT count(*) FROM secrets WHERE sn = p.sn)"
_LABEL_DEFAULT = "webhook"
_ADD_ACCESS = "INSERT INTO tokens (name, hash, role, created_at, limits) VALUES (?, ?, ?, ?, ?)"


class Settings:
    """What people set. Moments that go in are microseconds since 1970, UTC."""

    def __init__(self, path: Path) -> None:
        """Open the file, making it if it is not there. Raises `Unavailable`, or `OnhookError` for a damaged one."""
        self._database = Database(path)
        self.subscriptions = Subscriptions(self._database)
        self.deliveries = Deliveries(self._database)
        self.places = Places(self._database)
        self.apis = Apis(self._database)
        self.receiving = Receiving(self._database)
        self.recordings = Recordings(self._database)
        self.keeping = Keeping(self._database)
        self.alarms = Alarms(self._database, self.subscriptions, self.deliveries)
        self.asterisks = Asterisks(self._database)
        self.sources = Sources(self._database)
        self.apps = Apps(self._database)
        self.people = People(self._database)
        self.audit = Audit(self._database)
        self.notes = Notes(self._database)
        self.searches = Searches(self._database)

    # -- PBXs

    def pbxs(self) -> list[Pbx]:
        """All of them, by name."""
        rows = self._database.rows(f"SELECT {_PBX_COLUMNS} FROM pbxs p ORDER BY name COLLATE NOCASE")
        return [_pbx(*row) for row in rows]

    def pbx(self, name: str) -> Pbx:
        """The one with this name or serial number; the name counts first. Raises `NotFound`."""
        rows = self._database.rows(
            f"SELECT {_PBX_COLUMNS} FROM pbxs p WHERE name = ?1 OR sn = ?1 ORDER BY name = ?1 DESC", (name,)
        )
        if not rows:
            raise NotFound(f"there is no PBX {name[:80]!r}", todo="`onhook pbx list` shows them")
        return _pbx(*rows[0])

    def pbx_of(self, sn: str) -> Pbx | None:
        """The one with this serial number, or None."""
        rows = self._database.rows(f"SELECT {_PBX_COLUMNS} FROM pbxs p WHERE sn = ?", (sn,))
        return _pbx(*rows[0]) if rows else None

    def add_pbx(
        self,
        *,
        name: str,
        sn: str,
        secret: str | None,
        at: int,
        dialect: str = DIALECT_DEFAULT,
        zone: str | None = None,
        is_unsigned: bool = False,
        plan: NumberPlan | None = None,
        place: Place = Place(),  # noqa: B008 - frozen
        api: Api | None = None,
    ) -> Pbx:
        """Declare a PBX. Without a secret it must be declared unsigned, on purpose, be told by its place, or be
        asked through its API.

        Raises `UsageError`.
        """
        name, sn, zone = checked_name(name), checked_sn(sn), checked_zone(zone)
        if api is not None:
            check_can_be_asked(dialect)
        else:
            check_can_be_told(dialect, place, has_secret=secret is not None, is_unsigned=is_unsigned)
        if secret is not None:
            checked_secret(secret)
        values = (sn, name, dialect, zone, is_unsigned, _plan_text(plan or NumberPlan()), at)
        with self._database.transaction():
            if len(self._database.rows("SELECT 1 FROM pbxs")) >= PBXS_MAX:
                raise UsageError(f"there are {PBXS_MAX} PBXs already", todo="remove one")
            try:
                self._database.write("INSERT INTO pbxs VALUES (?, ?, ?, ?, ?, ?, ?)", values)
            except sqlite3.IntegrityError:
                raise UsageError(
                    f"there is a PBX named {name!r} or with serial number {sn!r} already",
                    todo="`onhook pbx list` shows them; `onhook pbx change` changes one",
                ) from None
            if secret is not None:
                self.add_secret(sn, secret, at=at)
            self.places.put(sn, place)
            if api is not None:
                self.apis.put(sn, api)
        return self.pbx(sn)

    def change_pbx(self, name: str, changes: dict[str, Any]) -> Pbx:
        """Give a PBX other values; `changes` has some of `name`, `zone` (None: not said), `is_unsigned`, `plan`.

        Raises `NotFound`, `UsageError`.
        """
        old = self.pbx(name)
        new = msgspec.structs.replace(old, **changes)
        try:
            self._database.write(
                "UPDATE pbxs SET name = ?, zone = ?, is_unsigned = ?, plan = ? WHERE sn = ?",
                (checked_name(new.name), checked_zone(new.zone), new.is_unsigned, _plan_text(new.plan), old.sn),
            )
        except sqlite3.IntegrityError:
            raise UsageError(f"there is a PBX named {new.name!r} already", todo="choose another name") from None
        return self.pbx(old.sn)

    def remove_pbx(self, name: str) -> Pbx:
        """Forget a PBX and its secrets; its calls stay. Raises `NotFound`."""
        pbx = self.pbx(name)
        self._database.write("DELETE FROM pbxs WHERE sn = ?", (pbx.sn,))
        return pbx

    def check_can_be_asked(self, pbx: Pbx) -> None:
        """See that the PBX can be asked for calls that it still knows. Raises `NotFound`."""
        if self.sources.of(pbx.sn) is not None:
            return
        if any(one.sn == pbx.sn for one in self.asterisks.all()):
            raise NotFound(
                f"nobody said where {pbx.name} keeps its CDRs",
                todo="onhook pbx change NAME --cdr FILE, or --cdr postgresql://USER:PASSWORD@HOST/DATABASE",
            )
        self.apis.needed(pbx.sn, pbx.name)

    # -- secrets

    def secrets(self, name: str) -> list[Secret]:
        """The secrets of a PBX, the oldest first, without their texts. Raises `NotFound`."""
        rows = self._database.rows(
            "SELECT secret_id, label, created_at FROM secrets WHERE sn = ? ORDER BY secret_id", (self.pbx(name).sn,)
        )
        return [Secret(secret_id=number, label=label, created_at=moment(at)) for number, label, at in rows]

    def add_secret(self, name: str, text: str, *, at: int, label: str = _LABEL_DEFAULT) -> Secret:
        """Accept reports signed with this one too, from now on. Raises `NotFound`, `UsageError`."""
        pbx, text, label = self.pbx(name), checked_secret(text), checked_name(label)
        if pbx.secrets >= SECRETS_MAX:
            raise UsageError(
                f"{pbx.name} has {SECRETS_MAX} secrets already", todo="remove one that is no longer in use"
            )
        try:
            self._database.write(
                "INSERT INTO secrets (sn, label, text, created_at) VALUES (?, ?, ?, ?)", (pbx.sn, label, text, at)
            )
        except sqlite3.IntegrityError:
            raise UsageError(f"{pbx.name} has this secret already", todo="nothing, it is accepted") from None
        return self.secrets(pbx.sn)[-1]

    def remove_secret(self, name: str, secret_id: int) -> None:
        """Stop accepting a secret. Raises `NotFound`, and `UsageError` for the last one of a PBX that must sign."""
        pbx = self.pbx(name)
        with self._database.transaction():
            known = [secret.secret_id for secret in self.secrets(pbx.sn)]
            if secret_id not in known:
                raise NotFound(f"{pbx.name} has no secret {secret_id}", todo="`onhook pbx list` shows them")
            if known == [secret_id] and not pbx.is_unsigned:
                raise UsageError(f"{pbx.name} has no other secret", todo="add the new one first")
            self._database.write("DELETE FROM secrets WHERE secret_id = ?", (secret_id,))

    def credentials(self) -> list[Credentials]:
        """What verifying takes, for every PBX: for intake alone, never for a listing."""
        texts: dict[str, list[str]] = {}
        with self._database.transaction("BEGIN"):
            for sn, text in self._database.rows("SELECT sn, text FROM secrets ORDER BY secret_id DESC"):
                texts.setdefault(sn, []).append(text)
            rows = self._database.rows("SELECT sn, dialect, is_unsigned FROM pbxs ORDER BY sn")
            places = self.places.all()
        return [
            Credentials(
                sn=sn,
                dialect=dialect,
                is_unsigned=bool(unsigned),
                secrets=tuple(texts.get(sn, ())),
                place=places.get(sn, Place()),
            )
            for sn, dialect, unsigned in rows
        ]

    # -- tokens

    def tokens(self) -> list[Token]:
        """All of them, by name, without their texts."""
        rows = self._database.rows("SELECT name, role, limits, created_at, last_used FROM tokens ORDER BY name")
        return [_token(*row) for row in rows]

    def add_token(self, name: str, role: str, *, at: int, limits: Limits | None = None) -> str:
        """A new token's text, told this once and kept nowhere. Raises `UsageError`."""
        text = new_text()
        checked_limits(checked_role(role), limits)
        if len(self.tokens()) >= TOKENS_MAX:
            raise UsageError(f"there are {TOKENS_MAX} tokens already", todo="remove those that are no longer in use")
        try:
            self._database.write(
                _ADD_ACCESS, (checked_name(name), hash_of(text), checked_role(role), at, limits_text(limits))
            )
        except sqlite3.IntegrityError:
            raise UsageError(
                f"there is a token {name!r} already", todo="remove it first, or choose another name"
            ) from None
        return text

    def remove_token(self, name: str) -> None:
        """Whoever has it is let in no more. Raises `NotFound`."""
        if not self._database.write("DELETE FROM tokens WHERE name = ?", (name,)):
            raise NotFound(f"there is no token {name[:80]!r}", todo="`onhook token list` shows them")

    def token_for(self, text: str, *, at: int | None = None) -> Token | None:
        """Whose token this is, or None. With `at` its last use is noted.

        Looked up by its hash, so what the look-up's time tells is of the hash, from which no text follows.
        """
        if not text or len(text) > TOKEN_CHARACTERS_MAX:
            return None
        wanted = hash_of(text)
        rows = self._database.rows(
            "SELECT hash, name, role, limits, created_at, last_used FROM tokens WHERE hash = ?", (wanted,)
        )
        if not rows or not hmac.compare_digest(rows[0][0], wanted):
            return None
        _, name, role, limits, created_at, last_used = rows[0]
        if at is not None and at - (last_used or 0) >= LAST_USED_STEP_MICROSECONDS:
            with suppress(Unavailable):  # on a full disk it can still be read who comes
                self._database.write("UPDATE tokens SET last_used = ? WHERE hash = ?", (at, wanted))
        return _token(name, role, limits, created_at, last_used)

    def ensure_admin_token(self, path: Path, *, at: int) -> str:
        """The text of the administrator's token, which always stands in that file after this call.

        A file that is missing or no longer true gets a new token; the old one then counts no more.
        """
        text = read_token_file(path)
        token = self.token_for(text)
        if token is not None and token.role == "administrator":
            return text
        text = new_text()
        with self._database.transaction():
            self._database.write("DELETE FROM tokens WHERE name = ?", (ADMIN_NAME,))
            role: Role = "administrator"
            self._database.write(_ADD_ACCESS, (ADMIN_NAME, hash_of(text), role, at, None))
            write_token_file(path, text)
        return text

    # -- the file

    def version(self) -> tuple[int, int]:
        """Changes when anybody has written; asking costs about 3 microseconds."""
        return self._database.version()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()


def _pbx(  # noqa: PLR0917 - the columns of the table, in their order
    name: str, sn: str, dialect: str, zone: str | None, is_unsigned: int, plan: str, created_at: int, secrets: int
) -> Pbx:
    return Pbx(
        name=name,
        sn=sn,
        dialect=dialect,
        zone=zone,
        is_unsigned=bool(is_unsigned),
        plan=msgspec.json.decode(plan, type=NumberPlan),
        created_at=moment(created_at),
        secrets=secrets,
    )


def _token(name: str, role: Role, limits: str | None, created_at: int, last_used: int | None) -> Token:
    used = None if last_used is None else moment(last_used)
    return Token(name=name, role=role, limits=limits_from(limits), created_at=moment(created_at), last_used=used)


def _plan_text(plan: NumberPlan) -> str:
    return msgspec.json.encode(plan).decode()
