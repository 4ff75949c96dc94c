"""Credentials of a PBX's web API: its address, the client id and secret, and the trusted certificate.

The client secret and the tokens are secrets: they are only passed to the API client, and are in no listing.
"""

import ipaddress
import shlex
from urllib.parse import urlsplit

import msgspec

from onhook.appdb.sqlite import SqliteDatabase
from onhook.lib.certificates import parse_fingerprint
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

URL_CHARACTERS_MAX = 253 + 16
"""A host name of full length (RFC 1035, 2.3.4), a scheme and a port."""

CREDENTIAL_CHARACTERS_MAX = 256
"""Of client id and secret; a PBX generates 32."""


class PbxCredentials(msgspec.Struct, frozen=True, kw_only=True):
    """Credentials of a PBX's API. `url` is `https://HOST:PORT`; `fingerprint` is the SHA-256 of its certificate in
    hexadecimal digits, or empty where a certificate authority is trusted.
    """

    url: str
    client_id: str
    client_secret: str
    fingerprint: str = ""

    def __repr__(self) -> str:
        return f"Api(url={self.url!r})"


class PbxCredentialsRepository:
    """Repository of API credentials, by serial number."""

    def __init__(self, database: SqliteDatabase) -> None:
        self._database = database

    def all(self) -> dict[str, PbxCredentials]:
        """Return the credentials of all PBXs that have them."""
        rows = self._database.rows(
            "SELECT sn, url, client_id, client_secret, fingerprint FROM pbx_credentials ORDER BY sn"
        )
        return {sn: _credentials(*columns) for sn, *columns in rows}

    def get(self, sn: str) -> PbxCredentials | None:
        """Return the credentials of a PBX, or None."""
        rows = self._database.rows(
            "SELECT url, client_id, client_secret, fingerprint FROM pbx_credentials WHERE sn = ?", (sn,)
        )
        return _credentials(*rows[0]) if rows else None

    def require(self, sn: str, name: str) -> PbxCredentials:
        """Return the credentials of a PBX. Raises `NotFound` where it has none."""
        credentials = self.get(sn)
        if credentials is None:
            raise NotFound(
                _("the API address of {name} is not set", name=name),
                hint=_(
                    "onhook pbx change {pbx} --api https://HOST:PORT --client-id ID --client-secret SECRET",
                    pbx=shlex.quote(name),
                ),
            )
        return credentials

    def put(self, sn: str, credentials: PbxCredentials) -> None:
        """Set the credentials of a registered PBX; they are validated already.

        Stored tokens are deleted where the credentials differ, and where a person must act.
        """
        tokens = self.tokens(sn, credentials)
        self._database.write(
            "INSERT INTO pbx_credentials VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET url = excluded.url,"
            " client_id = excluded.client_id, client_secret = excluded.client_secret,"
            " fingerprint = excluded.fingerprint, tokens = excluded.tokens",
            (sn, *msgspec.structs.astuple(credentials), "" if tokens is None or _is_halted(tokens) else tokens),
        )

    def pin(self, sn: str, fingerprint: str) -> None:
        """Trust this certificate from now on, and no other."""
        self._database.write(
            "UPDATE pbx_credentials SET fingerprint = ? WHERE sn = ?", (parse_fingerprint(fingerprint), sn)
        )

    def tokens(self, sn: str, credentials: PbxCredentials) -> str | None:
        """Return the stored tokens, empty at first; None where the credentials have changed."""
        rows = self._database.rows(
            f"SELECT tokens FROM pbx_credentials WHERE {_WHERE_UNCHANGED}", (sn, *msgspec.structs.astuple(credentials))
        )
        return str(rows[0][0]) if rows else None

    def save_tokens(self, sn: str, credentials: PbxCredentials, text: str) -> None:
        """Store the tokens, so that the next session need not log in."""
        self._database.write(
            f"UPDATE pbx_credentials SET tokens = ?6 WHERE {_WHERE_UNCHANGED}",
            (sn, *msgspec.structs.astuple(credentials), text),
        )


_WHERE_UNCHANGED = "sn = ?1 AND url = ?2 AND client_id = ?3 AND client_secret = ?4 AND fingerprint = ?5"


def parse_pbx_credentials(url: str, client_id: str, client_secret: str, fingerprint: str = "") -> PbxCredentials:
    """Return the credentials described by texts. Raises `UsageError`, never showing the secret."""
    for field, text in (("client id", client_id), ("client secret", client_secret)):
        if not 0 < len(text) <= CREDENTIAL_CHARACTERS_MAX or not text.isprintable():
            raise UsageError(
                _("invalid {field}", field=field),
                hint=_("copy it from the PBX, Integrations > API, and pass it with --client-id and --client-secret"),
            )
    return PbxCredentials(
        url=_parse_url(url),
        client_id=client_id,
        client_secret=client_secret,
        fingerprint=parse_fingerprint(fingerprint) if fingerprint else "",
    )


def _parse_url(url: str) -> str:
    """Return `https://HOST:PORT`; plain HTTP is allowed to this machine only, because tokens travel over it. Raises
    `UsageError`.
    """
    url = url.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    is_bare = not (parts.path or parts.query or parts.fragment or parts.username)
    if len(url) > URL_CHARACTERS_MAX or parts.scheme not in ("http", "https") or not parts.hostname or not is_bare:
        raise UsageError(
            _("{url} is not the address of an API", url=repr(url[:80])),
            location="--api",
            hint=_("write https://HOST:PORT, such as https://pbx:8088"),
        )
    if parts.scheme == "http" and not _is_this_machine(parts.hostname):
        raise UsageError(
            _("plain HTTP would expose the token"),
            location="--api",
            hint=_("write https://{netloc}", netloc=parts.netloc),
        )
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}"


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _credentials(url: str, client_id: str, client_secret: str, fingerprint: str) -> PbxCredentials:
    return PbxCredentials(url=url, client_id=client_id, client_secret=client_secret, fingerprint=fingerprint)


class _TokenState(msgspec.Struct):
    """The part of the stored tokens that is read here."""

    halt_reason: str = ""


def _is_halted(tokens: str) -> bool:
    return bool(tokens) and bool(msgspec.json.decode(tokens, type=_TokenState).halt_reason)
