"""Clock and time zone of a PBX: which differences raise an alarm."""

import pytest

from onhook.cdr.sync_types import PbxStatus
from onhook.pbx.client import SystemFacts
from onhook.sync.clock_check import (
    CLOCK_SKEW_SECONDS_MAX,
    build_pbx_status,
    check_clock,
    clock_alarm,
    known_skews,
    zone_alarm,
)
from tests.sync.harness import MemorySyncState

NOW = 1_777_287_600
HOUR = 3600


@pytest.mark.parametrize("skew", [0, CLOCK_SKEW_SECONDS_MAX, -CLOCK_SKEW_SECONDS_MAX])
def test_clock_alarm_small_difference_is_none(skew: int) -> None:
    assert clock_alarm(skew) is None


@pytest.mark.parametrize(("skew", "detail"), [(61, "0:01:01 ahead of"), (-2 * HOUR, "2:00:00 behind")])
def test_clock_alarm_large_difference_says_how_much(skew: int, detail: str) -> None:
    text = clock_alarm(skew)
    assert text is not None
    assert detail in text.detail


@pytest.mark.parametrize(
    ("offset", "previous", "expected"),
    [
        (2 * HOUR, None, None),
        (2 * HOUR, 2 * HOUR, None),
        (3 * HOUR, 2 * HOUR, None),
        (HOUR, 2 * HOUR, None),
        (2 * HOUR, -5 * HOUR, 2 * HOUR),
    ],
    ids=["first", "same", "summer begins", "summer ends", "as configured"],
)
def test_zone_alarm_plausible_offset_is_none(offset: int, previous: int | None, expected: int | None) -> None:
    assert zone_alarm(offset, previous=previous, expected=expected, pbx_argument="Branch") is None


@pytest.mark.parametrize(
    ("previous", "expected", "detail"),
    [
        (2 * HOUR, None, "moved from +2:00 to -5:00 from UTC"),
        (-5 * HOUR, 2 * HOUR, "is -5:00 from UTC, but its configured zone is +2:00"),
        (None, -4 * HOUR, "is -5:00 from UTC, but its configured zone is -4:00"),
    ],
)
def test_zone_alarm_other_offset_names_both(previous: int | None, expected: int | None, detail: str) -> None:
    text = zone_alarm(-5 * HOUR, previous=previous, expected=expected, pbx_argument="Branch")
    assert text is not None
    assert detail in text.detail


def test_known_skews_unknown_ones_are_left_out() -> None:
    statuses = [PbxStatus(checked_at=1, skew_seconds=skew) for skew in (5, None, 0)]
    assert known_skews(*statuses, None) == [5, 0]


def test_build_pbx_status_without_facts_is_unknown() -> None:
    assert build_pbx_status(SystemFacts(), NOW) == PbxStatus(checked_at=NOW)


async def test_check_clock_wrong_clock_is_stored_and_raised() -> None:
    state = MemorySyncState()
    facts = SystemFacts(firmware="37.1", clock=NOW + 90, offset_seconds=HOUR)
    status = await check_clock(state, facts, NOW)
    assert status == PbxStatus(checked_at=NOW, firmware="37.1", skew_seconds=90, offset_seconds=HOUR)
    assert await state.pbx_status() == status
    assert list(state.alarms) == ["skew"]


async def test_check_clock_unknown_clock_changes_no_alarm() -> None:
    state = MemorySyncState()
    await state.raise_alarm("skew", "an hour ahead", "set it")
    await state.raise_alarm("zone", "moved", "set it")
    await check_clock(state, SystemFacts(), NOW)
    assert set(state.alarms) == {"skew", "zone"}
    await check_clock(state, SystemFacts(clock=NOW, offset_seconds=0), NOW)
    assert state.alarms == {}
