"""The store made again from the ledger, beside the one that is being read, and put in its place when it is whole.

Law: what only the new store could read is owed to subscriptions before it takes its place, for they are past its
numbers.
"""

import logging
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_facts import SettingsFacts
from onhook.config import Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.ops.instance_lock import holding, read_running
from onhook.pbx.registry import all_dialects
from onhook.projector import Projector
from onhook.runtime.engines import patiently, store_at
from onhook.store.duckdb import quarantined_at

LOCK_NAME = "rebuild.lock"

Progress = Callable[[int, int], None]
"""Is told how far it is: the number of the last report read, and that of the last there is."""


async def rebuild(config: Config, progress: Progress) -> int:
    """Make the store again; how many reports it stands for. A running hub changes over to it within a second.

    Raises `OnhookError`; then the old store stays in its place.
    """
    with holding(config.data / LOCK_NAME) as is_ours:
        if not is_ours:
            raise UsageError(
                "the store is being made again already, or old calls are being deleted from it",
                where=str(config.data),
                todo="wait for that to end",
            )
        position = await _rebuild_beside(config, progress)
    running = read_running(config)
    if running is None:
        await _adopt_alone(config)
    else:
        os.kill(running.pid, signal.SIGUSR1)
    return position


async def _rebuild_beside(config: Config, progress: Progress) -> int:
    part = _part(config)
    _remove(part)
    try:
        position = await _project_all(config, part, progress)
        part.replace(rebuilt_file(config))
    finally:
        _remove(part)
    return position


async def adopt_rebuilt(config: Config, settings: AppDb, clock: Clock) -> None:
    """Put a store that was made again in the place of the old one; called by whoever is about to open the store.

    Raises `Unavailable` where another process has one of them open.
    """
    rebuilt = rebuilt_file(config)
    if not rebuilt.exists():
        return
    before, after = await _quarantined(config.store_file), await _quarantined(rebuilt)
    runs = runs_of(sorted(set(before) - set(after)))
    # Where this is cut short they stay held, and are not held twice. The next start lets them go.
    settings.subscriptions.hold_replays(runs, at=clock.microseconds())
    _remove(config.store_file)
    rebuilt.replace(config.store_file)
    settings.subscriptions.let_go([last for _, last in runs])


def runs_of(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs of neighbours, each with its first and last.

    >>> runs_of([3, 4, 5, 9])
    [(3, 5), (9, 9)]
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def rebuilt_file(config: Config) -> Path:
    """Where a store that was made again waits to take its place."""
    return config.store_file.with_name(config.store_file.name + ".rebuilt")


def drop_store(config: Config) -> None:
    """Forget the store, and one that waits to take its place: the next one who opens it makes it from the ledger."""
    _remove(rebuilt_file(config))
    _remove(config.store_file)


async def _project_all(config: Config, path: Path, progress: Progress) -> int:
    settings = AppDb(config.settings_file)
    ledger = SqliteLedger(config.ledger_file)
    store = await store_at(path)
    try:
        last = await ledger.last()
        facts_of = SettingsFacts(settings)
        projector = Projector(ledger=ledger, store=store, dialects=all_dialects(), facts_of=facts_of)
        position = await projector.catch_up(lambda position: progress(position, max(position, last)))
        while await store.sum_up():
            pass
    finally:
        await store.close()
        await ledger.close()
        settings.close()
    if _log_of(path).exists():
        raise Unavailable("the new store could not be finished", where=str(path), todo="free disk space and try again")
    return position


async def _adopt_alone(config: Config) -> None:
    settings = AppDb(config.settings_file)
    try:
        await adopt_rebuilt(config, settings, SystemClock())
    finally:
        settings.close()


async def _quarantined(path: Path) -> list[int]:
    """What could not be read; nothing where there is no store, or one that is too damaged to tell."""
    try:
        return await patiently(lambda: quarantined_at(path))
    except Unavailable:
        raise
    except OnhookError as error:
        log = logging.getLogger("rebuild")
        log.warning(
            "what the old store could not read is not known: if it can be read now, it is sent to nobody",
            extra={"error": str(error), "todo": "`onhook subscribe replay` sends again what you name"},
        )
        return []


def _part(config: Config) -> Path:
    return config.store_file.with_name(config.store_file.name + ".part")


def _log_of(path: Path) -> Path:
    """Where DuckDB keeps what is committed and not yet in the file; the log of another file must never be read."""
    return path.with_name(path.name + ".wal")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _log_of(path).unlink(missing_ok=True)
