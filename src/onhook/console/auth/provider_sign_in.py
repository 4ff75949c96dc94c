"""A sign-in by the identity provider: the request for it, and what becomes of its answer.

Invariants: an answer counts for the browser that has the cookie of its request, once, with its `state`; the code is
exchanged with the verifier of that request (PKCE), and the token has its nonce. A user is found by issuer and subject
alone: a name or an address that the provider gives links no user that was here before.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlencode

import msgspec
from litestar.datastructures import Cookie

from onhook.appdb.claim_rules import ClaimRule, find_rule, parse_rules
from onhook.appdb.identity_provider import ProviderSettings, require_provider
from onhook.appdb.scopes import parse_scope, split_names
from onhook.appdb.sessions import Session
from onhook.appdb.sign_in_challenges import CHALLENGE_SECONDS
from onhook.appdb.users import User
from onhook.cdr.access_scope import AccessScope
from onhook.console.auth.access import read_session_ids
from onhook.console.auth.provider_client import Claims, check_endpoint
from onhook.console.auth.session_start import local_path
from onhook.console.invitation_mails import find_public_url
from onhook.console.state import AnyRequest, AppState
from onhook.lib.errors import NotAllowed, UsageError
from onhook.lib.messages import _

COOKIE_NAME = "onhook_provider_sign_in"
CALLBACK_PATH = "/sign-in/provider/callback"
PURPOSE = "sign in by provider"
RANDOM_BYTES = 32
ERROR_CHARACTERS_MAX = 200
"""Of what the provider says about an error."""


class ProviderRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the challenge: what the answer must fit. With `session_number` the identity is to be linked to the
    user of that session. `earlier_session_numbers` are the sessions of the browser before, which end with the sign-in:
    the answer comes from another site, without their cookies.
    """

    issuer: str
    client_id: str
    redirect_uri: str
    state: str
    nonce: str
    code_verifier: str
    next_path: str
    session_number: int = 0
    earlier_session_numbers: tuple[int, ...] = ()


class ProviderAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters with which the provider sends a browser back."""

    code: str = ""
    state: str = ""
    iss: str = ""
    error: str = ""
    error_description: str = ""


class ProviderIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Whom the provider has signed in, for which request, and the rule of the claims; None where none matches."""

    request: ProviderRequest
    settings: ProviderSettings
    subject: str
    name: str
    rule: ClaimRule | None


async def begin_provider_request(
    request: AnyRequest, app_state: AppState, *, next_path: str, session: Session | None = None
) -> tuple[str, Cookie]:
    """Return where the browser goes, and its cookie; with a session, to link the identity to its user. Raises
    `NotFound`, `UsageError`, `Unavailable`, `NotAllowed`.
    """
    appdb = app_state.appdb
    settings = require_provider(await appdb.identity_provider.get())
    console_url = await find_public_url(appdb)
    if not console_url:
        raise UsageError(
            _("the identity provider needs the address of the console"),
            hint=_("an administrator sets it on the page Sign-in, or with `onhook sign-in console-url`"),
        )
    configuration = await app_state.provider_client.get_configuration(settings)
    check_endpoint(settings, configuration.authorization_endpoint)
    content = ProviderRequest(
        issuer=settings.issuer,
        client_id=settings.client_id,
        redirect_uri=console_url + CALLBACK_PATH,
        state=secrets.token_urlsafe(RANDOM_BYTES),
        nonce=secrets.token_urlsafe(RANDOM_BYTES),
        code_verifier=secrets.token_urlsafe(RANDOM_BYTES),
        next_path=local_path(next_path),
        session_number=0 if session is None else session.number,
        earlier_session_numbers=await _find_sessions(request, app_state) if session is None else (),
    )
    challenge_id = await appdb.sign_in_challenges.add(
        PURPOSE,
        msgspec.json.encode(content).decode(),
        user_name="" if session is None else session.user_name,
        now_us=app_state.clock.microseconds(),
    )
    separator = "&" if "?" in configuration.authorization_endpoint else "?"
    url = configuration.authorization_endpoint + separator + urlencode(_authorization_query(settings, content))
    return url, provider_cookie(request, challenge_id, seconds=CHALLENGE_SECONDS)


async def _find_sessions(request: AnyRequest, app_state: AppState) -> tuple[int, ...]:
    """Return the numbers of the open sessions of a browser."""
    now_us = app_state.clock.microseconds()
    sessions = [await app_state.appdb.sessions.find([text], now_us) for text in read_session_ids(request, app_state)]
    return tuple(session.number for session in sessions if session is not None)


def _authorization_query(settings: ProviderSettings, content: ProviderRequest) -> dict[str, str]:
    digest = hashlib.sha256(content.code_verifier.encode()).digest()
    return {
        "response_type": "code",
        "client_id": settings.client_id,
        "redirect_uri": content.redirect_uri,
        "scope": settings.scopes,
        "state": content.state,
        "nonce": content.nonce,
        "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }


async def read_provider_answer(request: AnyRequest, app_state: AppState, answer: ProviderAnswer) -> ProviderIdentity:
    """Return whom the provider has signed in. Raises `NotAllowed`, `NotFound`, `Unavailable`."""
    content = await _take_request(request, app_state, answer)
    settings = require_provider(await app_state.appdb.identity_provider.get())
    if (settings.issuer, settings.client_id) != (content.issuer, content.client_id):
        raise NotAllowed(_("the identity provider was changed meanwhile"), hint=_("begin anew"))
    client = app_state.provider_client
    configuration = await client.get_configuration(settings)
    if (answer.iss or configuration.authorization_response_iss_parameter_supported) and answer.iss != settings.issuer:
        raise NotAllowed(_("this answer is that of another identity provider"), hint=_("begin anew"))
    if answer.error or not answer.code:
        text = (answer.error_description or answer.error or _("no code"))[:ERROR_CHARACTERS_MAX]
        raise NotAllowed(_("the identity provider has not signed you in: {error}", error=text), hint=_("try again"))
    tokens = await client.exchange_code(
        settings,
        await app_state.appdb.identity_provider.get_client_secret(),
        code=answer.code,
        code_verifier=content.code_verifier,
        redirect_uri=content.redirect_uri,
    )
    claims = await client.verify_id_token(settings, tokens.id_token, nonce=content.nonce)
    subject = str(claims["sub"])
    if settings.role_claim not in claims or settings.name_claim not in claims:
        claims = {**await client.read_user_info(settings, tokens.access_token, subject), **claims}
    return ProviderIdentity(
        request=content,
        settings=settings,
        subject=subject,
        name=_text(claims.get(settings.name_claim)),
        rule=find_rule(parse_rules(settings.rules), claim_values(claims, settings.role_claim)),
    )


async def find_provider_user(app_state: AppState, identity: ProviderIdentity) -> User:
    """Return the user of an identity, added at the first sign-in where that is allowed; a managed one with the role and
    scope of now. Raises `NotAllowed`, `UsageError`, `NotFound`.
    """
    appdb, issuer = app_state.appdb, identity.settings.issuer
    async with appdb.transaction():
        linked = await appdb.identity_provider.find_identity(issuer, identity.subject)
        if linked is None:
            user = await _add_user(app_state, identity)
            await appdb.identity_provider.link(
                issuer, identity.subject, user.name, is_managed=True, now_us=app_state.clock.microseconds()
            )
            return user
        user = await appdb.users.get(linked.user_name)
        if user.is_disabled:
            raise NotAllowed(_("this user is disabled"), hint=_("ask an administrator"))
        if linked.is_managed and identity.rule is not None:
            return await _apply_rule(app_state, user, identity.rule)
    if linked.is_managed and identity.rule is None:
        await appdb.sessions.end_of_user(user.name)
        raise _no_access()
    return user


async def link_identity(app_state: AppState, identity: ProviderIdentity) -> None:
    """Link an identity to the user of the session that has asked for it, and that is open still. Raises `NotAllowed`,
    `UsageError`.
    """
    appdb, now_us = app_state.appdb, app_state.clock.microseconds()
    number = identity.request.session_number
    sessions = [session for session in await appdb.sessions.all(now_us) if session.number == number]
    if not sessions or not sessions[0].user_name:
        raise NotAllowed(_("you were signed out meanwhile"), hint=_("sign in, and begin anew"))
    await appdb.identity_provider.link(
        identity.settings.issuer, identity.subject, sessions[0].user_name, is_managed=False, now_us=now_us
    )


async def read_rule_scope(app_state: AppState, rule: ClaimRule) -> AccessScope | None:
    """Return the scope of a rule, with the PBXs as they are named now. Raises `UsageError`, `NotFound`."""
    limits = rule.limits
    return await parse_scope(
        app_state.appdb,
        [limits.get("pbxs", "")],
        [limits.get("numbers", "")],
        limits.get("mask", "none"),
        split_names(limits.get("departments", "")),
        split_names(limits.get("sites", "")),
    )


def claim_values(claims: Claims, name: str) -> frozenset[str]:
    """Return the values of a claim: texts of a list, or one text. A dot leads into an object.

    >>> sorted(claim_values({"realm_access": {"roles": ["a", "b", 1]}}, "realm_access.roles"))
    ['a', 'b']
    """
    value: Any = claims.get(name)
    if value is None and "." in name:
        value = claims
        for part in name.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    values: Iterable[Any] = value if isinstance(value, list) else [value]
    return frozenset(text for text in values if isinstance(text, str))


def provider_cookie(request: AnyRequest, text: str, *, seconds: int) -> Cookie:
    """Return the cookie of a request: the provider, another site, leads the browser back with it (SameSite=Lax)."""
    return Cookie(
        key=COOKIE_NAME,
        value=text,
        max_age=seconds,
        path="/sign-in/provider",
        httponly=True,
        samesite="lax",
        secure=request.url.scheme == "https",
    )


class NoProviderRequest(NotAllowed):
    """An answer of a provider in a browser that has not asked for it."""


async def _take_request(request: AnyRequest, app_state: AppState, answer: ProviderAnswer) -> ProviderRequest:
    challenge = await app_state.appdb.sign_in_challenges.take(
        request.cookies.get(COOKIE_NAME, ""), PURPOSE, now_us=app_state.clock.microseconds()
    )
    content = None if challenge is None else msgspec.json.decode(challenge.content, type=ProviderRequest)
    if content is None or not secrets.compare_digest(content.state.encode(), answer.state.encode()):
        raise NoProviderRequest(_("this sign-in was not begun in this browser, or has ended"), hint=_("begin anew"))
    return content


async def _add_user(app_state: AppState, identity: ProviderIdentity) -> User:
    if not identity.settings.adds_users:
        raise NotAllowed(
            _("your account at the identity provider has no user here"),
            hint=_("ask an administrator; if you have a user here, sign in and link it on the page of your account"),
        )
    if identity.rule is None:
        raise _no_access()
    users = app_state.appdb.users
    if await users.find(identity.name) is not None:
        raise NotAllowed(
            _("there is a user {name} here already, who is not linked to this account", name=repr(identity.name[:80])),
            hint=_("sign in as this user and link it on the page of the account, or ask an administrator"),
        )
    scope = await read_rule_scope(app_state, identity.rule)
    now_us = app_state.clock.microseconds()
    return await users.add_without_password(identity.name, identity.rule.role, scope, now_us=now_us)


async def _apply_rule(app_state: AppState, user: User, rule: ClaimRule) -> User:
    scope = await read_rule_scope(app_state, rule)
    if (user.role, user.scope) == (rule.role, scope):
        return user
    return await app_state.appdb.users.change(user.name, new_name=user.name, role=rule.role, scope=scope)


def _text(value: object) -> str:
    return value.strip() if isinstance(value, str) else ""


def _no_access() -> NotAllowed:
    return NotAllowed(
        _("your account at the identity provider has no access here"), hint=_("ask an administrator for a group")
    )
