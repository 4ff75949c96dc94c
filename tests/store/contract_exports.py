"""Contract tests of the exports of a store."""

import asyncio
import contextlib
import csv
import io
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onhook.cdr.csv_injection import escape_controls, unescape_formula
from onhook.cdr.directory import DirectoryEntry, NameDirectory
from onhook.cdr.party_names import find_names
from onhook.cdr.record import NAME_COLUMNS, Call, Record
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

NAMES = NameDirectory(
    [
        DirectoryEntry(sn=sn, number=number, name=f'{number}, "{sn}"')
        for sn in ("other,1", "x", "3631A2124XXX")
        for number in ("1001", "6400")
    ]
    + [DirectoryEntry(number="+4930555", kind="contact", name="=Carol")]
)


def _as_cell(text: str) -> str:
    """Return a text without what a cell of CSV cannot have."""
    return escape_controls(text)


class ExportContract:
    """Tests of exports, in addition to `StoreContract`."""

    @property_test
    @given(office=office_calls(), zone=st.sampled_from(ZONES), record_filter=FILTERS)
    async def test_csv_export_is_read_back_unchanged(
        self, stores: OpenStoreFixture, office: list[Call], zone: str, record_filter: RecordFilter
    ) -> None:
        """Times are in the requested zone; rows are in order of their start."""
        async with stores() as store:
            await store.put(batch(*office))
            text = (await export_bytes(store, "csv", record_filter, zone)).decode()
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
        expected = {
            expected_record.record_id: expected_record for expected_record in plain.records(office, record_filter)
        }
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
    @given(office=office_calls(), record_filter=FILTERS)
    async def test_jsonl_export_equals_records_of_api(
        self, stores: OpenStoreFixture, office: list[Call], record_filter: RecordFilter
    ) -> None:
        async with stores() as store:
            await store.put(batch(*office))
            lines = (await export_bytes(store, "jsonl", record_filter)).splitlines()
        actual = [msgspec.json.decode(line, type=Record) for line in lines]
        assert sort_by_record_id(actual) == sort_by_record_id(plain.records(office, record_filter))
        assert [actual_record.started_at for actual_record in actual] == sorted(
            actual_record.started_at for actual_record in actual
        )
        assert all(
            json.loads(line)["extra"] == actual_record.extra for line, actual_record in zip(lines, actual, strict=True)
        )

    @property_test
    @given(office=office_calls(), record_filter=FILTERS)
    async def test_export_with_names_has_two_more_columns(
        self, stores: OpenStoreFixture, office: list[Call], record_filter: RecordFilter
    ) -> None:
        """The others are unchanged; names are those of the PBX, else those of the directory."""
        async with stores() as store:
            await store.put(batch(*office))
            plain_text, text = [
                (await export_bytes(store, "csv", record_filter, names=names)).decode() for names in (None, NAMES)
            ]
            lines = (await export_bytes(store, "jsonl", record_filter, names=NAMES)).splitlines()
        plain_rows, rows = [list(csv.reader(io.StringIO(part, newline=""), strict=True)) for part in (plain_text, text)]
        assert [row[: len(plain_rows[0])] for row in rows] == plain_rows
        assert rows[0][len(plain_rows[0]) :] == list(NAME_COLUMNS)
        expected = sorted((leg.record_id, *find_names(leg, NAMES)) for leg in plain.records(office, record_filter))
        place = rows[0].index("record_id")
        assert sorted((row[place], *map(unescape_formula, row[-2:])) for row in rows[1:]) == [
            (record_id, *map(_as_cell, names)) for record_id, *names in expected
        ]
        members = [json.loads(line) for line in lines]
        assert sorted((row["record_id"], *(row[name] for name in NAME_COLUMNS)) for row in members) == expected

    async def test_export_reads_one_snapshot(self, store: Store) -> None:
        """Calls that arrive after the first chunk are not included."""
        await store.put(batch(*(call() for _ in range(3))))
        chunks = store.export(RecordFilter(), "csv", "UTC")
        first_chunk = await anext(chunks)
        await store.put(batch(*(call() for _ in range(3))))
        remaining = b"".join([chunk async for chunk in chunks])
        assert (first_chunk + remaining).count(b"\r\n") == 4

    @pytest.mark.parametrize("export_format", ["csv", "jsonl", "parquet", "xlsx"])
    async def test_export_closed_early_releases_store(self, store: Store, export_format: ExportFormat) -> None:
        await store.put(batch(*(call() for _ in range(300))))
        chunks = store.export(RecordFilter(), export_format, "UTC")
        assert await anext(chunks)
        await chunks.aclose()  # type: ignore[attr-defined] # exports are generators
        await store.put(batch(call(), position=2))
        assert (await store.counts())["calls"] == 301

    @pytest.mark.parametrize("export_format", ["csv", "jsonl", "parquet", "xlsx"])
    async def test_export_cancelled_at_any_time_releases_store(self, store: Store, export_format: ExportFormat) -> None:
        await store.put(batch(*(call() for _ in range(300))))
        for sleep_count in range(12):
            task = asyncio.create_task(export_bytes(store, export_format))
            for _ in range(sleep_count):
                await asyncio.sleep(0.002)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        assert (await export_bytes(store, "csv")).count(b"\r\n") == 301

    async def test_export_unknown_zone_is_rejected(self, store: Store) -> None:
        with pytest.raises(UsageError, match="Mars"):
            await export_bytes(store, "csv", zone="Mars/Base")
