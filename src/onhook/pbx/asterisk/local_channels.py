"""Join the two halves of Local channels: each CDR to one gets the party to which it leads.

A Local channel (`Local/…`) is no party. Asterisk writes a CDR for the caller and its first half, and one for each
party that the second half called, or machine that answered there: a mailbox, a queue, a conference, an IVR.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import msgspec

from onhook.cdr.call_details import ANSWERED
from onhook.pbx.asterisk.applications import MACHINE_APPLICATIONS, rings_members
from onhook.pbx.asterisk.call import Cdr, seconds_between

LOCAL_CHANNELS_MAX = 10
"""Number of Local channels joined in a row: a call forwarded in a circle must end."""


def resolve_local_channels(cdrs: Sequence[Cdr]) -> Iterator[Cdr]:
    """Replace each Local channel by the channel to which it leads."""
    inner_cdrs: dict[str, list[Cdr]] = {}
    entered_pairs = {cdr.dst_channel.local_pair for cdr in cdrs if cdr.dst_channel.is_local}
    for cdr in cdrs:
        if cdr.channel.is_local and cdr.channel.local_pair in entered_pairs:
            inner_cdrs.setdefault(cdr.channel.local_pair, []).append(cdr)
    outer_cdrs = [cdr for cdr in cdrs if cdr.channel.local_pair not in entered_pairs or not cdr.channel.is_local]
    outer_cdrs += [
        _turn_around(cdr, pair_cdrs)
        for pair_cdrs in inner_cdrs.values()
        for cdr in pair_cdrs
        if cdr.channel.half == "1" and cdr.dst_channel and not cdr.dst_channel.is_local
    ]
    for cdr in _separate_overlapping(outer_cdrs):
        yield from _follow_local_channel(cdr, inner_cdrs, LOCAL_CHANNELS_MAX)


def _turn_around(cdr: Cdr, pair_cdrs: Sequence[Cdr]) -> Cdr:
    """Return a CDR from a Local channel to a party as one from the party: that of a party which the caller transferred
    to a number that was called through the Local channel.
    """
    far_cdr = next((far_cdr for far_cdr in pair_cdrs if far_cdr.channel.half == "2"), None)
    dialling_cdr = cdr if far_cdr is None else far_cdr
    return msgspec.structs.replace(
        cdr,
        channel=cdr.dst_channel,
        dst_channel=cdr.channel,
        source=cdr.dst_channel.number or dialling_cdr.source,
        caller_id=dialling_cdr.caller_id,
        application=dialling_cdr.application,
        application_data=dialling_cdr.application_data,
    )


def _separate_overlapping(cdrs: Sequence[Cdr]) -> Iterator[Cdr]:
    """Separate parties that used one Local channel, as in an attended transfer: each begins when the one
    before has left.
    """
    left_at: dict[str, datetime] = {}
    for cdr in sorted(cdrs, key=lambda cdr: (cdr.end, cdr.start)):
        start = left_at.get(cdr.dst_channel.local_pair, cdr.start)
        if cdr.dst_channel.is_local:
            left_at[cdr.dst_channel.local_pair] = cdr.end
        if start <= cdr.start:
            yield cdr
            continue
        duration = seconds_between(start, cdr.end)
        yield msgspec.structs.replace(cdr, start=start, duration=duration, talk=min(cdr.talk, duration))


def _follow_local_channel(cdr: Cdr, inner_cdrs: Mapping[str, Sequence[Cdr]], depth_left: int) -> Iterator[Cdr]:
    reached_cdrs = _list_reached(cdr, inner_cdrs.get(cdr.dst_channel.local_pair, ())) if depth_left else []
    if not reached_cdrs:
        yield cdr
    for reached_cdr in reached_cdrs:
        yield from _follow_local_channel(_join_through_local(cdr, reached_cdr), inner_cdrs, depth_left - 1)


def _list_reached(cdr: Cdr, pair_cdrs: Sequence[Cdr]) -> list[Cdr]:
    """Return the CDRs of the second half: those of parties that it called, and of machines, which have no called
    channel. Where it called no party, what answered the caller is no party, whatever the application.
    """
    half_cdrs = [half_cdr for half_cdr in pair_cdrs if half_cdr.channel.half == "2"]
    has_party = any(half_cdr.dst_channel for half_cdr in half_cdrs)
    is_answered = not has_party and cdr.disposition == ANSWERED
    return [
        half_cdr
        for half_cdr in half_cdrs
        if half_cdr.dst_channel
        or half_cdr.application in MACHINE_APPLICATIONS
        or (is_answered and half_cdr.disposition == ANSWERED)
    ]


def _join_through_local(cdr: Cdr, inner_cdr: Cdr) -> Cdr:
    """Join the caller of one CDR with the callee of another behind a Local channel. A party is a member of the queue or
    group that called the Local channel; a machine is what it is, though the queue or group called it.
    """
    is_member = rings_members(cdr)
    is_machine = not inner_cdr.dst_channel
    called_cdr = cdr if is_member and not is_machine else inner_cdr
    group_cdr = cdr if is_member and is_machine else None
    return msgspec.structs.replace(
        cdr,
        dst_channel=inner_cdr.dst_channel,
        destination=called_cdr.destination,
        application=called_cdr.application,
        application_data=called_cdr.application_data,
        group_application=group_cdr.application if group_cdr else cdr.group_application,
        group_data=group_cdr.application_data if group_cdr else cdr.group_data,
        group_destination=group_cdr.destination if group_cdr else cdr.group_destination,
        inner_destination=inner_cdr.inner_destination or inner_cdr.destination,
        inner_data=inner_cdr.inner_data or inner_cdr.application_data,
        outer_destination=cdr.outer_destination or cdr.destination,
        local_channel=cdr.local_channel or cdr.dst_channel,
        start=max(cdr.start, inner_cdr.start),
        answer=inner_cdr.answer,
        end=min(cdr.end, inner_cdr.end),
        duration=min(cdr.duration, inner_cdr.duration),
        talk=min(cdr.talk, inner_cdr.talk),
        disposition=inner_cdr.disposition,
    )
