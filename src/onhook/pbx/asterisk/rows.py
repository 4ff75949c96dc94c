"""CDRs as the rows of a call: one for each party that was tried, as the original PBX reports them (PROTOCOL.md 10.1).

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

from onhook.pbx.asterisk.call import AsteriskCall, Cdr, Header
from onhook.pbx.asterisk.channels import Channel, is_dialled

ANSWERED, NO_ANSWER, FAILED, VOICEMAIL = "ANSWERED", "NO ANSWER", "FAILED", "VOICEMAIL"

DETOURS_MAX = 10
"""Halves joined one after the other: a call forwarded in a circle must end."""

QUEUE, VOICEMAIL_APPLICATION = "Queue", "VoiceMail"
OWN_OF_CALLEE = frozenset({"AppDial", "AppQueue"})
"""Applications of a channel that was called: its own CDR tells nothing that the caller's does not."""

CONFERENCES = frozenset({"ConfBridge", "MeetMe"})
"""Applications in which a caller talks with whoever else is there."""

_STATUSES: Mapping[str, str] = {"CONGESTION": FAILED, "NOANSWER": NO_ANSWER}

Kind = Literal["party", "member", "queue", "group", "machine"]


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One row: a party, a member of a queue or group, that queue or group itself, or a machine.

    Durations are whole seconds. `callee` is the channel that was called, or the empty channel.
    """

    cdr: Cdr
    kind: Kind
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


def rows_of(call: AsteriskCall) -> list[Row]:
    """The rows that the CDRs of a call make, in no order."""
    cdrs = sorted(_met(_joined(_of_callers(call.cdrs))), key=_in_order)
    rows: list[Row] = []
    for cdr in cdrs:
        before = _reached_before(rows, cdr)
        if before is None:
            rows.append(_row(cdr, call.header))
        elif cdr.application == VOICEMAIL_APPLICATION and cdr.disposition == ANSWERED:
            rows[rows.index(before)] = _with_message(before, cdr)
    return [*rows, *_heads(rows)]


def seconds_between(begin: datetime, end: datetime) -> int:
    """Whole seconds, none where the end is first."""
    return max(0, int((end - begin).total_seconds()))


def is_trunk(channel: Channel, header: Header) -> bool:
    """Whether a channel leads outside."""
    return bool(channel) and channel.endpoint in header.trunks


def _in_order(cdr: Cdr) -> tuple[datetime, bool, str, str, datetime]:
    """By begin; of those of one second, what comes after a party was tried comes last."""
    return cdr.start, not cdr.dst_channel, cdr.channel.name, cdr.dst_channel.name, cdr.end


# ---------------------------------------------------------------- which CDRs make rows


def _of_callers(cdrs: Sequence[Cdr]) -> list[Cdr]:
    """Without those that channels which were called have of themselves, unless nothing else is left."""
    return [cdr for cdr in cdrs if cdr.dst_channel or cdr.application not in OWN_OF_CALLEE] or list(cdrs)


def _met(cdrs: Iterable[Cdr]) -> Iterator[Cdr]:
    """Of a conference one for each caller, and none of them called another: Asterisk writes one for each pair."""
    met: dict[tuple[str, str], Cdr] = {}
    for cdr in cdrs:
        if cdr.application not in CONFERENCES:
            yield cdr
            continue
        key = (cdr.channel.name, cdr.destination)
        met[key] = _together(met.get(key, cdr), cdr)
    yield from met.values()


def _together(one: Cdr, other: Cdr) -> Cdr:
    """From the first moment of two to the last."""
    start, end = min(one.start, other.start), max(one.end, other.end)
    answer = min((cdr.answer for cdr in (one, other) if cdr.answer is not None), default=None)
    return msgspec.structs.replace(
        one,
        dst_channel=Channel(""),
        start=start,
        answer=answer,
        end=end,
        duration=seconds_between(start, end),
        talk=0 if answer is None else seconds_between(answer, end),
    )


def _joined(cdrs: Sequence[Cdr]) -> Iterator[Cdr]:
    """Each detour replaced by where it leads to."""
    inner: dict[str, list[Cdr]] = {}
    entered = {cdr.dst_channel.detour for cdr in cdrs if cdr.dst_channel.is_local}
    for cdr in cdrs:
        if cdr.channel.is_local and cdr.channel.detour in entered:
            inner.setdefault(cdr.channel.detour, []).append(cdr)
    outer = [cdr for cdr in cdrs if cdr.channel.detour not in entered or not cdr.channel.is_local]
    for cdr in _one_after_the_other(outer):
        yield from _led_on(cdr, inner, DETOURS_MAX)


def _one_after_the_other(cdrs: Sequence[Cdr]) -> Iterator[Cdr]:
    """Of several who were in one detour, as in an attended transfer, each begins when the one before has left."""
    left: dict[str, datetime] = {}
    for cdr in sorted(cdrs, key=lambda cdr: (cdr.end, cdr.start)):
        begin = left.get(cdr.dst_channel.detour, cdr.start)
        if cdr.dst_channel.is_local:
            left[cdr.dst_channel.detour] = cdr.end
        if begin <= cdr.start:
            yield cdr
            continue
        duration = seconds_between(begin, cdr.end)
        yield msgspec.structs.replace(cdr, start=begin, duration=duration, talk=min(cdr.talk, duration))


def _led_on(cdr: Cdr, inner: Mapping[str, Sequence[Cdr]], left: int) -> Iterator[Cdr]:
    further = [one for one in inner.get(cdr.dst_channel.detour, ()) if one.channel.half == "2" and one.dst_channel]
    if not further or not left:
        yield cdr
    for one in further if left else ():
        yield from _led_on(_through(cdr, one), inner, left - 1)


def _through(cdr: Cdr, inner: Cdr) -> Cdr:
    """The caller of one CDR with the callee of another, which lies behind a detour."""
    is_queue = cdr.application == QUEUE
    return msgspec.structs.replace(
        cdr,
        dst_channel=inner.dst_channel,
        destination=cdr.destination if is_queue else inner.destination,
        application=cdr.application if is_queue else inner.application,
        application_data=cdr.application_data if is_queue else inner.application_data,
        start=max(cdr.start, inner.start),
        answer=inner.answer,
        end=min(cdr.end, inner.end),
        duration=min(cdr.duration, inner.duration),
        talk=min(cdr.talk, inner.talk),
        disposition=inner.disposition,
    )


# ---------------------------------------------------------------- one row


def _row(cdr: Cdr, header: Header) -> Row:
    is_member = bool(cdr.dst_channel) and (cdr.application == QUEUE or _rings_several(cdr))
    status = _status(cdr)
    return Row(
        cdr=cdr,
        kind=("member" if is_member else "party") if cdr.dst_channel else _machine(cdr),
        callee=cdr.dst_channel,
        call_to=_called(cdr, header),
        start=cdr.start,
        duration=cdr.duration,
        talk=cdr.talk if status in (ANSWERED, VOICEMAIL) else 0,
        status=status,
        did=_did(cdr, header),
        recording=cdr.recording,
        # A queue counts how long its agent rang, and a CDR does not say it.
        agent_ring_time=None if cdr.application == QUEUE else 0,
    )


def _machine(cdr: Cdr) -> Kind:
    return "queue" if cdr.application == QUEUE else "machine"


def _status(cdr: Cdr) -> str:
    if cdr.application == VOICEMAIL_APPLICATION and cdr.disposition == ANSWERED:
        return VOICEMAIL
    if cdr.application == QUEUE and not cdr.dst_channel:
        # It was the PBX that answered, perhaps long before: no agent was even called.
        return NO_ANSWER
    return _STATUSES.get(cdr.disposition, cdr.disposition)


def _called(cdr: Cdr, header: Header) -> str:
    """Who or what was called."""
    dialled = cdr.destination if is_dialled(cdr.destination) else ""
    if is_trunk(cdr.dst_channel, header):
        return dialled or _number_in(cdr.application_data) or cdr.dst_channel.endpoint
    if cdr.dst_channel:
        return cdr.dst_channel.number or dialled or cdr.dst_channel.endpoint or cdr.dst_channel.name
    if cdr.application == VOICEMAIL_APPLICATION:
        return dialled or cdr.application_data.partition("@")[0]
    return dialled or cdr.application or cdr.destination


def _number_in(dial: str) -> str:
    """`5550123` of `PJSIP/5550123@trunk-a,20`."""
    return dial.partition(",")[0].partition("@")[0].rpartition("/")[2]


def _did(cdr: Cdr, header: Header) -> str:
    """What the world dialled: said by the CDR itself, or where it came in over a trunk and went no further."""
    if cdr.did or not is_trunk(cdr.channel, header):
        return cdr.did
    return cdr.destination if cdr.context in header.inbound and is_dialled(cdr.destination) else ""


def _rings_several(cdr: Cdr) -> bool:
    return cdr.application == "Dial" and "&" in cdr.application_data.partition(",")[0]


# ---------------------------------------------------------------- what belongs together


def _reached_before(rows: Sequence[Row], cdr: Cdr) -> Row | None:
    """The row of the party that the caller tried before, where this CDR only says what was done then."""
    if cdr.dst_channel:
        return None
    row = next((row for row in reversed(rows) if row.cdr.channel == cdr.channel and row.kind == "party"), None)
    is_same = row is not None and (cdr.destination == row.cdr.destination or not is_dialled(cdr.destination))
    return row if is_same else None


def _with_message(row: Row, cdr: Cdr) -> Row:
    """The party did not answer, its mailbox did."""
    return msgspec.structs.replace(
        row, status=VOICEMAIL, talk=cdr.talk, duration=seconds_between(row.start, cdr.end), recording=cdr.recording
    )


def _heads(rows: Sequence[Row]) -> Iterator[Row]:
    """A row for each queue and ring group, above those of its members."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.kind == "member" and is_dialled(row.cdr.destination):
            groups.setdefault((row.cdr.channel.name, row.cdr.application_data, row.cdr.destination), []).append(row)
    for (_, _, number), members in groups.items():
        # A person with two telephones, or a DID that rings several: the members say it all.
        if number not in {member.call_to for member in members} and number != members[0].did:
            yield head_of(number, members)


def head_of(number: str, members: Iterable[Row]) -> Row:
    """The row of a queue or ring group with these members: from its first ring to its last word."""
    in_order = sorted(members, key=lambda row: (row.start, row.call_to))
    first, last = in_order[0], max(in_order, key=lambda row: row.end)
    answered = [row for row in in_order if row.status == ANSWERED]
    is_queue = first.cdr.application == QUEUE
    return Row(
        cdr=first.cdr,
        kind="queue" if is_queue else "group",
        callee=Channel(""),
        call_to=number,
        start=first.start,
        duration=max(last.duration, seconds_between(first.start, last.end)),
        talk=max((row.talk for row in answered), default=0),
        status=ANSWERED if answered else NO_ANSWER,
        did=first.did,
        recording=next((row.recording for row in answered), ""),
        agent_ring_time=None if is_queue else 0,
    )
