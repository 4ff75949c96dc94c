"""Rows that a P-Series reports for a journey at a time (yeastar-p-series.md 2.3 to 2.7). Pure.

Invariants: all rows of a call share `call_id`, `uid` and `call_note_id`. `call_id` contains the call's start in UTC,
`uid` the same second in the PBX's local time. The `time_start` of a row is the local time of its own start, so a later
row may show an earlier time when daylight saving time ends.
"""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from onhook.cdr.call_details import CallDetails
from onhook.simulator.journeys import Journey, SimulatedLeg

_COMPACT_TIME_FORMAT = "%Y%m%d%H%M%S"
_WALL_CLOCK_FORMAT = "%Y-%m-%d %H:%M:%S"


class CallIds(msgspec.Struct, frozen=True):
    """Unique parts of the ids of a call: a counter of channels, and five hexadecimal digits each for `uid` and note."""

    sequence: int
    uid_suffix: str
    note_suffix: str


def build_rows(
    journey: Journey, started_at: datetime, zone: ZoneInfo, ids: CallIds, *, with_names: bool
) -> list[CallDetails]:
    """Return the rows in order. `started_at` is aware: what the PBX's own clock shows, right or wrong."""
    call_id = f"{int(started_at.timestamp())}.{ids.sequence}"
    compact_time = started_at.astimezone(zone).strftime(_COMPACT_TIME_FORMAT)
    did = journey.did
    common_details = CallDetails(
        call_id=call_id,
        time_start="",
        call_from=journey.call_from.format(with_names),
        call_to="",
        src_trunk_name=did.trunk if did else "",
        dst_trunk_name=journey.dst_trunk_name,
        pin_code=journey.pin_code,
        type=journey.type,
        did_number=did.number if did else "",
        did_name=did.name if did else "",
        uid=compact_time + ids.uid_suffix,
        call_note_id=f"{compact_time}-{ids.note_suffix}",
    )
    return [_build_row(common_details, journey, leg, started_at, zone, with_names=with_names) for leg in journey.legs]


def _build_row(
    common_details: CallDetails,
    journey: Journey,
    leg: SimulatedLeg,
    started_at: datetime,
    zone: ZoneInfo,
    *,
    with_names: bool,
) -> CallDetails:
    local_start = (started_at + timedelta(seconds=leg.starts_after)).astimezone(zone)
    return msgspec.structs.replace(
        common_details,
        time_start=local_start.strftime(_WALL_CLOCK_FORMAT),
        call_to=leg.call_to.format(with_names),
        call_duration=leg.call_duration,
        talk_duration=leg.talk_duration,
        status=leg.status,
        recording=_recording_file_name(common_details.call_id, journey, leg, started_at, zone)
        if leg.recorded_number
        else "",
        agent_ring_time=leg.agent_ring_time,
        enb_call_note=leg.enb_call_note,
    )


def _recording_file_name(
    call_id: str, journey: Journey, leg: SimulatedLeg, started_at: datetime, zone: ZoneInfo
) -> str:
    """Return the name, with the time of the answer; its last number is the person who spoke, also on a queue's row."""
    answered_at = started_at + timedelta(seconds=leg.ends_after - leg.talk_duration)
    compact_time = answered_at.astimezone(zone).strftime(_COMPACT_TIME_FORMAT)
    return f"{compact_time}-{call_id}-{journey.call_from.number}-{leg.recorded_number}-{journey.type}.wav"
