"""Who may speak: the contract of the look-up that intake is handed. Where the PBXs are kept is not its business."""

from collections.abc import Sequence
from typing import Protocol

import msgspec


class Declared(msgspec.Struct, frozen=True, kw_only=True):
    """One PBX that a person has declared. `secrets` are all that count now; `is_unsigned` was declared on purpose."""

    sn: str
    dialect: str
    secrets: tuple[str, ...] = ()
    is_unsigned: bool = False


class Door(Protocol):
    """Asked for every request, so an answer takes a microsecond; what was declared a moment ago counts at once."""

    def declared(self, sn: str) -> Declared | None:
        """The PBX with this serial number, or None."""
        ...

    def everybody(self) -> Sequence[Declared]:
        """All PBXs, for reports that do not name their sender."""
        ...
