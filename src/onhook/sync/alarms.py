"""Alarms of a sync: a text while the condition lasts, an end when it is over; and the alarms about the connection."""

from datetime import datetime
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.sync_types import AlarmKind
from onhook.lib.errors import NotAllowed, OnhookError, Unavailable
from onhook.lib.messages import _
from onhook.lib.timestamps import format_time
from onhook.sync.contract import PbxAccess, SyncAlarms

UNREACHABLE_SECONDS = 300.0
"""A PBX that is unreachable for this long is not merely being restarted or upgraded."""


class NextAttemptLater(Unavailable):
    """No attempt is made before `time`, a text; `attempt_at` is the same where it is known. `reason` says why and stays
    true after that time.
    """

    def __init__(self, reason: str, time: str, *, location: str, hint: str, attempt_at: datetime | None = None) -> None:
        super().__init__(_with_next_attempt(reason, time), location=location, hint=hint)
        self.reason = reason
        self.attempt_at = attempt_at

    def describe(self, zone: ZoneInfo, now: datetime) -> str:
        """Return the message with the time in a zone, and without it once it has passed."""
        if self.attempt_at is None:
            return self.message
        if self.attempt_at <= now:
            return self.reason
        return _with_next_attempt(self.reason, format_time(self.attempt_at, zone))


def _with_next_attempt(reason: str, time: str) -> str:
    return _("{reason}; next attempt not before {time}", reason=reason, time=time)


def lasting_text(error: OnhookError) -> str:
    """Return the text of an error to be stored: without a time that will have passed when it is read."""
    if not isinstance(error, NextAttemptLater):
        return str(error)
    return str(Unavailable(error.reason, location=error.location, hint=error.hint))


class AlarmText(msgspec.Struct, frozen=True):
    """What is wrong, and what an operator can do."""

    detail: str
    hint: str


async def set_alarm(alarms: SyncAlarms, kind: AlarmKind, text: AlarmText | None) -> None:
    """Raise the alarm with this text; end it if there is none."""
    if text is None:
        await alarms.end_alarm(kind)
    else:
        await alarms.raise_alarm(kind, text.detail, text.hint)


def connection_alarm_kind(
    problem: AlarmKind, failing_seconds: float, *, needs_operator: bool = False
) -> AlarmKind | None:
    """Return the alarm for a failed connection: at once if only an operator can help, otherwise when it lasts.

    >>> connection_alarm_kind("unreachable", 10.0), connection_alarm_kind("unreachable", 300.0)
    (None, 'unreachable')
    >>> connection_alarm_kind("certificate", 0.0), connection_alarm_kind("unreachable", 0.0, needs_operator=True)
    ('certificate', 'credentials')
    """
    if problem == "certificate":
        return problem
    if needs_operator:
        return "credentials"
    return problem if failing_seconds >= UNREACHABLE_SECONDS else None


class ConnectionAlarms:
    """Alarms about the access to one PBX. `failing_since` is in Unix seconds, None while access works."""

    def __init__(self, *, access: PbxAccess, alarms: SyncAlarms) -> None:
        self._access = access
        self._alarms = alarms
        self.failing_since: float | None = None

    async def on_failed(self, error: OnhookError) -> None:
        """Raise an alarm if only an operator can help, or if the problem lasts."""
        now = self._access.now()
        self.failing_since = now if self.failing_since is None else self.failing_since
        problem = self._access.error_kind or self._access.alarm_kinds[0]
        needs_operator = isinstance(error, NotAllowed)
        kind = connection_alarm_kind(problem, now - self.failing_since, needs_operator=needs_operator)
        if kind is not None:
            pbx_argument = await self._alarms.pbx_argument()
            hint = _("run `onhook doctor {pbx}`", pbx=pbx_argument)
            await self._alarms.raise_alarm(kind, lasting_text(error), hint)

    async def on_succeeded(self) -> None:
        """End the alarms: access works."""
        self.failing_since = None
        for kind in self._access.alarm_kinds:
            await self._alarms.end_alarm(kind)
