"""The mail server of the installation, by which everything is sent that is no destination.

Invariants: the password is returned by `get_password` alone, for the connection. It stays with its server and user: for
another one it is entered again, so that it cannot be sent to another machine.
"""

from collections.abc import Mapping
from typing import Literal, get_args
from urllib.parse import urlsplit

import msgspec

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row
from onhook.lib.certificates import normalize_certificates
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.hosts import parse_host
from onhook.lib.mail_addresses import parse_mailbox
from onhook.lib.messages import _

MailServerTls = Literal["starttls", "tls", "off"]

PORTS: Mapping[MailServerTls, int] = {"starttls": 587, "tls": 465, "off": 25}
"""The usual ones (RFC 8314, RFC 5321)."""

PORT_MAX = 65_535
TEXT_CHARACTERS_MAX = 500
"""Of a user, a password, a sender and a URL."""

CERTIFICATE_CHARACTERS_MAX = 50_000
"""Of authorities in PEM: a dozen."""

MAILS_PER_HOUR_DEFAULT, MAILS_PER_HOUR_MAX = 200, 10_000
"""Providers block accounts that send some hundreds an hour without notice."""

_COLUMNS = "host, port, tls, user_name, sender, ca_certificates, allow_private, console_url, mails_per_hour"


class MailSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A mail server without its password. `starttls` requires STARTTLS, `tls` is TLS from the beginning, `off` sends
    everything as it is. Without a `user` there is no login. `sender` is an address or `Name <address>`, `console_url`
    the address of the console as people know it, or empty: then mails have no links.
    """

    host: str
    tls: MailServerTls = "starttls"
    port: int = 0
    user: str = ""
    sender: str
    ca_certificates: str = ""
    allow_private: bool = False
    console_url: str = ""
    mails_per_hour: int = MAILS_PER_HOUR_DEFAULT


class MailSettingsRepository:
    """Repository of these settings; there is one row at most."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self) -> MailSettings | None:
        """Return the settings, or None. Raises `RowUnreadable`."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM mail_settings")
        return read_row(rows[0], _decode) if rows else None

    async def require(self) -> MailSettings:
        """Return the settings. Raises `NotFound`, `RowUnreadable`."""
        settings = await self.get()
        if settings is None:
            raise NotFound(_("no mail server is set"), hint=_("set one on the page Mail, or with `onhook mail set`"))
        return settings

    async def get_password(self) -> str:
        """Return the password, for the connection alone; empty where there is none."""
        rows = await self._database.rows("SELECT password FROM mail_settings")
        return read_row(rows[0], lambda row: str(row[0])) if rows else ""

    async def require_with_password(self) -> tuple[MailSettings, str]:
        """Return the settings and the password of one moment. Raises `NotFound`, `RowUnreadable`."""
        async with self._database.transaction(read_only=True):
            return await self.require(), await self.get_password()

    @transactional
    async def put(self, settings: MailSettings, password: str | None = None) -> MailSettings:
        """Store settings, and return them as they are stored; without a password the stored one stays. Raises
        `UsageError`.
        """
        settings = validate_mail_settings(settings)
        stored = await self.get()
        if password is None:
            password = "" if stored is None else await self.get_password()
            is_same = stored is not None and _login_of(stored) == _login_of(settings)
            if settings.user and not (is_same and password):
                raise UsageError(
                    _("the password of {user} is missing", user=repr(settings.user)),
                    location="password",
                    hint=_("enter it; for another server or user it is entered again"),
                )
        await self._database.write("DELETE FROM mail_settings")
        await self._database.write(
            f"INSERT INTO mail_settings (settings_id, password, {_COLUMNS}) VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (validate_password(password) if settings.user else "", *_encode(settings)),
        )
        return settings

    async def remove(self) -> None:
        """Remove the settings: nothing is sent from now on."""
        await self._database.write("DELETE FROM mail_settings")

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the row if it cannot be read."""
        rows = await self._database.rows(f"SELECT {_COLUMNS}, password FROM mail_settings")
        return list_unreadable("mail_settings", rows, lambda row: _decode(row[:-1]))


def validate_mail_settings(settings: MailSettings) -> MailSettings:
    """Return settings without blanks around texts, and with a port. Raises `UsageError`."""
    settings = msgspec.structs.replace(
        settings,
        host=_validate_host(settings.host.strip()),
        port=settings.port or PORTS[settings.tls],
        user=_validate_text(settings.user.strip(), "user"),
        sender=_validate_text(settings.sender.strip(), "sender"),
        ca_certificates=_validate_certificates(settings.ca_certificates.strip()),
        console_url=validate_console_url(settings.console_url.strip()),
    )
    parse_mailbox(settings.sender, "sender")
    if not 1 <= settings.port <= PORT_MAX:
        raise UsageError(_("{port} is not a port", port=settings.port), location="port", hint=_("write 1 to 65535"))
    if not 1 <= settings.mails_per_hour <= MAILS_PER_HOUR_MAX:
        raise UsageError(
            _("the mails of an hour are 1 to {maximum}", maximum=MAILS_PER_HOUR_MAX), location="mails_per_hour"
        )
    return settings


def validate_password(password: str) -> str:
    """Return the password unchanged. Raises `UsageError`, never showing it."""
    if len(password) > TEXT_CHARACTERS_MAX or not password.isprintable() or not password:
        raise UsageError(
            _("the password is empty, too long, or has control characters"), location="password", hint=_("enter it")
        )
    return password


def parse_port(text: str) -> int:
    """Return the port of a text; 0, the usual one, of an empty text. Raises `UsageError`."""
    text = text.strip()
    if text and not (text.isascii() and text.isdigit() and len(text) <= len(str(PORT_MAX))):
        raise UsageError(_("{port} is not a port", port=repr(text[:20])), location="port", hint=_("write 1 to 65535"))
    return int(text or 0)


def _login_of(settings: MailSettings) -> tuple[str, int, MailServerTls, str]:
    """Return to whom and how a password is sent. One that was entered for TLS is not sent without it."""
    return settings.host, settings.port, settings.tls, settings.user


def _validate_host(host: str) -> str:
    try:
        is_valid = bool(host) and parse_host(host).is_canonical
    except ValueError:
        is_valid = False
    if not is_valid:
        raise UsageError(
            _("{host} is not the name of a machine", host=repr(host[:80])),
            location="host",
            hint=_("write one such as {example}", example="mail.example.com"),
        )
    return host


def _validate_text(text: str, location: str) -> str:
    if len(text) > TEXT_CHARACTERS_MAX or not text.isprintable():
        raise UsageError(_("a text is too long, or has control characters"), location=location, hint=_("correct it"))
    return text


def _validate_certificates(pem: str) -> str:
    if len(pem) > CERTIFICATE_CHARACTERS_MAX:
        raise UsageError(_("the certificates are too long"), location="ca_certificates", hint=_("name fewer"))
    return normalize_certificates(pem) if pem else ""


def validate_console_url(url: str) -> str:
    """Return the address of a console without a slash at its end."""
    if not url:
        return ""
    url = _validate_text(url.rstrip("/"), "console_url")
    if not _is_console_url(url):
        raise UsageError(
            _("this is not the address of a console"),
            location="console_url",
            hint=_("write one such as {example}", example="https://calls.example.com"),
        )
    return url


def _is_console_url(url: str) -> bool:
    """Return whether a text is scheme, host and perhaps a port, and nothing else."""
    try:
        parts = urlsplit(url)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:  # an open bracket, a port that is not a number
        return False
    is_bare = not parts.path and not parts.query and not parts.fragment and "@" not in parts.netloc
    return parts.scheme in ("http", "https") and has_host and is_bare and " " not in url


def _encode(settings: MailSettings) -> tuple[object, ...]:
    return (
        *(settings.host, settings.port, settings.tls, settings.user, settings.sender, settings.ca_certificates),
        *(settings.allow_private, settings.console_url, settings.mails_per_hour),
    )


def _decode(row: Row) -> MailSettings:
    host, port, tls, user, sender, ca_certificates, allow_private, console_url, mails_per_hour = row
    if tls not in get_args(MailServerTls):
        raise UsageError(_("{tls} is not a kind of TLS", tls=repr(tls)))
    return validate_mail_settings(
        MailSettings(
            host=host,
            port=port,
            tls=tls,
            user=user,
            sender=sender,
            ca_certificates=ca_certificates,
            allow_private=bool(allow_private),
            console_url=console_url,
            mails_per_hour=mails_per_hour,
        )
    )
