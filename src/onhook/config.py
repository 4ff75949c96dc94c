"""Configuration: defaults, then `onhook.toml`, then `ONHOOK_*`, then flags. No other module reads the environment.

All settings are optional. Their names are the same everywhere: `intake` in the file, `ONHOOK_INTAKE`, `--intake`.
"""

import importlib
import ipaddress
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from onhook.cdr.utc_offset import get_zone
from onhook.lib.errors import UsageError
from onhook.lib.languages import ENGLISH, LANGUAGES
from onhook.lib.messages import _
from onhook.lib.service_manager import SERVICE_VARIABLES, ServiceManager, parse_service_manager
from onhook.lib.setting_values import (
    QUOTED_CHARACTERS_MAX,
    parse_choice,
    parse_flag,
    parse_names,
    parse_networks,
    parse_origins,
    parse_text,
    quote,
)

CONFIG_FILE_NAME = "onhook.toml"
ENVIRONMENT_PREFIX = "ONHOOK_"
SECRET_SETTINGS = frozenset({"appdb", "ledger", "proxy"})
"""Settings that may contain a secret."""

PORT_MAX = 65_535
DATA_DIRECTORY_MODE = 0o700
SECRET_FILE_MODE = 0o600

FILE_BYTES_MAX = 64 * 1024
"""Size of `onhook.toml`: all settings and their comments fit many times over."""

DAYS_MAX = 99_999
"""Of `keep_days`: some 270 years."""

LOG_DAYS_MAX = 365
"""As of a destination, `appdb.destination_spec`."""

WILDCARD_HOSTS = ("0.0.0.0", "::")  # noqa: S104 - not bound here: compared with the configured address

HOST_CHARACTERS_MAX = 253
"""Of a whole host name (RFC 1035, 2.3.4); Python's own encoder has the same limit."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE | re.ASCII)
_DATABASE_URL = re.compile(r"postgres(?:ql)?://[!-~]{1,2000}/[!-~]{1,1000}")
_NODE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62}[A-Za-z0-9])?")
_LEDGER_URL = re.compile(r"nats(?:\+tls)?://[!-~]{1,2000}/[!-~]{1,1000}")


class Address(msgspec.Struct, frozen=True):
    """Address to listen on: a host and a port (0: any free port)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


ZONE_DEFAULT = "UTC"
LIBRARY_VARIABLES = ("PATH", "HOME", "LANG", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "PYTHON", "LC_", "XDG_", "FONTCONFIG_")
"""Beginnings of the variables that a process needs which makes no connection and reads no settings."""

ROLE_DEFAULT = "all"
ROLES = ("all", "intake", "hub")
QUORUM_LOSS_CHOICES = ("refuse", "spool")


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings, complete."""

    data: Path = Path("onhook-data")
    appdb: str = ""
    """Application database on PostgreSQL, `postgresql://USER:PASSWORD@HOST[,HOST]/DATABASE`; empty: `onhook.db` in the
    data directory.
    """
    ledger: str = ""
    """Ledger on NATS JetStream, `nats://USER:PASSWORD@HOST,HOST,HOST/STREAM?monitor=8222`, or `nats+tls://`; empty:
    `ledger.db` in the data directory.
    """
    role: str = ROLE_DEFAULT
    """What `onhook serve` runs on this machine: the intake, the hub, or both, `all`."""
    node: str = ""
    """Name of this machine among several; empty: that of the host."""
    on_quorum_loss: str = "refuse"
    """What the intake does while the ledger on NATS has no quorum: `refuse` events, or `spool` them on its disk."""
    intake: Address = Address("0.0.0.0", 30012)  # noqa: S104 - PBXs are on other hosts and must reach this port
    console: Address = Address("127.0.0.1", 8030)
    pbx_api: Address = Address("127.0.0.1", 8088)
    pbx_api_certificate: str = ""
    """Certificate chain of the PBX API (PEM); empty: self-signed, generated in the data directory."""
    pbx_api_key: str = ""
    """The certificate's private key (PEM, not encrypted)."""
    pbx_api_plain: bool = False
    """Serve the PBX API without TLS, as behind a proxy that terminates TLS."""
    zone: str = ZONE_DEFAULT
    """Default display time zone, an IANA name, for requests that name no zone."""
    language: str = ENGLISH
    """Language of mails to people who have chosen none, and of pages for browsers that name none there is."""
    keep_days: int = 0
    """Retention of calls and their raw events, in days since the last raw event; 0: no limit."""
    log_days: int = 30
    """Retention of the logs of destinations, in days; 0: no log. A destination can have its own."""
    recordings_root: str = ""
    """Directory below which pages may name directories with recordings; empty: no page may."""
    console_open: bool = False
    """Pages without sign-in; only allowed while the console listens on the loopback."""
    console_names: str = ""
    """Additional host names of the console, as behind a proxy; separated by commas."""
    trusted_proxies: str = ""
    """Networks of proxies whose headers name the client, as `10.0.0.0/8`; separated by commas. For all listeners."""
    cors_origins: str = ""
    """Origins of web pages that may use the console's API with a token; separated by commas."""
    private_networks: str = ""
    """Private networks that destinations may send to, as `10.0.0.0/8`; separated by commas."""
    proxy: str = ""
    """HTTP proxy of destinations, `http://USER:PASSWORD@HOST:PORT`; empty: none."""
    trace: bool = False
    """Show a traceback with each unexpected error."""

    def __repr__(self) -> str:
        return f"Config({self.data})"

    @property
    def trusted_proxy_networks(self) -> list[str]:
        """Return the networks of trusted proxies."""
        return [network for network in self.trusted_proxies.split(",") if network]

    @property
    def node_name(self) -> str:
        """Return the name of this machine among several that share a database; empty where it is the only one."""
        return (self.node or os.uname().nodename) if self.appdb else ""

    @property
    def ledger_file(self) -> Path:
        """The ledger, where `ledger` names none."""
        return self.data / "ledger.db"

    @property
    def store_file(self) -> Path:
        return self.data / "calls.duckdb"

    @property
    def sql_directory(self) -> Path:
        """Directory of the copy of the store that SQL queries read; it exists only while some do."""
        return self.data / "sql"

    @property
    def appdb_file(self) -> Path:
        """The application database, where `appdb` names none."""
        return self.data / "onhook.db"

    @property
    def admin_token_file(self) -> Path:
        return self.data / "admin.token"

    @property
    def pbx_api_certificate_file(self) -> Path:
        """The certificate file of the PBX API: configured, or generated."""
        return Path(self.pbx_api_certificate) if self.pbx_api_certificate else self.data / "pbx_api.crt"

    @property
    def pbx_api_key_file(self) -> Path:
        """The private key of that certificate."""
        return Path(self.pbx_api_key) if self.pbx_api_key else self.data / "pbx_api.key"

    @property
    def node_file(self) -> Path:
        """File by which a data directory is known to have its name, `node_name`, before and after a restart."""
        return self.data / "node.id"

    @property
    def credentials_file(self) -> Path:
        """File with the PBXs as the intake last read them, for a start without the application database."""
        return self.data / "intake-pbxs.json"

    @property
    def running_file(self) -> Path:
        """File in which the running server stores its addresses; removed when it stops."""
        return self.data / "running.json"


def read_config(flags: Mapping[str, str | None], directory: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Build the configuration; `flags` that are None are not set. Raises `UsageError`, one sentence."""
    environ = os.environ if environ is None else environ
    raw_values: dict[str, tuple[Any, str]] = {
        **_from_file(directory / CONFIG_FILE_NAME),
        **_from_environment(environ),
        **{k: (v, f"--{k}") for k, v in flags.items() if v is not None},
    }
    unknown_names = sorted(set(raw_values) - set(Config.__struct_fields__))
    if unknown_names:
        location = raw_values[unknown_names[0]][1]
        raise UsageError(
            _("unknown setting {name}", name=quote(unknown_names[0])),
            location=location,
            hint=_("use one of {choices}", choices=", ".join(_similar_settings(unknown_names[0]))),
        )
    values: dict[str, Any] = {name: _PARSERS[name](value, location) for name, (value, location) in raw_values.items()}
    config = Config(**values)
    if config.console_open and not is_loopback(config.console.host):
        raise UsageError(
            _("pages without sign-in are only allowed on the loopback"),
            location="console_open",
            hint=_("bind the console to 127.0.0.1"),
        )
    if bool(config.pbx_api_certificate) != bool(config.pbx_api_key):
        raise UsageError(
            _("a certificate and its key must be set together"),
            location="pbx_api_certificate, pbx_api_key",
            hint=_("set both; or neither, to use a generated certificate"),
        )
    if config.ledger and not config.appdb:
        raise UsageError(
            _("a ledger on NATS needs an application database on PostgreSQL: its positions are numbers of that ledger"),
            location="ledger",
            hint=_("set `appdb` too"),
        )
    if config.role != ROLE_DEFAULT and not config.ledger:
        raise UsageError(
            _("the intake and the hub are on different machines only with a ledger on NATS"),
            location="role",
            hint=_("set `ledger` and `appdb` too, or leave `role` out"),
        )
    return config


def _similar_settings(name: str) -> Sequence[str]:
    """Return the settings whose names are most like this one: all of them would be a sentence that is too long."""
    # A library that few starts need.
    difflib = importlib.import_module("difflib")
    matches: list[str] = difflib.get_close_matches(name, Config.__struct_fields__, n=5, cutoff=0.0)
    return matches


def child_environment(config: Config, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a child process: that of this one without what is for this one alone, and the settings
    that may contain a secret, which everyone could read in its arguments.
    """
    environ = os.environ if environ is None else environ
    secret_values = {f"{ENVIRONMENT_PREFIX}{name.upper()}": getattr(config, name) for name in SECRET_SETTINGS}
    return {name: value for name, value in environ.items() if name not in SERVICE_VARIABLES} | secret_values


def secret_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the settings that a child process receives in its environment."""
    environ = os.environ if environ is None else environ
    names = {f"{ENVIRONMENT_PREFIX}{name.upper()}" for name in SECRET_SETTINGS}
    return {name: value for name, value in environ.items() if name in names}


def library_environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return what libraries of a child process need of the environment to find fonts, files and other libraries; none
    of it contains a secret.
    """
    environ = os.environ if environ is None else environ
    return {name: value for name, value in environ.items() if name.startswith(LIBRARY_VARIABLES)}


def read_service_manager(environ: Mapping[str, str] | None = None) -> ServiceManager:
    """Return what the service manager has passed to this process. Raises `UsageError`."""
    return parse_service_manager(os.environ if environ is None else environ, os.getpid())


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach that host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def local_address(address: Address) -> Address:
    """Return an address at which this machine reaches a listener."""
    if address.host not in WILDCARD_HOSTS or is_loopback(address.host):
        return address
    return Address("::1" if address.host == "::" else "127.0.0.1", address.port)


def parse_address(text: Any, location: str) -> Address:
    """Parse `HOST:PORT` or `[::1]:PORT`. Raises `UsageError`."""
    host, _separator, port = parse_text(text, location).rpartition(":")
    is_port = port.isascii() and port.isdigit() and len(port) <= len(str(PORT_MAX)) and int(port) <= PORT_MAX
    if not is_port or not (_is_name(host) or _is_bracketed(host)):
        raise UsageError(
            _("{value} is not an address", value=quote(text)),
            location=location,
            hint=_("write HOST:PORT, such as 127.0.0.1:8030 or [::1]:80"),
        )
    return Address(host.strip("[]"), int(port))


def _is_name(host: str) -> bool:
    return len(host) <= HOST_CHARACTERS_MAX and _HOST.fullmatch(host) is not None


def _is_bracketed(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        return False
    return host[0] == "[" and host[-1] == "]"


def parse_proxy_setting(value: Any, location: str) -> str:
    """Parse the URL of a proxy; empty means none. Raises `UsageError`, never showing its password."""
    text = parse_text(value, location)
    if not text:
        return ""
    # What reads URLs costs more than the rest of the configuration, and few installations need it.
    hosts = importlib.import_module("onhook.lib.hosts")
    return "" if text == hosts.NO_PROXY else str(hosts.parse_proxy(text, location))


def parse_appdb(value: Any, location: str) -> str:
    """Parse the URL of a PostgreSQL database; empty means none. Raises `UsageError`, never showing its password."""
    if isinstance(value, str) and (not value or _DATABASE_URL.fullmatch(value)):
        return value
    raise UsageError(
        _("this is not the URL of a PostgreSQL database"),
        location=location,
        hint=_("write postgresql://USER:PASSWORD@HOST/DATABASE, a character such as @ in it as %40"),
    )


def parse_ledger(value: Any, location: str) -> str:
    """Parse the URL of a ledger on NATS; empty means none. Raises `UsageError`, never showing its password."""
    if isinstance(value, str) and (not value or _LEDGER_URL.fullmatch(value)):
        return value
    raise UsageError(
        _("this is not the URL of a ledger on NATS"),
        location=location,
        hint=_("write nats://USER:PASSWORD@HOST,HOST,HOST/STREAM?monitor=8222, a character such as @ in it as %40"),
    )


def parse_language(value: Any, location: str) -> str:
    """Parse the code of a language. Raises `UsageError`."""
    return parse_choice(value, location, tuple(LANGUAGES))


def parse_days(value: Any, location: str) -> int:
    """Parse a number of days; 0 means no limit. Raises `UsageError`."""
    return _parse_days(value, location, DAYS_MAX, _("write 90, or 0 to keep calls without limit"))


def parse_log_days(value: Any, location: str) -> int:
    """Parse the days that the logs of destinations are kept; 0 means none. Raises `UsageError`."""
    hint = _("write 1 to {maximum}, or 0 for no log", maximum=LOG_DAYS_MAX)
    return _parse_days(value, location, LOG_DAYS_MAX, hint)


def _parse_days(value: Any, location: str, days_max: int, hint: str) -> int:
    text = str(value)
    is_number = not isinstance(value, bool) and text.isascii() and text.isdigit() and len(text) <= len(str(DAYS_MAX))
    if not is_number or int(text) > days_max:
        raise UsageError(_("{value} is not a number of days", value=quote(value)), location=location, hint=hint)
    return int(text)


def parse_path(value: Any, location: str) -> Path:
    """Parse the path of a directory; `~` is the home directory of the current user. Raises `UsageError`."""
    text = parse_text(value, location)
    if not text:
        raise UsageError(
            _("the data directory has no name"), location=location, hint=_("write a directory, such as ./onhook-data")
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(
            _("{quote}: {error}", quote=quote(text), error=error), location=location, hint=_("write the full path")
        ) from error


def parse_file(value: Any, location: str) -> str:
    """Parse the path of a file; empty means none. `~` is the home directory of the current user. Raises
    `UsageError`.
    """
    return str(parse_path(value, location).absolute()) if parse_text(value, location) else ""


def parse_zone(value: Any, location: str) -> str:
    """Parse the IANA name of a time zone. Raises `UsageError`."""
    text = parse_text(value, location)
    if len(text) > QUOTED_CHARACTERS_MAX:
        raise UsageError(
            _("there is no time zone {name}", name=quote(text)),
            location=location,
            hint=_("write a name such as Europe/Berlin"),
        )
    return str(get_zone(text, location).key)


def _from_environment(environ: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    values: dict[str, tuple[Any, str]] = {}
    for variable, value in environ.items():
        if variable.startswith(ENVIRONMENT_PREFIX):
            if variable != variable.upper():
                raise UsageError(
                    _("unknown variable {name}", name=variable),
                    hint=_("write it in capitals: {name}", name=variable.upper()),
                )
            values[variable.removeprefix(ENVIRONMENT_PREFIX).lower()] = (value, variable)
    return values


def _from_file(path: Path) -> dict[str, tuple[Any, str]]:
    try:
        text = _read_file(path)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            _("cannot read {file}: {error}", file=path.name, error=error), hint=_("fix or remove the file")
        ) from error
    try:
        return {name: (value, path.name) for name, value in tomllib.loads(text).items()}
    except RecursionError as error:
        raise UsageError(
            _("{file} is nested too deeply", file=path.name), hint=_("write each setting as a single value")
        ) from error
    except ValueError as error:  # not only TOMLDecodeError: a number with thousands of digits raises a plain ValueError
        raise UsageError(
            _("{file} is not valid TOML: {error}", file=path.name, error=error), hint=_("fix that line")
        ) from error


def _read_file(path: Path) -> str:
    """Return the text of a regular file, without waiting for a pipe."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UsageError(
            _("{file} is not a regular file", file=path.name), hint=_("remove it, or replace it with a file")
        )
    if status.st_size > FILE_BYTES_MAX:
        raise UsageError(
            _("{file} is larger than {size} KiB", file=path.name, size=FILE_BYTES_MAX // 1024),
            hint=_("write only settings in it"),
        )
    return path.read_text()


def parse_role(value: Any, location: str) -> str:
    """Parse what runs on this machine. Raises `UsageError`."""
    return parse_choice(value, location, ROLES)


def parse_node(value: Any, location: str) -> str:
    """Parse the name of this machine; empty means that of the host. Raises `UsageError`."""
    if isinstance(value, str) and (not value or _NODE.fullmatch(value)):
        return value
    raise UsageError(
        _("{value} is no name of a machine", value=quote(value)),
        location=location,
        hint=_("write up to 64 letters, digits, dots and hyphens"),
    )


_PARSERS: Mapping[str, Callable[[Any, str], Any]] = {
    "data": parse_path,
    "appdb": parse_appdb,
    "ledger": parse_ledger,
    "role": parse_role,
    "node": parse_node,
    "on_quorum_loss": lambda value, location: parse_choice(value, location, QUORUM_LOSS_CHOICES),
    "intake": parse_address,
    "console": parse_address,
    "pbx_api": parse_address,
    "pbx_api_certificate": parse_file,
    "pbx_api_key": parse_file,
    "pbx_api_plain": parse_flag,
    "zone": parse_zone,
    "language": parse_language,
    "keep_days": parse_days,
    "log_days": parse_log_days,
    "recordings_root": parse_file,
    "console_open": parse_flag,
    "console_names": parse_names,
    "trusted_proxies": parse_networks,
    "cors_origins": parse_origins,
    "private_networks": parse_networks,
    "proxy": parse_proxy_setting,
    "trace": parse_flag,
}
