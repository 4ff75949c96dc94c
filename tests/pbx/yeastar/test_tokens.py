"""One login for all: tokens are renewed, kept few, and never asked for in vain."""

from random import Random

import msgspec
import pytest

from onhook.pbx.client import Answer, Login, Step
from onhook.pbx.yeastar.answers import read_answer
from onhook.pbx.yeastar.tokens import (
    FULL_WAIT_SECONDS,
    LIVE_MAX,
    RENEW_SECONDS,
    Tokens,
    begun,
    farewell,
    heard,
    live,
    next_step,
    refused,
    to_release,
)

LOGIN = Login("client-of-onhook", "the-client-secret")
NOON = 1_777_300_000.0
NO_ANSWER = Answer(errcode=0, trouble="garbage", text="no answer")


def granted(number: int = 1) -> Answer:
    body = {
        "errcode": 0,
        "errmsg": "SUCCESS",
        "access_token": f"token-{number}",
        "access_token_expire_time": 1800,
        "refresh_token": f"refresh-{number}",
        "refresh_token_expire_time": 86400,
    }
    return read_answer(200, msgspec.json.encode(body))


def failed(errcode: int) -> Answer:
    return read_answer(200, msgspec.json.encode({"errcode": errcode, "errmsg": "NO"}))


def stepped(tokens: Tokens, answer: Answer, now: float) -> Tokens:
    step = next_step(tokens, LOGIN, now)
    return heard(begun(tokens, step, now), step, answer, now, chance=0.0)


def logged_in() -> Tokens:
    return stepped(Tokens(), granted(), NOON)


def test_the_first_step_is_a_login_and_then_its_token_is_used() -> None:
    """By all who ask, without another login."""
    step = next_step(Tokens(), LOGIN, NOON)
    assert step.act == "login"
    assert step.request is not None
    assert msgspec.json.decode(step.request.body) == {"username": "client-of-onhook", "password": "the-client-secret"}
    tokens = logged_in()
    assert [next_step(tokens, LOGIN, NOON + at).token for at in (0, 600, 1300)] == ["token-1"] * 3


def test_a_token_is_refreshed_before_it_ends_and_the_old_one_lives_on() -> None:
    """Until the new socket stands; then it is revoked."""
    tokens = logged_in()
    now = NOON + 1800 - RENEW_SECONDS
    step = next_step(tokens, LOGIN, now)
    assert step.act == "refresh"
    tokens = stepped(tokens, granted(2), now)
    assert (next_step(tokens, LOGIN, now).token, live(tokens, now)) == ("token-2", 2)
    release = to_release(tokens)
    assert release is not None
    assert release.request is not None
    assert release.request.query == {"access_token": "token-1"}
    tokens = heard(tokens, release, failed(10004), now, chance=0.0)
    assert (live(tokens, now), to_release(tokens)) == (1, None)


def test_what_renews_a_token_may_have_ended_too() -> None:
    """Then there is one login, and no more."""
    tokens = stepped(logged_in(), failed(10004), NOON + 1799)
    step = next_step(tokens, LOGIN, NOON + 1799)
    assert step.act == "login"
    assert next_step(stepped(tokens, granted(2), NOON + 1799), LOGIN, NOON + 1799).token == "token-2"


def test_trouble_4_a_wrong_parameter_never_leads_to_a_login() -> None:
    """PROTOCOL.md 12, 4: one product locked its own telephony out so."""
    tokens = logged_in()
    assert failed(40002).trouble == "parameter"
    assert next_step(tokens, LOGIN, NOON + 1).act == "use"
    tokens = stepped(Tokens(), failed(40002), NOON)
    assert next_step(tokens, LOGIN, NOON + 1).act == "wait"
    assert tokens.refusals == 0


def test_trouble_5_too_many_tokens_are_waited_for() -> None:
    """PROTOCOL.md 12, 5: every login would be one more failure."""
    tokens = stepped(Tokens(), failed(60002), NOON)
    step = next_step(tokens, LOGIN, NOON + FULL_WAIT_SECONDS - 1)
    assert (step.act, step.until) == ("wait", NOON + FULL_WAIT_SECONDS)
    assert "too many" in step.why


@pytest.mark.parametrize("errcode", [70004, 70087])
def test_trouble_27_a_blocked_address_stops_until_a_person_acts(errcode: int) -> None:
    """PROTOCOL.md 12, 27: for ever, not until the next back-off."""
    tokens = stepped(Tokens(), failed(errcode), NOON)
    step = next_step(tokens, LOGIN, NOON + 10**6)
    assert (step.act, str(errcode) in step.why) == ("halt", True)


def test_refused_credentials_are_tried_twice_and_no_more() -> None:
    """The PBX blocks an address after five."""
    tokens = stepped(Tokens(), failed(10005), NOON)
    assert next_step(tokens, LOGIN, NOON + 1).act == "wait"
    tokens = stepped(tokens, failed(10005), NOON + 60)
    assert next_step(tokens, LOGIN, NOON + 10**6).act == "halt"


def test_a_token_that_is_refused_is_renewed_once() -> None:
    """And one that is refused as soon as it was given is not renewed over and over."""
    tokens = refused(logged_in(), "token-1", NOON + 700, chance=0.0)
    assert next_step(tokens, LOGIN, NOON + 700).act == "refresh"
    tokens = stepped(tokens, granted(2), NOON + 700)
    assert refused(tokens, "token-1", NOON + 701, chance=0.0) == tokens, "an older one says nothing of this one"
    tokens = refused(tokens, "token-2", NOON + 701, chance=0.0)
    assert next_step(tokens, LOGIN, NOON + 702).act == "wait"


def test_a_login_whose_answer_was_lost_counts_as_a_token() -> None:
    """It may live; so do those of a process that was killed in between."""
    tokens = Tokens()
    for at in (0.0, 10.0):
        tokens = stepped(tokens, NO_ANSWER, NOON + at)
    step = next_step(tokens, LOGIN, NOON + 60)
    assert (step.act, step.until) == ("wait", NOON + 1800)
    assert next_step(tokens, LOGIN, NOON + 1801).act == "login"


def test_a_pbx_that_is_away_is_asked_ever_more_rarely() -> None:
    """For ever, and never twice at the same moment by many."""
    tokens, now, waits = Tokens(), NOON, []
    away = Answer(errcode=-1, trouble="later", text="cannot connect")
    for _ in range(12):
        tokens = stepped(tokens, away, now)
        waits.append(next_step(tokens, LOGIN, now).until - now)
        now += waits[-1]
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2] == 300.0
    assert next_step(tokens, LOGIN, now).act == "login"


def test_at_the_end_every_token_is_revoked() -> None:
    """The old one too."""
    tokens = stepped(logged_in(), granted(2), NOON + 1500)
    assert [step.token for step in farewell(tokens, NOON + 1501)] == ["token-1", "token-2"]
    assert [step.token for step in farewell(tokens, NOON + 1900)] == ["token-2"]


def test_no_secret_is_shown() -> None:
    """Not in a log that prints values."""
    tokens = logged_in()
    shown = f"{tokens} {LOGIN} {next_step(Tokens(), LOGIN, NOON)} {next_step(tokens, LOGIN, NOON)}"
    assert not any(secret in shown for secret in ("token-1", "refresh-1", "the-client-secret"))


def test_what_is_kept_is_all_that_is_known() -> None:
    """A process that was killed goes on with the same tokens."""
    tokens = stepped(logged_in(), granted(2), NOON + 1500)
    assert msgspec.json.decode(msgspec.json.encode(tokens), type=Tokens) == tokens


class Pbx:
    """Tokens as a PBX has them, with all that can go wrong."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.alive: dict[str, float] = {}
        self.given = 0
        self.logins = 0

    def answer(self, step: Step, now: float) -> Answer:
        assert step.request is not None
        if step.act == "revoke":
            self.alive.pop(step.token, None)
            return failed(0)
        self.logins += step.act == "login"
        chance = self.random.random()
        if chance < 0.2:
            return failed(self.random.choice([-2, 2, 40002, 60002]))
        if chance < 0.3 and step.act == "refresh":
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
    pbx, tokens, now, uses = Pbx(random), Tokens(), NOON, 0
    while now < NOON + 2 * 86400:
        step = next_step(tokens, LOGIN, now)
        assert step.act != "halt"
        if step.act in ("login", "refresh", "revoke"):
            tokens = begun(tokens, step, now)
            answer = pbx.answer(step, now)
            if random.random() > 0.05:
                tokens = heard(tokens, step, answer, now, chance=random.random())
            now += 1
        else:
            uses += step.act == "use"
            if step.act == "use" and random.random() < 0.02:
                pbx.alive.pop(step.token, None)
                tokens = refused(tokens, step.token, now, chance=random.random())
            now += random.uniform(1, 300)
        assert pbx.live(now) <= LIVE_MAX
    assert uses > 100
    assert pbx.logins < 200
