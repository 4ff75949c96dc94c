"""What a maintainer needs to look into a fault, as one ZIP: versions, checks, settings, sizes, schema, last log lines.

Invariants: no secret is in it, whatever was logged; numbers of people are masked; no call, raw event or note is in
it.
"""

import json
import os
import platform
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from onhook.config import SECRET_FILE_MODE, SECRET_SETTINGS, Config
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.hosts import SECRET_NAMES, proxy_passwords, query_values
from onhook.lib.messages import _
from onhook.ops.doctor.check import Check
from onhook.ops.engines import AppDbOpener
from onhook.ops.instance_lock import has_appdb
from onhook.store.schema import SCHEMA_VERSION, creation_statements

LOG_LINES_MAX = 1_000
"""Of each process."""

LOG_BYTES_MAX = 1024 * 1024
"""Read from the end of a file: longer than any that the server writes."""

SECRET_CHARACTERS_MIN = 6
"""A shorter one would be found inside of other words."""

MASK = "…"

LOG_LEFT_OUT = "left out: the secrets in onhook.db, which would have to be masked, cannot be read"

_NUMBERS = re.compile(r"(\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?|\bv?\d+(?:\.\d+)+\b)|\+?\d{3,}")
"""Numbers of three digits or more, but for times and versions, which are the first group."""

_QUERY = re.compile(r"(/[^\s\"'?]*\?)[^\s\"']+")
"""Of a URL of any scheme, and of a path alone."""

_USER = re.compile(r"([a-z][a-z0-9+.-]*://)(?:(?!://)[^\s\"'])*@", re.IGNORECASE)
"""Up to the last @: a password may have one, and a slash."""

_SECRET_VALUE = re.compile(
    rf"([\w-]*(?:{SECRET_NAMES.pattern})[\w-]*\\*[\"']?\s*[=:]\s*\\*[\"']?)[^\s\"'&,;\\]+", re.IGNORECASE
)
"""What stands behind a name such as `sslpassword=`, outside of a URL too: in the parameters of a driver, or in JSON."""


async def write_bundle(
    config: Config, clock: Clock, checks: Sequence[Check], path: Path, open_appdb: AppDbOpener
) -> None:
    """Write the ZIP, readable for its owner alone. Raises `Unavailable`, also where the file exists."""
    secrets, are_all_known = await _read_secrets(config, open_appdb)
    logs = [log for log in sorted(config.data.glob("*.log*")) if log.is_file()]
    members = {
        "versions.json": _encode(_versions(clock)),
        "checks.txt": _mask("\n".join(f"{check.status:8}{check.detail}: {check.hint}" for check in checks), secrets),
        "settings.json": _mask_secrets(_encode(_settings(config)), secrets),
        "files.json": _encode(_files(config)),
        "store.sql": f"-- version {SCHEMA_VERSION}\n" + ";\n".join(creation_statements()),
        "onhook.db.sql": await _appdb_schema(config, open_appdb),
        **{log.name: _mask(_read_end(log), secrets) if are_all_known else LOG_LEFT_OUT for log in logs},
    }
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_FILE_MODE)
        with os.fdopen(descriptor, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in members.items():
                archive.writestr(name, text)
    except OSError as error:
        raise Unavailable(
            _("cannot write: {reason}", reason=error.strerror or error),
            location=str(path),
            hint=_("choose another file"),
        ) from error


def mask_text(text: str) -> str:
    """Return a text without numbers of people and without the secret parts of URLs; times and versions stay.

    >>> mask_text("2026-04-27 19:04:36 +49 30901820 called 1001 on 0.4.2 by https://a.example/x?key=1f2e")
    '2026-04-27 19:04:36 +49 … called … on 0.4.2 by https://a.example/x?…'
    """
    text = _USER.sub(rf"\1{MASK}@", _QUERY.sub(rf"\1{MASK}", text))
    text = _SECRET_VALUE.sub(rf"\1{MASK}", text)
    return _NUMBERS.sub(lambda match: match[1] or MASK, text)


def _mask(text: str, secrets: Iterable[str]) -> str:
    return mask_text(_mask_secrets(text, secrets))


def _mask_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the secrets in any of their forms, the longest first: one may be a part of another."""
    forms = {form for secret in secrets for form in _forms(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def _forms(secret: str) -> Iterator[str]:
    """Yield the forms in which a secret may be logged: itself, in a URL, inside of JSON, and of JSON in JSON."""
    yield secret
    yield quote(secret)
    yield quote(secret, safe="")
    yield repr(secret)[1:-1]
    for ensure_ascii in (False, True):
        escaped = secret
        for _level in range(2):
            escaped = json.dumps(escaped, ensure_ascii=ensure_ascii)[1:-1]
            yield escaped
        # A JSON text with its own characters, inside of one that has ASCII only.
        yield json.dumps(json.dumps(secret, ensure_ascii=False)[1:-1], ensure_ascii=ensure_ascii)[1:-1]


def _encode(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode()


def _versions(clock: Clock) -> dict[str, str]:
    """Return the versions of everything that is installed beside Onhook."""
    return {
        "made_at": clock.now().isoformat(),
        "python": platform.python_version(),
        "system": platform.platform(),
        **{distribution.name: distribution.version for distribution in distributions()},
    }


def _settings(config: Config) -> dict[str, object]:
    return {
        name: MASK if name in SECRET_SETTINGS and getattr(config, name) else getattr(config, name)
        for name in config.__struct_fields__
    }


def _files(config: Config) -> list[dict[str, object]]:
    """Return the files of the data directory: name, bytes, mode, time of the last change."""
    if not config.data.is_dir():
        return []
    facts = ((file, file.stat()) for file in sorted(config.data.iterdir()))
    return [
        {"name": file.name, "bytes": stat.st_size, "mode": oct(stat.st_mode & 0o7777), "changed_at": stat.st_mtime}
        for file, stat in facts
    ]


def _read_end(path: Path) -> str:
    """Return the last lines of a file."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - LOG_BYTES_MAX))
        lines = file.read(LOG_BYTES_MAX).decode(errors="replace").splitlines()
    return "\n".join(lines[-LOG_LINES_MAX:])


def _token(ledger: str) -> tuple[str, ...]:
    """Return the token in the URL of a ledger: a user without a password; as it is meant and as it is written."""
    credentials = ledger.partition("://")[2].rpartition("@")[0]
    return (unquote(credentials), credentials) if credentials and ":" not in credentials else ()


async def _appdb_schema(config: Config, open_appdb: AppDbOpener) -> str:
    """Return the statements of the application database; of one that cannot be read the reason."""
    if not has_appdb(config):
        return ""
    try:
        async with open_appdb(config) as appdb:
            return ";\n".join(await appdb.schema_statements())
    except OnhookError as error:
        return f"-- {error.message}"


async def _read_secrets(config: Config, open_appdb: AppDbOpener) -> tuple[Sequence[str], bool]:
    """Return the secrets that are stored, and whether these are all: those of a database that cannot be read are
    missing, for which the checks have the reason.
    """
    secrets = [config.admin_token_file.read_text().strip()] if config.admin_token_file.is_file() else []
    for url in (config.proxy, config.appdb, config.ledger):
        secrets += proxy_passwords(url)
    secrets += [*_token(config.ledger), *query_values(config.appdb, SECRET_NAMES)]
    are_all_known = True
    if has_appdb(config):
        try:
            async with open_appdb(config) as appdb:
                secrets += await appdb.secret_texts()
        except OnhookError:
            are_all_known = False
    return [secret for secret in set(secrets) if len(secret) >= SECRET_CHARACTERS_MIN], are_all_known
