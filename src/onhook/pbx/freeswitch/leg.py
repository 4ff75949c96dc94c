"""One leg of a FreeSWITCH, typed, and what it says about other legs (freeswitch.md 4 and 5). Pure.

Invariants: a leg has an id and a plausible start, or it is a `ParseError`: no time is guessed. Times are microseconds
since 1970, UTC.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime

import msgspec

from onhook.cdr.leg_joining import LegLinks
from onhook.cdr.utc_offset import offset_between
from onhook.lib.messages import _
from onhook.pbx.freeswitch.documents import (
    MICROSECONDS,
    Application,
    Document,
    Profile,
    decode_document,
    split_array,
    to_microseconds,
)
from onhook.pbx.json_fields import CALL_ID_CHARACTERS_MAX, parse_error

LEGS_MAX = 200
"""Legs that one leg names: a ring group has some ten."""

_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")
_HOLD = re.compile(r"\{([0-9]{1,18}),([0-9]{1,18})\}")
_EPOCH_CLOCKS = ("start", "answer", "bridge", "end")
_UNDEFINED = "_undef_"
"""How FusionPBX writes an empty value."""

DEFAULT_NAME = "Outbound Call"
"""What FreeSWITCH writes where it has no name of a called party."""


class OriginatedLeg(msgspec.Struct, frozen=True):
    """A leg that another one began, as that one reports it: its number, and the cause of its end or `NONE`."""

    leg_id: str
    number: str
    cause: str


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """A leg. `end` is None where it is unknown; `answer` where the leg was not answered."""

    leg_id: str
    start: int
    answer: int | None
    end: int | None
    document: Document

    def get(self, name: str) -> str:
        """Return the value of a variable; empty if there is none."""
        value = self.document.variables.get(name, "").strip()
        return "" if value == _UNDEFINED else value

    @property
    def profiles(self) -> Sequence[Profile]:
        return self.document.profiles

    @property
    def applications(self) -> Sequence[Application]:
        return self.document.applications

    @property
    def originator_id(self) -> str:
        """The leg that began this one; empty if a telephone or trunk did, or the PBX itself."""
        return self.get("originating_leg_uuid") or (self.get("cc_member_session_uuid") if self.is_agent else "")

    @property
    def is_loopback(self) -> bool:
        """Whether it is half of a loopback: no telephone, but a way through the dialplan."""
        return bool(self.get("is_loopback"))

    @property
    def is_agent(self) -> bool:
        """Whether a queue called it."""
        return self.get("cc_side") == "agent"

    @property
    def is_callee(self) -> bool:
        """Whether the PBX called it for another leg."""
        return bool(self.originator_id) and not self.is_loopback

    @property
    def is_caller(self) -> bool:
        """Whether it began by itself."""
        return not self.originator_id and not self.is_loopback

    @property
    def originated_legs(self) -> Sequence[OriginatedLeg]:
        """The legs that it began, each once, in order."""
        causes = dict(_split_pair(item) for item in split_array(self.get("originate_causes")))
        numbers: dict[str, str] = {}
        for item in split_array(self.get("originated_legs"))[:LEGS_MAX]:
            leg_id, rest = _split_pair(item)
            if _UUID.fullmatch(leg_id):
                numbers.setdefault(leg_id, rest.rpartition(";")[2])
        return [OriginatedLeg(leg_id, number, causes.get(leg_id, "")) for leg_id, number in numbers.items()]

    @property
    def joins(self) -> Sequence[tuple[int, str]]:
        """When it was joined to other legs by a transfer, a queue or a pick-up, and to which, in order."""
        joins: list[tuple[int, str]] = []
        for item in split_array(self.get("transfer_history")):
            # From the left: the rest may have colons of its own.
            epoch, _profile_id, kind, *rest = [*item.split(":", 3), "", ""]
            moment = to_microseconds(f"{epoch}000000")
            if kind == "uuid_br" and moment is not None and _UUID.fullmatch(rest[0]):
                joins.append((self._profile_begin(moment), rest[0]))
        return joins

    def _profile_begin(self, moment: int) -> int:
        """Return when the profile began that a transfer in this second made; the second if there is none."""
        begins = [profile.created for profile in self.profiles[1:] if profile.created is not None]
        return next((begin for begin in begins if abs(begin - moment) <= 2 * MICROSECONDS), moment)

    @property
    def holds(self) -> Sequence[tuple[int, int]]:
        """Begin and end of each time that it held the other leg; an end of 0 is open."""
        return [(int(begin), int(end)) for begin, end in _HOLD.findall(self.get("hold_events"))]

    @property
    def links(self) -> LegLinks:
        """What it says about other legs (freeswitch.md 5): a union, not the first of them that is set."""
        originated_ids = frozenset(leg.leg_id for leg in self.originated_legs)
        originator_ids = {self.originator_id} if _UUID.fullmatch(self.originator_id) else set()
        return LegLinks(
            leg_id=self.leg_id,
            linked_ids=frozenset(self._iter_linked_ids()) - originated_ids,
            awaited_ids=originated_ids | originator_ids,
        )

    def _iter_linked_ids(self) -> Iterator[str]:
        names = ("originating_leg_uuid", "cc_member_session_uuid", "other_loopback_leg_uuid", "bridge_uuid")
        candidates = [self.get(name) for name in (*names, "signal_bond", "fifo_target")]
        candidates += [self.get("transfer_to").partition(":")[2], *(leg_id for _time, leg_id in self.joins[:LEGS_MAX])]
        candidates += [profile.originator_id for profile in self.profiles]
        yield from (candidate for candidate in candidates if _UUID.fullmatch(candidate))

    def clocks(self) -> Iterator[tuple[int, int]]:
        """Yield times at which the PBX says its wall clock too, with the offset of that from UTC in seconds."""
        for name in _EPOCH_CLOCKS:
            moment = to_microseconds(f"{self.get(f'{name}_epoch')}000000")
            if (
                moment is not None
                and (offset := _offset(self.get(f"{name}_stamp"), moment // MICROSECONDS)) is not None
            ):
                yield moment, offset


def _split_pair(item: str) -> tuple[str, str]:
    head, _separator, rest = item.partition(";")
    return head, rest


def _offset(stamp: str, epoch: int) -> int | None:
    """Return the offset of a wall clock from UTC, in seconds; None if there is none."""
    try:
        local = datetime.fromisoformat(stamp)
    except ValueError:
        return None
    offset = None if local.tzinfo else offset_between(local, epoch)
    return None if offset is None else round(offset.total_seconds())


def read_leg(body: bytes) -> Leg:
    """Return the leg that a document is about. Raises `ParseError` with the reason."""
    document = decode_document(body)
    leg_id = document.variables.get("uuid", "").strip()
    if not leg_id or len(leg_id) > CALL_ID_CHARACTERS_MAX:
        raise parse_error(_("the document has no uuid of its leg"))
    start = _read_time(document, "start")
    if start is None:
        raise parse_error(_("start_epoch is no time: {value!r}", value=document.variables.get("start_epoch", "")[:40]))
    end, answer = _read_time(document, "end"), _read_time(document, "answer")
    end = end if end is not None and end >= start else None
    answer = answer if answer is not None and answer >= start and (end is None or answer <= end) else None
    return Leg(leg_id=leg_id, start=start, answer=answer, end=end, document=document)


def _read_time(document: Document, name: str) -> int | None:
    """Return a time, in microseconds if the document has them for the same second, else in seconds."""
    seconds = document.variables.get(f"{name}_epoch", "").strip()
    epoch = to_microseconds(seconds + "000000")
    exact = to_microseconds(document.variables.get(f"{name}_uepoch", "").strip())
    return exact if exact is not None and (not seconds or exact // MICROSECONDS * MICROSECONDS == epoch) else epoch
