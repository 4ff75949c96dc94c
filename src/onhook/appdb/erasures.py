"""Rows that have an erased number, or belong to a call with one: found by their content, erased by their keys.

Invariant: the audit log gets no entry with what is erased.
"""

import asyncio
from collections.abc import Collection, Iterable, Sequence

import msgspec

from onhook.appdb.contract import Database, Row
from onhook.appdb.destination_log_rows import DestinationLogRows
from onhook.appdb.erasure_searches import SEARCHED, SETTINGS, OccursIn, occurs_in_lines, occurs_in_text
from onhook.appdb.mails import has_in_mail
from onhook.cdr.identity import CallKey

ROWS_AT_ONCE = 1_000

CALLS_AT_ONCE = 200
"""Calls whose rows are erased in one transaction: some tens of milliseconds."""

NEW_ATTEMPTS_MAX = 10_000
"""Of the logs of destinations, which are read to find those of erased calls; of more the calls are looked up."""

VACUUM_SECONDS_MAX = 600.0
"""For a file of some gigabytes. Others wait or fail meanwhile, and try again."""

ERASED_ACTION = "substr(action, 1, instr(action || ' ', ' ') - 1) || ' (erased)'"
"""The first word of an action, such as `export`."""

_NO_ROWS = ("learnt_after", "settings")
"""Members of `NumberRows` that name no row to erase."""

_NEWEST_ATTEMPT = "SELECT coalesce(max(attempt_id), 0) FROM destination_log"

_KEY_MAX = 2**63 - 1


class NumberRows(msgspec.Struct, frozen=True, kw_only=True):
    """Rows that have a number, by their keys; of `issues`, `alarms` and `destination_reasons` texts go, and rows
    stay. `settings` are the names of destinations, users and other settings that name it: a person changes them. Names
    learnt later than the key `learnt_after` go too, and are learnt anew.
    """

    notes: tuple[int, ...] = ()
    saved_searches: tuple[int, ...] = ()
    saved_questions: tuple[int, ...] = ()
    sql_history: tuple[int, ...] = ()
    share_tokens: tuple[str, ...] = ()
    audit: tuple[int, ...] = ()
    directory_entries: tuple[int, ...] = ()
    learnt_names: tuple[int, ...] = ()
    mails: tuple[int, ...] = ()
    report_schedules: tuple[int, ...] = ()
    issues: tuple[int, ...] = ()
    alarms: tuple[int, ...] = ()
    destination_reasons: tuple[int, ...] = ()
    learnt_after: int | None = None
    settings: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Return whether there is no row to erase."""
        return not any(getattr(self, name) for name in self.__struct_fields__ if name not in _NO_ROWS)


class CallRowCounts(msgspec.Struct, frozen=True, kw_only=True):
    """Rows of calls: versions of notes, deliveries, and attempts in the logs of destinations."""

    notes: int = 0
    deliveries: int = 0
    logged_attempts: int = 0


class _ClearedTexts(msgspec.Struct, frozen=True):
    """Texts that go from rows that stay: the table, its key, and the columns."""

    table: str
    key: str
    columns: Sequence[str]


_CLEARED = {
    "issues": _ClearedTexts("issues", "issue_id", ("detail", "hint")),
    "alarms": _ClearedTexts("alarms", "alarm_id", ("detail", "hint")),
    "destination_reasons": _ClearedTexts("destinations", "destination_id", ("reason",)),
}
"""What a PBX or an endpoint has said, by the member of `NumberRows`."""


class NumberErasures:
    """Repository of what is to be erased."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log = DestinationLogRows(database)
        self._log_checked_to: int | None = None

    async def find(self, occurs_in: OccursIn, calls: Collection[CallKey]) -> NumberRows:
        """Return the rows that have a number; of the audit log also what was written in notes on these calls."""
        call_ids = {call_id for _sn, call_id in calls}

        def is_audited(text: str) -> bool:
            return occurs_in(text) or ('"notes"' in text and any(call_id in text for call_id in call_ids))

        # Read first: what is learnt meanwhile is later.
        (learnt_after,) = (await self._database.rows("SELECT coalesce(max(learnt_id), 0) FROM learnt_names"))[0]
        return NumberRows(
            notes=tuple([row[0] for row in await self._search("notes", occurs_in)]),
            saved_searches=tuple([row[0] for row in await self._search("saved_searches", occurs_in)]),
            saved_questions=tuple([row[0] for row in await self._search("saved_questions", occurs_in)]),
            sql_history=tuple([row[0] for row in await self._search("sql_history", occurs_in)]),
            share_tokens=tuple([row[2] for row in await self._search("share_tokens", occurs_in)]),
            audit=tuple([row[0] for row in await self._search("audit", is_audited)]),
            directory_entries=tuple([row[0] for row in await self._search("directory_entries", occurs_in)]),
            learnt_names=tuple([row[0] for row in await self._search("learnt_names", occurs_in)]),
            mails=tuple([row[0] for row in await self._search("mails", lambda text: has_in_mail(text, occurs_in))]),
            report_schedules=await self._search_json("report_schedules", occurs_in),
            issues=await self._search_json("issues", occurs_in),
            alarms=await self._search_json("alarms", occurs_in),
            destination_reasons=await self._search_json("destination_reasons", occurs_in),
            learnt_after=learnt_after,
            settings=await self._search_settings(occurs_in),
        )

    async def count(self, calls: Sequence[CallKey]) -> CallRowCounts:
        """Return how many rows of these calls there are."""
        return CallRowCounts(
            notes=await self._count_rows("notes", "AND text <> ''", calls),
            deliveries=await self._count_rows("deliveries", "", calls),
            logged_attempts=await self._count_rows("destination_log", "", calls),
        )

    async def _count_rows(self, table: str, condition: str, calls: Sequence[CallKey]) -> int:
        sql = f"SELECT count(*) FROM {table} WHERE sn = ? AND call_id = ? {condition}"
        return sum(
            [count for chunk in _chunks(calls) for (count,) in _flatten(await self._database.rows_many(sql, chunk))]
        )

    async def erase(self, calls: Sequence[CallKey], rows: NumberRows) -> None:
        """Erase rows; what is erased already is left as it is. Notes on the calls lose their texts and keep their tags;
        deliveries of the calls are removed with their attempts, sent or not, and so is all of them in the logs of
        destinations.
        """
        for chunk in _chunks(calls):
            await self._database.write_many("UPDATE notes SET text = '' WHERE sn = ? AND call_id = ?", chunk)
        await self._delete_deliveries(calls)
        await self._delete_attempts(calls)
        # Workers may have read what is erased, and would go on sending it to an endpoint that is down: they begin anew.
        await self._database.write("UPDATE destinations SET revision = revision + 1")
        async with self._database.transaction():
            await self._delete("notes", "note_id", rows.notes)
            await self._delete("saved_searches", "search_id", rows.saved_searches)
            await self._delete("saved_questions", "question_id", rows.saved_questions)
            await self._delete("sql_history", "history_id", rows.sql_history)
            await self._delete("tokens", "name", rows.share_tokens)
            await self._delete("directory_entries", "entry_id", rows.directory_entries)
            await self._delete("mails", "mail_id", rows.mails)
            await self._delete("report_schedules", "schedule_id", rows.report_schedules)
            # Of minutes, with the address of the page that was asked for: who signs in at this moment begins anew.
            await self._database.write("DELETE FROM pending_sign_ins")
            await self._database.write("DELETE FROM sign_in_challenges")
            await self._clear_texts(rows)
            await self._forget_learnt(rows)
            await self._database.write_many(
                f"UPDATE audit SET action = {ERASED_ACTION}, before = '', after = '' WHERE audit_id = ?"
                " AND action NOT LIKE '% (erased)'",
                [(key,) for key in rows.audit],
            )
            await self._database.discard_changes()

    async def _clear_texts(self, rows: NumberRows) -> None:
        for name, cleared in _CLEARED.items():
            values = ", ".join(f"{column} = ''" for column in cleared.columns)
            await self._database.write_many(
                f"UPDATE {cleared.table} SET {values} WHERE {cleared.key} = ?", [(key,) for key in getattr(rows, name)]
            )

    async def _forget_learnt(self, rows: NumberRows) -> None:
        """Delete learnt names, and all that PBXs list, which are read anew. From what a learner has read before,
        nothing is stored any more; what was learnt after the rows were found is learnt anew, from the events as they
        are now.
        """
        await self._database.write("DELETE FROM pbx_names")
        later = await self._database.rows(
            "SELECT learnt_id, seq FROM learnt_names WHERE learnt_id > ?",
            (_KEY_MAX if rows.learnt_after is None else rows.learnt_after,),
        )
        await self._delete("learnt_names", "learnt_id", [*rows.learnt_names, *(learnt_id for learnt_id, _seq in later)])
        position = min((seq - 1 for _learnt_id, seq in later), default=_KEY_MAX)
        await self._database.write(
            "INSERT INTO directory_state VALUES (1, 1, 0, 1) ON CONFLICT (state_id) DO UPDATE SET"
            " learnt_position = CASE WHEN directory_state.learnt_position > ?1 THEN ?1"
            " ELSE directory_state.learnt_position END, revision = directory_state.revision + 1,"
            " erasures = directory_state.erasures + 1",
            (position,),
        )

    async def delete_deliveries(self, calls: Sequence[CallKey]) -> int:
        """Delete the deliveries of calls with their attempts, and what the logs of destinations have of them since the
        last time; return how many. `calls` are those of all recent erasures. Where there are none nothing is written:
        this is done again and again.
        """
        return await self._delete_deliveries(calls) + await self._delete_new_attempts(calls)

    async def _delete_deliveries(self, calls: Sequence[CallKey]) -> int:
        stored_calls = await self._database.rows("SELECT DISTINCT sn, call_id FROM deliveries")
        count = 0
        for chunk in _chunks(sorted(set(calls).intersection(stored_calls))):
            count += await self._database.write_many("DELETE FROM deliveries WHERE sn = ? AND call_id = ?", chunk)
        return count

    async def _delete_new_attempts(self, calls: Sequence[CallKey]) -> int:
        """Delete the attempts of calls that were logged since the last time; all, where that is long ago."""
        rows = await self._database.rows(_NEWEST_ATTEMPT)
        newest_id, checked_to = int(rows[0][0]), self._log_checked_to
        if checked_to is not None and newest_id - checked_to <= NEW_ATTEMPTS_MAX:
            new_rows = await self._database.rows(
                "SELECT DISTINCT sn, call_id FROM destination_log WHERE attempt_id > ?", (checked_to,)
            )
            calls = sorted(set(calls).intersection(new_rows))
        count = await self._delete_attempts(calls)
        self._log_checked_to = newest_id
        return count

    async def _delete_attempts(self, calls: Sequence[CallKey]) -> int:
        return sum([await self._log.delete_for_calls(chunk) for chunk in _chunks(calls)])

    async def overwrite_deleted(self) -> None:
        """Overwrite what was deleted or replaced, so that no bytes of it are left. Raises `Unavailable`."""
        await self._database.overwrite_deleted(VACUUM_SECONDS_MAX)

    async def _search(self, table: str, occurs_in: OccursIn) -> list[tuple[int, str, str]]:
        matches: list[tuple[int, str, str]] = []
        after_key = 0
        while rows := await self._database.rows(SEARCHED[table], (after_key, ROWS_AT_ONCE)):
            after_key = rows[-1][0]
            matches += await asyncio.to_thread(_select_rows, rows, occurs_in)
        return matches

    async def _search_json(self, table: str, occurs_in: OccursIn) -> tuple[int, ...]:
        """Return the keys of rows whose texts, some of them JSON, have a number."""
        return tuple([row[0] for row in await self._search(table, lambda text: occurs_in_lines(text, occurs_in))])

    async def _search_settings(self, occurs_in: OccursIn) -> tuple[str, ...]:
        rows = [row for query in SETTINGS for row in await self._database.rows(query)]
        names = await asyncio.to_thread(
            lambda: [str(name) for name, text in rows if occurs_in_lines(str(text), occurs_in)]
        )
        return tuple(dict.fromkeys(names))

    async def _delete(self, table: str, column: str, keys: Iterable[int | str]) -> None:
        await self._database.write_many(f"DELETE FROM {table} WHERE {column} = ?", [(key,) for key in keys])


def _select_rows(rows: Iterable[Row], occurs_in: OccursIn) -> list[tuple[int, str, str]]:
    """Return keys and texts of the rows that have a number: a page of the audit log takes a second at its longest."""
    return [(row[0], str(row[1]), str(row[-1])) for row in rows if occurs_in_text(str(row[1]), occurs_in)]


def _chunks(calls: Sequence[CallKey]) -> list[Sequence[CallKey]]:
    return [calls[start : start + CALLS_AT_ONCE] for start in range(0, len(calls), CALLS_AT_ONCE)]


def _flatten(results: Iterable[Iterable[tuple[int, ...]]]) -> list[tuple[int, ...]]:
    return [row for rows in results for row in rows]
