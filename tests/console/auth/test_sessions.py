"""Lifetime and limits of sessions and of counters of wrong tokens."""

from onhook.console.auth.failures import ADDRESSES_MAX, FAILURES_MAX, WINDOW_MICROSECONDS, FailedLogins
from onhook.console.auth.sessions import SESSION_SECONDS, SESSIONS_MAX, SessionStore


def test_session_expires() -> None:
    """A session ends after its lifetime or when it is ended; an unknown id has no session."""
    sessions = SessionStore()
    first, second = (sessions.start(0, token_text="token") for _ in range(2))
    assert first != second
    session = sessions.find(first, now_us=SESSION_SECONDS * 1_000_000 - 1)
    assert session is not None
    assert session.token_text == "token"
    assert sessions.find(first, now_us=SESSION_SECONDS * 1_000_000) is None
    sessions.end(second)
    assert sessions.find(second, now_us=0) is None
    assert sessions.find("\ud800", now_us=0) is None


def test_session_end_by_number_ends_only_that_session() -> None:
    sessions = SessionStore()
    first, second = (sessions.start(0, user_name=name) for name in ("Alice", "Bob"))
    sessions.end_by_number(sessions.all(0)[1].number)
    assert sessions.find(first, now_us=0) is None
    assert [session.user_name for session in sessions.all(0)] == ["Bob"]
    assert sessions.find(second, now_us=0) is not None


def test_session_over_the_limit_ends_the_oldest() -> None:
    sessions = SessionStore()
    ids = [sessions.start(n, token_text="token") for n in range(SESSIONS_MAX + 1)]
    assert sessions.find(ids[0], now_us=0) is None
    assert all(sessions.find(session_id, now_us=0) for session_id in ids[1:])


def test_session_repr_shows_no_token() -> None:
    sessions = SessionStore()
    sessions.start(0, token_text="the-secret-token")
    assert "the-secret-token" not in repr(vars(sessions))


def test_throttle_address_waits_until_its_minute_ends() -> None:
    """Other addresses do not wait."""
    failures = FailedLogins()
    for _ in range(FAILURES_MAX):
        failures.record_failure("10.0.0.1", now_us=0)
    assert failures.seconds_to_wait("10.0.0.1", now_us=0) == 0
    failures.record_failure("10.0.0.1", now_us=1)
    assert failures.seconds_to_wait("10.0.0.1", now_us=WINDOW_MICROSECONDS // 2) == 30
    assert failures.seconds_to_wait("10.0.0.2", now_us=1) == 0
    assert failures.seconds_to_wait("10.0.0.1", now_us=WINDOW_MICROSECONDS) == 0
    failures.record_failure("10.0.0.1", now_us=WINDOW_MICROSECONDS)
    assert failures.seconds_to_wait("10.0.0.1", now_us=WINDOW_MICROSECONDS) == 0


def test_throttle_addresses_are_bounded() -> None:
    failures = FailedLogins()
    for n in range(ADDRESSES_MAX + 500):
        failures.record_failure(f"10.0.{n // 256}.{n % 256}", now_us=n)
    assert len(failures._failures_by_address) == ADDRESSES_MAX
