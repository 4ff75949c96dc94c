"""Who may speak: the contract of the look-up that intake is handed. Where the PBXs are kept is not its business."""

import hmac
from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Protocol

import msgspec

Network = IPv4Network | IPv6Network


class RegisteredPbx(msgspec.Struct, frozen=True, kw_only=True):
    """One PBX that a person has declared. `secrets` are all that count now; `is_unsigned` was declared on purpose.

    One that cannot sign is told by its place: the `networks` it reports from, the secret `path` it posts to, or both.
    """

    sn: str
    dialect: str
    secrets: tuple[str, ...] = ()
    is_unsigned: bool = False
    networks: tuple[Network, ...] = ()
    path: str = ""

    @property
    def is_identified_by_source(self) -> bool:
        """Whether its place tells who it is."""
        return bool(self.networks or self.path)

    def matches_source(self, path: str, peer: str) -> bool:
        """Whether a request to this path from this address comes from its place, all of which must hold."""
        request_path = path.partition("?")[0].encode()
        is_path_equal = not self.path or hmac.compare_digest(self.path.encode(), request_path)
        return self.is_identified_by_source and is_path_equal and (not self.networks or self._is_allowed_address(peer))

    def _is_allowed_address(self, peer: str) -> bool:
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        # A socket that takes both families shows IPv4 so (RFC 4291, 2.5.5.2).
        address = getattr(address, "ipv4_mapped", None) or address
        return any(address in network for network in self.networks)


class PbxRegistry(Protocol):
    """Asked for every request, so an answer takes a microsecond; what was declared a moment ago counts at once."""

    def find_by_sn(self, sn: str) -> RegisteredPbx | None:
        """The PBX with this serial number, or None."""
        ...

    def find_by_source(self, path: str, peer: str) -> RegisteredPbx | None:
        """The one PBX whose place this is; None where there is none, or more than one."""
        ...

    def list_all(self) -> Sequence[RegisteredPbx]:
        """All PBXs, for reports that do not name their sender."""
        ...
