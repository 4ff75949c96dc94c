"""What happens to one call: which legs, how long each, how it ends. Pure; seconds count from the call's start.

Laws (PROTOCOL.md 2.5, 2.2): one leg per stage of routing. A machine that picks up is ANSWERED and talks all the time.
A queue's leg and its agent's leg show the same talk. Agents who rang without answering have no leg. A busy leg lasts
0 seconds. A voice mail has talk.
"""

from collections.abc import Mapping
from random import Random
from typing import Final, TypeVar

import msgspec

from onhook.simulator.numbers import (
    DID_DIRECT,
    DID_MAIN,
    DID_SALES,
    IVRS,
    QUEUE,
    RING_GROUP,
    SURVEY,
    TRUNKS,
    Did,
    Directory,
    Party,
)

LEGS_MAX = 6
"""Three menus, the queue, its agent, and a survey or a transfer."""

TALK_SECONDS_MAX = 3600
"""Nobody in this office talks for more than an hour."""

NOTE_CLOSED, NOTE_OPEN, NOTE_OF_MAILBOX = 0, 1, 4
"""Values of `enb_call_note` that were seen: 1 on a leg with an agent, 4 on a voice mail (PROTOCOL.md 2.1)."""

# Shares of what happens, each a table from outcome to weight.
_TYPES: Final = {"Inbound": 62, "Outbound": 25, "Internal": 13}
_LINES: Final = {DID_MAIN: 70, DID_SALES: 12, DID_DIRECT: 18}
_AFTER_MENU: Final = {"hung up": 7, "queue": 60, "extension": 20, "sales": 13}
_QUEUE: Final = {"answered": 80, "hung up": 12, "voicemail": 8}
_AFTER_AGENT: Final = {"nothing": 55, "survey": 33, "transfer": 12}
_EXTENSION: Final = {"ANSWERED": 68, "NO ANSWER": 14, "VOICEMAIL": 12, "BUSY": 6}
_OUTSIDE: Final = {"ANSWERED": 66, "NO ANSWER": 20, "BUSY": 10, "FAILED": 4}
_MENUS: Final = {1: 40, 2: 40, 3: 20}
_PIN_SHARE: Final = 0.1
_INTERNAL_RECORDED_SHARE: Final = 0.2
_PINS: Final = ("1357", "2468")

_Outcome = TypeVar("_Outcome")


class Leg(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a call. `after` is seconds since the call began; `recorded` the person in the recording's name."""

    after: int
    call_to: Party
    call_duration: int
    talk_duration: int
    status: str
    agent_ring_time: int = 0
    enb_call_note: int = NOTE_CLOSED
    recorded: str = ""

    @property
    def ends_after(self) -> int:
        return self.after + self.call_duration


class Journey(msgspec.Struct, frozen=True, kw_only=True):
    """One call from start to end, not yet at any time of day."""

    type: str
    call_from: Party
    legs: tuple[Leg, ...]
    did: Did | None = None
    dst_trunk_name: str = ""
    pin_code: str = ""

    @property
    def seconds(self) -> int:
        """From the start of the first leg to the end of the last."""
        return max(leg.ends_after for leg in self.legs)


def make_journey(rng: Random, directory: Directory) -> Journey:
    """The next call that somebody makes."""
    direction = _one_of(rng, _TYPES)
    if direction == "Inbound":
        return _inbound(rng, directory)
    return _outbound(rng, directory) if direction == "Outbound" else _internal(rng, directory)


def _inbound(rng: Random, directory: Directory) -> Journey:
    did = _one_of(rng, _LINES)
    if did == DID_SALES:
        legs = _to_sales(rng, directory, 0)
    elif did == DID_DIRECT:
        legs = _to_extension(rng, rng.choice(directory.extensions), 0)
    else:
        legs = _through_menus(rng, directory)
    return Journey(type="Inbound", call_from=directory.a_caller(rng), did=did, legs=legs)


def _outbound(rng: Random, directory: Directory) -> Journey:
    person = rng.choice(directory.extensions)
    return Journey(
        type="Outbound",
        call_from=person,
        legs=(_outside(rng, directory.callers[rng.randrange(len(directory.callers) // 2)]),),
        dst_trunk_name=rng.choice(TRUNKS),
        pin_code=rng.choice(_PINS) if rng.random() < _PIN_SHARE else "",
    )


def _internal(rng: Random, directory: Directory) -> Journey:
    caller, callee = directory.two_people(rng)
    is_recorded = rng.random() < _INTERNAL_RECORDED_SHARE
    return Journey(type="Internal", call_from=caller, legs=_to_extension(rng, callee, 0, is_recorded=is_recorded))


def _through_menus(rng: Random, directory: Directory) -> tuple[Leg, ...]:
    """IVR 6200, perhaps others below it, then whatever the caller chose there."""
    menus: list[Leg] = []
    at = 0
    for menu in (IVRS[0], *sorted(rng.sample(IVRS[1:], _one_of(rng, _MENUS) - 1), key=lambda ivr: ivr.number)):
        menus.append(_machine(menu, at, rng.randint(4, 35)))
        at = menus[-1].ends_after
    choice = _one_of(rng, _AFTER_MENU)
    if choice == "hung up":
        return tuple(menus)
    if choice == "queue":
        return (*menus, *_to_queue(rng, directory, at))
    if choice == "sales":
        return (*menus, *_to_sales(rng, directory, at))
    return (*menus, *_to_extension(rng, rng.choice(directory.extensions), at))


def _to_queue(rng: Random, directory: Directory, at: int) -> tuple[Leg, ...]:
    """Queue 6400: an agent answers, the caller gives up, or the queue does and a mailbox takes the call."""
    outcome = _one_of(rng, _QUEUE)
    if outcome == "answered":
        return _by_agent(rng, directory, at)
    waited = rng.randint(5, 180)
    queue = Leg(after=at, call_to=QUEUE, call_duration=waited, talk_duration=0, status="NO ANSWER")
    return (queue,) if outcome == "hung up" else (queue, _voicemail(rng, directory.agents[0], queue.ends_after))


def _by_agent(rng: Random, directory: Directory, at: int) -> tuple[Leg, ...]:
    agent, colleague = rng.sample(directory.agents, 2)
    waited, rang, talk = rng.choice((0, 0, 0, rng.randint(5, 120))), rng.randint(2, 18), _talk(rng)
    queue = _answered(QUEUE, at, waited + rang, talk, recorded=agent.number, agent_ring_time=rang)
    leg = _answered(agent, at + waited, rang, talk, recorded=agent.number, agent_ring_time=rang)
    then = _one_of(rng, _AFTER_AGENT)
    if then == "survey":
        return (queue, leg, _machine(SURVEY, leg.ends_after, rng.randint(2, 15)))
    if then == "transfer":
        moved = _answered(colleague, leg.ends_after, rng.randint(1, 12), _talk(rng), recorded=colleague.number)
        return (queue, leg, moved)
    return (queue, leg)


def _to_sales(rng: Random, directory: Directory, at: int) -> tuple[Leg, ...]:
    """Ring group 6300: all ring, the first to pick up has the call."""
    if rng.random() < _QUEUE["answered"] / 100:
        person, rang, talk = rng.choice(directory.sales), rng.randint(2, 20), _talk(rng)
        return tuple(_answered(party, at, rang, talk, recorded=person.number) for party in (RING_GROUP, person))
    rang = rng.randint(20, 60)
    return (Leg(after=at, call_to=RING_GROUP, call_duration=rang, talk_duration=0, status="NO ANSWER"),)


def _to_extension(rng: Random, person: Party, at: int, *, is_recorded: bool = True) -> tuple[Leg, ...]:
    status = _one_of(rng, _EXTENSION)
    if status == "ANSWERED":
        return (_answered(person, at, rng.randint(2, 25), _talk(rng), recorded=person.number if is_recorded else ""),)
    if status == "VOICEMAIL":
        return (_voicemail(rng, person, at),)
    return (_unanswered(rng, person, at, status),)


def _outside(rng: Random, callee: Party) -> Leg:
    status = _one_of(rng, _OUTSIDE)
    if status == "ANSWERED":
        return _answered(callee, 0, rng.randint(4, 30), _talk(rng), recorded=callee.number)
    return _unanswered(rng, callee, 0, status)


def _answered(party: Party, at: int, rang: int, talk: int, *, recorded: str, agent_ring_time: int = 0) -> Leg:
    return Leg(
        after=at,
        call_to=party,
        call_duration=rang + talk,
        talk_duration=talk,
        status="ANSWERED",
        agent_ring_time=agent_ring_time,
        enb_call_note=NOTE_OPEN,
        recorded=recorded,
    )


def _unanswered(rng: Random, party: Party, at: int, status: str) -> Leg:
    rang = rng.randint(10, 45) if status == "NO ANSWER" else 0
    return Leg(after=at, call_to=party, call_duration=rang, talk_duration=0, status=status)


def _voicemail(rng: Random, person: Party, at: int) -> Leg:
    """The mailbox answers at once or after ringing; either way the seconds of the recording are talk."""
    rang, spoken = rng.choice((0, rng.randint(15, 25))), rng.randint(5, 60)
    return Leg(
        after=at,
        call_to=person,
        call_duration=rang + spoken,
        talk_duration=spoken,
        status="VOICEMAIL",
        enb_call_note=NOTE_OF_MAILBOX,
    )


def _machine(party: Party, at: int, seconds: int) -> Leg:
    return Leg(after=at, call_to=party, call_duration=seconds, talk_duration=seconds, status="ANSWERED")


def _talk(rng: Random) -> int:
    """Most talks last one to three minutes, a few much longer."""
    return min(TALK_SECONDS_MAX, 1 + int(rng.lognormvariate(4.5, 0.9)))


def _one_of(rng: Random, weights: Mapping[_Outcome, int]) -> _Outcome:
    return rng.choices(tuple(weights), tuple(weights.values()))[0]
