"""Copies of the store of a hub, with which a new hub begins instead of reading the whole ledger.

Invariants: a copy is whole, and was made from this ledger: that is checked when it is made and when it is used. While a
copy may be used, raw events are deleted behind it, as behind the store of a hub: else calls that were deleted meanwhile
would be in the new store.
"""

import asyncio
import hashlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.config import DATA_DIRECTORY_MODE, SECRET_FILE_MODE, Config
from onhook.ledger.contract import Ledger
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound, OnhookError, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.ops.cluster_ledger import open_checked_ledger
from onhook.ops.engines import Engines, store_copy_error
from onhook.ops.event_deletion import store_name
from onhook.ops.instance_lock import check_data_directory, instance_lock, prepare_directory
from onhook.ops.rebuild import delete_store, delete_store_file, replace_store_file
from onhook.projector.ledger_check import check_ledger
from onhook.store.contract import StoreUnusable

VALID_PERIOD = timedelta(days=1)
"""For so long raw events, also of erased numbers, wait for a copy."""

ATTEMPTS_MAX = 5
"""Attempts to copy between two checkpoints of the hub."""

STORE_NAME = "calls.duckdb"
MANIFEST_NAME = "store.json"
"""Written last: a directory without it is no complete copy."""

VERSION = 1
COPY_ID_BYTES = 8
CHUNK_BYTES = 4 * 2**20


class StoreManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a copy: of which ledger and up to which entry, and until when it may be used."""

    version: int
    copy_id: str
    node: str
    ledger: str
    position: int
    sha256: str
    made_at: datetime
    valid_until: datetime


class LoadedStore(msgspec.Struct, frozen=True, kw_only=True):
    """The copy that is the store now, and how many entries of the ledger it lacks."""

    manifest: StoreManifest
    lag: int


async def save_store(config: Config, target: Path, engines: Engines, clock: Clock) -> StoreManifest:
    """Copy the store of this machine to a new directory, also while its hub runs, and verify the copy; it may be used
    for `VALID_PERIOD`. It has the numbers of callers, and is readable for its owner alone.

    Raises `UsageError` without the setting `ledger` and for a directory that is there, `NotFound` without a store, and
    else `OnhookError`; then nothing of the copy is left.
    """
    _check_setting(config)
    check_data_directory(config)
    if not config.store_file.exists():
        raise NotFound(
            _("there is no store to copy"), location=str(config.data), hint=_("name the data directory of a hub")
        )
    async with _open_shared(config, engines) as (appdb, ledger):
        _create_directory(target)
        copy_id = secrets.token_hex(COPY_ID_BYTES)
        try:
            # Before the copy is made: it is never behind what the hub has reported.
            reported = (await appdb.store_positions.all()).get(store_name(config), 0)
            await appdb.store_positions.hold_copy(copy_id, reported, VALID_PERIOD, now_us=clock.microseconds())
            manifest = await _make_copy(config, target, copy_id, ledger=ledger, engines=engines, clock=clock)
            held_us = clock.microseconds()
            await appdb.store_positions.hold_copy(copy_id, manifest.position, VALID_PERIOD, now_us=held_us)
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            with suppress(OnhookError):  # it runs out by itself
                await appdb.store_positions.release_copy(copy_id)
            raise
    return manifest


async def load_store(
    config: Config, source: Path, engines: Engines, clock: Clock, *, replace: bool = False
) -> LoadedStore:
    """Make a copy the store of this machine, whose hub then reads what the ledger has after it. Nothing is changed
    before the copy is verified.

    Raises `UsageError` without the setting `ledger`, where a server runs, where there is a store and `replace` is not
    set, and for a copy of another ledger or one that may no longer be used, else `OnhookError`.
    """
    _check_setting(config)
    manifest = await asyncio.to_thread(_read_manifest, source / MANIFEST_NAME)
    prepare_directory(config)
    if config.store_file.exists() and not replace:
        raise UsageError(
            _("this machine has a store already"), location=str(config.store_file), hint=_("add --replace")
        )
    partial_path = config.store_file.with_name(config.store_file.name + ".loaded")
    with instance_lock(config):
        async with _open_shared(config, engines) as (appdb, ledger):
            await _check_usable(source, manifest, appdb, ledger, clock)
            try:
                await asyncio.to_thread(delete_store_file, partial_path)
                await asyncio.to_thread(_copy_verified, source / STORE_NAME, partial_path, manifest.sha256)
                await _verify(partial_path, ledger, engines)
                # Before the store is there: raw events are deleted behind it from now on.
                now_us = clock.microseconds()
                await appdb.store_positions.report(store_name(config), manifest.position, now_us=now_us)
                delete_store(config)
                replace_store_file(partial_path, config.store_file)
            finally:
                delete_store_file(partial_path)
            return LoadedStore(manifest=manifest, lag=await ledger.last_seq() - manifest.position)


@asynccontextmanager
async def _open_shared(config: Config, engines: Engines) -> AsyncIterator[tuple[AppDb, Ledger]]:
    async with engines.open_appdb(config) as appdb:
        ledger = await open_checked_ledger(config, appdb, engines)
        try:
            yield appdb, ledger
        finally:
            await ledger.close()


def _check_setting(config: Config) -> None:
    if not config.ledger:
        raise UsageError(
            _("the setting `ledger` names no ledger on NATS: there is one hub, and its store is made from its ledger"),
            hint=_("`onhook backup` copies what cannot be made anew"),
        )


def _create_directory(target: Path) -> None:
    try:
        target.mkdir(mode=DATA_DIRECTORY_MODE, parents=True)
    except FileExistsError as error:
        raise UsageError(
            _("this directory is there already"), location=str(target), hint=_("choose another name")
        ) from error
    except OSError as error:
        raise store_copy_error(target, error) from error


async def _make_copy(
    config: Config, target: Path, copy_id: str, *, ledger: Ledger, engines: Engines, clock: Clock
) -> StoreManifest:
    now, path = clock.now(), target / STORE_NAME
    position = await _copy_store(config.store_file, path, ledger, engines)
    manifest = StoreManifest(
        version=VERSION,
        copy_id=copy_id,
        node=config.node_name,
        ledger=await ledger.identity(),
        position=position,
        sha256=await asyncio.to_thread(_hash_file, path),
        made_at=now,
        valid_until=now + VALID_PERIOD,
    )
    await asyncio.to_thread(_write_manifest, target / MANIFEST_NAME, manifest)
    return manifest


async def _copy_store(source: Path, target: Path, ledger: Ledger, engines: Engines) -> int:
    """Copy a store that may be written meanwhile; return the position of the copy, which was verified."""
    for _attempt in range(ATTEMPTS_MAX):
        # With the mark of an attempt whose copy was damaged.
        await asyncio.to_thread(delete_store_file, target)
        if not await engines.copy_store(source, target):
            continue  # a checkpoint came in between
        try:
            return await _verify(target, ledger, engines)
        except StoreUnusable:
            continue  # it was replaced or written while it was copied
    raise Unavailable(
        _("the store is being written too fast to be copied, or it is damaged"),
        location=str(source),
        hint=_("try again in a minute; `onhook doctor` says whether it is damaged"),
    )


async def _verify(path: Path, ledger: Ledger, engines: Engines) -> int:
    """Open a copy, check that it was made from this ledger, and return its position; on return all of it is in one
    file. Raises `OnhookError`.
    """
    store = await engines.open_store(path)
    try:
        await check_ledger(ledger, store)
        return await store.position()
    finally:
        await store.close()


async def _check_usable(source: Path, manifest: StoreManifest, appdb: AppDb, ledger: Ledger, clock: Clock) -> None:
    hint = _("make one with `onhook cluster save-store` on a hub of this installation")
    if manifest.ledger != await ledger.identity():
        raise UsageError(_("the copy was made from another ledger"), location=str(source), hint=hint)
    if not await appdb.store_positions.is_copy_held(manifest.copy_id, now_us=clock.microseconds()):
        raise UsageError(
            _("the copy is too old: calls may have been deleted that it has, and nothing says so any more"),
            location=str(source),
            hint=hint,
        )


def _copy_verified(source: Path, target: Path, sha256: str) -> None:
    """Copy a file. Raises `UsageError` where it is another one, `Unavailable`."""
    digest = hashlib.sha256()
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_FILE_MODE)
        with os.fdopen(descriptor, "wb") as target_file, source.open("rb") as source_file:
            while chunk := source_file.read(CHUNK_BYTES):
                digest.update(chunk)
                target_file.write(chunk)
            target_file.flush()
            os.fsync(target_file.fileno())
    except OSError as error:
        raise store_copy_error(source, error) from error
    if digest.hexdigest() != sha256:
        raise UsageError(
            _("the copy is damaged: it has another checksum"), location=str(source), hint=_("copy the directory again")
        )


def _hash_file(path: Path) -> str:
    """Return the checksum of a file, in hexadecimal digits. Raises `Unavailable`."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise store_copy_error(path, error) from error


def _write_manifest(path: Path, manifest: StoreManifest) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_FILE_MODE), "wb") as file:
            file.write(msgspec.json.encode(manifest))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise store_copy_error(path, error) from error


def _read_manifest(path: Path) -> StoreManifest:
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=StoreManifest)
    except (OSError, ValueError) as error:
        raise UsageError(
            _("this is no complete copy of a store: {error}", error=error),
            location=str(path.parent),
            hint=_("name the directory that `onhook cluster save-store` wrote"),
        ) from error
    if manifest.version != VERSION:
        raise UsageError(
            _("another version of Onhook wrote this copy"),
            location=str(path.parent),
            hint=_("use the same version on both machines"),
        )
    return manifest
