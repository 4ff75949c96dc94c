"""Token management: one login for all clients, few tokens, timely renewal."""

from random import Random
from typing import Any

import msgspec
import pytest

from onhook.pbx.client import ClientCredentials, PbxResponse, TokenStep
from onhook.pbx.yeastar.answers import parse_response
from onhook.pbx.yeastar.tokens import (
    LIVE_TOKENS_MAX,
    REFRESH_SECONDS_DEFAULT,
    RENEW_BEFORE_SECONDS,
    TOKEN_SECONDS_DEFAULT,
    TOO_MANY_TOKENS_RETRY_SECONDS,
    TokenState,
    begin_step,
    count_live_tokens,
    finish_step,
    next_step,
    reject_token,
    replaced_token_revocation,
    revocation_steps,
)

LOGIN = ClientCredentials("client-of-onhook", "the-client-secret")
NOON = 1_777_300_000.0
NO_RESPONSE = PbxResponse(errcode=0, error_kind="invalid_response", error_text="no response")


def token_response(number: int = 1) -> PbxResponse:
    body = {
        "errcode": 0,
        "errmsg": "SUCCESS",
        "access_token": f"token-{number}",
        "access_token_expire_time": 1800,
        "refresh_token": f"refresh-{number}",
        "refresh_token_expire_time": 86400,
    }
    return parse_response(200, msgspec.json.encode(body))


def error_response(errcode: int) -> PbxResponse:
    return parse_response(200, msgspec.json.encode({"errcode": errcode, "errmsg": "NO"}))


def run_step(tokens: TokenState, response: PbxResponse, now: float) -> TokenState:
    step = next_step(tokens, LOGIN, now)
    return finish_step(begin_step(tokens, step, now), step, response, now, jitter=0.0)


def logged_in_state() -> TokenState:
    return run_step(TokenState(), token_response(), NOON)


def test_tokens_first_step_is_login_and_token_is_shared() -> None:
    step = next_step(TokenState(), LOGIN, NOON)
    assert step.action == "login"
    assert step.request is not None
    assert msgspec.json.decode(step.request.body) == {"username": "client-of-onhook", "password": "the-client-secret"}
    tokens = logged_in_state()
    assert [next_step(tokens, LOGIN, NOON + seconds).token for seconds in (0, 600, 1300)] == ["token-1"] * 3


def test_tokens_refresh_before_expiry_keeps_old_token_until_revoked() -> None:
    tokens = logged_in_state()
    now = NOON + 1800 - RENEW_BEFORE_SECONDS
    step = next_step(tokens, LOGIN, now)
    assert step.action == "refresh"
    tokens = run_step(tokens, token_response(2), now)
    assert (next_step(tokens, LOGIN, now).token, count_live_tokens(tokens, now)) == ("token-2", 2)
    revocation = replaced_token_revocation(tokens)
    assert revocation is not None
    assert revocation.request is not None
    assert revocation.request.query == {"access_token": "token-1"}
    tokens = finish_step(tokens, revocation, error_response(10004), now, jitter=0.0)
    assert (count_live_tokens(tokens, now), replaced_token_revocation(tokens)) == (1, None)


def test_tokens_expired_refresh_token_causes_one_login() -> None:
    tokens = run_step(logged_in_state(), error_response(10004), NOON + 1799)
    step = next_step(tokens, LOGIN, NOON + 1799)
    assert step.action == "login"
    assert next_step(run_step(tokens, token_response(2), NOON + 1799), LOGIN, NOON + 1799).token == "token-2"


def test_trouble_4_tokens_invalid_parameter_never_causes_login() -> None:
    """yeastar-p-series.md 12, 4: one product locked out its own telephony this way."""
    tokens = logged_in_state()
    assert error_response(40002).error_kind == "invalid_parameter"
    assert next_step(tokens, LOGIN, NOON + 1).action == "use"
    tokens = run_step(TokenState(), error_response(40002), NOON)
    assert next_step(tokens, LOGIN, NOON + 1).action == "wait"
    assert tokens.refused_logins == 0


def test_trouble_5_tokens_too_many_active_tokens_cause_wait() -> None:
    """yeastar-p-series.md 12, 5: every login would be one more failure."""
    tokens = run_step(TokenState(), error_response(60002), NOON)
    step = next_step(tokens, LOGIN, NOON + TOO_MANY_TOKENS_RETRY_SECONDS - 1)
    assert (step.action, step.until) == ("wait", NOON + TOO_MANY_TOKENS_RETRY_SECONDS)
    assert "too many active tokens" in step.reason


@pytest.mark.parametrize("errcode", [70004, 70087])
def test_trouble_27_tokens_blocked_address_halts_until_operator_acts(errcode: int) -> None:
    """yeastar-p-series.md 12, 27: permanently, not until the next retry."""
    tokens = run_step(TokenState(), error_response(errcode), NOON)
    step = next_step(tokens, LOGIN, NOON + 10**6)
    assert (step.action, str(errcode) in step.reason) == ("halt", True)


def test_tokens_rejected_credentials_halt_after_two_logins() -> None:
    """The PBX blocks an address after five."""
    tokens = run_step(TokenState(), error_response(10005), NOON)
    assert next_step(tokens, LOGIN, NOON + 1).action == "wait"
    tokens = run_step(tokens, error_response(10005), NOON + 60)
    assert next_step(tokens, LOGIN, NOON + 10**6).action == "halt"


def test_tokens_rejected_token_is_renewed_once() -> None:
    """A token rejected right after it was issued is not renewed repeatedly."""
    tokens = reject_token(logged_in_state(), "token-1", NOON + 700, jitter=0.0)
    assert next_step(tokens, LOGIN, NOON + 700).action == "refresh"
    tokens = run_step(tokens, token_response(2), NOON + 700)
    assert reject_token(tokens, "token-1", NOON + 701, jitter=0.0) == tokens, (
        "an older token does not affect the current one"
    )
    tokens = reject_token(tokens, "token-2", NOON + 701, jitter=0.0)
    assert next_step(tokens, LOGIN, NOON + 702).action == "wait"


def test_tokens_login_without_response_counts_as_active_token() -> None:
    """The token may be active; so may one requested by a killed process."""
    tokens = TokenState()
    for seconds in (0.0, 10.0):
        tokens = run_step(tokens, NO_RESPONSE, NOON + seconds)
    step = next_step(tokens, LOGIN, NOON + 60)
    assert (step.action, step.until) == ("wait", NOON + 1800)
    assert next_step(tokens, LOGIN, NOON + 1801).action == "login"


def test_tokens_unreachable_pbx_is_retried_with_backoff() -> None:
    tokens, now, waits = TokenState(), NOON, []
    unreachable = PbxResponse(errcode=-1, error_kind="temporary", error_text="cannot connect")
    for _ in range(12):
        tokens = run_step(tokens, unreachable, now)
        waits.append(next_step(tokens, LOGIN, now).until - now)
        now += waits[-1]
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2] == 300.0
    assert next_step(tokens, LOGIN, now).action == "login"


def test_tokens_revocation_covers_all_tokens() -> None:
    tokens = run_step(logged_in_state(), token_response(2), NOON + 1500)
    assert [step.token for step in revocation_steps(tokens, NOON + 1501)] == ["token-1", "token-2"]
    assert [step.token for step in revocation_steps(tokens, NOON + 1900)] == ["token-2"]


def test_tokens_repr_contains_no_secret() -> None:
    tokens = logged_in_state()
    text = f"{tokens} {LOGIN} {next_step(TokenState(), LOGIN, NOON)} {next_step(tokens, LOGIN, NOON)}"
    assert not any(secret in text for secret in ("token-1", "refresh-1", "the-client-secret"))


def test_tokens_state_survives_encoding() -> None:
    """A process that was killed continues with the same tokens."""
    tokens = run_step(logged_in_state(), token_response(2), NOON + 1500)
    assert msgspec.json.decode(msgspec.json.encode(tokens), type=TokenState) == tokens


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": None},
        {"access_token": 7},
        {"access_token": ""},
        {"access_token": "t" * 513},
        {"refresh_token": 7},
    ],
)
def test_tokens_success_without_token_is_retried_and_counts_as_active(changes: dict[str, Any]) -> None:
    """The PBX may have issued a token, so the logins end before it has issued more than two."""
    response = parse_response(200, msgspec.json.encode({**token_response().members, **changes}))
    tokens = run_step(TokenState(), response, NOON)
    assert "contains no token" in tokens.error
    assert count_live_tokens(tokens, NOON) == 1
    retry = next_step(tokens, LOGIN, NOON)
    assert retry.action == "wait"
    tokens = run_step(tokens, response, retry.until)
    assert next_step(tokens, LOGIN, NOON + 600).action == "wait"
    assert count_live_tokens(tokens, NOON + 600) == LIVE_TOKENS_MAX


@pytest.mark.parametrize("lifetime", [None, "1800", 1800.5, 0, -1, 10**9])
def test_tokens_invalid_lifetime_is_replaced_by_default(lifetime: Any) -> None:
    changes = dict.fromkeys(("access_token_expire_time", "refresh_token_expire_time"), lifetime)
    response = parse_response(200, msgspec.json.encode({**token_response().members, **changes}))
    token = run_step(TokenState(), response, NOON).current_token
    assert token is not None
    assert (token.expires_at, token.refresh_expires_at) == (
        NOON + TOKEN_SECONDS_DEFAULT,
        NOON + REFRESH_SECONDS_DEFAULT,
    )


@pytest.mark.parametrize("response", [NO_RESPONSE, error_response(-2)])
def test_tokens_failed_revocation_keeps_token_and_is_retried(response: PbxResponse) -> None:
    """The token may still be active: it counts until it expires."""
    tokens = run_step(logged_in_state(), token_response(2), NOON + 1500)
    revocation = replaced_token_revocation(tokens)
    assert revocation is not None
    tokens = finish_step(tokens, revocation, response, NOON + 1501, jitter=0.0)
    assert count_live_tokens(tokens, NOON + 1501) == 2
    assert replaced_token_revocation(tokens) == revocation
    assert next_step(tokens, LOGIN, NOON + 1502).token == "token-2", "the current token is used meanwhile"


def test_tokens_failed_revocation_at_stop_keeps_current_token_for_next_start() -> None:
    tokens = logged_in_state()
    (revocation,) = revocation_steps(tokens, NOON + 60)
    tokens = finish_step(tokens, revocation, NO_RESPONSE, NOON + 60, jitter=0.0)
    assert next_step(tokens, LOGIN, NOON + 61).token == "token-1"


def test_tokens_revocation_precedes_login_if_two_are_active() -> None:
    """The replaced token is revoked first; while the revocation fails, the client waits."""
    tokens = run_step(logged_in_state(), token_response(2), NOON + 1500)
    tokens = reject_token(tokens, "token-2", NOON + 1600, jitter=0.0)
    tokens = run_step(tokens, NO_RESPONSE, NOON + 1600)
    now = next_step(tokens, LOGIN, NOON + 1600).until
    revocation = next_step(tokens, LOGIN, now)
    assert (revocation.action, revocation.token) == ("revoke", "token-1")
    failed = finish_step(tokens, revocation, NO_RESPONSE, now, jitter=0.0)
    assert next_step(failed, LOGIN, now).action == "wait"
    succeeded = finish_step(tokens, revocation, error_response(0), now, jitter=0.0)
    assert next_step(succeeded, LOGIN, now).action == "refresh"


def test_tokens_use_of_token_about_to_expire_ends_when_renewal_is_due() -> None:
    """A renewal that failed is retried before the token expires."""
    now = NOON + 1800 - RENEW_BEFORE_SECONDS
    tokens = run_step(logged_in_state(), error_response(-2), now)
    step = next_step(tokens, LOGIN, now)
    assert (step.action, step.token) == ("use", "token-1")
    assert now < step.until < NOON + 1800
    assert next_step(tokens, LOGIN, step.until).action == "refresh"


class SimulatedTokenApi:
    """The tokens of a PBX, with random failures."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.active_tokens: dict[str, float] = {}
        self.issued_count = 0
        self.logins = 0

    def respond(self, step: TokenStep, now: float) -> PbxResponse:
        assert step.request is not None
        if step.action == "revoke":
            if self.random.random() < 0.2:
                return NO_RESPONSE
            self.active_tokens.pop(step.token, None)
            return NO_RESPONSE if self.random.random() < 0.1 else error_response(0)
        self.logins += step.action == "login"
        random_value = self.random.random()
        if random_value < 0.2:
            return error_response(self.random.choice([-2, 2, 40002, 60002]))
        if random_value < 0.3 and step.action == "refresh":
            return error_response(10004)
        self.issued_count += 1
        self.active_tokens[f"token-{self.issued_count}"] = now + 1800
        return NO_RESPONSE if random_value < 0.4 else token_response(self.issued_count)

    def count_active(self, now: float) -> int:
        return sum(until > now for until in self.active_tokens.values())


@pytest.mark.parametrize("seed", range(30))
def test_tokens_never_more_than_two_are_active(seed: int) -> None:
    """Over two days, with any response, lost requests and responses, and kills before a response was saved."""
    random = Random(seed)
    pbx, tokens, now, uses = SimulatedTokenApi(random), TokenState(), NOON, 0
    while now < NOON + 2 * 86400:
        step = next_step(tokens, LOGIN, now)
        assert step.action != "halt"
        if step.action in ("login", "refresh", "revoke"):
            tokens = begin_step(tokens, step, now)
            response = pbx.respond(step, now)
            if random.random() > 0.05:
                tokens = finish_step(tokens, step, response, now, jitter=random.random())
            now += 1
        else:
            uses += step.action == "use"
            if step.action == "use" and random.random() < 0.02:
                pbx.active_tokens.pop(step.token, None)
                tokens = reject_token(tokens, step.token, now, jitter=random.random())
            now += random.uniform(1, 300)
        assert pbx.count_active(now) <= LIVE_TOKENS_MAX
    assert uses > 100
    assert pbx.logins < 200
