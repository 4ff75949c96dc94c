"""The key of masked numbers.

Invariants: the key is made once and never shown; with another one every hash would change.
"""

import secrets

from onhook.appdb.contract import Database, Row
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row

KEY_BYTES = 32
"""As long as the hash that it keys."""


class MaskKey:
    """Repository of the key of masked numbers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self) -> bytes:
        """Return the key; the first call makes it. Raises `RowUnreadable`: another key would change every hash."""
        rows = await self._database.rows(_SELECT)
        if not rows:
            text = secrets.token_hex(KEY_BYTES)
            await self._database.write("INSERT INTO mask_key VALUES (1, ?) ON CONFLICT DO NOTHING", (text,))
            # Another process may have been first.
            rows = await self._database.rows(_SELECT)
        return read_row(rows[0], _decode)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the row if it cannot be read."""
        return list_unreadable("mask_key", await self._database.rows(_SELECT), _decode, name_columns=())


_SELECT = "SELECT text FROM mask_key"


def _decode(row: Row) -> bytes:
    return bytes.fromhex(row[0])
