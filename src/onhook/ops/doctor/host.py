"""Health checks of the installation: one finding each, with what to do."""

import os
import platform
import shlex
import socket
import stat
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from onhook.appdb.disk_samples import DiskSample
from onhook.appdb.sqlite_file import check_integrity
from onhook.cdr.utc_offset import get_zone
from onhook.config import Address, Config
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.messages import _, _n
from onhook.lib.timestamps import format_time
from onhook.ops.doctor.check import Check, worst_check
from onhook.ops.doctor.disk import check_disk, check_disk_rate
from onhook.ops.doctor.requests import check_rejections, check_unregistered
from onhook.ops.doctor.settings import check_appdb, check_appdb_file
from onhook.ops.engines import AppDbOpener, Engines
from onhook.ops.instance_lock import (
    ProcessEnds,
    ProcessInfo,
    ServerInfo,
    check_data_directory,
    has_appdb,
    has_ledger,
    is_ledger_lost,
    is_server_running,
    read_ended_server,
    read_server_info,
    rename_old_files,
)
from onhook.ops.ledger_reading import opened
from onhook.ops.moved_files import find_moved_files
from onhook.pbx_api.certificate import read_fingerprint
from onhook.receiver.rejections import RequestCounter

CLOCK_YEARS = (2024, 2100)
"""A clock outside of these was never set."""

LAG_MAX = 1_000
"""A working hub is less than a second behind."""

_GROUP_OR_OTHERS_MODE = stat.S_IRWXG | stat.S_IRWXO
QUARANTINE_COUNT_MAX = 1_000
"""Quarantined events that are counted: more need the same person."""


async def check_installation(config: Config, clock: Clock, engines: Engines) -> AsyncIterator[Check]:
    """Yield the checks that need no call data."""
    yield Check(
        "OK",
        _(
            "onhook {version}, Python {python_version}",
            version=version_of("onhook"),
            python_version=platform.python_version(),
        ),
    )
    yield _check_clock(clock, get_zone(config.zone))
    try:
        check_data_directory(config)
        rename_old_files(config)
    except OnhookError as error:
        yield Check("ERROR", _("{message} ({location})", message=error.message, location=error.location), error.hint)
        return
    if not config.data.exists():
        yield Check(
            "WARNING",
            _("the data directory {data} does not exist yet", data=config.data),
            _("`onhook serve` creates it"),
        )
        return
    for check in (*_check_permissions(config), check_disk(config.data), *_check_ledger(config), *_check_store(config)):
        yield check
    for path in find_moved_files(config):
        yield Check(
            "WARNING",
            _("{name} has all that was stored before the move, and no erasure reaches it", name=path.name),
            _("delete it once the server runs with what was moved"),
        )
    if config.ledger:
        yield await _check_shared_ledger(config, engines)
    async for check in check_appdb(config, clock, engines):
        yield check
    async for check in _check_processes(config, clock, engines.open_appdb):
        yield check


def check_resources(config: Config, clock: Clock, samples: Sequence[DiskSample]) -> Mapping[str, Check]:
    """Return the checks that may turn at any time, by name, the worst of each kind; `samples` are those of the disk."""
    return {
        "clock": _check_clock(clock, get_zone(config.zone)),
        "disk": worst_check((check_disk(config.data), *check_disk_rate(config.data, samples, clock.now()))),
        "permissions": worst_check(_check_permissions(config)),
    }


def check_files(config: Config) -> Mapping[str, Check]:
    """Return whether the files are damaged, by name; reads all of them."""
    checks = {"ledger": _check_ledger(config), "appdb": check_appdb_file(config)}
    return {name: worst_check(file_checks) for name, file_checks in checks.items()}


def check_backlog(lag: int, quarantined_count: int) -> Mapping[str, Check]:
    """Return the checks of the store's backlog and of the quarantine, by name."""
    return {"backlog": _check_lag(lag), "quarantine": _check_quarantine(quarantined_count)}


def check_data(
    lag: int, quarantined_count: int, counters: Iterable[Mapping[str, Any]], zone: ZoneInfo, now: datetime
) -> Iterator[Check]:
    """Yield the checks of backlog, quarantine and rejected requests of the last day before `now`; times are shown in
    `zone`.
    """
    yield from check_backlog(lag, quarantined_count).values()
    named_counters = [msgspec.convert(counter, RequestCounter) for counter in counters]
    yield from check_unregistered(named_counters)
    yield from check_rejections(named_counters, zone, now)


def _check_lag(lag: int) -> Check:
    if lag < 0:
        return Check(
            "ERROR",
            _("the store is {value} events ahead of its ledger", value=-lag),
            _(
                "copy calls.duckdb to a safe place, then restore a backup with `onhook restore`; `onhook rebuild` keeps"
                " only what the ledger has"
            ),
        )
    if lag > LAG_MAX:
        return Check(
            "WARNING",
            _("the store has {lag} events to process", lag=lag),
            _("wait; if the number does not fall, see the log of `onhook serve`"),
        )
    return Check("OK", _("the store is {lag} events behind the ledger", lag=lag))


def _check_quarantine(count: int) -> Check:
    """`count` is that of quarantined events, `QUARANTINE_COUNT_MAX` for as many or more."""
    if not count:
        return Check("OK", _("all events were parsed"))
    if count >= QUARANTINE_COUNT_MAX:
        detail = _("{count:,} or more events could not be parsed", count=count)
    else:
        detail = _n("{count:,} event could not be parsed", "{count:,} events could not be parsed", count)
    return Check("WARNING", detail, _("`onhook quarantine list` shows why"))


def _check_clock(clock: Clock, zone: ZoneInfo) -> Check:
    now = clock.now()
    if CLOCK_YEARS[0] <= now.year < CLOCK_YEARS[1]:
        return Check("OK", _("the clock is {now}", now=format_time(now, zone)))
    return Check("ERROR", _("the clock is {now}", now=format_time(now, zone)), _("set the clock"))


def _check_permissions(config: Config) -> Iterator[Check]:
    for path in _secret_files(config):
        if path.exists() and not path.is_file():
            yield Check(
                "ERROR",
                _("{path} is not a file", path=path),
                _("move it away, and restore a backup with `onhook restore`"),
            )
        elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
            yield Check("ERROR", _("{path} cannot be read and written", path=path), _("become its owner"))
    exposed_paths = _find_exposed_paths(config)
    for path in exposed_paths:
        yield Check(
            "WARNING",
            _("other users can read {path_name}", path_name=path.name),
            f"chmod go= {shlex.quote(str(path))}",
        )
    if not exposed_paths:
        yield Check("OK", _("only its owner can read {data}", data=config.data))


def restrict_permissions(config: Config) -> list[str]:
    """Take from other users the right to read what their owner alone may; return the names of what they could read.
    Raises `Unavailable`.
    """
    paths = _find_exposed_paths(config)
    for path in paths:
        try:
            path.chmod(stat.S_IMODE(path.stat().st_mode) & ~_GROUP_OR_OTHERS_MODE)
        except OSError as error:
            raise Unavailable(
                _("cannot change who may read {path}: {reason}", path=path, reason=error.strerror),
                hint=f"chmod go= {shlex.quote(str(path))}",
            ) from error
    return [path.name for path in paths]


def _find_exposed_paths(config: Config) -> list[Path]:
    """Return the data directory and the secret files, where other users can read them."""
    paths = [config.data, *(path for path in _secret_files(config) if path.exists())]
    return [path for path in paths if path.stat().st_mode & _GROUP_OR_OTHERS_MODE]


def _secret_files(config: Config) -> tuple[Path, ...]:
    data_files = config.ledger_file, config.appdb_file, config.store_file, config.admin_token_file
    return *data_files, config.pbx_api_key_file, config.credentials_file


def _check_ledger(config: Config) -> Iterator[Check]:
    """Yield whether the ledger's file is damaged, or missing or empty where it has had calls."""
    if is_ledger_lost(config):
        yield Check(
            "ERROR",
            _("ledger.db is missing or empty, and {name} has calls of it", name=config.store_file.name),
            _("keep a copy of all files, then restore a backup with `onhook restore`"),
        )
    if not config.ledger and config.ledger_file.is_file() and (damage := check_integrity(config.ledger_file)):
        yield Check(
            "ERROR",
            _("ledger.db is damaged: {damage}", damage=damage),
            _("keep a copy of all files, then restore a backup with `onhook restore`"),
        )


async def _check_shared_ledger(config: Config, engines: Engines) -> Check:
    """Return whether the ledger on servers can be read."""
    try:
        async with opened(config, engines.open_ledger) as ledger:
            last_seq = await ledger.last_seq()
    except OnhookError as error:
        return Check("ERROR", error.message, error.hint)
    return Check("OK", _("the ledger on NATS can be read up to entry {seq}", seq=last_seq))


def _check_store(config: Config) -> Iterator[Check]:
    """Yield that the store is missing, as after a restore; only the server or a command that reads calls builds it."""
    if has_ledger(config) and not config.store_file.exists() and not is_server_running(config):
        yield Check(
            "OK",
            _("{name} does not exist yet: `onhook serve` builds it from the ledger", name=config.store_file.name),
        )


async def _check_processes(config: Config, clock: Clock, open_appdb: AppDbOpener) -> AsyncIterator[Check]:
    if not is_server_running(config):
        yield _check_ended_server(config)
        if config.role != "hub":
            yield _check_port("intake", config.intake)
        if config.role == "intake":
            return
        yield _check_port("console", config.console)
        if await _has_apps(config, open_appdb):
            yield _check_port("pbx_api", config.pbx_api)
        return
    server, now = read_server_info(config), clock.now()
    names = [name for name in ("intake", "hub") if server is None or server.has_process(name)]
    for name in names:
        yield _check_process(name, server, now)
    if "hub" in names and await _has_apps(config, open_appdb):
        yield _check_pbx_api(server, now)
        if not config.pbx_api_plain and config.pbx_api_certificate_file.exists():
            yield _check_certificate(config.pbx_api_certificate_file)


def _check_ended_server(config: Config) -> Check:
    """Return how the last server ended: one that was stopped by a signal is meant not to run."""
    server = read_ended_server(config)
    if server is None:
        return Check("WARNING", _("no server is running"), _("`onhook serve` starts it"))
    return Check(
        "ERROR",
        _("the server (process {pid}) has ended without being stopped: no events are received", pid=server.pid),
        _("see its log, then start it again with `onhook serve`"),
    )


def _check_process(name: str, server: ServerInfo | None, now: datetime) -> Check:
    """Return whether the intake or the hub runs and keeps running; a server without its description could not write
    it.
    """
    process: ProcessInfo | None = getattr(server, name, None)
    ends = server.ends.get(name) if server is not None else None
    if ends is not None and ends.is_series(now):
        detail = _n(
            "the {name} has ended once", "the {name} has ended {count} times in short time", ends.count, name=name
        )
        return Check("ERROR", detail, _("see the log of `onhook serve`: it has the error"))
    if process is not None:
        return Check(
            "OK",
            _(
                "the {name} is running as process {pid} on {address}",
                name=name,
                pid=process.pid,
                address=process.address,
            ),
        )
    return _check_missing(_("the {name}", name=name), server, ends, now) or Check(
        "ERROR", _("the {name} is not running", name=name), _("see the log of `onhook serve`")
    )


def _check_missing(subject: str, server: ServerInfo | None, ends: ProcessEnds | None, now: datetime) -> Check | None:
    """Return the check of a process that is missing while it may be starting; else None."""
    if ends is not None and ends.is_recent(now):
        if not ends.count:
            return Check("OK", _("{subject} is being restarted", subject=subject))
        detail = _("{subject} has ended and is being started again", subject=subject)
        return Check("WARNING", detail, _("see the log of `onhook serve`: it has the error"))
    if server is not None and server.is_starting(now):
        return Check("OK", _("{subject} is starting", subject=subject))
    return None


def _check_pbx_api(server: ServerInfo | None, now: datetime) -> Check:
    """Return whether the PBX API is there, which is a part of the hub."""
    if server is not None and server.pbx_api is not None:
        return Check("OK", _("PBX API is listening on {address}", address=server.pbx_api.address))
    return _check_missing(
        _("the PBX API"), server, server.ends.get("hub") if server is not None else None, now
    ) or Check("ERROR", _("apps exist, but the PBX API is not running"), _("see the log of `onhook serve`"))


def _check_certificate(path: Path) -> Check:
    """Return the fingerprint that apps pin."""
    try:
        return Check(
            "OK",
            _(
                "its certificate {path_name} has the SHA-256 fingerprint {read_fingerprint}",
                path_name=path.name,
                read_fingerprint=read_fingerprint(path),
            ),
        )
    except OnhookError as error:
        return Check("ERROR", error.message, error.hint)


async def _has_apps(config: Config, open_appdb: AppDbOpener) -> bool:
    """Return whether an app has credentials; a damaged database is reported by another check."""
    if not has_appdb(config):
        return False
    try:
        async with open_appdb(config) as appdb:
            return bool(await appdb.apps.all())
    except OnhookError:
        return False


def _check_port(name: str, address: Address) -> Check:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        return Check(
            "ERROR",
            _("the {name} could not listen on {address}: {reason}", name=name, address=address, reason=error.strerror),
            _("choose another --{name}", name=name.replace("_", "-")),
        )
    return Check("OK", _("{address} is free for the {name}", address=address, name=name))
