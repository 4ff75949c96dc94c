"""Which PBXs have, or had, the same secret: what one of them signs could be of each of them.

Invariant: that two PBXs had a secret in common stays known after it was removed, and after they were, so that a rebuilt
store has the same calls.
"""

from collections.abc import Mapping

from onhook.appdb.contract import Database
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.cdr.identity import fold_sn

_SELECT = "SELECT shared_id, sn FROM secret_owners ORDER BY shared_id"


class SecretOwners:
    """Repository of the owners of secrets. It has no text of a secret: equal ones have the same `shared_id`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add_secret(self, sn: str, label: str, text: str, now_us: int) -> None:
        """Add a secret of a PBX, inside a transaction. Raises `ConstraintViolation` where the PBX has it."""
        ((shared_id,),) = await self._database.rows(
            "SELECT coalesce((SELECT min(shared_id) FROM secrets WHERE text = ?),"
            " (SELECT coalesce(max(shared_id), 0) + 1 FROM secret_owners))",
            (text,),
        )
        await self._database.write(
            "INSERT INTO secrets (sn, label, text, created_at, shared_id) VALUES (?, ?, ?, ?, ?)",
            (sn, label, text, now_us, shared_id),
        )
        await self._database.write("INSERT INTO secret_owners VALUES (?, ?) ON CONFLICT DO NOTHING", (shared_id, sn))

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("secret_owners", await self._database.rows(_SELECT), tuple)

    async def groups(self) -> Mapping[str, tuple[frozenset[str], ...]]:
        """Return the groups of PBXs with a secret in common, by the serial number of each member; all are folded. A
        group is one object for all of its members.
        """
        owners: dict[int, set[str]] = {}
        for shared_id, sn in read_rows(await self._database.rows(_SELECT), tuple):
            owners.setdefault(shared_id, set()).add(fold_sn(sn))
        groups: dict[str, list[frozenset[str]]] = {}
        for sns in owners.values():
            group = frozenset(sns)
            for sn in group if len(group) > 1 else ():
                groups.setdefault(sn, []).append(group)
        return {sn: tuple(sn_groups) for sn, sn_groups in groups.items()}
