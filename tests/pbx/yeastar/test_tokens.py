"""One login for all: tokens are renewed, kept few, and never asked for in vain."""

from random import Random

import msgspec
import pytest

from onhook.pbx.client import ClientCredentials, PbxResponse, TokenStep
from onhook.pbx.yeastar.answers import parse_response
from onhook.pbx.yeastar.tokens import (
    LIVE_TOKENS_MAX,
    RENEW_BEFORE_SECONDS,
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
NO_ANSWER = PbxResponse(errcode=0, error_kind="invalid_response", error_text="no answer")


def granted(number: int = 1) -> PbxResponse:
    body = {
        "errcode": 0,
        "errmsg": "SUCCESS",
        "access_token": f"token-{number}",
        "access_token_expire_time": 1800,
        "refresh_token": f"refresh-{number}",
        "refresh_token_expire_time": 86400,
    }
    return parse_response(200, msgspec.json.encode(body))


def failed(errcode: int) -> PbxResponse:
    return parse_response(200, msgspec.json.encode({"errcode": errcode, "errmsg": "NO"}))


def stepped(tokens: TokenState, answer: PbxResponse, now: float) -> TokenState:
    step = next_step(tokens, LOGIN, now)
    return finish_step(begin_step(tokens, step, now), step, answer, now, jitter=0.0)


def logged_in() -> TokenState:
    return stepped(TokenState(), granted(), NOON)


def test_the_first_step_is_a_login_and_then_its_token_is_used() -> None:
    """By all who ask, without another login."""
    step = next_step(TokenState(), LOGIN, NOON)
    assert step.action == "login"
    assert step.request is not None
    assert msgspec.json.decode(step.request.body) == {"username": "client-of-onhook", "password": "the-client-secret"}
    tokens = logged_in()
    assert [next_step(tokens, LOGIN, NOON + at).token for at in (0, 600, 1300)] == ["token-1"] * 3


def test_a_token_is_refreshed_before_it_ends_and_the_old_one_lives_on() -> None:
    """Until the new socket stands; then it is revoked."""
    tokens = logged_in()
    now = NOON + 1800 - RENEW_BEFORE_SECONDS
    step = next_step(tokens, LOGIN, now)
    assert step.action == "refresh"
    tokens = stepped(tokens, granted(2), now)
    assert (next_step(tokens, LOGIN, now).token, count_live_tokens(tokens, now)) == ("token-2", 2)
    release = replaced_token_revocation(tokens)
    assert release is not None
    assert release.request is not None
    assert release.request.query == {"access_token": "token-1"}
    tokens = finish_step(tokens, release, failed(10004), now, jitter=0.0)
    assert (count_live_tokens(tokens, now), replaced_token_revocation(tokens)) == (1, None)


def test_what_renews_a_token_may_have_ended_too() -> None:
    """Then there is one login, and no more."""
    tokens = stepped(logged_in(), failed(10004), NOON + 1799)
    step = next_step(tokens, LOGIN, NOON + 1799)
    assert step.action == "login"
    assert next_step(stepped(tokens, granted(2), NOON + 1799), LOGIN, NOON + 1799).token == "token-2"


def test_trouble_4_a_wrong_parameter_never_leads_to_a_login() -> None:
    """yeastar-p-series.md 12, 4: one product locked its own telephony out so."""
    tokens = logged_in()
    assert failed(40002).error_kind == "invalid_parameter"
    assert next_step(tokens, LOGIN, NOON + 1).action == "use"
    tokens = stepped(TokenState(), failed(40002), NOON)
    assert next_step(tokens, LOGIN, NOON + 1).action == "wait"
    assert tokens.refused_logins == 0


def test_trouble_5_too_many_tokens_are_waited_for() -> None:
    """yeastar-p-series.md 12, 5: every login would be one more failure."""
    tokens = stepped(TokenState(), failed(60002), NOON)
    step = next_step(tokens, LOGIN, NOON + TOO_MANY_TOKENS_RETRY_SECONDS - 1)
    assert (step.action, step.until) == ("wait", NOON + TOO_MANY_TOKENS_RETRY_SECONDS)
    assert "too many" in step.reason


@pytest.mark.parametrize("errcode", [70004, 70087])
def test_trouble_27_a_blocked_address_stops_until_a_person_acts(errcode: int) -> None:
    """yeastar-p-series.md 12, 27: for ever, not until the next back-off."""
    tokens = stepped(TokenState(), failed(errcode), NOON)
    step = next_step(tokens, LOGIN, NOON + 10**6)
    assert (step.action, str(errcode) in step.reason) == ("halt", True)


def test_refused_credentials_are_tried_twice_and_no_more() -> None:
    """The PBX blocks an address after five."""
    tokens = stepped(TokenState(), failed(10005), NOON)
    assert next_step(tokens, LOGIN, NOON + 1).action == "wait"
    tokens = stepped(tokens, failed(10005), NOON + 60)
    assert next_step(tokens, LOGIN, NOON + 10**6).action == "halt"


def test_a_token_that_is_refused_is_renewed_once() -> None:
    """And one that is refused as soon as it was given is not renewed over and over."""
    tokens = reject_token(logged_in(), "token-1", NOON + 700, jitter=0.0)
    assert next_step(tokens, LOGIN, NOON + 700).action == "refresh"
    tokens = stepped(tokens, granted(2), NOON + 700)
    assert reject_token(tokens, "token-1", NOON + 701, jitter=0.0) == tokens, "an older one says nothing of this one"
    tokens = reject_token(tokens, "token-2", NOON + 701, jitter=0.0)
    assert next_step(tokens, LOGIN, NOON + 702).action == "wait"


def test_a_login_whose_answer_was_lost_counts_as_a_token() -> None:
    """It may live; so do those of a process that was killed in between."""
    tokens = TokenState()
    for at in (0.0, 10.0):
        tokens = stepped(tokens, NO_ANSWER, NOON + at)
    step = next_step(tokens, LOGIN, NOON + 60)
    assert (step.action, step.until) == ("wait", NOON + 1800)
    assert next_step(tokens, LOGIN, NOON + 1801).action == "login"


def test_a_pbx_that_is_away_is_asked_ever_more_rarely() -> None:
    """For ever, and never twice at the same moment by many."""
    tokens, now, waits = TokenState(), NOON, []
    away = PbxResponse(errcode=-1, error_kind="temporary", error_text="cannot connect")
    for _ in range(12):
        tokens = stepped(tokens, away, now)
        waits.append(next_step(tokens, LOGIN, now).until - now)
        now += waits[-1]
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2] == 300.0
    assert next_step(tokens, LOGIN, now).action == "login"


def test_at_the_end_every_token_is_revoked() -> None:
    """The old one too."""
    tokens = stepped(logged_in(), granted(2), NOON + 1500)
    assert [step.token for step in revocation_steps(tokens, NOON + 1501)] == ["token-1", "token-2"]
    assert [step.token for step in revocation_steps(tokens, NOON + 1900)] == ["token-2"]


def test_no_secret_is_shown() -> None:
    """Not in a log that prints values."""
    tokens = logged_in()
    shown = f"{tokens} {LOGIN} {next_step(TokenState(), LOGIN, NOON)} {next_step(tokens, LOGIN, NOON)}"
    assert not any(secret in shown for secret in ("token-1", "refresh-1", "the-client-secret"))


def test_what_is_kept_is_all_that_is_known() -> None:
    """A process that was killed goes on with the same tokens."""
    tokens = stepped(logged_in(), granted(2), NOON + 1500)
    assert msgspec.json.decode(msgspec.json.encode(tokens), type=TokenState) == tokens


class Pbx:
    """Tokens as a PBX has them, with all that can go wrong."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.alive: dict[str, float] = {}
        self.given = 0
        self.logins = 0

    def answer(self, step: TokenStep, now: float) -> PbxResponse:
        assert step.request is not None
        if step.action == "revoke":
            self.alive.pop(step.token, None)
            return failed(0)
        self.logins += step.action == "login"
        chance = self.random.random()
        if chance < 0.2:
            return failed(self.random.choice([-2, 2, 40002, 60002]))
        if chance < 0.3 and step.action == "refresh":
            return failed(10004)
        self.given += 1
        self.alive[f"token-{self.given}"] = now + 1800
        return NO_ANSWER if chance < 0.4 else granted(self.given)

    def live(self, now: float) -> int:
        return sum(until > now for until in self.alive.values())


@pytest.mark.parametrize("seed", range(30))
def test_never_more_than_two_tokens_live(seed: int) -> None:
    """Whatever the PBX answers, or does not, and whenever we are killed before we heard it: over two days."""
    random = Random(seed)
    pbx, tokens, now, uses = Pbx(random), TokenState(), NOON, 0
    while now < NOON + 2 * 86400:
        step = next_step(tokens, LOGIN, now)
        assert step.action != "halt"
        if step.action in ("login", "refresh", "revoke"):
            tokens = begin_step(tokens, step, now)
            answer = pbx.answer(step, now)
            if random.random() > 0.05:
                tokens = finish_step(tokens, step, answer, now, jitter=random.random())
            now += 1
        else:
            uses += step.action == "use"
            if step.action == "use" and random.random() < 0.02:
                pbx.alive.pop(step.token, None)
                tokens = reject_token(tokens, step.token, now, jitter=random.random())
            now += random.uniform(1, 300)
        assert pbx.live(now) <= LIVE_TOKENS_MAX
    assert uses > 100
    assert pbx.logins < 200
