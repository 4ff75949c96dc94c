"""Records as a destination is notified of them: masked before, then with its changes of members and names of parties.

Invariant: whatever is sent of a record, or written in place of what was sent, is prepared here.
"""

import asyncio
from collections.abc import Sequence

from onhook.appdb.appdb import AppDb
from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.party_names import name_record
from onhook.cdr.record import Record
from onhook.cdr.record_masking import Masking
from onhook.delivery.destinations.kinds import needs_names, open_transform


class RecordPreparation:
    """Prepares the records of one destination. Raises `UsageError` for rules that are not valid."""

    def __init__(self, spec: DestinationSpec, appdb: AppDb) -> None:
        self._transform = open_transform(spec)
        self._needs_names = needs_names(spec)
        self._appdb = appdb

    async def prepare(self, records: Sequence[Record], masking: Masking | None) -> list[Record]:
        """Return records that are masked already, as the destination is notified of them. Raises `Unavailable`."""
        prepared = list(records)
        if self._transform is not None:
            key = await self._appdb.mask_key.get() if self._transform.needs_key else b""
            for place, record in enumerate(prepared):
                await asyncio.sleep(0)  # templates take their time
                prepared[place] = self._transform.apply(record, key)
        if prepared and self._needs_names:
            # After the changes: who drops or masks a party does not get its name either.
            directory = (await self._appdb.names.get(masking)).directory
            prepared = [name_record(record, directory) for record in prepared]
        return prepared
