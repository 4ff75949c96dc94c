"""SSRF guard: allowed addresses of destinations; private networks are forbidden unless an operator allows them.

Each address is checked when its socket is created, so a name that changes its address between look-up and connection is
checked too.
"""

import errno
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import msgspec

from onhook.lib.messages import _

Network = IPv4Network | IPv6Network
AnyAddress = IPv4Address | IPv6Address

METADATA_ADDRESSES = frozenset(
    map(
        ip_address,
        ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    )
)
"""Metadata services of cloud providers."""

INTERNAL_IPV6_NETWORKS = tuple(map(IPv6Network, ("fec0::/10", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
"""Site-local addresses and forms of IPv4 that lead to private networks, which some Python versions take for public."""

_NAT64 = IPv6Network("64:ff9b::/96")


class SsrfGuard(msgspec.Struct, frozen=True):
    """`allow_private` allows private networks and this machine, but neither link-local nor metadata addresses; any
    address can be allowed by `networks`.
    """

    allow_private: bool
    networks: Sequence[Network] = ()

    def allows(self, text: str) -> bool:
        """Return whether this address may be connected to.

        >>> SsrfGuard(False).allows("93.184.216.34"), SsrfGuard(False).allows("::ffff:10.0.0.1")
        (True, False)
        >>> SsrfGuard(True).allows("10.0.0.1")
        True
        """
        address = _unwrap_ipv4(ip_address(text.partition("%")[0]))
        if any(address in network for network in self.networks):
            return True
        if address.version == 6 and any(address in network for network in INTERNAL_IPV6_NETWORKS):
            return self.allow_private and address.is_loopback
        if address in METADATA_ADDRESSES or address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        return address.is_global or self.allow_private

    def create_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Return a socket for an allowed address. Raises `PermissionError` for another."""
        family, kind, protocol, _canonical_name, (host, *_rest) = info
        if not self.allows(host):
            message = (
                _("{host} is a private address: --allow-private allows it", host=host)
                if msgspec.structs.replace(self, allow_private=True).allows(host)
                else _("{host} is a private address: the setting private_networks allows it", host=host)
            )
            raise PermissionError(errno.EACCES, message)
        new_socket = socket.socket(family, kind, protocol)
        new_socket.setblocking(False)
        return new_socket


def _unwrap_ipv4(address: AnyAddress) -> AnyAddress:
    """Return the IPv4 address inside an IPv6 address that only leads there."""
    if isinstance(address, IPv4Address):
        return address
    ipv4_address = address.ipv4_mapped or address.sixtofour
    if ipv4_address is None and address in _NAT64:
        ipv4_address = IPv4Address(int(address) & 0xFFFFFFFF)
    return ipv4_address or address


def create_ssrf_guard(private_networks: str, *, allow_private: bool) -> SsrfGuard:
    """Return the guard for a destination; `private_networks` are allowed for all, separated by commas."""
    return SsrfGuard(allow_private, tuple(ip_network(text) for text in private_networks.split(",") if text))
