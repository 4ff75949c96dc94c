"""Legs of one call, their durations and outcomes. Pure; seconds count from the call's start.

Invariants (yeastar-p-series.md 2.5, 2.2): one leg per stage of routing. An IVR, a mailbox or an announcement is
ANSWERED and has talk for all of its duration. The legs of a queue and of its agent have the same talk. Agents who rang
without answering have no leg. A busy leg lasts 0 seconds. A voice mail has talk.
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
"""No simulated person talks for more than an hour."""

NOTE_CLOSED, NOTE_OPEN, NOTE_VOICEMAIL = 0, 1, 4
"""Known values of `enb_call_note`: 1 on a leg with an agent, 4 on a voice mail (yeastar-p-series.md 2.1)."""

# Shares of outcomes, each a table from outcome to weight.
_TYPE_WEIGHTS: Final = {"Inbound": 62, "Outbound": 25, "Internal": 13}
_DID_WEIGHTS: Final = {DID_MAIN: 70, DID_SALES: 12, DID_DIRECT: 18}
_AFTER_IVR_WEIGHTS: Final = {"hung up": 7, "queue": 60, "extension": 20, "sales": 13}
_QUEUE_WEIGHTS: Final = {"answered": 80, "hung up": 12, "voicemail": 8}
_AFTER_AGENT_WEIGHTS: Final = {"nothing": 55, "survey": 33, "transfer": 12}
_EXTENSION_WEIGHTS: Final = {"ANSWERED": 68, "NO ANSWER": 14, "VOICEMAIL": 12, "BUSY": 6}
_OUTBOUND_WEIGHTS: Final = {"ANSWERED": 66, "NO ANSWER": 20, "BUSY": 10, "FAILED": 4}
_IVR_COUNT_WEIGHTS: Final = {1: 40, 2: 40, 3: 20}
_PIN_SHARE: Final = 0.1
_INTERNAL_RECORDED_SHARE: Final = 0.2
_PINS: Final = ("1357", "2468")

_Outcome = TypeVar("_Outcome")


class SimulatedLeg(msgspec.Struct, frozen=True, kw_only=True):
    """One stage of a call. `starts_after` is seconds since the start of the call; `recorded_number` the person in the
    recording's name.
    """

    starts_after: int
    call_to: Party
    call_duration: int
    talk_duration: int
    status: str
    agent_ring_time: int = 0
    enb_call_note: int = NOTE_CLOSED
    recorded_number: str = ""

    @property
    def ends_after(self) -> int:
        return self.starts_after + self.call_duration


class Journey(msgspec.Struct, frozen=True, kw_only=True):
    """One call from start to end, without a time of day."""

    type: str
    call_from: Party
    legs: tuple[SimulatedLeg, ...]
    did: Did | None = None
    dst_trunk_name: str = ""
    pin_code: str = ""

    @property
    def duration_seconds(self) -> int:
        """Return the time from the start of the first leg to the end of the last."""
        return max(leg.ends_after for leg in self.legs)


def generate_journey(rng: Random, directory: Directory) -> Journey:
    """Return the next call."""
    call_type = _weighted_choice(rng, _TYPE_WEIGHTS)
    if call_type == "Inbound":
        return _inbound_journey(rng, directory)
    return _outbound_journey(rng, directory) if call_type == "Outbound" else _internal_journey(rng, directory)


def _inbound_journey(rng: Random, directory: Directory) -> Journey:
    did = _weighted_choice(rng, _DID_WEIGHTS)
    if did == DID_SALES:
        legs = _sales_legs(rng, directory, 0)
    elif did == DID_DIRECT:
        legs = _extension_legs(rng, rng.choice(directory.extensions), 0)
    else:
        legs = _ivr_legs(rng, directory)
    return Journey(type="Inbound", call_from=directory.choose_caller(rng), did=did, legs=legs)


def _outbound_journey(rng: Random, directory: Directory) -> Journey:
    extension = rng.choice(directory.extensions)
    return Journey(
        type="Outbound",
        call_from=extension,
        legs=(_outbound_leg(rng, directory.callers[rng.randrange(len(directory.callers) // 2)]),),
        dst_trunk_name=rng.choice(TRUNKS),
        pin_code=rng.choice(_PINS) if rng.random() < _PIN_SHARE else "",
    )


def _internal_journey(rng: Random, directory: Directory) -> Journey:
    caller, callee = directory.choose_two_extensions(rng)
    is_recorded = rng.random() < _INTERNAL_RECORDED_SHARE
    return Journey(type="Internal", call_from=caller, legs=_extension_legs(rng, callee, 0, is_recorded=is_recorded))


def _ivr_legs(rng: Random, directory: Directory) -> tuple[SimulatedLeg, ...]:
    """Return the legs of IVR 6200, possibly of others below it, and of the caller's choice there."""
    ivr_legs: list[SimulatedLeg] = []
    starts_after = 0
    for menu in (
        IVRS[0],
        *sorted(rng.sample(IVRS[1:], _weighted_choice(rng, _IVR_COUNT_WEIGHTS) - 1), key=lambda ivr: ivr.number),
    ):
        ivr_legs.append(_machine_leg(menu, starts_after, rng.randint(4, 35)))
        starts_after = ivr_legs[-1].ends_after
    next_step = _weighted_choice(rng, _AFTER_IVR_WEIGHTS)
    if next_step == "hung up":
        return tuple(ivr_legs)
    if next_step == "queue":
        return (*ivr_legs, *_queue_legs(rng, directory, starts_after))
    if next_step == "sales":
        return (*ivr_legs, *_sales_legs(rng, directory, starts_after))
    return (*ivr_legs, *_extension_legs(rng, rng.choice(directory.extensions), starts_after))


def _queue_legs(rng: Random, directory: Directory, starts_after: int) -> tuple[SimulatedLeg, ...]:
    """Return the legs of queue 6400: an agent answers, the caller hangs up, or the queue times out and a
    mailbox answers.
    """
    outcome = _weighted_choice(rng, _QUEUE_WEIGHTS)
    if outcome == "answered":
        return _agent_legs(rng, directory, starts_after)
    wait_duration = rng.randint(5, 180)
    queue_leg = SimulatedLeg(
        starts_after=starts_after, call_to=QUEUE, call_duration=wait_duration, talk_duration=0, status="NO ANSWER"
    )
    return (
        (queue_leg,)
        if outcome == "hung up"
        else (queue_leg, _voicemail_leg(rng, directory.agents[0], queue_leg.ends_after))
    )


def _agent_legs(rng: Random, directory: Directory, starts_after: int) -> tuple[SimulatedLeg, ...]:
    agent, colleague = rng.sample(directory.agents, 2)
    wait_duration, ring_duration, talk_duration = (
        rng.choice((0, 0, 0, rng.randint(5, 120))),
        rng.randint(2, 18),
        _random_talk_duration(rng),
    )
    queue_leg = _answered_leg(
        QUEUE,
        starts_after,
        wait_duration + ring_duration,
        talk_duration,
        recorded_number=agent.number,
        agent_ring_time=ring_duration,
    )
    agent_leg = _answered_leg(
        agent,
        starts_after + wait_duration,
        ring_duration,
        talk_duration,
        recorded_number=agent.number,
        agent_ring_time=ring_duration,
    )
    next_step = _weighted_choice(rng, _AFTER_AGENT_WEIGHTS)
    if next_step == "survey":
        return (queue_leg, agent_leg, _machine_leg(SURVEY, agent_leg.ends_after, rng.randint(2, 15)))
    if next_step == "transfer":
        transfer_leg = _answered_leg(
            colleague,
            agent_leg.ends_after,
            rng.randint(1, 12),
            _random_talk_duration(rng),
            recorded_number=colleague.number,
        )
        return (queue_leg, agent_leg, transfer_leg)
    return (queue_leg, agent_leg)


def _sales_legs(rng: Random, directory: Directory, starts_after: int) -> tuple[SimulatedLeg, ...]:
    """Return the legs of ring group 6300: all extensions ring, and the first to answer gets the call."""
    if rng.random() < _QUEUE_WEIGHTS["answered"] / 100:
        extension, ring_duration, talk_duration = (
            rng.choice(directory.sales),
            rng.randint(2, 20),
            _random_talk_duration(rng),
        )
        return tuple(
            _answered_leg(party, starts_after, ring_duration, talk_duration, recorded_number=extension.number)
            for party in (RING_GROUP, extension)
        )
    ring_duration = rng.randint(20, 60)
    return (
        SimulatedLeg(
            starts_after=starts_after,
            call_to=RING_GROUP,
            call_duration=ring_duration,
            talk_duration=0,
            status="NO ANSWER",
        ),
    )


def _extension_legs(
    rng: Random, extension: Party, starts_after: int, *, is_recorded: bool = True
) -> tuple[SimulatedLeg, ...]:
    status = _weighted_choice(rng, _EXTENSION_WEIGHTS)
    if status == "ANSWERED":
        return (
            _answered_leg(
                extension,
                starts_after,
                rng.randint(2, 25),
                _random_talk_duration(rng),
                recorded_number=extension.number if is_recorded else "",
            ),
        )
    if status == "VOICEMAIL":
        return (_voicemail_leg(rng, extension, starts_after),)
    return (_unanswered_leg(rng, extension, starts_after, status),)


def _outbound_leg(rng: Random, callee: Party) -> SimulatedLeg:
    status = _weighted_choice(rng, _OUTBOUND_WEIGHTS)
    if status == "ANSWERED":
        return _answered_leg(callee, 0, rng.randint(4, 30), _random_talk_duration(rng), recorded_number=callee.number)
    return _unanswered_leg(rng, callee, 0, status)


def _answered_leg(
    party: Party,
    starts_after: int,
    ring_duration: int,
    talk_duration: int,
    *,
    recorded_number: str,
    agent_ring_time: int = 0,
) -> SimulatedLeg:
    return SimulatedLeg(
        starts_after=starts_after,
        call_to=party,
        call_duration=ring_duration + talk_duration,
        talk_duration=talk_duration,
        status="ANSWERED",
        agent_ring_time=agent_ring_time,
        enb_call_note=NOTE_OPEN,
        recorded_number=recorded_number,
    )


def _unanswered_leg(rng: Random, party: Party, starts_after: int, status: str) -> SimulatedLeg:
    ring_duration = rng.randint(10, 45) if status == "NO ANSWER" else 0
    return SimulatedLeg(
        starts_after=starts_after, call_to=party, call_duration=ring_duration, talk_duration=0, status=status
    )


def _voicemail_leg(rng: Random, extension: Party, starts_after: int) -> SimulatedLeg:
    """Return the leg of a mailbox that answers at once or after ringing; the length of the message is its talk."""
    ring_duration, message_duration = rng.choice((0, rng.randint(15, 25))), rng.randint(5, 60)
    return SimulatedLeg(
        starts_after=starts_after,
        call_to=extension,
        call_duration=ring_duration + message_duration,
        talk_duration=message_duration,
        status="VOICEMAIL",
        enb_call_note=NOTE_VOICEMAIL,
    )


def _machine_leg(party: Party, starts_after: int, seconds: int) -> SimulatedLeg:
    return SimulatedLeg(
        starts_after=starts_after, call_to=party, call_duration=seconds, talk_duration=seconds, status="ANSWERED"
    )


def _random_talk_duration(rng: Random) -> int:
    """Return a duration: most are one to three minutes, a few much longer."""
    return min(TALK_SECONDS_MAX, 1 + int(rng.lognormvariate(4.5, 0.9)))


def _weighted_choice(rng: Random, weights: Mapping[_Outcome, int]) -> _Outcome:
    return rng.choices(tuple(weights), tuple(weights.values()))[0]
