"""Who may speak to the exchange: the contract that the settings and the made-up PBX both fulfil.

Moments are microseconds since 1970, UTC.
"""

from typing import Protocol

from onhook.appdb.api_clients import App


class AppRegistry(Protocol):
    """Asked at every request: what a person changes counts at once."""

    def find_by_client_id(self, client_id: str) -> tuple[App, bytes] | None:
        """The application with this client id, and the hash of its secret; None where there is none."""
        ...

    def find_by_credentials(self, client_id: str, client_secret: str) -> App | None:
        """The application whose credentials these are, or None."""
        ...

    def record_use(self, app: App, now_us: int) -> None:
        """Note that it was here."""
        ...

    def is_blocked(self, address: str, now_us: int) -> bool:
        """Whether that address is kept out now."""
        ...

    def block(self, address: str, now_us: int) -> None:
        """Keep an address out for a while."""
        ...

    def version(self) -> tuple[int, int]:
        """Changes when anybody has written anything."""
        ...
