"""Who may report: what intake is handed in place of the settings, read anew when somebody has changed them."""

import time
from collections.abc import Callable, Mapping, Sequence
from ipaddress import ip_network

from onhook.appdb.appdb import AppDb
from onhook.lib.errors import OnhookError
from onhook.receiver.pbx_registry import RegisteredPbx

CACHE_SECONDS = 0.001
"""How long what was read counts unasked. Asking costs 3 microseconds, which thousands of reports per second would feel;
whoever declares a PBX needs longer than this to make it send."""


class AppDbPbxRegistry:
    """See the contract, `receiver.pbx_registry.PbxRegistry`.

    Once read, it never fails: when the settings cannot be read now, what was known before counts, so that nothing
    done to `onhook.db` keeps calls out.
    """

    def __init__(self, appdb: AppDb, *, on_error: Callable[[OnhookError], None]) -> None:
        """Read the settings. Raises `Unavailable` when they cannot be read at all."""
        self._appdb = appdb
        self._on_error = on_error
        self._version = appdb.version()
        self._pbx_by_sn = _load_pbxs(appdb)
        self._checked_at = time.monotonic()

    def find_by_sn(self, sn: str) -> RegisteredPbx | None:
        """The PBX with this serial number; one that seems unknown is looked for in the file."""
        now = time.monotonic()
        if now - self._checked_at > CACHE_SECONDS or sn not in self._pbx_by_sn:
            self._refresh(now)
        return self._pbx_by_sn.get(sn)

    def find_by_source(self, path: str, peer: str) -> RegisteredPbx | None:
        """The one PBX whose place this is; a path says more than an address."""
        self._refresh(time.monotonic())
        matches = [pbx for pbx in self._pbx_by_sn.values() if pbx.matches_source(path, peer)]
        matches = [pbx for pbx in matches if pbx.path] or matches
        return matches[0] if len(matches) == 1 else None

    def list_all(self) -> Sequence[RegisteredPbx]:
        """All PBXs, as they are now."""
        self._refresh(time.monotonic())
        return tuple(self._pbx_by_sn.values())

    def _refresh(self, now: float) -> None:
        self._checked_at = now
        try:
            # Asked before reading: a change in between is then read again, never missed.
            version = self._appdb.version()
            if version != self._version:
                self._pbx_by_sn, self._version = _load_pbxs(self._appdb), version
        except OnhookError as error:
            self._on_error(error)


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
