"""The 37 troubles of yeastar-p-series.md 12: each one that can affect a receiver has a test `test_trouble_NUMBER_…`.

Tests of sessions, back-fill and `onhook doctor` are beside those modules; here are the tests of records and of the
receiver, and the reasons why the other troubles cannot affect Onhook.
"""

import json
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from onhook.cdr.call_assembly import PbxFacts, ReportedLeg, assemble_call
from onhook.cdr.call_details import CallDetails
from onhook.cdr.identity import record_key
from onhook.cdr.record import Call
from onhook.lib.errors import ParseError
from onhook.lib.signing import is_signed_by
from onhook.pbx.yeastar.payload import Yeastar
from onhook.receiver.verdict import RESPONSES_BY_VERDICT
from tests.factories import STARTED_AT, details
from tests.receiver.harness import RAW_EVENT, SECRET, SN, ReceiverHarness, make_request, open_receiver, statuses

YEASTAR = Yeastar()
TESTS = Path(__file__).parent

REASONS: Final[Mapping[int, str]] = {
    12: "no PBX reports agents that rang without answering; a call without such a leg is stored as reported",
    19: "recordings are stored by name only, not downloaded",
    20: "event 30020 is counted, not stored",
    22: "Onhook subscribes to event 30012 only",
    23: "no function waits for the end of a call that another event began",
    29: "both channels are supported, and the docs list their requirements",
    37: "transcripts are not requested",
}


def event(**changes: Any) -> bytes:
    """Return the live event of 2026, with changed members of `msg`."""
    envelope = json.loads(RAW_EVENT)
    return msgspec.json.encode(envelope | {"msg": json.dumps(json.loads(envelope["msg"]) | changes)})


def parse(body: bytes) -> CallDetails:
    (call_details,) = YEASTAR.parse(body)
    return call_details


def call(*legs: CallDetails) -> Call:
    reported_legs = [
        ReportedLeg(details=leg, seq=seq, via="webhook", received_at=STARTED_AT) for seq, leg in enumerate(legs, 1)
    ]
    return assemble_call(SN, reported_legs, PbxFacts())


def legs_of_one_call(*changes: Mapping[str, Any]) -> list[CallDetails]:
    return [details(**{"call_id": "1777287876.7", "uid": "20260427190436AB3D1", **change}) for change in changes]


def test_trouble_list_has_test_or_reason_for_each() -> None:
    tested = {
        int(number)
        for file in TESTS.rglob("test_*.py")
        for number in re.findall(r"def test_trouble_(\d+)_", file.read_text("utf-8"))
    }
    assert tested | REASONS.keys() == set(range(1, 38))
    assert not tested & REASONS.keys()


def test_trouble_1_msg_as_text_or_object_gives_same_call() -> None:
    """Some schemas document an object."""
    envelope = json.loads(RAW_EVENT)
    object_event = msgspec.json.encode(envelope | {"msg": json.loads(envelope["msg"])})
    assert parse(RAW_EVENT) == parse(object_event)


async def _send(receiver: ReceiverHarness, *bodies: bytes, secret: str | None = SECRET) -> list[int]:
    return [status for body in bodies for status in statuses(await receiver.send(make_request(body, secret)))]


async def test_trouble_6_retry_of_pbx_is_accepted_and_stored_once(tmp_path: Path) -> None:
    """A replay guard would reject it."""
    async with open_receiver(tmp_path / "ledger.db") as receiver:
        assert await _send(receiver, RAW_EVENT, RAW_EVENT, RAW_EVENT) == [200, 200, 200]
        assert await receiver.count_raw_events() == 1


def test_trouble_7_offset_comes_from_ids() -> None:
    leg = call(parse(RAW_EVENT)).legs[0]
    assert (leg.utc_offset, leg.offset_from, leg.started_at.isoformat()) == (
        "+03:00",
        "ids",
        "2026-09-23T21:04:18+00:00",
    )


def test_trouble_31_time_zone_of_host_has_no_effect(monkeypatch: pytest.MonkeyPatch) -> None:
    before = call(parse(RAW_EVENT)).legs[0].started_at
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        assert call(parse(RAW_EVENT)).legs[0].started_at == before
    finally:
        monkeypatch.undo()
        time.tzset()


def test_trouble_8_ambiguous_date_is_rejected() -> None:
    """Such an event goes to the quarantine; event 30012 has no such format (yeastar-p-series.md 2.3)."""
    with pytest.raises(ParseError, match="would be ambiguous"):
        YEASTAR.parse(event(time_start="04/05/2026 10:00:00"))


def test_trouble_9_legs_with_same_uid_are_separate_records() -> None:
    legs = legs_of_one_call({"call_to": "6200"}, {"call_to": "6400"}, {"call_to": "1002"})
    assert len({record_key(SN, leg) for leg in legs}) == 3
    assert len(call(*legs).legs) == 3


def test_trouble_10_talk_of_queue_and_agent_counts_once() -> None:
    legs = legs_of_one_call({"call_to": "6400", "talk_duration": 14}, {"call_to": "1002", "talk_duration": 14})
    assert call(*legs).talk_duration == 14


def test_trouble_11_call_answered_by_ivr_only_is_abandoned() -> None:
    ivr_call = call(*legs_of_one_call({"call_to": "6200", "status": "ANSWERED"}))
    assert (ivr_call.status, ivr_call.answered_by, ivr_call.talk_duration) == ("ABANDONED", "", 0)


def test_trouble_13_wrong_direction_is_stored_as_reported() -> None:
    """No other field of the event has the right direction."""
    assert call(parse(event(type="Inbound", src_trunk_name="", dst_trunk_name="Trunk-B"))).type == "Inbound"


def test_trouble_17_name_with_quotes_and_backslashes_is_parsed() -> None:
    """Removing backslashes to repair the double encoding would destroy it."""
    assert parse(event(call_from='Bob "B\\O" <1002>')).call_from == 'Bob "B\\O" <1002>'


def test_trouble_18_raw_line_break_in_text_is_parsed() -> None:
    """Invalid as JSON."""
    assert parse(RAW_EVENT.replace(b"Trunk-A", b"Trunk\nA")).src_trunk_name == "Trunk\nA"


def test_trouble_21_second_id_of_call_placed_by_api_is_another_call() -> None:
    """No field joins the two; time and number would be a guess."""
    first, second = details(call_id="1702287660.12"), details(call_id="1702287661.13")
    assert record_key(SN, first)[1] != record_key(SN, second)[1]


def test_trouble_30_duration_as_number_or_text_is_parsed() -> None:
    for value in (11, "11", "11.0"):
        call_details = parse(event(call_duration=value, talk_duration=value))
        assert (call_details.call_duration, call_details.talk_duration) == (11, 11)


def test_trouble_32_later_leg_does_not_replace_earlier_leg() -> None:
    """Both share (`sn`, `call_id`); start and target differ."""
    legs = legs_of_one_call({"call_to": "6200", "status": "ANSWERED"}, {"call_to": "1002", "status": "NO ANSWER"})
    assert [leg.status for leg in call(*legs).legs] == ["ANSWERED", "NO ANSWER"]


def test_trouble_33_unknown_status_is_stored_and_not_answered() -> None:
    unknown_call = call(parse(event(status="UNKNOWN_STATUS", call_to="1002")))
    assert (unknown_call.status, unknown_call.answered_by) == ("UNKNOWN_STATUS", "")


def test_trouble_34_event_that_was_not_stored_gets_no_200() -> None:
    """Otherwise the PBX would not retry."""
    assert {RESPONSES_BY_VERDICT[verdict].status for verdict in ("unavailable", "too_many")} == {503}
    assert all(
        RESPONSES_BY_VERDICT[verdict].status != 200
        for verdict in ("unknown_pbx", "missing_signature", "invalid_signature")
    )


async def test_trouble_36_forged_event_is_rejected(tmp_path: Path) -> None:
    """Without a signature, with a wrong one, and with an response_statuses header."""
    async with open_receiver(tmp_path / "ledger.db") as receiver:
        assert await _send(receiver, RAW_EVENT, secret=None) == [401]
        assert await _send(receiver, RAW_EVENT, secret="another-secret-of-another-PBX-00") == [401]
        response_statuses = statuses(await receiver.send(make_request(RAW_EVENT, None, X_Yeastar_Secret=SECRET)))
        assert (response_statuses, await receiver.count_raw_events()) == ([401], 0)
        assert not is_signed_by([SECRET], RAW_EVENT, SECRET)
