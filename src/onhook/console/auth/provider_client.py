"""Requests to the identity provider, and the check of what it signs (OpenID Connect Core, RFC 8414, RFC 9207).

Invariants: each connection goes through the SSRF guard, redirects are not followed, answers are bounded. The issuer of
the configuration, of the tokens, and of each answer that names one is the one that an administrator has set, compared
exactly. Tokens are signed with a public key of the provider: algorithms with a shared secret, or none, are refused.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote_plus, urlsplit

import aiohttp
import msgspec

from onhook.appdb.identity_provider import SUBJECT_CHARACTERS_MAX, ProviderSettings
from onhook.delivery.ssrf_guard import create_ssrf_guard
from onhook.lib.certificates import create_trust
from onhook.lib.clock import Clock
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import NotAllowed, Unavailable
from onhook.lib.messages import _

if TYPE_CHECKING:
    from joserfc import errors as jose_errors
    from joserfc import jwk, jwt
else:
    jose_errors = DeferredModule("joserfc.errors")
    jwk = DeferredModule("joserfc.jwk")
    jwt = DeferredModule("joserfc.jwt")

REQUEST_SECONDS_MAX = 10.0
ANSWER_BYTES_MAX = 256 * 1024
"""Of a configuration, keys, or tokens: some kilobytes."""

CACHE_MICROSECONDS = 600_000_000
"""How long configuration and keys are used without asking again."""

KEYS_PAUSE_MICROSECONDS = 10_000_000
"""Between two requests for keys because of a token that none of them has signed: keys may have been rotated."""

SIGN_INS_MAX = 20
"""Sign-ins that wait for the provider at a time: every client may begin one, and each holds a connection."""

LEEWAY_SECONDS = 60
"""Clocks differ."""

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures with a public key."""

Claims = Mapping[str, Any]
ValueT = TypeVar("ValueT")


class ProviderConfiguration(msgspec.Struct, frozen=True):
    """What is used of the document at `/.well-known/openid-configuration`."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    token_endpoint_auth_methods_supported: tuple[str, ...] = ("client_secret_basic",)
    authorization_response_iss_parameter_supported: bool = False


class TokenResponse(msgspec.Struct, frozen=True):
    """Answer to a code."""

    id_token: str
    access_token: str = ""

    def __repr__(self) -> str:
        return "TokenResponse()"


class _Keys(msgspec.Struct, frozen=True):
    keys: tuple[dict[str, Any], ...]


class _Fetched(msgspec.Struct, frozen=True):
    """What was fetched of an issuer, and when, in microseconds since 1970."""

    settings: ProviderSettings
    configuration: ProviderConfiguration
    keys: _Keys
    fetched_at: int


class ProviderClient:
    """Client of the identity provider, for the tasks of one hub. Its methods raise `Unavailable` where the provider
    cannot be asked, or too many wait for it, and `NotAllowed` for an answer that is none.
    """

    def __init__(self, clock: Clock, private_networks: str) -> None:
        self._clock = clock
        self._private_networks = private_networks
        self._fetched: _Fetched | None = None
        self._fetch_task: asyncio.Task[_Fetched] | None = None
        self._fetched_settings: ProviderSettings | None = None
        self._waiting_count = 0

    async def get_configuration(self, settings: ProviderSettings) -> ProviderConfiguration:
        """Return the configuration of the provider, of the last minutes."""
        return (await self._fetch(settings, CACHE_MICROSECONDS)).configuration

    async def exchange_code(
        self, settings: ProviderSettings, client_secret: str, *, code: str, code_verifier: str, redirect_uri: str
    ) -> TokenResponse:
        """Return the tokens for a code."""
        configuration = await self.get_configuration(settings)
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": code_verifier,
        }
        headers: dict[str, str] = {}
        if client_secret and "client_secret_basic" in configuration.token_endpoint_auth_methods_supported:
            # RFC 6749, 2.3.1: both are encoded as in a form before.
            login = quote_plus(settings.client_id), quote_plus(client_secret)
            headers["Authorization"] = aiohttp.encode_basic_auth(*login)
        else:
            fields["client_id"] = settings.client_id
            fields |= {"client_secret": client_secret} if client_secret else {}
        async with self._place():
            body = await self._request(settings, "POST", configuration.token_endpoint, data=fields, headers=headers)
        return _decode(body, TokenResponse)

    async def verify_id_token(self, settings: ProviderSettings, token: str, *, nonce: str) -> Claims:
        """Return the claims of a token that the provider has signed for this client and this request."""
        fetched = await self._fetch(settings, CACHE_MICROSECONDS)
        try:
            claims = _verify_signature(token, fetched.keys)
        except NotAllowed:
            # Keys may have been rotated since.
            fetched = await self._fetch(settings, KEYS_PAUSE_MICROSECONDS)
            claims = _verify_signature(token, fetched.keys)
        check_claims(claims, settings, nonce=nonce, now_seconds=self._clock.microseconds() // 1_000_000)
        return claims

    async def read_user_info(self, settings: ProviderSettings, access_token: str, subject: str) -> Claims:
        """Return further claims about a subject; none where the provider has no address for them."""
        configuration = await self.get_configuration(settings)
        if not configuration.userinfo_endpoint or not access_token:
            return {}
        headers = {"Authorization": f"Bearer {access_token}"}
        async with self._place():
            body = await self._request(settings, "GET", configuration.userinfo_endpoint, headers=headers)
        claims = _decode(body, dict[str, Any])
        if claims.get("sub") != subject:
            raise _invalid(_("it names another account"))
        return claims

    async def _fetch(self, settings: ProviderSettings, age_us: int) -> _Fetched:
        """Return configuration and keys that are no older than this; those who wait for them share one request."""
        now_us, fetched = self._clock.microseconds(), self._fetched
        if fetched is not None and fetched.settings == settings and 0 <= now_us - fetched.fetched_at < age_us:
            return fetched
        async with self._place():
            task = self._fetch_task
            if task is None or task.done() or self._fetched_settings != settings:
                task = self._fetch_task = asyncio.create_task(self._read(settings, now_us), name="identity provider")
                self._fetched_settings = settings
            return await asyncio.shield(task)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        """Have one of the places of sign-ins that wait for the provider. Raises `Unavailable`."""
        if self._waiting_count >= SIGN_INS_MAX:
            raise Unavailable(
                _("too many people are signing in by the identity provider"), hint=_("try again in a few seconds")
            )
        self._waiting_count += 1
        try:
            yield
        finally:
            self._waiting_count -= 1

    async def _read(self, settings: ProviderSettings, now_us: int) -> _Fetched:
        url = settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        configuration = _decode(await self._request(settings, "GET", url), ProviderConfiguration)
        if not secrets.compare_digest(configuration.issuer.encode(), settings.issuer.encode()):
            raise _invalid(_("its configuration is that of another issuer"))
        keys = _decode(await self._request(settings, "GET", configuration.jwks_uri), _Keys)
        self._fetched = _Fetched(settings, configuration, keys, now_us)
        return self._fetched

    async def _request(
        self,
        settings: ProviderSettings,
        method: str,
        url: str,
        *,
        data: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        """Return the body of an answer 200."""
        check_endpoint(settings, url)
        guard = create_ssrf_guard(self._private_networks, allow_private=settings.allow_private)
        resolver = aiohttp.AsyncResolver()
        connector = aiohttp.TCPConnector(
            socket_factory=guard.create_socket,
            resolver=resolver,
            ssl=create_trust(settings.ca_certificates) if settings.ca_certificates else True,
        )
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS_MAX),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"Accept": "application/json"},
                ) as session,
                session.request(method, url, data=data, headers=headers, allow_redirects=False) as answer,
            ):
                status, body = answer.status, await _read_body(answer)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unavailable(
                _("the identity provider cannot be asked: {error}", error=str(error) or type(error).__name__),
                hint=_("sign in another way, or try again"),
            ) from error
        finally:
            await resolver.close()
        if status != HTTPStatus.OK or len(body) > ANSWER_BYTES_MAX:
            raise _invalid(_("it answered {status} at {host}", status=status, host=urlsplit(url).hostname))
        return body


async def _read_body(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body of an answer; of one that is too large the begin, and more than is allowed."""
    body = b""
    async for part in answer.content.iter_chunked(ANSWER_BYTES_MAX):
        body += part
        if len(body) > ANSWER_BYTES_MAX:
            break
    return body


def check_endpoint(settings: ProviderSettings, url: str) -> None:
    """Check an address that the provider names: https, unless the issuer itself has none. Raises `NotAllowed`."""
    try:
        parts = urlsplit(url)
        is_valid = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise _invalid(_("its configuration has an invalid URL")) from None
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and settings.issuer.startswith("http:"))
    if not is_valid or not is_safe or "@" in parts.netloc:
        raise _invalid(_("its configuration has an invalid URL"))


def check_claims(claims: Claims, settings: ProviderSettings, *, nonce: str, now_seconds: int) -> None:
    """Check the claims of a token whose signature is right (OpenID Connect Core, 3.1.3.7). Raises `NotAllowed`."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    subject, expires_at, token_nonce = claims.get("sub"), claims.get("exp"), claims.get("nonce")
    if claims.get("iss") != settings.issuer:
        raise _invalid(_("its token is that of another issuer"))
    needs_party = len(audiences) > 1 or "azp" in claims
    if settings.client_id not in audiences or (needs_party and claims.get("azp") != settings.client_id):
        raise _invalid(_("its token is for another client"))
    if not isinstance(expires_at, int | float) or expires_at + LEEWAY_SECONDS <= now_seconds:
        raise _invalid(_("its token has expired: check the clocks"))
    for name in ("iat", "nbf"):
        begins_at = claims.get(name, now_seconds)
        if not isinstance(begins_at, int | float) or begins_at - LEEWAY_SECONDS > now_seconds:
            raise _invalid(_("its token is not valid yet: check the clocks"))
    if not isinstance(token_nonce, str) or not secrets.compare_digest(token_nonce.encode(), nonce.encode()):
        raise _invalid(_("its token is for another sign-in"))
    if not isinstance(subject, str) or not 1 <= len(subject) <= SUBJECT_CHARACTERS_MAX:
        raise _invalid(_("its token names no account"))


def _verify_signature(token: str, keys: _Keys) -> Claims:
    try:
        key_set = jwk.KeySet.import_key_set({"keys": list(keys.keys)})
        return jwt.decode(token, key_set, algorithms=list(ALGORITHMS)).claims
    except (jose_errors.JoseError, ValueError, TypeError, KeyError) as error:
        raise _invalid(_("its token has no valid signature")) from error


def _decode(body: bytes, value_type: type[ValueT]) -> ValueT:
    try:
        return msgspec.json.decode(body, type=value_type)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise _invalid(_("it sent no valid answer")) from error


def _invalid(reason: str) -> NotAllowed:
    return NotAllowed(
        _("the identity provider cannot be used: {reason}", reason=reason), hint=_("sign in another way, or try again")
    )
