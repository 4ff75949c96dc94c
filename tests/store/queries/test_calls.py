"""Pages of records and of calls, in many short time ranges and with rows far from each other."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.store.contract import PAGE_MAX
from onhook.store.duckdb import open_store
from onhook.store.queries import calls as pages
from onhook.store.queries import locality
from onhook.store.queries.locality import KEY_RANGES_MAX, in_call_keys, in_row_ids
from tests.factories import STARTED_AT, call, record
from tests.store import plain
from tests.store.contract import all_calls, all_records, batch, property_test
from tests.store.office import FILTERS, office_calls

NUMBERS = st.lists(st.integers(0, 200), min_size=1, max_size=60)


@pytest.fixture
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Search as in a large store: in time ranges of a row, in ranges of ids and keys that end at each gap."""
    monkeypatch.setattr(pages, "FIRST_RANGE_ROWS", 1)
    monkeypatch.setattr(pages, "FIRST_NUMBER_RANGE_ROWS", 2)
    monkeypatch.setattr(pages, "RANGE_GROWTH", 2)
    monkeypatch.setattr(locality, "ROW_ID_GAP", 1)
    monkeypatch.setattr(locality, "KEY_RANGE_GAP_SECONDS", 1)


@pytest.fixture
def numbers_table() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("CREATE TABLE numbers AS SELECT range AS call_key FROM range(200)")
        yield connection


@pytest.mark.usefixtures("short_ranges")
@property_test
@given(office=office_calls(), filters=st.lists(FILTERS, min_size=2, max_size=5), limit=st.integers(1, 3))
def test_pages_of_many_short_time_ranges_match_same_rows_as_plain_loop(
    tmp_path_factory: pytest.TempPathFactory, office: list[Call], filters: list[RecordFilter], limit: int
) -> None:
    asyncio.run(_compare_pages(tmp_path_factory.mktemp("store") / "calls.duckdb", office, filters, limit))


async def _compare_pages(path: Path, office: list[Call], filters: list[RecordFilter], limit: int) -> None:
    store = await open_store(path)
    try:
        await store.put(batch(*office))
        for record_filter in filters:
            assert await all_records(store, record_filter, limit) == plain.records(office, record_filter)
            assert await all_calls(store, record_filter, limit) == plain.calls(office, record_filter)
        assert {leg.record_id for leg in await store.legs([(call.sn, call.call_id) for call in office])} == {
            leg.record_id for call in office for leg in call.legs
        }
    finally:
        await store.close()


@pytest.mark.usefixtures("short_ranges")
@pytest.mark.slow
async def test_pages_of_a_number_return_each_row_once_and_no_number_with_the_same_last_digits(tmp_path: Path) -> None:
    """Also a number that calls itself, and more rows in one second than a page has."""
    numbers = ("0049301234567", "+49301234567", "0301234567")
    office = [
        call(record(STARTED_AT + timedelta(seconds=second // 4), call_from=caller, call_to=callee))
        for second in range(6)
        for caller in numbers
        for callee in numbers
    ]
    office.append(call(record(datetime(1999, 1, 1, tzinfo=UTC), call_from=numbers[0], call_to="1")))
    store = await open_store(tmp_path / "calls.duckdb")
    try:
        await store.put(batch(*office))
        for number in (*numbers, "1", "301234567"):
            for record_filter in (
                RecordFilter(number=number),
                RecordFilter(call_from=number),
                RecordFilter(call_to=number),
                RecordFilter(number=number, call_from=numbers[0]),
            ):
                for limit in (5, PAGE_MAX):
                    assert await all_records(store, record_filter, limit) == plain.records(office, record_filter)
                    assert await all_calls(store, record_filter, limit) == plain.calls(office, record_filter)
                assert (await store.extent(record_filter)).count == len(plain.records(office, record_filter))
    finally:
        await store.close()


@pytest.mark.usefixtures("short_ranges")
@property_test
@given(numbers=NUMBERS)
def test_in_row_ids_and_in_call_keys_select_these_rows(
    numbers_table: duckdb.DuckDBPyConnection, numbers: list[int]
) -> None:
    """Ids without a row are ignored; there are few ranges."""
    expected = sorted({number for number in numbers if number < 200})
    for condition in (in_row_ids(numbers), in_call_keys(numbers)):
        query = f"SELECT call_key FROM numbers WHERE {condition.sql} ORDER BY call_key"  # noqa: S608 - Onhook's own SQL
        assert [row[0] for row in numbers_table.execute(query, condition.values).fetchall()] == expected
        assert 1 <= condition.sql.count("BETWEEN") <= KEY_RANGES_MAX
