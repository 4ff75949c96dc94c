"""Registry of one app in memory, for a simulated PBX."""

from onhook.appdb.api_clients import BLOCKED_MAX, BLOCKED_MICROSECONDS, App, verify_secret
from onhook.appdb.tokens import hash_secret


class SingleApp:
    """See the contract, `pbx_api.applications.AppRegistry`."""

    def __init__(self, app: App, client_secret: str) -> None:
        self._app = app
        self._secret_hash = hash_secret(client_secret)
        self._blocked: dict[tuple[str, str], int] = {}

    async def find_by_client_id(self, client_id: str) -> tuple[App, bytes] | None:
        return (self._app, self._secret_hash) if client_id == self._app.client_id else None

    async def find_by_credentials(self, client_id: str, client_secret: str) -> App | None:
        is_known = client_id == self._app.client_id and verify_secret(client_secret, self._secret_hash)
        return self._app if is_known else None

    async def record_use(self, app: App, now_us: int) -> None:
        """Do nothing: a simulated PBX has no list of apps."""

    async def is_blocked(self, address: str, client_id: str, now_us: int) -> bool:
        return self._blocked.get((address, client_id), 0) > now_us

    async def block(self, address: str, client_id: str, now_us: int) -> None:
        active_blocks = [(source, until) for source, until in self._blocked.items() if until > now_us]
        self._blocked = dict(active_blocks[-BLOCKED_MAX + 1 :])
        self._blocked[address, client_id] = now_us + BLOCKED_MICROSECONDS

    async def version(self) -> int:
        return 0
