"""Tokens as a rule: how many count, for how long, and that nothing is kept for ever."""

import pytest

from onhook.pbx_api.codes import ApiRequestError
from onhook.pbx_api.tokens import REFRESHABLE_MAX, VALID_TOKENS_MAX, AppTokens
from tests.pbx_api.harness import ManualClock

SEAL = b"seal"


def test_pairs_of_an_application_are_bounded() -> None:
    """However often an application logs in and lets its tokens run out, the oldest pairs are forgotten."""
    clock = ManualClock()
    tokens = AppTokens(clock)
    first = tokens.issue("crm", SEAL, access_seconds=1)
    pairs = [first]
    for _ in range(REFRESHABLE_MAX):
        clock.advance(seconds=1)
        pairs.append(tokens.issue("crm", SEAL, access_seconds=1))
    assert tokens.find_refreshable_grant(first.refresh_token) is None
    assert sum(tokens.find_refreshable_grant(pair.refresh_token) is not None for pair in pairs) == REFRESHABLE_MAX


def test_a_refused_refresh_loses_nothing() -> None:
    """Eight others alive: 60002, and the same refresh token is good when one of them is gone."""
    clock = ManualClock()
    tokens = AppTokens(clock)
    pair = tokens.issue("crm", SEAL, access_seconds=1)
    clock.advance(seconds=1)
    others = [tokens.issue("crm", SEAL) for _ in range(VALID_TOKENS_MAX)]
    with pytest.raises(ApiRequestError, match="MAX LIMITATION"):
        tokens.refresh(pair.refresh_token)
    tokens.revoke(others[0].access_token)
    assert tokens.find_grant(tokens.refresh(pair.refresh_token).access_token) is not None


def test_the_limit_is_each_applications_own() -> None:
    """What one application uses up is nothing to another."""
    tokens = AppTokens(ManualClock())
    for _ in range(VALID_TOKENS_MAX):
        tokens.issue("crm", SEAL)
    assert tokens.find_grant(tokens.issue("wallboard", SEAL).access_token) is not None


def test_those_of_which_something_holds_are_ended() -> None:
    """And no others."""
    tokens = AppTokens(ManualClock())
    gone, stays = tokens.issue("crm", b"old"), tokens.issue("crm", b"new")
    tokens.revoke_where(lambda grant: grant.secret_hash == b"old")
    assert tokens.find_grant(gone.access_token) is None
    assert tokens.find_refreshable_grant(gone.refresh_token) is None
    assert tokens.find_grant(stays.access_token) is not None


@pytest.mark.parametrize("text", ["", "x", "x" * 1_000, "é" * 32])
def test_what_is_no_token_stands_for_nothing(text: str) -> None:
    """Whatever it is."""
    tokens = AppTokens(ManualClock())
    assert tokens.find_grant(text) is None
    assert tokens.find_refreshable_grant(text) is None
