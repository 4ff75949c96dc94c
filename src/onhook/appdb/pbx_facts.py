"""Facts about PBXs for the projector, read from the application database after each change."""

from collections.abc import Mapping

from onhook.appdb.appdb import AppDb
from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.identity import fold_sn
from onhook.lib.change_watcher import ChangeWatcher


class AppDbPbxFacts:
    """Facts of the registered PBXs by each of their serial numbers, folded."""

    def __init__(self, appdb: AppDb) -> None:
        self._appdb = appdb
        self._facts = ChangeWatcher(appdb.version, self._read)

    async def __call__(self) -> Mapping[str, PbxFacts]:
        """Return the current facts. Raises `Unavailable` when the database cannot be read."""
        return await self._facts.current()

    async def _read(self) -> Mapping[str, PbxFacts]:
        conventions = await self._appdb.pbx_conventions.all()
        facts = {
            fold_sn(pbx.sn): PbxFacts(
                sn=pbx.sn,
                name=pbx.name,
                dialect=pbx.dialect,
                zone=pbx.zone_info,
                number_plan=pbx.number_plan,
                encoding=conventions[pbx.sn].encoding if pbx.sn in conventions else "",
            )
            for pbx in await self._appdb.pbxs()
        }
        for number in await self._appdb.serial_numbers.all():
            # Of a removed PBX nothing else is known.
            facts[fold_sn(number.sn)] = facts.get(fold_sn(number.pbx_sn)) or PbxFacts(sn=number.pbx_sn)
        return facts
