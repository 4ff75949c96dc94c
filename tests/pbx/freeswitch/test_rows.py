"""Rows of calls that were not captured: constructed documents, in seconds after the begin of the call."""

import json
from typing import Any

import pytest

from onhook.cdr.call_details import ABANDONED
from onhook.lib.errors import ParseError
from tests.pbx.freeswitch.captures import FREESWITCH, assemble, calls_of, the_call

EPOCH = 1_777_309_476
A, B, C, D = (f"{letter * 8}-0000-4000-8000-000000000000" for letter in "abcd")


def micros(seconds: float | None) -> str:
    return "0" if seconds is None else str(round((EPOCH + seconds) * 1e6))


def leg(
    leg_id: str, times: str, *profiles: dict[str, Any], apps: tuple[tuple[str, str, float], ...] = (), **variables: Any
) -> bytes:
    """Return a document; `times` are start, answer and end, `-` for never. Without `profiles` 1001 calls 1002."""
    start, answer, end = (None if time == "-" else float(time) for time in times.split())
    epochs = {
        f"{name}_epoch": "0" if time is None else str(EPOCH + int(time))
        for name, time in (("start", start), ("answer", answer), ("end", end))
    }
    return json.dumps(
        {
            "channel_data": {},
            "variables": {"uuid": leg_id, "hangup_cause": "NORMAL_CLEARING", **epochs, **variables},
            "app_log": {
                "applications": [
                    {"app_name": name, "app_data": data, "app_stamp": micros(begin)} for name, data, begin in apps
                ]
            },
            "callflow": list(profiles) or [profile("1002")],
        }
    ).encode()


def profile(destination: str, created: float = 0, bridged: float | None = None, **members: str) -> dict[str, Any]:
    caller = {"caller_id_number": "1001", "ani": "1001", "context": "default"}
    return {
        "caller_profile": {**caller, "destination_number": destination, **members},
        "times": {"profile_created_time": micros(created), "bridged_time": micros(bridged)},
    }


def rows(*bodies: bytes) -> list[tuple[str, str, int | None, int | None]]:
    """Return number, status, duration and talk of each row of the only call."""
    (details,) = calls_of(bodies)
    return [(row.call_to, row.status, row.call_duration, row.talk_duration) for row in details]


def test_picked_up_call_is_answered_by_the_telephone_that_picked_up() -> None:
    caller = leg(A, "0 3 9", profile("1002", bridged=3), originated_legs=f"{B};Outbound Call;1002")
    called = leg(B, "0 - 3", originating_leg_uuid=A, hangup_cause="PICKED_OFF")
    history = f"{EPOCH + 3}:{D}:uuid_br:{A}"
    picker = leg(C, "3 3 9", profile("*8", 3, 3, caller_id_number="1003", ani="1003"), transfer_history=history)
    assert rows(caller, called, picker) == [("1002", "NO ANSWER", 3, 0), ("1003", "ANSWERED", 6, 6)]
    assert the_call(caller, called, picker).answered_by == "1003"


def test_queue_without_list_of_applications_is_known_by_its_variables() -> None:
    """`app_log` is absent in older releases."""
    member = leg(
        A,
        "0 0 20",
        cc_side="member",
        cc_queue="6400@pbx.example.com",
        cc_queue_joined_epoch=str(EPOCH + 2),
        cc_cancel_reason="TIMEOUT",
    )
    assert rows(member) == [("6400", "NO ANSWER", 18, 0)]


def test_menu_with_several_prompts_is_one_stage() -> None:
    prompts = (("answer", "", 1.0), ("play_and_get_digits", "a", 1.0), ("play_and_get_digits", "b", 4.0))
    assert rows(leg(A, "0 1 9", profile("5000"), apps=prompts)) == [("5000", "ANSWERED", 8, 8)]


def test_machines_one_after_the_other_are_stages() -> None:
    machines = (("echo", "", 1.0), ("conference", "3000@default", 4.0))
    expected = [("9196", "ANSWERED", 3, 3), ("3000", "ANSWERED", 5, 5)]
    assert rows(leg(A, "0 1 9", profile("9196"), apps=machines)) == expected


def test_mailbox_that_is_checked_is_a_feature() -> None:
    (details,) = FREESWITCH.parse(
        leg(A, "0 1 9", profile("*97"), apps=(("voicemail", "check default pbx.example.com 1001", 1.0),))
    )
    assert (details.call_to, details.extra["callee_kind"], details.status) == ("*97", "feature", "ANSWERED")


def test_voicemail_behind_a_loopback_leg_is_of_the_caller() -> None:
    caller = leg(A, "0 5 20", profile("1202"), originated_legs=f"{B};Outbound Call;default")
    half = leg(B, "0 5 20", is_loopback="1", originating_leg_uuid=A, other_loopback_leg_uuid=C)
    other = leg(
        C,
        "0 5 20",
        apps=(("voicemail", "default pbx.example.com 1002", 5.0),),
        is_loopback="1",
        other_loopback_leg_uuid=B,
        voicemail_message_seconds="8",
        voicemail_file_path="/var/mail/msg_1.wav",
    )
    (details,) = calls_of([caller, half, other])
    assert [(row.call_to, row.status, row.call_from, row.recording) for row in details] == [
        ("1002", "VOICEMAIL", "1001", "msg_1.wav")
    ]


@pytest.mark.parametrize(("variables", "kind"), [({}, "feature"), ({"ivr_menu_uuid": D}, "ivr")])
def test_answered_leg_without_other_party_was_answered_by_the_pbx(variables: dict[str, Any], kind: str) -> None:
    """As by a script, which is no application that is known."""
    call = the_call(leg(A, "0 1 9", profile("7777"), apps=(("lua", "app.lua", 0.5),), **variables))
    assert (call.status, call.talk_duration, call.legs[0].extra["callee_kind"]) == (ABANDONED, 0, kind)


def test_applications_without_times_begin_with_the_answer() -> None:
    document = json.loads(leg(A, "0 3 9", profile("5000"), apps=(("ivr", "main", 0.5),)))
    del document["app_log"]["applications"][0]["app_stamp"]
    assert rows(json.dumps(document).encode()) == [("5000", "ANSWERED", 6, 6)]


def test_loopback_legs_alone_are_no_call() -> None:
    assert FREESWITCH.parse(leg(B, "0 1 2", is_loopback="1", originating_leg_uuid=A)) == []


def test_loopback_legs_in_a_circle_end_at_the_first_caller() -> None:
    circle = leg(B, "0 1 2", is_loopback="1", originating_leg_uuid=B)
    called = leg(C, "0 1 9", originating_leg_uuid=B)
    caller = leg(A, "0 1 9", profile("1002", caller_id_number="1009", ani="1009"), bridge_uuid=C)
    (details,) = calls_of([circle, called, caller])
    assert [(row.call_from, row.call_to) for row in details] == [("1009", "1002")]


def test_leg_that_returns_to_its_caller_is_one_stage() -> None:
    history = f'ARRAY::{EPOCH + 4}:{D}:uuid_br:{A}|:oops|:{EPOCH + 5}:{D}:bl_xfer:m:":x://-1"1003/default/XML'
    called = leg(B, "0 2 9", originating_leg_uuid=A, transfer_history=history)
    assert rows(called) == [("1002", "ANSWERED", 9, 7)]


def test_leg_that_consulted_and_left_ends_at_the_consultation() -> None:
    """`att_xfer` by a feature code, after another application."""
    apps = (("playback", "x", 3.0), ("att_xfer", "user/1003", 5.0))
    called = leg(B, "0 2 9", originating_leg_uuid=A, apps=apps, originated_legs=f"{C};Outbound Call;1003")
    history = f"{EPOCH + 9}:{D}:uuid_br:{A}"
    profiles = (profile("1003", 9), profile("1003", 5))
    consulted = leg(C, "5 7 12", *profiles, originating_leg_uuid=B, transfer_history=history)
    expected = [("1002", "ANSWERED", 5, 3), ("1003", "ANSWERED", 4, 2), ("1003", "ANSWERED", 3, 3)]
    assert rows(called, consulted, leg(A, "0 2 12")) == expected


def test_hold_that_ended_before_the_transfer_is_talk() -> None:
    holds = "{{%s,%s}}" % (micros(3), micros(4))  # noqa: UP031 - braces
    called = leg(B, "0 2 9", originating_leg_uuid=A, transfer_to=f"att:{C}", hold_events=holds)
    assert rows(called) == [("1002", "ANSWERED", 9, 7)]


def test_click_to_call_that_its_first_party_does_not_answer_is_an_attempt_to_reach_it() -> None:
    first = leg(A, "0 - 9", profile("1001", caller_id_number="1002"), direction="outbound", hangup_cause="NO_ANSWER")
    assert rows(first) == [("1001", "NO ANSWER", 9, 0)]


def test_two_telephones_of_one_extension_are_two_records() -> None:
    """Both ring in the same second: the ids of their legs differ."""
    legs = [leg(leg_id, "0 - 5", originating_leg_uuid=A, dialed_user="1002") for leg_id in (B, C)]
    (details,) = calls_of(legs)
    assert len(assemble(details).legs) == 2


def test_contact_of_a_web_telephone_does_not_hide_its_extension() -> None:
    called = leg(B, "0 2 9", profile("k3j4h5"), originating_leg_uuid=A, dialed_user="1002")
    assert rows(called) == [("1002", "ANSWERED", 9, 7)]


def test_agent_alone_has_no_direction() -> None:
    """Whether the caller came from outside only the leg of the caller says."""
    agent = leg(B, "0 2 9", cc_side="agent", cc_member_session_uuid=A)
    (details,) = FREESWITCH.parse(agent)
    assert (details.type, details.call_id, details.agent_ring_time) == ("", A, 2)


def test_fusionpbx_variables_are_used() -> None:
    variables: dict[str, Any] = {
        "call_direction": "inbound",
        "caller_destination": "+493055500",
        "pin_number": "4711",
        "domain_name": "tenant.example.com",
        "accountcode": "_undef_",
        "record_name": "talk.wav",
    }
    (details,) = calls_of([leg(A, "0 2 9", bridge_uuid=B, **variables), leg(B, "0 2 9", originating_leg_uuid=A)])
    (row,) = details
    assert (row.type, row.did_number, row.pin_code, row.recording) == ("Inbound", "+493055500", "4711", "talk.wav")
    assert row.extra["domain"] == "tenant.example.com"
    assert "accountcode" not in row.extra


def test_end_before_the_start_is_an_unknown_duration() -> None:
    assert rows(leg(B, "9 - 2", originating_leg_uuid=A)) == [("1002", "NO ANSWER", None, 0)]
    assert rows(leg(B, "9 11 2", originating_leg_uuid=A)) == [("1002", "ANSWERED", None, None)]


@pytest.mark.parametrize("stamp", ["", "yesterday", "2026-04-27T19:04:36+02:00", "2020-01-01 00:00:07"])
def test_clock_without_offset_is_shown_in_utc(stamp: str) -> None:
    (details,) = FREESWITCH.parse(leg(B, "0 2 9", originating_leg_uuid=A, start_stamp=stamp))
    assert (details.time_start, details.extra["utc_offset_seconds"]) == ("2026-04-27 17:04:36", 0)


def test_call_of_very_many_legs_or_variables_is_a_parse_error() -> None:
    body = leg(A, "0 1 2")
    with pytest.raises(ParseError, match="legs"):
        FREESWITCH.parse_legs([body] * 1_001)
    with pytest.raises(ParseError, match="parts"):
        FREESWITCH.parse(leg(A, "0 1 2", **dict[str, Any]((f"v{number}", "") for number in range(5_001))))


@pytest.mark.parametrize("variables", [{"originated_legs": "no-id;x;1002"}, {"originated_legs": ""}])
def test_list_of_called_legs_without_ids_is_left_out(variables: dict[str, Any]) -> None:
    assert rows(leg(A, "0 - 2", DIALSTATUS="BUSY", **variables)) == [("1002", "BUSY", 2, 0)]


def test_missing_legs_without_bridge_application_have_the_times_of_the_caller() -> None:
    variables: dict[str, Any] = {"originated_legs": f"ARRAY::{B};x;1002|:{C};x;1003", "bridge_uuid": C}
    caller = leg(A, "0 4 9", profile("2001", bridged=4), **variables)
    causes: dict[str, Any] = {"originate_causes": f"ARRAY::{B};USER_BUSY|:{C};NONE"}
    caller_with_causes = leg(A, "0 4 9", profile("2001", bridged=4), **variables | causes)
    assert rows(caller_with_causes) == [("1002", "BUSY", 4, 0), ("1003", "ANSWERED", 9, 5)]
    assert rows(caller) == [("1002", "NO ANSWER", 4, 0), ("1003", "ANSWERED", 9, 5)]
