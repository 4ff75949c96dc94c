"""Facts about PBXs for the projector, read from the application database after each change."""

from onhook.appdb.appdb import AppDb
from onhook.cdr.call_assembly import PbxFacts
from onhook.lib.change_watcher import ChangeWatcher


class AppDbPbxFacts:
    """Facts of each PBX by its serial number; defaults for an unregistered one."""

    def __init__(self, appdb: AppDb) -> None:
        self._facts = ChangeWatcher(appdb.version, lambda: _read_facts(appdb))

    def __call__(self, sn: str) -> PbxFacts:
        """Return the current facts of this PBX. Raises `Unavailable` when the database cannot be read."""
        return self._facts.current().get(sn) or PbxFacts()


def _read_facts(appdb: AppDb) -> dict[str, PbxFacts]:
    return {
        pbx.sn: PbxFacts(name=pbx.name, dialect=pbx.dialect, zone=pbx.zone_info, number_plan=pbx.number_plan)
        for pbx in appdb.pbxs()
    }
