"""Rows of one call that belong together: the devices of one extension, and the members of a queue or ring group.

Invariants: the devices of an extension that ring together are one row; a queue or ring group has a row of its own,
which a member answers, and no machine.
"""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from onhook.cdr.call_details import ANSWERED, NO_ANSWER
from onhook.pbx.asterisk.applications import QUEUE_APPLICATION, as_group_cdr, dialled_extension, first_argument
from onhook.pbx.asterisk.call import CallHeader, Cdr, seconds_between
from onhook.pbx.asterisk.call_row import CallRow, is_conference, is_trunk
from onhook.pbx.asterisk.channels import NO_CHANNEL, dialled_number, is_device_of, is_dialled


def merge_devices(rows: Iterable[CallRow], header: CallHeader) -> Iterator[CallRow]:
    """Yield the rows, one for all devices of an extension that ring together."""
    calls: dict[tuple[str, ...], list[CallRow]] = {}
    for row in rows:
        if row.kind == "member" and row.callee and not is_trunk(row.callee, header):
            cdr = row.cdr
            group = (cdr.channel.name, cdr.application_data, cdr.destination)
            key = (*group, cdr.local_channel.local_pair, cdr.inner_destination)
            calls.setdefault(key, []).append(row)
        else:
            yield row
    for members in calls.values():
        extensions = _find_extensions(members)
        devices: dict[str, list[CallRow]] = {}
        for row in members:
            devices.setdefault(extensions[row.callee.endpoint], []).append(row)
        for number, own_devices in devices.items():
            for ringing in _split_rings(own_devices) if number else [[row] for row in own_devices]:
                yield _merge_rings(ringing, number)


def _find_extensions(members: Sequence[CallRow]) -> dict[str, str]:
    """Return the number of the extension of which each telephone is a device, by its endpoint: the one that was
    dialled, if one of those that ring has it or all are its devices, or that of another one that rings too; empty where
    it is none.
    """
    cdr = members[0].cdr
    is_queue = cdr.application == QUEUE_APPLICATION and not cdr.local_channel
    dialled = "" if is_queue else dialled_extension(cdr)
    channels = {member.callee.endpoint: member.callee for member in members}
    numbers = {channel.number for channel in channels.values()}
    is_person = dialled in numbers or all(is_device_of(channel, dialled) for channel in channels.values())
    candidates = [*([dialled] if is_person else []), *sorted(numbers, key=lambda number: (len(number), number))]
    return {
        endpoint: next((number for number in candidates if is_device_of(channel, number)), "")
        for endpoint, channel in channels.items()
    }


def _split_rings(devices: Sequence[CallRow]) -> Iterator[list[CallRow]]:
    """Yield the rows of devices that rang at the same time; a queue calls them again and again."""
    ringing: list[CallRow] = []
    for row in sorted(devices, key=lambda row: (row.start, row.callee.name)):
        is_again = any(row.callee.endpoint == other.callee.endpoint and row.start > other.start for other in ringing)
        if ringing and (is_again or row.start > max(other.end for other in ringing)):
            yield ringing
            ringing = []
        ringing.append(row)
    yield ringing


def _merge_rings(devices: Sequence[CallRow], number: str) -> CallRow:
    best_row = max(devices, key=lambda row: (row.status == ANSWERED, row.talk, row.duration))
    start = min(row.start for row in devices)
    duration = seconds_between(start, best_row.start) + best_row.duration
    return msgspec.structs.replace(best_row, call_to=number or best_row.call_to, start=start, duration=duration)


def build_group_rows(rows: Sequence[CallRow], header: CallHeader) -> Iterator[CallRow]:
    """Yield a row for each queue and ring group, in addition to those of its members."""
    groups: dict[tuple[str, str, str], list[CallRow]] = {}
    for row in rows:
        cdr = as_group_cdr(row.cdr)
        number = _group_number(cdr)
        if (row.kind == "member" or row.cdr.group_application) and number:
            groups.setdefault((cdr.channel.name, cdr.application_data, number), []).append(row)
    for (_, _, number), members in groups.items():
        if as_group_cdr(members[0].cdr).application == QUEUE_APPLICATION or _is_group(number, members, header):
            yield _build_group_row(number, members)


def is_own_call(row: CallRow) -> bool:
    """Return whether a telephone that rings, perhaps with others, has the number that was dialled, not a group."""
    return row.kind == "member" and row.call_to == _group_number(row.cdr)


def _group_number(cdr: Cdr) -> str:
    """Return the number of a queue or ring group; a queue that no caller can have dialled has its name."""
    dialled = dialled_number(cdr.destination) if is_dialled(cdr.destination) else ""
    return dialled or (first_argument(cdr) if cdr.application == QUEUE_APPLICATION else "")


def _is_group(number: str, members: Sequence[CallRow], header: CallHeader) -> bool:
    """Return whether a number is that of a ring group, and not of one of the telephones that ring. A DID that rings
    several telephones is one only where a member is outside: its row has another direction than the call.
    """
    has_member_outside = any(is_trunk(member.callee, header) for member in members)
    is_own_number = number in {member.call_to for member in members}
    return not is_own_number and (number != members[0].did or has_member_outside)


def _build_group_row(number: str, members: Iterable[CallRow]) -> CallRow:
    """Build the row of a queue or ring group with these members: from the first ring to the last end."""
    sorted_members = sorted(members, key=lambda row: (row.start, row.call_to))
    first_member, last_member = sorted_members[0], max(sorted_members, key=lambda row: row.end)
    cdr = as_group_cdr(first_member.cdr)
    is_queue = cdr.application == QUEUE_APPLICATION
    group_row = CallRow(
        cdr=cdr,
        kind="queue" if is_queue else "group",
        callee=NO_CHANNEL,
        call_to=number,
        start=first_member.start,
        duration=seconds_between(first_member.start, last_member.start) + last_member.duration,
        talk=0,
        status=NO_ANSWER,
        did=first_member.did,
        agent_ring_time=None if is_queue else 0,
    )
    answered_members = [row for row in list_members(group_row, sorted_members) if row.status == ANSWERED]
    if not answered_members:
        return group_row
    return msgspec.structs.replace(
        group_row,
        talk=max(row.talk for row in answered_members),
        status=ANSWERED,
        recording=answered_members[0].recording,
    )


def list_members(group_row: CallRow, rows: Iterable[CallRow]) -> list[CallRow]:
    """Return the rows of the members of a queue or group, without machines that are members."""
    return [
        row
        for row in rows
        if (row.kind == "member" or (row.cdr.group_application and is_conference(row)))
        and row.cdr.channel == group_row.cdr.channel
        and as_group_cdr(row.cdr).application_data == group_row.cdr.application_data
    ]
