"""The store made again from the ledger, beside the one that is being read, and put in its place when it is whole.

Law: what only the new store could read is pending for destinations before it takes its place, for they are past its
numbers.
"""

import logging
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.config import Config
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.ops.instance_lock import file_lock, read_server_info
from onhook.pbx.registry import dialects
from onhook.projector import Projector
from onhook.runtime.engines import open_store_file, retry_while_locked
from onhook.store.duckdb import list_quarantined_seqs

LOCK_NAME = "rebuild.lock"

RebuildProgressCallback = Callable[[int, int], None]
"""Is told how far it is: the number of the last raw event read, and that of the last there is."""


async def rebuild(config: Config, on_progress: RebuildProgressCallback) -> int:
    """Make the store again; how many raw events it stands for. A running hub changes over to it within a second.

    Raises `OnhookError`; then the old store stays in its place.
    """
    with file_lock(config.data / LOCK_NAME) as has_lock:
        if not has_lock:
            raise UsageError(
                "the store is being made again already, or old calls are being deleted from it",
                location=str(config.data),
                hint="wait for that to end",
            )
        position = await _build_new_store(config, on_progress)
    server = read_server_info(config)
    if server is None:
        await _install_offline(config)
    else:
        os.kill(server.pid, signal.SIGUSR1)
    return position


async def _build_new_store(config: Config, on_progress: RebuildProgressCallback) -> int:
    partial_path = _partial_path(config)
    _delete_database(partial_path)
    try:
        position = await _project_ledger(config, partial_path, on_progress)
        partial_path.replace(rebuilt_store_path(config))
    finally:
        _delete_database(partial_path)
    return position


async def install_rebuilt_store(config: Config, appdb: AppDb, clock: Clock) -> None:
    """Put a store that was made again in the place of the old one; called by whoever is about to open the store.

    Raises `Unavailable` where another process has one of them open.
    """
    rebuilt_path = rebuilt_store_path(config)
    if not rebuilt_path.exists():
        return
    old_quarantine, new_quarantine = (
        await _read_quarantined_seqs(config.store_file),
        await _read_quarantined_seqs(rebuilt_path),
    )
    runs = group_consecutive(sorted(set(old_quarantine) - set(new_quarantine)))
    # Where this is cut short they stay held, and are not held twice. The next start lets them go.
    appdb.destinations.hold_replays(runs, now_us=clock.microseconds())
    _delete_database(config.store_file)
    rebuilt_path.replace(config.store_file)
    appdb.destinations.release_replays([last_seq for _, last_seq in runs])


def group_consecutive(numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending numbers as runs of neighbours, each with its first and last.

    >>> group_consecutive([3, 4, 5, 9])
    [(3, 5), (9, 9)]
    """
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and runs[-1][1] == number - 1:
            runs[-1] = runs[-1][0], number
        else:
            runs.append((number, number))
    return runs


def rebuilt_store_path(config: Config) -> Path:
    """Where a store that was made again waits to take its place."""
    return config.store_file.with_name(config.store_file.name + ".rebuilt")


def delete_store(config: Config) -> None:
    """Forget the store, and one that waits to take its place: the next one who opens it makes it from the ledger."""
    _delete_database(rebuilt_store_path(config))
    _delete_database(config.store_file)


async def _project_ledger(config: Config, path: Path, on_progress: RebuildProgressCallback) -> int:
    appdb = AppDb(config.appdb_file)
    ledger = SqliteLedger(config.ledger_file)
    store = await open_store_file(path)
    try:
        last_seq = await ledger.last_seq()
        pbx_facts = AppDbPbxFacts(appdb)
        projector = Projector(ledger=ledger, store=store, dialects=dialects(), get_facts=pbx_facts)
        position = await projector.catch_up(lambda position: on_progress(position, max(position, last_seq)))
        while await store.roll_up():
            pass
    finally:
        await store.close()
        await ledger.close()
        appdb.close()
    if _wal_path(path).exists():
        raise Unavailable(
            "the new store could not be finished", location=str(path), hint="free disk space and try again"
        )
    return position


async def _install_offline(config: Config) -> None:
    appdb = AppDb(config.appdb_file)
    try:
        await install_rebuilt_store(config, appdb, SystemClock())
    finally:
        appdb.close()


async def _read_quarantined_seqs(path: Path) -> list[int]:
    """What could not be read; nothing where there is no store, or one that is too damaged to tell."""
    try:
        return await retry_while_locked(lambda: list_quarantined_seqs(path))
    except Unavailable:
        raise
    except OnhookError as error:
        log = logging.getLogger("rebuild")
        log.warning(
            "cannot read the quarantine of the old store: raw events that parse now are not sent",
            extra={"error": str(error), "hint": "`onhook destination replay` sends again what you name"},
        )
        return []


def _partial_path(config: Config) -> Path:
    return config.store_file.with_name(config.store_file.name + ".part")


def _wal_path(path: Path) -> Path:
    """Where DuckDB keeps what is committed and not yet in the file; the log of another file must never be read."""
    return path.with_name(path.name + ".wal")


def _delete_database(path: Path) -> None:
    path.unlink(missing_ok=True)
    _wal_path(path).unlink(missing_ok=True)
