"""Addresses of clients behind proxies."""

import pytest

from onhook.lib.proxies import TrustedProxies, owner_network, parse_forwarded

PROXY, INNER_PROXY, CLIENT, LIE = "10.0.0.1", "10.0.0.2", "192.0.2.7", "198.51.100.9"
TRUSTED = TrustedProxies(["10.0.0.0/8", "fd00::/8"])


@pytest.mark.parametrize(
    ("x_forwarded_for", "address"),
    [
        ([CLIENT], CLIENT),
        ([f"{CLIENT}, {INNER_PROXY}"], CLIENT),
        ([CLIENT, INNER_PROXY], CLIENT),
        ([f"{LIE}, {CLIENT}, {INNER_PROXY}"], CLIENT),
        ([f"{CLIENT}:51000"], CLIENT),
        (["[2001:db8::7]:51000"], "2001:db8::7"),
        (["2001:DB8::7"], "2001:db8::7"),
        (["::ffff:192.0.2.7"], CLIENT),
        ([f"{LIE}, unknown"], PROXY),
        ([f"{LIE}, nonsense, {INNER_PROXY}"], INNER_PROXY),
        ([INNER_PROXY], INNER_PROXY),
        ([""], PROXY),
        (["," * 5000], PROXY),
    ],
)
def test_client_address_is_the_last_that_is_no_proxy(x_forwarded_for: list[str], address: str) -> None:
    """What the client itself sent, to the left, is not believed."""
    assert TRUSTED.client_address(PROXY, forwarded=[], x_forwarded_for=x_forwarded_for) == address


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ([f"for={CLIENT}"], CLIENT),
        ([f"For={CLIENT};proto=https;by={PROXY}, for={INNER_PROXY}"], CLIENT),
        ([f"proto=https; for={CLIENT}"], CLIENT),
        ([f'for="{CLIENT}:51000"'], CLIENT),
        (['for="[2001:db8::7]:51000"'], "2001:db8::7"),
        ([f'for={LIE};host="a,b\\";for={LIE}", for={CLIENT}'], CLIENT),
        ([f"for={LIE}", f"for={CLIENT}"], CLIENT),
        ([f"for={LIE}, for=_hidden"], PROXY),
        ([f"for={LIE}, proto=https"], PROXY),
        ([f'for={LIE}, for="unclosed'], PROXY),
        (["nonsense"], PROXY),
    ],
)
def test_client_address_is_read_from_forwarded(forwarded: list[str], address: str) -> None:
    assert TRUSTED.client_address(PROXY, forwarded=forwarded, x_forwarded_for=[]) == address


def test_client_address_headers_of_an_untrusted_peer_change_nothing() -> None:
    for trusted in (TRUSTED, TrustedProxies()):
        assert trusted.client_address(LIE, forwarded=[f"for={CLIENT}"], x_forwarded_for=[CLIENT]) == LIE


@pytest.mark.parametrize(("forwarded", "address"), [(CLIENT, CLIENT), (LIE, PROXY)])
def test_client_address_headers_that_disagree_are_not_used(forwarded: str, address: str) -> None:
    """The proxy writes one of them and passes the other on as the client sent it."""
    assert TRUSTED.client_address(PROXY, forwarded=[f"for={forwarded}"], x_forwarded_for=[CLIENT]) == address


@pytest.mark.parametrize("text", ["for=1.1.1.1,,for=2.2.2.2", ";;;", 'a="' + "\\" * 999, "=", "for=a b, for=2.2.2.2"])
def test_parse_forwarded_invalid_text_ends_the_list(text: str) -> None:
    assert "1.1.1.1" not in parse_forwarded([text])


@pytest.mark.parametrize(
    ("address", "owner"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8::7", "2001:db8::/64"),
        ("2001:db8::1:7", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_owner_network_is_the_network_of_an_ipv6_address(address: str, owner: str) -> None:
    """Its owner has all of the network."""
    assert owner_network(address) == owner
