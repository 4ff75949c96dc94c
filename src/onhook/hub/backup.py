"""Copies of the two files that cannot be made again: the ledger and the settings."""

from datetime import datetime
from pathlib import Path

import msgspec

from onhook.clock import Clock
from onhook.config import DATA_DIRECTORY_MODE, SECRET_FILE_MODE, Config
from onhook.errors import NotFound, OnhookError, Unavailable, UsageError
from onhook.hub.rebuild import drop_store
from onhook.hub.running import only_server, prepare_directory
from onhook.settings.database import copy_database, what_ails

LABEL_NAME = "backup.json"
"""Written last: a directory without it is no whole backup."""


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup says of itself."""

    made_at: datetime
    files: tuple[str, ...]


def back_up(config: Config, target: Path, clock: Clock) -> Label:
    """Copy the files to a directory, each as of one moment, also while a server runs; secrets are inside.

    The settings first: whatever the ledger then has of a PBX, the PBX is in the settings, or was removed.
    Raises `OnhookError`.
    """
    sources = [path for path in _precious(config) if path.exists()]
    if not config.ledger_file.exists():
        raise NotFound(
            "there is nothing to back up", where=str(config.data), todo="name the data directory with --data"
        )
    if (target / LABEL_NAME).exists():
        raise UsageError("there is a backup already", where=str(target), todo="choose another directory")
    label = Label(made_at=clock.now(), files=tuple(path.name for path in sources))
    try:
        target.mkdir(mode=DATA_DIRECTORY_MODE, parents=True, exist_ok=True)
        for path in sources:
            copy_database(path, target / path.name)
        written = target / LABEL_NAME
        written.touch(SECRET_FILE_MODE)
        written.write_bytes(msgspec.json.encode(label) + b"\n")
    except OSError as error:
        raise Unavailable(f"cannot write the backup: {error.strerror or error}", where=str(target)) from error
    return label


def restore(config: Config, source: Path, *, replace: bool) -> Label:
    """Put a backup's files into the data directory; the store is then made again from the ledger when it is opened.

    Raises `UsageError` where a server runs or something would be lost that nobody said to replace.
    """
    label = _read_label(source)
    prepare_directory(config)
    with only_server(config):
        there = [path.name for path in _precious(config) if path.exists()]
        if there and not replace:
            raise UsageError(
                f"there is {' and '.join(there)} already",
                where=str(config.data),
                todo="choose another directory with --data, or say --replace",
            )
        drop_store(config)
        for path in _precious(config):
            _put_back(source / path.name, path, is_there=path.name in label.files)
    return label


def _precious(config: Config) -> tuple[Path, Path]:
    return config.settings_file, config.ledger_file


def _read_label(source: Path) -> Label:
    try:
        label = msgspec.json.decode((source / LABEL_NAME).read_bytes(), type=Label)
    except (OSError, msgspec.DecodeError) as error:
        raise NotFound(
            "there is no whole backup", where=str(source), todo="name a directory that `onhook backup` made"
        ) from error
    for name in label.files:
        ailment = what_ails(source / name)
        if ailment:
            raise OnhookError(f"the backup is damaged: {ailment}", where=str(source / name), todo="use another one")
    return label


def _put_back(source: Path, path: Path, *, is_there: bool) -> None:
    # The log of the old file must not be read as that of the new one.
    for leftover in (path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
        leftover.unlink(missing_ok=True)
    if is_there:
        copy_database(source, path)
