"""How Onhook is set up: defaults, then `onhook.toml`, then `ONHOOK_*`, then flags; the only reader of the environment.

Everything works with none of them. Names are the same everywhere: `intake` in the file, `ONHOOK_INTAKE`, `--intake`.
"""

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from onhook.cdr.offset import zone_named
from onhook.errors import UsageError

FILE_NAME = "onhook.toml"
PREFIX = "ONHOOK_"
PORT_MAX = 65_535
DATA_DIRECTORY_MODE = 0o700
SECRET_FILE_MODE = 0o600

_HOST_NAME = re.compile(r"[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?")


class Address(msgspec.Struct, frozen=True):
    """Where to listen: a host and a port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All that can be set, complete."""

    data: Path = Path("onhook-data")
    intake: Address = Address("0.0.0.0", 30012)  # noqa: S104 - PBXs are outside: this is the port they need
    console: Address = Address("127.0.0.1", 8030)
    exchange: Address = Address("127.0.0.1", 8088)
    zone: str = "UTC"
    """The zone in which people read, an IANA name, where they ask for no other."""
    console_open: bool = False
    """Pages without sign-in; only allowed while the console listens on the loopback."""
    console_names: str = ""
    """Further names under which the console may be asked for, as behind a proxy; separated by commas."""
    trace: bool = False
    """Show where in the code an unexpected error came from."""

    @property
    def ledger_file(self) -> Path:
        return self.data / "ledger.db"

    @property
    def store_file(self) -> Path:
        return self.data / "calls.duckdb"

    @property
    def settings_file(self) -> Path:
        return self.data / "onhook.db"

    @property
    def admin_token_file(self) -> Path:
        return self.data / "admin.token"

    @property
    def running_file(self) -> Path:
        """Where the running server says which addresses it has; removed when it stops."""
        return self.data / "running.json"


def load(flags: Mapping[str, str | None], directory: Path, environ: Mapping[str, str] | None = None) -> Config:
    """Put a configuration together; `flags` of None are not given. Raises `UsageError`, one sentence."""
    environ = os.environ if environ is None else environ
    given: dict[str, tuple[Any, str]] = {
        **_from_file(directory / FILE_NAME),
        **{k.removeprefix(PREFIX).lower(): (v, k) for k, v in environ.items() if k.startswith(PREFIX)},
        **{k: (v, f"--{k}") for k, v in flags.items() if v is not None},
    }
    unknown = sorted(set(given) - set(Config.__struct_fields__))
    if unknown:
        where = given[unknown[0]][1]
        raise UsageError(
            f"there is no setting {unknown[0]!r}",
            where=where,
            todo=f"use one of {', '.join(Config.__struct_fields__)}",
        )
    values: dict[str, Any] = {name: _READ[name](value, where) for name, (value, where) in given.items()}
    config = Config(**values)
    if config.console_open and not is_loopback(config.console.host):
        raise UsageError(
            "pages without sign-in are only for the loopback",
            where="console_open",
            todo="bind the console to 127.0.0.1",
        )
    return config


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach that host."""
    return host in ("localhost", "::1") or host.startswith("127.")


def parse_address(text: Any, where: str) -> Address:
    """`HOST:PORT` or `[::1]:PORT`. Raises `UsageError`."""
    host, colon, port = str(text).rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or not port.isascii() or not port.isdigit() or int(port) > PORT_MAX:
        raise UsageError(f"{text!r} is not an address", where=where, todo="write HOST:PORT, such as 127.0.0.1:8030")
    return Address(host, int(port))


def parse_names(value: Any, where: str) -> str:
    """Names of hosts, separated by commas; the same in small letters, without blanks. Raises `UsageError`."""
    names = [name.strip().lower() for name in str(value).split(",") if name.strip()]
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise UsageError(f"{name!r} is not the name of a host", where=where, todo="write calls.example.com")
    return ",".join(names)


def parse_flag(value: Any, where: str) -> bool:
    """`true`, `yes`, `on`, `1` and their opposites. Raises `UsageError`."""
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if str(value).lower() not in words:
        raise UsageError(f"{value!r} is neither true nor false", where=where, todo="write true or false")
    return words[str(value).lower()]


def parse_path(value: Any, where: str) -> Path:
    """A folder; `~` is the home of whoever runs this. Raises `UsageError`."""
    if not str(value):
        raise UsageError("the data directory has no name", where=where, todo="write a folder, such as ./onhook-data")
    return Path(str(value)).expanduser()


def parse_zone(value: Any, where: str) -> str:
    """An IANA name of a time zone. Raises `UsageError`."""
    return str(zone_named(str(value), where).key)


def _from_file(path: Path) -> dict[str, tuple[Any, str]]:
    try:
        text = path.read_text()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path.name}: {error}", todo="mend or remove the file") from error
    try:
        return {name: (value, path.name) for name, value in tomllib.loads(text).items()}
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path.name} is not TOML: {error}", todo="mend that line") from error


_READ: Mapping[str, Callable[[Any, str], Any]] = {
    "data": parse_path,
    "intake": parse_address,
    "console": parse_address,
    "exchange": parse_address,
    "zone": parse_zone,
    "console_open": parse_flag,
    "console_names": parse_names,
    "trace": parse_flag,
}
