"""Streams of a destination, read ahead of the attempts.

Invariants: the live stream has priority over replays, and one replay is read at a time. Each stream has its own limit,
so that a replay does not slow the live stream. A notification that is a stored delivery is not read again. A replay is
read once the store has all that the ledger had when it was found: another hub may have had its events read late.
"""

from collections.abc import Awaitable, Callable, Collection

from onhook.appdb.appdb import AppDb
from onhook.appdb.destinations import Destination
from onhook.appdb.masking import load_masking
from onhook.cdr.record import Record
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.commit_batch import StreamProgress
from onhook.delivery.delivery_rules import DeliveryRules
from onhook.delivery.payloads import make_notification_id
from onhook.delivery.per_call_queue import PendingNotification
from onhook.delivery.record_preparation import RecordPreparation
from onhook.delivery.record_reader import RecordReader
from onhook.delivery.stream_reader import StreamReader
from onhook.lib.clock import Clock
from onhook.lib.timestamps import to_microseconds

READ_AHEAD_MAX = 512
"""Notifications of one stream that are read and not done, before more are read: some megabyte. A batch that is larger
counts.
"""

BATCHES_PER_CYCLE = 4
"""Batches of one stream that are read before other streams and the commit have their turn."""


ReadLedgerEnd = Callable[[], Awaitable[int]]
"""Returns the last number of the ledger. Raises `Unavailable`."""


async def read_no_ledger_end() -> int:
    """Return 0: the store is the one that each replay was requested for."""
    return 0


class DestinationStreams:
    """Readers of all streams of one destination. Raises `Unavailable`."""

    def __init__(
        self,
        destination: Destination,
        *,
        preparation: RecordPreparation,
        appdb: AppDb,
        record_reader: RecordReader,
        clock: Clock,
        format_payload: Callable[[Record], bytes],
        rules: DeliveryRules,
        read_ledger_end: ReadLedgerEnd = read_no_ledger_end,
        batch_count: int = 1,
    ) -> None:
        self.is_on_hold = False
        """Whether nothing is read for now."""
        self.needs_reload = True
        """Whether there may be streams that are not loaded."""
        self._destination = destination
        self._preparation = preparation
        self._appdb = appdb
        self._record_reader = record_reader
        self._clock = clock
        self._format_payload = format_payload
        self._rules = rules
        self._read_ledger_end = read_ledger_end
        self._read_ahead_max = max(READ_AHEAD_MAX, batch_count)
        self._readers: list[StreamReader] = []

    @property
    def is_at_end(self) -> bool:
        """Return whether everything was read."""
        return all(reader.is_at_end for reader in self._readers)

    @property
    def is_done(self) -> bool:
        """Return whether each notification that was read is done."""
        return all(len(reader.ack_window) == 0 for reader in self._readers)

    @property
    def progress(self) -> StreamProgress:
        """Return up to which number each stream is done."""
        return StreamProgress(
            {reader.stream_id: reader.ack_window.acknowledged_to for reader in self._readers},
            [reader.stream_id for reader in self._readers if reader.is_finished],
            {reader.stream_id: reader.ack_window.done_ahead() for reader in self._readers},
            {reader.stream_id: reader.read_cursor for reader in self._readers},
        )

    async def initialize(self) -> None:
        """Load all streams at the start."""
        await self.load()
        for reader in self._readers:
            if reader.is_live:
                reader.done_notification_ids |= await self._appdb.deliveries.notification_ids_after(
                    self._destination.destination_id,
                    reader.ack_window.read_to,
                )

    async def load(self) -> None:
        """Load streams that were added since the last time: requested replays."""
        self.needs_reload = False
        known_ids = {reader.stream_id for reader in self._readers}
        for stream in await self._appdb.destinations.streams(self._destination.destination_id):
            if stream.stream_id not in known_ids:
                cursor = await self._initial_cursor() if stream.cursor is None else stream.cursor
                reader = StreamReader(stream, cursor, self._destination)
                if not reader.is_live:
                    reader.begin_position = await self._read_ledger_end()
                self._readers.append(reader)

    def remove(self, finished_replays: Collection[int]) -> None:
        """Remove replays whose end is committed."""
        self._readers = [reader for reader in self._readers if reader.stream_id not in finished_replays]
        # Not all replays are loaded at once.
        self.needs_reload = self.needs_reload or bool(finished_replays)

    async def read_ahead(self) -> bool:
        """Read the next notifications of each stream within the limits. Return whether there are more to read at once:
        meanwhile the results of the last ones are committed.
        """
        has_more = False
        for reader in await self._list_active_readers():
            has_more |= await self._read_batches(reader)
        return has_more

    async def _initial_cursor(self) -> int:
        """Return the number after which a destination with a start time begins."""
        store = self._record_reader.store
        position = await store.position()
        # By the start time only: other conditions may match whole calls, and none of their legs.
        extent = await store.extent(RecordFilter(since=self._destination.filter.since))
        return position if extent.first_seq is None else extent.first_seq - 1

    async def _list_active_readers(self) -> list[StreamReader]:
        """Return the live stream, then the first unfinished replay, if the store has what it is read from."""
        replays = [reader for reader in self._readers if not reader.is_live and not reader.is_finished][:1]
        if replays and not await self._may_begin(replays[0]):
            replays = []
        return [reader for reader in self._readers if reader.is_live] + replays

    async def _may_begin(self, replay: StreamReader) -> bool:
        if replay.begin_position and await self._record_reader.store.position() >= replay.begin_position:
            replay.begin_position = 0
        return not replay.begin_position

    async def _read_batches(self, reader: StreamReader) -> bool:
        """Read some batches of a stream. Return whether there are more."""
        for _unused in range(BATCHES_PER_CYCLE):
            if self._is_read(reader) or not self._can_read(reader):
                return False
            previous_read_to = reader.ack_window.read_to
            await self._read_batch(reader)
            if reader.is_at_end or reader.ack_window.read_to == previous_read_to:
                return False
        return True

    def _is_read(self, reader: StreamReader) -> bool:
        """Return whether a stream has no records after the last ones that were read."""
        is_past_position = reader.ack_window.read_to >= self._record_reader.position_source.position
        return reader.is_at_end and not reader.has_left_out and is_past_position

    def _can_read(self, reader: StreamReader) -> bool:
        has_capacity = len(reader.ack_window) < self._read_ahead_max and self._rules.has_capacity
        return has_capacity and not self.is_on_hold

    async def _read_batch(self, reader: StreamReader) -> None:
        # By the number plans of now: a PBX may be new.
        masking = await load_masking(self._appdb, self._destination.mask)
        batch = await reader.read(self._record_reader, self._clock.now(), masking)
        # All before the first is queued: an attempt ends in no gap of the numbers.
        for record in await self._preparation.prepare(batch.records, masking):
            self._enqueue(record, reader)
        reader.ack_window.read_to = batch.last_seq

    def _enqueue(self, record: Record, reader: StreamReader) -> None:
        notification_id = make_notification_id(record)
        if notification_id in reader.done_notification_ids:
            # It was done before the last start, ahead of one that was in progress then.
            reader.ack_window.pass_over(record.seq, notification_id)
            return
        notification = PendingNotification(
            notification_id=notification_id,
            seq=record.seq,
            call=(record.sn, record.call_id),
            body=self._format_payload(record),
            pending_since=self._clock.microseconds(),
            ack_window=reader.ack_window,
            is_live=reader.is_live,
            lag_since=to_microseconds(record.ended_at or record.received_at) if reader.is_live else 0,
        )
        reader.ack_window.begin(notification.seq)
        self._rules.enqueue(notification)
