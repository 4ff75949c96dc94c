"""Records into the events that a subscription wants: one per leg, or one per call.

A call is told as one event when nothing more was heard of it for a while: the event belongs to the call's last report,
so that a call is told once however many stretches its legs are read in, and once more where a leg comes late.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

import msgspec

from onhook.cdr.call_as_record import as_one
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import Filter
from onhook.delivery.record_reader import Stretch

CALL_QUIET = timedelta(seconds=10)
"""How long nothing must have been heard of a call before it is told as one: a PBX reports all legs at a call's end."""


def matching(records: Iterable[Record], filters: Sequence[Filter]) -> list[Record]:
    """Legs that all filters mean."""
    return [record for record in records if all(one.matches(record) for one in filters)]


def quiet_part(stretch: Stretch, before: datetime) -> Stretch:
    """The part of a stretch that came before a moment; what came later may still be going on."""
    young = next((record.seq for record in stretch.records if record.received_at >= before), None)
    if young is None:
        return stretch
    return Stretch([record for record in stretch.records if record.seq < young], young - 1, True)


def whole_calls(stretch: Stretch, calls: Iterable[Call], filters: Sequence[Filter], until: int | None) -> list[Record]:
    """Calls that all filters mean, each as one record, where their last report is in this stretch.

    Within a replay, which ends at the number `until`, their last report up to there counts; the record has its number.
    """
    seqs = {record.seq for record in stretch.records}
    wanted = []
    for call in calls:
        last = max((leg.seq for leg in call.legs if until is None or leg.seq <= until), default=0)
        if last in seqs and all(one.matches_call(call) for one in filters):
            wanted.append(msgspec.structs.replace(as_one(call), seq=last))
    return sorted(wanted, key=lambda whole: whole.seq)


def event_id(record: Record) -> str:
    """What a receiver knows repeats by: the same in all attempts and replays, another one for a corrected report."""
    return f"{record.record_id}-{record.seq}"
