"""Generated calls with a machine behind a Local channel, and with two devices of one extension."""

from collections.abc import Callable, Mapping
from datetime import timedelta

from hypothesis import strategies as st

from tests.pbx.asterisk.generated_office import (
    NUMBERED_CHANNELS,
    TALK,
    Office,
    Row,
    Telephone,
    draw_caller,
)

_DID = "5550064"

_GROUPS: Mapping[str, Row] = {
    "6400": {"lastapp": "Queue", "lastdata": "team,,,,30", "dcontext": "ext-queues"},
    "600": {"lastdata": "Local/1002@members&Local/1003@members,20", "dcontext": "ext-group"},
}

_MACHINES: Mapping[str, Row] = {
    "1002": {"lastapp": "VoiceMail", "lastdata": "1002@default,u"},
    "6401": {"lastapp": "Queue", "lastdata": "empty,t"},
    "3000": {"lastapp": "ConfBridge", "lastdata": "3000,,"},
    "7000": {"lastapp": "WaitExten", "lastdata": "10"},
}
"""What answers behind the Local channel, by its number."""


def _outer_call(office: Office, columns: Row, group: str, own_number: str, *, is_outside: bool) -> Row:
    """Return the columns of the CDR to a Local channel: of a group, of a DID, or of an extension that dials it."""
    if group:
        return columns | {"dst": group, **_GROUPS[group]}
    if not is_outside:
        return columns | {"dst": own_number}
    office.did_number = _DID
    return columns | {"dst": _DID}


def _machine_behind_a_local_channel(office: Office) -> None:
    """A caller, a queue or a ring group calls an extension; its telephone may ring before its mailbox answers."""
    is_outside = office.draw(st.booleans())
    kind = "Inbound" if is_outside else "Internal"
    _, number, channel, columns = draw_caller(office, is_outside=is_outside)
    group = office.draw(st.sampled_from(("", *_GROUPS)))
    machine = office.draw(st.sampled_from(sorted(_MACHINES)))
    local = office.local("1002", "members")
    start = office.now
    inner_columns = columns | {"dcontext": "members"}
    ring = 0
    if machine == "1002" and office.draw(st.booleans()):
        telephone = office.telephone("1002")
        ring = office.wait(1, 20)
        called = office.channel(telephone)
        office.row(f"{local};2", called, start=start, ring=ring, talk=-1, **inner_columns | {"dst": "1002"})
    answered, talk = office.now, office.wait(1, 60)
    office.row(
        f"{local};2", "", start=answered, ring=0, talk=talk, **inner_columns | {"dst": machine} | _MACHINES[machine]
    )
    outer_columns = _outer_call(office, columns, group, "1002", is_outside=is_outside)
    office.row(channel, f"{local};1", start=start, ring=ring, talk=talk, **outer_columns)
    if machine == "1002":
        office.truth.append((kind, number, machine, "VOICEMAIL", talk))
    else:
        office.leg(number, machine, -1 if machine == "6401" else talk, kind=kind)
    if group:
        office.leg(number, group, talk if machine == "3000" else -1, kind=kind)


def _two_devices(office: Office) -> None:
    """Both devices of an extension ring, directly or behind a Local channel; one may answer, or the mailbox."""
    is_outside = office.draw(st.booleans())
    kind = "Inbound" if is_outside else "Internal"
    _, number, channel, columns = draw_caller(office, is_outside=is_outside)
    group = office.draw(st.sampled_from(("", *_GROUPS)))
    is_behind_local = bool(group) or office.draw(st.booleans())
    devices = [
        Telephone(number=digits, template=office.draw(st.sampled_from(NUMBERED_CHANNELS)), name="")
        for digits in ("201", "99201")
    ]
    channels = [office.channel(device) for device in devices]
    answering, talk = office.draw(st.integers(0, 1)), office.draw(TALK)
    local = office.local(office.draw(st.sampled_from(("201", "FMPR-201"))), "members")
    start, ring = office.now, office.wait(1, 20)
    dial = {"dst": "201", "lastdata": "&".join(name.rpartition("-")[0] for name in channels) + ",20"}
    caller = f"{local};2" if is_behind_local else channel
    inner_columns = columns | dial | {"dcontext": "members" if is_behind_local else columns.get("dcontext", "internal")}
    for place, called in enumerate(channels):
        device_talk = talk if place == answering else -1
        office.row(caller, called, start=start, ring=ring, talk=device_talk, **inner_columns)
    office.now += timedelta(seconds=max(talk, 0))
    message = 0
    if talk < 0 and office.draw(st.booleans()):
        answered, message = office.now, office.wait(1, 30)
        mailbox = {
            "lastapp": "VoiceMail",
            "lastdata": "201@default,u",
            "dst": office.draw(st.sampled_from(("201", "vmu201"))),
        }
        office.row(caller, "", start=answered, ring=0, talk=message, **inner_columns | mailbox)
    if is_behind_local:
        outer_columns = _outer_call(office, columns, group, "201", is_outside=is_outside)
        office.row(channel, f"{local};1", start=start, ring=ring, talk=message or talk, **outer_columns)
    if message:
        office.truth.append((kind, number, "201", "VOICEMAIL", message))
    else:
        office.leg(number, "201", talk, kind=kind)
    if group:
        office.leg(number, group, talk, kind=kind)


LOCAL_JOURNEYS: Mapping[str, Callable[[Office], None]] = {
    "machine behind a Local channel": _machine_behind_a_local_channel,
    "two devices": _two_devices,
}
