"""Destinations, their signing secrets, and how far each has been served.

A destination is served along streams: the live one, which never ends, and replays, each from one number of the ledger
to another. `revision` changes with every change that a person makes, and with nothing else.
"""

import secrets as secrets_module
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row, Version, transactional
from onhook.appdb.destination_spec import (
    KEY_BYTES_LIMITS,
    OPERATIONAL,
    SPEC_FIELDS,
    WHSEC_PREFIX,
    DestinationSpec,
    decode_spec,
    encode_spec,
    parse_standard_webhooks_key,
    validate_spec,
)
from onhook.appdb.pbxs import Secret, describe_secrets, new_secret, validate_name, validate_path_name, validate_secret
from onhook.appdb.rows import decode_secret
from onhook.appdb.stored_json import UnreadableRow, decode_column, encode_column, list_unreadable, read_row, read_rows
from onhook.appdb.subject_texts import describe_subject, refuse_replay
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime

DestinationState = Literal["active", "paused", "disabled"]

DESTINATIONS_MAX = 200
"""Of one installation: each keeps connections and some hundred notifications in memory."""

SIGNING_SECRETS_MAX = 5
"""Of one destination: an old one, a new one and a reserve; each signs every notification."""

REPLAYS_MAX = 100
"""Unfinished replays of one destination."""

HELD_REPLAYS_BATCH = 100
"""Ranges of numbers per transaction, each for up to DESTINATIONS_MAX: part of a second, in which other writers wait."""

ValueT = TypeVar("ValueT")

_COLUMNS = (
    "destination_id, name, spec, app, state, reason, failing_since, retry_after, attempts_succeeded, attempts_failed,"
    " revision, created_at, (SELECT count(*) FROM signing_secrets WHERE destination_id = d.destination_id)"
)
_LABEL_DEFAULT = "webhook"


class Destination(DestinationSpec, frozen=True, kw_only=True):
    """A destination and its state.

    `state` is `disabled` when delivery was given up, and `reason` says why. `failing_since` is the time since which no
    notification was accepted; `retry_after` the time until which the endpoint requested a delay. `attempts_succeeded`
    and `attempts_failed` count since the beginning. `app` is the client id of the application that manages the
    destination, or empty. `secrets` counts the signing secrets.
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
    """A range of the ledger along which a destination is served.

    Everything up to the number `cursor` is done; None means that the first number is yet to be looked up. `until` is
    the last number of a replay, None for the live stream. `filter` applies in addition to the destination's.
    `done_ahead` are notifications after the cursor that are done already.
    """

    stream_id: int
    filter: RecordFilter
    cursor: int | None
    until: int | None
    done_ahead: frozenset[str] = frozenset()


class Destinations:
    """Repository of destinations. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Destinations

    async def all(self) -> list[Destination]:
        """Return all destinations, by name."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM destinations d ORDER BY name COLLATE NOCASE")
        return read_rows(rows, _destination)

    async def list_for_app(self, app: str) -> list[Destination]:
        """Return the destinations that an application manages itself, the oldest first."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM destinations d WHERE app = ? AND app <> '' ORDER BY destination_id", (app,)
        )
        return read_rows(rows, _destination)

    async def get(self, name: str) -> Destination:
        """Return the destination with this name. Raises `NotFound`."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM destinations d WHERE name = ?", (name,))
        if not rows:
            raise _not_found_error(name)
        return read_row(rows[0], _destination)

    async def find_by_id(self, destination_id: int) -> Destination | None:
        """Return the destination with this number, or None."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM destinations d WHERE destination_id = ?", (destination_id,)
        )
        return read_row(rows[0], _destination) if rows else None

    async def add(
        self, name: str, spec: DestinationSpec, secret: str | None, *, after: int | None, now_us: int, app: str = ""
    ) -> tuple[Destination, str]:
        """Add a destination. Return it and its secret: the given one, or a new one, but for a kind that signs nothing.

        It is served from after the ledger number `after`; None starts at the first record of its `since`. Raises
        `UsageError`.
        """
        name, spec = validate_path_name(name), validate_spec(spec)
        is_signed = spec.kind == "webhook"
        new_text = new_signing_secret(spec) if is_signed and secret is None else secret
        text = None if new_text is None else _validate_signing_secret(new_text, spec)
        async with self._database.transaction():
            if len(await self._database.rows("SELECT 1 FROM destinations")) >= DESTINATIONS_MAX:
                raise UsageError(
                    _("there are already {maximum} destinations", maximum=DESTINATIONS_MAX), hint=_("remove one")
                )
            try:
                await self._database.write(
                    "INSERT INTO destinations (name, spec, app, state, reason, attempts_succeeded, attempts_failed,"
                    " revision, created_at) VALUES (?, ?, ?, 'active', '', 0, 0, 1, ?)",
                    (name, encode_spec(spec), app, now_us),
                )
            except ConstraintViolation:
                raise _duplicate_name_error(name) from None
            destination = await self.get(name)
            if spec.notifies_of not in OPERATIONAL:
                await self._insert_stream(destination.destination_id, RecordFilter(), after, None, now_us)
            if text is not None:
                await self._insert_secret(destination.destination_id, text, spec.kind, now_us)
        return await self.get(name), text or ""

    @transactional
    async def change(self, name: str, changes: Mapping[str, Any]) -> Destination:
        """Change the `name` or the specification; delivery continues where it is. Raises `NotFound`, `UsageError`."""
        old = await self.get(name)
        new_notifies_of = changes.get("notifies_of", old.notifies_of)
        if OPERATIONAL & {new_notifies_of, old.notifies_of} and new_notifies_of != old.notifies_of:
            raise UsageError(
                describe_subject(old.name, old.notifies_of),
                hint=_("add another destination for the other subject"),
            )
        values = {field: getattr(old, field) for field in SPEC_FIELDS}
        spec = validate_spec(DestinationSpec(**(values | {k: v for k, v in changes.items() if k in SPEC_FIELDS})))
        if spec.with_standard_webhooks:
            for text in await self.secret_texts(old.destination_id):
                parse_standard_webhooks_key(text)
        new_name = validate_path_name(str(changes["name"])) if "name" in changes else old.name
        try:
            await self._database.write(
                "UPDATE destinations SET name = ?, spec = ?, revision = revision + 1,"
                " retry_after = CASE WHEN ? = 1 THEN retry_after ELSE 0 END WHERE destination_id = ?",
                # A time to wait belongs to the old address.
                (new_name, encode_spec(spec), spec.url == old.url, old.destination_id),
            )
        except ConstraintViolation:
            raise _duplicate_name_error(new_name) from None
        return await self.get(new_name)

    @transactional
    async def set_state(self, name: str, state: DestinationState) -> Destination:
        """Pause or resume a destination; resuming forgets earlier failures. Raises `NotFound`."""
        old = await self.get(name)
        await self._database.write(
            "UPDATE destinations SET state = ?1, reason = '', failing_since = NULL, revision = revision + 1,"
            " retry_after = CASE ?1 WHEN 'active' THEN 0 ELSE retry_after END WHERE destination_id = ?2",
            (state, old.destination_id),
        )
        return await self.get(name)

    async def disable(self, destination: Destination, reason: str) -> None:
        """Disable a destination; pending notifications stay pending, and a person may resume it. Does nothing where a
        person has changed it since: it may have another address.
        """
        await self._database.write(
            "UPDATE destinations SET state = 'disabled', reason = ?, revision = revision + 1"
            " WHERE destination_id = ? AND revision = ? AND state = 'active'",
            (reason, destination.destination_id, destination.revision),
        )

    async def remove(self, name: str) -> None:
        """Remove a destination and its pending notifications, also one that cannot be read. Raises `NotFound`."""
        if not await self._database.write("DELETE FROM destinations WHERE name = ?", (name,)):
            raise _not_found_error(name)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the destinations, streams and signing secrets that cannot be read."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM destinations d ORDER BY name")
        secret_rows = await self._database.rows(
            "SELECT secret_id, label, created_at, text FROM signing_secrets ORDER BY secret_id"
        )
        stream_rows = await self._database.rows("SELECT stream_id, filter, cursor, until, done_ahead FROM streams")
        return [
            *list_unreadable("destinations", rows, _destination, name_columns=[1]),
            *list_unreadable("streams", stream_rows, _stream),
            *list_unreadable("signing_secrets", secret_rows, lambda row: decode_secret(row[:3])),
        ]

    async def revisions(self) -> dict[int, tuple[int, DestinationState]]:
        """Return revision and state of each destination, by its number."""
        rows = await self._database.rows("SELECT destination_id, revision, state FROM destinations")
        return {destination_id: (revision, state) for destination_id, revision, state in rows}

    async def names(self) -> dict[int, str]:
        """Return the name of each destination, by its number."""
        rows = await self._database.rows("SELECT destination_id, name FROM destinations")
        return {destination_id: str(name) for destination_id, name in rows}

    async def newest_stream_ids(self) -> dict[int, int]:
        """Return the number of each destination's newest stream that is not held: a new replay has another number."""
        rows = await self._database.rows(
            "SELECT destination_id, max(stream_id) FROM streams WHERE is_held = 0 GROUP BY 1"
        )
        return dict(rows)

    async def version(self) -> Version:
        """Return a value that changes with every write by any process."""
        return await self._database.version()

    # Secrets

    async def secrets(self, name: str) -> list[Secret]:
        """Return the signing secrets, the oldest first, without their texts. Raises `NotFound`."""
        rows = await self._database.rows(
            "SELECT secret_id, label, created_at FROM signing_secrets WHERE destination_id = ? ORDER BY secret_id",
            ((await self.get(name)).destination_id,),
        )
        return read_rows(rows, decode_secret)

    async def secret_texts(self, destination_id: int) -> tuple[str, ...]:
        """Return the texts of the signing secrets, the oldest first: for signing only, never for a listing. Raises
        `RowUnreadable`: without one of them the signature would be another one.
        """
        rows = await self._database.rows(
            "SELECT text FROM signing_secrets WHERE destination_id = ? ORDER BY secret_id", (destination_id,)
        )
        return tuple(read_row(row, _secret_text) for row in rows)

    @transactional
    async def add_secret(
        self, name: str, text: str | None, *, now_us: int, label: str = _LABEL_DEFAULT
    ) -> tuple[Secret, str]:
        """Add a signing secret, the given one or a new one; return it and its text. Raises `NotFound`, `UsageError`."""
        destination, label = await self.get(name), validate_name(label)
        text = _validate_signing_secret(new_signing_secret(destination) if text is None else text, destination)
        if destination.secrets >= SIGNING_SECRETS_MAX:
            raise UsageError(
                _(
                    "{destination_name} already has {maximum} secrets",
                    destination_name=destination.name,
                    maximum=SIGNING_SECRETS_MAX,
                ),
                hint=_("remove the oldest"),
            )
        try:
            async with self._database.transaction():
                await self._insert_secret(destination.destination_id, text, label, now_us)
                await self._increment_revision(destination.destination_id)
        except ConstraintViolation:
            raise UsageError(
                _("{destination_name} already has this secret", destination_name=destination.name),
                hint=_("nothing to do"),
            ) from None
        return (await self.secrets(name))[-1], text

    async def remove_secret(self, name: str, secret_id: int) -> None:
        """Remove a signing secret. Raises `NotFound`, and `UsageError` for the last one."""
        destination = await self.get(name)
        async with self._database.transaction():
            secrets = await self.secrets(name)
            secret_ids = [secret.secret_id for secret in secrets]
            if secret_id not in secret_ids:
                raise NotFound(
                    _(
                        "{destination_name} has no secret {secret_id}",
                        destination_name=destination.name,
                        secret_id=secret_id,
                    ),
                    hint=_("its secrets are {secrets}", secrets=describe_secrets(secrets)),
                )
            if secret_ids == [secret_id]:
                raise UsageError(
                    _("{destination_name} has no other secret", destination_name=destination.name),
                    hint=_("add the new one first"),
                )
            await self._database.write("DELETE FROM signing_secrets WHERE secret_id = ?", (secret_id,))
            await self._increment_revision(destination.destination_id)

    # Streams

    async def streams(self, destination_id: int) -> list[Stream]:
        """Return the live stream, then the replays in order of request; none for alarms."""
        rows = await self._database.rows(
            "SELECT stream_id, filter, cursor, until, done_ahead FROM streams WHERE destination_id = ? AND is_held = 0"
            " ORDER BY until IS NOT NULL, stream_id LIMIT ?",
            (destination_id, REPLAYS_MAX + 1),
        )
        return read_rows(rows, _stream)

    async def min_cursor(self) -> int | None:
        """Return the number up to which no destination has pending records, including paused ones and replays; None
        without destinations of calls.
        """
        rows = await self._database.rows("SELECT min(coalesce(cursor, 0)) FROM streams")
        return None if rows[0][0] is None else int(rows[0][0])

    async def max_cursor(self) -> int:
        """Return the highest number that a destination is past; 0 without one."""
        rows = await self._database.rows("SELECT coalesce(max(cursor), 0) FROM streams")
        return int(rows[0][0])

    async def lower_cursors(self, last_seq: int) -> int:
        """Lower the cursors that are past the last number of the ledger, and the ends of replays, to it; return the
        number of streams that were changed.
        """
        (row,) = await self._database.rows("SELECT count(*) FROM streams WHERE cursor > ?1 OR until > ?1", (last_seq,))
        if row[0]:
            await self._database.write(
                "UPDATE streams SET cursor = CASE WHEN cursor > ?1 THEN ?1 ELSE cursor END,"
                " until = CASE WHEN until > ?1 THEN ?1 ELSE until END WHERE cursor > ?1 OR until > ?1",
                (last_seq,),
            )
        return int(row[0])

    async def replay(
        self, name: str, record_filter: RecordFilter, *, after: int, until: int, now_us: int
    ) -> Destination:
        """Send records again that match, after one number up to another. Raises `NotFound`, `UsageError`."""
        destination = await self.get(name)
        if destination.notifies_of in OPERATIONAL:
            raise UsageError(
                refuse_replay(destination.name, destination.notifies_of),
                hint=_("replay a destination that notifies of records or calls"),
            )
        async with self._database.transaction():
            if len(await self.streams(destination.destination_id)) > REPLAYS_MAX:
                raise UsageError(
                    _(
                        "{destination_name} already has {maximum} unfinished replays",
                        destination_name=destination.name,
                        maximum=REPLAYS_MAX,
                    ),
                    hint=_("wait until one ends"),
                )
            await self._insert_stream(destination.destination_id, record_filter, after, until, now_us)
        return await self.get(name)

    async def hold_replays(self, ranges: Sequence[tuple[int, int]], *, now_us: int) -> None:
        """Add held replays of events that are about to be parsed late, because a worker may be past them; held until
        `release_replays`. A worker that has not reached them sends them twice at worst. Each range is a first and a
        last number; after an error some may be held, and are not held twice.
        """
        text = encode_column(RecordFilter())
        for some in _batches(ranges):
            await self._database.write_many(
                "INSERT INTO streams (destination_id, filter, cursor, until, is_held, created_at)"
                " SELECT destination_id, ?1, ?2, ?3, 1, ?4 FROM streams s WHERE until IS NULL"
                " AND cursor IS NOT NULL AND NOT EXISTS (SELECT 1 FROM streams"
                " WHERE destination_id = s.destination_id AND is_held = 1 AND cursor = ?2 AND until = ?3)",
                [(text, first - 1, last, now_us) for first, last in some],
            )

    async def list_held_replays(self, *, seconds_min: float = 0.0, now_us: int) -> list[int]:
        """Return the last numbers of the replays that have been held for so long, or by a clock that was ahead."""
        sql = "SELECT DISTINCT until FROM streams WHERE is_held = 1 AND created_at NOT BETWEEN ? AND ? ORDER BY until"
        later_us = now_us - round(seconds_min * 1_000_000) + 1
        return [seq for (seq,) in await self._database.rows(sql, (later_us, now_us))]

    async def release_replays(self, seqs: Sequence[int]) -> None:
        """Release the held replays that end with these numbers, whose events are parsed now."""
        for some in _batches(seqs):
            sql = "UPDATE streams SET is_held = 0 WHERE is_held = 1 AND until = ?"
            await self._database.write_many(sql, [(seq,) for seq in some])

    async def discard_held_replays(self, seqs: Sequence[int]) -> None:
        """Delete the held replays that end with these numbers, whose events could not be parsed after all."""
        for some in _batches(seqs):
            sql = "DELETE FROM streams WHERE is_held = 1 AND until = ?"
            await self._database.write_many(sql, [(seq,) for seq in some])

    async def _insert_stream(
        self, destination_id: int, record_filter: RecordFilter, after: int | None, until: int | None, now_us: int
    ) -> None:
        await self._database.write(
            "INSERT INTO streams (destination_id, filter, cursor, until, is_held, created_at)"
            " VALUES (?, ?, ?, ?, 0, ?)",
            (destination_id, encode_column(record_filter), after, until, now_us),
        )

    async def _insert_secret(self, destination_id: int, text: str, label: str, now_us: int) -> None:
        await self._database.write(
            "INSERT INTO signing_secrets (destination_id, label, text, created_at) VALUES (?, ?, ?, ?)",
            (destination_id, label, text, now_us),
        )

    async def _increment_revision(self, destination_id: int) -> None:
        await self._database.write(
            "UPDATE destinations SET revision = revision + 1 WHERE destination_id = ?", (destination_id,)
        )


def _batches(values: Sequence[ValueT]) -> Iterator[Sequence[ValueT]]:
    return (values[first : first + HELD_REPLAYS_BATCH] for first in range(0, len(values), HELD_REPLAYS_BATCH))


def new_signing_secret(spec: DestinationSpec) -> str:
    """Return a random secret in the form of a PBX's, or of Standard Webhooks."""
    if not spec.with_standard_webhooks:
        return new_secret()
    return WHSEC_PREFIX + b64encode(secrets_module.token_bytes(KEY_BYTES_LIMITS[0])).decode()


def _validate_signing_secret(text: str, spec: DestinationSpec) -> str:
    # Check the form first: the error is more specific than a length.
    if spec.with_standard_webhooks:
        parse_standard_webhooks_key(text)
    return validate_secret(text)


def _not_found_error(name: str) -> NotFound:
    return NotFound(
        _("there is no destination {name}", name=repr(name[:80])), hint=_("`onhook destination list` shows them")
    )


def _duplicate_name_error(name: str) -> UsageError:
    return UsageError(_("there is already a destination named {name}", name=repr(name)), hint=_("choose another name"))


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


def _secret_text(row: Row) -> str:
    return str(row[0])


def _stream(row: Row) -> Stream:
    stream_id, text, cursor, until, done_ahead = row
    return Stream(
        stream_id=stream_id,
        filter=decode_column(text, RecordFilter),
        cursor=cursor,
        until=until,
        done_ahead=frozenset() if done_ahead is None else decode_column(done_ahead, frozenset[str]),
    )
