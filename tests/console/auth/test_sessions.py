"""Sessions and wrong tokens are remembered as long as they count, and no more of them than may be."""

from onhook.console.auth.failures import ADDRESSES_MAX, FAILURES_MAX, WINDOW_MICROSECONDS, FailedLogins
from onhook.console.auth.sessions import SESSION_SECONDS, SESSIONS_MAX, SessionStore


def test_a_session_ends() -> None:
    """After its time, and when it is ended; another id opens nothing."""
    sessions = SessionStore()
    first, second = (sessions.start(0, token_text="token") for _ in range(2))
    assert first != second
    found = sessions.find(first, now_us=SESSION_SECONDS * 1_000_000 - 1)
    assert found is not None
    assert found.token_text == "token"
    assert sessions.find(first, now_us=SESSION_SECONDS * 1_000_000) is None
    sessions.end(second)
    assert sessions.find(second, now_us=0) is None
    assert sessions.find("\ud800", now_us=0) is None


def test_a_session_can_be_ended_by_its_number() -> None:
    """As an administrator does who sees the list; the others stay."""
    sessions = SessionStore()
    first, second = (sessions.start(0, user_name=name) for name in ("Alice", "Bob"))
    sessions.end_by_number(sessions.all(0)[1].number)
    assert sessions.find(first, now_us=0) is None
    assert [session.user_name for session in sessions.all(0)] == ["Bob"]
    assert sessions.find(second, now_us=0) is not None


def test_the_oldest_session_goes() -> None:
    """When there are too many, those that began first end."""
    sessions = SessionStore()
    ids = [sessions.start(n, token_text="token") for n in range(SESSIONS_MAX + 1)]
    assert sessions.find(ids[0], now_us=0) is None
    assert all(sessions.find(one, now_us=0) for one in ids[1:])


def test_a_session_shows_no_token() -> None:
    """Not even where it is written into a log by mistake."""
    sessions = SessionStore()
    sessions.start(0, token_text="the-secret-token")
    assert "the-secret-token" not in repr(vars(sessions))


def test_wrong_tokens_are_forgiven() -> None:
    """Past the limit an address waits for the rest of its minute; others do not, and then it begins anew."""
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


def test_addresses_are_forgotten() -> None:
    """However many come, so many are remembered."""
    failures = FailedLogins()
    for n in range(ADDRESSES_MAX + 500):
        failures.record_failure(f"10.0.{n // 256}.{n % 256}", now_us=n)
    assert len(failures._failures_by_address) == ADDRESSES_MAX
