"""Rebuild of the store from the ledger, beside the one in use, which it replaces when it is complete.

Invariant: events that only the new store could parse are pending for destinations before it is used, because
destinations are past their numbers.
"""

import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from onhook.appdb.appdb import AppDb
from onhook.appdb.pbx_facts import AppDbPbxFacts
from onhook.appdb.store_positions import ABSENCE_MAX, ABSENCE_MICROSECONDS
from onhook.config import Config
from onhook.ledger.control_entries import ReRead
from onhook.ledger.facts_publisher import FactsPublisher
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from onhook.lib.file_lock import file_lock_soon, is_locked
from onhook.lib.messages import _
from onhook.lib.timestamps import to_datetime
from onhook.ops.engines import Engines
from onhook.ops.event_deletion import store_name
from onhook.ops.instance_lock import read_server_info
from onhook.ops.ledger_reading import opened, read_begin
from onhook.ops.quarantine_retry import REPLAYS_TURN, group_consecutive
from onhook.pbx.registry import dialects
from onhook.projector.projector import Projector

LOCK_NAME = "rebuild.lock"

MEBIBYTE = 1024**2
RESERVE_BYTES = 32 * MEBIBYTE
"""Stays free for the events that are received meanwhile: some 50,000."""

LEDGER_SHARE = 0.5
"""Of the ledger's size a store has at most; with short events a third of it was measured."""

ENTRY_STORE_BYTES = 200
"""Of a ledger on servers, whose size is not asked for: a record has some 80 bytes in the store."""

RebuildProgressCallback = Callable[[int, int], None]
"""Receives the number of the last raw event processed, and that of the last one."""


async def rebuild(
    config: Config, on_progress: RebuildProgressCallback, engines: Engines, *, reads_again: bool = False
) -> int:
    """Rebuild the store; return the number of its raw events. A running hub changes to it within a second. With
    `reads_again` all events are read by the facts of their PBXs as they are now, in every store from now on.

    Raises `OnhookError`; then the old store stays in use.
    """
    async with file_lock_soon(config.data / LOCK_NAME) as has_lock:
        if not has_lock:
            raise _already_rebuilding_error(config)
        position = await _build_new_store(config, on_progress, engines, reads_again=reads_again)
    server = read_server_info(config)
    if server is None:
        await _install_offline(config, engines)
    else:
        os.kill(server.pid, signal.SIGUSR1)
    return position


async def _build_new_store(
    config: Config, on_progress: RebuildProgressCallback, engines: Engines, *, reads_again: bool
) -> int:
    partial_path = _partial_path(config)
    delete_store_file(partial_path)
    await _check_space(config, engines)
    try:
        position, erasure_seqs = await _project_ledger(
            config, partial_path, on_progress, engines, reads_again=reads_again
        )
        replace_store_file(partial_path, rebuilt_store_path(config))
        await _finish_erasures(config, engines, erasure_seqs)
    finally:
        delete_store_file(partial_path)
    return position


async def install_rebuilt_store(config: Config, appdb: AppDb, clock: Clock, engines: Engines) -> None:
    """Replace the store by a rebuilt one, before the store is opened.

    Raises `Unavailable` where another process has one of them open.
    """
    rebuilt_path = rebuilt_store_path(config)
    if not rebuilt_path.exists():
        return
    old_quarantine, new_quarantine = (
        await _read_quarantined_seqs(config.store_file, engines),
        # One of which a part is readable now is sent, perhaps once more.
        await _read_quarantined_seqs(rebuilt_path, engines, without_records=True),
    )
    runs = group_consecutive(sorted(set(old_quarantine) - set(new_quarantine)))
    async with appdb.leases.turn(REPLAYS_TURN, clock):
        # After an error they stay held for a while, and are not held twice.
        await appdb.destinations.hold_replays(runs, now_us=clock.microseconds())
        await _retire_store(config, engines)
        replace_store_file(rebuilt_path, config.store_file)
        await appdb.destinations.release_replays([last_seq for _, last_seq in runs])


async def discard_absent_store(config: Config, appdb: AppDb, clock: Clock, engines: Engines) -> None:
    """Delete the store of a hub that was away for longer than others wait before they delete raw events: it may have
    calls whose deletion the ledger no longer has. It is then made anew. Before the store is opened; the store of a
    ledger in a file is never away, for nothing else deletes from it. Raises `Unavailable`.
    """
    if not config.ledger or not config.store_file.exists():
        return
    seen_at = await appdb.store_positions.seen_at(store_name(config))
    if seen_at is None or seen_at > clock.microseconds() - ABSENCE_MICROSECONDS:
        return
    logging.getLogger("rebuild").warning(
        "this hub was away for too long: its store is made anew",
        extra={"last_seen": to_datetime(seen_at).isoformat(timespec="seconds"), "days_max": ABSENCE_MAX.days},
    )
    delete_store_file(rebuilt_store_path(config))
    await _retire_store(config, engines)


def rebuilt_store_path(config: Config) -> Path:
    """Return the path of a rebuilt store that is not in use yet."""
    return config.store_file.with_name(config.store_file.name + ".rebuilt")


def delete_store(config: Config) -> None:
    """Delete the store, and a rebuilt one: the store is rebuilt from the ledger when it is opened."""
    delete_store_file(rebuilt_store_path(config))
    delete_store_file(config.store_file)


async def _project_ledger(
    config: Config, path: Path, on_progress: RebuildProgressCallback, engines: Engines, *, reads_again: bool
) -> tuple[int, Sequence[int]]:
    """Make a store; return its position, and the erasures that it never had the numbers of."""
    async with AsyncExitStack() as stack:
        appdb = await stack.enter_async_context(engines.open_appdb(config))
        ledger = engines.open_ledger(config)
        stack.push_async_callback(ledger.close)
        store = await engines.open_store(path)
        stack.push_async_callback(store.close)
        last_seq = await ledger.last_seq()
        erasure_seqs = [seq for seq, state in (await ledger.erasure_states()).items() if state == "rewritten"]
        clock = SystemClock()
        await FactsPublisher(ledger, AppDbPbxFacts(appdb), clock).publish()
        projector = Projector(ledger=ledger, store=store, dialects=dialects(), clock=clock)
        if reads_again:
            await projector.append(ReRead())
        position = await projector.catch_up(lambda position: on_progress(position, max(position, last_seq)))
        while await store.roll_up():
            pass
    if _wal_path(path).exists():
        raise Unavailable(
            _("the new store could not be completed"), location=str(path), hint=_("free disk space and try again")
        )
    return position, erasure_seqs


async def _finish_erasures(config: Config, engines: Engines, seqs: Sequence[int]) -> None:
    """Note that no part of the store has what these erased."""
    async with opened(config, engines.open_ledger) as ledger:
        await ledger.set_erasure_state(seqs, "finished")


async def _install_offline(config: Config, engines: Engines) -> None:
    async with engines.open_appdb(config) as appdb:
        await install_rebuilt_store(config, appdb, SystemClock(), engines)


async def _read_quarantined_seqs(path: Path, engines: Engines, *, without_records: bool = False) -> Sequence[int]:
    """Return the quarantined events; none where there is no store, or a damaged one."""
    try:
        return await engines.list_quarantined_seqs(path, without_records=without_records)
    except Unavailable:
        raise
    except OnhookError as error:
        log = logging.getLogger("rebuild")
        log.warning(
            "cannot read the quarantine of the old store: raw events that parse now are not sent",
            extra={"error": str(error), "hint": "`onhook destination replay` sends them"},
        )
        return []


async def _check_space(config: Config, engines: Engines) -> None:
    """Check that the new store fits beside the one in use. Raises `Unavailable`."""
    free_bytes = shutil.disk_usage(config.data).free
    needed_bytes = await _expected_size(config, engines) + RESERVE_BYTES
    if free_bytes < needed_bytes:
        raise Unavailable(
            _(
                "the disk has {free} MiB left, and the new store needs {needed} MiB beside the old one",
                free=free_bytes // MEBIBYTE,
                needed=-(-needed_bytes // MEBIBYTE),
            ),
            location=str(config.data),
            hint=_("free disk space; the store is not changed"),
        )


async def _expected_size(config: Config, engines: Engines) -> int:
    """Return the expected size of the new store: that of the old one, or a share of the ledger's where the old one is
    missing or cut off.
    """
    old_bytes = sum(path.stat().st_size for path in (config.store_file, _wal_path(config.store_file)) if path.exists())
    if not config.ledger:
        return max(old_bytes, round(config.ledger_file.stat().st_size * LEDGER_SHARE))
    async with opened(config, engines.open_ledger) as ledger:
        return max(old_bytes, await ledger.last_seq() * ENTRY_STORE_BYTES)


async def order_rebuild(config: Config, publisher: FactsPublisher, projector: Projector, engines: Engines) -> None:
    """Have all events read again by the facts of their PBXs as they are now, as `rebuild` with `reads_again`: each
    running hub then rebuilds its store beside the one in use. Raises `UsageError`, and `Unavailable` without space.
    """
    await _check_order(config, engines)
    await publisher.publish()
    await projector.append(ReRead())


async def _check_order(config: Config, engines: Engines) -> None:
    """Check that the store can be rebuilt now. Raises `UsageError`, and `Unavailable` without space."""
    await check_begin(config, engines)
    if is_locked(config.data / LOCK_NAME):
        raise _already_rebuilding_error(config)
    await _check_space(config, engines)


def _already_rebuilding_error(config: Config) -> UsageError:
    return UsageError(
        _("the store is already being rebuilt, or old calls are being deleted"),
        location=str(config.data),
        hint=_("wait until it is done"),
    )


async def check_begin(config: Config, engines: Engines) -> None:
    """Check that the store has no calls that the ledger lacks because it replaced a lost one. Raises `UsageError`."""
    after_seq = await read_begin(config, engines.open_ledger)
    if after_seq and config.store_file.exists() and not _retired_path(config).exists():
        raise UsageError(
            _("the ledger begins after event {number}: a new store would lack the calls before", number=after_seq),
            location=str(config.store_file),
            hint=_("to rebuild it without them, stop the server and move {name} away", name=config.store_file.name),
        )


async def _retire_store(config: Config, engines: Engines) -> None:
    """Delete the store; the first one with calls that the ledger lacks is renamed instead."""
    path, retired_path = config.store_file, _retired_path(config)
    if not await read_begin(config, engines.open_ledger) or retired_path.exists() or not path.exists():
        delete_store_file(path)
        return
    logging.getLogger("rebuild").warning(
        "the old store has calls from before the ledger, which the new one lacks: it was renamed",
        extra={"file": retired_path.name},
    )
    replace_store_file(path, retired_path)
    delete_store_file(path)


def _retired_path(config: Config) -> Path:
    return config.store_file.with_name(config.store_file.name + ".replaced")


def _partial_path(config: Config) -> Path:
    return config.store_file.with_name(config.store_file.name + ".part")


def _wal_path(path: Path) -> Path:
    """Return the path of DuckDB's write-ahead log; that of another file must never be read."""
    return path.with_name(path.name + ".wal")


def replace_store_file(path: Path, target: Path) -> None:
    """Replace a store by another one, which is closed. Raises `Unavailable`."""
    with _translate_errors(target):
        path.replace(target)


def delete_store_file(path: Path) -> None:
    """Delete a store that is closed, its write-ahead log and its marks: a new file of this name has neither. Raises
    `Unavailable`.
    """
    with _translate_errors(path):
        path.unlink(missing_ok=True)
        _wal_path(path).unlink(missing_ok=True)
        for suffix in (".damaged", ".opening"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(
            _("cannot replace the store: {error}", error=error.strerror or error),
            location=str(path),
            hint=_("check the disk and the permissions"),
        ) from error
