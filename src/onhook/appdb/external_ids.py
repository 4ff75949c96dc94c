"""Ids that the other sides of destinations gave to calls: a later event of a call is sent with the id.

Invariants: an id is stored in the transaction that stores the result of its attempt. A destination keeps the newest
`EXTERNAL_IDS_MAX`; a later event of an older call is sent as that of a new one.
"""

from collections.abc import Mapping

from onhook.appdb.contract import Database
from onhook.cdr.identity import CallKey

EXTERNAL_IDS_MAX = 100_000
"""Of one destination: weeks of calls, and some ten megabytes."""


class ExternalIds:
    """Repository of external ids."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def find(self, destination_id: int, call: CallKey) -> str:
        """Return the id of a call, or an empty text. Raises `Unavailable`."""
        rows = await self._database.rows(
            "SELECT external_id FROM external_ids WHERE destination_id = ? AND sn = ? AND call_id = ?",
            (destination_id, *call),
        )
        return str(rows[0][0]) if rows else ""

    async def put(self, destination_id: int, external_ids: Mapping[CallKey, str]) -> None:
        """Store ids inside a transaction, and delete the oldest ones. Raises `Unavailable`."""
        await self._database.write_many(
            "INSERT INTO external_ids (destination_id, number, sn, call_id, external_id)"
            " SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3, ?4 FROM external_ids WHERE destination_id = ?1"
            " ON CONFLICT (destination_id, sn, call_id) DO UPDATE"
            " SET external_id = excluded.external_id, number = excluded.number",
            [(destination_id, *call, external_id) for call, external_id in external_ids.items()],
        )
        await self._database.write(
            "DELETE FROM external_ids WHERE destination_id = ?1 AND number <="
            " (SELECT max(number) FROM external_ids WHERE destination_id = ?1) - ?2",
            (destination_id, EXTERNAL_IDS_MAX),
        )
