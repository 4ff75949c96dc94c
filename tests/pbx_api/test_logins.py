"""Counting of failed logins."""

from onhook.pbx_api.logins import COUNTS_MAX, EXPIRY_MICROSECONDS, LoginFailures


def test_login_failures_five_in_a_row_are_too_many() -> None:
    """Not four, not four and one of another address or client id, not four and one of an hour later."""
    failures = LoginFailures()
    assert [failures.record_failure(("a", "crm"), 0) for _ in range(4)] == [False] * 4
    assert not failures.record_failure(("b", "crm"), 0)
    assert not failures.record_failure(("a", "erp"), 0)
    assert not failures.record_failure(("a", "crm"), EXPIRY_MICROSECONDS)
    assert [failures.record_failure(("a", "crm"), EXPIRY_MICROSECONDS) for _ in range(4)] == [*[False] * 3, True]


def test_login_failures_are_limited_in_number() -> None:
    """The oldest are forgotten."""
    failures = LoginFailures()
    for _ in range(4):
        failures.record_failure(("early", "crm"), 0)
    for number in range(COUNTS_MAX):
        failures.record_failure((str(number), "crm"), 0)
    assert not failures.record_failure(("early", "crm"), 0)
