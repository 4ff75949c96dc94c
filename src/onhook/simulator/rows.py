"""A journey at a moment, as the rows that a P-Series reports (PROTOCOL.md 2.3 to 2.7). Pure.

Laws: all rows of a call share `call_id`, `uid` and `call_note_id`. `call_id` holds the call's start in UTC; `uid` the
same second by the PBX's wall clock. Each row's `time_start` is the wall clock at its own start, so that in a night in
which clocks are moved a later row may show an earlier time.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.simulator.journeys import Journey, Leg

_STAMP = "%Y%m%d%H%M%S"
_WALL_CLOCK = "%Y-%m-%d %H:%M:%S"


class Ids(msgspec.Struct, frozen=True):
    """What tells one call from another: a counter of channels, and five hexadecimal digits each for `uid` and note."""

    sequence: int
    uid_tail: str
    note_tail: str


def rows_of(journey: Journey, started_at: datetime, zone: ZoneInfo, ids: Ids, *, with_names: bool) -> list[CallDetails]:
    """The rows in order. `started_at` is aware; what the PBX's own clock shows, right or wrong."""
    call_id = f"{int(started_at.timestamp())}.{ids.sequence}"
    stamp = started_at.astimezone(zone).strftime(_STAMP)
    did = journey.did
    shared = CallDetails(
        call_id=call_id,
        time_start="",
        call_from=journey.call_from.text(with_names),
        call_to="",
        src_trunk_name=did.trunk if did else "",
        dst_trunk_name=journey.dst_trunk_name,
        pin_code=journey.pin_code,
        type=journey.type,
        did_number=did.number if did else "",
        did_name=did.name if did else "",
        uid=stamp + ids.uid_tail,
        call_note_id=f"{stamp}-{ids.note_tail}",
    )
    return [_row(shared, journey, leg, started_at, zone, with_names=with_names) for leg in journey.legs]


def _row(
    shared: CallDetails, journey: Journey, leg: Leg, started_at: datetime, zone: ZoneInfo, *, with_names: bool
) -> CallDetails:
    local = (started_at + timedelta(seconds=leg.after)).astimezone(zone)
    return msgspec.structs.replace(
        shared,
        time_start=local.strftime(_WALL_CLOCK),
        call_to=leg.call_to.text(with_names),
        call_duration=leg.call_duration,
        talk_duration=leg.talk_duration,
        status=leg.status,
        recording=_recording(shared.call_id, journey, leg, started_at, zone) if leg.recorded else "",
        agent_ring_time=leg.agent_ring_time,
        enb_call_note=leg.enb_call_note,
    )


def _recording(call_id: str, journey: Journey, leg: Leg, started_at: datetime, zone: ZoneInfo) -> str:
    """Stamped with the moment of the answer; the last number is the person who spoke, on a queue's row too."""
    answered_at = started_at + timedelta(seconds=leg.ends_after - leg.talk_duration)
    stamp = answered_at.astimezone(zone).strftime(_STAMP)
    return f"{stamp}-{call_id}-{journey.call_from.number}-{leg.recorded}-{journey.type}.wav"
