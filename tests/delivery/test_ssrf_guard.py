"""Allowed addresses of destinations."""

import socket
from ipaddress import ip_network

import pytest

from onhook.delivery.ssrf_guard import SsrfGuard

PUBLIC = ("93.184.216.34", "2606:2800:220:1::1", "::ffff:93.184.216.34", "64:ff9b::5db8:d822")
PRIVATE = (
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.5.5", "192.168.1.1", "100.64.0.1", "198.18.0.1", "::1", "fc00::1",
    "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::1",
)  # fmt: skip
NEVER = (
    "169.254.169.254", "169.254.1.1", "fe80::1", "fe80::1%eth0", "fd00:ec2::254", "100.100.100.200", "::", "::ffff:0:0",
    "168.63.129.16", "192.0.0.192", "fd20:ce::254", "fec0::1", "64:ff9b:1::a00:1", "::127.0.0.1", "::ffff:0:127.0.0.1",
    "224.0.0.1", "ff02::1", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe",
    "192.88.99.1", "5f00::1", "3fff::1",
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_ssrf_guard_public_addresses_are_allowed(address: str) -> None:
    """In any notation."""
    assert SsrfGuard(False).allows(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_ssrf_guard_private_addresses_must_be_allowed(address: str) -> None:
    """By the destination, or by a network in the configuration; an IPv4 address inside an IPv6 one counts."""
    assert not SsrfGuard(False).allows(address)
    assert SsrfGuard(True).allows(address)
    all_networks = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    assert SsrfGuard(False, all_networks).allows(address)


@pytest.mark.parametrize("address", NEVER)
def test_ssrf_guard_special_addresses_must_be_named(address: str) -> None:
    """Link-local and metadata addresses, multicast and unspecified: allowing private ones does not allow them."""
    assert not SsrfGuard(False).allows(address)
    assert not SsrfGuard(True).allows(address)


def test_ssrf_guard_named_network_allows_itself_only() -> None:
    guard = SsrfGuard(False, (ip_network("169.254.169.254/32"),))
    assert guard.allows("169.254.169.254")
    assert not guard.allows("169.254.169.253")


def test_ssrf_guard_socket_is_created_for_allowed_addresses_only() -> None:
    """The check is where the connection is made."""
    info = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 80))
    with pytest.raises(PermissionError, match=r"127\.0\.0\.1 is a private address: --allow-private allows it"):
        SsrfGuard(False).create_socket(info)
    created_socket = SsrfGuard(True).create_socket(info)
    assert created_socket.getblocking() is False
    created_socket.close()
