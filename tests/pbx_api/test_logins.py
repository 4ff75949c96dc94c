"""Counting of failed logins."""

import pytest

from onhook.pbx_api.logins import ADDRESSES_MAX, EXPIRY_MICROSECONDS, LoginFailures, throttle_key


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:db8::1:7", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_throttle_key_is_the_network_of_an_ipv6_address(address: str, source: str) -> None:
    """Its owner has all of the network."""
    assert throttle_key(address) == source


def test_login_failures_five_in_a_row_are_too_many() -> None:
    """Not four, not four and one of another address, not four and one of an hour later."""
    failures = LoginFailures()
    assert [failures.record_failure("a", 0) for _ in range(4)] == [False] * 4
    assert not failures.record_failure("b", 0)
    assert not failures.record_failure("a", EXPIRY_MICROSECONDS)
    assert [failures.record_failure("a", EXPIRY_MICROSECONDS) for _ in range(4)] == [False, False, False, True]


def test_login_failures_are_limited_in_number() -> None:
    """The oldest are forgotten."""
    failures = LoginFailures()
    for _ in range(4):
        failures.record_failure("early", 0)
    for number in range(ADDRESSES_MAX):
        failures.record_failure(str(number), 0)
    assert not failures.record_failure("early", 0)
