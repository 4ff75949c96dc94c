"""What the projector is told of a PBX: from the settings, read anew when somebody has changed them."""

from onhook.appdb.appdb import AppDb
from onhook.cdr.call_assembly import PbxFacts


class AppDbPbxFacts:
    """The facts of each PBX by its serial number; the defaults for one that nobody declared, or no longer."""

    def __init__(self, appdb: AppDb) -> None:
        self._appdb = appdb
        self._version: tuple[int, int] | None = None
        self._facts: dict[str, PbxFacts] = {}

    def __call__(self, sn: str) -> PbxFacts:
        """What is known of this PBX now. Raises `Unavailable` when the settings cannot be read."""
        version = self._appdb.version()
        if version != self._version:
            self._facts = {
                pbx.sn: PbxFacts(name=pbx.name, dialect=pbx.dialect, zone=pbx.zone_info, number_plan=pbx.number_plan)
                for pbx in self._appdb.pbxs()
            }
            self._version = version
        return self._facts.get(sn) or PbxFacts()
