"""Further serial numbers of PBXs: a device that was replaced, or a hot standby, is the same PBX with another number.

Invariant: once a serial number belongs to a PBX, calls under it are the PBX's for ever, also after the number is no
longer accepted, so that a rebuilt store equals the old one. What arrives after its removal is not the PBX's.
"""

from collections.abc import Mapping

import msgspec

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.cdr.identity import fold_sn
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.messages import _

_SELECT = "SELECT sn, pbx_sn, removed_at FROM serial_numbers ORDER BY sn"

SERIAL_NUMBERS_MAX = 20
"""Further serial numbers per PBX: devices that were replaced over the years, and standbys."""


class SerialNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A further serial number, and the registered one of its PBX. `removed_at` is when it was removed, in microseconds
    since 1970, UTC; None while it is accepted.
    """

    sn: str
    pbx_sn: str
    removed_at: int | None

    @property
    def is_accepted(self) -> bool:
        """Return whether its events are accepted now."""
        return self.removed_at is None


class SerialNumbers:
    """Repository of further serial numbers, compared without regard to case."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> list[SerialNumber]:
        """Return all of them, also those of removed PBXs."""
        return read_rows(await self._database.rows(_SELECT), _serial_number)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("serial_numbers", await self._database.rows(_SELECT), _serial_number)

    async def owners(self) -> Mapping[str, str]:
        """Return the registered serial number of the PBX that has each of them, folded; where that PBX was removed and
        its own one was added to another PBX, that of the other one.
        """
        owners = {fold_sn(number.sn): number.pbx_sn for number in await self.all()}
        return {sn: _last_owner(owners, sn) for sn in owners}

    async def accepted(self) -> Mapping[str, tuple[str, ...]]:
        """Return the accepted ones of each PBX that has some, by its registered serial number."""
        numbers: dict[str, list[str]] = {}
        for number in await self.all():
            if number.is_accepted:
                numbers.setdefault(number.pbx_sn, []).append(number.sn)
        return {pbx_sn: tuple(sns) for pbx_sn, sns in numbers.items()}

    @transactional
    async def add(self, pbx_sn: str, sn: str) -> None:
        """Accept events of this serial number as those of a registered PBX. The number is validated already.

        Raises `UsageError` where it belongs to another PBX.
        """
        await self.check_is_free(sn, pbx_sn)
        registered = await self._database.rows("SELECT name FROM pbxs WHERE sn = ? COLLATE NOCASE", (sn,))
        if registered:
            raise UsageError(
                _("{sn} is the serial number of the registered PBX {name}", sn=sn, name=repr(registered[0][0])),
                hint=_("remove that PBX first: its calls stay, and are joined with those of this one"),
            )
        if len((await self.accepted()).get(pbx_sn, ())) >= SERIAL_NUMBERS_MAX:
            raise UsageError(
                _("the PBX already has {maximum} further serial numbers", maximum=SERIAL_NUMBERS_MAX),
                hint=_("remove one that is no longer in use"),
            )
        await self._database.write(
            "INSERT INTO serial_numbers VALUES (?, ?, 1, NULL)"
            " ON CONFLICT (sn) DO UPDATE SET is_accepted = 1, removed_at = NULL",
            (sn, pbx_sn),
        )
        await self._database.write("UPDATE notes SET sn = ? WHERE sn = ? COLLATE NOCASE", (pbx_sn, sn))

    async def remove(self, pbx_sn: str, sn: str, *, now_us: int) -> None:
        """Accept no events of this serial number from now on; earlier calls stay the PBX's. Raises `NotFound`."""
        if not await self._database.write(
            "UPDATE serial_numbers SET is_accepted = 0, removed_at = ? WHERE sn = ? AND pbx_sn = ? AND is_accepted = 1",
            (now_us, sn, pbx_sn),
        ):
            raise NotFound(
                _("the PBX has no further serial number {sn}", sn=repr(sn[:80])), hint=_("`onhook pbx list` shows them")
            )

    async def check_is_free(self, sn: str, pbx_sn: str = "") -> None:
        """Check that no other PBX has, or had, this further serial number. Raises `UsageError`."""
        owners = await self._database.rows(
            "SELECT s.pbx_sn, p.name FROM serial_numbers s LEFT JOIN pbxs p ON p.sn = s.pbx_sn WHERE s.sn = ?", (sn,)
        )
        if owners and owners[0][0] != pbx_sn:
            owner_sn, owner_name = owners[0]
            raise UsageError(
                _("the calls of {sn} belong to the PBX {owner}", sn=sn, owner=repr(owner_name or owner_sn)),
                hint=_("use that PBX; a device that becomes a PBX of its own needs another serial number"),
            )


def _last_owner(owners: Mapping[str, str], sn: str) -> str:
    owner = owners[sn]
    while fold_sn(owner) in owners:  # no cycle: a number of another PBX cannot be registered again
        owner = owners[fold_sn(owner)]
    return owner


def _serial_number(row: Row) -> SerialNumber:
    sn, pbx_sn, removed_at = row
    return SerialNumber(sn=sn, pbx_sn=pbx_sn, removed_at=removed_at)
