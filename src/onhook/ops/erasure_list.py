"""The list of erasures, in the data directory and in each backup: a backup of before an erasure has the number again,
and what restores it erases it again. The list does not say which numbers they were.

Invariants: the list has what the ledger has, and is replaced as a whole. An entry is restored once.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from onhook.config import SECRET_FILE_MODE
from onhook.ledger.control_entries import Erased, encode_control
from onhook.ledger.erasures import append_missing, read_entries
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _

LIST_NAME = "erasures.jsonl"

_DECODER = msgspec.json.Decoder(Erased)


def write_list(directory: Path, entries: Sequence[Erased]) -> None:
    """Replace the list in a directory: one entry a line, and no file without any. Raises `Unavailable`."""
    if not entries and not (directory / LIST_NAME).exists():
        return
    try:
        _replace_list(directory / LIST_NAME, entries)
    except OSError as error:
        raise Unavailable(
            _("cannot write the list of erasures: {error}", error=error.strerror),
            location=str(directory / LIST_NAME),
            hint=_("check the disk and the permissions"),
        ) from error


def _replace_list(path: Path, entries: Sequence[Erased]) -> None:
    partial_path = path.with_name(path.name + ".part")
    partial_path.touch(SECRET_FILE_MODE)
    with partial_path.open("wb") as file:
        file.writelines(encode_control(entry) + b"\n" for entry in entries)
        file.flush()
        os.fsync(file.fileno())
    partial_path.replace(path)


def read_list(path: Path) -> list[Erased]:
    """Return the entries of a list; none where there is no such file. Raises `UsageError` for another file."""
    try:
        lines = path.read_bytes().splitlines() if path.exists() else []
        return [_DECODER.decode(line) for line in lines if line.strip()]
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            _("this is not a list of erasures: {error}", error=error),
            location=str(path),
            hint=_("name the file {name} of a data directory or of a backup", name=LIST_NAME),
        ) from error


def check_lists(paths: Iterable[Path]) -> None:
    """Check that each of these lists is there and can be read. Raises `UsageError`."""
    for path in paths:
        if not path.exists():
            raise UsageError(
                _("there is no list of erasures"),
                location=str(path),
                hint=_("name the file {name} of a data directory or of a backup", name=LIST_NAME),
            )
        read_list(path)


def collect_entries(data: Path, ledger_file: Path, paths: Iterable[Path]) -> list[Erased]:
    """Return the erasures that are known in a data directory, of the ledger that is there and of its list, and those of
    further lists, each once. Raises `UsageError`.
    """
    entries = {entry.erasure_id: entry for path in (data / LIST_NAME, *paths) for entry in read_list(path)}
    entries |= {entry.erasure_id: entry for entry in read_entries(ledger_file)}
    return list(entries.values())


def restore_entries(ledger_file: Path, entries: Sequence[Erased], now_us: int) -> int:
    """Append to a restored ledger the erasures that it lacks; return of how many calls. `now_us` is in microseconds
    since 1970, UTC. Raises `OnhookError`.
    """
    if not entries:
        return 0
    return sum(len(entry.calls) for entry in append_missing(ledger_file, entries, now_us))
