"""The legs of one call together: which called which, whose numbers they are, and the PBX's clock. Pure.

Invariant: the order of the legs, and repeats of them, change nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from onhook.pbx.freeswitch.documents import MICROSECONDS, Profile
from onhook.pbx.freeswitch.leg import DEFAULT_NAME, Leg

HOPS_MAX = 8
"""Loopback legs one behind the other."""

EXTERNAL_PROFILE = "external"
PUBLIC_CONTEXT = "public"
"""The profile and the context of FreeSWITCH's own configuration for calls from outside."""

_LOCAL_NAMES = {"inbound": "Inbound", "outbound": "Outbound", "local": "Internal"}
"""Values of FusionPBX's `call_direction`."""


class CallLegs:
    """The legs of one call, at least one."""

    def __init__(self, legs: Sequence[Leg]) -> None:
        latest: dict[str, Leg] = {}
        for leg in sorted(legs, key=_completeness):
            latest[leg.leg_id] = leg
        self.legs = sorted(latest.values(), key=lambda leg: (leg.start, leg.leg_id))
        self._by_id = latest
        self._clocks = sorted({clock for leg in self.legs for clock in leg.clocks()})
        callers = [leg for leg in self.legs if leg.is_caller]
        self.root = callers[0] if callers else None

    @property
    def call_id(self) -> str:
        """The id of the leg with which the call began; where that is missing, of the one that is named as such."""
        if self.root is not None:
            return self.root.leg_id
        named_ids = [leg.originator_id for leg in self.legs if leg.originator_id]
        return next((leg_id for leg_id in named_ids if leg_id not in self._by_id), self.legs[0].leg_id)

    def get(self, leg_id: str) -> Leg | None:
        """Return the leg with this id, if it was reported."""
        return self._by_id.get(leg_id)

    def iter_callees(self) -> Iterator[Leg]:
        """Yield the legs that the PBX called, without loopback legs."""
        return (leg for leg in self.legs if leg.is_callee)

    def originator_of(self, leg: Leg) -> Leg | None:
        """Return the leg for which the PBX called this one, through loopback legs; None if it was not reported."""
        current: Leg | None = leg
        for _hop in range(HOPS_MAX):
            current = self.get(current.originator_id) if current is not None else None
            if current is None or not current.is_loopback:
                return current
            # The other half has the caller.
            current = self.get(current.get("other_loopback_leg_uuid")) if not current.originator_id else current
        return self.root

    def party_number(self, leg: Leg) -> str:
        """Return the number of the telephone or outside party of a leg."""
        if leg.is_callee:
            return callee_number(leg)
        if is_click_to_call(leg):
            return leg.profiles[0].destination
        # A transfer overwrites the caller's number, not the `ani`.
        return leg.profiles[0].ani or leg.profiles[0].caller_number or leg.get("sip_from_user")

    def format_caller(self, caller: Leg | None, callee: Leg | None) -> str:
        """Return the calling party of a stage as `Name<number>`, as far as both are known. One of the legs is."""
        profiles = [leg.profiles[0] for leg in (callee, caller) if leg is not None]
        number = self.party_number(caller) if caller is not None else _caller_of_callee(profiles[0], callee)
        names = (profile.caller_name for profile in profiles if number in (profile.caller_number, profile.ani))
        name = next((name for name in names if name not in (number, DEFAULT_NAME, "")), "")
        return f"{name}<{number}>" if name and number else number or name

    def trunk_of(self, caller: Leg | None) -> str:
        """Return the trunk by which a caller came in, or an empty text."""
        if caller is None or caller.is_callee or is_click_to_call(caller):
            return ""
        is_external = caller.get("sofia_profile_name") == EXTERNAL_PROFILE
        is_public = caller.profiles[0].context == PUBLIC_CONTEXT
        return caller.get("sip_gateway") or (EXTERNAL_PROFILE if is_external and is_public else "")

    def direction(self, src_trunk: str, dst_trunk: str) -> str:
        """Return the direction of a stage: FusionPBX's own word, else by its trunks."""
        declared = self.root.get("call_direction") if self.root is not None else ""
        return _LOCAL_NAMES.get(declared) or ("Outbound" if dst_trunk else "Inbound" if src_trunk else "Internal")

    def did_number(self, src_trunk: str) -> str:
        """Return the number that was dialled from outside; empty for other calls."""
        if self.root is None or not (src_trunk or self.root.get("call_direction") == "inbound"):
            return ""
        return self.root.get("caller_destination") or self.root.profiles[0].destination

    def utc_offset(self, moment: int) -> int:
        """Return the PBX's clock minus UTC at a time, in seconds: as it last said before, else first; 0 if it never
        does, so that its times are shown in UTC.
        """
        before = [offset for time, offset in self._clocks if time <= moment]
        return before[-1] if before else self._clocks[0][1] if self._clocks else 0

    def wall_clock(self, moment: int) -> str:
        """Return a time by the PBX's clock."""
        seconds = moment // MICROSECONDS
        local = datetime.fromtimestamp(seconds, UTC) + timedelta(seconds=self.utc_offset(moment))
        return str(local.replace(tzinfo=None))


def is_click_to_call(leg: Leg) -> bool:
    """Return whether the PBX called the first party by itself, as for click-to-call."""
    return leg.is_caller and leg.get("direction") == "outbound"


def callee_number(leg: Leg) -> str:
    """Return the number at which a leg was called: of a trunk as it was sent, of a telephone its extension, which its
    contact may hide.
    """
    destination = leg.profiles[0].destination
    is_number = destination.removeprefix("+").isdecimal()
    return destination if is_number or leg.get("sip_gateway_name") else leg.get("dialed_user") or destination


def _caller_of_callee(profile: Profile, callee: Leg | None) -> str:
    """Return the calling number that a called leg shows; not what a trunk was sent, nor the called one, which a
    transfer puts in its place.
    """
    is_trunk = callee is not None and bool(callee.get("sip_gateway_name"))
    is_ani = is_trunk or profile.caller_name == DEFAULT_NAME
    return (profile.ani if is_ani else profile.caller_number) or profile.ani or profile.caller_number


def _completeness(leg: Leg) -> tuple[int, int, list[tuple[str, str]]]:
    """Rank documents about the same leg, the last one is used, whatever their order."""
    variables = leg.document.variables
    return leg.end or 0, len(variables), sorted(variables.items())
