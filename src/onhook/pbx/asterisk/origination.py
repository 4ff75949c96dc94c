"""Calls that the PBX begins by itself: click-to-call, call files, dialers (yeastar-p-series.md 10.1).

Asterisk calls a first party, and connects it to an extension or an application when it answers. Its CDRs show the first
party as the caller, inside or outside the office, and the number that was set for display as its number; through a
Local channel they show two halves of one call. Invariants: the caller is the telephone inside the office, whether it or
the customer was called first; a first party that does not answer is an attempt of that telephone, not a call from the
customer. A customer who was called first and reached a queue or ring group is called by the member that answered; where
none did, by the queue or group, without an answer; a customer who reached another machine, by that.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from onhook.cdr.call_details import ANSWERED, NO_ANSWER
from onhook.cdr.identity import extract_name, extract_number
from onhook.pbx.asterisk.applications import (
    DIAL_APPLICATIONS,
    MACHINE_APPLICATIONS,
    ORIGINATION_APPLICATION,
    QUEUE_APPLICATION,
    as_group_cdr,
    machine_name,
    rings_members,
)
from onhook.pbx.asterisk.call import AsteriskCall, CallHeader, Cdr
from onhook.pbx.asterisk.channels import NO_CHANNEL, Channel, is_device_of, is_dialled

_CONNECTING_APPLICATIONS = frozenset({"", "Dial", "AppDial", ORIGINATION_APPLICATION})
_CHANNEL_ID = re.compile(r".*\.([0-9]{1,18})")
"""The id of a channel ends in its number since Asterisk was started."""

_WITHOUT_CALLEE: Mapping[str, Any] = {"dst_channel": NO_CHANNEL, "inner_destination": "", "inner_data": ""}


def resolve_origination(cdrs: Sequence[Cdr], call: AsteriskCall) -> list[Cdr]:
    """Return the CDRs with the telephone as the caller; those of a call that a telephone or trunk began, unchanged.
    `cdrs` are those of the call after `merge_waits`, with the parties behind Local channels.
    """
    first_channels, pairs = _find_first_channels(call), _find_called_pairs(cdrs)
    resolved_cdrs: list[Cdr] = []
    for channel, channel_cdrs in _group_by_channel(cdrs, without_pairs=pairs).items():
        if channel in first_channels:
            own_starts = (cdr.start for cdr in call.cdrs if cdr.channel.name == channel)
            start = min(own_starts, default=channel_cdrs[0].start)
            resolved_cdrs += _resolve_direct(channel_cdrs, start, call.header)
        else:
            resolved_cdrs += channel_cdrs
    for pair in pairs:
        resolved_cdrs += _resolve_pair([cdr for cdr in cdrs if cdr.channel.local_pair == pair], call.header)
    return resolved_cdrs


def _find_first_channels(call: AsteriskCall) -> set[str]:
    """Return the names of the channels of first parties."""
    events = [(cdr.channel, cdr.application) for cdr in call.cdrs]
    events += ((cel.channel, cel.application) for cel in call.cels)
    return {channel.name for channel, application in events if application == ORIGINATION_APPLICATION}


def _find_called_pairs(cdrs: Sequence[Cdr]) -> list[str]:
    """Return the Local channels that no other channel called: the PBX did."""
    entered_pairs = {cdr.dst_channel.local_pair for cdr in cdrs}
    halves: dict[str, list[Cdr]] = {}
    for cdr in cdrs:
        if cdr.channel.is_local and cdr.channel.local_pair not in entered_pairs:
            halves.setdefault(cdr.channel.local_pair, []).append(cdr)
    return [pair for pair, pair_cdrs in halves.items() if not all(map(_is_behind_another_channel, pair_cdrs))]


def _is_behind_another_channel(cdr: Cdr) -> bool:
    """Return whether the second half of a Local channel was called by a channel whose own CDR came in another part of
    the call: a call that the PBX began has the id of the first half, and the second half has the next one.
    """
    own_id, first_id = _CHANNEL_ID.fullmatch(cdr.unique_id), _CHANNEL_ID.fullmatch(cdr.linked_id)
    if cdr.channel.half != "2" or own_id is None or first_id is None:
        return False
    return int(own_id[1]) - int(first_id[1]) > 1


def _group_by_channel(cdrs: Sequence[Cdr], *, without_pairs: Collection[str]) -> Mapping[str, Sequence[Cdr]]:
    groups: dict[str, list[Cdr]] = {}
    for cdr in cdrs:
        if not cdr.channel.is_local or cdr.channel.local_pair not in without_pairs:
            groups.setdefault(cdr.channel.name, []).append(cdr)
    return groups


def merge_waits(cdrs: Sequence[Cdr], call: AsteriskCall) -> Iterator[Cdr]:
    """Yield the CDRs, those of first parties that were connected by an application without the CDR of the time before:
    the call to the second party begins with it. `cdrs` are those of the call.
    """
    first_channels, pairs = _find_first_channels(call), _find_called_pairs(cdrs)
    yield from (cdr for cdr in cdrs if cdr.channel.is_local and cdr.channel.local_pair in pairs)
    for channel, channel_cdrs in _group_by_channel(cdrs, without_pairs=pairs).items():
        calls = sorted((cdr for cdr in channel_cdrs if cdr.dst_channel), key=lambda cdr: cdr.start)
        waits = [
            cdr for cdr in channel_cdrs if calls and _is_wait(cdr, calls[0], is_first_party=channel in first_channels)
        ]
        yield from (cdr for cdr in channel_cdrs if cdr not in waits and cdr not in calls[:1])
        if calls:
            yield _begin_at(calls[0], min(cdr.start for cdr in (*waits, calls[0])))


def _is_wait(cdr: Cdr, call: Cdr, *, is_first_party: bool) -> bool:
    """Return whether a CDR is only the time before a call of the same channel. A channel that is not known to be that
    of a first party must dial the same without having dialled an extension.
    """
    if cdr.dst_channel or cdr.application not in _CONNECTING_APPLICATIONS or cdr.start > call.start:
        return False
    is_same_dial = cdr.application_data == call.application_data and cdr.disposition == ANSWERED
    return is_first_party or (is_same_dial and not is_dialled(cdr.destination))


def _resolve_direct(cdrs: Sequence[Cdr], start: datetime, header: CallHeader) -> Iterator[Cdr]:
    """Resolve the CDRs of a first party without a Local channel, who was called at `start`."""
    is_customer = _is_outside(cdrs[0].channel, header)
    first_start = min(cdr.start for cdr in cdrs)
    cdrs = [_begin_at(cdr, start) if cdr.start == first_start else cdr for cdr in cdrs]
    for cdr in _merge_members(cdrs) if is_customer else cdrs:
        if cdr.application == ORIGINATION_APPLICATION and not cdr.dst_channel:
            make_call = _unanswered_customer if is_customer else _attempt
            yield make_call(cdr, cdr.channel, cdr.source)
        elif is_customer:
            yield _reverse(cdr, _customer_number(cdr, cdr.source), header)
        else:
            yield msgspec.structs.replace(cdr, origination="call")


def _merge_members(cdrs: Sequence[Cdr]) -> Iterator[Cdr]:
    """Yield the CDRs of a customer who was called first: of a queue or ring group, one for each member, or mailbox of
    one, that answered, from the first ring, and one without a called channel for the time in which none did.
    """
    groups: dict[tuple[str, str, str], list[Cdr]] = {}
    for cdr in sorted(cdrs, key=lambda cdr: (cdr.start, cdr.end, cdr.dst_channel.name)):
        group_cdr = as_group_cdr(cdr)
        if rings_members(group_cdr):
            key = (group_cdr.application, group_cdr.application_data, group_cdr.destination)
            groups.setdefault(key, []).append(cdr)
        elif not _is_follow_up(cdr, cdrs):
            yield cdr
    for group_cdrs in groups.values():
        answered_cdrs = [
            cdr for cdr in group_cdrs if (cdr.dst_channel or cdr.group_application) and cdr.disposition == ANSWERED
        ]
        waits = [cdr for cdr in group_cdrs if cdr not in answered_cdrs]
        for cdr in answered_cdrs:
            own_waits = [wait for wait in waits if wait.start < cdr.end or wait.start <= cdr.start]
            waits = [wait for wait in waits if wait not in own_waits]
            yield _begin_at(cdr, min(part.start for part in (cdr, *own_waits)))
        if waits:
            end = max(cdr.end for cdr in waits)
            duration = int((end - waits[0].start).total_seconds())
            yield msgspec.structs.replace(as_group_cdr(waits[0]), **_WITHOUT_CALLEE, end=end, duration=duration)


def _begin_at(cdr: Cdr, start: datetime) -> Cdr:
    """Return a CDR that begins at an earlier time and ends at the same."""
    duration = cdr.duration + int((cdr.start - start).total_seconds())
    return msgspec.structs.replace(cdr, start=start, duration=duration)


def _is_follow_up(cdr: Cdr, cdrs: Sequence[Cdr]) -> bool:
    """Return whether a CDR only records what the dialplan did after a party was called, such as to hang up."""
    if cdr.dst_channel or cdr.application in MACHINE_APPLICATIONS:
        return False
    calls = [call for call in cdrs if call.dst_channel and call.start <= cdr.start]
    return any(call.destination == cdr.destination or not is_dialled(cdr.destination) for call in calls)


def _resolve_pair(cdrs: Sequence[Cdr], header: CallHeader) -> Iterator[Cdr]:
    """Resolve the halves of a Local channel that the PBX called: the second half reached the first party, the first
    half the other one. A Local channel without any party, such as one that only runs a program, is no call.
    """
    if not any(cdr.dst_channel for cdr in cdrs):
        return
    first_cdr = max(
        (cdr for cdr in cdrs if cdr.channel.half == "2"),
        key=lambda cdr: (cdr.disposition == ANSWERED, cdr.talk),
        default=None,
    )
    other_cdrs = [cdr for cdr in cdrs if cdr.channel.half == "1" and cdr.application != ORIGINATION_APPLICATION]
    if first_cdr is None:
        yield from other_cdrs
        return
    if not other_cdrs or (first_cdr.dst_channel and first_cdr.disposition != ANSWERED):
        yield _unanswered_or_alone(first_cdr, header)
        return
    for cdr in _merge_members(other_cdrs) if _is_outside(first_cdr.dst_channel, header) else other_cdrs:
        yield _join_halves(first_cdr, cdr, header)


def _unanswered_or_alone(first_cdr: Cdr, header: CallHeader) -> Cdr:
    """Return an attempt to reach the first party, or the first party alone where no second half was reported."""
    if not first_cdr.dst_channel or first_cdr.disposition == ANSWERED:
        return msgspec.structs.replace(first_cdr, origination="call")
    if _is_outside(first_cdr.dst_channel, header):
        return _unanswered_customer(first_cdr, first_cdr.dst_channel, first_cdr.destination)
    return _attempt(first_cdr, first_cdr.dst_channel, first_cdr.source)


def _join_halves(first_cdr: Cdr, cdr: Cdr, header: CallHeader) -> Cdr:
    """Return the CDR of one half with the channel that the other half reached as its caller."""
    start, end = min(first_cdr.start, cdr.start), max(first_cdr.end, cdr.end)
    whole_cdr = msgspec.structs.replace(
        cdr,
        start=start,
        end=end,
        duration=max(cdr.duration, first_cdr.duration),
        caller_id=first_cdr.caller_id,
        calling_extension=first_cdr.destination,
        origination="call",
        **_shown_identity(cdr, first_cdr.dst_channel),
    )
    if not first_cdr.dst_channel:
        # The first party is a machine, such as a conference, into which the other one is called.
        machine_cdr = msgspec.structs.replace(
            whole_cdr,
            channel=cdr.dst_channel,
            **_WITHOUT_CALLEE,
            destination=first_cdr.destination,
            application=first_cdr.application,
            application_data=first_cdr.application_data,
        )
        return _reverse(machine_cdr, cdr.destination, header) if _is_outside(cdr.dst_channel, header) else machine_cdr
    whole_cdr = msgspec.structs.replace(whole_cdr, channel=first_cdr.dst_channel)
    if not _is_outside(first_cdr.dst_channel, header):
        return whole_cdr
    return _reverse(whole_cdr, _customer_number(first_cdr, first_cdr.destination), header)


def _shown_identity(cdr: Cdr, telephone: Channel) -> dict[str, str]:
    """Return name and number of a telephone where a CDR shows them to the other party."""
    is_own = bool(telephone.number) and extract_number(cdr.caller_id) == telephone.number and not cdr.dialplan_number
    name = extract_name(cdr.caller_id.replace('"', ""))
    return {"dialplan_number": telephone.number, "dialplan_name": name} if is_own else {}


def _reverse(cdr: Cdr, customer_number: str, header: CallHeader) -> Cdr:
    """Return the CDR with a customer, who was called first, as the called party; unchanged between two customers. The
    caller is the telephone that the customer reached, else the machine: a queue or an extension did not answer.
    """
    if _is_outside(cdr.dst_channel, header):
        return msgspec.structs.replace(cdr, origination="call")
    if cdr.dst_channel:
        caller = cdr.dst_channel
        dialled = cdr.destination if is_dialled(cdr.destination) and not rings_members(cdr) else ""
        device_of = cdr.destination if is_device_of(caller, cdr.destination) else ""
        source = device_of or caller.number or dialled or caller.endpoint
    else:
        source = machine_name(cdr)
        caller = Channel("", "", source)
        if cdr.application == QUEUE_APPLICATION or cdr.application in DIAL_APPLICATIONS:
            cdr = msgspec.structs.replace(cdr, disposition=NO_ANSWER, answer=None, talk=0)
    return msgspec.structs.replace(
        cdr,
        channel=caller,
        dst_channel=cdr.channel,
        source=source,
        caller_id="",
        dialplan_number="",
        dialplan_name="",
        destination=customer_number,
        application_data="",
        inner_destination="",
        inner_data="",
        group_application="",
        origination="call",
        is_reversed=True,
    )


def _attempt(cdr: Cdr, telephone: Channel, shown_number: str) -> Cdr:
    """Return the attempt of a telephone to call the number that was set for display."""
    own_number = cdr.destination if is_device_of(telephone, cdr.destination) else telephone.number
    return msgspec.structs.replace(
        cdr,
        channel=telephone,
        calling_extension=cdr.destination,
        **_WITHOUT_CALLEE,
        destination=shown_number if shown_number != own_number else own_number,
        application=ORIGINATION_APPLICATION,
        origination="attempt",
    )


def _unanswered_customer(cdr: Cdr, customer: Channel, number: str) -> Cdr:
    """Return the call to a customer who was called first, at this number as far as it is known, and did not answer: it
    has no caller yet, and the number that was set for display may be the customer's.
    """
    return msgspec.structs.replace(
        cdr,
        channel=NO_CHANNEL,
        dst_channel=customer,
        source="",
        caller_id="",
        destination=_customer_number(cdr, number),
        application_data="",
        origination="call",
    )


def _customer_number(cdr: Cdr, number: str) -> str:
    """Return the number at which a customer was called, as far as the PBX shows it: dialled, or set for display."""
    if number and is_dialled(number) and number != cdr.dst_channel.number:
        return number
    shown_number = extract_number(cdr.caller_id)
    return shown_number if shown_number != cdr.dst_channel.number else ""


def _is_outside(channel: Channel, header: CallHeader) -> bool:
    return bool(channel) and channel.endpoint in header.trunks
