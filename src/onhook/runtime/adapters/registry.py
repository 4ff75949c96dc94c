"""PBX registry of the intake, read from the application database after each change."""

import logging
import time
from collections.abc import Mapping, Sequence
from ipaddress import ip_network

from onhook.appdb.appdb import AppDb
from onhook.lib.change_watcher import ChangeWatcher, appdb_failure_log
from onhook.receiver.pbx_registry import RegisteredPbx

CACHE_SECONDS = 0.001
"""Lifetime of the cached registry. A check costs 3 microseconds, which matters at thousands of events per second;
adding a PBX takes longer than this.
"""


class AppDbPbxRegistry:
    """See the contract, `receiver.pbx_registry.PbxRegistry`.

    After the first read it never fails: when the database cannot be read, the last known registry is used, so that
    nothing done to `onhook.db` rejects calls.
    """

    def __init__(self, appdb: AppDb) -> None:
        """Read the database. Raises `Unavailable` when it cannot be read at all."""
        self._failure_log = appdb_failure_log(logging.getLogger("appdb"), consequence="using the last known PBXs")
        self._watcher = ChangeWatcher(appdb.version, lambda: _load_pbxs(appdb))
        self._pbx_by_sn = self._watcher.current()
        self._checked_at = time.monotonic()

    def find_by_sn(self, sn: str) -> RegisteredPbx | None:
        """Return the PBX with this serial number; the database is read again for an unknown one."""
        now = time.monotonic()
        if now - self._checked_at > CACHE_SECONDS or sn not in self._pbx_by_sn:
            self._refresh(now)
        return self._pbx_by_sn.get(sn)

    def find_by_source(self, path: str, peer: str) -> RegisteredPbx | None:
        """Return the one PBX with this source; a path has precedence over an address."""
        self._refresh(time.monotonic())
        matches = [pbx for pbx in self._pbx_by_sn.values() if pbx.matches_source(path, peer)]
        matches = [pbx for pbx in matches if pbx.path] or matches
        return matches[0] if len(matches) == 1 else None

    def list_all(self) -> Sequence[RegisteredPbx]:
        """Return all current PBXs."""
        self._refresh(time.monotonic())
        return tuple(self._pbx_by_sn.values())

    def is_empty(self) -> bool:
        """Return whether no PBX is registered."""
        if not self._pbx_by_sn:
            self._refresh(time.monotonic())
        return not self._pbx_by_sn

    def _refresh(self, now: float) -> None:
        self._checked_at = now
        pbx_by_sn = self._watcher.poll_or_log(self._failure_log)
        if pbx_by_sn is not None:
            self._pbx_by_sn = pbx_by_sn


def _load_pbxs(appdb: AppDb) -> Mapping[str, RegisteredPbx]:
    return {
        credentials.sn: RegisteredPbx(
            sn=credentials.sn,
            dialect=credentials.dialect,
            secrets=credentials.secrets,
            is_unsigned=credentials.is_unsigned,
            networks=tuple(map(ip_network, credentials.source_match.addresses)),
            path=credentials.source_match.path,
        )
        for credentials in appdb.webhook_credentials()
    }
