"""Contract of the registry of apps, implemented by the application database and the simulated PBX.

Times are microseconds since 1970, UTC.
"""

from typing import Protocol

from onhook.appdb.api_clients import App


def is_address_allowed(app: App, address: str) -> bool:
    """Return whether an app may send requests from an address, which may be IPv4 in the form of IPv6."""
    return app.allows_address(address.removeprefix("::ffff:") if "." in address else address)


class AppRegistry(Protocol):
    """Registry of apps, used for every request: changes take effect at once."""

    async def find_by_client_id(self, client_id: str) -> tuple[App, bytes] | None:
        """Return the app with this client id and the hash of its secret, or None."""
        ...

    async def find_by_credentials(self, client_id: str, client_secret: str) -> App | None:
        """Return the app with these credentials, or None."""
        ...

    async def record_use(self, app: App, now_us: int) -> None:
        """Store the time of the last use."""
        ...

    async def is_blocked(self, address: str, client_id: str, now_us: int) -> bool:
        """Return whether wrong credentials for this client id are blocked at this address now."""
        ...

    async def block(self, address: str, client_id: str, now_us: int) -> None:
        """Block wrong credentials for a client id at an address for a while."""
        ...

    async def version(self) -> int:
        """Return a value that changes with every write."""
        ...
