"""Sweeps of the folders in which PBXs leave files, as a service: each folder in a task of its own.

Invariants: a folder that cannot be read, or whose drive does not answer, stops nothing else. A file is stored before
it is noted as read. What became of the files is stored when it changes, and at times, so that a person sees that the
folder is read.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final, Protocol

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.swept_files import SweptFile
from onhook.cdr.merge import SWEEP
from onhook.lib.change_watcher import ChangeWatcher, appdb_failure_log
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.leased_work import RunLeased, run_without_lease
from onhook.lib.messages import _
from onhook.lib.task_reconciler import TaskReconciler, raise_if_cancelled
from onhook.lib.transition_log import TransitionLog
from onhook.pbx.dialect import Dialect, LegDialect, LineDialect
from onhook.pbx.registry import dialects
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import Verdict
from onhook.sync.folder_files import FileChanges
from onhook.sync.folder_sweep import FolderSweeper, SweepTotals
from onhook.sync.folder_thread import FolderThread
from onhook.sync.line_files import LineFileSweeper, LineTotals

SWEEP_SECONDS: Final = 10.0
"""Wait between two sweeps of a folder: as long as a file must have been left alone."""

REST_FACTOR: Final = 20.0
"""A sweep that takes long, as of a folder with very many files, takes a twentieth of the time at most."""

RESULT_SECONDS: Final = 300.0
"""How often a result without a change is stored: each write costs an fsync."""

RESTART_SECONDS: Final = 60.0
"""Wait after an internal error."""

POLL_SECONDS: Final = 0.5
CHECK_SECONDS: Final = 30.0
"""Shortest and longest wait between two checks of the settings."""


class FileSweeper(Protocol):
    """Stores the files of a folder, again and again: `FolderSweeper` or `LineFileSweeper`."""

    @property
    def totals(self) -> SweepTotals | LineTotals:
        """Return what became of the files in the latest sweep, also where it ended with an error."""
        ...

    @property
    def unreadable_count(self) -> int:
        """Return how much of what is there is no event."""
        ...

    async def sweep(self, path: Path, /) -> SweepTotals | LineTotals:
        """Store what is new. Raises `OnhookError`."""
        ...

    def restore(self, files: Iterable[SweptFile], /) -> None:
        """Leave out files that were read before a restart, until they change."""
        ...

    def take_changes(self) -> FileChanges:
        """Return what to store for the next restart, since the last time."""
        ...


class SweepSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The settings of one sweep; an empty `target` leaves the files where they are."""

    sn: str
    dialect: str
    path: str
    target: str


class _SweepResult(msgspec.Struct, frozen=True, kw_only=True):
    stored: int = 0
    unreadable: int = 0
    error: str = ""


def create_sweeper(
    dialect: Dialect,
    sender: RegisteredPbx,
    *,
    ingestor: Ingestor,
    clock: Clock,
    target: Path | None,
    executor: Executor | None = None,
) -> LineFileSweeper | FolderSweeper:
    """Return the sweeper of a PBX. Raises `UsageError` where it leaves no files."""

    async def ingest(body: bytes) -> Verdict:
        return await ingestor.ingest(sender, body, SWEEP)

    if isinstance(dialect, LineDialect):
        return LineFileSweeper(
            dialect=dialect, ingest=ingest, now_us=clock.microseconds, target=target, executor=executor
        )
    if isinstance(dialect, LegDialect):
        return FolderSweeper(
            dialect=dialect, ingest=ingest, now_us=clock.microseconds, target=target, executor=executor
        )
    raise UsageError(
        _("a PBX of the dialect {dialect} leaves no files", dialect=sender.dialect),
        hint=_("`onhook import` reads a call file"),
    )


class FileSweepManager:
    """All sweeps of a process; created once, inside its event loop. `read_last_seq` returns the last number of the
    ledger.
    """

    def __init__(
        self,
        *,
        appdb: AppDb,
        ingestor: Ingestor,
        clock: Clock,
        read_last_seq: Callable[[], Awaitable[int]],
        run_leased: RunLeased = run_without_lease,
        sweep_seconds: float = SWEEP_SECONDS,
    ) -> None:
        self._appdb = appdb
        self._ingestor = ingestor
        self._clock = clock
        self._read_last_seq = read_last_seq
        self._run_leased = run_leased
        self._sweep_seconds = sweep_seconds
        self._log = logging.getLogger("files")

    async def run(self) -> None:
        """Sweep all folders until cancelled."""
        watcher = ChangeWatcher(self._appdb, self._build_specs)
        failure_log = appdb_failure_log(self._log, consequence="using the last known folders")
        reconciler = TaskReconciler[str, SweepSpec](self._run_sweeps, name="files")
        try:
            while True:
                specs = await watcher.poll_or_log(failure_log)
                if specs is not None:
                    await reconciler.reconcile(specs)
                await watcher.wait(POLL_SECONDS, CHECK_SECONDS)
        finally:
            await reconciler.close()

    async def _build_specs(self) -> Mapping[str, SweepSpec]:
        folders = await self._appdb.swept_folders.all_here()
        pbxs = await self._appdb.pbxs() if folders else []
        return {
            pbx.sn: SweepSpec(sn=pbx.sn, dialect=pbx.dialect, path=folders[pbx.sn].path, target=folders[pbx.sn].target)
            for pbx in pbxs
            if pbx.sn in folders
        }

    async def _run_sweeps(self, sn: str, spec: SweepSpec) -> None:
        """Sweep a folder without end, while this process has its lease."""
        await self._run_leased(f"files:{sn}", partial(self._run_with_restart, spec))

    async def _run_with_restart(self, spec: SweepSpec) -> None:
        """Sweep a folder in a thread of its own: at a network drive that does not answer it waits for ever."""
        executor = FolderThread(f"sweep of {spec.sn}")
        try:
            while True:
                try:
                    await self._sweep_again_and_again(spec, executor)
                except Exception:  # noqa: BLE001 - an error of one PBX must not stop the others
                    self._log.exception("the sweep of a folder failed unexpectedly", extra={"sn": spec.sn})
                raise_if_cancelled()
                await asyncio.sleep(RESTART_SECONDS)
        finally:
            executor.shutdown(wait=False)

    async def _sweep_again_and_again(self, spec: SweepSpec, executor: Executor | None = None) -> None:
        log = TransitionLog(self._log, begins="cannot read the files of a PBX", ends="files of the PBX are read again")
        sender = RegisteredPbx(sn=spec.sn, dialect=spec.dialect)
        target = Path(spec.target) if spec.target else None
        sweeper: FileSweeper = create_sweeper(
            dialects()[spec.dialect],
            sender,
            ingestor=self._ingestor,
            clock=self._clock,
            target=target,
            executor=executor,
        )
        sweeper.restore(await self._load_files(spec))
        stored_result, stored_at = None, 0.0
        while True:
            started_at = time.monotonic()
            result = await self._sweep(spec, sweeper, log)
            await self._save_files(spec, sweeper)
            seconds = time.monotonic() - started_at
            is_changed = result != stored_result or bool(result.stored)
            if is_changed or started_at - stored_at >= RESULT_SECONDS:
                stored_result, stored_at = result, started_at
                await self._save(spec, result)
            await asyncio.sleep(max(self._sweep_seconds, seconds * REST_FACTOR))

    async def _sweep(self, spec: SweepSpec, sweeper: FileSweeper, log: TransitionLog) -> _SweepResult:
        error_text = ""
        try:
            await sweeper.sweep(Path(spec.path))
            log.end(sn=spec.sn)
        except OnhookError as error:
            raise_if_cancelled()
            log.begin(sn=spec.sn, error=str(error))
            error_text = str(error)
        return _SweepResult(stored=sweeper.totals.new, unreadable=sweeper.unreadable_count, error=error_text)

    async def _load_files(self, spec: SweepSpec) -> Sequence[SweptFile]:
        """Return which files need not be read again; none where the database cannot be read."""
        try:
            return await self._appdb.swept_folders.files.load(spec.sn, spec.path, last_seq=await self._read_last_seq())
        except OnhookError as error:
            raise_if_cancelled()
            self._log.error("cannot read which files were read", extra={"sn": spec.sn, "error": str(error)})
            return ()

    async def _save_files(self, spec: SweepSpec, sweeper: FileSweeper) -> None:
        """Store which files need not be read again; where the database cannot be written, a restart reads them."""
        changes = sweeper.take_changes()
        if not changes.changed and not changes.removed_names:
            return
        try:
            last_seq = await self._read_last_seq()
            await self._appdb.swept_folders.files.save(
                spec.sn, spec.path, changes.changed, changes.removed_names, last_seq=last_seq
            )
        except OnhookError as error:
            raise_if_cancelled()
            self._log.error("cannot store which files were read", extra={"sn": spec.sn, "error": str(error)})

    async def _save(self, spec: SweepSpec, result: _SweepResult) -> None:
        """Store what became of the files; where the database cannot be written, the next result says it."""
        try:
            await self._appdb.swept_folders.save_result(
                spec.sn,
                stored=result.stored,
                unreadable=result.unreadable,
                error=result.error,
                now_us=self._clock.microseconds(),
            )
        except OnhookError as error:
            raise_if_cancelled()
            self._log.error("cannot store the result of a sweep", extra={"sn": spec.sn, "error": str(error)})
