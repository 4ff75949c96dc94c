"""Rules of tokens: how many are valid, for how long, and that their memory is bounded."""

import pytest

from onhook.pbx_api.codes import ApiRequestError
from onhook.pbx_api.tokens import ACCESS_SECONDS, REFRESHABLE_MAX, VALID_TOKENS_MAX, AppTokens
from tests.pbx_api.harness import ManualClock

SEAL = b"seal"


def test_tokens_pairs_of_an_application_are_limited() -> None:
    """However often an app logs in, the oldest pairs are removed."""
    clock = ManualClock()
    tokens = AppTokens(clock, access_seconds=1)
    first = tokens.issue("crm", SEAL)
    pairs = [first]
    for _ in range(REFRESHABLE_MAX):
        clock.advance(seconds=1)
        pairs.append(tokens.issue("crm", SEAL))
    assert tokens.find_refreshable_grant(first.refresh_token) is None
    assert sum(tokens.find_refreshable_grant(pair.refresh_token) is not None for pair in pairs) == REFRESHABLE_MAX


def test_tokens_rejected_refresh_keeps_the_refresh_token() -> None:
    """Eight others valid: 60002, and the same refresh token works when one of them is gone."""
    clock = ManualClock()
    tokens = AppTokens(clock)
    pair = tokens.issue("crm", SEAL)
    clock.advance(seconds=ACCESS_SECONDS)
    other_pairs = [tokens.issue("crm", SEAL) for _ in range(VALID_TOKENS_MAX)]
    with pytest.raises(ApiRequestError, match="MAX LIMITATION"):
        tokens.refresh(pair.refresh_token)
    tokens.revoke(other_pairs[0].access_token)
    assert tokens.find_grant(tokens.refresh(pair.refresh_token).access_token) is not None


def test_tokens_limit_is_per_application() -> None:
    tokens = AppTokens(ManualClock())
    for _ in range(VALID_TOKENS_MAX):
        tokens.issue("crm", SEAL)
    assert tokens.find_grant(tokens.issue("wallboard", SEAL).access_token) is not None


def test_tokens_revoke_where_revokes_matching_pairs_only() -> None:
    tokens = AppTokens(ManualClock())
    first_token, second_token = tokens.issue("crm", b"old"), tokens.issue("crm", b"new")
    tokens.revoke_where(lambda grant: grant.secret_hash == b"old")
    assert tokens.find_grant(first_token.access_token) is None
    assert tokens.find_refreshable_grant(first_token.refresh_token) is None
    assert tokens.find_grant(second_token.access_token) is not None


@pytest.mark.parametrize("text", ["", "x", "x" * 1_000, "é" * 32])
def test_tokens_invalid_text_has_no_grant(text: str) -> None:
    tokens = AppTokens(ManualClock())
    assert tokens.find_grant(text) is None
    assert tokens.find_refreshable_grant(text) is None
