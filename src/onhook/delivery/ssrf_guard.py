"""SSRF guard: allowed addresses of outgoing connections; private networks are forbidden unless an operator allows them.

An address is checked when it is set (`check_address`), and again when its socket is created, so a name that changes its
address between look-up and connection is checked too.
"""

import asyncio
import errno
import socket
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver

from onhook.lib.errors import UsageError
from onhook.lib.hosts import UrlHost
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

INTERNAL_IPV6_NETWORKS = tuple(
    map(IPv6Network, ("fec0::/10", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96", "5f00::/16", "3fff::/20"))
)
"""Site-local addresses, forms of IPv4 that lead to private networks, segments of a network's own routing, and addresses
for documentation, which some Python versions take for public.
"""

RELAY_NETWORK = IPv4Network("192.88.99.0/24")
"""Relays of a discontinued protocol (RFC 7526): no receiver has such an address."""

RESOLVE_SECONDS_MAX = 3.0
"""A name is looked up within milliseconds; a name server that does not answer delays a person by this much."""

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
        return self.allows_address(ip_address(text.partition("%")[0]))

    def allows_address(self, any_address: AnyAddress) -> bool:
        """Return whether this address may be connected to, like `allows`."""
        address = _unwrap_ipv4(any_address)
        if any(address in network for network in self.networks):
            return True
        if address.version == 6 and any(address in network for network in INTERNAL_IPV6_NETWORKS):
            return self.allow_private and address.is_loopback
        if (
            address in METADATA_ADDRESSES
            or address in RELAY_NETWORK
            or address.is_link_local
            or address.is_multicast
            or address.is_unspecified
        ):
            return False
        return address.is_global or self.allow_private

    def require_allowed(self, address: AnyAddress) -> None:
        """Raise `PermissionError` for an address that may not be connected to."""
        if self.allows_address(address):
            return
        message = (
            _("{host} is a private address: --allow-private allows it", host=address)
            if msgspec.structs.replace(self, allow_private=True).allows_address(address)
            else _("{host} is a private address: the setting private_networks allows it", host=address)
        )
        raise PermissionError(errno.EACCES, message)

    def create_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Return a socket for an allowed address. Raises `PermissionError` for another."""
        family, kind, protocol, _canonical_name, (host, *_rest) = info
        self.require_allowed(ip_address(host.partition("%")[0]))
        new_socket = socket.socket(family, kind, protocol)
        new_socket.setblocking(False)
        return new_socket


async def check_address(
    host: UrlHost, guard: SsrfGuard, *, location: str, resolver: AbstractResolver | None = None
) -> str:
    """Return a warning about a host that is about to be set: that its name has no address now, or an empty text.

    Raises `UsageError` at `location` where it is, or where its name leads to, an address that the guard does not allow.
    """
    if host.address is not None:
        _require_allowed(host, host.address, guard, location)
        return ""
    addresses, reason = await resolve_host(host, resolver)
    for address in addresses:
        _require_allowed(host, address, guard, location)
    if addresses:
        return ""
    return _("{host} has no address now: {reason}", host=host.text, reason=reason)


async def resolve_host(host: UrlHost, resolver: AbstractResolver | None = None) -> tuple[Sequence[AnyAddress], str]:
    """Return the addresses of a name, or none and the reason; within `RESOLVE_SECONDS_MAX`."""
    own_resolver = aiohttp.AsyncResolver() if resolver is None else None
    try:
        async with asyncio.timeout(RESOLVE_SECONDS_MAX):
            results = await (resolver or own_resolver).resolve(host.text, 0, socket.AF_UNSPEC)  # type: ignore[union-attr]
    except TimeoutError:
        return (), _("no answer within {seconds:g} seconds", seconds=RESOLVE_SECONDS_MAX)
    except OSError as error:
        return (), error.strerror or str(error)
    finally:
        if own_resolver is not None:
            await own_resolver.close()
    return [ip_address(result["host"].partition("%")[0]) for result in results], ""


def _require_allowed(host: UrlHost, address: AnyAddress, guard: SsrfGuard, location: str) -> None:
    """Raise `UsageError` for an address that the guard does not allow."""
    if guard.allows_address(address):
        return
    message = (
        _("{host} is not a public address", host=address)
        if host.address is not None
        else _("{host} leads to {address}, which is not a public address", host=host.text, address=address)
    )
    can_be_allowed = msgspec.structs.replace(guard, allow_private=True).allows_address(address)
    hint = (
        _("allow private addresses for it: --allow-private, `allow_private`, or the choice in the form")
        if can_be_allowed
        else _("only the setting private_networks allows it")
    )
    raise UsageError(message, location=location, hint=hint)


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
