"""Who wants which calls: subscriptions, the secrets they are signed with, and how far each has been served.

A subscription is served along streams: the live one, which never ends, and replays, each from one number of the ledger
to another. `revision` changes with everything that people do to a subscription, and with nothing else.
"""

import secrets as secrets_module
import sqlite3
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec

from onhook.appdb.destination_spec import (
    KEY_BYTES_LIMITS,
    SPEC_FIELDS,
    WHSEC_PREFIX,
    DestinationSpec,
    decode_spec,
    encode_spec,
    parse_standard_webhooks_key,
    validate_spec,
)
from onhook.appdb.pbxs import Secret, new_secret, validate_name, validate_secret
from onhook.appdb.sqlite import SqliteDatabase
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.timestamps import to_datetime

DestinationState = Literal["active", "paused", "disabled"]

DESTINATIONS_MAX = 200
"""In one house: each keeps connections and some hundred events in memory."""

SIGNING_SECRETS_MAX = 5
"""Of one subscription: an old and a new one, and some air; each signs every event."""

REPLAYS_MAX = 100
"""Of one subscription, asked for and not yet done."""

_COLUMNS = (
    "destination_id, name, spec, app, state, reason, failing_since, retry_after, attempts_succeeded, attempts_failed,"
    " revision, created_at, (SELECT count(*) FROM signing_secrets WHERE destination_id = d.destination_id)"
)
_LABEL_DEFAULT = "webhook"


class Destination(DestinationSpec, frozen=True, kw_only=True):
    """Who wants which calls, and how it fares.

    `state` is `disabled` where we gave up on the application, and `reason` says why. `failing_since` is since when it
    takes nothing of what is owed to it; `retry_after` is until when it asked to be left alone. `attempts_succeeded`
    and `attempts_failed` count since the beginning. `app` is the client id of the application that manages it itself,
    or empty. `secrets` counts the secrets it is signed with.
    """

    destination_id: int
    name: str
    state: DestinationState
    reason: str
    failing_since: datetime | None
    retry_after: datetime | None
    attempts_succeeded: int
    attempts_failed: int
    app: str
    created_at: datetime
    secrets: int
    revision: int

    def __repr__(self) -> str:
        return f"Destination({self.name!r}, {self.state}, revision {self.revision})"


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """A stretch of the ledger along which a subscription is served.

    Everything up to the number `cursor` is settled; None is not begun, and where to begin is yet to be looked up.
    `until` is the last number of a replay, None for the live stream. `filter` holds beside the destination's.
    """

    stream_id: int
    filter: RecordFilter
    cursor: int | None
    until: int | None


class Destinations:
    """What is kept of subscriptions. Moments that go in are microseconds since 1970, UTC."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    # -- subscriptions

    def all(self) -> list[Destination]:
        """All of them, by name."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM destinations d ORDER BY name COLLATE NOCASE")
        return [_destination(row) for row in rows]

    def list_for_app(self, app: str) -> list[Destination]:
        """Those that an application manages itself, the oldest first."""
        rows = self._database.rows(
            f"SELECT {_COLUMNS} FROM destinations d WHERE app = ? AND app <> '' ORDER BY destination_id", (app,)
        )
        return [_destination(row) for row in rows]

    def get(self, name: str) -> Destination:
        """The one with this name. Raises `NotFound`."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM destinations d WHERE name = ?", (name,))
        if not rows:
            raise NotFound(f"there is no subscription {name[:80]!r}", hint="`onhook destination list` shows them")
        return _destination(rows[0])

    def find_by_id(self, destination_id: int) -> Destination | None:
        """The one with this number, or None."""
        rows = self._database.rows(f"SELECT {_COLUMNS} FROM destinations d WHERE destination_id = ?", (destination_id,))
        return _destination(rows[0]) if rows else None

    def add(
        self, name: str, spec: DestinationSpec, secret: str | None, *, after: int | None, now_us: int, app: str = ""
    ) -> tuple[Destination, str]:
        """Subscribe; the subscription, and the secret it is signed with: the one given, or a new one.

        It is served from behind the number `after` of the ledger on; None is from the first record that its `since`
        means. Raises `UsageError`.
        """
        name, spec = validate_name(name), validate_spec(spec)
        text = _validate_signing_secret(new_signing_secret(spec) if secret is None else secret, spec)
        with self._database.transaction():
            if len(self._database.rows("SELECT 1 FROM destinations")) >= DESTINATIONS_MAX:
                raise UsageError(f"there are {DESTINATIONS_MAX} subscriptions already", hint="remove one")
            try:
                self._database.write(
                    "INSERT INTO destinations (name, spec, app, state, reason, attempts_succeeded, attempts_failed,"
                    " revision, created_at) VALUES (?, ?, ?, 'active', '', 0, 0, 1, ?)",
                    (name, encode_spec(spec), app, now_us),
                )
            except sqlite3.IntegrityError:
                raise _duplicate_name_error(name) from None
            destination = self.get(name)
            if spec.notifies_of != "alarms":
                self._insert_stream(destination.destination_id, RecordFilter(), after, None, now_us)
            self._insert_secret(destination.destination_id, text, _LABEL_DEFAULT, now_us)
        return self.get(name), text

    def change(self, name: str, changes: Mapping[str, Any]) -> Destination:
        """Give it another `name` or other wishes; it goes on where it is. Raises `NotFound`, `UsageError`."""
        old = self.get(name)
        new_notifies_of = changes.get("notifies_of", old.notifies_of)
        if "alarms" in (new_notifies_of, old.notifies_of) and new_notifies_of != old.notifies_of:
            raise UsageError(
                f"{old.name} notifies of {old.notifies_of}", hint=f"add another destination for {new_notifies_of}"
            )
        values = {field: getattr(old, field) for field in SPEC_FIELDS}
        spec = validate_spec(DestinationSpec(**(values | {k: v for k, v in changes.items() if k in SPEC_FIELDS})))
        if spec.with_standard_webhooks:
            for text in self.secret_texts(old.destination_id):
                parse_standard_webhooks_key(text)
        new_name = validate_name(str(changes.get("name", old.name)))
        try:
            self._database.write(
                "UPDATE destinations SET name = ?, spec = ?, revision = revision + 1,"
                " retry_after = CASE WHEN ? THEN retry_after ELSE 0 END WHERE destination_id = ?",
                # What one address asked for is nothing to another.
                (new_name, encode_spec(spec), spec.url == old.url, old.destination_id),
            )
        except sqlite3.IntegrityError:
            raise _duplicate_name_error(new_name) from None
        return self.get(new_name)

    def set_state(self, name: str, state: DestinationState) -> Destination:
        """Pause it, or let it go on; whoever lets it go on forgives what failed before. Raises `NotFound`."""
        old = self.get(name)
        self._database.write(
            "UPDATE destinations SET state = ?1, reason = '', failing_since = NULL, revision = revision + 1,"
            " retry_after = CASE ?1 WHEN 'active' THEN 0 ELSE retry_after END WHERE destination_id = ?2",
            (state, old.destination_id),
        )
        return self.get(name)

    def disable(self, destination: Destination, reason: str) -> None:
        """Give up on an application; what is owed stays owed, and a person may resume it. Where a person has changed
        anything since it may be another application: then nothing is done."""
        self._database.write(
            "UPDATE destinations SET state = 'disabled', reason = ?, revision = revision + 1"
            " WHERE destination_id = ? AND revision = ? AND state = 'active'",
            (reason, destination.destination_id, destination.revision),
        )

    def remove(self, name: str) -> Destination:
        """Forget a subscription and all that is owed to it. Raises `NotFound`."""
        old = self.get(name)
        self._database.write("DELETE FROM destinations WHERE destination_id = ?", (old.destination_id,))
        return old

    def revisions(self) -> dict[int, tuple[int, DestinationState]]:
        """Revision and state of each, by its number."""
        rows = self._database.rows("SELECT destination_id, revision, state FROM destinations")
        return {destination_id: (revision, state) for destination_id, revision, state in rows}

    def newest_stream_ids(self) -> dict[int, int]:
        """Of each subscription the number of its newest stream that is not held: a new replay is another number."""
        rows = self._database.rows("SELECT destination_id, max(stream_id) FROM streams WHERE NOT is_held GROUP BY 1")
        return dict(rows)

    def version(self) -> tuple[int, int]:
        """Changes when anybody has written anything; asking costs about 3 microseconds."""
        return self._database.version()

    # -- secrets

    def secrets(self, name: str) -> list[Secret]:
        """The secrets it is signed with, the oldest first, without their texts. Raises `NotFound`."""
        rows = self._database.rows(
            "SELECT secret_id, label, created_at FROM signing_secrets WHERE destination_id = ? ORDER BY secret_id",
            (self.get(name).destination_id,),
        )
        return [
            Secret(secret_id=secret_id, label=label, created_at=to_datetime(created_at))
            for secret_id, label, created_at in rows
        ]

    def secret_texts(self, destination_id: int) -> tuple[str, ...]:
        """Their texts, the oldest first: for whoever signs, never for a listing."""
        rows = self._database.rows(
            "SELECT text FROM signing_secrets WHERE destination_id = ? ORDER BY secret_id", (destination_id,)
        )
        return tuple(text for (text,) in rows)

    def add_secret(
        self, name: str, text: str | None, *, now_us: int, label: str = _LABEL_DEFAULT
    ) -> tuple[Secret, str]:
        """Have one more secret, and its text: the one given, or a new one. Raises `NotFound`, `UsageError`."""
        destination, label = self.get(name), validate_name(label)
        text = _validate_signing_secret(new_signing_secret(destination) if text is None else text, destination)
        if destination.secrets >= SIGNING_SECRETS_MAX:
            raise UsageError(f"{destination.name} has {SIGNING_SECRETS_MAX} secrets already", hint="remove the oldest")
        try:
            with self._database.transaction():
                self._insert_secret(destination.destination_id, text, label, now_us)
                self._increment_revision(destination.destination_id)
        except sqlite3.IntegrityError:
            raise UsageError(f"{destination.name} has this secret already", hint="nothing, it is in use") from None
        return self.secrets(name)[-1], text

    def remove_secret(self, name: str, secret_id: int) -> None:
        """Sign with it no more. Raises `NotFound`, and `UsageError` for the last one."""
        destination = self.get(name)
        with self._database.transaction():
            secret_ids = [secret.secret_id for secret in self.secrets(name)]
            if secret_id not in secret_ids:
                raise NotFound(
                    f"{destination.name} has no secret {secret_id}", hint="`onhook destination show` lists them"
                )
            if secret_ids == [secret_id]:
                raise UsageError(f"{destination.name} has no other secret", hint="add the new one first")
            self._database.write("DELETE FROM signing_secrets WHERE secret_id = ?", (secret_id,))
            self._increment_revision(destination.destination_id)

    # -- streams

    def streams(self, destination_id: int) -> list[Stream]:
        """The live stream first, then the replays in the order in which they were asked for; none about alarms."""
        rows = self._database.rows(
            "SELECT stream_id, filter, cursor, until FROM streams WHERE destination_id = ? AND NOT is_held"
            " ORDER BY until IS NOT NULL, stream_id LIMIT ?",
            (destination_id, REPLAYS_MAX + 1),
        )
        return [
            Stream(stream_id=stream_id, filter=_decode_filter(text), cursor=cursor, until=until)
            for stream_id, text, cursor, until in rows
        ]

    def min_cursor(self) -> int | None:
        """The number up to which nothing is owed to anybody, paused ones and replays included; None where nobody is
        told of calls."""
        rows = self._database.rows("SELECT min(coalesce(cursor, 0)) FROM streams")
        return None if rows[0][0] is None else int(rows[0][0])

    def replay(self, name: str, record_filter: RecordFilter, *, after: int, until: int, now_us: int) -> Destination:
        """Send again what matches behind one number up to another. Raises `NotFound`, `UsageError`."""
        destination = self.get(name)
        if destination.notifies_of == "alarms":
            raise UsageError(
                f"{destination.name} notifies of {destination.notifies_of}, which are sent once",
                hint="replay a destination that notifies of records or calls",
            )
        with self._database.transaction():
            if len(self.streams(destination.destination_id)) > REPLAYS_MAX:
                raise UsageError(
                    f"{destination.name} has {REPLAYS_MAX} replays to do already", hint="wait for them to end"
                )
            self._insert_stream(destination.destination_id, record_filter, after, until, now_us)
        return self.get(name)

    def hold_replays(self, ranges: Iterable[tuple[int, int]], *, now_us: int) -> None:
        """Owe reports that are about to be read late to everybody, for a lane may be ahead of its cursor; held until
        `release_replays`. Who has yet to come to their numbers is told twice at worst. Each run is a first number and a
        last."""
        with self._database.transaction():
            for first, last in ranges:
                self._database.write(
                    "INSERT INTO streams (destination_id, filter, cursor, until, is_held, created_at)"
                    " SELECT destination_id, ?1, ?2, ?3, 1, ?4 FROM streams s WHERE until IS NULL"
                    " AND cursor IS NOT NULL AND NOT EXISTS (SELECT 1 FROM streams"
                    " WHERE destination_id = s.destination_id AND is_held AND cursor = ?2 AND until = ?3)",
                    (_encode_filter(RecordFilter()), first - 1, last, now_us),
                )

    def release_replays(self, seqs: Sequence[int] | None = None) -> None:
        """Let the replays begin that end with these reports: they can be read now. None is all that were held."""
        with self._database.transaction():
            for seq in self._held_replay_ends() if seqs is None else seqs:
                self._database.write("UPDATE streams SET is_held = 0 WHERE is_held AND until = ?", (seq,))

    def discard_held_replays(self, seqs: Sequence[int]) -> None:
        """Owe reports no more that could not be read after all."""
        with self._database.transaction():
            for seq in seqs:
                self._database.write("DELETE FROM streams WHERE is_held AND until = ?", (seq,))

    def _held_replay_ends(self) -> list[int]:
        return [seq for (seq,) in self._database.rows("SELECT DISTINCT until FROM streams WHERE is_held")]

    def _insert_stream(
        self, destination_id: int, record_filter: RecordFilter, after: int | None, until: int | None, now_us: int
    ) -> None:
        self._database.write(
            "INSERT INTO streams (destination_id, filter, cursor, until, is_held, created_at)"
            " VALUES (?, ?, ?, ?, 0, ?)",
            (destination_id, _encode_filter(record_filter), after, until, now_us),
        )

    def _insert_secret(self, destination_id: int, text: str, label: str, now_us: int) -> None:
        self._database.write(
            "INSERT INTO signing_secrets (destination_id, label, text, created_at) VALUES (?, ?, ?, ?)",
            (destination_id, label, text, now_us),
        )

    def _increment_revision(self, destination_id: int) -> None:
        self._database.write(
            "UPDATE destinations SET revision = revision + 1 WHERE destination_id = ?", (destination_id,)
        )


def new_signing_secret(spec: DestinationSpec) -> str:
    """A random secret, as a PBX makes one, or as Standard Webhooks wants it."""
    if not spec.with_standard_webhooks:
        return new_secret()
    return WHSEC_PREFIX + b64encode(secrets_module.token_bytes(KEY_BYTES_LIMITS[0])).decode()


def _validate_signing_secret(text: str, spec: DestinationSpec) -> str:
    # The form first: what is wrong in it is more than a length.
    if spec.with_standard_webhooks:
        parse_standard_webhooks_key(text)
    return validate_secret(text)


def _duplicate_name_error(name: str) -> UsageError:
    return UsageError(f"there is a subscription named {name!r} already", hint="choose another name")


def _destination(row: tuple[Any, ...]) -> Destination:
    destination_id, name, spec, app, state, reason, failing_since, retry_after, *counts, created_at, secrets = row
    attempts_succeeded, attempts_failed, revision = counts
    stored_spec = decode_spec(spec)
    return Destination(
        **{field: getattr(stored_spec, field) for field in SPEC_FIELDS},
        destination_id=destination_id,
        name=name,
        state=state,
        reason=reason,
        failing_since=None if failing_since is None else to_datetime(failing_since),
        retry_after=to_datetime(retry_after) if retry_after else None,
        attempts_succeeded=attempts_succeeded,
        attempts_failed=attempts_failed,
        app=app,
        created_at=to_datetime(created_at),
        secrets=secrets,
        revision=revision,
    )


def _decode_filter(text: str) -> RecordFilter:
    return msgspec.json.decode(text, type=RecordFilter)


def _encode_filter(record_filter: RecordFilter) -> str:
    return msgspec.json.encode(record_filter).decode()
