"""Token management of one PBX: one login shared by all its clients (yeastar-p-series.md 6).

Invariants: never more than two tokens are active. A token is refreshed before it expires, and the old one stays active
until the new socket is open. An invalid parameter never causes a login. If the PBX reports too many tokens, the client
waits; if the PBX blocks or rejects it, the client halts until an operator acts. The state is a frozen value that is
saved, so that a killed process does not log in again.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from onhook.lib.messages import _
from onhook.pbx.client import ClientCredentials, PbxRequest, PbxResponse, TokenStep
from onhook.pbx.yeastar.answers import API_PATH

LIVE_TOKENS_MAX = 2
"""Of eight that a PBX allows one application (yeastar-p-series.md 6): the current one, and its successor."""

RENEW_BEFORE_SECONDS = 8 * 60
"""Before a token expires: sockets are renewed every 22 minutes, within the usual 20 to 25."""

TOKEN_SECONDS_DEFAULT = 30 * 60
REFRESH_SECONDS_DEFAULT = 24 * 3600
"""Used if the PBX does not report it; every observed PBX does."""

TOKEN_CHARACTERS_MAX = 512
"""A PBX issues tokens of 32."""

RETRY_SECONDS_FIRST = 5.0
RETRY_SECONDS_MAX = 600.0
"""Wait between failed attempts: doubles up to this limit."""

TOO_MANY_TOKENS_RETRY_SECONDS = 300.0
"""Wait if too many tokens are active: they expire within half an hour, and every attempt is one more failure."""

REFUSED_LOGINS_MAX = 2
"""Consecutive rejected logins before the client halts: the PBX blocks an address after five (yeastar-p-series.md 6)."""

EARLY_REFUSAL_SECONDS = 60.0
"""A token rejected so soon after it was issued will be rejected again."""


class PbxToken(msgspec.Struct, frozen=True):
    """An issued token and its refresh token. Times are Unix seconds."""

    token: str
    issued_at: float
    expires_at: float
    refresh_token: str = ""
    refresh_expires_at: float = 0.0

    def __repr__(self) -> str:
        return f"PbxToken(expires_at={self.expires_at})"


class TokenState(msgspec.Struct, frozen=True, kw_only=True):
    """The token state of one PBX. `replaced_tokens` are still active. `halt_reason` says why an operator must act.

    `unconfirmed_until` are the expiry times of requested tokens whose response never came.
    """

    current_token: PbxToken | None = None
    replaced_tokens: tuple[PbxToken, ...] = ()
    unconfirmed_until: tuple[float, ...] = ()
    retry_at: float = 0.0
    failures: int = 0
    refused_logins: int = 0
    halt_reason: str = ""
    error: str = ""


def next_step(tokens: TokenState, credentials: ClientCredentials, now: float) -> TokenStep:
    """Return the next action to get a usable token."""
    tokens = remove_expired_tokens(tokens, now)
    current = tokens.current_token
    if tokens.halt_reason:
        return TokenStep(action="halt", reason=tokens.halt_reason)
    if current is not None and current.expires_at - now > RENEW_BEFORE_SECONDS:
        return TokenStep(action="use", token=current.token, until=current.expires_at - RENEW_BEFORE_SECONDS)
    use_step = (
        TokenStep(action="use", token=current.token, until=_retry_time(tokens, now))
        if current is not None and current.expires_at > now
        else None
    )
    if now < tokens.retry_at:
        return use_step or TokenStep(action="wait", until=tokens.retry_at, reason=tokens.error)
    if count_live_tokens(tokens, now) >= LIVE_TOKENS_MAX:
        if tokens.replaced_tokens:
            return _revoke_step(tokens.replaced_tokens[0])
        return use_step or TokenStep(
            action="wait",
            until=min(tokens.unconfirmed_until),
            reason=_("tokens may be active whose responses never arrived"),
        )
    if current is not None and current.refresh_token and current.refresh_expires_at > now:
        return TokenStep(
            action="refresh", request=_post_request("refresh_token", {"refresh_token": current.refresh_token})
        )
    return TokenStep(
        action="login",
        request=_post_request("get_token", {"username": credentials.client_id, "password": credentials.client_secret}),
    )


def begin_step(tokens: TokenState, step: TokenStep, now: float) -> TokenState:
    """Return the state to save before an action: the response may never arrive, or the process may be killed before it
    does.
    """
    if step.action not in ("login", "refresh"):
        return tokens
    return msgspec.structs.replace(tokens, unconfirmed_until=(*tokens.unconfirmed_until, now + TOKEN_SECONDS_DEFAULT))


def finish_step(tokens: TokenState, step: TokenStep, response: PbxResponse, now: float, *, jitter: float) -> TokenState:
    """Return the state after the response to an action that `begin_step` recorded. `jitter` from 0 to 1 spreads waits.

    A response that never came is `invalid_response`: the PBX may have executed the request.
    """
    tokens = remove_expired_tokens(tokens, now)
    if step.action == "revoke":
        return _finish_revocation(tokens, step, response, now, jitter)
    new_token = _parse_token(response.members, now) if response.error_kind is None else None
    if response.error_kind is None and new_token is None:
        # The PBX may have issued one all the same.
        response = PbxResponse(
            errcode=0, error_kind="invalid_response", error_text=_("the login response contains no token")
        )
    if response.error_kind != "invalid_response":
        tokens = msgspec.structs.replace(tokens, unconfirmed_until=tokens.unconfirmed_until[:-1])
    if new_token is not None:
        return _accept_token(tokens, new_token)
    if response.error_kind == "needs_operator":
        return msgspec.structs.replace(
            tokens, halt_reason=_("the PBX blocks this address: {error}", error=response.error_text)
        )
    if response.error_kind == "too_many_tokens":
        return _schedule_retry(
            tokens,
            now + TOO_MANY_TOKENS_RETRY_SECONDS * (1 + jitter),
            _("too many active tokens: {error}", error=response.error_text),
        )
    if step.action == "refresh" and response.error_kind in ("token_expired", "invalid_credentials", "invalid_request"):
        return _remove_refresh_token(tokens)
    if response.error_kind in ("invalid_credentials", "invalid_request", "token_expired"):
        return _record_refused_login(tokens, response, now, jitter)
    # Includes 40001 and 40002: the request was not understood, which says nothing about the credentials.
    return _schedule_retry(tokens, now + backoff_seconds(tokens.failures, jitter), response.error_text)


def reject_token(tokens: TokenState, token: str, now: float, *, jitter: float) -> TokenState:
    """Return the state after the PBX rejected a token as expired: the token is renewed once, not repeatedly."""
    tokens = remove_token(tokens, token, keep_current=True)
    current = tokens.current_token
    if current is None or current.token != token:
        return tokens
    expired_token = msgspec.structs.replace(current, expires_at=now)
    is_refused_early = now - current.issued_at < EARLY_REFUSAL_SECONDS
    tokens = msgspec.structs.replace(tokens, current_token=expired_token)
    if not is_refused_early:
        return tokens
    tokens = msgspec.structs.replace(tokens, current_token=None)
    return _schedule_retry(
        tokens, now + backoff_seconds(tokens.failures, jitter), _("the PBX rejected a new token immediately")
    )


def revocation_steps(tokens: TokenState, now: float) -> list[TokenStep]:
    """Return the revocations of all tokens."""
    tokens = remove_expired_tokens(tokens, now)
    live_tokens = [*tokens.replaced_tokens, *([tokens.current_token] if tokens.current_token else [])]
    return [_revoke_step(live_token) for live_token in live_tokens]


def replaced_token_revocation(tokens: TokenState) -> TokenStep | None:
    """Return the revocation of a replaced token that is no longer in use."""
    return _revoke_step(tokens.replaced_tokens[0]) if tokens.replaced_tokens else None


def remove_token(tokens: TokenState, token: str, *, keep_current: bool = False) -> TokenState:
    """Return the state without a token."""
    is_current = tokens.current_token is not None and tokens.current_token.token == token and not keep_current
    return msgspec.structs.replace(
        tokens,
        current_token=None if is_current else tokens.current_token,
        replaced_tokens=tuple(
            replaced_token for replaced_token in tokens.replaced_tokens if replaced_token.token != token
        ),
    )


def remove_expired_tokens(tokens: TokenState, now: float) -> TokenState:
    """Return the state without expired tokens; the current token stays for its refresh token."""
    replaced_tokens = tuple(
        replaced_token for replaced_token in tokens.replaced_tokens if replaced_token.expires_at > now
    )
    unconfirmed_until = tuple(expires_at for expires_at in tokens.unconfirmed_until if expires_at > now)
    return msgspec.structs.replace(tokens, replaced_tokens=replaced_tokens, unconfirmed_until=unconfirmed_until)


def count_live_tokens(tokens: TokenState, now: float) -> int:
    """Return the largest possible number of active tokens."""
    live_tokens = [*tokens.replaced_tokens, *([tokens.current_token] if tokens.current_token else [])]
    return sum(
        expires_at > now
        for expires_at in [*(live_token.expires_at for live_token in live_tokens), *tokens.unconfirmed_until]
    )


def backoff_seconds(failures: int, jitter: float) -> float:
    """Return the wait after this number of consecutive failures, spread over half of it.

    >>> backoff_seconds(0, 0.0), backoff_seconds(0, 1.0), backoff_seconds(99, 0.0)
    (2.5, 5.0, 300.0)
    """
    return min(RETRY_SECONDS_MAX, RETRY_SECONDS_FIRST * 2.0 ** min(failures, 20)) * (0.5 + jitter / 2)


def _retry_time(tokens: TokenState, now: float) -> float:
    """Return when to retry the renewal of a token that is about to expire and cannot be renewed now."""
    assert tokens.current_token is not None
    return min(tokens.current_token.expires_at, max(tokens.retry_at, now + RETRY_SECONDS_FIRST))


def _accept_token(tokens: TokenState, new_token: PbxToken) -> TokenState:
    previous_token = tokens.current_token
    replaced_tokens = (
        tokens.replaced_tokens
        if previous_token is None or previous_token.expires_at <= new_token.issued_at
        else (*tokens.replaced_tokens, previous_token)
    )
    return TokenState(
        current_token=new_token, replaced_tokens=replaced_tokens, unconfirmed_until=tokens.unconfirmed_until
    )


def _finish_revocation(
    tokens: TokenState, step: TokenStep, response: PbxResponse, now: float, jitter: float
) -> TokenState:
    """Remove a revoked token. A token that may still be active stays: it counts, and can be used or revoked later."""
    if response.error_kind in ("temporary", "invalid_response"):
        return _schedule_retry(tokens, now + backoff_seconds(tokens.failures, jitter), response.error_text)
    return remove_token(tokens, step.token)


def _remove_refresh_token(tokens: TokenState) -> TokenState:
    """Remove the expired refresh token, so that the next action is a login."""
    assert tokens.current_token is not None
    return msgspec.structs.replace(
        tokens, current_token=msgspec.structs.replace(tokens.current_token, refresh_token="")
    )


def _record_refused_login(tokens: TokenState, response: PbxResponse, now: float, jitter: float) -> TokenState:
    refused_logins = tokens.refused_logins + 1
    halt_reason = (
        _("the PBX rejects the client id or secret: {error}", error=response.error_text)
        if refused_logins >= REFUSED_LOGINS_MAX
        else ""
    )
    tokens = msgspec.structs.replace(tokens, refused_logins=refused_logins, halt_reason=halt_reason)
    return _schedule_retry(tokens, now + backoff_seconds(tokens.failures, jitter), response.error_text)


def _schedule_retry(tokens: TokenState, retry_at: float, error: str) -> TokenState:
    return msgspec.structs.replace(tokens, retry_at=retry_at, failures=tokens.failures + 1, error=error)


def _parse_token(members: Mapping[str, Any], now: float) -> PbxToken | None:
    token, refresh_token = members.get("access_token"), members.get("refresh_token", "")
    if not isinstance(token, str) or not 0 < len(token) <= TOKEN_CHARACTERS_MAX or not isinstance(refresh_token, str):
        return None
    return PbxToken(
        token=token,
        issued_at=now,
        expires_at=now + _parse_lifetime_seconds(members.get("access_token_expire_time"), TOKEN_SECONDS_DEFAULT),
        refresh_token=refresh_token[:TOKEN_CHARACTERS_MAX],
        refresh_expires_at=now
        + _parse_lifetime_seconds(members.get("refresh_token_expire_time"), REFRESH_SECONDS_DEFAULT),
    )


def _parse_lifetime_seconds(value: object, default: int) -> int:
    return value if isinstance(value, int) and 0 < value <= REFRESH_SECONDS_DEFAULT * 365 else default


def _revoke_step(live_token: PbxToken) -> TokenStep:
    request = PbxRequest(path=f"{API_PATH}del_token", query={"access_token": live_token.token})
    return TokenStep(action="revoke", token=live_token.token, request=request)


def _post_request(path: str, members: Mapping[str, str]) -> PbxRequest:
    return PbxRequest(method="POST", path=f"{API_PATH}{path}", body=msgspec.json.encode(members))
