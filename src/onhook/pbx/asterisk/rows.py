"""Convert CDRs into the rows of a call: one for each party that was called, as the original PBX reports them
(yeastar-p-series.md 10.1).

Asterisk writes a CDR for each pair of parties. Invariants: party and start of a row depend on the CDRs alone, so that a
call read from a file has the same rows; the order of the CDRs does not matter.

- The callee is the owner of the other channel, because a transfer changes the `Destination` of a CDR. `Destination`
  counts for trunks, and where there is no other channel.
- A Local channel (`Local/…`) is no party (local_channels.py).
- A conference is the callee of each caller in it, whatever the other participants.
- A queue, and a ring group, has a row of its own beside those of its members.
- What the dialplan does after a party could not be reached belongs to that party's row: `Busy`, `Hangup`, and
  `VoiceMail`, which makes the row a VOICEMAIL.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.number_plan import LegKind
from onhook.pbx.asterisk.applications import (
    CALLEE_APPLICATIONS,
    CONFERENCE_APPLICATIONS,
    DIAL_APPLICATIONS,
    IVR_APPLICATIONS,
    QUEUE_APPLICATION,
    VOICEMAIL_APPLICATION,
    as_group_cdr,
    dialled_extension,
    find_mailbox,
    first_argument,
    machine_name,
    rings_members,
)
from onhook.pbx.asterisk.call import AsteriskCall, CallHeader, Cdr, Cel, seconds_between
from onhook.pbx.asterisk.channels import NO_CHANNEL, Channel, is_dialled
from onhook.pbx.asterisk.dial_strings import match_numbers, parse_devices, rings_several
from onhook.pbx.asterisk.local_channels import resolve_local_channels
from onhook.pbx.asterisk.origination import merge_waits, resolve_origination

ANSWERED, NO_ANSWER, BUSY, FAILED, VOICEMAIL = "ANSWERED", "NO ANSWER", "BUSY", "FAILED", "VOICEMAIL"

_UNREACHED_STATUS: Mapping[str, str] = {"Dial": FAILED, "Congestion": FAILED, "Busy": BUSY}
"""Status by application of a CDR without a called channel that is ANSWERED, because the PBX itself answered before."""

_STATUS_BY_DISPOSITION: Mapping[str, str] = {"CONGESTION": FAILED, "NOANSWER": NO_ANSWER}

RowKind = Literal["party", "member", "queue", "group", "machine", "ivr"]


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a party, a member of a queue or group, that queue or group itself, or a machine.

    Durations are whole seconds. `callee` is the called channel, or the empty channel.
    """

    cdr: Cdr
    kind: RowKind
    callee: Channel
    call_to: str
    start: datetime
    duration: int
    talk: int
    status: str
    did: str = ""
    name: str = ""
    recording: str = ""
    agent_ring_time: int | None = 0
    extra: Mapping[str, str | int] = {}

    @property
    def end(self) -> datetime:
        """The end of the row."""
        return self.start + timedelta(seconds=self.duration)

    @property
    def answering_channel(self) -> Channel:
        """The channel of the party that is to answer: the called one, or the telephone's if a customer was first."""
        return self.cdr.channel if self.cdr.is_reversed else self.callee


def build_rows(call: AsteriskCall) -> list[CallRow]:
    """Build the rows from the CDRs of a call, unordered."""
    reported_cdrs = _drop_callee_cdrs(_drop_helper_cdrs(call.cdrs))
    parties = list(resolve_local_channels(list(merge_waits(reported_cdrs, call))))
    identified_cdrs = [_identify_caller(cdr, call) for cdr in resolve_origination(parties, call)]
    cdrs = sorted(_number_members(list(_merge_conference_cdrs(identified_cdrs)), call.header), key=_cdr_sort_key)
    rows: list[CallRow] = []
    for cdr in cdrs:
        previous_row = _find_previous_row(rows, cdr)
        if previous_row is None:
            rows.append(_build_row(cdr, call.header))
        elif cdr.application == VOICEMAIL_APPLICATION and cdr.disposition == ANSWERED:
            rows[rows.index(previous_row)] = _with_voicemail(previous_row, cdr)
    rows = list(_merge_devices(rows, call.header))
    return [*rows, *_build_group_rows(rows, call.header)]


def is_trunk(channel: Channel, header: CallHeader) -> bool:
    """Return whether a channel belongs to a trunk."""
    return bool(channel) and channel.endpoint in header.trunks


def _cdr_sort_key(cdr: Cdr) -> tuple[datetime, bool, str, str, datetime]:
    """Sort by start; within one second, CDRs without a called channel come last."""
    return cdr.start, not cdr.dst_channel, cdr.channel.name, cdr.dst_channel.name, cdr.end


# Selection of CDRs.


def _drop_helper_cdrs(cdrs: Sequence[Cdr]) -> list[Cdr]:
    """Drop the CDRs of helper channels, and a called channel that is one."""
    return [
        msgspec.structs.replace(cdr, dst_channel=NO_CHANNEL) if cdr.dst_channel.is_helper else cdr
        for cdr in cdrs
        if not cdr.channel.is_helper
    ]


def _drop_callee_cdrs(cdrs: Sequence[Cdr]) -> list[Cdr]:
    """Drop the CDRs written for called channels themselves, unless no other CDR is left."""
    return [cdr for cdr in cdrs if cdr.dst_channel or cdr.application not in CALLEE_APPLICATIONS] or list(cdrs)


def _merge_conference_cdrs(cdrs: Iterable[Cdr]) -> Iterator[Cdr]:
    """Merge the CDRs of a conference into one for each caller, without a callee: Asterisk writes one for each pair."""
    merged_cdrs: dict[tuple[str, str], Cdr] = {}
    for cdr in cdrs:
        if cdr.application not in CONFERENCE_APPLICATIONS or (cdr.origination and cdr.dst_channel):
            yield cdr
            continue
        key = (cdr.channel.name, cdr.destination)
        merged_cdrs[key] = _merge_cdrs(merged_cdrs.get(key, cdr), cdr)
    yield from merged_cdrs.values()


def _merge_cdrs(first_cdr: Cdr, second_cdr: Cdr) -> Cdr:
    """Return a CDR from the earlier start to the later end of two."""
    start, end = min(first_cdr.start, second_cdr.start), max(first_cdr.end, second_cdr.end)
    answer = min((cdr.answer for cdr in (first_cdr, second_cdr) if cdr.answer is not None), default=None)
    return msgspec.structs.replace(
        first_cdr,
        dst_channel=NO_CHANNEL,
        start=start,
        answer=answer,
        end=end,
        duration=seconds_between(start, end),
        talk=0 if answer is None else seconds_between(answer, end),
    )


# One row.


def _build_row(cdr: Cdr, header: CallHeader) -> CallRow:
    is_member = bool(cdr.dst_channel) and rings_members(cdr)
    status = _status(cdr)
    return CallRow(
        cdr=cdr,
        kind=("member" if is_member else "party") if cdr.dst_channel else _machine_kind(cdr),
        callee=cdr.dst_channel,
        call_to=_called_party(cdr, header),
        start=cdr.start,
        duration=cdr.duration,
        talk=cdr.talk if status in (ANSWERED, VOICEMAIL) else 0,
        status=status,
        did=_did(cdr, header),
        recording=cdr.recording,
        # The queue counts the agent's ring time; a CDR does not contain it.
        agent_ring_time=None if cdr.application == QUEUE_APPLICATION else 0,
    )


def _machine_kind(cdr: Cdr) -> RowKind:
    if cdr.application == QUEUE_APPLICATION:
        return "queue"
    return "ivr" if cdr.application in IVR_APPLICATIONS else "machine"


def _status(cdr: Cdr) -> str:
    if cdr.application == VOICEMAIL_APPLICATION and cdr.disposition == ANSWERED:
        return VOICEMAIL
    if cdr.application == QUEUE_APPLICATION and not cdr.dst_channel:
        # The PBX itself answered, perhaps long before: no agent was called.
        return NO_ANSWER
    if cdr.disposition == ANSWERED and not cdr.dst_channel and cdr.application in _UNREACHED_STATUS:
        return _UNREACHED_STATUS[cdr.application]
    return _STATUS_BY_DISPOSITION.get(cdr.disposition, cdr.disposition)


def _called_party(cdr: Cdr, header: CallHeader) -> str:
    """Return the called number or name."""
    if not cdr.dst_channel:
        return machine_name(cdr) or cdr.application or cdr.destination
    dialled = dialled_extension(cdr)
    if is_trunk(cdr.dst_channel, header):
        number = cdr.member_number if _is_member(cdr) else dialled or parse_devices(_dial_string(cdr))[0].number
        return number or cdr.dst_channel.endpoint
    # The number that was dialled is the group's, not that of a member with a name.
    own_number = "" if rings_members(cdr) and not cdr.inner_destination else dialled
    return cdr.dst_channel.number or own_number or cdr.dst_channel.endpoint or cdr.dst_channel.name


def _dial_string(cdr: Cdr) -> str:
    """Return the argument of the application that called the channel itself, also behind a Local channel."""
    return cdr.inner_data if cdr.inner_destination else cdr.application_data


def _is_member(cdr: Cdr) -> bool:
    """Return whether the called channel was called with others, so that the number dialled is not its own."""
    if cdr.inner_destination:
        return rings_several(cdr.inner_data)
    return rings_members(cdr) and (cdr.application == QUEUE_APPLICATION or rings_several(cdr.application_data))


def _number_members(cdrs: Sequence[Cdr], header: CallHeader) -> Iterator[Cdr]:
    """Yield the CDRs, those of members that were called by a trunk with their numbers."""
    groups: dict[tuple[str, str, str], list[Cdr]] = {}
    for cdr in cdrs:
        if is_trunk(cdr.dst_channel, header) and _is_member(cdr):
            key = (cdr.channel.name, _dial_string(cdr), cdr.dst_channel.endpoint)
            groups.setdefault(key, []).append(cdr)
        else:
            yield cdr
    for (_, dial_string, _), members in groups.items():
        channels = {cdr.dst_channel.name: cdr.dst_channel for cdr in members}
        numbers = match_numbers(dial_string, list(channels.values()))
        for cdr in members:
            yield msgspec.structs.replace(cdr, member_number=numbers.get(cdr.dst_channel.name, ""))


def is_conference(row: CallRow) -> bool:
    """Return whether a row is the part of one participant in a conference."""
    return row.cdr.application in CONFERENCE_APPLICATIONS and not row.callee


def callee_kind(row: CallRow, header: CallHeader) -> LegKind | None:
    """Return what the CDR says about who was called; None where it says nothing."""
    if row.callee:
        return None if row.callee.is_local or is_trunk(row.callee, header) else "extension"
    if row.kind in _KIND_OF_ROW:
        return _KIND_OF_ROW[row.kind]
    if is_conference(row):
        return "conference"
    if row.cdr.application == VOICEMAIL_APPLICATION:
        return "voicemail"
    return None if row.cdr.application in DIAL_APPLICATIONS else "feature"


_KIND_OF_ROW: Mapping[RowKind, LegKind] = {"queue": "queue", "group": "ring_group", "ivr": "ivr"}


def _did(cdr: Cdr, header: CallHeader) -> str:
    """Return the number dialled by an external caller: the CDR's own DID, or its destination in an inbound context."""
    if cdr.did or not is_trunk(cdr.channel, header):
        return cdr.did
    dialled = cdr.outer_destination or cdr.destination
    return dialled if cdr.context in header.inbound_contexts and is_dialled(dialled) else ""


# The caller.


def _identify_caller(cdr: Cdr, call: AsteriskCall) -> Cdr:
    """Return the CDR with the caller's own number and name where another one was set for display: for a telephone that
    calls out by a trunk, or that the PBX has called first.
    """
    goes_out = is_trunk(cdr.dst_channel, call.header) and not is_trunk(cdr.channel, call.header)
    if not goes_out and not cdr.origination:
        return cdr
    name, number = _own_identity(cdr, call.cels)
    shown_number = extract_number(cdr.caller_id) or cdr.source
    is_shown = number == cdr.source == shown_number
    if not number or (is_shown and (not name or cdr.caller_id)):
        return cdr
    return msgspec.structs.replace(
        cdr,
        source=number,
        caller_id=f'"{name}" <{number}>' if name else number,
        outbound_caller_id="" if is_shown else cdr.caller_id.replace('"', "") or cdr.source,
    )


def _own_identity(cdr: Cdr, cels: Sequence[Cel]) -> tuple[str, str]:
    """Return name and number of a telephone: as the dialplan recorded them, as they were when its channel began, or by
    the channel's name.
    """
    if cdr.dialplan_number:
        return cdr.dialplan_name, cdr.dialplan_number
    endpoint_number = cdr.channel.number
    starts = (cel for cel in cels if cel.name == "CHAN_START" and cel.channel == cdr.channel and cel.caller_number)
    start = next(starts, None)
    if start is not None and (not endpoint_number or endpoint_number.endswith(start.caller_number)):
        return start.caller_name, start.caller_number
    is_own_name = cdr.source == extract_number(cdr.caller_id) == endpoint_number
    shown_name = extract_name(cdr.caller_id.replace('"', "")) if is_own_name else ""
    return shown_name, endpoint_number


# Groups of rows.


def _find_previous_row(rows: Sequence[CallRow], cdr: Cdr) -> CallRow | None:
    """Return the row of the party that the caller tried before, if this CDR only records the follow-up."""
    if cdr.dst_channel:
        return None
    row = next((row for row in reversed(rows) if _has_tried(row, cdr)), None)
    if row is None or cdr.application in IVR_APPLICATIONS or cdr.application in CONFERENCE_APPLICATIONS:
        return None
    mailbox = find_mailbox(cdr)
    is_known_by_name = row.call_to == row.callee.endpoint and not row.callee.number
    dialled = row.cdr.inner_destination or row.cdr.destination
    if mailbox and not is_known_by_name and mailbox not in (row.call_to, dialled):
        return None
    return row if cdr.destination == dialled or not is_dialled(cdr.destination) else None


def _has_tried(row: CallRow, cdr: Cdr) -> bool:
    """Return whether a row is that of a party that the caller, or the same member's Local channel, tried."""
    if cdr.group_application:
        return row.kind == "member" and row.cdr.local_channel == cdr.local_channel
    return row.kind == "party" and row.cdr.channel == cdr.channel


def _with_voicemail(row: CallRow, cdr: Cdr) -> CallRow:
    """Mark the row as answered by the party's mailbox."""
    return msgspec.structs.replace(
        row, status=VOICEMAIL, talk=cdr.talk, duration=seconds_between(row.start, cdr.end), recording=cdr.recording
    )


def _build_group_rows(rows: Sequence[CallRow], header: CallHeader) -> Iterator[CallRow]:
    """Yield a row for each queue and ring group, in addition to those of its members."""
    groups: dict[tuple[str, str, str], list[CallRow]] = {}
    for row in rows:
        cdr = as_group_cdr(row.cdr)
        number = _group_number(cdr)
        if (row.kind == "member" or row.cdr.group_application) and number:
            groups.setdefault((cdr.channel.name, cdr.application_data, number), []).append(row)
    for (_, _, number), members in groups.items():
        if as_group_cdr(members[0].cdr).application == QUEUE_APPLICATION or _is_group(number, members, header):
            yield build_group_row(number, members)


def list_members(group_row: CallRow, rows: Iterable[CallRow]) -> list[CallRow]:
    """Return the rows of the members of a queue or group, without machines that are members."""
    return [
        row
        for row in rows
        if (row.kind == "member" or (row.cdr.group_application and is_conference(row)))
        and row.cdr.channel == group_row.cdr.channel
        and as_group_cdr(row.cdr).application_data == group_row.cdr.application_data
    ]


def _group_number(cdr: Cdr) -> str:
    """Return the number of a queue or ring group; a queue that no caller can have dialled has its name."""
    dialled = cdr.destination if is_dialled(cdr.destination) else ""
    return dialled or (first_argument(cdr) if cdr.application == QUEUE_APPLICATION else "")


def _is_group(number: str, members: Sequence[CallRow], header: CallHeader) -> bool:
    """Return whether a number is that of a ring group, and not of one of the telephones that ring. A DID that rings
    several telephones is one only where a member is outside: its row has another direction than the call.
    """
    has_member_outside = any(is_trunk(member.callee, header) for member in members)
    is_own_number = number in {member.call_to for member in members}
    return not is_own_number and (number != members[0].did or has_member_outside)


def _merge_devices(rows: Sequence[CallRow], header: CallHeader) -> Iterator[CallRow]:
    """Yield the rows, one for all devices of an extension: of telephones that ring together, one has the number
    that was dialled.
    """
    devices: dict[tuple[str, str, str], list[CallRow]] = {}
    for row in rows:
        is_telephone = row.kind == "member" and not is_trunk(row.callee, header)
        if is_telephone and row.cdr.application != QUEUE_APPLICATION:
            devices.setdefault((row.cdr.channel.name, row.cdr.application_data, row.cdr.destination), []).append(row)
        else:
            yield row
    for (_, _, number), members in devices.items():
        own_devices = [row for row in members if not row.cdr.local_channel and _is_device_of(row.callee, number)]
        is_person = len(own_devices) == len(members) or number in {row.callee.number for row in own_devices}
        if is_person and len(own_devices) > 1:
            best_row = max(own_devices, key=lambda row: (row.status == ANSWERED, row.talk, row.duration))
            start = min(row.start for row in own_devices)
            yield msgspec.structs.replace(
                best_row,
                call_to=number,
                start=start,
                duration=seconds_between(start, best_row.start) + best_row.duration,
            )
            yield from (row for row in members if row not in own_devices)
        else:
            yield from members


def _is_device_of(channel: Channel, number: str) -> bool:
    """Return whether a telephone's name has the number: as it is, as a FreePBX marks a second device (`91201`,
    `201-web`), or with the name of a tenant or a kind (`office-201`, `webrtc_201`).
    """
    pattern = rf"(?:.*[^0-9+])?(?:9[0-9]?)?{re.escape(number)}(?:[^0-9].*)?"
    return bool(number) and re.fullmatch(pattern, channel.endpoint) is not None


def build_group_row(number: str, members: Iterable[CallRow]) -> CallRow:
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
