"""What may be wrong with a house, looked at from outside: one finding each, with what to do."""

import os
import platform
import shutil
import socket
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, Literal

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.sqlite import check_integrity
from onhook.config import Address, Config
from onhook.delivery.issues import find_all_issues
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError
from onhook.ops.instance_lock import Part, check_rights, is_running, read_running
from onhook.pbx_api.certificate import read_fingerprint

FREE_BYTES_MIN = 1024**3
"""A million reports and their calls: at a thousand a day, that is years; at a hundred a second, some hours."""

CLOCK_YEARS = (2024, 2100)
"""A clock outside of these was never set."""

BEHIND_REPORTS_MAX = 1_000
"""A hub that works is less than a second behind."""

_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_REFUSALS = ("unknown_sn", "wrong_signature", "no_signature", "wrong_place")

Grade = Literal["right", "look", "wrong"]


class Finding(msgspec.Struct, frozen=True):
    """`look` is for a person to judge; `wrong` keeps something from working. `lines` are to be added to `file`."""

    grade: Grade
    what: str
    todo: str = ""
    file: str = ""
    lines: Sequence[str] = ()


def examine(config: Config, clock: Clock) -> Iterator[Finding]:
    """All that can be seen without reading a call."""
    yield Finding("right", f"onhook {version_of('onhook')}, Python {platform.python_version()}")
    yield _clock(clock)
    try:
        check_rights(config)
    except OnhookError as error:
        yield Finding("wrong", f"{error.what} ({error.where})", error.todo)
        return
    if not config.data.exists():
        yield Finding("look", f"there is no data directory {config.data} yet", "`onhook serve` makes it")
        return
    yield from _rights(config)
    yield _disk(config.data)
    yield from _files(config, clock)
    yield from _processes(config)


def findings_of_calls(behind: int, has_quarantined: bool, tallies: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    """What the calls and the door tell: the backlog, the quarantine, and who was refused."""
    if behind < 0:
        yield Finding(
            "wrong",
            f"the store is {-behind} reports ahead of its ledger",
            "keep a copy of calls.duckdb, then `onhook rebuild`",
        )
    elif behind > BEHIND_REPORTS_MAX:
        yield Finding("look", f"the store has {behind} reports yet to read", "wait; if it does not fall, read the log")
    else:
        yield Finding("right", f"the store is {behind} reports behind the ledger")
    if has_quarantined:
        yield Finding("look", "some reports could not be read", "`onhook quarantine list` says why")
    else:
        yield Finding("right", "every report could be read")
    refused = [one for one in tallies if one["what"] in _REFUSALS and not _is_known_by_now(one)]
    for one in refused[:5]:
        yield _refusal(one)
    if not refused:
        yield Finding("right", "nobody was refused at the door")


def _is_known_by_now(tally: Mapping[str, Any]) -> bool:
    """A stranger that was declared since is none any more."""
    return tally["what"] == "unknown_sn" and bool(tally["pbx"])


def _refusal(tally: Mapping[str, Any]) -> Finding:
    times = f"{tally['count']} times, last {str(tally['last_at'])[:19]}"
    if tally["what"] == "unknown_sn":
        todo = f"if it is yours: onhook pbx add NAME --sn {tally['sn']} --secret SECRET"
        return Finding("look", f"a stranger {tally['sn']!r} knocked {times}", todo)
    if tally["what"] == "wrong_place":
        todo = "if it is yours: onhook pbx change NAME --from ADDRESS"
        return Finding("look", f"{tally['sn']} reported {times} from elsewhere than its address or path", todo)
    kind = "a wrong signature" if tally["what"] == "wrong_signature" else "no signature"
    return Finding("look", f"{tally['sn'] or 'somebody'} came with {kind} {times}", "compare the secret with the PBX's")


def _clock(clock: Clock) -> Finding:
    now = clock.now()
    if CLOCK_YEARS[0] <= now.year < CLOCK_YEARS[1]:
        return Finding("right", f"the clock says {now:%Y-%m-%d %H:%M:%S} UTC")
    return Finding("wrong", f"the clock says {now:%Y-%m-%d %H:%M}", "set it")


def _rights(config: Config) -> Iterator[Finding]:
    for path in _secret_files(config):
        if path.exists() and not path.is_file():
            yield Finding("wrong", f"{path} is not a file", "move it away, and bring back a copy with `onhook restore`")
        elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
            yield Finding("wrong", f"you may not read and write {path}", "become its owner")
    paths = [config.data, *(path for path in _secret_files(config) if path.exists())]
    exposed = [path for path in paths if path.stat().st_mode & _OPEN_TO_OTHERS]
    for path in exposed:
        yield Finding("look", f"others may look into {path.name}", f"chmod go= {path}")
    if not exposed:
        yield Finding("right", f"only its owner may look into {config.data}")


def _secret_files(config: Config) -> tuple[Path, ...]:
    own = config.ledger_file, config.settings_file, config.store_file, config.admin_token_file
    return *own, config.certificate_key_file


def _disk(path: Path) -> Finding:
    free = shutil.disk_usage(path).free
    if free < FREE_BYTES_MIN:
        return Finding("wrong", f"{free / 1024**2:.0f} MiB of disk are free", "make room, or reports will be refused")
    return Finding("right", f"{free / 1024**3:.0f} GiB of disk are free")


def _files(config: Config, clock: Clock) -> Iterator[Finding]:
    if not config.settings_file.exists():
        yield Finding("look", "nobody has set anything yet", "`onhook pbx add` declares a PBX")
        return
    ailment = check_integrity(config.settings_file)
    if ailment:
        yield Finding("wrong", f"onhook.db is damaged: {ailment}", "`onhook restore` brings back a copy")
        return
    try:
        settings = AppDb(config.settings_file)
    except OnhookError as error:
        yield Finding("wrong", str(error))
        return
    try:
        yield _pbxs(settings)
        yield from _sending(settings, clock)
    finally:
        settings.close()


def _sending(settings: AppDb, clock: Clock) -> Iterator[Finding]:
    """What a person should know of applications that are told of calls."""
    subscriptions = settings.subscriptions.all()
    plights = find_all_issues(subscriptions, settings.deliveries.backlogs(), clock.now())
    for one in plights:
        yield Finding("wrong" if one.kind in ("disabled", "full") else "look", one.what, one.todo)
    if subscriptions and not plights:
        fare = "1 subscription fares" if len(subscriptions) == 1 else f"{len(subscriptions)} subscriptions fare"
        yield Finding("right", f"{fare} well")


def _pbxs(settings: AppDb) -> Finding:
    pbxs = settings.pbxs()
    unsigned = [pbx.name for pbx in pbxs if pbx.is_unsigned]
    if not pbxs:
        return Finding("look", "no PBX may report yet", "onhook pbx add NAME --sn SN --secret SECRET")
    if unsigned:
        return Finding("look", f"anybody can report in the name of {', '.join(unsigned)}", "give it a secret")
    return Finding("right", f"{len(pbxs)} PBX{'s' if len(pbxs) > 1 else ''} may report, all signed")


def _processes(config: Config) -> Iterator[Finding]:
    if not is_running(config):
        yield Finding("look", "no server runs here", "onhook serve")
        yield from (_port(name, at) for name, at in (("intake", config.intake), ("console", config.console)))
        yield from _exchange_to_be(config)
        return
    running = read_running(config)
    yield _part("intake", running.intake if running else None)
    yield _part("hub", running.hub if running else None)
    if _has_apps(config):
        yield _exchange(running.exchange if running else None)
        if not config.exchange_plain and config.certificate_file.exists():
            yield _certificate(config.certificate_file)


def _part(name: str, part: Part | None) -> Finding:
    if part is None:
        return Finding("wrong", f"the {name} does not run", "the log of `onhook serve` says why")
    return Finding("right", f"the {name} runs as process {part.pid} on {part.address}")


def _exchange_to_be(config: Config) -> Iterator[Finding]:
    if _has_apps(config):
        yield _port("exchange", config.exchange)


def _exchange(part: Part | None) -> Finding:
    if part is None:
        return Finding("wrong", "applications have credentials, and the exchange does not run", "the log says why")
    return Finding("right", f"applications find the exchange on {part.address}")


def _certificate(path: Path) -> Finding:
    """What applications pin."""
    try:
        return Finding("right", f"its certificate {path.name} has the SHA-256 fingerprint {read_fingerprint(path)}")
    except OnhookError as error:
        return Finding("wrong", error.what, error.todo)


def _has_apps(config: Config) -> bool:
    """Whether any application has credentials; damaged settings were told already."""
    if not config.settings_file.exists():
        return False
    try:
        settings = AppDb(config.settings_file)
    except OnhookError:
        return False
    try:
        return bool(settings.apps.all())
    finally:
        settings.close()


def _port(name: str, address: Address) -> Finding:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        return Finding(
            "wrong", f"the {name} could not listen on {address}: {error.strerror}", f"choose another --{name}"
        )
    return Finding("right", f"{address} is free for the {name}")
