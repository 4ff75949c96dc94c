"""Records into the events that a subscription wants: one per leg, or one per call.

A call is told as one event when nothing more was heard of it for a while: the event belongs to the call's last report,
so that a call is told once however many stretches its legs are read in, and once more where a leg comes late.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from onhook.cdr.call_as_record import call_as_record
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.delivery.record_reader import RecordBatch

CALL_IDLE_TIME = timedelta(seconds=10)
"""How long nothing must have been heard of a call before it is told as one: a PBX reports all legs at a call's end."""


def filter_records(records: Iterable[Record], filters: Sequence[RecordFilter]) -> list[Record]:
    """Legs that all filters mean."""
    return [record for record in records if all(record_filter.matches(record) for record_filter in filters)]


def truncate_before(batch: RecordBatch, cutoff: datetime) -> RecordBatch:
    """The part of a stretch that came before a moment; what came later may still be going on."""
    first_excluded_seq = next((record.seq for record in batch.records if record.received_at >= cutoff), None)
    if first_excluded_seq is None:
        return batch
    return RecordBatch(
        [record for record in batch.records if record.seq < first_excluded_seq], first_excluded_seq - 1, True
    )


def calls_as_records(
    batch: RecordBatch, calls: Iterable[Call], filters: Sequence[RecordFilter], until: int | None
) -> list[Record]:
    """Calls that all filters mean, each as one record, where their last report is in this stretch.

    Within a replay, which ends at the number `until`, their last report up to there counts; the record has its number.
    """
    seqs = {record.seq for record in batch.records}
    call_records = []
    for call in calls:
        last_seq = max((leg.seq for leg in call.legs if until is None or leg.seq <= until), default=0)
        if last_seq in seqs and all(record_filter.matches_call(call) for record_filter in filters):
            call_records.append(msgspec.structs.replace(call_as_record(call), seq=last_seq))
    return sorted(call_records, key=lambda call_record: call_record.seq)


def make_notification_id(record: Record) -> str:
    """What a receiver knows repeats by: the same in all attempts and replays, another one for a corrected report."""
    return f"{record.record_id}-{record.seq}"
