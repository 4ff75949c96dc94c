"""Calls that the PBX begins by itself: click-to-call, call files, dialers (yeastar-p-series.md 10.1).

Asterisk calls a first party, and connects it to an extension or an application when it answers. Its CDRs show the first
party as the caller, inside or outside the office, and the number that was set for display as its number; through a
Local channel they show two halves of one call. Invariants: the caller is the telephone inside the office, whether it or
the customer was called first; a first party that does not answer is an attempt of that telephone, not a call from the
customer.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

import msgspec

from onhook.cdr.identity import extract_name, extract_number
from onhook.pbx.asterisk.applications import ORIGINATION_APPLICATION
from onhook.pbx.asterisk.call import CallHeader, Cdr, Cel
from onhook.pbx.asterisk.channels import NO_CHANNEL, Channel, is_dialled

_CONNECTING_APPLICATIONS = frozenset({"", "Dial", "AppDial", ORIGINATION_APPLICATION})
_ANSWERED = "ANSWERED"


def resolve_origination(cdrs: Sequence[Cdr], cels: Sequence[Cel], header: CallHeader) -> list[Cdr]:
    """Return the CDRs with the telephone as the caller; those of a call that a telephone or trunk began, unchanged."""
    first_channels = {cdr.channel.name for cdr in cdrs if cdr.application == ORIGINATION_APPLICATION}
    first_channels |= {cel.channel.name for cel in cels if cel.application == ORIGINATION_APPLICATION}
    entered_pairs = {cdr.dst_channel.local_pair for cdr in cdrs}
    pairs = dict.fromkeys(
        cdr.channel.local_pair for cdr in cdrs if cdr.channel.is_local and cdr.channel.local_pair not in entered_pairs
    )
    resolved_cdrs = [cdr for cdr in cdrs if not cdr.channel.is_local or cdr.channel.local_pair not in pairs]
    resolved_cdrs = list(_merge_waits(resolved_cdrs, first_channels))
    resolved_cdrs = [
        _resolve_direct(cdr, header) if cdr.channel.name in first_channels else cdr for cdr in resolved_cdrs
    ]
    for pair in pairs:
        resolved_cdrs += _resolve_pair([cdr for cdr in cdrs if cdr.channel.local_pair == pair], header)
    return resolved_cdrs


def _merge_waits(cdrs: Sequence[Cdr], first_channels: Collection[str]) -> Iterator[Cdr]:
    """Yield the CDRs, those of first parties that were connected by an application without the CDR of the time before:
    the call to the second party begins with it.
    """
    for channel, channel_cdrs in _group_by_channel(cdrs).items():
        calls = sorted((cdr for cdr in channel_cdrs if cdr.dst_channel), key=lambda cdr: cdr.start)
        waits = [
            cdr for cdr in channel_cdrs if calls and _is_wait(cdr, calls[0], is_first_party=channel in first_channels)
        ]
        yield from (cdr for cdr in channel_cdrs if cdr not in waits and cdr not in calls[:1])
        if calls:
            start = min(cdr.start for cdr in (*waits, calls[0]))
            duration = calls[0].duration + int((calls[0].start - start).total_seconds())
            yield msgspec.structs.replace(calls[0], start=start, duration=duration)


def _is_wait(cdr: Cdr, call: Cdr, *, is_first_party: bool) -> bool:
    """Return whether a CDR is only the time before a call of the same channel. A channel that is not known to be that
    of a first party must dial the same without having dialled an extension.
    """
    if cdr.dst_channel or cdr.application not in _CONNECTING_APPLICATIONS or cdr.start > call.start:
        return False
    is_same_dial = cdr.application_data == call.application_data and cdr.disposition == _ANSWERED
    return is_first_party or (is_same_dial and not is_dialled(cdr.destination))


def _group_by_channel(cdrs: Sequence[Cdr]) -> Mapping[str, Sequence[Cdr]]:
    groups: dict[str, list[Cdr]] = {}
    for cdr in cdrs:
        groups.setdefault(cdr.channel.name, []).append(cdr)
    return groups


def _resolve_direct(cdr: Cdr, header: CallHeader) -> Cdr:
    """Resolve a CDR whose caller is a first party without a Local channel."""
    if cdr.application == ORIGINATION_APPLICATION and not cdr.dst_channel:
        return _unanswered_customer(cdr) if _is_outside(cdr.channel, header) else _attempt(cdr, cdr.channel, cdr.source)
    if not _is_outside(cdr.channel, header):
        return msgspec.structs.replace(cdr, origination="call")
    return _swap(cdr, _customer_number(cdr, cdr.source), header)


def _resolve_pair(cdrs: Sequence[Cdr], header: CallHeader) -> Iterator[Cdr]:
    """Resolve the halves of a Local channel that the PBX called: the second half reached the first party, the first
    half the other one. A Local channel without any party, such as one that only runs a program, is no call.
    """
    if not any(cdr.dst_channel for cdr in cdrs):
        return
    first_cdr = max(
        (cdr for cdr in cdrs if cdr.channel.half == "2"),
        key=lambda cdr: (cdr.disposition == _ANSWERED, cdr.talk),
        default=None,
    )
    other_cdrs = [cdr for cdr in cdrs if cdr.channel.half == "1" and cdr.application != ORIGINATION_APPLICATION]
    if first_cdr is None:
        yield from other_cdrs
        return
    if not other_cdrs or (first_cdr.dst_channel and first_cdr.disposition != _ANSWERED):
        yield _unanswered_or_alone(first_cdr, header)
        return
    for cdr in other_cdrs:
        yield _join_halves(first_cdr, cdr, header)


def _unanswered_or_alone(first_cdr: Cdr, header: CallHeader) -> Cdr:
    """Return an attempt to reach the first party, or the first party alone where no second half was reported."""
    if not first_cdr.dst_channel or first_cdr.disposition == _ANSWERED:
        return msgspec.structs.replace(first_cdr, origination="call")
    if _is_outside(first_cdr.dst_channel, header):
        return msgspec.structs.replace(first_cdr, origination="call")
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
        origination="call",
        **_shown_identity(cdr, first_cdr.dst_channel),
    )
    if not first_cdr.dst_channel:
        # The first party is a machine, such as a conference, into which the other one is called.
        machine_cdr = msgspec.structs.replace(
            whole_cdr,
            channel=cdr.dst_channel,
            dst_channel=NO_CHANNEL,
            destination=first_cdr.destination,
            application=first_cdr.application,
            application_data=first_cdr.application_data,
        )
        return _swap(machine_cdr, cdr.destination, header) if _is_outside(cdr.dst_channel, header) else machine_cdr
    whole_cdr = msgspec.structs.replace(whole_cdr, channel=first_cdr.dst_channel)
    if not _is_outside(first_cdr.dst_channel, header):
        return whole_cdr
    return _swap(whole_cdr, _customer_number(first_cdr, first_cdr.destination), header)


def _shown_identity(cdr: Cdr, telephone: Channel) -> dict[str, str]:
    """Return name and number of a telephone where a CDR shows them to the other party."""
    is_own = bool(telephone.number) and extract_number(cdr.caller_id) == telephone.number and not cdr.dialplan_number
    name = extract_name(cdr.caller_id.replace('"', ""))
    return {"dialplan_number": telephone.number, "dialplan_name": name} if is_own else {}


def _swap(cdr: Cdr, customer_number: str, header: CallHeader) -> Cdr:
    """Return the CDR with a customer, who was called first, as the called party; unchanged between two customers."""
    if _is_outside(cdr.dst_channel, header):
        return msgspec.structs.replace(cdr, origination="call")
    caller = cdr.dst_channel or Channel("", "", cdr.application_data.partition(",")[0])
    return msgspec.structs.replace(
        cdr,
        channel=caller,
        dst_channel=cdr.channel,
        source=cdr.dst_channel.number or (cdr.destination if is_dialled(cdr.destination) else caller.endpoint),
        caller_id="",
        destination=customer_number,
        application_data="",
        origination="call",
        is_reversed=True,
    )


def _attempt(cdr: Cdr, telephone: Channel, shown_number: str) -> Cdr:
    """Return the attempt of a telephone to call the number that was set for display."""
    own_number = telephone.number
    return msgspec.structs.replace(
        cdr,
        channel=telephone,
        dst_channel=NO_CHANNEL,
        destination=shown_number if shown_number != own_number else own_number,
        application=ORIGINATION_APPLICATION,
        origination="attempt",
    )


def _unanswered_customer(cdr: Cdr) -> Cdr:
    """Return the call to a customer who was called first and did not answer: it has no caller yet, and the number that
    was set for display may be the customer's.
    """
    return msgspec.structs.replace(
        cdr,
        channel=NO_CHANNEL,
        dst_channel=cdr.channel,
        source="",
        caller_id="",
        destination=_customer_number(cdr, cdr.source),
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
