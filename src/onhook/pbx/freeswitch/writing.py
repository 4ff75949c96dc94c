"""The documents that a FreeSWITCH would send for a call (freeswitch.md 9): of each called leg, then of the caller's.

Invariant: reading them gives the call details back, as far as FreeSWITCH has a place for them.
"""

import base64
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

import msgspec

from onhook.cdr.call_details import ANSWERED, BUSY, FAILED, UTC_OFFSET, CallDetails
from onhook.cdr.identity import extract_name, extract_number
from onhook.cdr.number_plan import PERSON_KINDS, LegKind, NumberPlan
from onhook.pbx.freeswitch.documents import ARRAY_PREFIX, ARRAY_SEPARATOR, MICROSECONDS, join_array

DOMAIN = "pbx.example.com"
_NORMAL = "NORMAL_CLEARING"
_CAUSES: Mapping[str, str] = {ANSWERED: _NORMAL, BUSY: "USER_BUSY", FAILED: "CALL_REJECTED"}
_APPLICATIONS: Mapping[LegKind, str] = {"queue": "callcenter", "ivr": "ivr", "voicemail": "voicemail"}
_DIRECTIONS: Mapping[str, str] = {"Inbound": "inbound", "Outbound": "outbound", "Internal": "local"}
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Members = dict[str, Any]


class _Span(msgspec.Struct, frozen=True):
    """When a stage began, was answered, and ended, in seconds since 1970; its offset from UTC."""

    begin: int
    answer: int
    end: int
    offset: int


def format_legs(calls: Sequence[CallDetails], sn: str, encoding: str) -> list[bytes]:
    """Return the documents about the legs of one call, whose details are in the order of their times: the called ones
    first, the caller's last. `encoding` is one of `ENCODINGS`.
    """
    kinds = [NumberPlan().kind_of_leg(details) for details in calls]
    persons = [details for details, kind in zip(calls, kinds, strict=True) if kind in PERSON_KINDS]
    documents = [_callee_document(details, sn) for details in persons]
    documents.append(_caller_document(calls, kinds, sn))
    return [ENCODINGS[encoding](document) for document in documents]


def format_event(details: CallDetails, calls: Sequence[CallDetails], sn: str, encoding: str) -> list[bytes]:
    """Return the documents that come with one of the details of a call: that about the called telephone, if it is one,
    and with the last of them that about the caller.
    """
    kinds = [NumberPlan().kind_of_leg(leg) for leg in calls]
    is_person = NumberPlan().kind_of_leg(details) in PERSON_KINDS
    documents = [_callee_document(details, sn)] if is_person else []
    if details == calls[-1]:
        documents.append(_caller_document(calls, kinds, sn))
    return [ENCODINGS[encoding](document) for document in documents]


def _leg_id(text: str, *parts: str) -> str:
    """Return an id of FreeSWITCH's form: the text itself, where it has that, else made from it."""
    return text if _UUID.fullmatch(text) else str(uuid.uuid5(uuid.NAMESPACE_OID, "\x1f".join((text, *parts))))


def _callee_id(details: CallDetails) -> str:
    return _leg_id(details.uid, details.call_id, details.time_start, details.call_to)


def _span(details: CallDetails) -> _Span:
    offset = details.extra.get(UTC_OFFSET, 0)
    begin = round(datetime.fromisoformat(details.time_start).replace(tzinfo=UTC).timestamp()) - offset
    end = begin + (details.call_duration or 0)
    is_answered = details.status in (ANSWERED, "VOICEMAIL")
    return _Span(begin, max(begin, end - (details.talk_duration or 0)) if is_answered else 0, end, offset)


def _callee_document(details: CallDetails, sn: str) -> Members:
    span = _span(details)
    variables = {
        "uuid": _callee_id(details),
        "direction": "outbound",
        "originating_leg_uuid": _leg_id(details.call_id),
        "hangup_cause": _cause(details),
        **_clock_variables(span),
    }
    if details.agent_ring_time is not None:
        variables["cc_side"] = "agent"
        variables["cc_member_session_uuid"] = variables.pop("originating_leg_uuid")
    if details.dst_trunk_name:
        variables["sip_gateway_name"] = details.dst_trunk_name
    else:
        variables["dialed_user"] = extract_number(details.call_to)
    if span.answer:
        variables["bridge_uuid"] = _leg_id(details.call_id)
    variables |= {
        name: value for name, value in (("record_name", details.recording), ("pin_number", details.pin_code)) if value
    }
    return _document(sn, "outbound", variables, [_profile(details, extract_number(details.call_to), span)], [])


def _cause(details: CallDetails) -> str:
    return str(details.extra.get("hangup_cause") or _CAUSES.get(details.status, "NO_ANSWER"))


def _caller_document(calls: Sequence[CallDetails], kinds: Sequence[LegKind], sn: str) -> Members:
    first = calls[0]
    spans = [_span(details) for details in calls]
    answers = [span.answer for span in spans if span.answer]
    whole = _Span(spans[0].begin, min(answers, default=0), max(span.end for span in spans), spans[0].offset)
    variables = {
        "uuid": _leg_id(first.call_id),
        "direction": "inbound",
        "hangup_cause": _NORMAL if answers else _cause(calls[-1]),
        **_clock_variables(whole),
    }
    variables |= (
        {"sofia_profile_name": "internal"} if not first.src_trunk_name else {"sip_gateway": first.src_trunk_name}
    )
    if first.type in _DIRECTIONS:
        variables["call_direction"] = _DIRECTIONS[first.type]
    variables |= {name: value for name, value in (("pin_number", first.pin_code),) if value}
    dialled = str(first.did_number or first.extra.get("dialled") or extract_number(first.call_to))
    profiles = [_profile(first, dialled, whole)]
    applications: list[Members] = []
    legs: dict[str, tuple[str, str]] = {}
    for details, kind, span in zip(calls, kinds, spans, strict=True):
        number = extract_number(details.call_to)
        if kind in PERSON_KINDS:
            if details.agent_ring_time is None:
                legs[_callee_id(details)] = (number, "NONE" if span.answer else _cause(details))
                applications.append(_application("bridge", f"user/{number}@{DOMAIN}", span.begin))
            continue
        profiles.insert(0, _profile(details, number, span))
        variables |= _machine_variables(details, kind, span)
        applications.append(_application("answer", "", span.begin))
        applications.append(_application(_APPLICATIONS.get(kind, kind), _machine_data(kind, number), span.begin))
    variables |= _originated_variables(legs)
    return _document(sn, "inbound", variables, profiles, applications)


def _machine_data(kind: LegKind, number: str) -> str:
    return f"default {DOMAIN} {number}" if kind == "voicemail" else f"{number}@{DOMAIN}"


def _machine_variables(details: CallDetails, kind: LegKind, span: _Span) -> Members:
    if kind == "voicemail":
        return {"voicemail_message_len": "00:00:05"} if details.status == "VOICEMAIL" else {}
    if kind != "queue":
        return {}
    outcome = {"cc_queue_answered_epoch": str(span.answer)} if span.answer else {"cc_cancel_reason": "BREAK_OUT"}
    queue = f"{extract_number(details.call_to)}@{DOMAIN}"
    return {"cc_side": "member", "cc_queue": queue, "cc_queue_joined_epoch": str(span.begin), **outcome}


def _originated_variables(legs: Mapping[str, tuple[str, str]]) -> Members:
    if not legs:
        return {}
    numbers = [f"{leg_id};Outbound Call;{number}" for leg_id, (number, _cause_name) in legs.items()]
    causes = [f"{leg_id};{cause}" for leg_id, (_number, cause) in legs.items()]
    return {"originated_legs": join_array(numbers), "originate_causes": join_array(causes)}


def _clock_variables(span: _Span) -> Members:
    variables: Members = {}
    for name, epoch in (("start", span.begin), ("answer", span.answer), ("end", span.end)):
        variables[f"{name}_epoch"] = str(epoch)
        variables[f"{name}_uepoch"] = str(epoch * MICROSECONDS)
        if epoch:
            local = datetime.fromtimestamp(epoch + span.offset, UTC).replace(tzinfo=None)
            variables[f"{name}_stamp"] = str(local)
    talk = span.end - span.answer if span.answer else 0
    return {**variables, "duration": str(span.end - span.begin), "billsec": str(talk)}


def _profile(details: CallDetails, destination: str, span: _Span) -> Members:
    number = extract_number(details.call_from)
    name = extract_name(details.call_from) or number
    members = {"caller_id_name": name, "caller_id_number": number, "ani": number, "destination_number": destination}
    times = {"profile_created_time": span.begin, "answered_time": span.answer, "bridged_time": span.answer}
    return {
        "dialplan": "XML",
        "caller_profile": {**members, "context": "default"},
        "times": {**{name: str(value * MICROSECONDS) for name, value in times.items()}, "transfer_time": "0"},
    }


def _application(name: str, data: str, epoch: int) -> Members:
    return {"app_name": name, "app_data": data, "app_stamp": str(epoch * MICROSECONDS)}


def _document(
    sn: str, direction: str, variables: Members, profiles: Sequence[Members], applications: Sequence[Members]
) -> Members:
    return {
        "core-uuid": _leg_id("", sn),
        "switchname": sn,
        "channel_data": {"state": "CS_REPORTING", "direction": direction},
        "callStats": {},
        "variables": variables,
        "app_log": {"applications": applications},
        "callflow": profiles,
    }


# Encodings


def _encode_values(document: Members) -> Members:
    return {**document, "variables": {name: quote(value, safe="") for name, value in document["variables"].items()}}


def _to_xml(document: Members) -> bytes:
    """Return a document as mod_xml_cdr writes it: variables are escaped, arrays repeat their element."""
    variables = "".join(
        f"<{name}>{quote(item, safe='')}</{name}>"
        for name, value in document["variables"].items()
        for item in (value.removeprefix(ARRAY_PREFIX).split(ARRAY_SEPARATOR))
    )
    applications = "".join(
        "<application " + " ".join(f"{name}={quoteattr(value)}" for name, value in application.items()) + "/>"
        for application in document["app_log"]["applications"]
    )
    flows = "".join(
        f"<callflow>{_elements('caller_profile', flow['caller_profile'])}{_elements('times', flow['times'])}</callflow>"
        for flow in document["callflow"]
    )
    head = f'<?xml version="1.0"?>\n<cdr switchname={quoteattr(document["switchname"])}>'
    return f"{head}<variables>{variables}</variables><app_log>{applications}</app_log>{flows}</cdr>".encode()


def _elements(name: str, members: Mapping[str, str]) -> str:
    return f"<{name}>{''.join(f'<{tag}>{escape(text)}</{tag}>' for tag, text in members.items())}</{name}>"


def _to_form(text: bytes) -> bytes:
    return b"cdr=" + quote(text, safe="").encode()


ENCODINGS: Mapping[str, Callable[[Members], bytes]] = {
    "json": msgspec.json.encode,
    "values": lambda document: msgspec.json.encode(_encode_values(document)),
    "form": lambda document: _to_form(msgspec.json.encode(document)),
    "base64": lambda document: b"cdr=" + base64.b64encode(msgspec.json.encode(document)),
    "xml": _to_xml,
    "xml-form": lambda document: _to_form(_to_xml(document)),
}
"""How a document is written: as JSON, with encoded values, in a form, as Base64, as XML, as XML in a form."""

PAYLOAD_FORMATS: Mapping[str, tuple[str, str]] = {
    f"{encoding}-{leg_name}-leg": (encoding, leg_name) for encoding in ENCODINGS for leg_name in ("a", "b")
}
