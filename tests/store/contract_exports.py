"""What every store must hold when records are exported."""

import asyncio
import contextlib
import csv
import io
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.csv_injection import unescape_formula
from onhook.cdr.record import Call, Record
from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import UsageError
from onhook.store.contract import ExportFormat, Store
from tests.factories import call
from tests.store import plain
from tests.store.contract import (
    RECORD_COLUMNS,
    OpenStoreFixture,
    batch,
    export_bytes,
    property_test,
    sort_by_record_id,
)
from tests.store.office import FILTERS, ZONES, office_calls


class ExportContract:
    """The claims, beside those of `StoreContract`."""

    @property_test
    @given(office=office_calls(), zone=st.sampled_from(ZONES), where=FILTERS)
    async def test_csv_can_be_read_back(
        self, stores: OpenStoreFixture, office: list[Call], zone: str, where: RecordFilter
    ) -> None:
        """Every cell, with moments in the zone asked for; in the order in which the calls began."""
        async with stores() as store:
            await store.put(batch(*office))
            text = (await export_bytes(store, "csv", where, zone)).decode()
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        expected = {expected_record.record_id: expected_record for expected_record in plain.records(office, where)}
        assert [row["started_at"] for row in rows] == [
            plain.cell(expected_record, "started_at", zone)
            for expected_record in sorted(expected.values(), key=lambda expected_record: expected_record.started_at)
        ]
        for row in rows:
            expected_record = expected.pop(row["record_id"])
            assert {name: unescape_formula(cell) for name, cell in row.items()} == {
                name: plain.cell(expected_record, name, zone) for name in RECORD_COLUMNS.split(",")
            }
        assert not expected

    @property_test
    @given(office=office_calls(), where=FILTERS)
    async def test_json_lines_are_records(
        self, stores: OpenStoreFixture, office: list[Call], where: RecordFilter
    ) -> None:
        """One per line, just as the API gives them, the earliest first."""
        async with stores() as store:
            await store.put(batch(*office))
            lines = (await export_bytes(store, "jsonl", where)).splitlines()
        actual = [msgspec.json.decode(line, type=Record) for line in lines]
        assert sort_by_record_id(actual) == sort_by_record_id(plain.records(office, where))
        assert [actual_record.started_at for actual_record in actual] == sorted(
            actual_record.started_at for actual_record in actual
        )
        assert all(
            json.loads(line)["extra"] == actual_record.extra for line, actual_record in zip(lines, actual, strict=True)
        )

    async def test_an_export_sees_one_state(self, store: Store) -> None:
        """What arrives after the first piece was taken is not in it, however long it takes."""
        await store.put(batch(*(call() for _ in range(3))))
        chunks = store.export(RecordFilter(), "csv", "UTC")
        first_chunk = await anext(chunks)
        await store.put(batch(*(call() for _ in range(3))))
        remaining = b"".join([chunk async for chunk in chunks])
        assert (first_chunk + remaining).count(b"\r\n") == 4

    @pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
    async def test_an_export_that_nobody_reads_to_its_end_leaves_nothing_behind(
        self, store: Store, form: ExportFormat
    ) -> None:
        """The store goes on, and closes."""
        await store.put(batch(*(call() for _ in range(300))))
        chunks = store.export(RecordFilter(), form, "UTC")
        assert await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined] # ours are generators
        await store.put(batch(call(), position=2))
        assert (await store.counts())["calls"] == 301

    @pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "xlsx"])
    async def test_an_export_can_be_given_up_at_any_moment(self, store: Store, form: ExportFormat) -> None:
        """Cancelled while it works, it leaves no thread, no file and no view behind."""
        await store.put(batch(*(call() for _ in range(300))))
        for sleep_count in range(12):
            task = asyncio.create_task(export_bytes(store, form))
            for _ in range(sleep_count):
                await asyncio.sleep(0.002)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert (await export_bytes(store, "csv")).count(b"\r\n") == 301

    async def test_an_unknown_zone_is_refused(self, store: Store) -> None:
        """Before the first byte."""
        with pytest.raises(UsageError, match="Mars"):
            await export_bytes(store, "csv", zone="Mars/Base")
