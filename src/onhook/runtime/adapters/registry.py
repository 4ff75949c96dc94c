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
    """See the contract, `intake.door.Door`.

    Once read, it never fails: when the settings cannot be read now, what was known before counts, so that nothing
    done to `onhook.db` keeps calls out.
    """

    def __init__(self, settings: AppDb, *, tell_trouble: Callable[[OnhookError], None]) -> None:
        """Read the settings. Raises `Unavailable` when they cannot be read at all."""
        self._settings = settings
        self._tell_trouble = tell_trouble
        self._version = settings.version()
        self._declared = _load_pbxs(settings)
        self._asked_at = time.monotonic()

    def declared(self, sn: str) -> RegisteredPbx | None:
        """The PBX with this serial number; one that seems unknown is looked for in the file."""
        now = time.monotonic()
        if now - self._asked_at > CACHE_SECONDS or sn not in self._declared:
            self._read_or_keep(now)
        return self._declared.get(sn)

    def placed(self, path: str, peer: str) -> RegisteredPbx | None:
        """The one PBX whose place this is; a path says more than an address."""
        self._read_or_keep(time.monotonic())
        matches = [pbx for pbx in self._declared.values() if pbx.is_at(path, peer)]
        matches = [pbx for pbx in matches if pbx.path] or matches
        return matches[0] if len(matches) == 1 else None

    def everybody(self) -> Sequence[RegisteredPbx]:
        """All PBXs, as they are now."""
        self._read_or_keep(time.monotonic())
        return tuple(self._declared.values())

    def _read_or_keep(self, now: float) -> None:
        self._asked_at = now
        try:
            # Asked before reading: a change in between is then read again, never missed.
            version = self._settings.version()
            if version != self._version:
                self._declared, self._version = _load_pbxs(self._settings), version
        except OnhookError as error:
            self._tell_trouble(error)


def _load_pbxs(settings: AppDb) -> Mapping[str, RegisteredPbx]:
    return {
        credentials.sn: RegisteredPbx(
            sn=credentials.sn,
            dialect=credentials.dialect,
            secrets=credentials.secrets,
            is_unsigned=credentials.is_unsigned,
            networks=tuple(map(ip_network, credentials.place.addresses)),
            path=credentials.place.path,
        )
        for credentials in settings.credentials()
    }
