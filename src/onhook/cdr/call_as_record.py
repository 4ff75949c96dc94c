"""A whole call as one record: for destinations that want one notification per call, however many legs it has.

Its number and receipt time are those of the call's last raw event; `call_to` is the party that answered, else the
dialled one. A later leg results in another notification of the same call (yeastar-p-series.md 2.5).
"""

import msgspec

from onhook.cdr.identity import extract_number, record_id, record_key
from onhook.cdr.record import Call, Record


def call_as_record(call: Call) -> Record:
    """Return the call as one record, its talk time counted once."""
    first_leg, last_leg = call.legs[0], max(call.legs, key=lambda leg: leg.seq)
    answered_legs = [leg for leg in call.legs if call.answered_by and extract_number(leg.call_to) == call.answered_by]
    record = msgspec.structs.replace(
        first_leg,
        call_to=answered_legs[0].call_to if answered_legs else call.call_to,
        call_duration=call.call_duration,
        talk_duration=call.talk_duration,
        ring_duration=call.ring_duration,
        status=call.status,
        type=call.type,
        recording=call.recordings[0] if call.recordings else "",
        did_number=call.did_number,
        src_trunk_name=call.src_trunk_name,
        dst_trunk_name=call.dst_trunk_name,
        agent_ring_time=max(
            (leg.agent_ring_time for leg in call.legs if leg.agent_ring_time is not None), default=None
        ),
        answered_at=answered_legs[0].answered_at if answered_legs else None,
        ended_at=call.ended_at,
        received_at=last_leg.received_at,
        seq=last_leg.seq,
    )
    # The id of a record with this `call_to`: receivers compute the same.
    return msgspec.structs.replace(record, record_id=record_id(record_key(call.sn, record)))
