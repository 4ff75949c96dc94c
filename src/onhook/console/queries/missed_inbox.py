"""The inbox of missed calls: calls of one caller together, with who works on them, and how soon they were returned.

A call is returned by the first later call in which a person talked with the number: it is ticked then, without a
click.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from onhook.appdb.missed_call_work import NO_WORK, MissedCallWork
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.call_details import fold_word
from onhook.cdr.call_filter import CallFilter
from onhook.cdr.directory import NameDirectory
from onhook.cdr.identity import CallKey, extract_number
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.console.queries.directory import load_names
from onhook.console.state import AppState
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_microseconds
from onhook.store.contract import MissedCall, MissedCalls

LISTED_MAX = 500
"""The latest missed calls; a longer list is not worked through by hand."""

REMINDER_MAX = timedelta(days=90)
"""A caller is not called back later than that."""

REMINDERS_MAX = 50
"""Of one user, the latest ones that are due: more are a list, which is the inbox. Those of returned calls stay stored:
in time the earliest ones would hide all others.
"""

DUE_DAYS_MAX = 30
"""A reminder that was due earlier is in the inbox alone: all calls since then are searched for one that returned it."""

Show = Literal["open", "mine", "done"]
Action = Literal["claim", "release", "done", "reopen", "remind"]


class InboxEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The missed calls of one caller, the latest first, and the work on them. `returned_call` is the call that returned
    the latest one; `seconds` is how soon after it that began, or a user was done.
    """

    calls: Sequence[MissedCall]
    caller: str
    did: str
    work: MissedCallWork
    is_due: bool
    returned_at: datetime | None
    returned_call: CallKey | None
    returned_by: str
    seconds: int | None

    @property
    def latest(self) -> MissedCall:
        """Return the latest call."""
        return self.calls[0]


class DueReminder(msgspec.Struct, frozen=True, kw_only=True):
    """A missed call of which its user is to be reminded now."""

    sn: str
    call_id: str
    caller: str
    started_at: datetime
    remind_at: datetime


class Reminders(msgspec.Struct, frozen=True, kw_only=True):
    """The latest reminders of a user that are due, the earliest first, and when the next one is."""

    due: Sequence[DueReminder]
    next_at: datetime | None


class Inbox(msgspec.Struct, frozen=True, kw_only=True):
    """The entries that are shown, and the counts of the period: calls that were missed, returned, not returned, and
    without a number. `median_seconds` is how soon the entries listed were returned or done. Where `is_cut`, there may
    be earlier calls than the latest `LISTED_MAX`.
    """

    entries: Sequence[InboxEntry]
    counts: MissedCalls
    median_seconds: int | None
    is_cut: bool


async def load_inbox(app_state: AppState, missed_filter: RecordFilter, show: Show, user: str) -> Inbox:
    """Return the inbox of a period: open calls, those that a user has claimed, or those that are returned or done."""
    if missed_filter.type is None:
        missed_filter = msgspec.structs.replace(missed_filter, type="inbound")
    unreturned = await app_state.store.missed_calls(missed_filter, LISTED_MAX)
    missed, is_cut = list(unreturned.data), len(unreturned.data) == LISTED_MAX
    if show == "done":
        returned = (await app_state.store.missed_calls(missed_filter, LISTED_MAX, is_returned=True)).data
        missed, is_cut = [*missed, *returned], is_cut or len(returned) == LISTED_MAX
    if show == "mine" and is_cut:
        # However early in the period they are: nothing else shows them.
        earlier_claims, is_cut = await _load_earlier_claims(app_state, missed_filter, user, missed)
        missed += earlier_claims
    work_by_call = await app_state.appdb.missed_call_work.find([(call.sn, call.call_id) for call in missed])
    directory, now = await load_names(app_state), app_state.clock.now()
    returning_calls = await _load_returning_calls(app_state, directory, missed)
    entries = [
        _make_entry(calls, work_by_call, returning_calls, directory, now)
        for calls in _group(missed, work_by_call, is_done=show == "done")
    ]
    if show == "mine":
        entries = [entry for entry in entries if entry.work.claimed_by == user]
    entries.sort(key=lambda entry: (not entry.is_due, -entry.latest.started_at.timestamp()))
    seconds = sorted(entry.seconds for entry in entries if entry.seconds is not None)
    return Inbox(
        entries=entries,
        counts=unreturned,
        median_seconds=seconds[(len(seconds) - 1) // 2] if seconds else None,
        is_cut=is_cut,
    )


async def _load_earlier_claims(
    app_state: AppState, missed_filter: RecordFilter, user: str, listed_calls: Sequence[MissedCall]
) -> tuple[Sequence[MissedCall], bool]:
    """Return the calls of the period that a user has claimed and that are not listed; and whether there may be more of
    them, of which only the latest `LISTED_MAX` of the user are read.
    """
    listed_keys = {(call.sn, call.call_id) for call in listed_calls}
    claimed_keys = await app_state.appdb.missed_call_work.claimed_by(user, LISTED_MAX) if user else []
    is_cut = len(claimed_keys) == LISTED_MAX
    call_filter = missed_filter.call_filter or CallFilter()
    keys = tuple(
        key
        for key in claimed_keys
        if key not in listed_keys and (call_filter.call_keys is None or key in call_filter.call_keys)
    )
    if not keys:
        return (), is_cut
    claimed_filter = msgspec.structs.replace(
        missed_filter, call_filter=msgspec.structs.replace(call_filter, call_keys=keys)
    )
    return (await app_state.store.missed_calls(claimed_filter, LISTED_MAX)).data, is_cut


async def change_work(
    app_state: AppState, keys: Sequence[CallKey], action: Action, user: str, remind_at: datetime | None = None
) -> None:
    """Change the work of a user on missed calls, of all or of none. Raises `UsageError`."""
    work, now = app_state.appdb.missed_call_work, app_state.clock.now()
    match action:
        case "claim":
            await work.claim(keys, user, now_us=to_microseconds(now))
        case "release":
            await work.release(keys)
        case "done":
            await work.finish(keys, user, now_us=to_microseconds(now))
        case "reopen":
            await work.reopen(keys)
        case "remind":
            if remind_at is None or not now < remind_at <= now + REMINDER_MAX:
                raise UsageError(
                    _("a reminder needs a time within {days} days", days=REMINDER_MAX.days),
                    location="remind_at",
                    hint=_("write one such as 2026-04-27T09:00:00+02:00"),
                )
            await work.remind(keys, user, remind_at_us=to_microseconds(remind_at), now_us=to_microseconds(now))


async def load_reminders(app_state: AppState, scope: AccessScope | None, user: str) -> Reminders:
    """Return the reminders of a user, of calls in scope that were not returned meanwhile."""
    work, now = app_state.appdb.missed_call_work, app_state.clock.now()
    now_us, since_us = to_microseconds(now), to_microseconds(now - timedelta(days=DUE_DAYS_MAX))
    dates = dict(await work.due_reminders(user, REMINDERS_MAX, since_us=since_us, now_us=now_us))
    next_at = await work.next_reminder(user, now_us=now_us)
    due_keys = list(dates)
    if not due_keys:
        return Reminders(due=(), next_at=next_at)
    position = await app_state.store.position()
    mask = None if app_state.masking is None else app_state.masking.mask
    missed = await app_state.coalescer.get(
        (position, "reminders", scope, mask, *due_keys), lambda: _load_unreturned(app_state, scope, due_keys)
    )
    directory = await load_names(app_state)
    due = [
        DueReminder(
            sn=call.sn,
            call_id=call.call_id,
            caller=directory.name_party(call.sn, call.call_from, is_outside=True),
            started_at=call.started_at,
            remind_at=dates[call.sn, call.call_id],
        )
        for call in missed
    ]
    return Reminders(due=sorted(due, key=lambda reminder: reminder.remind_at), next_at=next_at)


async def _load_unreturned(
    app_state: AppState, scope: AccessScope | None, keys: Sequence[CallKey]
) -> Sequence[MissedCall]:
    """Return those of these calls that are in scope and were not returned."""
    calls = await app_state.unmasked_store.calls_by_keys(keys)
    if not calls:
        return ()
    missed_filter = RecordFilter(
        since=min(call.started_at for call in calls), scope=scope, call_filter=CallFilter(call_keys=tuple(keys))
    )
    return (await app_state.store.missed_calls(missed_filter, LISTED_MAX)).data


def _group(
    missed: Sequence[MissedCall], work_by_call: Mapping[CallKey, MissedCallWork], *, is_done: bool
) -> list[list[MissedCall]]:
    """Return the calls that are done, or those that are not, together by PBX and caller, the latest first."""
    groups: dict[tuple[object, ...], list[MissedCall]] = {}
    for call in sorted(missed, key=lambda call: call.started_at, reverse=True):
        work = work_by_call.get((call.sn, call.call_id), NO_WORK)
        if (call.returned_at is not None or work.done_at is not None) is is_done:
            # What was done at different times stays apart.
            end = call.returned_by if call.returned_at else work.done_at
            caller = call.caller_id or extract_number(call.call_from)
            groups.setdefault((call.sn, caller, end), []).append(call)
    return list(groups.values())


def _make_entry(
    calls: Sequence[MissedCall],
    work_by_call: Mapping[CallKey, MissedCallWork],
    returning_calls: Mapping[CallKey, Call],
    directory: NameDirectory,
    now: datetime,
) -> InboxEntry:
    latest = calls[0]
    # The work on any of the calls is that on all: they have one caller.
    work = next(
        (work for call in calls if (work := work_by_call.get((call.sn, call.call_id))) and work != NO_WORK), NO_WORK
    )
    returning_call = None if latest.returned_by is None else returning_calls.get(latest.returned_by)
    ended_at = latest.returned_at or work.done_at
    return InboxEntry(
        calls=calls,
        caller=directory.name_party(latest.sn, latest.call_from, is_outside=True),
        did=directory.name_did(latest.sn, latest.did_number),
        work=work,
        is_due=work.remind_at is not None and work.remind_at <= now and ended_at is None,
        returned_at=latest.returned_at,
        returned_call=latest.returned_by,
        returned_by="" if returning_call is None else _returning_person(returning_call),
        seconds=None if ended_at is None else max(0, int((ended_at - latest.started_at).total_seconds())),
    )


def _returning_person(call: Call) -> str:
    """Return who talked with the caller: the caller of an outgoing call, else the person who answered."""
    return call.call_from if fold_word(call.type) == "OUTBOUND" else call.answered_by


async def _load_returning_calls(
    app_state: AppState, directory: NameDirectory, missed: Sequence[MissedCall]
) -> Mapping[CallKey, Call]:
    keys = list(dict.fromkeys(call.returned_by for call in missed if call.returned_by is not None))
    calls = await app_state.unmasked_store.calls_by_keys(keys) if keys else []
    masking = app_state.masking
    visible_calls = calls if masking is None else [masking.mask_call(call) for call in calls]
    return {(call.sn, call.call_id): directory.name_call(call) for call in visible_calls}
