"""Alarms: problems of a PBX that need a person's attention, from begin to end. Each is notified once."""

from datetime import datetime

import msgspec

from onhook.appdb.contract import Database, Row
from onhook.appdb.deliveries import Deliveries
from onhook.appdb.delivery_rows import NewDelivery
from onhook.appdb.destinations import Destinations
from onhook.appdb.issue_texts import describe_kind
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.cdr.sync_types import AlarmKind
from onhook.lib.timestamps import to_datetime

ALARMS_MAX = 1_000
"""Alarms that are stored; the oldest that have ended are deleted first."""

TEXT_CHARACTERS_MAX = 500
"""A sentence for a person; parts may come from the PBX."""

EVENT_TYPE = "alarm"
"""Replaces the vendor's event number in Onhook's own events."""

_COLUMNS = "alarm_id, sn, kind, detail, hint, began_at, last_seen_at, ended_at, occurrences"


class Alarm(msgspec.Struct, frozen=True, kw_only=True):
    """One alarm. `title` and `meaning` are the texts of its kind; `last_seen_at` is its last occurrence, `occurrences`
    their number; `ended_at` is None while it is open.
    """

    alarm_id: int
    sn: str
    kind: AlarmKind
    detail: str
    hint: str
    began_at: datetime
    last_seen_at: datetime
    ended_at: datetime | None
    occurrences: int
    title: str = ""
    meaning: str = ""


class Alarms:
    """Repository of alarms. Times passed in are microseconds since 1970, UTC."""

    def __init__(self, database: Database, destinations: Destinations, deliveries: Deliveries) -> None:
        self._database = database
        self._destinations = destinations
        self._deliveries = deliveries

    async def raise_alarm(self, sn: str, kind: AlarmKind, detail: str, *, hint: str, now_us: int) -> bool:
        """Open an alarm of a PBX or count another occurrence. Return whether it is new; new ones are sent to
        destinations.
        """
        detail, hint = detail[:TEXT_CHARACTERS_MAX], hint[:TEXT_CHARACTERS_MAX]
        async with self._database.transaction():
            if await self._database.write(
                "UPDATE alarms SET detail = ?, hint = ?, last_seen_at = ?, occurrences = occurrences + 1"
                " WHERE sn = ? AND kind = ? AND ended_at IS NULL",
                (detail, hint, now_us, sn, kind),
            ):
                return False
            await self._delete_oldest()
            # INSERT from a SELECT: a PBX removed meanwhile gets no alarm.
            is_new = await self._database.write(
                "INSERT INTO alarms (sn, kind, detail, hint, began_at, last_seen_at, occurrences)"
                " SELECT sn, ?, ?, ?, ?, ?, 1 FROM pbxs WHERE sn = ?",
                (kind, detail, hint, now_us, now_us, sn),
            )
            if is_new:
                await self._notify(sn, kind, now_us)
            return bool(is_new)

    async def end(self, sn: str, kind: AlarmKind, *, now_us: int) -> bool:
        """End an open alarm. Return whether there was one."""
        # Read first: mostly there is none, and a write costs an fsync.
        open_rows = await self._database.rows(
            "SELECT 1 FROM alarms WHERE sn = ? AND kind = ? AND ended_at IS NULL", (sn, kind)
        )
        if not open_rows:
            return False
        async with self._database.transaction():
            ended_count = await self._database.write(
                "UPDATE alarms SET ended_at = ? WHERE sn = ? AND kind = ? AND ended_at IS NULL", (now_us, sn, kind)
            )
            if ended_count:
                await self._notify(sn, kind, now_us)
        return bool(ended_count)

    async def all(self, limit: int = ALARMS_MAX) -> list[Alarm]:
        """Return the alarms, open ones first, then the latest."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM alarms ORDER BY ended_at IS NOT NULL, alarm_id DESC LIMIT ?", (limit,)
        )
        return read_rows(rows, _alarm)

    async def open_alarms(self) -> list[Alarm]:
        """Return the open alarms, the latest first."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM alarms WHERE ended_at IS NULL ORDER BY alarm_id DESC LIMIT ?", (ALARMS_MAX,)
        )
        return read_rows(rows, _alarm)

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        rows = await self._database.rows(f"SELECT {_COLUMNS} FROM alarms ORDER BY alarm_id")
        return list_unreadable("alarms", rows, _alarm)

    async def _notify(self, sn: str, kind: AlarmKind, now_us: int) -> None:
        """Add the latest alarm of this kind to the deliveries of destinations that notify of alarms."""
        rows = await self._database.rows(
            f"SELECT {_COLUMNS} FROM alarms WHERE sn = ? AND kind = ? ORDER BY alarm_id DESC LIMIT 1", (sn, kind)
        )
        alarm = _alarm(rows[0])
        body = msgspec.json.encode({"type": EVENT_TYPE, "sn": sn, "alarm": alarm})
        state = "began" if alarm.ended_at is None else "ended"
        new_delivery = NewDelivery(
            notification_id=f"alarm-{alarm.alarm_id}-{state}",
            seq=0,
            call=(sn, f"alarm {alarm.alarm_id}"),
            body=body,
            due_at=now_us,
            pending_since=now_us,
        )
        for destination in await self._destinations.all():
            if destination.notifies_of == "alarms" and destination.filter.sn in (None, sn):
                await self._deliveries.add(destination.destination_id, new_delivery)

    async def _delete_oldest(self) -> None:
        await self._database.write(
            "DELETE FROM alarms WHERE alarm_id NOT IN (SELECT alarm_id FROM alarms"
            " ORDER BY ended_at IS NULL DESC, alarm_id DESC LIMIT ?)",
            (ALARMS_MAX - 1,),
        )


def _alarm(row: Row) -> Alarm:
    values = dict(zip(_COLUMNS.split(", "), row, strict=True))
    for name in ("began_at", "last_seen_at", "ended_at"):
        values[name] = None if values[name] is None else to_datetime(values[name])
    text = describe_kind(f"alarm_{values['kind']}")
    return msgspec.convert({**values, "title": text.title, "meaning": text.meaning}, Alarm)
