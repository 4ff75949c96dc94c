"""Facts about PBXs for the projector, read from the application database after each change."""

from onhook.appdb.appdb import AppDb
from onhook.cdr.call_assembly import PbxFacts


class AppDbPbxFacts:
    """Facts of each PBX by its serial number; defaults for an unregistered one."""

    def __init__(self, appdb: AppDb) -> None:
        self._appdb = appdb
        self._version: tuple[int, int] | None = None
        self._facts: dict[str, PbxFacts] = {}

    def __call__(self, sn: str) -> PbxFacts:
        """Return the current facts of this PBX. Raises `Unavailable` when the database cannot be read."""
        version = self._appdb.version()
        if version != self._version:
            self._facts = {
                pbx.sn: PbxFacts(name=pbx.name, dialect=pbx.dialect, zone=pbx.zone_info, number_plan=pbx.number_plan)
                for pbx in self._appdb.pbxs()
            }
            self._version = version
        return self._facts.get(sn) or PbxFacts()
