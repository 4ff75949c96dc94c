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
        self._facts = ChangeWatcher(appdb, self._read)

    async def __call__(self) -> Mapping[str, PbxFacts]:
        """Return the current facts. Raises `Unavailable` when the database cannot be read."""
        return await self._facts.current()

    async def _read(self) -> Mapping[str, PbxFacts]:
        conventions = await self._appdb.pbx_conventions.all()
        line_connections = await self._appdb.line_connections.all()
        signers = await self._appdb.secret_owners.groups()
        owners = await self._appdb.serial_numbers.owners()
        removed_sns: dict[str, dict[str, int]] = {}
        for number in await self._appdb.serial_numbers.all():
            if number.removed_at is not None:
                owner = fold_sn(owners[fold_sn(number.sn)])
                removed_sns.setdefault(owner, {})[fold_sn(number.sn)] = number.removed_at
        facts = {
            fold_sn(pbx.sn): PbxFacts(
                sn=pbx.sn,
                name=pbx.name,
                dialect=pbx.dialect,
                zone=pbx.zone_info,
                number_plan=pbx.number_plan,
                encoding=conventions[pbx.sn].encoding if pbx.sn in conventions else "",
                fields=line_connections[pbx.sn].fields if pbx.sn in line_connections else (),
                ignores_lines=pbx.sn in line_connections and line_connections[pbx.sn].precedence == "report",
                signers=signers.get(fold_sn(pbx.sn), ()),
                removed_sns=removed_sns.get(fold_sn(pbx.sn), {}),
            )
            for pbx in await self._appdb.pbxs()
        }
        for sn, owner in owners.items():
            # Of a removed PBX nothing else is known.
            facts[sn] = facts.get(fold_sn(owner)) or PbxFacts(
                sn=owner, signers=signers.get(fold_sn(owner), ()), removed_sns=removed_sns.get(fold_sn(owner), {})
            )
        return facts
