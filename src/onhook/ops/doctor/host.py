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
from onhook.ops.instance_lock import ProcessInfo, check_data_directory, is_server_running, read_server_info
from onhook.pbx_api.certificate import read_fingerprint

FREE_BYTES_MIN = 1024**3
"""A million reports and their calls: at a thousand a day, that is years; at a hundred a second, some hours."""

CLOCK_YEARS = (2024, 2100)
"""A clock outside of these was never set."""

LAG_MAX = 1_000
"""A hub that works is less than a second behind."""

_GROUP_OR_OTHERS_MODE = stat.S_IRWXG | stat.S_IRWXO
_REJECTION_KINDS = ("unknown_sn", "wrong_signature", "no_signature", "wrong_place")

CheckStatus = Literal["right", "look", "wrong"]


class Check(msgspec.Struct, frozen=True):
    """`look` is for a person to judge; `wrong` keeps something from working. `lines` are to be added to `file`."""

    grade: CheckStatus
    what: str
    todo: str = ""
    file: str = ""
    lines: Sequence[str] = ()


def check_installation(config: Config, clock: Clock) -> Iterator[Check]:
    """All that can be seen without reading a call."""
    yield Check("right", f"onhook {version_of('onhook')}, Python {platform.python_version()}")
    yield _check_clock(clock)
    try:
        check_data_directory(config)
    except OnhookError as error:
        yield Check("wrong", f"{error.what} ({error.where})", error.todo)
        return
    if not config.data.exists():
        yield Check("look", f"there is no data directory {config.data} yet", "`onhook serve` makes it")
        return
    yield from _check_permissions(config)
    yield _check_disk(config.data)
    yield from _check_appdb(config, clock)
    yield from _check_processes(config)


def check_data(behind: int, has_quarantined: bool, tallies: Iterable[Mapping[str, Any]]) -> Iterator[Check]:
    """What the calls and the door tell: the backlog, the quarantine, and who was refused."""
    if behind < 0:
        yield Check(
            "wrong",
            f"the store is {-behind} reports ahead of its ledger",
            "keep a copy of calls.duckdb, then `onhook rebuild`",
        )
    elif behind > LAG_MAX:
        yield Check("look", f"the store has {behind} reports yet to read", "wait; if it does not fall, read the log")
    else:
        yield Check("right", f"the store is {behind} reports behind the ledger")
    if has_quarantined:
        yield Check("look", "some reports could not be read", "`onhook quarantine list` says why")
    else:
        yield Check("right", "every report could be read")
    rejections = [
        counter for counter in tallies if counter["what"] in _REJECTION_KINDS and not _is_registered_now(counter)
    ]
    for counter in rejections[:5]:
        yield _rejection_check(counter)
    if not rejections:
        yield Check("right", "nobody was refused at the door")


def _is_registered_now(tally: Mapping[str, Any]) -> bool:
    """A stranger that was declared since is none any more."""
    return tally["what"] == "unknown_sn" and bool(tally["pbx"])


def _rejection_check(tally: Mapping[str, Any]) -> Check:
    count_text = f"{tally['count']} times, last {str(tally['last_at'])[:19]}"
    if tally["what"] == "unknown_sn":
        hint = f"if it is yours: onhook pbx add NAME --sn {tally['sn']} --secret SECRET"
        return Check("look", f"a stranger {tally['sn']!r} knocked {count_text}", hint)
    if tally["what"] == "wrong_place":
        hint = "if it is yours: onhook pbx change NAME --from ADDRESS"
        return Check("look", f"{tally['sn']} reported {count_text} from elsewhere than its address or path", hint)
    problem = "a wrong signature" if tally["what"] == "wrong_signature" else "no signature"
    return Check(
        "look", f"{tally['sn'] or 'somebody'} came with {problem} {count_text}", "compare the secret with the PBX's"
    )


def _check_clock(clock: Clock) -> Check:
    now = clock.now()
    if CLOCK_YEARS[0] <= now.year < CLOCK_YEARS[1]:
        return Check("right", f"the clock says {now:%Y-%m-%d %H:%M:%S} UTC")
    return Check("wrong", f"the clock says {now:%Y-%m-%d %H:%M}", "set it")


def _check_permissions(config: Config) -> Iterator[Check]:
    for path in _secret_files(config):
        if path.exists() and not path.is_file():
            yield Check("wrong", f"{path} is not a file", "move it away, and bring back a copy with `onhook restore`")
        elif path.exists() and not os.access(path, os.R_OK | os.W_OK):
            yield Check("wrong", f"you may not read and write {path}", "become its owner")
    paths = [config.data, *(path for path in _secret_files(config) if path.exists())]
    exposed_paths = [path for path in paths if path.stat().st_mode & _GROUP_OR_OTHERS_MODE]
    for path in exposed_paths:
        yield Check("look", f"others may look into {path.name}", f"chmod go= {path}")
    if not exposed_paths:
        yield Check("right", f"only its owner may look into {config.data}")


def _secret_files(config: Config) -> tuple[Path, ...]:
    data_files = config.ledger_file, config.settings_file, config.store_file, config.admin_token_file
    return *data_files, config.certificate_key_file


def _check_disk(path: Path) -> Check:
    free_bytes = shutil.disk_usage(path).free
    if free_bytes < FREE_BYTES_MIN:
        return Check(
            "wrong", f"{free_bytes / 1024**2:.0f} MiB of disk are free", "make room, or reports will be refused"
        )
    return Check("right", f"{free_bytes / 1024**3:.0f} GiB of disk are free")


def _check_appdb(config: Config, clock: Clock) -> Iterator[Check]:
    if not config.settings_file.exists():
        yield Check("look", "nobody has set anything yet", "`onhook pbx add` declares a PBX")
        return
    damage = check_integrity(config.settings_file)
    if damage:
        yield Check("wrong", f"onhook.db is damaged: {damage}", "`onhook restore` brings back a copy")
        return
    try:
        appdb = AppDb(config.settings_file)
    except OnhookError as error:
        yield Check("wrong", str(error))
        return
    try:
        yield _check_pbxs(appdb)
        yield from _check_destinations(appdb, clock)
    finally:
        appdb.close()


def _check_destinations(settings: AppDb, clock: Clock) -> Iterator[Check]:
    """What a person should know of applications that are told of calls."""
    destinations = settings.subscriptions.all()
    issues = find_all_issues(destinations, settings.deliveries.backlogs(), clock.now())
    for issue in issues:
        yield Check("wrong" if issue.kind in ("disabled", "full") else "look", issue.what, issue.todo)
    if destinations and not issues:
        summary = "1 subscription fares" if len(destinations) == 1 else f"{len(destinations)} subscriptions fare"
        yield Check("right", f"{summary} well")


def _check_pbxs(settings: AppDb) -> Check:
    pbxs = settings.pbxs()
    unsigned_names = [pbx.name for pbx in pbxs if pbx.is_unsigned]
    if not pbxs:
        return Check("look", "no PBX may report yet", "onhook pbx add NAME --sn SN --secret SECRET")
    if unsigned_names:
        return Check("look", f"anybody can report in the name of {', '.join(unsigned_names)}", "give it a secret")
    return Check("right", f"{len(pbxs)} PBX{'s' if len(pbxs) > 1 else ''} may report, all signed")


def _check_processes(config: Config) -> Iterator[Check]:
    if not is_server_running(config):
        yield Check("look", "no server runs here", "onhook serve")
        yield from (
            _check_port(name, address) for name, address in (("intake", config.intake), ("console", config.console))
        )
        yield from _check_pbx_api_port(config)
        return
    server = read_server_info(config)
    yield _check_process("intake", server.intake if server else None)
    yield _check_process("hub", server.hub if server else None)
    if _has_apps(config):
        yield _check_pbx_api(server.exchange if server else None)
        if not config.exchange_plain and config.certificate_file.exists():
            yield _check_certificate(config.certificate_file)


def _check_process(name: str, part: ProcessInfo | None) -> Check:
    if part is None:
        return Check("wrong", f"the {name} does not run", "the log of `onhook serve` says why")
    return Check("right", f"the {name} runs as process {part.pid} on {part.address}")


def _check_pbx_api_port(config: Config) -> Iterator[Check]:
    if _has_apps(config):
        yield _check_port("exchange", config.exchange)


def _check_pbx_api(part: ProcessInfo | None) -> Check:
    if part is None:
        return Check("wrong", "applications have credentials, and the exchange does not run", "the log says why")
    return Check("right", f"applications find the exchange on {part.address}")


def _check_certificate(path: Path) -> Check:
    """What applications pin."""
    try:
        return Check("right", f"its certificate {path.name} has the SHA-256 fingerprint {read_fingerprint(path)}")
    except OnhookError as error:
        return Check("wrong", error.what, error.todo)


def _has_apps(config: Config) -> bool:
    """Whether any application has credentials; damaged settings were told already."""
    if not config.settings_file.exists():
        return False
    try:
        appdb = AppDb(config.settings_file)
    except OnhookError:
        return False
    try:
        return bool(appdb.apps.all())
    finally:
        appdb.close()


def _check_port(name: str, address: Address) -> Check:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        socket.create_server((address.host, address.port), family=family).close()
    except OSError as error:
        return Check("wrong", f"the {name} could not listen on {address}: {error.strerror}", f"choose another --{name}")
    return Check("right", f"{address} is free for the {name}")
