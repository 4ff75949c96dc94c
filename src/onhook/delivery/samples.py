"""Sample events for tests: a call, an alarm or an issue that never was, in the form of real ones."""

from datetime import datetime, timedelta

import msgspec

from onhook.appdb.destination_spec import DestinationSpec, NotifiesOf
from onhook.appdb.issue_texts import describe_kind
from onhook.cdr.directory import NO_NAMES
from onhook.cdr.number_masking import Mask
from onhook.cdr.party_names import name_record
from onhook.cdr.record import Record
from onhook.cdr.record_masking import Masking
from onhook.delivery.destinations.kinds import needs_names, open_transform

TEST_BODY = b'{"event":"test"}'
"""Of a test without a sample event, where the other side takes any event."""

SAMPLE_SN = "SAMPLE"
"""Serial number of the PBX of a sample: no PBX has it."""

RING, TALK = timedelta(seconds=6), timedelta(seconds=42)


SAMPLE_KEY = b"sample"
"""Of the hash of a number that is in all samples: the installation's key is for numbers of people."""


def sample_record(now: datetime, mask: Mask = "none") -> Record:
    """Return an inbound call that an extension answered and that ended now, as a destination with this mask gets it."""
    started_at = now.replace(microsecond=0) - RING - TALK
    call_id = f"{int(started_at.timestamp())}.1"
    record = Record(
        call_id=call_id,
        time_start=f"{started_at:%Y-%m-%d %H:%M:%S}",
        call_from="Sample Caller<15550100>",
        call_to="Sample Agent<1001>",
        call_duration=int((RING + TALK).total_seconds()),
        talk_duration=int(TALK.total_seconds()),
        src_trunk_name="sample-trunk",
        status="ANSWERED",
        type="Inbound",
        did_number="15550199",
        did_name="Sample DID",
        agent_ring_time=0,
        uid=f"{started_at:%Y%m%d%H%M%S}00000",
        enb_call_note=0,
        sn=SAMPLE_SN,
        pbx="Sample",
        record_id=f"sample-{call_id}",
        started_at=started_at,
        answered_at=started_at + RING,
        ended_at=started_at + RING + TALK,
        ring_duration=int(RING.total_seconds()),
        utc_offset="+00:00",
        offset_from="ids",
        via="sample",
        received_at=now,
        seq=0,
    )
    return record if mask == "none" else Masking(mask, SAMPLE_KEY).mask_record(record)


def sample_for(spec: DestinationSpec, now: datetime) -> Record:
    """Return the sample call as a destination gets it: masked, with its changes of members, and with names where it
    has these.
    """
    record = sample_record(now, spec.mask)
    transform = open_transform(spec)
    changed_record = record if transform is None else transform.apply(record, SAMPLE_KEY)
    return name_record(changed_record, NO_NAMES) if needs_names(spec) else changed_record


def sample_operational_event(notifies_of: NotifiesOf, now: datetime) -> bytes:
    """Return the body of an alarm or an issue that began now, with the number 0."""
    text = {"detail": "This is a sample.", "hint": "Nothing is to be done."}
    times = {"began_at": now, "ended_at": None}
    if notifies_of == "alarms":
        alarm = {"alarm_id": 0, "sn": SAMPLE_SN, "kind": "silence", **text, **times}
        alarm |= {"last_seen_at": now, "occurrences": 1, **msgspec.structs.asdict(describe_kind("alarm_silence"))}
        return msgspec.json.encode({"type": "alarm", "sn": SAMPLE_SN, "alarm": alarm})
    issue = {"issue_id": 0, "kind": "sample", "sn": "", "subject": "Sample", **text, **times}
    issue |= {"title": "Nothing is wrong", "meaning": ""}
    return msgspec.json.encode({"type": "issue", "issue": issue})
