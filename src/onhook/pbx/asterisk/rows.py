"""CDRs as the rows of a call: one for each party that was tried, as the original PBX reports them (yeastar-p-series.md
10.1).

Asterisk writes a CDR for each pair of parties. Laws: what a row is called and when it begins follows from the CDRs
alone, so that a call read from a file has the same rows; the order of the CDRs does not matter.

- Who was called is who the other channel belongs to, for the `Destination` of a CDR changes with a transfer; it counts
  for trunks, and where there is no other channel.
- A detour (`Local/…`) is no party: its two halves are joined.
- A conference is who was called by each caller in it, whoever else was there.
- A queue, and a ring group, has a row of its own beside those of its members.
- What the dialplan does after a party could not be reached belongs to that party's row: `Busy`, `Hangup`, and
  `VoiceMail`, which makes the row a VOICEMAIL.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from onhook.pbx.asterisk.call import AsteriskCall, CallHeader, Cdr
from onhook.pbx.asterisk.channels import Channel, is_dialled

ANSWERED, NO_ANSWER, FAILED, VOICEMAIL = "ANSWERED", "NO ANSWER", "FAILED", "VOICEMAIL"

LOCAL_CHANNELS_MAX = 10
"""Halves joined one after the other: a call forwarded in a circle must end."""

QUEUE_APPLICATION, VOICEMAIL_APPLICATION = "Queue", "VoiceMail"
CALLEE_APPLICATIONS = frozenset({"AppDial", "AppQueue"})
"""Applications of a channel that was called: its own CDR tells nothing that the caller's does not."""

CONFERENCE_APPLICATIONS = frozenset({"ConfBridge", "MeetMe"})
"""Applications in which a caller talks with whoever else is there."""

_STATUS_BY_DISPOSITION: Mapping[str, str] = {"CONGESTION": FAILED, "NOANSWER": NO_ANSWER}

RowKind = Literal["party", "member", "queue", "group", "machine"]


class CallRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a party, a member of a queue or group, that queue or group itself, or a machine.

    Durations are whole seconds. `callee` is the channel that was called, or the empty channel.
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
        """When it ended."""
        return self.start + timedelta(seconds=self.duration)


def build_rows(call: AsteriskCall) -> list[CallRow]:
    """The rows that the CDRs of a call make, in no order."""
    cdrs = sorted(_merge_conference_cdrs(_resolve_local_channels(_drop_callee_cdrs(call.cdrs))), key=_cdr_sort_key)
    rows: list[CallRow] = []
    for cdr in cdrs:
        previous_row = _find_previous_row(rows, cdr)
        if previous_row is None:
            rows.append(_build_row(cdr, call.header))
        elif cdr.application == VOICEMAIL_APPLICATION and cdr.disposition == ANSWERED:
            rows[rows.index(previous_row)] = _with_voicemail(previous_row, cdr)
    return [*rows, *_build_group_rows(rows)]


def seconds_between(start: datetime, end: datetime) -> int:
    """Whole seconds, none where the end is first."""
    return max(0, int((end - start).total_seconds()))


def is_trunk(channel: Channel, header: CallHeader) -> bool:
    """Whether a channel leads outside."""
    return bool(channel) and channel.endpoint in header.trunks


def _cdr_sort_key(cdr: Cdr) -> tuple[datetime, bool, str, str, datetime]:
    """By begin; of those of one second, what comes after a party was tried comes last."""
    return cdr.start, not cdr.dst_channel, cdr.channel.name, cdr.dst_channel.name, cdr.end


# ---------------------------------------------------------------- which CDRs make rows


def _drop_callee_cdrs(cdrs: Sequence[Cdr]) -> list[Cdr]:
    """Without those that channels which were called have of themselves, unless nothing else is left."""
    return [cdr for cdr in cdrs if cdr.dst_channel or cdr.application not in CALLEE_APPLICATIONS] or list(cdrs)


def _merge_conference_cdrs(cdrs: Iterable[Cdr]) -> Iterator[Cdr]:
    """Of a conference one for each caller, and none of them called another: Asterisk writes one for each pair."""
    merged_cdrs: dict[tuple[str, str], Cdr] = {}
    for cdr in cdrs:
        if cdr.application not in CONFERENCE_APPLICATIONS:
            yield cdr
            continue
        key = (cdr.channel.name, cdr.destination)
        merged_cdrs[key] = _merge_cdrs(merged_cdrs.get(key, cdr), cdr)
    yield from merged_cdrs.values()


def _merge_cdrs(first_cdr: Cdr, second_cdr: Cdr) -> Cdr:
    """From the first moment of two to the last."""
    start, end = min(first_cdr.start, second_cdr.start), max(first_cdr.end, second_cdr.end)
    answer = min((cdr.answer for cdr in (first_cdr, second_cdr) if cdr.answer is not None), default=None)
    return msgspec.structs.replace(
        first_cdr,
        dst_channel=Channel(""),
        start=start,
        answer=answer,
        end=end,
        duration=seconds_between(start, end),
        talk=0 if answer is None else seconds_between(answer, end),
    )


def _resolve_local_channels(cdrs: Sequence[Cdr]) -> Iterator[Cdr]:
    """Each detour replaced by where it leads to."""
    inner_cdrs: dict[str, list[Cdr]] = {}
    entered_pairs = {cdr.dst_channel.local_pair for cdr in cdrs if cdr.dst_channel.is_local}
    for cdr in cdrs:
        if cdr.channel.is_local and cdr.channel.local_pair in entered_pairs:
            inner_cdrs.setdefault(cdr.channel.local_pair, []).append(cdr)
    outer_cdrs = [cdr for cdr in cdrs if cdr.channel.local_pair not in entered_pairs or not cdr.channel.is_local]
    for cdr in _separate_overlapping(outer_cdrs):
        yield from _follow_local_channel(cdr, inner_cdrs, LOCAL_CHANNELS_MAX)


def _separate_overlapping(cdrs: Sequence[Cdr]) -> Iterator[Cdr]:
    """Of several who were in one detour, as in an attended transfer, each begins when the one before has left."""
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
    next_cdrs = [
        next_cdr
        for next_cdr in inner_cdrs.get(cdr.dst_channel.local_pair, ())
        if next_cdr.channel.half == "2" and next_cdr.dst_channel
    ]
    if not next_cdrs or not depth_left:
        yield cdr
    for next_cdr in next_cdrs if depth_left else ():
        yield from _follow_local_channel(_join_through_local(cdr, next_cdr), inner_cdrs, depth_left - 1)


def _join_through_local(cdr: Cdr, inner_cdr: Cdr) -> Cdr:
    """The caller of one CDR with the callee of another, which lies behind a detour."""
    is_queue = cdr.application == QUEUE_APPLICATION
    return msgspec.structs.replace(
        cdr,
        dst_channel=inner_cdr.dst_channel,
        destination=cdr.destination if is_queue else inner_cdr.destination,
        application=cdr.application if is_queue else inner_cdr.application,
        application_data=cdr.application_data if is_queue else inner_cdr.application_data,
        start=max(cdr.start, inner_cdr.start),
        answer=inner_cdr.answer,
        end=min(cdr.end, inner_cdr.end),
        duration=min(cdr.duration, inner_cdr.duration),
        talk=min(cdr.talk, inner_cdr.talk),
        disposition=inner_cdr.disposition,
    )


# ---------------------------------------------------------------- one row


def _build_row(cdr: Cdr, header: CallHeader) -> CallRow:
    is_member = bool(cdr.dst_channel) and (cdr.application == QUEUE_APPLICATION or _rings_multiple(cdr))
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
        # A queue counts how long its agent rang, and a CDR does not say it.
        agent_ring_time=None if cdr.application == QUEUE_APPLICATION else 0,
    )


def _machine_kind(cdr: Cdr) -> RowKind:
    return "queue" if cdr.application == QUEUE_APPLICATION else "machine"


def _status(cdr: Cdr) -> str:
    if cdr.application == VOICEMAIL_APPLICATION and cdr.disposition == ANSWERED:
        return VOICEMAIL
    if cdr.application == QUEUE_APPLICATION and not cdr.dst_channel:
        # It was the PBX that answered, perhaps long before: no agent was even called.
        return NO_ANSWER
    return _STATUS_BY_DISPOSITION.get(cdr.disposition, cdr.disposition)


def _called_party(cdr: Cdr, header: CallHeader) -> str:
    """Who or what was called."""
    dialled = cdr.destination if is_dialled(cdr.destination) else ""
    if is_trunk(cdr.dst_channel, header):
        return dialled or _parse_dialled_number(cdr.application_data) or cdr.dst_channel.endpoint
    if cdr.dst_channel:
        return cdr.dst_channel.number or dialled or cdr.dst_channel.endpoint or cdr.dst_channel.name
    if cdr.application == VOICEMAIL_APPLICATION:
        return dialled or cdr.application_data.partition("@")[0]
    return dialled or cdr.application or cdr.destination


def _parse_dialled_number(dial_string: str) -> str:
    """`5550123` of `PJSIP/5550123@trunk-a,20`."""
    return dial_string.partition(",")[0].partition("@")[0].rpartition("/")[2]


def _did(cdr: Cdr, header: CallHeader) -> str:
    """What the world dialled: said by the CDR itself, or where it came in over a trunk and went no further."""
    if cdr.did or not is_trunk(cdr.channel, header):
        return cdr.did
    return cdr.destination if cdr.context in header.inbound_contexts and is_dialled(cdr.destination) else ""


def _rings_multiple(cdr: Cdr) -> bool:
    return cdr.application == "Dial" and "&" in cdr.application_data.partition(",")[0]


# ---------------------------------------------------------------- what belongs together


def _find_previous_row(rows: Sequence[CallRow], cdr: Cdr) -> CallRow | None:
    """The row of the party that the caller tried before, where this CDR only says what was done then."""
    if cdr.dst_channel:
        return None
    row = next((row for row in reversed(rows) if row.cdr.channel == cdr.channel and row.kind == "party"), None)
    is_same_party = row is not None and (cdr.destination == row.cdr.destination or not is_dialled(cdr.destination))
    return row if is_same_party else None


def _with_voicemail(row: CallRow, cdr: Cdr) -> CallRow:
    """The party did not answer, its mailbox did."""
    return msgspec.structs.replace(
        row, status=VOICEMAIL, talk=cdr.talk, duration=seconds_between(row.start, cdr.end), recording=cdr.recording
    )


def _build_group_rows(rows: Sequence[CallRow]) -> Iterator[CallRow]:
    """A row for each queue and ring group, above those of its members."""
    groups: dict[tuple[str, str, str], list[CallRow]] = {}
    for row in rows:
        if row.kind == "member" and is_dialled(row.cdr.destination):
            groups.setdefault((row.cdr.channel.name, row.cdr.application_data, row.cdr.destination), []).append(row)
    for (_, _, number), members in groups.items():
        # A person with two telephones, or a DID that rings several: the members say it all.
        if number not in {member.call_to for member in members} and number != members[0].did:
            yield build_group_row(number, members)


def build_group_row(number: str, members: Iterable[CallRow]) -> CallRow:
    """The row of a queue or ring group with these members: from its first ring to its last word."""
    sorted_members = sorted(members, key=lambda row: (row.start, row.call_to))
    first_member, last_member = sorted_members[0], max(sorted_members, key=lambda row: row.end)
    answered_members = [row for row in sorted_members if row.status == ANSWERED]
    is_queue = first_member.cdr.application == QUEUE_APPLICATION
    return CallRow(
        cdr=first_member.cdr,
        kind="queue" if is_queue else "group",
        callee=Channel(""),
        call_to=number,
        start=first_member.start,
        duration=max(last_member.duration, seconds_between(first_member.start, last_member.end)),
        talk=max((row.talk for row in answered_members), default=0),
        status=ANSWERED if answered_members else NO_ANSWER,
        did=first_member.did,
        recording=next((row.recording for row in answered_members), ""),
        agent_ring_time=None if is_queue else 0,
    )
