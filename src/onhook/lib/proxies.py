"""Addresses of clients behind trusted proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`.

Invariants: headers of a peer that is not trusted change nothing. The lists are read from the right, where the nearest
proxy writes; the first address that is not a trusted proxy's is the client's. What stands to the left of it was sent by
the client and is not read.
"""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

HOPS_MAX = 20
"""Proxies in a row; no request passes more."""

ADDRESS_CACHE_MAX = 1_024
"""A few proxies send most requests."""

IPV6_PREFIX = 64
"""An IPv6 network with one owner."""

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

# A parameter of RFC 7239: a token, `=`, and a token or a quoted string.
_PARAMETER = re.compile(r'\s*([!#$%&\'*+.^_`|~0-9A-Za-z-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s;,"]*))\s*')
_IPV4_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}")


class TrustedProxies:
    """The networks of trusted proxies, given as texts; invalid ones are rejected by the configuration."""

    def __init__(self, networks: Iterable[str] = ()) -> None:
        self._networks = tuple(ipaddress.ip_network(network) for network in networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def trusts(self, address: str) -> bool:
        """Return whether the address is that of a trusted proxy."""
        return bool(self._networks) and _is_in_networks(address, self._networks)

    def client_address(self, peer: str, *, forwarded: Sequence[str], x_forwarded_for: Sequence[str]) -> str:
        """Return the address of the client that sent a request through the peer of a connection.

        `forwarded` and `x_forwarded_for` are the values of these headers, in their order. If both are present and
        disagree, neither is used: a proxy that writes one of them passes on what the client wrote into the other.
        """
        if not (forwarded or x_forwarded_for) or not self.trusts(peer):
            return peer
        addresses = [
            self._nearest_client(peer, chain)
            for chain in (
                parse_forwarded(forwarded) if forwarded else None,
                parse_x_forwarded_for(x_forwarded_for) if x_forwarded_for else None,
            )
            if chain is not None
        ]
        return addresses[0] if len(set(addresses)) == 1 else peer

    def _nearest_client(self, peer: str, chain: Sequence[str]) -> str:
        """Return the last address of the chain that is not a trusted proxy's; an unknown one ends the search."""
        nearest = peer
        for text in list(reversed(chain))[:HOPS_MAX]:
            address = parse_node(text)
            if not address:
                break
            nearest = address
            if not self.trusts(address):
                break
        return nearest


def parse_x_forwarded_for(values: Sequence[str]) -> list[str]:
    """Return the entries of all `X-Forwarded-For` headers, in order.

    >>> parse_x_forwarded_for(["192.0.2.7, 10.0.0.1", "10.0.0.2"])
    ['192.0.2.7', '10.0.0.1', '10.0.0.2']
    """
    return [entry.strip() for entry in ",".join(values).split(",")]


def parse_forwarded(values: Sequence[str]) -> list[str]:
    """Return the `for` of each element of all `Forwarded` headers (RFC 7239, 4), empty where an element has none.

    Everything to the left of a part that is not of this form is left out, because its limits are unknown.

    >>> parse_forwarded(['for=192.0.2.43;proto=https, for="[2001:db8::1]:4711"', "proto=http"])
    ['192.0.2.43', '[2001:db8::1]:4711', '']
    """
    nodes: list[str] = []
    text, position, node = ",".join(values), 0, ""
    while position <= len(text):
        match = _PARAMETER.match(text, position)
        if match is None:
            nodes.clear()
            node, position = "", _next_separator(text, position)
        else:
            if match[1].lower() == "for":
                node = re.sub(r"\\(.)", r"\1", match[2]) if match[2] is not None else match[3]
            position = match.end()
        if position >= len(text) or text[position] == ",":
            nodes.append(node)
            node = ""
        elif text[position] != ";":
            nodes.clear()
            node, position = "", _next_separator(text, position)
            continue
        position += 1
    return nodes


def parse_node(text: str) -> str:
    """Return the address of a node without its port, in canonical form; empty for `unknown` and for other names.

    >>> [parse_node(text) for text in ("192.0.2.43:47011", "[2001:DB8::1]:80", "2001:db8::2", "unknown", "_hidden")]
    ['192.0.2.43', '2001:db8::1', '2001:db8::2', '', '']
    """
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif with_port := _IPV4_WITH_PORT.fullmatch(text):
        text = with_port[1]
    address = _parse_address(text)
    return "" if address is None else str(address)


def owner_network(address: str) -> str:
    """Return the address, or for IPv6 the network, whose requests are counted together: its owner has all of it.

    >>> owner_network("192.0.2.7"), owner_network("2001:db8::7"), owner_network("::ffff:192.0.2.7")
    ('192.0.2.7', '2001:db8::/64', '192.0.2.7')
    """
    ip_address = _parse_address(address)
    if isinstance(ip_address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((ip_address, IPV6_PREFIX), strict=False))
    return address if ip_address is None else str(ip_address)


@lru_cache(maxsize=ADDRESS_CACHE_MAX)
def _is_in_networks(address: str, networks: tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]) -> bool:
    ip_address = _parse_address(address)
    return ip_address is not None and any(ip_address in network for network in networks)


def _parse_address(text: str) -> IpAddress | None:
    """Return an IP address, an IPv4 address instead of its IPv6 form; None for any other text."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped


def _next_separator(text: str, position: int) -> int:
    """Return the position of the next comma, or the end."""
    comma = text.find(",", position)
    return len(text) if comma < 0 else comma
