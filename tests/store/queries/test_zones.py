"""A zone's offsets, by Python and by SQL."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.store.queries.zones import list_offsets, offset_at, offset_sql
from tests.store.office import ZONES

SECONDS = st.integers(631_152_000, 2_145_916_800)  # 1990 to 2037


@given(zone=st.sampled_from(ZONES), moments=st.lists(SECONDS, min_size=1, max_size=50))
def test_sql_knows_the_offset_of_every_moment(zone: str, moments: list[int]) -> None:
    """Between the first and the last moment that were named, whatever changes are between them."""
    known = list_offsets(ZoneInfo(zone), min(moments), max(moments))
    question = f"SELECT {offset_sql('moment', known)} FROM (SELECT unnest($moments) AS moment)"  # noqa: S608 - ours
    with duckdb.connect() as connection:
        found = [row[0] for row in connection.execute(question, {"moments": moments}).fetchall()]
    assert found == [offset_at(ZoneInfo(zone), moment) for moment in moments]


@pytest.mark.parametrize(
    ("zone", "changes"),
    [
        ("UTC", []),
        ("Asia/Kathmandu", []),
        ("Europe/Berlin", ["2026-03-29T01:00:00", "2026-10-25T01:00:00"]),
        ("Australia/Lord_Howe", ["2026-04-04T15:00:00", "2026-10-03T15:30:00"]),
    ],
)
def test_changes_are_found_to_the_second(zone: str, changes: list[str]) -> None:
    """Those of the year 2026, in UTC."""
    first, last = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (2026, 2027))
    found = list_offsets(ZoneInfo(zone), first, last)[1:]
    assert [datetime.fromtimestamp(change.since, UTC).replace(tzinfo=None).isoformat() for change in found] == changes
