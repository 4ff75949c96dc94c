"""Offsets of a zone, in Python and in SQL."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.store.queries.zones import list_offsets, offset_at, offset_sql
from tests.store.office import ZONES

SECONDS = st.integers(631_152_000, 2_145_916_800)  # 1990 to 2037


@given(zone=st.sampled_from(ZONES), seconds=st.lists(SECONDS, min_size=1, max_size=50))
def test_offset_sql_equals_offset_at_any_time(zone: str, seconds: list[int]) -> None:
    zone_offsets = list_offsets(ZoneInfo(zone), min(seconds), max(seconds))
    query = f"SELECT {offset_sql('second', zone_offsets)} FROM (SELECT unnest($seconds) AS second)"  # noqa: S608 - constants of the test
    with duckdb.connect() as connection:
        offsets = [row[0] for row in connection.execute(query, {"seconds": seconds}).fetchall()]
    assert offsets == [offset_at(ZoneInfo(zone), second) for second in seconds]


@pytest.mark.parametrize(
    ("zone", "changes"),
    [
        ("UTC", []),
        ("Asia/Kathmandu", []),
        ("Europe/Berlin", ["2026-03-29T01:00:00", "2026-10-25T01:00:00"]),
        ("Australia/Lord_Howe", ["2026-04-04T15:00:00", "2026-10-03T15:30:00"]),
    ],
)
def test_list_offsets_finds_changes_to_the_second(zone: str, changes: list[str]) -> None:
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2026, 2027))
    offsets = list_offsets(ZoneInfo(zone), first, last)[1:]
    assert [datetime.fromtimestamp(change.since, UTC).replace(tzinfo=None).isoformat() for change in offsets] == changes
