"""Erasure of a telephone number from all that is stored.

Invariants: recordings go first; then an entry of the ledger says what is erased, and all else follows from it, so that
what was interrupted is found again and finished: rows of the application database, raw events behind the slowest store,
the files, and last the store, which is made anew. Nothing that is written says which number it was. Calls of the number
that are received later are stored: erasure is about the past.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.erasures import NumberRows
from onhook.appdb.origin import get_origin
from onhook.appdb.recordings import find_recording_file
from onhook.cdr.erasure import NumberPattern
from onhook.cdr.erasure_types import Erasure, ErasureCounts
from onhook.cdr.identity import CallKey
from onhook.cdr.number_plan import NumberPlan
from onhook.cdr.record_filter import TEXT_CHARACTERS_MAX
from onhook.config import Config
from onhook.ledger.contract import ErasureState, Ledger
from onhook.ledger.control_entries import Erased, ErasedRows
from onhook.lib.clock import Clock
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import NotFound, OnhookError, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.lib.transition_log import TransitionLog
from onhook.ops.erasure_elsewhere import list_elsewhere
from onhook.ops.erasure_list import write_list
from onhook.ops.event_deletion import EventDeletion, report_position, store_name
from onhook.pbx.registry import dialects
from onhook.projector.erasure_plan import ErasurePlan, ErasurePlanner, to_entries
from onhook.projector.event_rewriting import EventRewriter
from onhook.projector.projector import Projector
from onhook.store.contract import Store

if TYPE_CHECKING:
    from onhook.cdr import phone_numbers
else:  # with the numbering plans of all countries
    phone_numbers = DeferredModule("onhook.cdr.phone_numbers")

DIGITS_MIN = 2
"""Each single digit is part of most numbers."""

CALLS_UNCONFIRMED_MAX = 1_000
"""A number with more calls is rarely a person's; who erases it says how many there are."""

CYCLE_SECONDS = 5.0
"""Time until an event of an erased call that arrives later is rewritten."""

RETRY_SECONDS = 60.0
"""After a failure: a store that is made anew takes minutes."""

SETTLING_SECONDS = 600.0
"""An attempt that was in progress when the rows of an erasure were deleted has ended after this time: until then its
notification may be stored again, with the number.
"""


class NumberEraser:
    """Previews and runs erasures, and finishes them. Created once per process.

    `rebuild_store` makes the store anew, beside the one in use; None where that is done later.
    """

    def __init__(
        self,
        *,
        config: Config,
        appdb: AppDb,
        ledger: Ledger,
        store: Store,
        projector: Projector,
        clock: Clock,
        find_regions: Callable[[], Awaitable[Sequence[str]]],
        rebuild_store: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._config = config
        self._store_name = store_name(config)
        self._appdb = appdb
        self._ledger = ledger
        self._store = store
        self._projector = projector
        self._clock = clock
        self._find_regions = find_regions
        self._rebuild_store = rebuild_store
        self._rewriter = EventRewriter(ledger, store, dialects())
        self._settling = _SettlingEntries()
        self._lock = asyncio.Lock()
        self._wakeup = asyncio.Event()
        self._log = TransitionLog(
            logging.getLogger("erasure"), begins="cannot finish an erasure yet", ends="erasures are finished"
        )

    async def preview(self, number: str) -> ErasureCounts:
        """Return what an erasure of a number would change. Raises `UsageError`, `NotFound` where that is nothing."""
        pattern = await self._parse(number)
        plan = await self._projector.plan_erasure(pattern)
        rows = await self._find_rows(plan, pattern)
        return await self._count(plan, rows)

    async def erase(self, number: str, *, calls: int | None = None) -> ErasureCounts:
        """Erase a number; return what had it. `calls` is how many calls the preview said, without which no more than
        CALLS_UNCONFIRMED_MAX are changed. On return the number is shown and sent no longer, and what is left in files
        is erased by `finish`. Raises `UsageError`, and `NotFound` where nothing has the number.
        """
        pattern = await self._parse(number)
        # Calls whose events are still to be deleted must not come back.
        deletion = EventDeletion(self._appdb, self._ledger, self._store, self._projector, self._store_name)
        await deletion.load()
        await deletion.delete_events(now_us=self._clock.microseconds())
        counts: list[ErasureCounts] = []
        erasure_id = secrets.token_hex(8)

        async def plan_entries(planner: ErasurePlanner) -> Sequence[Erased]:
            plan = await planner.plan(pattern)
            rows = await self._find_rows(plan, pattern)
            counts.append(await self._count(plan, rows))
            _check_confirmation(len(plan.calls), calls)
            if len(counts) == 1:
                # Before the entry, with which everything follows by itself.
                await self._add_audit_entry(counts[0])
            for path in await self._find_recordings(plan):
                await asyncio.to_thread(_delete_recording, path)
            return to_entries(plan, erasure_id, _to_erased_rows(rows))

        await self._projector.erase(plan_entries)
        async with self._lock:
            await self._rewriter.load()
            await self._write_list()
        self._wakeup.set()
        return counts[-1]

    async def run(self) -> None:
        """Finish erasures until cancelled, and erase from what arrives later for their calls."""
        while True:
            self._wakeup.clear()
            pause_seconds = CYCLE_SECONDS
            try:
                await self.finish()
                self._log.end()
            except OnhookError as error:
                self._log.begin(error=str(error))
                pause_seconds = RETRY_SECONDS
            raise_if_cancelled()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_seconds):
                    await self._wakeup.wait()

    async def finish(self) -> None:
        """Erase from rows, raw events and files what all entries name that every store has applied; then have the store
        made anew. Raises `OnhookError`; the next run goes on.
        """
        async with self._lock:
            await self._rewriter.load()
            if not self._rewriter.entries:
                return
            states = await self._ledger.erasure_states()
            self._note_entries(states)
            if await self._has_work(states):
                await self._finish_entries(states)
        if self._rebuild_store is not None and "rewritten" in (await self._ledger.erasure_states()).values():
            await self._rebuild_store()

    async def _has_work(self, states: Mapping[int, ErasureState]) -> bool:
        """Return whether an entry is unfinished, attempts may still end, or events came since the last cycle: a server
        at rest writes nothing.
        """
        return (
            any(seq not in states for seq in self._rewriter.entries)
            or bool(self._settling.seqs)
            or await self._ledger.erasure_position() < await self._store.position()
        )

    async def _finish_entries(self, states: Mapping[int, ErasureState]) -> None:
        now_us = self._clock.microseconds()
        behind = await report_position(self._appdb, self._store, now_us=now_us, name=self._store_name)
        pending = [seq for seq in self._rewriter.entries if seq not in states and seq <= behind]
        for seq in pending:
            await self._erase_entry(seq)
            self._settling.add(seq, SETTLING_SECONDS)
        await self._erase_later(behind, has_changed=bool(pending))
        if pending:
            await self._write_list()
            await self._ledger.set_erasure_state(pending, "rewritten")

    def _note_entries(self, states: Mapping[int, ErasureState]) -> None:
        """Have each entry that is new to this process looked at: once where it is long finished, for the process that
        finished it may have ended before an attempt was looked for.
        """
        since_us = self._clock.microseconds() - round(SETTLING_SECONDS * 1e6)
        for seq in self._settling.find_new(self._rewriter.entries):
            is_long_ago = states.get(seq) == "finished" and self._rewriter.entered_at(seq) < since_us
            self._settling.add(seq, 0.0 if is_long_ago else SETTLING_SECONDS)

    async def _write_list(self) -> None:
        await asyncio.to_thread(write_list, self._config.data, list(self._rewriter.entries.values()))

    async def list_erasures(self) -> list[Erasure]:
        """Return all erasures, the latest first; while one is being finished, for minutes, those that are known."""
        if not self._lock.locked():
            async with self._lock:
                await self._rewriter.load()
        states: dict[int, ErasureState] = await self._ledger.erasure_states()
        return [
            Erasure(seq=seq, calls=len(entry.calls), state=states.get(seq, "erasing"))
            for seq, entry in reversed(self._rewriter.entries.items())
        ]

    # Finishing

    async def _erase_entry(self, seq: int) -> None:
        entry = self._rewriter.entries[seq]
        rows = NumberRows(**msgspec.structs.asdict(entry.rows))
        await self._appdb.erasures.erase(_call_keys([entry]), rows)
        await self._rewriter.rewrite_listed(seq, entry)
        await self._rewriter.reduce_entries(seq)

    async def _erase_later(self, behind: int, *, has_changed: bool) -> None:
        """Erase from what arrived after an erasure, and clean the files where anything was changed."""
        rewritten_count = await self._rewriter.rewrite_later(behind)
        began_at = asyncio.get_running_loop().time()
        settling = [self._rewriter.entries[seq] for seq in self._settling.seqs]
        deleted_count = await self._appdb.erasures.delete_deliveries(_call_keys(settling))
        self._settling.remove_settled(began_at)
        if has_changed or deleted_count:
            await self._appdb.erasures.overwrite_deleted()
        if has_changed or rewritten_count:
            await self._ledger.overwrite_deleted()
        if await self._ledger.erasure_position() < behind:
            await self._ledger.set_erasure_position(behind)

    # Planning

    async def _parse(self, number: str) -> NumberPattern:
        """Return the notations of a number. Raises `UsageError`."""
        text = number.strip()
        digit_count = sum(character.isdigit() for character in text)
        if digit_count < DIGITS_MIN or len(text) > TEXT_CHARACTERS_MAX:
            raise UsageError(
                _("a number to erase has at least {minimum} digits", minimum=DIGITS_MIN),
                hint=_("write the whole number, such as +49 30 901820 or 1001"),
                parameter="number",
            )
        plans = [pbx.number_plan for pbx in await self._appdb.pbxs()] or [NumberPlan()]
        variants = phone_numbers.number_variants(text, plans, await self._find_regions())
        if not variants:
            raise UsageError(
                _("this is not a telephone number"),
                hint=_("write digits, +, and separators, such as +49 30 901820 or 1001; not a name"),
                parameter="number",
            )
        is_internal = any(plan.kind_of(variants[0]) != "external" for plan in plans)
        return NumberPattern(variants, is_internal=is_internal)

    async def _find_rows(self, plan: ErasurePlan, pattern: NumberPattern) -> NumberRows:
        return await self._appdb.erasures.find(pattern.occurs_in, [(call.sn, call.call_id) for call in plan.calls])

    async def _count(self, plan: ErasurePlan, rows: NumberRows) -> ErasureCounts:
        """Return the counts of a plan. Raises `NotFound` where there is nothing to erase."""
        call_rows = await self._appdb.erasures.count([(call.sn, call.call_id) for call in plan.calls])
        counts = ErasureCounts(
            calls=len(plan.calls),
            raw_events=plan.event_count,
            notes=call_rows.notes + len(rows.notes),
            recordings=len(await self._find_recordings(plan)),
            deliveries=call_rows.deliveries,
            logged_attempts=call_rows.logged_attempts,
            saved_searches=len(rows.saved_searches),
            share_tokens=len(rows.share_tokens),
            audit_entries=len(rows.audit),
            directory_entries=len(rows.directory_entries) + len(rows.learnt_names),
            saved_questions=len(rows.saved_questions),
            past_queries=len(rows.sql_history),
            mails=len(rows.mails),
            report_schedules=len(rows.report_schedules),
            failure_texts=len(rows.issues) + len(rows.alarms) + len(rows.destination_reasons),
            settings=rows.settings,
            elsewhere=await list_elsewhere(self._config, self._appdb, plan),
        )
        if not plan.event_count and rows.is_empty:
            raise NotFound(
                _("nothing that is stored has this number"),
                hint=_("search for it on the page Calls; perhaps it needs a country code"),
            )
        return counts

    async def _find_recordings(self, plan: ErasurePlan) -> list[Path]:
        """Return the files of recordings in directories on this machine."""
        directories = {sn: await self._appdb.recordings.get(sn) for sn in {sn for sn, _name in plan.recordings}}
        paths = {
            path
            for sn, name in plan.recordings
            if (directory := directories[sn]) is not None and (path := find_recording_file(directory, name))
        }
        return sorted(paths)

    async def _add_audit_entry(self, counts: ErasureCounts) -> None:
        origin = get_origin()
        await self._appdb.audit.add(
            now_us=self._clock.microseconds(),
            actor=origin.actor,
            credential=origin.credential,
            address=origin.address,
            action=f"erase a number: calls: {counts.calls}, raw events: {counts.raw_events}",
            status=200,
        )


class _SettlingEntries:
    """Erasures whose calls' attempts may still be logged: each until a look after its time has found what there was,
    however late that is. Times are those of the loop, in seconds, which no change of the clock moves.
    """

    def __init__(self) -> None:
        self._ends: dict[int, float] = {}
        self._last_seq = 0

    @property
    def seqs(self) -> list[int]:
        """Return the numbers of their entries."""
        return list(self._ends)

    def find_new(self, seqs: Iterable[int]) -> list[int]:
        """Return which entries were never added."""
        return [seq for seq in seqs if seq > self._last_seq]

    def add(self, seq: int, seconds: float) -> None:
        """Have an entry settle for some seconds from now."""
        self._ends[seq] = asyncio.get_running_loop().time() + seconds
        self._last_seq = max(self._last_seq, seq)

    def remove_settled(self, looked_at: float) -> None:
        """Remove the entries that had settled when the last look began."""
        self._ends = {seq: end for seq, end in self._ends.items() if end > looked_at}


def _check_confirmation(call_count: int, confirmed_count: int | None) -> None:
    if call_count > CALLS_UNCONFIRMED_MAX and confirmed_count != call_count:
        raise UsageError(
            _("{count} calls have this number", count=call_count),
            hint=_("if it is the right one, confirm their number: {count}", count=call_count),
            parameter="calls",
        )


def _delete_recording(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(
            _("cannot delete a recording: {error}", error=error.strerror),
            location=str(path.parent),
            hint=_("give Onhook the right to delete in this directory, or take the directory away from the PBX"),
        ) from error


def _to_erased_rows(rows: NumberRows) -> ErasedRows:
    return ErasedRows(**{name: getattr(rows, name) for name in ErasedRows.__struct_fields__})


def _call_keys(entries: Iterable[Erased]) -> list[CallKey]:
    return sorted({(call.sn, call.call_id) for entry in entries for call in entry.calls})
