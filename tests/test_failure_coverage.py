"""The 37 troubles of yeastar-p-series.md 12: each that can touch a receiver has a test that is named after it.

Those of sessions, back-fill and `onhook doctor` stand with their rooms; here is what the record itself must bear, and
the list that says of all the others why they cannot touch us.
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

NOT_OURS: Final[Mapping[int, str]] = {
    12: "nobody reports agents who rang without answering; a call without such a leg is what the PBX tells",
    19: "recordings are known by their names, and not fetched",
    20: "30020 is another event: it is counted, not kept",
    22: "only 30012 is asked for",
    23: "nothing here waits for the end of a call that another event began",
    29: "both ways stand side by side, and the docs say which needs what",
    37: "transcripts are not asked for",
}


def event(**changes: Any) -> bytes:
    """The live report of 2026, with other members of `msg`."""
    envelope = json.loads(RAW_EVENT)
    return msgspec.json.encode(envelope | {"msg": json.dumps(json.loads(envelope["msg"]) | changes)})


def read(body: bytes) -> CallDetails:
    (one,) = YEASTAR.parse(body)
    return one


def call(*legs: CallDetails) -> Call:
    said = [ReportedLeg(details=leg, seq=seq, via="webhook", received_at=STARTED_AT) for seq, leg in enumerate(legs, 1)]
    return assemble_call(SN, said, PbxFacts())


def legs_of_one_call(*changes: Mapping[str, Any]) -> list[CallDetails]:
    return [details(**{"call_id": "1777287876.7", "uid": "20260427190436AB3D1", **change}) for change in changes]


def test_every_trouble_has_a_test_or_a_reason() -> None:
    """All 37, by number."""
    tested = {
        int(number)
        for file in TESTS.rglob("test_*.py")
        for number in re.findall(r"def test_trouble_(\d+)_", file.read_text("utf-8"))
    }
    assert tested | NOT_OURS.keys() == set(range(1, 38))
    assert not tested & NOT_OURS.keys()


def test_trouble_1_msg_is_text() -> None:
    """Schemas expected an object; both are read, as the same call."""
    envelope = json.loads(RAW_EVENT)
    as_object = msgspec.json.encode(envelope | {"msg": json.loads(envelope["msg"])})
    assert read(RAW_EVENT) == read(as_object)


async def _answers(door: ReceiverHarness, *bodies: bytes, secret: str | None = SECRET) -> list[int]:
    return [status for body in bodies for status in statuses(await door.send(make_request(body, secret)))]


async def test_trouble_6_the_pbxs_own_retry_is_taken(tmp_path: Path) -> None:
    """A replay guard refused it; here it is answered 200 and kept once."""
    async with open_receiver(tmp_path / "ledger.db") as door:
        assert await _answers(door, RAW_EVENT, RAW_EVENT, RAW_EVENT) == [200, 200, 200]
        assert await door.count_raw_events() == 1


def test_trouble_7_no_zone_is_guessed() -> None:
    """The wall clock is not taken for UTC: its offset is in the ids."""
    leg = call(read(RAW_EVENT)).legs[0]
    assert (leg.utc_offset, leg.offset_from, leg.started_at.isoformat()) == (
        "+03:00",
        "ids",
        "2026-09-23T21:04:18+00:00",
    )


def test_trouble_31_the_zone_of_this_machine_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same report is the same moment wherever it is read."""
    before = call(read(RAW_EVENT)).legs[0].started_at
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        assert call(read(RAW_EVENT)).legs[0].started_at == before
    finally:
        monkeypatch.undo()
        time.tzset()


def test_trouble_8_day_and_month_are_never_guessed() -> None:
    """A report in a display format waits in the quarantine; the event never has one (yeastar-p-series.md 2.3)."""
    with pytest.raises(ParseError, match="must not be guessed"):
        YEASTAR.parse(event(time_start="04/05/2026 10:00:00"))


def test_trouble_9_legs_that_share_a_uid_are_not_lost() -> None:
    """Three legs of one call, one `uid`: three records."""
    legs = legs_of_one_call({"call_to": "6200"}, {"call_to": "6400"}, {"call_to": "1002"})
    assert len({record_key(SN, leg) for leg in legs}) == 3
    assert len(call(*legs).legs) == 3


def test_trouble_10_talk_is_not_counted_twice() -> None:
    """A queue's leg and its agent's show the same conversation."""
    legs = legs_of_one_call({"call_to": "6400", "talk_duration": 14}, {"call_to": "1002", "talk_duration": 14})
    assert call(*legs).talk_duration == 14


def test_trouble_11_an_ivr_that_answers_is_nobody() -> None:
    """Callers whom only a machine heard were abandoned."""
    alone = call(*legs_of_one_call({"call_to": "6200", "status": "ANSWERED"}))
    assert (alone.status, alone.answered_by, alone.talk_duration) == ("ABANDONED", "", 0)


def test_trouble_13_a_wrong_direction_is_kept_as_it_was_said() -> None:
    """Nothing else in the report tells it better, so nothing is guessed."""
    assert call(read(event(type="Inbound", src_trunk_name="", dst_trunk_name="Trunk-B"))).type == "Inbound"


def test_trouble_17_a_name_with_quotes_and_backslashes_is_read() -> None:
    """Deleting backslashes to repair the double encoding destroys it."""
    assert read(event(call_from='Bob "B\\O" <1002>')).call_from == 'Bob "B\\O" <1002>'


def test_trouble_18_raw_line_breaks_inside_texts_are_borne() -> None:
    """They are not JSON, and still one call."""
    assert read(RAW_EVENT.replace(b"Trunk-A", b"Trunk\nA")).src_trunk_name == "Trunk\nA"


def test_trouble_21_the_second_id_of_a_call_placed_by_api_is_another_call() -> None:
    """Nothing in the reports joins the two; joining by time and number would be a guess."""
    first, second = details(call_id="1702287660.12"), details(call_id="1702287661.13")
    assert record_key(SN, first)[1] != record_key(SN, second)[1]


def test_trouble_30_durations_are_numbers_or_texts() -> None:
    """Both are stored."""
    for value in (11, "11", "11.0"):
        one = read(event(call_duration=value, talk_duration=value))
        assert (one.call_duration, one.talk_duration) == (11, 11)


def test_trouble_32_a_later_leg_does_not_overwrite_an_earlier_one() -> None:
    """They share (`sn`, `call_id`), and differ in when they began and whom they reached."""
    legs = legs_of_one_call({"call_to": "6200", "status": "ANSWERED"}, {"call_to": "1002", "status": "NO ANSWER"})
    assert [leg.status for leg in call(*legs).legs] == ["ANSWERED", "NO ANSWER"]


def test_trouble_33_an_unknown_status_is_kept_and_not_counted_as_served() -> None:
    """As the PBX wrote it."""
    strange = call(read(event(status="DROPPED_BY_ALIENS", call_to="1002")))
    assert (strange.status, strange.answered_by) == ("DROPPED_BY_ALIENS", "")


def test_trouble_34_what_could_not_be_kept_is_not_answered_200() -> None:
    """So that the PBX tries again."""
    assert {RESPONSES_BY_VERDICT[word].status for word in ("unavailable", "too_many")} == {503}
    assert all(
        RESPONSES_BY_VERDICT[word].status != 200 for word in ("unknown_pbx", "missing_signature", "invalid_signature")
    )


async def test_trouble_36_a_forged_call_is_refused(tmp_path: Path) -> None:
    """Without a signature, with a wrong one, and with a header that somebody invented."""
    async with open_receiver(tmp_path / "ledger.db") as door:
        assert await _answers(door, RAW_EVENT, secret=None) == [401]
        assert await _answers(door, RAW_EVENT, secret="another-secret-of-another-PBX-00") == [401]
        invented = statuses(await door.send(make_request(RAW_EVENT, None, X_Yeastar_Secret=SECRET)))
        assert (invented, await door.count_raw_events()) == ([401], 0)
        assert not is_signed_by([SECRET], RAW_EVENT, SECRET)
