"""Sentences about the state of a PBX."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest

from onhook.appdb.pbxs import Pbx
from onhook.cdr.record import Record
from onhook.cdr.sync_types import BackfillProgress, BackfillRequest, BackfillResult
from onhook.console.pages.pbx_overview import (
    PbxOverview,
    describe_backfill,
    describe_coverage,
    find_backfill_error,
)
from onhook.console.queries.coverage import Backfill, PbxCoverage
from tests.factories import PBX, SN, STARTED_AT, record

UTC_ZONE = ZoneInfo("UTC")
HALF_PAST_SIX = datetime(2026, 4, 27, 18, 30, tzinfo=UTC)
PROGRESS = BackfillProgress(since=0, until=120, done_until=60, started_at=0, requested_since=0)
REQUEST = BackfillRequest(since=0, until=None, requested_at=1)


def _pbx(**changes: Any) -> Pbx:
    return Pbx(**{"name": PBX, "sn": SN, "created_at": STARTED_AT, **changes})


def _overview(latest_record: Record | None, **pbx_changes: Any) -> PbxOverview:
    return PbxOverview(
        pbx=_pbx(**pbx_changes), last_at=None, stored=0, duplicates=0, rejected=0, last_rejected_at=None,
        tested_at=None, latest_record=latest_record,
    )  # fmt: skip


def _coverage(*, complete_until: datetime | None = None, has_backfill_source: bool = False) -> PbxCoverage:
    return PbxCoverage(
        sn=SN, pbx=PBX, has_backfill_source=has_backfill_source, complete_until=complete_until, pbx_status=None,
        intervals=[],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("offset_from", "expected_text", "is_assumed"),
    [
        ("ids", "Detected from its call ids: UTC+08:00", False),
        ("configured", "the configured one is used, Asia/Shanghai.", False),
        ("assumed", "UTC is assumed.", True),
    ],
)
def test_offset_sentence_has_the_origin(offset_from: Any, expected_text: str, is_assumed: bool) -> None:
    overview = _overview(record(offset_from=offset_from), zone="Asia/Shanghai")
    assert expected_text in overview.offset_sentence
    assert overview.is_offset_assumed is is_assumed


def test_offset_sentence_without_a_call_is_empty() -> None:
    overview = _overview(None)
    assert (overview.offset_sentence, overview.is_offset_assumed) == ("", False)


@pytest.mark.parametrize(
    ("delay_seconds", "expected_text"),
    [
        (3, "The latest call was received 3 s after its end by the PBX's clock."),
        (-3, "The latest call was received 3 s before its end by the PBX's clock."),
        (180, "By the PBX's clock the latest call ended 3:00 before it was received."),
        (-180, "By the PBX's clock the latest call ended 3:00 after it was received."),
    ],
)
def test_clock_sentence_has_the_delay(delay_seconds: int, expected_text: str) -> None:
    latest_record = record()
    assert latest_record.ended_at is not None
    received_at = latest_record.ended_at + timedelta(seconds=delay_seconds)
    assert _overview(record(received_at=received_at)).clock_sentence == expected_text


def test_clock_sentence_without_an_end_is_unknown() -> None:
    assert _overview(record(ended_at=None)).clock_sentence == "The end of the latest call is unknown."


def test_offset_call_without_evidence_does_not_refute_the_others() -> None:
    """One whose id has no time, after one with it; its own end is no evidence of the clock either."""
    earlier = record(offset_from="ids", received_at=record().ended_at)
    unknown = record(offset_from="assumed", received_at=STARTED_AT - timedelta(hours=8))
    overview = msgspec.structs.replace(_overview(unknown), recent_records=[unknown, earlier])
    assert not overview.is_offset_assumed
    assert "Detected from its call ids: UTC+08:00" in overview.offset_sentence
    assert (overview.delay_seconds, overview.has_clock_skew) == (0, False)


@pytest.mark.parametrize("via", ["backfill", "import"])
def test_clock_is_not_judged_by_fetched_calls(via: str) -> None:
    """They are received hours after they end."""
    fetched = record(via=via, received_at=STARTED_AT + timedelta(days=1))
    overview = msgspec.structs.replace(_overview(fetched), recent_records=[fetched])
    assert not overview.has_clock_skew
    assert overview.clock_sentence == "No recent call was received as it ended: its calls do not show the clock."
    live = record(received_at=record().ended_at)
    overview = msgspec.structs.replace(overview, recent_records=[fetched, live])
    assert overview.delay_seconds == 0


def test_clock_sentence_of_live_calls_without_evidence_names_the_time_zone() -> None:
    """Only a back-filled call has evidence: calls were received as they ended, but are no sign of the clock."""
    live = record(offset_from="assumed", received_at=record().ended_at)
    fetched = record(offset_from="ids", via="backfill", received_at=STARTED_AT + timedelta(days=1))
    overview = msgspec.structs.replace(_overview(live), recent_records=[live, fetched])
    assert overview.delay_seconds is None
    assert overview.clock_sentence == (
        "Calls that were received as they ended do not contain the time zone: they do not show the clock."
    )


@pytest.mark.parametrize(
    ("alarm_kinds", "expected"),
    [
        ({"unreachable", "silence"}, ("unreachable", "bad")),
        ({"credentials"}, ("no access", "bad")),
        ({"silence"}, ("silent", "bad")),
        ({"clock"}, ("reporting", "good")),
        ((), ("reporting", "good")),
    ],
)
def test_state_is_that_of_an_open_alarm(alarm_kinds: Any, expected: tuple[str, str]) -> None:
    overview = msgspec.structs.replace(_overview(None), last_at=STARTED_AT, alarm_kinds=frozenset(alarm_kinds))
    assert overview.state(STARTED_AT) == expected


@pytest.mark.parametrize(
    ("coverage", "dialect", "expected_text"),
    [
        (_coverage(complete_until=HALF_PAST_SIX), "yeastar", "Verified complete until Mon 27 Apr 2026 18:30:00."),
        (_coverage(has_backfill_source=True), "yeastar", "Not yet compared with the PBX's own list."),
        (_coverage(), "yeastar", "cannot be detected without access to the web API of the PBX."),
        (_coverage(), "asterisk", "cannot be detected without a CDR source"),
    ],
)
def test_describe_coverage_names_what_is_missing(coverage: PbxCoverage, dialect: str, expected_text: str) -> None:
    assert expected_text in describe_coverage(_pbx(dialect=dialect), coverage, UTC_ZONE)


@pytest.mark.parametrize(
    ("progress", "request_", "result", "expected_text", "expected_error"),
    [
        (None, None, None, "", ""),
        (PROGRESS, REQUEST, None, "up to Thu 1 Jan 1970 00:01:00 of Thu 1 Jan 1970 00:02:00.", ""),
        (None, REQUEST, BackfillResult(requested_at=0, error="no route"), "Back-fill requested", ""),
        (None, None, BackfillResult(requested_at=1, error="no route"), "The last back-fill failed:", "no route"),
        (None, None, BackfillResult(requested_at=1, rows=9, new=2, changed=3, same=4), "read 9 rows: 2 new", ""),
    ],
)
def test_describe_backfill_has_the_latest_state(
    progress: BackfillProgress | None,
    request_: BackfillRequest | None,
    result: BackfillResult | None,
    expected_text: str,
    expected_error: str,
) -> None:
    backfill = Backfill(request=request_, progress=progress, result=result)
    sentence = describe_backfill(backfill, UTC_ZONE)
    assert expected_text in sentence
    assert bool(sentence) is bool(expected_text)
    assert find_backfill_error(backfill) == expected_error
