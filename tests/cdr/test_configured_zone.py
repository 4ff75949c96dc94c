"""Calls whose ids contain no time: their zone is the configured one, unless the PBX reports the offset of each leg."""

from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from onhook.cdr.call_assembly import PbxFacts
from onhook.cdr.call_details import CallDetails
from tests.cdr.test_call_assembly import assemble, leg


@pytest.mark.parametrize(
    ("day", "clocks"), [("2026-03-29", ("01:59:50", "03:00:05")), ("2026-10-25", ("02:59:50", "02:00:05"))]
)
def test_assemble_call_across_a_clock_change_of_the_configured_zone(day: str, clocks: tuple[str, str]) -> None:
    """A queue, and 15 seconds later its agent, in a call without a time in its ids."""
    ids = {"call_id": "a1b2c3", "uid": ""}
    queue = leg("6400", "ANSWERED", "0 15 0", **ids, time_start=f"{day} {clocks[0]}")
    agent = leg("1001", "ANSWERED", "0 65 60", **ids, time_start=f"{day} {clocks[1]}")
    call = assemble(agent, queue, facts=PbxFacts(zone=ZoneInfo("Europe/Berlin")))
    assert [record.call_to for record in call.legs] == ["6400", "1001"]
    assert (call.call_duration, call.legs[1].started_at - call.legs[0].started_at) == (80, timedelta(seconds=15))


def test_assemble_call_opaque_id_uses_configured_zone() -> None:
    details = CallDetails(call_id="a1b2", time_start="2026-07-01 12:00:00", call_from="1", call_to="1001")
    call = assemble(details, facts=PbxFacts(zone=ZoneInfo("Europe/Berlin")))
    assert (call.started_at.hour, call.legs[0].utc_offset, call.legs[0].offset_from) == (10, "+02:00", "configured")


@pytest.mark.parametrize(
    ("day", "doubts"), [("2026-10-25", (True, False)), ("2026-03-29", (False, True)), ("2026-07-01", (False, False))]
)
def test_assemble_call_hour_in_doubt_of_configured_zone_is_marked(day: str, doubts: tuple[bool, bool]) -> None:
    details = CallDetails(call_id="opaque", time_start=f"{day} 02:30:00", call_from="1", call_to="1001")
    (record,) = assemble(details, facts=PbxFacts(zone=ZoneInfo("Europe/Berlin"))).legs
    assert (record.offset_from, record.is_ambiguous, record.is_shifted) == ("configured", *doubts)


def test_assemble_call_reported_offset_is_that_of_each_leg() -> None:
    """The clock is put back during the call: each leg says its own offset, and no zone is asked."""
    legs = [
        CallDetails(
            call_id="a", call_from="1001", call_to=number, time_start=start, extra={"utc_offset_seconds": offset}
        )
        for number, start, offset in (("1002", "2026-10-25 02:59:54", 7200), ("1003", "2026-10-25 02:00:08", 3600))
    ]
    call = assemble(*legs, facts=PbxFacts(zone=ZoneInfo("Asia/Tokyo")))
    assert [(leg.call_to, leg.utc_offset, leg.offset_from) for leg in call.legs] == [
        ("1002", "+02:00", "ids"),
        ("1003", "+01:00", "ids"),
    ]
    assert call.legs[1].started_at - call.legs[0].started_at == timedelta(seconds=14)


@pytest.mark.parametrize("offset", ["+01:00", 100_000, None])
def test_assemble_call_offset_that_is_none_is_ignored(offset: object) -> None:
    details = CallDetails(
        call_id="a",
        call_from="1001",
        call_to="1002",
        time_start="2026-01-01 10:00:00",
        extra={"utc_offset_seconds": offset},
    )
    (record,) = assemble(details).legs
    assert (record.utc_offset, record.offset_from) == ("+00:00", "assumed")
