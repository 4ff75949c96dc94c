"""A conversation with an Asterisk: logs in, gathers calls, keeps itself alive, finds out which endpoints are trunks.

See the contract, `pbx/conversation.py`. The rule by which an endpoint is a trunk is in `trunks.py`.
"""

import msgspec

from onhook.cdr.utc_offset import offset_between, parse_wall_clock
from onhook.lib.errors import ParseError
from onhook.pbx.asterisk.call_collector import Gathered, Gathering, PbxReading
from onhook.pbx.asterisk.messages import Message, TooLarge
from onhook.pbx.asterisk.session import Answer, Event, Happening, Login, Ready, Refused, Session
from onhook.pbx.asterisk.trunks import TrunkSearch
from onhook.pbx.connection import Heard, Now

PING_SECONDS = 10.0
"""How long we let Asterisk be silent before we ask whether it is there."""

DEAD_SECONDS = 30.0
"""Whoever has not said a byte for so long, asked three times, is not there."""

WELCOME_SECONDS = 20.0
"""How long it may take from the connection to the end of the login."""

SEARCH_SECONDS = 600.0
"""How often the trunks are looked up anew: one may have been added."""


class AsteriskConversation:
    """One connection. `searches` is whether the trunks are to be read from the PBX; else `reading` says them."""

    via = "ami"

    def __init__(self, login: Login, reading: PbxReading, *, searches: bool) -> None:
        self._session = Session(login)
        self._gathering = Gathering(reading)
        self._searches = searches
        self._search: TrunkSearch | None = None
        self._searched_at = 0.0
        self._begun_at: float | None = None
        self._heard_at = 0.0
        self._asked_at = 0.0
        self._dropped = 0

    def received(self, data: bytes, now: Now) -> Heard:
        self._begin(now)
        self._heard_at = now.running
        heard = [self._heard(happening, now) for happening in self._session.received(data)]
        return _together(heard)

    def ticked(self, now: Now) -> Heard:
        self._begin(now)
        is_ready = self._session.state == "ready"
        silent = now.running - self._heard_at
        if silent > (DEAD_SECONDS if is_ready else WELCOME_SECONDS):
            return Heard(ended=f"it has said nothing for {silent:.0f} seconds")
        if is_ready and silent > PING_SECONDS and now.running - self._asked_at > PING_SECONDS:
            self._asked_at = now.running
            self._session.ask("Ping")
        if is_ready and self._searches and now.running - self._searched_at > SEARCH_SECONDS:
            self._begin_search(now)
        return Heard(reports=_bodies(self._gathering.due(now.running)), news=self._told_dropped())

    def to_send(self) -> bytes:
        return self._session.to_send()

    def cut(self) -> tuple[bytes, ...]:
        return _bodies(self._gathering.cut())

    def held_since(self) -> float | None:
        return self._gathering.oldest_cdr_at()

    def _begin(self, now: Now) -> None:
        if self._begun_at is None:
            self._begun_at = self._heard_at = now.running

    def _heard(self, happening: Happening, now: Now) -> Heard:
        if isinstance(happening, Event):
            offset = _offset_seconds(happening.message, now)
            return Heard(reports=_bodies(self._gathering.heard(happening.message, now.running, offset)))
        if isinstance(happening, Answer):
            return self._answered(happening)
        if isinstance(happening, Ready):
            return self._ready(happening, now)
        if isinstance(happening, Refused):
            return Heard(ended=happening.why, is_refused=True)
        return Heard(news=(_too_large(happening),))

    def _ready(self, ready: Ready, now: Now) -> Heard:
        if self._searches:
            self._begin_search(now)
        unfiltered = () if ready.is_filtered else ("it does not let us filter: give the user `write = system`",)
        return Heard(is_ready=True, news=unfiltered)

    def _begin_search(self, now: Now) -> None:
        self._searched_at = now.running
        self._search = TrunkSearch(self._session)

    def _answered(self, answer: Answer) -> Heard:
        if self._search is None or not self._search.is_mine(answer):
            return Heard()
        found = self._search.answered(answer)
        if found is None:
            return Heard()
        self._search = None
        if found.why:
            return Heard(news=(found.why,))
        before = self._gathering.reading
        reading = msgspec.structs.replace(before, trunks=found.trunks, inbound=found.inbound)
        self._gathering.reading = reading
        return Heard(learned=learned_text(reading) if reading != before else "")

    def _told_dropped(self) -> tuple[str, ...]:
        more, self._dropped = self._gathering.dropped - self._dropped, self._gathering.dropped
        return (f"{more} calls ended without a CDR",) if more else ()


def learned_text(reading: PbxReading) -> str:
    """What was learned of a PBX, for the next conversation."""
    return msgspec.json.encode(reading).decode()


def reading_of(learned: str) -> PbxReading:
    """What was learned before; nothing where there is no such text."""
    try:
        return msgspec.json.decode(learned, type=PbxReading) if learned else PbxReading()
    except msgspec.DecodeError:
        return PbxReading()


def _offset_seconds(message: Message, now: Now) -> int | None:
    """The PBX's clock against UTC, by the end of a call of which we hear at once."""
    if message.get("Event") != "Cdr":
        return None
    try:
        offset = offset_between(parse_wall_clock(message.get("EndTime")), int(now.epoch))
    except ParseError:
        return None
    return None if offset is None else int(offset.total_seconds())


def _bodies(gathered: list[Gathered]) -> tuple[bytes, ...]:
    return tuple(one.body for one in gathered)


def _too_large(one: TooLarge) -> str:
    return f"an event {one.event!r} of {one.bytes} bytes was too large and is left out"


def _together(heard: list[Heard]) -> Heard:
    """Several as one."""
    return Heard(
        reports=tuple(body for one in heard for body in one.reports),
        is_ready=any(one.is_ready for one in heard),
        ended=next((one.ended for one in heard if one.ended), ""),
        is_refused=any(one.is_refused for one in heard),
        news=tuple(sentence for one in heard for sentence in one.news),
        learned=next((one.learned for one in reversed(heard) if one.learned), ""),
    )
