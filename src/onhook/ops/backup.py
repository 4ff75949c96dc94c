"""Copies of the two files that cannot be made again: the ledger and the settings."""

import contextlib
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import msgspec

from onhook.appdb.sqlite import check_integrity, copy_database
from onhook.config import DATA_DIRECTORY_MODE, SECRET_FILE_MODE, Config
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound, OnhookError, Unavailable, UsageError
from onhook.ops.instance_lock import check_rights, nobody_receiving, only_server, prepare_directory
from onhook.ops.rebuild import drop_store

LABEL_NAME = "backup.json"
"""Written last: a directory without it is no whole backup."""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself."""

    made_at: datetime
    files: tuple[str, ...]


def back_up(config: Config, target: Path, clock: Clock) -> Label:
    """Copy the files to a new directory, each as of one moment, also while a server runs; secrets are inside.

    The settings first: whatever the ledger then has of a PBX, the PBX is in the settings, or was removed.
    Raises `UsageError` for a directory that is in use or inside the data directory, and else `OnhookError`; then
    nothing of the backup is left.
    """
    check_rights(config)
    _check_target(config, target)
    if not config.ledger_file.exists():
        raise NotFound(
            "there is nothing to back up", where=str(config.data), todo="name the data directory with --data"
        )
    sources = [path for path in _precious(config) if path.exists()]
    label = Label(made_at=clock.now(), files=tuple(path.name for path in sources))
    is_new = not target.exists()
    try:
        target.mkdir(mode=DATA_DIRECTORY_MODE, parents=True, exist_ok=True)
        for path in sources:
            copy_database(path, target / path.name)
        _write_label(target, label)
    except BaseException as error:
        _undo(target, label, is_new=is_new)
        if isinstance(error, OSError):
            raise Unavailable(f"cannot write the backup: {error.strerror or error}", where=str(target)) from error
        raise
    return label


def restore(config: Config, source: Path, *, replace: bool) -> Label:
    """Put a backup's files into the data directory; the store is then made again from the ledger when it is opened.

    What is there is replaced only when all that shall take its place lies beside it, whole. Raises `UsageError` where
    a server or an intake runs or something would be lost that nobody said to replace, `OnhookError` where it cannot be
    copied.
    """
    _check_source(config, source)
    label = _read_label(config, source)
    prepare_directory(config)
    with only_server(config), nobody_receiving(config):
        there = [path.name for path in _precious(config) if path.exists()]
        if there and not replace:
            raise UsageError(
                f"there is {' and '.join(there)} already",
                where=str(config.data),
                todo="choose another directory with --data, or say --replace",
            )
        copies = {path.name: _beside(path, ".restored") for path in _precious(config) if path.name in label.files}
        try:
            for name, copy in copies.items():
                copy_database(source / name, copy)
                _check_sound(copy)
            # The store first: one that stands for another ledger must never be read with this one.
            drop_store(config)
            _change_over(config, tuple(copies.values()))
        except OSError as error:
            raise Unavailable(f"cannot restore: {error.strerror or error}", where=str(config.data)) from error
        finally:
            for copy in copies.values():
                copy.unlink(missing_ok=True)
    return label


def _check_target(config: Config, target: Path) -> None:
    """A backup goes where nothing is, and never among the live files."""
    data, wanted = _resolved(config.data), _resolved(target)
    if wanted == data or data in wanted.parents:
        raise UsageError(
            "a backup does not go into the data directory itself", where=str(target), todo="choose another directory"
        )
    try:
        is_free = not target.exists() or not any(target.iterdir())
    except NotADirectoryError:
        raise UsageError("there is a file of that name", where=str(target), todo="choose another directory") from None
    except OSError as error:
        raise UsageError(
            f"cannot use that directory: {error.strerror}", where=str(target), todo="choose another directory"
        ) from error
    if not is_free:
        what = "there is a backup already" if (target / LABEL_NAME).exists() else "the directory is not empty"
        raise UsageError(what, where=str(target), todo="choose another directory")


def _check_source(config: Config, source: Path) -> None:
    """What is restored must not be what is replaced."""
    places = [(source, config.data), *((source / path.name, path) for path in _precious(config))]
    if any(_resolved(one) == _resolved(other) for one, other in places):
        raise UsageError(
            "the data directory cannot be restored from itself",
            where=str(source),
            todo="name a directory that `onhook backup` made",
        )


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:  # a link that leads to itself
        raise UsageError(f"cannot follow that path: {error}", where=str(path), todo="choose another") from error


def _write_label(target: Path, label: Label) -> None:
    part = _beside(target / LABEL_NAME, ".part")
    part.touch(SECRET_FILE_MODE)
    with part.open("wb") as written:
        written.write(msgspec.json.encode(label) + b"\n")
        written.flush()
        os.fsync(written.fileno())
    part.replace(target / LABEL_NAME)


def _undo(target: Path, label: Label, *, is_new: bool) -> None:
    """Take away what was begun: the directory was empty, so all of these names are ours."""
    for name in (LABEL_NAME, f"{LABEL_NAME}.part", *label.files):
        with contextlib.suppress(OSError):
            (target / name).unlink(missing_ok=True)
    if is_new:
        with contextlib.suppress(OSError):
            target.rmdir()


def _precious(config: Config) -> tuple[Path, Path]:
    return config.settings_file, config.ledger_file


def _read_label(config: Config, source: Path) -> Label:
    try:
        label = msgspec.json.decode((source / LABEL_NAME).read_bytes(), type=Label)
    except (OSError, msgspec.DecodeError) as error:
        raise NotFound(
            "there is no whole backup", where=str(source), todo="name a directory that `onhook backup` made"
        ) from error
    if config.ledger_file.name not in label.files:
        raise NotFound("there is no ledger in that backup", where=str(source), todo="use another one")
    for name in label.files:
        _check_sound(source / name)
    return label


def _check_sound(path: Path) -> None:
    ailment = check_integrity(path)
    if ailment:
        raise OnhookError(f"the backup is damaged: {ailment}", where=str(path), todo="use another one")


def _change_over(config: Config, copies: Sequence[Path]) -> None:
    """Put the copies in the place of what is there; only renames, which are taken back when one fails.

    The log of an old file goes with it: it must never be read as that of the new one.
    """
    old = [_beside(path, ending) for path in _precious(config) for ending in ("", "-wal", "-shm")]
    put_aside: list[Path] = []
    placed: list[Path] = []
    try:
        for path in old:
            if path.exists():
                path.replace(_beside(path, ".replaced"))
                put_aside.append(path)
        for copy in copies:
            path = copy.with_name(copy.name.removesuffix(".restored"))
            copy.replace(path)
            placed.append(path)
    except BaseException:
        for path in placed:
            path.unlink(missing_ok=True)
        for path in put_aside:
            _beside(path, ".replaced").replace(path)
        raise
    for path in put_aside:
        _beside(path, ".replaced").unlink(missing_ok=True)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
