"""Contract of the PBX registry that the receiver uses to find the sender of a request."""

import hmac
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

import msgspec

Network = IPv4Network | IPv6Network


class RegisteredPbx(msgspec.Struct, frozen=True, kw_only=True):
    """One registered PBX, with the further serial numbers that it has. `secrets` are all that are valid now;
    `is_unsigned` is set for a PBX that cannot sign. `keeps_unregistered`: what its secrets sign under a serial number
    that is not registered is kept, for a person.

    An unsigned PBX is identified by its source: the `networks` it sends from, the secret `path` it posts to, its
    password, where `has_password` makes the secrets passwords of Basic credentials; or by several of them together.
    """

    sn: str
    dialect: str
    secrets: tuple[str, ...] = ()
    is_unsigned: bool = False
    networks: tuple[Network, ...] = ()
    path: str = ""
    has_password: bool = False
    keeps_unregistered: bool = True
    further_sns: tuple[str, ...] = ()

    @property
    def is_identified_by_source(self) -> bool:
        """Return whether the source identifies the PBX."""
        return bool(self.networks or self.path or (self.has_password and self.secrets))

    def matches_source(self, path: str, peer: str, password: str = "") -> bool:
        """Return whether a request to this path from this address with this password matches all parts of the source.
        Each part is compared whatever the others say, so that the time is no hint at them.
        """
        request_path = path.partition("?")[0].encode()
        is_path_equal = not self.path or hmac.compare_digest(self.path.encode(), request_path)
        is_password_right = not (self.has_password and self.secrets) or self._has_password(password)
        is_address_allowed = not self.networks or self._is_allowed_address(peer)
        return self.is_identified_by_source and is_path_equal and is_password_right and is_address_allowed

    def _has_password(self, password: str) -> bool:
        # Each secret is compared, so that the time is no hint at their order.
        return sum(hmac.compare_digest(secret.encode(), password.encode()) for secret in self.secrets) > 0

    def _is_allowed_address(self, peer: str) -> bool:
        return is_in_networks(peer, self.networks)


def is_in_networks(peer: str, networks: Sequence[Network]) -> bool:
    """Return whether an address is in one of these networks."""
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    # A dual-stack socket shows IPv4 addresses like this (RFC 4291, 2.5.5.2).
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


class PbxRegistry(Protocol):
    """Look-up of registered PBXs, in memory: used for every request, it takes a microsecond. A change is seen within a
    second, and by `refresh` at once.
    """

    def find_by_sn(self, sn: str) -> RegisteredPbx | None:
        """Return the PBX that has this serial number, in capitals or not, among its own; or None."""
        ...

    def find_by_source(self, path: str, peer: str, password: str = "") -> RegisteredPbx | None:
        """Return the one PBX with this source; None where there is none, or more than one."""
        ...

    def list_all(self) -> Sequence[RegisteredPbx]:
        """Return all PBXs, for events that do not name their sender: the same object until one has changed."""
        ...

    def is_empty(self) -> bool:
        """Return whether no PBX is registered."""
        ...

    def is_loaded(self) -> bool:
        """Return whether the PBXs were read at least once: until then every request is answered 503."""
        ...

    async def refresh(self) -> None:
        """Read what has changed before this call, within a limited time; without the database nothing changes."""
        ...
