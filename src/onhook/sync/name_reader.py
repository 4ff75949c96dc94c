"""Names of a PBX's own numbers, read from its web API at intervals.

They come after names that a person has set, and before those that are learnt from events. A PBX that does not list them
changes nothing, and raises no alarm: calls are complete without.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence

from onhook.appdb.directory import PBX_NAMES_MAX, DirectoryRepository
from onhook.cdr.directory import NUMBER_CHARACTERS_MAX, TEXT_CHARACTERS_MAX, PbxName
from onhook.lib.errors import OnhookError
from onhook.lib.task_reconciler import raise_if_cancelled
from onhook.lib.transition_log import TransitionLog
from onhook.pbx.client import NumberName
from onhook.sync.pbx_session import PbxSession

FIRST_SECONDS = 60.0
"""From the start of the sync: gaps are filled first."""

INTERVAL_SECONDS = 3_600.0
"""Between two readings: four requests an hour."""


class NameReader:
    """Reads the names of one PBX."""

    def __init__(self, *, session: PbxSession, directory: DirectoryRepository, sn: str) -> None:
        self._session = session
        self._directory = directory
        self._sn = sn
        self._log = TransitionLog(
            logging.getLogger("directory"),
            begins="cannot read the names of a PBX",
            ends="names of the PBX are read again",
        )

    async def run(self) -> None:
        """Read until cancelled."""
        seconds = FIRST_SECONDS
        while True:
            await asyncio.sleep(seconds)
            seconds = INTERVAL_SECONDS
            try:
                await self.read()
                self._log.end(sn=self._sn)
            except OnhookError as error:
                raise_if_cancelled()
                self._log.begin(sn=self._sn, error=str(error))

    async def read(self) -> None:
        """Read all names, and store them in place of earlier ones. Raises `OnhookError`."""
        names = list_pbx_names(self._sn, await self._read_names())
        await self._directory.put_pbx_names(self._sn, names)

    async def _read_names(self) -> Sequence[NumberName]:
        steps = self._session.client.list_names()
        request = next(steps)
        while True:
            response = await self._session.send_request(request)
            try:
                request = steps.send(response)
            except StopIteration as end:
                names: Sequence[NumberName] = end.value
                return names


def list_pbx_names(sn: str, names: Iterable[NumberName]) -> list[PbxName]:
    """Return the names that can be stored, one for a number, at most PBX_NAMES_MAX."""
    usable = {
        name.number: PbxName(sn=sn, number=name.number, kind=name.kind, name=name.name[:TEXT_CHARACTERS_MAX].strip())
        for name in names
        if len(name.number) <= NUMBER_CHARACTERS_MAX and name.number.isprintable() and name.name.isprintable()
    }
    return list(usable.values())[:PBX_NAMES_MAX]
