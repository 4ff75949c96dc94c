"""Reader of one stream of a destination."""

from collections.abc import Sequence
from datetime import datetime

from onhook.appdb.destinations import Destination, Stream
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.record_masking import Masking
from onhook.delivery.ack_window import AckWindow
from onhook.delivery.payloads import CALL_IDLE_TIME, calls_as_records, filter_records, notification_seq, truncate_before
from onhook.delivery.record_reader import RecordBatch, RecordReader


class StreamReader:
    """One stream, being read."""

    def __init__(self, stream: Stream, cursor: int, destination: Destination) -> None:
        self.stream_id = stream.stream_id
        self.read_cursor = stream.cursor
        self.ack_window = AckWindow(cursor, {done_id: notification_seq(done_id) for done_id in stream.done_ahead})
        self.begin_position = 0
        """The position of the store from which on it is read; 0: it may be read."""
        self.is_at_end = False
        """Whether the last read reached the end."""
        self.has_left_out = False
        """Whether the last read left out records at the end, whose calls may continue."""
        self.done_notification_ids = set(stream.done_ahead)
        """Notifications after the cursor that were done, or stored as deliveries, before the start."""
        self._until = stream.until
        self._is_per_call = destination.notifies_of == "calls"
        self._filters: Sequence[RecordFilter] = (destination.filter, stream.filter)

    @property
    def is_live(self) -> bool:
        """Return whether the stream never ends."""
        return self._until is None

    @property
    def is_finished(self) -> bool:
        """Return whether it is a replay whose notifications are all done."""
        return self._until is not None and self.ack_window.acknowledged_to >= self._until

    async def read(self, record_reader: RecordReader, now: datetime, masking: Masking | None = None) -> RecordBatch:
        """Return the next records that match, in order of number, masked if `masking` is given. Raises
        `Unavailable`.
        """
        read_to = self.ack_window.read_to
        batch = self._cut_at_end(
            await (record_reader.read_after(read_to) if self.is_live else record_reader.read_uncached(read_to))
        )
        if not self._is_per_call:
            records = filter_records(batch.records, self._filters)
        else:
            # A replay contains calls that had ended before it was requested.
            last_seq = batch.last_seq
            batch = truncate_before(batch, now - CALL_IDLE_TIME) if self.is_live else batch
            self.has_left_out = batch.last_seq < last_seq
            keys = sorted({(record.sn, record.call_id) for record in batch.records})
            calls = await record_reader.store.calls_by_keys(keys)
            records = calls_as_records(batch, calls, self._filters, self._until, masking)
        if masking is not None:
            # Also the id of a call's record, from which its number could be computed.
            records = list(map(masking.mask_record, records))
        self.is_at_end = batch.is_at_end
        return RecordBatch(records, batch.last_seq, batch.is_at_end)

    def _cut_at_end(self, batch: RecordBatch) -> RecordBatch:
        """Cut a batch at the end of a replay."""
        if self._until is None or batch.last_seq < self._until:
            return batch
        return RecordBatch([record for record in batch.records if record.seq <= self._until], self._until, True)
