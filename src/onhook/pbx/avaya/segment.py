"""A line of SMDR: one segment of a call, with what it says about others (lines.md 6). Pure.

Invariant: names of people may have commas, and there is no quoting: the values behind them are found by their form.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime

import msgspec

from onhook.cdr.call_details import DURATION_SECONDS_MAX
from onhook.cdr.leg_joining import LegLinks
from onhook.cdr.number_plan import LegKind
from onhook.lib.messages import _
from onhook.pbx.lines import clean_line, line_error, parse_clock_duration, parse_time, split_values

VALUES_MIN = 17
"""Values up to the time for which the call was in the park: older releases write nothing behind it."""

_FIRST_PARTY, _SECOND_PARTY = 11, 13
"""Positions of the devices, where no name has a comma."""

_DEVICE = re.compile(r"[A-Z][0-9]{1,15}|Barred")
"""A call that was barred has the word in place of its second party."""

_COUNT = re.compile(r"[0-9]{1,7}")
_CALL_ID = re.compile(r"[0-9]{1,18}")
_KINDS: Mapping[str, LegKind] = {"E": "extension", "T": "external", "V": "voicemail"}
"""By the first character of a device."""

_CONFERENCE = "CO Channel "
_OTHER_NAME = re.compile(r"U\S* [0-9]+\.[0-9]+")
"""Names of other devices `V`: a channel of a conference, and one of the PBX itself, such as that of a tone."""


class SegmentParty(msgspec.Struct, frozen=True):
    """One side of a segment: its device, such as `E201`, and its name. Both may be empty."""

    device: str
    name: str

    @property
    def kind(self) -> LegKind | None:
        """Return the kind of the device; None for an unknown one."""
        kind = _KINDS.get(self.device[:1])
        if kind != "voicemail":
            return kind
        if self.name.startswith(_CONFERENCE):
            return "conference"
        return None if _OTHER_NAME.fullmatch(self.name) else "voicemail"

    @property
    def number(self) -> str:
        """Return the number of the device, without the letter of its kind."""
        return self.device[1:]


class Segment(msgspec.Struct, frozen=True, kw_only=True):
    """One line. `ring`, `connected`, `hold` and `park` are seconds, none of them part of another; `party` is the side
    of this PBX that called or was called, `peer` the other one. `continues` says that another segment of the call
    follows.
    """

    start: datetime
    connected: int
    ring: int
    caller: str
    is_outgoing: bool
    called: str
    dialled: str
    account: str
    is_internal: bool
    call_id: str
    continues: bool
    party: SegmentParty
    peer: SegmentParty
    hold: int
    park: int
    further: Sequence[str]
    digest: str

    @property
    def seconds(self) -> int:
        """Return how long the segment was."""
        return self.ring + self.connected + self.hold + self.park

    @property
    def call_key(self) -> str:
        """Return the name of the call: ids begin anew after a restart, so that the start belongs to them."""
        return f"{self.call_id}-{self.start:%Y%m%d%H%M%S}"

    @property
    def links(self) -> LegLinks:
        """Return what the segment says about others: the last one of a call is awaited by those before it."""
        last_id = f"{self.call_key}-last"
        if not self.continues:
            return LegLinks(leg_id=last_id, linked_ids=frozenset({self.call_key}))
        leg_id = f"{self.call_key}-{self.digest}"
        return LegLinks(leg_id=leg_id, linked_ids=frozenset({self.call_key}), awaited_ids=frozenset({last_id}))


def read_segment(body: bytes) -> Segment:
    """Return the segment in a line. Raises `ParseError`."""
    values = [value.strip() for value in split_values(body)]
    if len(values) < VALUES_MIN:
        raise line_error(
            _("it has {count} values, and SMDR has {minimum} at least", count=len(values), minimum=VALUES_MIN)
        )
    connected = parse_clock_duration(values[1])
    if connected is None or not _COUNT.fullmatch(values[2]):
        raise line_error(_("it has no connected time and ring time"))
    if connected + int(values[2]) > DURATION_SECONDS_MAX:
        raise line_error(_("it is longer than a year"))
    if values[4] not in ("I", "O") or not _CALL_ID.fullmatch(values[9]):
        raise line_error(_("it has no direction and call id"))
    peer_position, hold_position = _find_positions(values)
    return Segment(
        start=parse_time(values[0], "call start"),
        connected=connected,
        ring=int(values[2]),
        caller=values[3],
        is_outgoing=values[4] == "O",
        called=values[5],
        dialled=values[6],
        account=values[7],
        is_internal=values[8] == "1",
        call_id=values[9],
        continues=values[10] == "1",
        party=SegmentParty(values[_FIRST_PARTY], ", ".join(values[_FIRST_PARTY + 1 : peer_position])),
        peer=SegmentParty(values[peer_position], ", ".join(values[peer_position + 1 : hold_position])),
        hold=int(values[hold_position]),
        park=int(values[hold_position + 1]),
        further=tuple(values[hold_position + 2 :]),
        digest=hashlib.sha256(clean_line(body)).hexdigest()[:16],
    )


def _find_positions(values: Sequence[str]) -> tuple[int, int]:
    """Return the positions of the second device and of the hold time. Raises `ParseError`."""
    device_positions = range(_SECOND_PARTY, len(values) - 1)
    peer = next((index for index in device_positions if _is_device(values[index], name=values[index + 1])), 0)
    count_positions = range(peer + 2, len(values) - 1)
    hold = next((index for index in count_positions if all(map(_COUNT.fullmatch, values[index : index + 2]))), 0)
    if not peer or not hold:
        raise line_error(_("its parties and its hold time cannot be separated"))
    return peer, hold


def _is_device(device: str, *, name: str) -> bool:
    """Return whether a value is a device; without one there is no name either."""
    return _DEVICE.fullmatch(device) is not None if device else not name
