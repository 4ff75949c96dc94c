"""Acceptance tests FS1 to FS18 of FreeSWITCH, as far as they need no network."""

import itertools
import json
from collections.abc import Callable
from typing import Any

import pytest

from onhook.cdr.call_details import ABANDONED, CallDetails
from onhook.lib.errors import ParseError
from onhook.pbx.freeswitch.documents import decode_document
from tests.pbx.freeswitch.captures import FREESWITCH, PAYLOADS, bodies, calls_of, constructed, the_call

A_LEG, B_LEG = constructed("fs_json_cdr_a_leg.json"), constructed("fs_json_cdr_b_leg.json")
A_ID, B_ID = "3da8bf84-c133-4959-9e24-e72875cb33a1", "f52c26f1-b018-4963-bf6d-a3111d1a0320"


def check_first_call(details: CallDetails) -> None:
    assert (details.call_id, details.uid, details.time_start) == (A_ID, B_ID, "2018-01-11 11:25:44")
    assert (details.call_from, details.call_to, details.type) == ("1001", "1002", "Internal")
    assert (details.call_duration, details.talk_duration, details.status) == (71, 68, "ANSWERED")
    assert details.extra["utc_offset_seconds"] == 3600


@pytest.mark.parametrize("legs", [*itertools.permutations([A_LEG, B_LEG]), (A_LEG, B_LEG, B_LEG, A_LEG, B_LEG)])
def test_fs1_both_legs_in_any_order_are_one_call(legs: tuple[bytes, ...]) -> None:
    call = the_call(*legs)
    (leg,) = call.legs
    check_first_call(leg)
    assert (call.talk_duration, call.answered_by, leg.utc_offset) == (68, "1002", "+01:00")
    assert "missing_leg" not in leg.extra


def test_body_is_recognised_as_a_document_of_freeswitch() -> None:
    assert FREESWITCH.recognizes(A_LEG)
    assert not FREESWITCH.recognizes(b'{"type": 30012, "sn": "3631A2124XXX"}')


def test_fs2_caller_leg_alone_is_the_call_and_names_the_missing_leg() -> None:
    (details,) = FREESWITCH.parse(A_LEG)
    check_first_call(details)
    assert details.extra["missing_leg"] == B_ID


def test_fs3_called_leg_alone_is_the_call() -> None:
    (details,) = FREESWITCH.parse(B_LEG)
    check_first_call(details)


def test_fs4_encoded_values_are_decoded_and_the_lost_byte_is_left_out() -> None:
    body = constructed("fs_json_cdr_a_leg_encoded_values.json")
    assert FREESWITCH.parse(body) == FREESWITCH.parse(A_LEG)
    variables = decode_document(body).variables
    assert variables["caller_id"] == '"1001" <1001>'
    assert (variables["effective_caller_id_name"], variables["effective_caller_id_number"]) == ("张", "")


def test_fs4_captured_name_comes_from_the_callflow() -> None:
    """mod_json_cdr has lost a byte of each value; `callflow` is never encoded."""
    for body in bodies("e35"):
        assert "\ufffd" not in str(FREESWITCH.parse(body))


POSTS = ("post_base64", "post_disable_100_continue", "post_encode_true_after_pr3152")


def test_fs5_encodings_of_one_leg_are_one_event() -> None:
    posts = [constructed(f"fs_json_cdr_{name}.txt") for name in POSTS]
    documents = [decode_document(body) for body in posts]
    assert documents[0] == documents[1] == documents[2]
    assert len({FREESWITCH.peek(body).key for body in [*posts, A_LEG]}) == 1
    (details,) = FREESWITCH.parse(posts[0])
    assert (details.call_from, details.call_to, details.call_duration, details.talk_duration) == (
        "1001",
        "1002",
        71,
        68,
    )


@pytest.mark.parametrize("setting", ["e01", "e03", "e04", "e05", "e06", "e07", "e08", "e09", "e35"])
def test_fs5_captured_encodings_are_read(setting: str) -> None:
    for body in bodies(setting):
        assert FREESWITCH.peek(body).kind == "details"
    assert all(call for call in calls_of(bodies(setting)))


def unsound_bodies() -> list[bytes]:
    return [constructed("fs_json_cdr_post_encode_true_before_pr3152.txt"), *bodies("e02"), *bodies("e37")]


@pytest.mark.parametrize("body", unsound_bodies())
def test_fs6_encode_true_of_older_releases_names_the_setting(body: bytes) -> None:
    envelope = FREESWITCH.peek(body)
    assert (envelope.kind, envelope.label) == ("unparsable", "leg")
    with pytest.raises(ParseError, match="encode=true") as caught:
        FREESWITCH.parse(body)
    assert "`encode`" in caught.value.hint


def test_fs7_outbound_leg_has_its_gateway() -> None:
    (details,) = FREESWITCH.parse(constructed("fs_json_cdr_outbound_gateway_leg.json"))
    assert (details.call_id, details.time_start) == ("aaaaaaaa-0000-4000-8000-00000000000c", "2025-11-24 11:00:00")
    assert (details.call_from, details.call_to) == ("Ann Example<1001>", "00493012345678")
    assert (details.call_duration, details.talk_duration, details.type) == (84, 75, "Outbound")
    assert (details.dst_trunk_name, details.extra["accountcode"]) == ("carrier1", "sales")


MEMBER, AGENT = (constructed(f"fs_json_cdr_queue_{name}_leg.json") for name in ("member", "agent"))


@pytest.mark.parametrize("legs", [(MEMBER, AGENT), (AGENT, MEMBER)])
def test_fs8_queue_call_has_a_row_of_queue_and_agent(legs: tuple[bytes, ...]) -> None:
    call = the_call(*legs)
    assert (call.type, call.call_from, call.did_number) == ("Inbound", "+4917600000001", "+493055500")
    assert (call.src_trunk_name, call.answered_by, call.talk_duration, call.wait_duration) == (
        "carrier1",
        "1002",
        88,
        30,
    )
    rows = [
        (leg.call_to, leg.time_start[11:], leg.call_duration, leg.talk_duration, leg.agent_ring_time)
        for leg in call.legs
    ]
    assert rows == [("6400", "11:00:02", 118, 88, 12), ("1002", "11:00:20", 100, 88, 12)]
    assert call.recordings == ("bbbbbbbb-0000-4000-8000-000000000001.wav",)


def test_fs9_queue_that_the_caller_left_is_abandoned() -> None:
    call = the_call(constructed("fs_json_cdr_queue_abandoned_leg.json"))
    assert (call.status, call.type, call.talk_duration, call.wait_duration) == (ABANDONED, "Inbound", 0, 58)
    assert [leg.call_to for leg in call.legs] == ["6400"]


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a change of a member by its path."""
    *parents, name = path.split("/")

    def apply(document: dict[str, Any]) -> None:
        for parent in parents:
            document = document[parent]
        if value is ...:
            del document[name]
        else:
            document[name] = value

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        change("callflow", ...),
        change("callflow", 5),
        change("callflow", [{"caller_profile": {}}]),
        change("variables", ["uuid"]),
        change("variables", ...),
        change("variables/start_epoch", 1515666344),
        change("variables/start_epoch", "0"),
        change("variables/start_epoch", "-5"),
        change("variables/start_epoch", "99999999999"),
        change("variables/uuid", ""),
        change("variables/uuid", "a" * 201),
    ],
)
def test_fs10_damaged_document_is_unparsable_with_a_reason(damage: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(A_LEG)
    damage(document)
    body = json.dumps(document).encode()
    assert FREESWITCH.peek(body).kind == "unparsable"
    with pytest.raises(ParseError):
        FREESWITCH.parse(body)


def test_fs12_file_of_a_leg_that_was_sent_is_the_same_event() -> None:
    for scenario in ("e21", "e22", "e44"):
        files = [path.read_bytes() for path in (PAYLOADS).glob(f"{scenario}*/disk/*/*.cdr.json")]
        sent_keys = {FREESWITCH.peek(body).key for body in bodies(scenario)}
        assert files
        for content in files:
            assert FREESWITCH.peek(content).kind == "details"
        assert not sent_keys or {FREESWITCH.peek(content).key for content in files} >= sent_keys


XML = constructed("fs_xml_cdr_a_leg.xml")


def test_fs13_xml_in_each_encoding_is_the_same_call() -> None:
    (details,) = FREESWITCH.parse(XML)
    check_first_call(details)
    for setting in ("x1", "x2", "x3", "x5"):
        assert calls_of(bodies(setting, "xml")) == calls_of(bodies(setting))
    for setting in ("f1", "f3", "f4", "f5", "f6"):
        assert calls_of(bodies(setting, "fmt")) == calls_of(bodies(setting))


@pytest.mark.parametrize(
    "element",
    ["<nolocal:operator>1</nolocal:operator>", "<1>1</1>", "<set api_hangup_hook>x</set api_hangup_hook>", "<^^,a/>"],
)
def test_fs13_odd_elements_are_dropped(element: str) -> None:
    body = XML.replace(b"<variables>", b"<variables>" + element.encode())
    assert body != XML
    assert FREESWITCH.parse(body) == FREESWITCH.parse(XML)


@pytest.mark.parametrize(("scenario", "answered_by"), [("s20", "1003"), ("s26", "1003"), ("s66", "1004")])
def test_fs14_ring_group_is_one_call_with_loopback_legs_left_out(scenario: str, answered_by: str) -> None:
    call = the_call(*bodies(scenario))
    assert (call.status, call.answered_by) == ("ANSWERED", answered_by)
    assert [leg.call_to for leg in call.legs if leg.status == "ANSWERED"] == [answered_by]
    assert all(leg.call_to.startswith("100") for leg in call.legs)


@pytest.mark.parametrize(("scenario", "talk"), [("s10", 10), ("s12", 8), ("s13", 8), ("s14", 13), ("s16", 11)])
def test_fs15_transfer_is_one_call_whose_talk_counts_once(scenario: str, talk: int) -> None:
    assert the_call(*bodies(scenario)).talk_duration == talk
