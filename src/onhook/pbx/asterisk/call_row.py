"""One row of a call, and what it says about who was called."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from onhook.cdr.number_plan import LegKind
from onhook.pbx.asterisk.applications import CONFERENCE_APPLICATIONS, DIAL_APPLICATIONS, VOICEMAIL_APPLICATION
from onhook.pbx.asterisk.call import CallHeader, Cdr
from onhook.pbx.asterisk.channels import Channel

RowKind = Literal["party", "member", "queue", "group", "machine", "ivr"]

_KIND_OF_ROW: Mapping[RowKind, LegKind] = {"queue": "queue", "group": "ring_group", "ivr": "ivr"}


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


def is_trunk(channel: Channel, header: CallHeader) -> bool:
    """Return whether a channel belongs to a trunk."""
    return bool(channel) and channel.endpoint in header.trunks


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
