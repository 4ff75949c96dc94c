"""The event `CHANNEL_HANGUP_COMPLETE` of the event socket, in the parts of a document (freeswitch.md 11). Pure.

An event has the variables of a leg and its newest stage in the dialplan. It has neither the older stages nor the
applications: the number that a caller dialled first is in variables.
"""

from collections.abc import Mapping
from typing import Any, Final

EVENT_NAME: Final = "CHANNEL_HANGUP_COMPLETE"
EVENT_MEMBER: Final = "Event-Name"

_VARIABLE = "variable_"
_PROFILE: Mapping[str, str] = {
    "destination_number": "Caller-Destination-Number",
    "caller_id_number": "Caller-Caller-ID-Number",
    "caller_id_name": "Caller-Caller-ID-Name",
    "ani": "Caller-ANI",
    "context": "Caller-Context",
}
_TIMES: Mapping[str, str] = {
    "profile_created_time": "Caller-Profile-Created-Time",
    "answered_time": "Caller-Channel-Answered-Time",
    "bridged_time": "Caller-Channel-Bridged-Time",
    "transfer_time": "Caller-Channel-Transfer-Time",
}
_OUTSIDE_PROFILE, _OUTSIDE_CONTEXT = "external", "public"
"""Names in the configuration that a FreeSWITCH comes with: what arrives there begins in this context."""

_CREATED = "Caller-Channel-Created-Time"


def is_event(members: Mapping[str, Any]) -> bool:
    """Return whether the members are those of such an event."""
    return members.get(EVENT_MEMBER) == EVENT_NAME


def to_document_members(event: Mapping[str, Any], array_prefix: str, array_separator: str) -> dict[str, Any]:
    """Return the members of the document that mod_json_cdr would send about the leg, as far as the event has them.
    Values of several parts, which are lists here, are written as there.
    """
    variables = {
        name.removeprefix(_VARIABLE): _join(value, array_prefix, array_separator)
        for name, value in event.items()
        if name.startswith(_VARIABLE)
    }
    profile: dict[str, Any] = {name: event.get(member) for name, member in _PROFILE.items()}
    if event.get("Other-Type") == "originator":
        profile["originator"] = {"originator_caller_profiles": [{"uuid": event.get("Other-Leg-Unique-ID")}]}
    flows = [{"caller_profile": profile, "times": {name: event.get(member) for name, member in _TIMES.items()}}]
    dialled = variables.get("sip_req_user") if event.get("Call-Direction") == "inbound" else None
    if dialled and dialled != profile["destination_number"]:
        is_outside = variables.get("sofia_profile_name") == _OUTSIDE_PROFILE
        first_context = _OUTSIDE_CONTEXT if is_outside else profile["context"]
        first_profile = {**profile, "destination_number": dialled, "context": first_context}
        flows.append({"caller_profile": first_profile, "times": {"profile_created_time": event.get(_CREATED)}})
    return {"variables": variables, "callflow": flows}


def _join(value: Any, prefix: str, separator: str) -> Any:
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return value[0] if len(value) == 1 else prefix + separator.join(value)
    return value
