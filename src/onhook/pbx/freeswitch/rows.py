"""The rows of a call: one per stage in which a party was called (freeswitch.md 7). Pure.

Invariants: talk is never the sum of what several legs say, which contain the same talk; a loopback leg is no party; a
leg whose document did not come is known from the leg that began it, and marked.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from onhook.cdr.call_details import ABANDONED, ANSWERED, NO_ANSWER, VOICEMAIL
from onhook.cdr.number_plan import LegKind
from onhook.pbx.freeswitch.call import CallLegs, callee_number, is_click_to_call
from onhook.pbx.freeswitch.documents import MICROSECONDS
from onhook.pbx.freeswitch.hangup_causes import ANSWERED_ELSEWHERE, cause_of_caller, status_of_unanswered
from onhook.pbx.freeswitch.leg import Leg, OriginatedLeg
from onhook.pbx.freeswitch.machines import MachineStage, find_stages, profile_at

JOIN_TOLERANCE = 2 * MICROSECONDS
"""Between the end of a hold and that of the leg which transferred."""

PICKED_OFF = "PICKED_OFF"

_GATEWAY = re.compile(r"sofia/gateway/([^/,|]{1,200})/")


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One stage. `caller` is the leg of the calling party, if it was reported, `callee` that of the called one;
    `callee_id` is the id of the latter, reported or not. `machine` is the stage of a machine, `trunk` the gateway by
    which the call went out.
    """

    begin: int
    answer: int | None
    end: int | None
    number: str
    status: str
    cause: str
    caller: Leg | None
    callee: Leg | None = None
    callee_id: str = ""
    machine: MachineStage | None = None
    agent_ring: int | None = None
    trunk: str = ""
    extra: Mapping[str, Any] = {}


def build_rows(call: CallLegs) -> list[Row]:
    """Return the rows of a call, in order; none for one of loopback legs alone."""
    rows = [row for leg in call.iter_callees() for row in _callee_rows(call, leg)]
    rows += [row for leg in call.legs for row in _missing_rows(call, leg)]
    rows += [row for leg in call.legs if leg.is_caller for row in _pick_up_rows(call, leg)]
    rows += [row for leg in call.legs for row in _machine_rows(call, leg, rows)]
    if not rows and call.root is not None:
        rows.append(_only_row(call.root))
    return sorted(rows, key=lambda row: (row.begin, row.machine is None, row.number, row.callee_id))


# Called legs


def _callee_rows(call: CallLegs, leg: Leg) -> Iterator[Row]:
    """Yield the stages of a called leg: its call, and the talks to which it was joined later."""
    joins = [] if leg.is_agent else list(_iter_later_joins(call, leg))
    end = min((begin for begin, _leg_id in joins), default=_first_end(call, leg))
    cause = PICKED_OFF if leg.answer is None and leg.joins else leg.get("hangup_cause")
    extra: dict[str, Any] = {"answered_elsewhere": True} if cause in ANSWERED_ELSEWHERE else {}
    yield Row(
        begin=leg.start,
        answer=leg.answer,
        end=end,
        number=callee_number(leg),
        status=ANSWERED if leg.answer is not None else status_of_unanswered(cause),
        cause=cause,
        caller=call.originator_of(leg),
        callee=leg,
        callee_id=leg.leg_id,
        agent_ring=seconds_between(leg.start, leg.answer or leg.end) if leg.is_agent else None,
        trunk=leg.get("sip_gateway_name"),
        extra=extra,
    )
    ends = [*(begin for begin, _leg_id in joins[1:]), leg.end]
    for (begin, leg_id), join_end in zip(joins, ends, strict=False):
        yield Row(
            begin=begin,
            answer=begin,
            end=join_end,
            number=callee_number(leg),
            status=ANSWERED,
            cause=leg.get("hangup_cause"),
            caller=call.get(leg_id),
            callee=leg,
            callee_id=leg.leg_id,
        )


def _iter_later_joins(call: CallLegs, leg: Leg) -> Iterator[tuple[int, str]]:
    """Yield when an answered leg was joined to another one than that which called it, after talking with that. A
    loopback leg that leaves the path is no transfer.
    """
    direct = call.get(leg.originator_id)
    if leg.answer is None or (direct is not None and direct.is_loopback):
        return
    for begin, leg_id in leg.joins:
        peer = call.get(leg_id)
        is_other = leg_id != leg.originator_id and (peer is None or not peer.is_loopback)
        if is_other and leg.answer < begin and (leg.end is None or begin <= leg.end):
            yield begin, leg_id


def _first_end(call: CallLegs, leg: Leg) -> int | None:
    """Return when a called leg left the party that it was called for: at a transfer by or of it, else at its end."""
    if leg.answer is None or leg.end is None:
        return leg.end
    ends = [leg.end, *_transferred(leg), *_consulted(call, leg)]
    if leg.get("transfer_to").startswith(("att:", "satt:")) and leg.holds:
        held, resumed = leg.holds[-1]
        ends += [held] if resumed == 0 or abs(leg.end - resumed) <= JOIN_TOLERANCE else []
    return min(end for end in ends if end >= leg.answer)


def _transferred(leg: Leg) -> Iterator[int]:
    """Yield when a leg was sent to another extension, and not joined to a leg."""
    joins = {begin for begin, _leg_id in leg.joins}
    for profile, next_profile in zip(leg.profiles, leg.profiles[1:], strict=False):
        if profile.transferred is not None and next_profile.created not in joins:
            yield profile.transferred


def _consulted(call: CallLegs, leg: Leg) -> Iterator[int]:
    """Yield when a leg left its party to call another one, to which the party was joined afterwards (`att_xfer`)."""
    children = [child for child in call.iter_callees() if child.originator_id == leg.leg_id]
    if any(leg_id != leg.leg_id for child in children for _begin, leg_id in child.joins):
        for application in leg.applications:
            if application.name == "att_xfer" and application.began is not None:
                yield application.began


# Legs whose documents did not come


def _missing_rows(call: CallLegs, leg: Leg) -> Iterator[Row]:
    """Yield a row for each leg that another one began and that was not reported: `log-b-leg` is off, or it is late."""
    for originated in leg.originated_legs:
        if call.get(originated.leg_id) is None:
            yield _missing_row(call, leg, originated)


def _missing_row(call: CallLegs, leg: Leg, originated: OriginatedLeg) -> Row:
    bridges = [
        (application.began, application.data)
        for application in leg.applications
        if application.name == "bridge" and application.began is not None
    ]
    pattern = re.compile(rf"(?<![0-9]){re.escape(originated.number)}(?![0-9])")
    own_bridges = [bridge for bridge in bridges if pattern.search(bridge[1])] or bridges
    begin, data = own_bridges[0] if own_bridges else (leg.start, "")
    gateway = _GATEWAY.search(data)
    later_bridges = [began for began, _data in bridges if began > begin]
    profile = profile_at(leg, begin)
    is_last = leg.get("bridge_uuid") == originated.leg_id
    is_connected = originated.cause == "NONE" or (not originated.cause and is_last)
    answer = profile.bridged if is_connected and leg.answer is not None else None
    ends = [profile.transferred or leg.end] if answer else [*later_bridges[:1], leg.answer, leg.end]
    known_ends = [end for end in ends if end is not None and end >= begin]
    cause = originated.cause or cause_of_caller(
        leg.get("hangup_cause"), leg.get("DIALSTATUS"), leg.get("originate_disposition")
    )
    number = originated.number if _is_number(originated.number) else profile.destination
    return Row(
        begin=begin,
        answer=answer,
        end=min(known_ends) if known_ends else None,
        number=number,
        status=ANSWERED if answer else status_of_unanswered(cause),
        cause=cause,
        caller=_caller(call, leg),
        callee_id=originated.leg_id,
        trunk=gateway[1] if gateway is not None else "",
        extra={"missing_leg": originated.leg_id},
    )


def _caller(call: CallLegs, leg: Leg) -> Leg:
    """Return the leg of the party that calls by this leg: behind a loopback leg, if it was reported."""
    return (call.originator_of(leg) or leg) if leg.is_loopback else leg


def _is_number(text: str) -> bool:
    """Return whether a text is a number; a leg through a loopback has the name of a context there."""
    return text.removeprefix("+").isdecimal()


# Legs that joined a call


def _pick_up_rows(call: CallLegs, leg: Leg) -> Iterator[Row]:
    """Yield the stage of a telephone that called the PBX to get an earlier caller: a pick-up, or from a queue."""
    if leg.answer is None or not any(profile.bridged for profile in leg.profiles):
        return
    peer_ids = [*(leg_id for _begin, leg_id in leg.joins), leg.get("bridge_uuid"), leg.get("fifo_target")]
    peers = [peer for leg_id in peer_ids if (peer := call.get(leg_id)) is not None]
    earlier = [peer for peer in peers if peer.is_caller and (peer.start, peer.leg_id) < (leg.start, leg.leg_id)]
    if earlier:
        yield Row(
            begin=leg.start,
            answer=leg.answer,
            end=leg.end,
            number=call.party_number(leg),
            status=ANSWERED,
            cause=leg.get("hangup_cause"),
            caller=earlier[0],
            callee=leg,
            callee_id=leg.leg_id,
        )


# Machines, and what is left


def _machine_rows(call: CallLegs, leg: Leg, party_rows: list[Row]) -> Iterator[Row]:
    for stage in find_stages(leg):
        agents = [row for row in party_rows if row.agent_ring is not None and row.answer is not None]
        is_queue = stage.kind == "queue"
        yield Row(
            begin=stage.begin,
            answer=stage.answer,
            end=stage.end,
            number=stage.number,
            status=_machine_status(stage),
            cause=leg.get("hangup_cause"),
            caller=_caller(call, leg),
            machine=stage,
            agent_ring=agents[0].agent_ring if is_queue and agents else None,
        )


def _machine_status(stage: MachineStage) -> str:
    if stage.has_message:
        return VOICEMAIL
    if stage.answer is not None:
        return ANSWERED
    return ABANDONED if stage.is_abandoned else NO_ANSWER


def _only_row(leg: Leg) -> Row:
    """Return the row of a leg without any other party, or with that of its last bridge alone: what it dialled, and why
    that failed. An answered leg that was connected to none was answered by the PBX itself.
    """
    profile = leg.profiles[-1]
    cause = cause_of_caller(leg.get("hangup_cause"), leg.get("DIALSTATUS"), leg.get("originate_disposition"))
    number = leg.profiles[0].destination if is_click_to_call(leg) else profile.destination
    bridged_id = leg.get("bridge_uuid") if leg.answer is not None else ""
    is_machine = leg.answer is not None and not bridged_id and not is_click_to_call(leg)
    kind: LegKind = "ivr" if leg.get("ivr_menu_uuid") else "feature"
    stage = MachineStage(kind=kind, number=number, begin=leg.start, answer=leg.answer, end=leg.end)
    return Row(
        begin=leg.start,
        answer=leg.answer,
        end=leg.end,
        number=number,
        status=ANSWERED if leg.answer is not None else status_of_unanswered(cause),
        cause=cause,
        caller=leg,
        callee_id=bridged_id,
        machine=stage if is_machine else None,
        extra={"missing_leg": bridged_id},
    )


def seconds_between(begin: int, end: int | None) -> int | None:
    """Return the difference of truncated seconds, as FreeSWITCH counts."""
    return None if end is None else max(0, end // MICROSECONDS - begin // MICROSECONDS)
