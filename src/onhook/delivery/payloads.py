"""Records to notifications of a destination: one per record, or one per call.

A notification per call is sent when no event of the call has arrived for a while. It belongs to the call's last event:
a call is notified once however many batches contain its legs, and once more where a leg arrives late.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from onhook.cdr.call_as_record import call_as_record
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.record_masking import Masking
from onhook.delivery.record_reader import RecordBatch

CALL_IDLE_TIME = timedelta(seconds=10)
"""Time without an event of a call before the call is notified: a PBX reports all legs at a call's end."""


def filter_records(records: Iterable[Record], filters: Sequence[RecordFilter]) -> list[Record]:
    """Return the records that match all filters."""
    return [record for record in records if all(record_filter.matches(record) for record_filter in filters)]


def truncate_before(batch: RecordBatch, cutoff: datetime) -> RecordBatch:
    """Return the part of a batch that arrived before a time; calls of later records may still continue."""
    first_excluded_seq = next((record.seq for record in batch.records if record.received_at >= cutoff), None)
    if first_excluded_seq is None:
        return batch
    return RecordBatch(
        [record for record in batch.records if record.seq < first_excluded_seq], first_excluded_seq - 1, True
    )


def calls_as_records(
    batch: RecordBatch,
    calls: Iterable[Call],
    filters: Sequence[RecordFilter],
    until: int | None,
    masking: Masking | None = None,
) -> list[Record]:
    """Return the calls that match all filters, each as one record, where their last event is in this batch. Filters see
    the numbers themselves, also where `masking` hides them.

    In a replay, which ends at the number `until`, their last event up to there counts; the record has its number.
    """
    seqs = {record.seq for record in batch.records}
    call_records = []
    for call in calls:
        last_seq = max((leg.seq for leg in call.legs if until is None or leg.seq <= until), default=0)
        if last_seq in seqs and all(record_filter.matches_call(call) for record_filter in filters):
            call_records.append(msgspec.structs.replace(call_as_record(_mask(call, masking)), seq=last_seq))
    return sorted(call_records, key=lambda call_record: call_record.seq)


def _mask(call: Call, masking: Masking | None) -> Call:
    return call if masking is None else masking.mask_call(call)


def make_notification_id(record: Record) -> str:
    """Return the id by which a receiver detects repeats: the same in all attempts and replays, another one for a
    corrected event.
    """
    return f"{record.record_id}-{record.seq}"


def notification_seq(notification_id: str) -> int:
    """Return the ledger number in an id of `make_notification_id`."""
    return int(notification_id.rpartition("-")[2])
