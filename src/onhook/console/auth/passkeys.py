"""Passkeys (WebAuthn): what a browser is asked to make or prove, and the check of its answer.

Invariants: the host name for which passkeys are made, and the origin that may use them, are those of the address of the
console that an administrator has set, never those of a request. The challenge of an answer is that of the cookie of the
same browser, and is used once. A passkey signs in alone only where its device has verified the user.
"""

import base64
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec
from litestar import Response
from litestar.datastructures import Cookie

from onhook.appdb.passkeys import Passkey
from onhook.appdb.sign_in_challenges import CHALLENGE_SECONDS, SignInChallenge
from onhook.appdb.users import User
from onhook.console.invitation_mails import find_public_url
from onhook.console.state import AnyRequest, AppState
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import NotAllowed, UsageError
from onhook.lib.hosts import parse_host
from onhook.lib.messages import _

if TYPE_CHECKING:
    import webauthn
    from webauthn.helpers import exceptions as webauthn_exceptions
    from webauthn.helpers import structs as webauthn_structs
else:
    webauthn = DeferredModule("webauthn")
    webauthn_exceptions = DeferredModule("webauthn.helpers.exceptions")
    webauthn_structs = DeferredModule("webauthn.helpers.structs")

COOKIE_NAME = "onhook_passkey_challenge"
CREDENTIAL_CHARACTERS_MAX = 20_000
"""Of an answer: some kilobytes with an attestation, which is not asked for."""

RP_NAME = "Onhook"
Purpose = Literal["add passkey", "sign in by passkey", "second step by passkey"]


class RelyingParty(msgspec.Struct, frozen=True):
    """The host name for which passkeys are made, and the origin of the pages that use them."""

    rp_id: str
    origin: str


class MadePasskey(msgspec.Struct, frozen=True, kw_only=True):
    """A passkey that a browser has made, as it is stored."""

    credential_id: bytes
    user_handle: bytes
    public_key: bytes
    sign_count: int
    rp_id: str


class PasskeyChallenge(msgspec.Struct, frozen=True):
    """Content of a challenge: the challenge itself, and the handle of the user for whom a passkey is made."""

    challenge: bytes
    user_handle: bytes = b""


def parse_relying_party(console_url: str) -> RelyingParty:
    """Return the relying party of the address of the console. Raises `UsageError` where browsers would refuse it.

    >>> parse_relying_party("https://Calls.example.com")
    RelyingParty(rp_id='calls.example.com', origin='https://calls.example.com')
    """
    hint = _("an administrator sets it on the page Sign-in, or with `onhook sign-in console-url`")
    if not console_url:
        raise UsageError(_("passkeys need the address of the console"), hint=hint)
    parts = urlsplit(console_url.lower())
    host = parts.hostname or ""
    if not _is_name(host):
        raise UsageError(_("passkeys need a host name in the address of the console, not an IP address"), hint=hint)
    if parts.scheme != "https" and host != "localhost" and not host.endswith(".localhost"):
        raise UsageError(_("passkeys need an address of the console with https"), hint=hint)
    return RelyingParty(host, f"{parts.scheme}://{parts.netloc}")


def _is_name(host: str) -> bool:
    try:
        return parse_host(host).address is None
    except ValueError:
        return False


async def find_relying_party(app_state: AppState) -> RelyingParty | None:
    """Return the relying party, or None where the settings allow no passkeys."""
    try:
        return parse_relying_party(await find_public_url(app_state.appdb))
    except UsageError:
        return None


async def require_relying_party(request: AnyRequest, app_state: AppState) -> RelyingParty:
    """Return the relying party, for a browser at its address. Raises `UsageError`."""
    party = parse_relying_party(await find_public_url(app_state.appdb))
    origin = request.headers.get("origin", "")
    if origin != party.origin:
        raise UsageError(
            _("passkeys work at {address} alone", address=party.origin), hint=_("open the console at that address")
        )
    return party


async def begin_registration(request: AnyRequest, app_state: AppState, user: User) -> Response[bytes]:
    """Return what the browser makes a passkey by. Raises `UsageError`."""
    party = await require_relying_party(request, app_state)
    handle = await app_state.appdb.passkeys.get_handle(user.name)
    options = webauthn.generate_registration_options(
        rp_id=party.rp_id,
        rp_name=RP_NAME,
        user_name=user.name,
        user_id=handle,
        timeout=CHALLENGE_SECONDS * 1000,
        authenticator_selection=webauthn_structs.AuthenticatorSelectionCriteria(
            resident_key=webauthn_structs.ResidentKeyRequirement.REQUIRED,
            user_verification=webauthn_structs.UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_descriptors(await app_state.appdb.passkeys.of_user(user.name), party),
    )
    content = PasskeyChallenge(options.challenge, handle)
    challenge_id = await _add_challenge(app_state, "add passkey", content, user.name)
    return _options_response(request, webauthn.options_to_json(options), challenge_id)


async def finish_registration(request: AnyRequest, app_state: AppState, user: User, answer: str) -> MadePasskey:
    """Return the passkey that a browser has made. Call it outside of a transaction that may be rolled back: the
    challenge is used up by an answer that is refused too. Raises `UsageError`, `NotAllowed`.
    """
    party = parse_relying_party(await find_public_url(app_state.appdb))
    challenge, content = await _take_challenge(request, app_state, "add passkey")
    if challenge.user_name != user.name:
        raise NotAllowed(_("this passkey was made for another user"), hint=_("add it again"))
    try:
        verified = webauthn.verify_registration_response(
            credential=answer[:CREDENTIAL_CHARACTERS_MAX],
            expected_challenge=content.challenge,
            expected_rp_id=party.rp_id,
            expected_origin=party.origin,
            require_user_verification=True,
        )
    except (webauthn_exceptions.WebAuthnException, ValueError) as error:
        raise NotAllowed(_("this passkey cannot be used: {error}", error=error), hint=_("add it again")) from error
    return MadePasskey(
        credential_id=verified.credential_id,
        user_handle=content.user_handle,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        rp_id=party.rp_id,
    )


async def begin_authentication(request: AnyRequest, app_state: AppState, user_name: str = "") -> Response[bytes]:
    """Return what the browser proves: any passkey with a verified user, or one of this user. Raises `UsageError`."""
    party = await require_relying_party(request, app_state)
    requirement = webauthn_structs.UserVerificationRequirement
    passkeys = await app_state.appdb.passkeys.of_user(user_name) if user_name else []
    options = webauthn.generate_authentication_options(
        rp_id=party.rp_id,
        timeout=CHALLENGE_SECONDS * 1000,
        allow_credentials=_descriptors(passkeys, party),
        user_verification=requirement.PREFERRED if user_name else requirement.REQUIRED,
    )
    purpose: Purpose = "second step by passkey" if user_name else "sign in by passkey"
    content = PasskeyChallenge(options.challenge)
    challenge_id = await _add_challenge(app_state, purpose, content, user_name)
    return _options_response(request, webauthn.options_to_json(options), challenge_id)


async def finish_authentication(request: AnyRequest, app_state: AppState, answer: str, user_name: str = "") -> User:
    """Return the user whose passkey a browser has proved; with a name, in the second step of this user. Raises
    `UsageError`, `NotAllowed`.
    """
    party = parse_relying_party(await find_public_url(app_state.appdb))
    purpose: Purpose = "second step by passkey" if user_name else "sign in by passkey"
    challenge, content = await _take_challenge(request, app_state, purpose)
    answer = answer[:CREDENTIAL_CHARACTERS_MAX]
    passkey = await app_state.appdb.passkeys.find(_credential_id(answer))
    if passkey is None or challenge.user_name != user_name or (user_name and passkey.user_name != user_name):
        raise _unknown_passkey()
    try:
        verified = webauthn.verify_authentication_response(
            credential=answer,
            expected_challenge=content.challenge,
            expected_rp_id=party.rp_id,
            expected_origin=party.origin,
            credential_public_key=passkey.public_key,
            credential_current_sign_count=passkey.sign_count,
            require_user_verification=not user_name,
        )
    except (webauthn_exceptions.WebAuthnException, ValueError) as error:
        raise RefusedPasskey(passkey.user_name) from error
    await app_state.appdb.passkeys.record_use(
        passkey.passkey_id, verified.new_sign_count, now_us=app_state.clock.microseconds()
    )
    return await app_state.appdb.users.get(passkey.user_name)


class RefusedPasskey(NotAllowed):
    """An answer with a known passkey that does not prove it; `user_name` is for the audit log."""

    def __init__(self, user_name: str) -> None:
        super().__init__(_("this passkey was not accepted"), hint=_("try again"))
        self.user_name = user_name


def _unknown_passkey() -> NotAllowed:
    return NotAllowed(_("this passkey is not known here"), hint=_("use another one, or the password"))


def _credential_id(answer: str) -> bytes:
    """Return the id of the passkey in an answer; an empty one of a text that is none."""
    try:
        identifier = msgspec.json.decode(answer, type=_CredentialId).id
        return base64.urlsafe_b64decode(identifier + "=" * (-len(identifier) % 4))
    except (msgspec.DecodeError, ValueError):
        return b""


class _CredentialId(msgspec.Struct, frozen=True):
    id: str


def _descriptors(
    passkeys: list[Passkey], party: RelyingParty
) -> "list[webauthn_structs.PublicKeyCredentialDescriptor]":
    return [
        webauthn_structs.PublicKeyCredentialDescriptor(id=passkey.credential_id)
        for passkey in passkeys
        if passkey.rp_id == party.rp_id
    ]


async def _add_challenge(app_state: AppState, purpose: Purpose, content: PasskeyChallenge, user_name: str) -> str:
    return await app_state.appdb.sign_in_challenges.add(
        purpose,
        msgspec.json.encode(content).decode(),
        user_name=user_name,
        now_us=app_state.clock.microseconds(),
    )


def _options_response(request: AnyRequest, options: str, challenge_id: str) -> Response[bytes]:
    response = Response(options.encode(), media_type="application/json", status_code=200)
    response.set_cookie(
        Cookie(
            key=COOKIE_NAME,
            value=challenge_id,
            max_age=CHALLENGE_SECONDS,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    )
    return response


async def _take_challenge(
    request: AnyRequest, app_state: AppState, purpose: Purpose
) -> tuple[SignInChallenge, PasskeyChallenge]:
    challenge = await app_state.appdb.sign_in_challenges.take(
        request.cookies.get(COOKIE_NAME, ""), purpose, now_us=app_state.clock.microseconds()
    )
    if challenge is None:
        raise NotAllowed(_("the request for a passkey has ended"), hint=_("try again"))
    return challenge, msgspec.json.decode(challenge.content, type=PasskeyChallenge)
