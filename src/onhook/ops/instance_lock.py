"""One server per data directory: a lock, and `running.json` with its addresses."""

import asyncio
import os
import shlex
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import msgspec

from onhook.config import DATA_DIRECTORY_MODE, ROLE_DEFAULT, SECRET_FILE_MODE, Config
from onhook.ledger.sqlite_schema import has_raw_events
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound, OnhookError, Unavailable, UsageError
from onhook.lib.file_lock import file_lock, is_locked
from onhook.lib.messages import _

LOCK_NAME = "serve.lock"

INTAKE_LOCK_NAME = "intake.lock"
"""Shared by intakes, one of which may run alone beside a server; a restore holds it exclusively."""

RENAMED_FILES = (("exchange.key", "pbx_api.key"), ("exchange.crt", "pbx_api.crt"))
"""Old and new names of the PBX API's own certificate: applications pin it, so it must survive an upgrade."""

POLL_SECONDS = 1.0
"""Between two checks that the files exist; the ledger checks at each commit, before an event is acknowledged."""

READY_SECONDS_MAX = 60.0
"""Time for a process to be ready: opening a large store after a crash replays its log."""

START_SECONDS_MAX = 2 * READY_SECONDS_MAX
"""Time after which a process that is missing is not merely starting: the supervisor waits for each of the two."""

SERIES_SECONDS_MAX = 600.0
"""Ends of a process with less time between them are one series, which has one cause."""

SERIES_ENDS_MAX = 3
"""Ends in one series from which on a restart alone does not help."""


class ProcessInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One of the server's processes: its id, and its address (`HOST:PORT`, or empty)."""

    pid: int
    address: str


class ProcessEnds(msgspec.Struct, frozen=True, kw_only=True):
    """Ends of one process: how often it ended by itself in the latest series, and the time of its last end in Unix
    seconds. The count is 0 where the process was stopped so that it is restarted.
    """

    count: int
    last_at: float

    def is_recent(self, now: datetime) -> bool:
        """Return whether the process has had no time to start again."""
        return 0 <= now.timestamp() - self.last_at <= START_SECONDS_MAX

    def is_series(self, now: datetime) -> bool:
        """Return whether the process ends again and again, and did so lately."""
        return self.count >= SERIES_ENDS_MAX and 0 <= now.timestamp() - self.last_at <= SERIES_SECONDS_MAX


def add_end(ends: ProcessEnds | None, now: datetime, *, is_requested: bool) -> ProcessEnds:
    """Return the ends of a process with one more, at `now`; a requested one ends the series."""
    is_same_series = ends is not None and 0 <= now.timestamp() - ends.last_at <= SERIES_SECONDS_MAX
    previous_count = ends.count if ends is not None and is_same_series else 0
    return ProcessEnds(count=0 if is_requested else previous_count + 1, last_at=now.timestamp())


class ServerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A running server. A missing process is being started.

    `started_at` is when the server was started, in Unix seconds, and `ends` has the processes that have ended since.
    `has_run` says that all processes have run since the server, or one before it that ended by itself, was started.
    """

    pid: int
    intake: ProcessInfo | None = None
    hub: ProcessInfo | None = None
    demo: ProcessInfo | None = None
    pbx_api: ProcessInfo | None = None
    """The PBX API of the hub; None while no application has credentials."""
    zone: str = ""
    """Time zone of the console, which commands use too; empty in the file of an older version."""
    started_at: float = 0.0
    ends: Mapping[str, ProcessEnds] = {}
    has_run: bool = False
    role: str = ROLE_DEFAULT
    """What the server runs, as the setting."""

    def has_process(self, name: str) -> bool:
        """Return whether the server runs the intake, or the hub."""
        return self.role in (ROLE_DEFAULT, name)

    def is_starting(self, now: datetime) -> bool:
        """Return whether the server has had no time to start all processes."""
        return 0 <= now.timestamp() - self.started_at <= START_SECONDS_MAX


def prepare_directory(config: Config) -> None:
    """Create the data directory, for its owner alone; also one that exists. Raises `UsageError` where it cannot be
    used.
    """
    check_data_directory(config)
    try:
        config.data.mkdir(mode=DATA_DIRECTORY_MODE, parents=True, exist_ok=True)
        if config.data.stat().st_uid == os.geteuid():
            config.data.chmod(DATA_DIRECTORY_MODE)
    except OSError as error:
        raise _unusable_error(config, error.strerror or str(error)) from error
    rename_old_files(config)


def rename_old_files(config: Config) -> None:
    """Rename files of an older version in the data directory. Raises `UsageError`.

    A file that a setting names stays where it is.
    """
    if config.pbx_api_certificate:
        return
    for old_name, new_name in RENAMED_FILES:
        old_path, new_path = config.data / old_name, config.data / new_name
        try:
            if old_path.exists() and not new_path.exists():
                old_path.replace(new_path)
        except FileNotFoundError:
            continue  # another process was faster
        except OSError as error:
            raise _unusable_error(config, error.strerror or str(error)) from error


def check_data_directory(config: Config) -> None:
    """Check that the data directory can be used, if it exists. Raises `UsageError`."""
    check_is_directory(config)
    try:
        is_usable = not config.data.exists() or os.access(config.data, os.R_OK | os.W_OK | os.X_OK)
    except OSError as error:
        raise _unusable_error(config, error.strerror or str(error)) from error
    if not is_usable:
        raise _unusable_error(config, _("it cannot be read and written"))


def check_is_directory(config: Config) -> None:
    """Check that neither the data directory nor one above it is a file. Raises `UsageError`."""
    try:
        mode = config.data.stat().st_mode
    except NotADirectoryError:
        mode = 0
    except OSError:
        # It does not exist yet, or is not readable: opening it reports the error.
        return
    if not stat.S_ISDIR(mode):
        raise UsageError(
            _("the data directory is not a directory"),
            location=str(config.data),
            hint=_("name another one with --data"),
        )


def check_ledger_file(config: Config) -> None:
    """Check that the ledger is there if the store is: a new one would give events numbers that the store and the
    destinations are past. Raises `UsageError`.
    """
    if is_ledger_lost(config):
        raise UsageError(
            _("the ledger is missing or empty, and {name} has calls of it", name=config.store_file.name),
            location=str(config.ledger_file),
            hint=_(
                "restore a backup with `onhook restore`; without one, run {command} and start again",
                command=f"`onhook begin-ledger --data {shlex.quote(str(config.data))}`",
            ),
        )


def is_ledger_lost(config: Config) -> bool:
    """Return whether the file of the ledger is missing or has no byte, and the store, which is made from it, is
    there.
    """
    if config.ledger or not config.store_file.exists():
        return False
    try:
        return config.ledger_file.stat().st_size == 0
    except FileNotFoundError:
        return True
    except OSError:
        # Opening it reports the error.
        return False


def has_ledger(config: Config) -> bool:
    """Return whether there is a ledger: servers that have it answer later, a file exists."""
    return bool(config.ledger) or config.ledger_file.exists()


def has_appdb(config: Config) -> bool:
    """Return whether there is an application database: a server that has it answers later, a file exists."""
    return bool(config.appdb) or config.appdb_file.exists()


def no_data_error(config: Config) -> OnhookError:
    """Return the error of commands that read, where there is no data, or where the settings of the data are lost."""
    if not has_appdb(config) and has_raw_events(config.ledger_file):
        return OnhookError(
            _("{name} is missing: PBXs, users and destinations are lost", name=config.appdb_file.name),
            location=str(config.data),
            hint=_("restore a backup with `onhook restore`, or add the PBXs again with `onhook pbx add`"),
        )
    return NotFound(
        _("there is no data yet"),
        location=str(config.data),
        hint=_("start with `onhook serve`, or name the data directory with --data"),
    )


def _unusable_error(config: Config, reason: str) -> UsageError:
    return UsageError(
        _("cannot use the data directory: {reason}", reason=reason),
        location=str(config.data),
        hint=_("choose another one with --data, or become its owner"),
    )


@contextmanager
def instance_lock(config: Config) -> Iterator[None]:
    """Hold the lock of the only server of this data directory. The operating system releases it when the process ends.

    The description of a server that has run stays where it ends by an error, as where it is killed; see
    `read_ended_server`. Raises `UsageError` where another server runs.
    """
    with file_lock(config.data / LOCK_NAME) as has_lock:
        if not has_lock:
            server = read_server_info(config)
            process_text = _(" (process {pid})", pid=server.pid) if server else ""
            raise UsageError(
                _("a server is already running on this data directory{process_text}", process_text=process_text),
                location=str(config.data),
                hint=_("stop it, or choose another directory with --data"),
            )
        try:
            yield
        except BaseException:
            server = _read_running_file(config)
            if server is None or not server.has_run:
                config.running_file.unlink(missing_ok=True)
            raise
        config.running_file.unlink(missing_ok=True)


async def wait_until_removed(config: Config) -> Path:
    """Return the first file of the server that was removed or replaced, as soon as there is one; the data directory
    where that was removed.
    """
    initial_status: dict[Path, os.stat_result] = {}
    ledger_files = () if config.ledger else (config.ledger_file,)
    appdb_files = () if config.appdb else (config.appdb_file,)
    while True:
        for path in (*ledger_files, *appdb_files, config.data / LOCK_NAME):
            try:
                is_removed = not os.path.samestat(path.stat(), initial_status.setdefault(path, path.stat()))
            except FileNotFoundError:
                is_removed = True
            except OSError:
                # A disk that does not respond has lost nothing; writing there reports the error.
                continue
            if is_removed:
                return path if config.data.exists() else config.data
        await asyncio.sleep(POLL_SECONDS)


@contextmanager
def shared_intake_lock(config: Config) -> Iterator[None]:
    """Hold the lock of an intake of this data directory, maybe beside others. Raises `Unavailable` during
    a restore.
    """
    with file_lock(config.data / INTAKE_LOCK_NAME, is_shared=True) as has_lock:
        if not has_lock:
            raise Unavailable(
                _("a backup is being restored here"), location=str(config.data), hint=_("wait until it is done")
            )
        yield


@contextmanager
def exclusive_intake_lock(config: Config) -> Iterator[None]:
    """Lock intakes out of this data directory. Raises `UsageError` where one runs."""
    with file_lock(config.data / INTAKE_LOCK_NAME) as has_lock:
        if not has_lock:
            raise UsageError(
                _("an intake is already running on this data directory"),
                location=str(config.data),
                hint=_("stop it, or choose another directory with --data"),
            )
        yield


def is_server_running(config: Config) -> bool:
    """Return whether a server runs on this data directory."""
    try:
        return is_locked(config.data / LOCK_NAME)
    except OSError as error:
        raise Unavailable(
            _("cannot read the data directory: {reason}", reason=error.strerror),
            location=str(config.data),
            hint=_("become its owner"),
        ) from error


def read_server_info(config: Config) -> ServerInfo | None:
    """Return the running server's description, or None where none runs or it is starting."""
    return _read_running_file(config) if is_server_running(config) else None


def read_ended_server(config: Config) -> ServerInfo | None:
    """Return the description of a server that has run and ended without being stopped, as by an error or a loss of
    power; None where none did, or one runs again.
    """
    if is_server_running(config):
        return None
    server = _read_running_file(config)
    return server if server is not None and server.has_run else None


def start_server_info(config: Config, clock: Clock) -> ServerInfo:
    """Write and return the description of this server, which is starting; the caller has the lock."""
    previous = _read_running_file(config)
    server = ServerInfo(
        pid=os.getpid(),
        zone=config.zone,
        role=config.role,
        started_at=clock.now().timestamp(),
        has_run=previous is not None and previous.has_run,
    )
    with suppress(OSError):  # as on a full disk; the supervisor logs it when a process is ready
        write_server_info(config.running_file, server)
    return server


def _read_running_file(config: Config) -> ServerInfo | None:
    try:
        return msgspec.json.decode(config.running_file.read_bytes(), type=ServerInfo)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def write_server_info(path: Path, server: ServerInfo) -> None:
    """Write the description atomically. Does nothing where the directory was removed."""
    partial_path = path.with_name(path.name + ".part")
    with suppress(FileNotFoundError):
        partial_path.touch(SECRET_FILE_MODE)
        partial_path.write_bytes(msgspec.json.encode(server))
        partial_path.replace(path)
