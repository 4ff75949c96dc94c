"""Line endpoints of the registered PBXs, from the application database."""

import asyncio
import logging
from collections.abc import Sequence
from ipaddress import ip_network

from onhook.appdb.appdb import AppDb
from onhook.appdb.contract import Version
from onhook.appdb.source_match import LINE_DIALECTS, SourceMatch
from onhook.receiver.line_server import LineEndpoint
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.runtime.adapters.credentials_file import CredentialsFile


class AppDbLineEndpoints:
    """See the contract, `receiver.line_server.LineEndpointSource`; the file of the intake has what was last read."""

    def __init__(self, appdb: AppDb, credentials_file: CredentialsFile) -> None:
        self._appdb = appdb
        self._credentials_file = credentials_file
        self._stored: Sequence[LineEndpoint] | None = None

    async def version(self) -> Version:
        """Return the version of the application database."""
        return await self._appdb.version()

    async def wait_for_change(self, version: Version, seconds: float) -> Version:
        """Wait until the version differs from this one, at most so long; return the current version."""
        return await self._appdb.wait_for_change(version, seconds)

    async def list_endpoints(self) -> Sequence[LineEndpoint]:
        """Return the endpoint of each PBX that has one, and store what has changed."""
        endpoints = await self._read()
        if self._stored is None:
            self._stored = await self.list_stored_endpoints()
        if endpoints != self._stored:
            try:
                await asyncio.to_thread(self._credentials_file.write_endpoints, endpoints)
                self._stored = endpoints
            except OSError as error:
                # Without it the intake works as well, while it runs.
                extra = {"error": error.strerror}
                logging.getLogger("intake").warning("cannot write the file of line connections", extra=extra)
        return endpoints

    async def list_stored_endpoints(self) -> Sequence[LineEndpoint]:
        """Return those that were last read, also by the process before this one."""
        return await asyncio.to_thread(self._credentials_file.read_endpoints)

    async def _read(self) -> list[LineEndpoint]:
        connections = await self._appdb.line_connections.all()
        if not connections:
            # The database changes with every delivery, and most intakes have no such PBX.
            return []
        source_matches = await self._appdb.source_matches.all()
        return [
            LineEndpoint(
                pbx=RegisteredPbx(
                    sn=pbx.sn,
                    dialect=pbx.dialect,
                    networks=tuple(map(ip_network, source_matches.get(pbx.sn, SourceMatch()).addresses)),
                ),
                mode=connections[pbx.sn].mode,
                host=connections[pbx.sn].host,
                port=connections[pbx.sn].port,
            )
            for pbx in await self._appdb.pbxs()
            if pbx.sn in connections and pbx.dialect in LINE_DIALECTS
        ]
