"""Requests of apps to their PBX, over the sessions that the sync holds; see `pbx_api.pass_through`."""

import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

from onhook.appdb.api_clients import App
from onhook.appdb.appdb import AppDb
from onhook.appdb.origin import Origin
from onhook.lib.clock import Clock
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.messages import _
from onhook.pbx.client import PbxRequest
from onhook.pbx_api.pass_through import RemoteFile
from onhook.sync.pbx_session import PbxSession


class SyncPbxGateway:
    """See the contract, `pbx_api.pass_through.PbxGateway`. `find_session` returns the session of the sync of a PBX."""

    def __init__(self, find_session: Callable[[str], PbxSession | None], appdb: AppDb, clock: Clock) -> None:
        self._find_session = find_session
        self._appdb = appdb
        self._clock = clock
        self._log = logging.getLogger("pbx_api")

    def has_api(self, sn: str) -> bool:
        return self._find_session(sn) is not None

    async def forward(
        self, sn: str, method: Literal["GET", "POST"], path: str, query: Mapping[str, str], body: bytes
    ) -> Mapping[str, Any]:
        try:
            response = await self._session(sn).forward(PbxRequest(method=method, path=path, query=query, body=body))
        except OnhookError as error:
            self._log.warning("request was not passed on", extra={"sn": sn, "path": path, "error": str(error)})
            raise
        return response.members

    @asynccontextmanager
    async def open_file(self, file: RemoteFile) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._session(file.sn).open_file(file.path) as chunks:
            yield chunks

    async def record_action(self, app: App, action: str, address: str, errcode: int) -> None:
        """Add the request to the audit log; the status is the code of the response."""
        try:
            await self._appdb.audit.add(
                now_us=self._clock.microseconds(),
                actor=app.name,
                credential="app",
                address=address,
                action=action,
                status=errcode,
            )
        except Unavailable as error:
            self._log.error("request of an app is not in the audit log", extra={"action": action, "error": str(error)})

    async def record_read(self, app: App, action: str, address: str) -> None:
        origin = Origin(actor=app.name, credential="app", address=address, way="pbx-api")
        try:
            await self._appdb.audit.add_read(action, now_us=self._clock.microseconds(), origin=origin)
        except Unavailable as error:
            self._log.error("request of an app is not in the audit log", extra={"action": action, "error": str(error)})

    def _session(self, sn: str) -> PbxSession:
        session = self._find_session(sn)
        if session is None:
            raise Unavailable(_("there is no connection to this PBX"), location=sn)
        return session
