"""Settings of queues and ring groups: the seconds of the service level and of a short abandon."""

from collections.abc import Mapping

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.cdr.queue_figures import QueueTargets
from onhook.lib.errors import UsageError
from onhook.lib.messages import _

TARGET_SECONDS_MAX = 3_600
"""No caller waits for an hour."""

QUEUE_CHARACTERS_MAX = 32
"""No number or name of an extension is longer."""

QUEUES_MAX = 1_000
"""Queues and ring groups with settings of their own, of all PBXs."""

_SELECT = "SELECT sn, queue, service_level_seconds, short_abandon_seconds FROM queue_targets ORDER BY sn, queue"

QueueKey = tuple[str, str]
"""(`sn`, number of the queue or ring group)."""


class QueueTargetsRepository:
    """Settings by serial number and queue."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> Mapping[QueueKey, QueueTargets]:
        """Return the settings of all queues that have their own."""
        return dict(read_rows(await self._database.rows(_SELECT), _queue_targets))

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("queue_targets", await self._database.rows(_SELECT), _queue_targets, name_columns=[0, 1])

    @transactional
    async def put(self, sn: str, queue: str, targets: QueueTargets) -> None:
        """Set the settings of a queue of a registered PBX; the usual ones are not stored. Raises `UsageError`."""
        queue = queue.strip()
        _validate(queue, targets)
        await self._database.write("DELETE FROM queue_targets WHERE sn = ? AND queue = ?", (sn, queue))
        if targets == QueueTargets():
            return
        if len(await self.all()) >= QUEUES_MAX:
            raise UsageError(
                _("there are already {maximum} queues with settings", maximum=QUEUES_MAX),
                hint=_("give one the usual settings"),
            )
        await self._database.write(
            "INSERT INTO queue_targets VALUES (?, ?, ?, ?)",
            (sn, queue, targets.service_level_seconds, targets.short_abandon_seconds),
        )


def _validate(queue: str, targets: QueueTargets) -> None:
    if not queue or len(queue) > QUEUE_CHARACTERS_MAX or not queue.isprintable():
        raise UsageError(
            _("{value} is not the number of a queue", value=repr(queue[:QUEUE_CHARACTERS_MAX])),
            location="queue",
            hint=_("write its number, such as 6400"),
        )
    for name in ("service_level_seconds", "short_abandon_seconds"):
        if not 0 <= getattr(targets, name) <= TARGET_SECONDS_MAX:
            raise UsageError(
                _("{name} is out of range", name=name),
                location=name,
                hint=_("write 0 to {maximum} seconds", maximum=TARGET_SECONDS_MAX),
            )


def _queue_targets(row: Row) -> tuple[QueueKey, QueueTargets]:
    sn, queue, service_level_seconds, short_abandon_seconds = row
    targets = QueueTargets(service_level_seconds=service_level_seconds, short_abandon_seconds=short_abandon_seconds)
    _validate(queue, targets)
    return (sn, queue), targets
