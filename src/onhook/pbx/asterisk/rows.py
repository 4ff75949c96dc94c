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

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from onhook.cdr.call_details import ANSWERED, BUSY, FAILED, NO_ANSWER, VOICEMAIL
from onhook.cdr.identity import extract_name, extract_number
from onhook.pbx.asterisk.applications import (
    CALLEE_APPLICATIONS,
    CONFERENCE_APPLICATIONS,
    IVR_APPLICATIONS,
    QUEUE_APPLICATION,
    VOICEMAIL_APPLICATION,
    dialled_extension,
    find_mailbox,
    machine_name,
    rings_members,
)
from onhook.pbx.asterisk.call import AsteriskCall, CallHeader, Cdr, Cel, seconds_between
from onhook.pbx.asterisk.call_row import CallRow, RowKind, is_trunk
from onhook.pbx.asterisk.channels import NO_CHANNEL, is_device_of, is_dialled
from onhook.pbx.asterisk.dial_strings import match_numbers, parse_devices, rings_several
from onhook.pbx.asterisk.local_channels import resolve_local_channels
from onhook.pbx.asterisk.origination import merge_waits, resolve_origination
from onhook.pbx.asterisk.row_groups import build_group_rows, is_own_call, merge_devices

_UNREACHED_STATUS: Mapping[str, str] = {"Dial": FAILED, "Congestion": FAILED, "Busy": BUSY}
"""Status by application of a CDR without a called channel that is ANSWERED, because the PBX itself answered before."""

_STATUS_BY_DISPOSITION: Mapping[str, str] = {"CONGESTION": FAILED, "NOANSWER": NO_ANSWER}


def build_rows(call: AsteriskCall) -> list[CallRow]:
    """Build the rows from the CDRs of a call, unordered."""
    reported_cdrs = _drop_callee_cdrs(_drop_helper_cdrs(call.cdrs))
    parties = list(resolve_local_channels(list(merge_waits(reported_cdrs, call))))
    identified_cdrs = [_identify_caller(cdr, call) for cdr in resolve_origination(parties, call)]
    cdrs = sorted(_number_members(list(_merge_conference_cdrs(identified_cdrs)), call.header), key=_cdr_sort_key)
    called_rows = merge_devices([_build_row(cdr, call.header) for cdr in cdrs if cdr.dst_channel], call.header)
    rows = sorted(called_rows, key=lambda row: _cdr_sort_key(row.cdr))
    for cdr in (cdr for cdr in cdrs if not cdr.dst_channel):
        previous_row = _find_previous_row(rows, cdr)
        if previous_row is None:
            rows.append(_build_row(cdr, call.header))
        elif cdr.application == VOICEMAIL_APPLICATION and cdr.disposition == ANSWERED:
            rows[rows.index(previous_row)] = _with_voicemail(previous_row, cdr)
    return [*rows, *build_group_rows(rows, call.header)]


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
    if is_device_of(cdr.dst_channel, own_number):
        return own_number
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
    is_telephone = not cdr.channel.is_local and not is_trunk(cdr.channel, call.header)
    if is_telephone and not cdr.is_reversed and (not number or number == _called_party(cdr, call.header)):
        name, number = "", _own_name(cdr, call.header)
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


def _own_name(cdr: Cdr, header: CallHeader) -> str:
    """Return the name of a telephone whose number is not known, where what it shows is certainly another one's."""
    is_shown_for_another = bool(cdr.origination) or cdr.source == _called_party(cdr, header)
    return cdr.channel.endpoint if is_shown_for_another else ""


def _own_identity(cdr: Cdr, cels: Sequence[Cel]) -> tuple[str, str]:
    """Return name and number of a telephone: as the dialplan recorded them, as they were when its channel began, or by
    the channel's name; of a second device, that of its extension.
    """
    if cdr.dialplan_number:
        return cdr.dialplan_name, cdr.dialplan_number
    shown_numbers = (cdr.calling_extension, cdr.source)
    own_numbers = (number for number in shown_numbers if is_device_of(cdr.channel, number))
    endpoint_number = next(own_numbers, cdr.channel.number)
    starts = (cel for cel in cels if cel.name == "CHAN_START" and cel.channel == cdr.channel and cel.caller_number)
    start = next(starts, None)
    if start is not None and (not endpoint_number or endpoint_number.endswith(start.caller_number)):
        return start.caller_name, start.caller_number
    is_own_name = cdr.source == extract_number(cdr.caller_id) == endpoint_number
    shown_name = extract_name(cdr.caller_id.replace('"', "")) if is_own_name else ""
    return shown_name, endpoint_number


# What the dialplan does afterwards.


def _find_previous_row(rows: Sequence[CallRow], cdr: Cdr) -> CallRow | None:
    """Return the row of the party that the caller tried before, if this CDR, which has no called channel, only records
    the follow-up.
    """
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
    """Return whether a row is that of a party that the caller, or the same member's Local channel, tried before."""
    if row.start > cdr.start:
        return False
    if cdr.group_application:
        return row.kind == "member" and row.cdr.local_channel == cdr.local_channel
    return row.cdr.channel == cdr.channel and (row.kind == "party" or is_own_call(row))


def _with_voicemail(row: CallRow, cdr: Cdr) -> CallRow:
    """Mark the row as answered by the party's mailbox."""
    return msgspec.structs.replace(
        row, status=VOICEMAIL, talk=cdr.talk, duration=seconds_between(row.start, cdr.end), recording=cdr.recording
    )
