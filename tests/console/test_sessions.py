"""Sessions and wrong tokens are remembered as long as they count, and no more of them than may be."""

from onhook.console.failures import ADDRESSES_MAX, FAILURES_MAX, WINDOW_MICROSECONDS, Failures
from onhook.console.sessions import SESSION_SECONDS, SESSIONS_MAX, Sessions


def test_a_session_ends() -> None:
    """After its time, and when it is ended; another id opens nothing."""
    sessions = Sessions()
    first, second = sessions.begin("token", at=0), sessions.begin("token", at=0)
    assert first != second
    assert sessions.token_text(first, at=SESSION_SECONDS * 1_000_000 - 1) == "token"
    assert sessions.token_text(first, at=SESSION_SECONDS * 1_000_000) == ""
    sessions.end(second)
    assert sessions.token_text(second, at=0) == ""
    assert sessions.token_text("\ud800", at=0) == ""


def test_the_oldest_session_goes() -> None:
    """When there are too many, those that began first end."""
    sessions = Sessions()
    ids = [sessions.begin("token", at=n) for n in range(SESSIONS_MAX + 1)]
    assert sessions.token_text(ids[0], at=0) == ""
    assert all(sessions.token_text(one, at=0) for one in ids[1:])


def test_a_session_shows_no_token() -> None:
    """Not even where it is written into a log by mistake."""
    sessions = Sessions()
    sessions.begin("the-secret-token", at=0)
    assert "the-secret-token" not in repr(vars(sessions))


def test_wrong_tokens_are_forgiven() -> None:
    """Past the limit an address waits for the rest of its minute; others do not, and then it begins anew."""
    failures = Failures()
    for _ in range(FAILURES_MAX):
        failures.note("10.0.0.1", at=0)
    assert failures.seconds_to_wait("10.0.0.1", at=0) == 0
    failures.note("10.0.0.1", at=1)
    assert failures.seconds_to_wait("10.0.0.1", at=WINDOW_MICROSECONDS // 2) == 30
    assert failures.seconds_to_wait("10.0.0.2", at=1) == 0
    assert failures.seconds_to_wait("10.0.0.1", at=WINDOW_MICROSECONDS) == 0
    failures.note("10.0.0.1", at=WINDOW_MICROSECONDS)
    assert failures.seconds_to_wait("10.0.0.1", at=WINDOW_MICROSECONDS) == 0


def test_addresses_are_forgotten() -> None:
    """However many come, so many are remembered."""
    failures = Failures()
    for n in range(ADDRESSES_MAX + 500):
        failures.note(f"10.0.{n // 256}.{n % 256}", at=n)
    assert len(failures._seen) == ADDRESSES_MAX
