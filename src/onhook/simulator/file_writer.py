"""CDR files in a folder, as a PBX delivers them: each event is one file, which has its name once it is whole."""

import asyncio
from itertools import count
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from onhook.lib.clock import Clock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.simulator.results import NO_RESPONSE, WRITTEN

SCHEME: Final = "file"
NAME: Final = "cdr_StandAloneCluster_01_{minute:%Y%m%d%H%M}_{number}"
"""The name of a file of a CUCM: cluster, node, minute in UTC, number."""


class FileWriter:
    """Writes files to the folder of `file:///FOLDER`. Raises `UsageError` where there is no such folder."""

    def __init__(self, url: str, clock: Clock) -> None:
        self._folder = Path(unquote(urlsplit(url).path))
        self._clock = clock
        self._numbers = count(1)
        if not self._folder.is_dir():
            raise UsageError(
                _("there is no folder {path}", path=self._folder), hint=_("create it, or name another one with --to")
            )

    async def post(self, body: bytes) -> str:
        """Write a file; return what became of it."""
        try:
            await asyncio.to_thread(self._write, body)
        except OSError:
            return NO_RESPONSE
        return WRITTEN

    def _write(self, body: bytes) -> None:
        """Write a hidden file, and give it a name that no other one has."""
        minute = self._clock.now()
        path = next(
            path
            for number in self._numbers
            if not (path := self._folder / NAME.format(minute=minute, number=number)).exists()
        )
        hidden_path = path.with_name(f".{path.name}")
        hidden_path.write_bytes(body)
        hidden_path.replace(path)
