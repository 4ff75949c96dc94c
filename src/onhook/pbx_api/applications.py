"""Contract of the registry of apps, implemented by the application database and the simulated PBX.

Times are microseconds since 1970, UTC.
"""

from typing import Protocol

from onhook.appdb.api_clients import App


class AppRegistry(Protocol):
    """Registry of apps, used for every request: changes take effect at once."""

    def find_by_client_id(self, client_id: str) -> tuple[App, bytes] | None:
        """Return the app with this client id and the hash of its secret, or None."""
        ...

    def find_by_credentials(self, client_id: str, client_secret: str) -> App | None:
        """Return the app with these credentials, or None."""
        ...

    def record_use(self, app: App, now_us: int) -> None:
        """Store the time of the last use."""
        ...

    def is_blocked(self, address: str, now_us: int) -> bool:
        """Return whether the address is blocked now."""
        ...

    def block(self, address: str, now_us: int) -> None:
        """Block an address for a while."""
        ...

    def version(self) -> tuple[int, int]:
        """Return a value that changes with every write."""
        ...
