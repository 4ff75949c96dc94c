"""PBX registry of the intake: a copy of the application database's in memory, which follows its changes."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from onhook.appdb.appdb import AppDb
from onhook.appdb.contract import AccessRefused, DamagedDatabase
from onhook.appdb.pbxs import WebhookCredentials
from onhook.appdb.source_match import LINE_DIALECTS, PASSWORD_DIALECTS
from onhook.cdr.identity import fold_sn
from onhook.lib.change_watcher import ChangeWatcher, appdb_failure_log
from onhook.lib.errors import OnhookError, Unavailable
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.runtime.adapters.credentials_file import CredentialsFile, PbxWithNumbers

REFRESH_SECONDS_MAX = 0.5
"""Time for reading the database before a request is rejected; then the copy decides. Reading takes milliseconds."""

CHECK_SECONDS = 30.0
"""Time after which the copy is checked without a notification of a change."""

RETRY_SECONDS = 0.5
"""Wait after the database could not be read. A removed secret is refused within a second."""


class AppDbPbxRegistry:
    """See the contract, `receiver.pbx_registry.PbxRegistry`.

    When the database cannot be read, the last known registry is used, so that nothing done to `onhook.db` rejects
    calls: also that of the last process, where it has left a file. Without one there is none before the first read, and
    the database is read again until it can be.
    """

    def __init__(self, appdb: AppDb, credentials_file: CredentialsFile | None = None) -> None:
        self._appdb = appdb
        self._credentials_file = credentials_file
        self._stored: Sequence[PbxWithNumbers] | None = None
        log = logging.getLogger("appdb")
        self._failure_log = appdb_failure_log(log, consequence="using the last known PBXs")
        self._load_failure_log = appdb_failure_log(log, consequence="answering 503 until it can be read")
        self._watcher = ChangeWatcher(appdb, self._read)
        self._used: Sequence[PbxWithNumbers] = ()
        self._pbxs: tuple[RegisteredPbx, ...] = ()
        self._source_pbxs: tuple[RegisteredPbx, ...] = ()
        self._pbx_by_sn: Mapping[str, RegisteredPbx] = {}
        self._reading = asyncio.Lock()
        self._is_current = True
        self._is_loaded = False
        self._requested_count = 0
        self._answered_count = 0

    async def load(self) -> None:
        """Read the database for the first time; where it is damaged or cannot be read now, `follow` reads it later.
        Raises `OnhookError` for a database of another program or of a newer Onhook.
        """
        try:
            self._use(await self._watcher.current())
        except (AccessRefused, DamagedDatabase, Unavailable) as error:
            if stored := await self._read_file():
                self._use(stored)
            self._note_failure(error)
        else:
            await self._write_file()

    async def follow(self) -> None:
        """Follow the changes of the database, until cancelled."""
        version = 0
        while True:
            raise_if_cancelled()
            try:
                version = await self._appdb.wait_for_change(version, CHECK_SECONDS)
                await self.refresh()
                if not self._is_current:
                    version = 0  # read again, although nothing changes any more
                    await asyncio.sleep(RETRY_SECONDS)
            except OnhookError as error:
                self._note_failure(error)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                # An outdated copy would accept a removed secret: go on, and show the mistake.
                logging.getLogger("appdb").exception("following the registered PBXs failed, retrying")
                await asyncio.sleep(RETRY_SECONDS)

    def find_by_sn(self, sn: str) -> RegisteredPbx | None:
        """Return the PBX that has this serial number among its own, or None."""
        return self._pbx_by_sn.get(fold_sn(sn))

    def find_by_source(self, path: str, peer: str, password: str = "") -> RegisteredPbx | None:
        """Return the one PBX with this source; a path has precedence over a password, and that over an address."""
        matches = [pbx for pbx in self._source_pbxs if pbx.matches_source(path, peer, password)]
        matches = [pbx for pbx in matches if pbx.path] or [pbx for pbx in matches if pbx.has_password] or matches
        return matches[0] if len(matches) == 1 else None

    def list_all(self) -> Sequence[RegisteredPbx]:
        """Return all PBXs."""
        return self._pbxs

    def is_empty(self) -> bool:
        """Return whether no PBX is registered."""
        return not self._pbxs

    def is_loaded(self) -> bool:
        """Return whether the PBXs were read at least once."""
        return self._is_loaded

    async def refresh(self) -> None:
        """Read what has changed before this call. Calls at the same time share one read that begins after them."""
        self._requested_count += 1
        request_number = self._requested_count
        try:
            async with asyncio.timeout(REFRESH_SECONDS_MAX), self._reading:
                if self._answered_count < request_number:
                    requested_count = self._requested_count
                    await self._poll()
                    self._answered_count = requested_count
        except TimeoutError as error:
            self._note_failure(error)

    async def _poll(self) -> None:
        try:
            pbxs = await self._watcher.poll()
        except OnhookError as error:
            self._note_failure(error)
            return
        self._is_current = True
        self._failure_log.end()
        self._load_failure_log.end()
        if pbxs is not None:
            self._use(pbxs)
            await self._write_file()

    async def _read_file(self) -> list[PbxWithNumbers]:
        return [] if self._credentials_file is None else await asyncio.to_thread(self._credentials_file.read_pbxs)

    async def _write_file(self) -> None:
        """Write the file where something has changed. Without it the intake works as well, while it runs."""
        if self._credentials_file is None or self._used == self._stored:
            return
        try:
            await asyncio.to_thread(self._credentials_file.write_pbxs, self._used)
            self._stored = self._used
        except OSError as error:
            logging.getLogger("intake").warning("cannot write the file of PBXs", extra={"error": error.strerror})

    def _note_failure(self, error: Exception) -> None:
        self._is_current = False
        failure_log = self._failure_log if self._is_loaded else self._load_failure_log
        failure_log.begin(error=str(error) or "no answer in time")

    def _use(self, pbxs: Sequence[PbxWithNumbers]) -> None:
        self._is_loaded = True
        self._used = pbxs
        self._pbxs = tuple(pbx for pbx, _ in pbxs)
        self._source_pbxs = tuple(pbx for pbx in self._pbxs if pbx.is_identified_by_source)
        self._pbx_by_sn = {fold_sn(sn): pbx for pbx, sns in pbxs for sn in sns}

    async def _read(self) -> list[PbxWithNumbers]:
        """Return the PBXs, each with all its serial numbers."""
        return [
            (_registered_pbx(credentials), (credentials.sn, *credentials.further_sns))
            for credentials in await self._appdb.webhook_credentials()
        ]


def _registered_pbx(credentials: WebhookCredentials) -> RegisteredPbx:
    return RegisteredPbx(
        sn=credentials.sn,
        dialect=credentials.dialect,
        secrets=credentials.secrets,
        is_unsigned=credentials.is_unsigned,
        # Those of a PBX that writes lines may open a connection, and send no requests.
        networks=()
        if credentials.dialect in LINE_DIALECTS
        else tuple(map(ip_network, credentials.source_match.addresses)),
        path=credentials.source_match.path,
        has_password=credentials.dialect in PASSWORD_DIALECTS,
        keeps_unregistered=credentials.keeps_unregistered,
        further_sns=credentials.further_sns,
    )
