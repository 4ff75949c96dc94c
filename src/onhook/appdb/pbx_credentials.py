"""Credentials of a PBX's web API: its address, the client id and secret, and the trusted certificate.

The client secret and the tokens are secrets: they are only passed to the API client, and are in no listing.
"""

import ipaddress
import shlex
from urllib.parse import urlsplit

import msgspec

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import (
    RowUnreadable,
    UnreadableRow,
    decode_json_text,
    encode_json_text,
    list_unreadable,
    read_row,
    read_rows,
)
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

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, PbxCredentials]:
        """Return the credentials of all PBXs that have them."""
        rows = await self._database.rows(
            "SELECT sn, url, client_id, client_secret, fingerprint FROM pbx_credentials ORDER BY sn"
        )
        return dict(read_rows(rows, lambda row: (row[0], _credentials(row[1:]))))

    async def get(self, sn: str) -> PbxCredentials | None:
        """Return the credentials of a PBX, or None."""
        rows = await self._database.rows(
            "SELECT url, client_id, client_secret, fingerprint FROM pbx_credentials WHERE sn = ?", (sn,)
        )
        return read_row(rows[0], _credentials) if rows else None

    async def require(self, sn: str, name: str) -> PbxCredentials:
        """Return the credentials of a PBX. Raises `NotFound` where it has none."""
        credentials = await self.get(sn)
        if credentials is None:
            raise NotFound(
                _("the API address of {name} is not set", name=name),
                hint=_(
                    "onhook pbx change {pbx} --api https://HOST:PORT --client-id ID --client-secret SECRET",
                    pbx=shlex.quote(name),
                ),
            )
        return credentials

    @transactional
    async def put(self, sn: str, credentials: PbxCredentials) -> None:
        """Set the credentials of a registered PBX; they are validated already.

        Stored tokens are deleted where the credentials differ, and where a person must act.
        """
        try:
            tokens = await self.tokens(sn, credentials)
        except RowUnreadable:
            tokens = None
        await self._database.write(
            "INSERT INTO pbx_credentials VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (sn) DO UPDATE SET url = excluded.url,"
            " client_id = excluded.client_id, client_secret = excluded.client_secret,"
            " fingerprint = excluded.fingerprint, tokens = excluded.tokens",
            (
                sn,
                *msgspec.structs.astuple(credentials),
                "" if not tokens or _is_halted(tokens) else encode_json_text(tokens),
            ),
        )

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read, or whose tokens cannot."""
        rows = await self._database.rows(
            "SELECT sn, tokens, url, client_id, client_secret, fingerprint FROM pbx_credentials ORDER BY sn"
        )
        return list_unreadable("pbx_credentials", rows, lambda row: decode_json_text(row[1]))

    async def pin(self, sn: str, fingerprint: str) -> None:
        """Trust this certificate from now on, and no other."""
        await self._database.write(
            "UPDATE pbx_credentials SET fingerprint = ? WHERE sn = ?", (parse_fingerprint(fingerprint), sn)
        )

    async def tokens(self, sn: str, credentials: PbxCredentials) -> str | None:
        """Return the stored tokens, empty at first; None where the credentials have changed."""
        rows = await self._database.rows(
            f"SELECT tokens FROM pbx_credentials WHERE {_WHERE_UNCHANGED}", (sn, *msgspec.structs.astuple(credentials))
        )
        return decode_json_text(rows[0][0]) if rows else None

    async def save_tokens(self, sn: str, credentials: PbxCredentials, text: str) -> None:
        """Store the tokens, so that the next session need not log in."""
        await self._database.write(
            f"UPDATE pbx_credentials SET tokens = ?6 WHERE {_WHERE_UNCHANGED}",
            (sn, *msgspec.structs.astuple(credentials), encode_json_text(text)),
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


def _credentials(row: Row) -> PbxCredentials:
    url, client_id, client_secret, fingerprint = row
    return PbxCredentials(url=url, client_id=client_id, client_secret=client_secret, fingerprint=fingerprint)


class _TokenState(msgspec.Struct):
    """The part of the stored tokens that is read here."""

    halt_reason: str = ""


def _is_halted(tokens: str) -> bool:
    """Return whether a person must act; tokens that cannot be read are replaced by new ones."""
    try:
        return bool(msgspec.json.decode(tokens, type=_TokenState).halt_reason)
    except msgspec.DecodeError:
        return True
