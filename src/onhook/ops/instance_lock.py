"""One server per data directory, and how others find it: a lock, and `running.json` with its addresses."""

import asyncio
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from onhook.config import DATA_DIRECTORY_MODE, SECRET_FILE_MODE, Config
from onhook.lib.errors import NotFound, Unavailable, UsageError

LOCK_NAME = "serve.lock"

INTAKE_LOCK_NAME = "intake.lock"
"""Shared by intakes, one of which may run alone beside a server; whoever replaces the ledger has it for itself."""

LOCK_ATTEMPTS_MAX = 10
LOCK_RETRY_SECONDS = 0.02
"""Together a fifth of a second: a look takes microseconds, a person does not notice."""

RENAMED_FILES = (("exchange.key", "pbx_api.key"), ("exchange.crt", "pbx_api.crt"))
"""Old and new names of the PBX API's own certificate: apps pin it, so it must outlive an upgrade."""

POLL_SECONDS = 1.0
"""Between two looks whether the files are there; the ledger looks at each commit, before anybody is told of it."""


class ProcessInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One of the server's processes: its id, and where it listens (`HOST:PORT`, or empty)."""

    pid: int
    address: str


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A running server. A part that is missing is being started again."""

    pid: int
    intake: ProcessInfo | None = None
    hub: ProcessInfo | None = None
    demo: ProcessInfo | None = None
    pbx_api: ProcessInfo | None = None
    """The hub's way for applications; not there while no application has credentials."""


def prepare_directory(config: Config) -> None:
    """Make the data directory, for its owner alone. Raises `UsageError` where it cannot be used."""
    check_data_directory(config)
    try:
        config.data.mkdir(mode=DATA_DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable_error(config, error.strerror or str(error)) from error
    rename_old_files(config)


def rename_old_files(config: Config) -> None:
    """Give files that an older version left in the data directory their names of today. Raises `UsageError`.

    A file that a setting names stays where the setting says.
    """
    if config.pbx_api_certificate:
        return
    for old_name, new_name in RENAMED_FILES:
        old_path, new_path = config.data / old_name, config.data / new_name
        try:
            if old_path.exists() and not new_path.exists():
                old_path.replace(new_path)
        except FileNotFoundError:
            continue  # another process has just done it
        except OSError as error:
            raise _unusable_error(config, error.strerror or str(error)) from error


def check_data_directory(config: Config) -> None:
    """See that the data directory may be used, if it is there. Raises `UsageError`."""
    check_is_directory(config)
    try:
        is_usable = not config.data.exists() or os.access(config.data, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise _unusable_error(config, error.strerror or str(error)) from error
    if not is_usable:
        raise _unusable_error(config, "you may not read and write there")


def check_is_directory(config: Config) -> None:
    """See that no file has the name of the data directory, or of a directory above it. Raises `UsageError`."""
    try:
        mode = config.data.stat().st_mode
    except NotADirectoryError:
        mode = 0
    except OSError:
        # It is not there yet, or not for us to see: whoever opens it says so.
        return
    if not stat.S_ISDIR(mode):
        raise UsageError(
            "the data directory is no directory", location=str(config.data), hint="name another with --data"
        )


def no_data_error(config: Config) -> NotFound:
    """What commands say that only read, where nothing is to be read."""
    return NotFound(
        "nothing has been kept here yet",
        location=str(config.data),
        hint="start with `onhook serve`, or name the data directory with --data",
    )


def _unusable_error(config: Config, reason: str) -> UsageError:
    return UsageError(
        f"cannot use the data directory: {reason}",
        location=str(config.data),
        hint="choose another with --data, or become its owner",
    )


@contextmanager
def instance_lock(config: Config) -> Iterator[None]:
    """Be the one server of this data directory. The lock falls with the process, however it ends.

    Raises `UsageError` where another one runs.
    """
    with file_lock(config.data / LOCK_NAME) as has_lock:
        if not has_lock:
            server = read_server_info(config)
            process_text = f" (process {server.pid})" if server else ""
            raise UsageError(
                f"a server is already running on this data directory{process_text}",
                location=str(config.data),
                hint="stop it, or choose another directory with --data",
            )
        try:
            yield
        finally:
            config.running_file.unlink(missing_ok=True)


async def wait_until_removed(config: Config) -> None:
    """Return when what the server keeps is no longer where it was: removed, or replaced behind its back."""
    initial_status = {path: path.stat() for path in (config.data / LOCK_NAME, config.ledger_file, config.appdb_file)}
    while not any(_is_removed(path, status) for path, status in initial_status.items()):  # noqa: ASYNC110 - no event tells of it
        await asyncio.sleep(POLL_SECONDS)


def _is_removed(path: Path, status: os.stat_result) -> bool:
    try:
        return not os.path.samestat(path.stat(), status)
    except FileNotFoundError:
        return True
    except OSError:
        # A disk that does not answer has lost nothing yet; whoever writes there says so.
        return False


@contextmanager
def shared_intake_lock(config: Config) -> Iterator[None]:
    """Be an intake of this data directory, maybe beside others. Raises `Unavailable` while its files are replaced."""
    with file_lock(config.data / INTAKE_LOCK_NAME, is_shared=True) as has_lock:
        if not has_lock:
            raise Unavailable("a backup is being restored here", location=str(config.data), hint="wait for that to end")
        yield


@contextmanager
def exclusive_intake_lock(config: Config) -> Iterator[None]:
    """Keep intakes away from this data directory. Raises `UsageError` where one runs."""
    with file_lock(config.data / INTAKE_LOCK_NAME) as has_lock:
        if not has_lock:
            raise UsageError(
                "an intake is already running on this data directory",
                location=str(config.data),
                hint="stop it, or choose another directory with --data",
            )
        yield


@contextmanager
def file_lock(path: Path, *, is_shared: bool = False) -> Iterator[bool]:
    """Hold the lock of that name, or find that another process has it. It falls with the process, however it ends."""
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR, SECRET_FILE_MODE)
    try:
        yield _try_lock(descriptor, fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def is_server_running(config: Config) -> bool:
    """Whether a server has this data directory now."""
    try:
        descriptor = os.open(config.data / LOCK_NAME, os.O_RDWR)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise Unavailable(
            f"cannot look into the data directory: {error.strerror}", location=str(config.data), hint="become its owner"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def read_server_info(config: Config) -> ServerInfo | None:
    """What the running server says of itself, or None where none runs or it is only just starting."""
    if not is_server_running(config):
        return None
    try:
        return msgspec.json.decode(config.running_file.read_bytes(), type=ServerInfo)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _try_lock(descriptor: int, operation: int) -> bool:
    """Take the lock; tried a few times, for whoever only looks holds it for a moment."""
    for _ in range(LOCK_ATTEMPTS_MAX):
        try:
            fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_RETRY_SECONDS)
        else:
            return True
    return False


def write_server_info(path: Path, server: ServerInfo) -> None:
    """Say it, whole at every moment. Where the directory is gone there is nobody to be told."""
    partial_path = path.with_name(path.name + ".part")
    with suppress(FileNotFoundError):
        partial_path.touch(SECRET_FILE_MODE)
        partial_path.write_bytes(msgspec.json.encode(server))
        partial_path.replace(path)
