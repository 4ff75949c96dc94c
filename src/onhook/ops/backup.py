"""Backups of the two files that cannot be rebuilt: the ledger and the application database."""

import contextlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from onhook.appdb.sqlite_file import (
    check_integrity,
    copy_database,
    discard_pending_mails,
    end_sign_ins,
    has_pbxs,
)
from onhook.config import DATA_DIRECTORY_MODE, SECRET_FILE_MODE, Config
from onhook.ledger.sqlite_schema import has_raw_events
from onhook.lib.clock import Clock, SystemClock
from onhook.lib.errors import NotFound, OnhookError, Unavailable, UsageError
from onhook.lib.messages import _
from onhook.ops.erasure_list import LIST_NAME, check_lists, collect_entries, restore_entries, write_list
from onhook.ops.instance_lock import check_data_directory, exclusive_intake_lock, instance_lock, prepare_directory
from onhook.ops.rebuild import delete_store

MANIFEST_NAME = "backup.json"
"""Written last: a directory without it is not a complete backup."""


class BackupManifest(msgspec.Struct, frozen=True, kw_only=True):
    """Description of a backup."""

    made_at: datetime
    files: tuple[str, ...]


class RestoreResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was restored, and of how many calls a number is erased again that was erased after the backup."""

    manifest: BackupManifest
    erased_call_count: int


def create_backup(config: Config, target: Path, clock: Clock, *, without_settings: bool = False) -> BackupManifest:
    """Copy the files to a new directory, each consistently, also while a server runs; secrets are included, mails that
    wait to be sent are not.

    The application database is copied first: every PBX of the ledger is in it, or was removed. Raises `UsageError` for
    a directory that is in use or inside the data directory, and else `OnhookError`, as where the settings are lost and
    `without_settings` is not set; then nothing of the backup is left.
    """
    check_data_directory(config)
    if config.ledger:
        raise UsageError(
            _("the ledger is on NATS and the application database on PostgreSQL: no file here has no other copy"),
            location="ledger",
            hint=_("back both up there: `pg_dump` first, then `nats stream backup` of both streams"),
        )
    _check_target(config, target)
    if not config.ledger_file.exists():
        raise NotFound(
            _("there is nothing to back up"), location=str(config.data), hint=_("name the data directory with --data")
        )
    if not without_settings:
        _check_settings(config)
    sources = [path for path in _backed_up_files(config) if path.exists()]
    manifest = BackupManifest(made_at=clock.now(), files=tuple(path.name for path in sources))
    is_new = not target.exists()
    try:
        target.mkdir(mode=DATA_DIRECTORY_MODE, parents=True, exist_ok=True)
        for path in sources:
            copy_database(path, target / path.name)
        if config.appdb_file.name in manifest.files:
            _discard_mails(target / config.appdb_file.name, clock.microseconds())
        write_list(target, collect_entries(config.data, config.ledger_file, ()))
        _write_manifest(target, manifest)
    except BaseException as error:
        _remove_partial_backup(target, manifest, is_new=is_new)
        if isinstance(error, OSError):
            raise Unavailable(
                _("cannot write the backup: {reason}", reason=error.strerror or error), location=str(target)
            ) from error
        raise
    return manifest


def restore(config: Config, source: Path, *, replace: bool, erasure_lists: Sequence[Path] = ()) -> RestoreResult:
    """Copy a backup's files to the data directory; the store is then rebuilt from the ledger when it is opened. What
    was erased after the backup is entered in the ledger again, by the data directory and by further lists of erasures.

    Existing files are replaced only when all new ones are beside them, complete. Sessions and tokens of apps end: they
    may have been ended since the backup. Mails that were pending are discarded: the server that was backed up sends
    them. Raises `UsageError` where a server or an intake runs or where files exist and `replace` is not set,
    `OnhookError` where the backup cannot be copied.
    """
    if config.ledger:
        raise UsageError(
            _("the ledger is on NATS: a backup with a file of it is not restored beside it"),
            location="ledger",
            hint=_(
                "restore without the settings to a new directory, then `onhook cluster move-appdb` and `move-ledger`"
            ),
        )
    _check_source(config, source)
    manifest = _read_manifest(config, source)
    if config.appdb and config.appdb_file.name in manifest.files:
        raise UsageError(
            _("the backup has an application database, and the setting `appdb` names another one"),
            location=str(source),
            hint=_("restore without the setting to a new directory, then `onhook cluster move-appdb`"),
        )
    check_lists(erasure_lists)
    prepare_directory(config)
    with instance_lock(config), exclusive_intake_lock(config):
        existing_files = [path.name for path in _backed_up_files(config) if path.exists()]
        if existing_files and not replace:
            raise UsageError(
                _("{existing_files} already exist", existing_files=" and ".join(existing_files)),
                location=str(config.data),
                hint=_("choose another directory with --data, or add --replace"),
            )
        copies = {
            path.name: _with_suffix(path, ".restored")
            for path in _backed_up_files(config)
            if path.name in manifest.files
        }
        entries = collect_entries(config.data, config.ledger_file, (source / LIST_NAME, *erasure_lists))
        now_us = SystemClock().microseconds()
        try:
            for name, copy in copies.items():
                copy_database(source / name, copy)
                _check_integrity(copy)
            if config.appdb_file.name in copies:
                end_sign_ins(copies[config.appdb_file.name])
                _discard_mails(copies[config.appdb_file.name], now_us)
            erased_call_count = restore_entries(copies[config.ledger_file.name], entries, now_us)
            # The store first: a store of another ledger must never be read with this one.
            delete_store(config)
            _swap_files(config, tuple(copies.values()))
        except OSError as error:
            raise Unavailable(
                _("cannot restore: {reason}", reason=error.strerror or error), location=str(config.data)
            ) from error
        finally:
            for copy in copies.values():
                for suffix in ("", "-wal", "-shm"):
                    _with_suffix(copy, suffix).unlink(missing_ok=True)
        write_list(config.data, entries)
    return RestoreResult(manifest=manifest, erased_call_count=erased_call_count)


def _discard_mails(appdb_copy: Path, now_us: int) -> None:
    discard_pending_mails(appdb_copy, _("not sent: it was pending in a backup"), now_us)


def _check_settings(config: Config) -> None:
    """Check that the settings are not lost: regular backups without them would replace those with them. Raises
    `OnhookError`.
    """
    if config.appdb or has_pbxs(config.appdb_file) or not has_raw_events(config.ledger_file):
        return
    name = config.appdb_file.name
    is_missing = not config.appdb_file.exists()
    raise OnhookError(
        _("{name} is missing: a backup would not have the settings", name=name)
        if is_missing
        else _("no PBX is registered in {name}: a backup would not have the settings", name=name),
        location=str(config.data),
        hint=_(
            "restore a backup with `onhook restore`, or add the PBXs again with `onhook pbx add`; for a backup of what"
            " there is use --without-settings"
        ),
    )


def _check_target(config: Config, target: Path) -> None:
    """Check that the target is empty and outside of the data directory."""
    data, target_path = _resolve(config.data), _resolve(target)
    if target_path == data or data in target_path.parents:
        raise UsageError(
            _("a backup cannot be in the data directory itself"),
            location=str(target),
            hint=_("choose another directory"),
        )
    try:
        is_free = not target.exists() or not any(target.iterdir())
    except NotADirectoryError:
        raise UsageError(_("a file has this name"), location=str(target), hint=_("choose another directory")) from None
    except OSError as error:
        raise UsageError(
            _("cannot use this directory: {reason}", reason=error.strerror),
            location=str(target),
            hint=_("choose another directory"),
        ) from error
    if not is_free:
        has_backup = (target / MANIFEST_NAME).exists()
        message = _("it already contains a backup") if has_backup else _("the directory is not empty")
        raise UsageError(message, location=str(target), hint=_("choose another directory"))


def _check_source(config: Config, source: Path) -> None:
    """Check that the source is not the data directory."""
    path_pairs = [(source, config.data), *((source / path.name, path) for path in _backed_up_files(config))]
    if any(_resolve(source_path) == _resolve(live_path) for source_path, live_path in path_pairs):
        raise UsageError(
            _("the data directory cannot be restored from itself"),
            location=str(source),
            hint=_("name a directory that `onhook backup` wrote"),
        )


def _resolve(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a link that leads to itself
        raise UsageError(
            _("cannot follow this path: {error}", error=error), location=str(path), hint=_("choose another directory")
        ) from error


def _write_manifest(target: Path, manifest: BackupManifest) -> None:
    partial_path = _with_suffix(target / MANIFEST_NAME, ".part")
    partial_path.touch(SECRET_FILE_MODE)
    with partial_path.open("wb") as file:
        file.write(msgspec.json.encode(manifest) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    partial_path.replace(target / MANIFEST_NAME)


def _remove_partial_backup(target: Path, manifest: BackupManifest, *, is_new: bool) -> None:
    """Remove an incomplete backup: the directory was empty, so all of these files are its own."""
    for name in (MANIFEST_NAME, f"{MANIFEST_NAME}.part", LIST_NAME, f"{LIST_NAME}.part", *manifest.files):
        with contextlib.suppress(OSError):
            (target / name).unlink(missing_ok=True)
    if is_new:
        with contextlib.suppress(OSError):
            target.rmdir()


def _backed_up_files(config: Config) -> tuple[Path, ...]:
    """Return the files that have no other copy; an application database on a server is backed up there."""
    return (config.ledger_file,) if config.appdb else (config.appdb_file, config.ledger_file)


def _read_manifest(config: Config, source: Path) -> BackupManifest:
    try:
        manifest = msgspec.json.decode((source / MANIFEST_NAME).read_bytes(), type=BackupManifest)
    except (OSError, msgspec.DecodeError) as error:
        raise NotFound(
            _("this is not a complete backup"),
            location=str(source),
            hint=_("name a directory that `onhook backup` wrote"),
        ) from error
    if config.ledger_file.name not in manifest.files:
        raise NotFound(_("the backup has no ledger"), location=str(source), hint=_("use another backup"))
    for name in manifest.files:
        _check_integrity(source / name)
    return manifest


def _check_integrity(path: Path) -> None:
    damage = check_integrity(path)
    if damage:
        raise OnhookError(
            _("the backup is damaged: {damage}", damage=damage), location=str(path), hint=_("use another backup")
        )


def _swap_files(config: Config, copies: Sequence[Path]) -> None:
    """Replace the files by the copies: renames only, which are undone when one fails.

    The write-ahead log of an old file is removed with it: it must never be read as that of the new one.
    """
    old_paths = [_with_suffix(path, suffix) for path in _backed_up_files(config) for suffix in ("", "-wal", "-shm")]
    moved_paths: list[Path] = []
    installed_paths: list[Path] = []
    try:
        for path in old_paths:
            if path.exists():
                path.replace(_with_suffix(path, ".replaced"))
                moved_paths.append(path)
        for copy in copies:
            path = copy.with_name(copy.name.removesuffix(".restored"))
            copy.replace(path)
            installed_paths.append(path)
    except BaseException:
        for path in installed_paths:
            path.unlink(missing_ok=True)
        for path in moved_paths:
            _with_suffix(path, ".replaced").replace(path)
        raise
    for path in moved_paths:
        _with_suffix(path, ".replaced").unlink(missing_ok=True)


def _with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
