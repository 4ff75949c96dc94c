"""One login shared by all who talk to a PBX: what to do next about its tokens (PROTOCOL.md 6).

Laws: never more than two tokens live. A token is refreshed before it ends, and the old one lives on until the new
socket stands. A wrong parameter never leads to a login. When the PBX says that there are too many tokens we wait, and
when it blocks or refuses us we stop until a person acts. The state is a frozen value that can be kept, so that a
process that was killed does not log in again.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from onhook.pbx.client import Answer, Login, Request, Step
from onhook.pbx.yeastar.answers import API

LIVE_MAX = 2
"""Of eight that a PBX allows one application (PROTOCOL.md 6): one in use, and one that is taking over from it."""

RENEW_SECONDS = 8 * 60
"""Before a token ends: sockets are then renewed every 22 minutes, within the practice of 20 to 25."""

TOKEN_SECONDS_DEFAULT = 30 * 60
REFRESH_SECONDS_DEFAULT = 24 * 3600
"""Where the PBX does not say; it always did."""

TOKEN_CHARACTERS_MAX = 512
"""A PBX makes 32."""

WAIT_SECONDS_FIRST = 5.0
WAIT_SECONDS_MAX = 600.0
"""Between tries that failed: doubling up to this."""

FULL_WAIT_SECONDS = 300.0
"""When there are too many tokens: they end by themselves within half an hour, and every try is one more failure."""

REFUSALS_MAX = 2
"""Log-ins refused in a row until we stop: the PBX blocks an address after five (PROTOCOL.md 6)."""

SOON_SECONDS = 60.0
"""A token that is refused so soon after it was given will not be better next time."""


class Grant(msgspec.Struct, frozen=True):
    """A token that was given, with what renews it. Moments are Unix seconds."""

    token: str
    given_at: float
    until: float
    refresh: str = ""
    refresh_until: float = 0.0

    def __repr__(self) -> str:
        return f"Grant(until={self.until})"


class Tokens(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of one PBX's tokens. `old` ones still live. `halted` says why only a person can help.

    `unknown` says until when tokens may live that we asked for and whose answer never came.
    """

    current: Grant | None = None
    old: tuple[Grant, ...] = ()
    unknown: tuple[float, ...] = ()
    retry_at: float = 0.0
    failures: int = 0
    refusals: int = 0
    halted: str = ""
    trouble: str = ""


def next_step(tokens: Tokens, login: Login, now: float) -> Step:
    """What is to be done now, so that there is a token to use."""
    tokens = without_ended(tokens, now)
    current = tokens.current
    if tokens.halted:
        return Step(act="halt", why=tokens.halted)
    if current is not None and current.until - now > RENEW_SECONDS:
        return Step(act="use", token=current.token, until=current.until - RENEW_SECONDS)
    can_use = (
        Step(act="use", token=current.token, until=_later(tokens, now))
        if current is not None and current.until > now
        else None
    )
    if now < tokens.retry_at:
        return can_use or Step(act="wait", until=tokens.retry_at, why=tokens.trouble)
    if live(tokens, now) >= LIVE_MAX:
        if tokens.old:
            return _revoke(tokens.old[0])
        return can_use or Step(act="wait", until=min(tokens.unknown), why="tokens may live whose answers never came")
    if current is not None and current.refresh and current.refresh_until > now:
        return Step(act="refresh", request=_post("refresh_token", {"refresh_token": current.refresh}))
    return Step(act="login", request=_post("get_token", {"username": login.client_id, "password": login.client_secret}))


def begun(tokens: Tokens, step: Step, now: float) -> Tokens:
    """What is known before a step is taken: keep it, for the answer may never come, or we be killed before it does."""
    if step.act not in ("login", "refresh"):
        return tokens
    return msgspec.structs.replace(tokens, unknown=(*tokens.unknown, now + TOKEN_SECONDS_DEFAULT))


def heard(tokens: Tokens, step: Step, answer: Answer, now: float, *, chance: float) -> Tokens:
    """What is known after the answer to a step that was `begun`. `chance` from 0 to 1 spreads waits.

    An answer that never came is `garbage`: whatever was asked for may have been done.
    """
    tokens = without_ended(tokens, now)
    if step.act == "revoke":
        return without(tokens, step.token)
    if answer.trouble != "garbage":
        tokens = msgspec.structs.replace(tokens, unknown=tokens.unknown[:-1])
    if answer.trouble is None:
        grant = _grant(answer.members, now)
        if grant is not None:
            return _given(tokens, grant)
        answer = Answer(errcode=0, trouble="garbage", text="a log-in without a token")
    if answer.trouble == "person":
        return msgspec.structs.replace(tokens, halted=f"the PBX refuses our address: {answer.text}")
    if answer.trouble == "full":
        return _waiting(tokens, now + FULL_WAIT_SECONDS * (1 + chance), f"too many tokens live: {answer.text}")
    if step.act == "refresh" and answer.trouble in ("token", "refused", "wrong"):
        return _without_refresh(tokens)
    if answer.trouble in ("refused", "wrong", "token"):
        return _refused(tokens, answer, now, chance)
    # 40001 and 40002 are here: the request was not understood, which says nothing of who we are.
    return _waiting(tokens, now + wait_seconds(tokens.failures, chance), answer.text)


def refused(tokens: Tokens, token: str, now: float, *, chance: float) -> Tokens:
    """What is known after the PBX said of a call that its token has ended: it is renewed once, not over and over."""
    tokens = without(tokens, token, keeps_current=True)
    current = tokens.current
    if current is None or current.token != token:
        return tokens
    ended = msgspec.structs.replace(current, until=now)
    is_soon = now - current.given_at < SOON_SECONDS
    tokens = msgspec.structs.replace(tokens, current=ended)
    if not is_soon:
        return tokens
    tokens = msgspec.structs.replace(tokens, current=None)
    return _waiting(tokens, now + wait_seconds(tokens.failures, chance), "a new token is refused at once")


def farewell(tokens: Tokens, now: float) -> list[Step]:
    """What to send when nobody here will use the tokens any more."""
    tokens = without_ended(tokens, now)
    live = [*tokens.old, *([tokens.current] if tokens.current else [])]
    return [_revoke(grant) for grant in live]


def to_release(tokens: Tokens) -> Step | None:
    """The revocation of an old token, once nothing uses it any more."""
    return _revoke(tokens.old[0]) if tokens.old else None


def without(tokens: Tokens, token: str, *, keeps_current: bool = False) -> Tokens:
    """The same without a token."""
    is_current = tokens.current is not None and tokens.current.token == token and not keeps_current
    return msgspec.structs.replace(
        tokens,
        current=None if is_current else tokens.current,
        old=tuple(one for one in tokens.old if one.token != token),
    )


def without_ended(tokens: Tokens, now: float) -> Tokens:
    """The same without the tokens that have ended by themselves; what renews the last one is kept."""
    old = tuple(one for one in tokens.old if one.until > now)
    unknown = tuple(until for until in tokens.unknown if until > now)
    return msgspec.structs.replace(tokens, old=old, unknown=unknown)


def live(tokens: Tokens, now: float) -> int:
    """How many tokens live at most."""
    grants = [*tokens.old, *([tokens.current] if tokens.current else [])]
    return sum(until > now for until in [*(one.until for one in grants), *tokens.unknown])


def wait_seconds(failures: int, chance: float) -> float:
    """How long to wait after so many failures in a row, spread over half of it.

    >>> wait_seconds(0, 0.0), wait_seconds(0, 1.0), wait_seconds(99, 0.0)
    (2.5, 5.0, 300.0)
    """
    return min(WAIT_SECONDS_MAX, WAIT_SECONDS_FIRST * 2.0 ** min(failures, 20)) * (0.5 + chance / 2)


def _later(tokens: Tokens, now: float) -> float:
    """When to ask again for a token that is about to end and cannot be renewed now."""
    assert tokens.current is not None
    return min(tokens.current.until, max(tokens.retry_at, now + WAIT_SECONDS_FIRST))


def _given(tokens: Tokens, grant: Grant) -> Tokens:
    before = tokens.current
    old = tokens.old if before is None or before.until <= grant.given_at else (*tokens.old, before)
    return Tokens(current=grant, old=old, unknown=tokens.unknown)


def _without_refresh(tokens: Tokens) -> Tokens:
    """What renews the token has ended, so the next step is a login."""
    assert tokens.current is not None
    return msgspec.structs.replace(tokens, current=msgspec.structs.replace(tokens.current, refresh=""))


def _refused(tokens: Tokens, answer: Answer, now: float, chance: float) -> Tokens:
    refusals = tokens.refusals + 1
    halted = f"the PBX refuses the client id or secret: {answer.text}" if refusals >= REFUSALS_MAX else ""
    tokens = msgspec.structs.replace(tokens, refusals=refusals, halted=halted)
    return _waiting(tokens, now + wait_seconds(tokens.failures, chance), answer.text)


def _waiting(tokens: Tokens, until: float, trouble: str) -> Tokens:
    return msgspec.structs.replace(tokens, retry_at=until, failures=tokens.failures + 1, trouble=trouble)


def _grant(members: Mapping[str, Any], now: float) -> Grant | None:
    token, refresh = members.get("access_token"), members.get("refresh_token", "")
    if not isinstance(token, str) or not 0 < len(token) <= TOKEN_CHARACTERS_MAX or not isinstance(refresh, str):
        return None
    return Grant(
        token=token,
        given_at=now,
        until=now + _lasts(members.get("access_token_expire_time"), TOKEN_SECONDS_DEFAULT),
        refresh=refresh[:TOKEN_CHARACTERS_MAX],
        refresh_until=now + _lasts(members.get("refresh_token_expire_time"), REFRESH_SECONDS_DEFAULT),
    )


def _lasts(value: object, default: int) -> int:
    return value if isinstance(value, int) and 0 < value <= REFRESH_SECONDS_DEFAULT * 365 else default


def _revoke(grant: Grant) -> Step:
    request = Request(path=f"{API}del_token", query={"access_token": grant.token})
    return Step(act="revoke", token=grant.token, request=request)


def _post(path: str, members: Mapping[str, str]) -> Request:
    return Request(method="POST", path=f"{API}{path}", body=msgspec.json.encode(members))
