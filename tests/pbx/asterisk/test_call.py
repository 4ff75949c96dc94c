"""The body of a call is parsed into its typed parts; invalid parts do not hide the valid ones."""

import pytest

from onhook.cdr.call_details import DURATION_SECONDS_MAX
from onhook.pbx.asterisk.call import (
    AsteriskCall,
    CallHeader,
    canonical_id,
    format_body,
    is_cut_id,
    parse_call,
    parse_seconds,
)
from onhook.pbx.asterisk.messages import AmiMessage
from tests.pbx.asterisk.ami_streams import build_event

CALL_ID = "1777309476.1"
CDR = build_event("Cdr", LinkedID=CALL_ID, StartTime="2026-04-27 19:04:36")


def parse(*events: AmiMessage) -> AsteriskCall:
    return parse_call(format_body(CallHeader(has_all_events=True), [CDR, *events]))


@pytest.mark.parametrize("event_time", ["27.04.2026 19:04:36", "1777309476.123", ""])
def test_call_with_custom_date_format_of_cel_has_only_cdrs(event_time: str) -> None:
    """The format of a CDR is fixed."""
    valid_cel = build_event("CEL", EventName="CHAN_START", EventTime="2026-04-27 19:04:36")
    call = parse(valid_cel, build_event("CEL", EventName="CHAN_END", EventTime=event_time))
    assert (call.header.has_all_events, call.cels, len(call.cdrs)) == (False, (), 1)


@pytest.mark.parametrize("text", ["", "{", "[1]", "7", "null", '{"a":' * 5000])
def test_call_cel_with_invalid_extra_has_no_extra(text: str) -> None:
    call = parse(build_event("CEL", EventName="HANGUP", EventTime="2026-04-27 19:04:36", Extra=text))
    assert [(cel.name, cel.extra) for cel in call.cels] == [("HANGUP", {})]


@pytest.mark.parametrize(
    ("event", "ring_time", "ring_seconds"),
    [("AgentConnect", "12", 12), ("AgentRingNoAnswer", "15000", 15), ("AgentConnect", "", None)],
)
def test_call_queue_event_has_ring_time_in_seconds(event: str, ring_time: str, ring_seconds: int | None) -> None:
    """Asterisk writes seconds for an agent who answered, milliseconds for one who did not."""
    (queue_event,) = parse(build_event(event, Queue="support", RingTime=ring_time)).queue_events
    assert (queue_event.queue, queue_event.ring_seconds, queue_event.hold_seconds) == ("support", ring_seconds, None)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12", 12),
        ("12.9", 12),
        ("", 0),
        ("-1", 0),
        ("soon", 0),
        ("٣", 0),
        ("9" * 12, DURATION_SECONDS_MAX),
        ("9" * 5000, 0),
    ],
)
def test_parse_seconds_of_invalid_value_is_zero(text: str, seconds: int) -> None:
    assert parse_seconds(text) == seconds


UUID = "0e9b6a1c-1f7e-4f0e-9a53-7c2d1c1d2e3f"


@pytest.mark.parametrize("linked_id", [UUID, UUID.upper(), f"call-{UUID}", f"{{{UUID}}}", f"<urn:uuid:{UUID}>"])
def test_call_with_a_uuid_is_the_same_from_a_table_that_cuts_it(linked_id: str) -> None:
    assert canonical_id(linked_id) == canonical_id(linked_id[:32]) == linked_id[:32]
    assert not is_cut_id(linked_id[:32])


@pytest.mark.parametrize(
    "linked_id",
    [
        "1795860000.123",
        "office-berlin-north-1795860000.123",
        "dialer:campaign-12:lead-000012345678:try-2",
        "0e9b6a1c1f7e4f0e9a537c2d1c1d2e3f",
        f"{UUID}-2",
    ],
)
def test_call_whose_id_others_may_begin_with_has_all_of_it(linked_id: str) -> None:
    assert canonical_id(linked_id) == linked_id


@pytest.mark.parametrize(
    ("digits", "is_cut"), [("1", True), ("1795860", True), ("1795860000", True), ("179586000x", False)]
)
def test_id_that_is_cut_within_its_time_names_no_call(digits: str, *, is_cut: bool) -> None:
    assert is_cut_id(f"{'office-berlin-north-germany-01'[: 31 - len(digits)]}-{digits}") == is_cut
    assert not is_cut_id(f"office-{digits}")
