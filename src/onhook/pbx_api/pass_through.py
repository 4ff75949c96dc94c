"""Requests that are passed on to the PBX of an app, over the session that Onhook keeps with it.

Invariants: only for apps of exactly one PBX, and only the paths listed here; those that place or end calls need a
permission of their own, and they and recordings are audited. An app never sees the PBX's token, address or secrets.
Requests are limited in rate and in time; one that may have been executed is never sent twice.
"""

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal, Protocol

import msgspec

from onhook.appdb.api_clients import App
from onhook.lib.errors import OnhookError
from onhook.pbx_api.codes import (
    ACCESS_DENIED,
    ACTION_FORBIDDEN,
    API_UNAVAILABLE,
    INTERFACE_NOT_EXISTED,
    OVERLOAD_TASK_RUNNING,
    ApiRequestError,
    ApiResponse,
)
from onhook.pbx_api.request import ApiRequest

READ_ACTIONS: Final = ("list", "search", "query", "get")
READ_PATHS: Final = frozenset(
    {
        *(f"{name}/{action}" for name in ("extension", "queue", "ivr", "ringgroup") for action in READ_ACTIONS),
        *(f"{name}/{action}" for name in ("trunk", "company_contact", "phonebook") for action in READ_ACTIONS),
        "call_report/list",
    }
)
"""Read by GET; answered from the calls where the PBX cannot."""

RECORDING_PATH: Final = "recording/download"

CONTROL_PATHS: Final[Mapping[str, Literal["GET", "POST"]]] = {
    "call/dial": "POST",
    "call/hangup": "POST",
    "call/query": "GET",
    "sign/create": "POST",
}
"""Place, end and watch calls, and sign in a telephone in a browser: for apps that are allowed to."""

REQUESTS_PER_MINUTE: Final = 60
"""Requests of one app that are passed on: a PBX serves its telephones first."""

CONCURRENT_MAX: Final = 4
"""Requests passed on at a time: half of the concurrent responses, so that a slow PBX leaves places for others."""

APPS_MAX: Final = 1_000
"""Apps with counted requests; the oldest is removed first."""

NESTING_MAX: Final = 20
"""Levels of a response of a PBX that are searched for secrets; deeper ones are left out."""

SECRET_PARTS: Final = ("password", "passwd", "pwd", "passphrase", "secret", "token", "credential")
"""Parts of the names of members that a PBX's list has for its own pages."""

SECRET_WORDS: Final = frozenset({"pin", "pincode", "auth", "pass"})
"""Words of such names, between underscores."""

SECRET_ENDS: Final = ("_key", "apikey", "authkey")

_MINUTE_MICROSECONDS: Final = 60_000_000


class RemoteFile(msgspec.Struct, frozen=True):
    """A file on a PBX: a path under its own host, without a token."""

    sn: str
    path: str


class PbxGateway(Protocol):
    """Access to the web APIs of PBXs, over sessions that exist already."""

    def has_api(self, sn: str) -> bool:
        """Return whether Onhook has a session with the web API of this PBX."""
        ...

    async def forward(
        self, sn: str, method: Literal["GET", "POST"], path: str, query: Mapping[str, str], body: bytes
    ) -> Mapping[str, Any]:
        """Send a request once and return the members of the response, which may be an error. Raises `OnhookError` if
        there is none.
        """
        ...

    def open_file(self, file: RemoteFile) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a file of the PBX; its chunks are read inside. Raises `OnhookError`."""
        ...

    async def record_action(self, app: App, action: str, address: str, errcode: int) -> None:
        """Add a request of an app to the audit log."""
        ...

    async def record_read(self, app: App, action: str, address: str) -> None:
        """Add a list that an app reads to the audit log; repeated within an hour it is one entry."""
        ...


class PassThrough:
    """The gateway with its limits. Without a gateway nothing is passed on, as in a simulated PBX."""

    def __init__(self, gateway: PbxGateway | None = None) -> None:
        self._gateway = gateway
        self._active = 0
        self._request_counts: OrderedDict[str, tuple[int, int]] = OrderedDict()

    def is_available(self, request: ApiRequest) -> bool:
        """Return whether requests of this app are passed on: it has one PBX, and that has an API."""
        pbxs = request.owner.pbxs
        return self._gateway is not None and len(pbxs) == 1 and self._gateway.has_api(pbxs[0])

    async def read(self, request: ApiRequest, path: str, query: Mapping[str, str] | None = None) -> ApiResponse | None:
        """Return the response of the PBX to a request that reads, or None if it is to be answered from the calls.
        The query is that of the request unless it is given. Raises `ApiRequestError`.
        """
        if path not in READ_PATHS or not self.is_available(request):
            return None
        members = await self._forward(request, "GET", path, dict(request.parameters if query is None else query), b"")
        assert self._gateway is not None
        await self._gateway.record_read(request.owner, path, request.address)
        # Older firmware has no such list, or the client of Onhook in the PBX may not read it.
        return None if _errcode(members) in (INTERFACE_NOT_EXISTED, ACCESS_DENIED) else members

    async def control(self, request: ApiRequest, path: str) -> ApiResponse:
        """Return the response of the PBX to a request that controls calls. Raises `ApiRequestError`."""
        if not self.is_available(request):
            raise ApiRequestError(INTERFACE_NOT_EXISTED)
        if not request.owner.allow_control:
            await self.record_action(request, path, ACTION_FORBIDDEN)
            raise ApiRequestError(ACTION_FORBIDDEN)
        method = CONTROL_PATHS[path]
        return await self._forward_audited(request, method, path, dict(request.parameters), request.body)

    async def find_recording(self, request: ApiRequest, name: str) -> RemoteFile | None:
        """Return the file of a recording on the PBX, or None if it has none. Raises `ApiRequestError`."""
        if not self.is_available(request):
            return None
        members = await self._forward_audited(request, "GET", RECORDING_PATH, {"file": name}, b"")
        path = members.get("download_resource_url")
        if _errcode(members) or not isinstance(path, str) or not is_download_path(path):
            return None
        return RemoteFile(request.owner.pbxs[0], path)

    def open_file(self, file: RemoteFile) -> AbstractAsyncContextManager[AsyncIterator[bytes]]:
        """Open a file of a PBX; see `PbxGateway.open_file`."""
        assert self._gateway is not None
        return self._gateway.open_file(file)

    async def _forward_audited(
        self,
        request: ApiRequest,
        method: Literal["GET", "POST"],
        path: str,
        query: dict[str, str],
        body: bytes,
    ) -> Mapping[str, Any]:
        try:
            members = await self._forward(request, method, path, query, body)
        except ApiRequestError as error:
            await self.record_action(request, path, error.code)
            raise
        await self.record_action(request, path, _errcode(members))
        return members

    async def _forward(
        self,
        request: ApiRequest,
        method: Literal["GET", "POST"],
        path: str,
        query: dict[str, str],
        body: bytes,
    ) -> Mapping[str, Any]:
        """Send a request within the limits; return the response without secrets. Raises `ApiRequestError`."""
        assert self._gateway is not None
        self._count_request(request)
        query.pop("access_token", None)
        self._active += 1
        try:
            members = await self._gateway.forward(
                request.owner.pbxs[0], method, f"/openapi/{request.version}/{path}", query, body
            )
        except OnhookError:
            raise ApiRequestError(API_UNAVAILABLE) from None
        finally:
            self._active -= 1
        return {name: remove_secrets(value, 0) for name, value in members.items() if not _is_secret(name)}

    def _count_request(self, request: ApiRequest) -> None:
        client_id, now_us = request.owner.client_id, round(request.received_at.timestamp() * 1_000_000)
        window_start, count = self._request_counts.pop(client_id, (now_us, 0))
        if now_us - window_start >= _MINUTE_MICROSECONDS:
            window_start, count = now_us, 0
        self._request_counts[client_id] = window_start, count + 1
        while len(self._request_counts) > APPS_MAX:
            self._request_counts.popitem(last=False)
        if count >= REQUESTS_PER_MINUTE or self._active >= CONCURRENT_MAX:
            raise ApiRequestError(OVERLOAD_TASK_RUNNING)

    async def record_action(self, request: ApiRequest, path: str, errcode: int) -> None:
        """Add a request to the audit log, with the code of its response."""
        if self._gateway is not None:
            await self._gateway.record_action(request.owner, path, request.address, errcode)


def is_download_path(path: str) -> bool:
    """Return whether a path that a PBX names is one of its downloads, and leads to no other host or folder."""
    is_plain = path.isascii() and path.isprintable() and not any(character in path for character in "\\?#%@ ")
    return path.startswith("/api/download/") and is_plain and ".." not in path and "//" not in path


def remove_secrets(value: object, level: int) -> object:
    """Return a value of a response without members that are secrets."""
    if level > NESTING_MAX:
        return None
    if isinstance(value, dict):
        return {name: remove_secrets(item, level + 1) for name, item in value.items() if not _is_secret(str(name))}
    if isinstance(value, list):
        return [remove_secrets(item, level + 1) for item in value]
    return value


def _is_secret(name: str) -> bool:
    folded_name = name.lower()
    return (
        any(part in folded_name for part in SECRET_PARTS)
        or folded_name.endswith(SECRET_ENDS)
        or not SECRET_WORDS.isdisjoint(folded_name.replace("-", "_").split("_"))
    )


def _errcode(members: Mapping[str, Any]) -> int:
    errcode = members.get("errcode")
    return errcode if isinstance(errcode, int) else 0
