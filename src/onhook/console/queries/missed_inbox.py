"""The inbox of missed calls: calls of one caller together, with who works on them, and how soon they were returned.

A call is returned by the first later call in which a person talked with the number: it is ticked then, without a
click.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

from onhook.appdb.missed_call_work import NO_WORK, MissedCallWork
from onhook.cdr.call_details import fold_word
from onhook.cdr.directory import NameDirectory
from onhook.cdr.identity import CallKey, extract_number
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.console.queries.directory import load_names
from onhook.console.state import AppState
from onhook.store.contract import MissedCall, MissedCalls

LISTED_MAX = 500
"""The latest missed calls; a longer list is not worked through by hand."""

Show = Literal["open", "mine", "done"]


class InboxEntry(msgspec.Struct, frozen=True, kw_only=True):
    """The missed calls of one caller, the latest first, and the work on them. `returned_call` is the call that returned
    the latest one; `seconds` is how soon after it that began, or a user was done.
    """

    calls: Sequence[MissedCall]
    caller: str
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


class Inbox(msgspec.Struct, frozen=True, kw_only=True):
    """The entries that are shown, and the counts of the period: calls that were missed, returned, not returned, and
    without a number. `median_seconds` is how soon the entries listed were returned or done.
    """

    entries: Sequence[InboxEntry]
    counts: MissedCalls
    median_seconds: int | None


async def load_inbox(app_state: AppState, missed_filter: RecordFilter, show: Show, user: str) -> Inbox:
    """Return the inbox of a period: open calls, those that a user has claimed, or those that are returned or done."""
    if missed_filter.type is None:
        missed_filter = msgspec.structs.replace(missed_filter, type="inbound")
    unreturned = await app_state.store.missed_calls(missed_filter, LISTED_MAX)
    missed = list(unreturned.data)
    if show == "done":
        missed += (await app_state.store.missed_calls(missed_filter, LISTED_MAX, is_returned=True)).data
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
        entries=entries, counts=unreturned, median_seconds=seconds[(len(seconds) - 1) // 2] if seconds else None
    )


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
            groups.setdefault((call.sn, extract_number(call.call_from), end), []).append(call)
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
