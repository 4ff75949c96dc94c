"""By which ways each user is notified of issues and alarms, and what is still to be sent.

Invariants: what a channel is to notify of is stored with the beginning or end of the issue, and deleted with the mail
or delivery about it: none is lost, none is sent twice. Only users who see all issues are notified: enabled, and without
a limit. No mail is about mails that cannot be sent, and no destination is notified of its own issues.
"""

from collections.abc import Mapping, Sequence
from typing import get_args

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row, transactional
from onhook.appdb.issue_recipients import (
    NOTICE_COLUMNS,
    UNMAILED_KIND,
    IssueNotice,
    NoticeState,
    read_notice,
)
from onhook.appdb.pbxs import validate_zone
from onhook.appdb.stored_json import UnreadableRow, decode_column, encode_column, list_unreadable, read_rows
from onhook.cdr.sync_types import AlarmKind
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _
from onhook.lib.quiet_hours import QuietHours

ALERT_KINDS: tuple[str, ...] = ("destination", "rejected", "check", *(f"alarm_{kind}" for kind in get_args(AlarmKind)))
"""Beginnings of the kinds of issues: all issues of destinations, each alarm by itself."""

CHANNELS_MAX = 10
"""Of a user, the mail included."""

PENDING_MAX = 1_000
"""Of a channel: more than a person reads; further ones are on the page Issues alone."""

_COLUMNS = "channel_id, user_name, destination_id, kinds"


class AlertChannel(msgspec.Struct, frozen=True, kw_only=True):
    """A way by which a user is notified of issues of some kinds; a mail to the own address without `destination_id`."""

    channel_id: int
    user_name: str
    destination_id: int | None
    kinds: Sequence[str]


class AlertChannels:
    """Repository of channels and quiet hours. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[AlertChannel]:
        """Return the channels of all users."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM alert_channels ORDER BY channel_id")
        return read_rows(rows, _channel)

    async def of_user(self, user_name: str) -> list[AlertChannel]:
        """Return the channels of a user."""
        return [channel for channel in await self.all() if channel.user_name == user_name]

    async def all_quiet_hours(self) -> dict[str, QuietHours]:
        """Return the quiet hours by user; of those who have some."""
        rows = await self._database.rows(
            "SELECT user_name, quiet_begin, quiet_end, zone FROM alert_settings ORDER BY user_name"
        )
        return dict(read_rows(rows, _quiet_hours))

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the channels that cannot be read."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM alert_channels ORDER BY channel_id")
        return list_unreadable("alert_channels", rows, _channel)

    async def list_unreadable_hours(self) -> list[UnreadableRow]:
        """Return the quiet hours that cannot be read."""
        rows = await self._database.rows("SELECT user_name, quiet_begin, quiet_end, zone FROM alert_settings")
        return list_unreadable("alert_settings", rows, _quiet_hours)

    @transactional
    async def put(
        self, user_name: str, quiet_hours: QuietHours, kinds_by_destination: Mapping[int | None, Sequence[str]]
    ) -> None:
        """Set all channels of a user and the quiet hours; None is the mail. A channel without kinds is removed, with
        what it was still to notify of. Raises `UsageError`, `NotFound`.
        """
        chosen = {
            destination_id: _validate_kinds(kinds) for destination_id, kinds in kinds_by_destination.items() if kinds
        }
        if len(chosen) > CHANNELS_MAX:
            raise _too_many_error()
        await self.put_hours(user_name, quiet_hours)
        try:
            stored = {channel.destination_id: channel for channel in await self.of_user(user_name)}
            for channel in stored.values():
                if channel.destination_id not in chosen:
                    await self._database.write("DELETE FROM alert_channels WHERE channel_id = ?", (channel.channel_id,))
            for destination_id, kinds in chosen.items():
                if destination_id in stored:
                    await self.change(stored[destination_id].channel_id, kinds)
                else:
                    await self._insert(user_name, destination_id, kinds)
        except ConstraintViolation:
            raise NotFound(_("there is no such user or destination"), hint=_("load the page again")) from None

    async def get(self, channel_id: int) -> AlertChannel:
        """Return a channel. Raises `NotFound`."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM alert_channels WHERE channel_id = ?", (channel_id,))
        channels = read_rows(rows, _channel)
        if not channels:
            raise _no_channel_error(channel_id)
        return channels[0]

    @transactional
    async def add(self, user_name: str, destination_id: int | None, kinds: Sequence[str]) -> AlertChannel:
        """Add a channel of a user; None is the mail. Raises `UsageError` where there is one already, `NotFound`."""
        kinds, stored = _require_kinds(kinds), await self.of_user(user_name)
        if any(channel.destination_id == destination_id for channel in stored):
            raise UsageError(
                _("{user} has this channel already", user=user_name), hint=_("change its kinds, or remove it")
            )
        if len(stored) >= CHANNELS_MAX:
            raise _too_many_error()
        try:
            await self._insert(user_name, destination_id, kinds)
        except ConstraintViolation:
            raise NotFound(_("there is no such user or destination")) from None
        return next(channel for channel in await self.of_user(user_name) if channel.destination_id == destination_id)

    @transactional
    async def change(self, channel_id: int, kinds: Sequence[str]) -> AlertChannel:
        """Set the kinds of a channel. Raises `UsageError`, `NotFound`."""
        if not await self._database.write(
            "UPDATE alert_channels SET kinds = ? WHERE channel_id = ?",
            (encode_column(_require_kinds(kinds)), channel_id),
        ):
            raise _no_channel_error(channel_id)
        return await self.get(channel_id)

    async def remove(self, channel_id: int) -> None:
        """Remove a channel, with what it was still to notify of. Raises `NotFound`."""
        if not await self._database.write("DELETE FROM alert_channels WHERE channel_id = ?", (channel_id,)):
            raise _no_channel_error(channel_id)

    async def _insert(self, user_name: str, destination_id: int | None, kinds: Sequence[str]) -> None:
        await self._database.write(
            "INSERT INTO alert_channels (user_name, destination_id, kinds) VALUES (?, ?, ?)",
            (user_name, destination_id, encode_column(kinds)),
        )

    async def put_hours(self, user_name: str, quiet_hours: QuietHours) -> QuietHours:
        """Set the quiet hours of a user; return them as they are stored. Raises `UsageError`, `NotFound`."""
        quiet_hours = _validate_hours(quiet_hours)
        try:
            await self._database.write(
                "INSERT INTO alert_settings (user_name, quiet_begin, quiet_end, zone) VALUES (?, ?, ?, ?)"
                " ON CONFLICT (user_name) DO UPDATE SET quiet_begin = excluded.quiet_begin,"
                " quiet_end = excluded.quiet_end, zone = excluded.zone",
                (user_name, quiet_hours.begin, quiet_hours.end, quiet_hours.zone),
            )
        except ConstraintViolation:
            raise NotFound(
                _("there is no user {name}", name=repr(user_name[:80])), hint=_("the page Users lists them")
            ) from None
        return quiet_hours

    async def count_pending(self) -> Mapping[int, int]:
        """Return of how many beginnings and ends each channel is still to notify, by its number."""
        rows = await self._database.rows("SELECT channel_id, count(*) FROM pending_alerts GROUP BY channel_id")
        return dict(rows)

    async def note(
        self, issue_id: int, kind: str, state: NoticeState, *, destination_id: int | None, now_us: int
    ) -> None:
        """Add what channels are to notify of, inside the transaction that begins or ends an issue; `destination_id` is
        the destination that it is about.
        """
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM alert_channels WHERE user_name IN"
            " (SELECT name FROM users WHERE is_disabled = 0 AND scope IS NULL) ORDER BY channel_id"
        )
        for channel in read_rows(rows, _channel):
            is_about_itself = (
                kind == UNMAILED_KIND if channel.destination_id is None else (channel.destination_id == destination_id)
            )
            if is_about_itself or not _matches(channel, kind) or await self._count(channel) >= PENDING_MAX:
                continue
            await self._database.write(
                "INSERT INTO pending_alerts VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (channel.channel_id, issue_id, state, now_us),
            )

    async def with_pending(self) -> list[AlertChannel]:
        """Return the channels that are still to notify of something."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM alert_channels WHERE channel_id IN (SELECT channel_id FROM pending_alerts)"
            " ORDER BY channel_id"
        )
        return read_rows(rows, _channel)

    async def pending(self, channel_id: int) -> list[IssueNotice]:
        """Return what a channel is still to notify of, the oldest first."""
        rows = await self._database.rows(
            f"SELECT {NOTICE_COLUMNS} FROM pending_alerts n JOIN issues i ON i.issue_id = n.issue_id"
            " WHERE n.channel_id = ? ORDER BY n.noted_at, n.issue_id, n.state",
            (channel_id,),
        )
        return read_rows(rows, read_notice)

    async def delete_pending(self, channel_id: int, notices: Sequence[IssueNotice]) -> None:
        """Delete what a mail or delivery is about that is added in the same transaction."""
        await self._database.write_many(
            "DELETE FROM pending_alerts WHERE channel_id = ? AND issue_id = ? AND state = ?",
            [(channel_id, notice.issue_id, notice.state) for notice in notices],
        )

    async def _count(self, channel: AlertChannel) -> int:
        ((count,),) = await self._database.rows(
            "SELECT count(*) FROM pending_alerts WHERE channel_id = ?", (channel.channel_id,)
        )
        return int(count)


def _matches(channel: AlertChannel, kind: str) -> bool:
    return any(kind == chosen or kind.startswith(f"{chosen}_") for chosen in channel.kinds)


def _validate_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return each kind once and in order. Raises `UsageError`."""
    if unknown := sorted(set(kinds).difference(ALERT_KINDS)):
        raise UsageError(
            _("there is no kind of issues {name}", name=repr(unknown[0][:40])),
            hint=_("use some of {kinds}", kinds=", ".join(ALERT_KINDS)),
        )
    return tuple(kind for kind in ALERT_KINDS if kind in kinds)


def _require_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return kinds as `_validate_kinds`, of which there is one at least. Raises `UsageError`."""
    if not kinds:
        raise UsageError(
            _("a channel needs a kind of issues"), location="kinds", hint=_("remove a channel that is not wanted")
        )
    return _validate_kinds(kinds)


def _too_many_error() -> UsageError:
    return UsageError(_("a user has at most {maximum} channels", maximum=CHANNELS_MAX), hint=_("choose fewer"))


def _no_channel_error(channel_id: int) -> NotFound:
    return NotFound(
        _("there is no alert channel {number}", number=channel_id), hint=_("`onhook alert list` lists them")
    )


def _validate_hours(quiet_hours: QuietHours) -> QuietHours:
    """Return quiet hours with a zone that exists. Raises `UsageError`."""
    if not (0 <= quiet_hours.begin <= 23 and 0 <= quiet_hours.end <= 23):
        raise UsageError(_("an hour is 0 to 23"), location="quiet_begin", hint=_("choose one"))
    return msgspec.structs.replace(quiet_hours, zone=validate_zone(quiet_hours.zone.strip()) or "UTC")


def _channel(row: Row) -> AlertChannel:
    channel_id, user_name, destination_id, kinds = row
    # A kind of a newer Onhook stays, and matches nothing.
    return AlertChannel(
        channel_id=channel_id,
        user_name=user_name,
        destination_id=destination_id,
        kinds=decode_column(kinds, tuple[str, ...]),
    )


def _quiet_hours(row: Row) -> tuple[str, QuietHours]:
    user_name, begin, end, zone = row
    return user_name, _validate_hours(QuietHours(begin=begin, end=end, zone=zone))
