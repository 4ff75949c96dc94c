"""The identity provider of the installation (OpenID Connect), and whom it names.

Invariants: the client secret is returned by `get_client_secret` alone, for the request that needs it, and stays with
its issuer and client id. An identity is an issuer and a subject; no name and no address links it to a user.
"""

from urllib.parse import urlsplit

import msgspec

from onhook.appdb.claim_rules import parse_rules
from onhook.appdb.contract import ConstraintViolation, Database, Row, transactional
from onhook.appdb.stored_json import UnreadableRow, decode_column, encode_column, list_unreadable, read_row
from onhook.lib.certificates import normalize_certificates
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

TEXT_CHARACTERS_MAX = 500
"""Of an issuer, a client id, a client secret, and the name of a claim."""

LABEL_CHARACTERS_MAX = 40
CERTIFICATE_CHARACTERS_MAX = 50_000
SUBJECT_CHARACTERS_MAX = 255
"""OpenID Connect Core, 2."""

LABEL_DEFAULT, SCOPES_DEFAULT = "single sign-on", "openid profile email"


class ProviderSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A provider without its secret. `label` is on the button. Users are added at their first sign-in with
    `adds_users`, named by `name_claim`; `role_claim` has the values of `rules` (`claim_rules`). With `counts_as_factor`
    a sign-in there is one with a second factor.
    """

    issuer: str
    client_id: str
    label: str = LABEL_DEFAULT
    scopes: str = SCOPES_DEFAULT
    name_claim: str = "preferred_username"
    role_claim: str = "groups"
    rules: str = ""
    adds_users: bool = False
    counts_as_factor: bool = False
    allow_private: bool = False
    ca_certificates: str = ""


class Identity(msgspec.Struct, frozen=True):
    """The user of an issuer and a subject; a managed one has the role that the provider gives."""

    user_name: str
    is_managed: bool


class IdentityProvider:
    """Repository of the provider, of which there is one at most, and of identities."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self) -> ProviderSettings | None:
        """Return the settings, or None. Raises `RowUnreadable`."""
        rows = await self._database.rows("SELECT settings FROM identity_provider")
        return read_row(rows[0], _decode) if rows else None

    async def get_client_secret(self) -> str:
        """Return the secret, for the request that needs it; empty where there is none."""
        rows = await self._database.rows("SELECT client_secret FROM identity_provider")
        return read_row(rows[0], lambda row: str(row[0])) if rows else ""

    @transactional
    async def put(self, settings: ProviderSettings, client_secret: str | None = None) -> ProviderSettings:
        """Store settings, and return them as they are stored; without a secret the stored one stays, as long as it is
        for the same issuer and client id. Raises `UsageError`.
        """
        settings = validate_provider(settings)
        rows = await self._database.rows("SELECT issuer, client_id, client_secret FROM identity_provider")
        if client_secret is None:
            is_same = bool(rows) and rows[0][:2] == (settings.issuer, settings.client_id)
            client_secret = rows[0][2] if is_same else ""
        await self._database.write("DELETE FROM identity_provider")
        await self._database.write(
            "INSERT INTO identity_provider VALUES (1, ?, ?, ?, ?)",
            (
                *(settings.issuer, settings.client_id, _validate_text(client_secret, "client_secret")),
                encode_column(settings),
            ),
        )
        return settings

    async def remove(self) -> None:
        """Remove the provider: its users cannot sign in until it is set again."""
        await self._database.write("DELETE FROM identity_provider")

    async def find_identity(self, issuer: str, subject: str) -> Identity | None:
        """Return the user of an issuer and a subject, or None."""
        rows = await self._database.rows(
            "SELECT user_name, is_managed FROM identities WHERE issuer = ? AND subject = ?", (issuer, subject)
        )
        return Identity(rows[0][0], bool(rows[0][1])) if rows else None

    async def has_identity(self, user_name: str) -> bool:
        """Return whether the user can sign in by the provider."""
        rows = await self._database.rows(
            "SELECT 1 FROM identities i JOIN identity_provider p ON p.issuer = i.issuer WHERE i.user_name = ?",
            (user_name,),
        )
        return bool(rows)

    @transactional
    async def link(self, issuer: str, subject: str, user_name: str, *, is_managed: bool, now_us: int) -> None:
        """Link an identity to a user. Raises `UsageError` where it is one of a user, or the user has one of the issuer:
        a second one would be that of another person.
        """
        if await self._database.rows(
            "SELECT 1 FROM identities WHERE issuer = ? AND user_name = ?", (issuer, user_name)
        ):
            raise UsageError(_("{name} is linked already", name=user_name), hint=_("remove the link first"))
        try:
            await self._database.write(
                "INSERT INTO identities VALUES (?, ?, ?, ?, ?)", (issuer, subject, user_name, is_managed, now_us)
            )
        except ConstraintViolation:
            raise UsageError(_("this account is that of another user here"), hint=_("ask an administrator")) from None

    async def unlink(self, user_name: str) -> None:
        """Remove the identities of a user."""
        await self._database.write("DELETE FROM identities WHERE user_name = ?", (user_name,))

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the row if it cannot be read."""
        rows = await self._database.rows("SELECT settings, issuer, client_id, client_secret FROM identity_provider")
        return list_unreadable("identity_provider", rows, _decode, name_columns=())


def validate_provider(settings: ProviderSettings) -> ProviderSettings:
    """Return settings without blanks around texts. Raises `UsageError`."""
    settings = msgspec.structs.replace(
        settings,
        issuer=_validate_issuer(settings.issuer.strip(), allow_private=settings.allow_private),
        client_id=_validate_text(settings.client_id.strip(), "client_id"),
        label=settings.label.strip() or LABEL_DEFAULT,
        scopes=" ".join(settings.scopes.split()) or SCOPES_DEFAULT,
        name_claim=_validate_text(settings.name_claim.strip(), "name_claim"),
        role_claim=_validate_text(settings.role_claim.strip(), "role_claim"),
        ca_certificates=_validate_certificates(settings.ca_certificates.strip()),
    )
    _validate_text(settings.scopes, "scopes")
    if "openid" not in settings.scopes.split():
        raise UsageError(_("the scopes lack openid"), location="scopes", hint=_("write openid profile email"))
    if len(settings.label) > LABEL_CHARACTERS_MAX or not settings.label.isprintable():
        raise UsageError(_("the text of the button is too long"), location="label", hint=_("name the provider"))
    for name in ("client_id", "name_claim", "role_claim"):
        if not getattr(settings, name):
            raise UsageError(_("{name} is missing", name=name), location=name, hint=_("enter it"))
    parse_rules(settings.rules)
    return settings


def _validate_issuer(issuer: str, *, allow_private: bool) -> str:
    """Return the URL of an issuer, exactly as it is compared. http is for a provider in a private network."""
    try:
        parts = urlsplit(issuer)
        has_host = bool(parts.hostname) and parts.port != 0
    except ValueError:
        parts, has_host = urlsplit(""), False
    is_plain = not parts.query and not parts.fragment and "@" not in parts.netloc and " " not in issuer
    schemes = ("https", "http") if allow_private else ("https",)
    if not has_host or not is_plain or parts.scheme not in schemes or not issuer.isprintable():
        raise UsageError(
            _("this is not the URL of an issuer"),
            location="issuer",
            hint=_("write https://login.example.com/realms/office, as the provider's settings name it"),
        )
    return _validate_text(issuer, "issuer")


def _validate_text(text: str, location: str) -> str:
    if len(text) > TEXT_CHARACTERS_MAX or not text.isprintable():
        raise UsageError(_("a text is too long, or has control characters"), location=location, hint=_("correct it"))
    return text


def _validate_certificates(pem: str) -> str:
    if len(pem) > CERTIFICATE_CHARACTERS_MAX:
        raise UsageError(_("the certificates are too long"), location="ca_certificates", hint=_("name fewer"))
    return normalize_certificates(pem) if pem else ""


def _decode(row: Row) -> ProviderSettings:
    return validate_provider(decode_column(row[0], ProviderSettings))


def require_provider(settings: ProviderSettings | None) -> ProviderSettings:
    """Return the settings. Raises `NotFound` where there is no provider."""
    if settings is None:
        raise NotFound(_("no identity provider is set"), hint=_("an administrator sets it on the page Sign-in"))
    return settings
