"""What the store gives to readers who see masked numbers: exports, counts by party, filters by what is shown."""

import csv
import io
import json
from collections.abc import AsyncIterator
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import duckdb
import pytest

from onhook.cdr.number_masking import Mask
from onhook.cdr.party_filter import PartyCondition, PartyField
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.cdr.record_masking import Masking
from onhook.store.contract import OUTSIDE_MARK, Store
from onhook.store.duckdb import open_store
from onhook.store.seen_parties import SeenNumber
from tests.factories import SN
from tests.factories import call as make_call
from tests.factories import record as make_record
from tests.store.contract import batch

NUMBER, DIGITS = "+49301234567", "301234567"
SHORT = "22833"


def office() -> list[Call]:
    inbound: dict[str, Any] = {
        "call_from": f"Max Muster<{NUMBER}>",
        "src_trunk_name": "sip",
        "type": "Inbound",
        "did_number": "555",
    }
    return [
        make_call(make_record(**inbound, call_to="1001", recording=f"a-{DIGITS}.wav", extra={"ani": NUMBER})),
        make_call(make_record(**inbound | {"call_from": SHORT}, call_to="=1001", recording="b.wav")),
        make_call(make_record(call_from=SHORT, call_to="1002")),
        make_call(make_record(call_from="1001", call_to=NUMBER, dst_trunk_name="sip", type="Outbound")),
    ]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    opened = await open_store(tmp_path / "calls.duckdb")
    await opened.put(batch(*office(), position=9))
    yield opened
    await opened.close()


@pytest.mark.parametrize("mask", ["last3", "hash"])
async def test_masked_exports_have_the_masked_records(store: Store, tmp_path: Path, mask: Mask) -> None:
    masking = Masking(mask, b"k" * 32)
    records = [masking.mask_record(leg) for call in (await store.calls(RecordFilter(), 9)).data for leg in call.legs]
    expected = {record.record_id: record for record in records}
    files = {
        name: b"".join([chunk async for chunk in store.export(RecordFilter(), name, "UTC", masking)])
        for name in ("csv", "jsonl", "parquet", "xlsx")
    }
    lines = [json.loads(line) for line in files["jsonl"].splitlines()]
    assert {line["record_id"]: line["call_from"] for line in lines} == {
        record_id: record.call_from for record_id, record in expected.items()
    }
    rows = list(csv.DictReader(io.StringIO(files["csv"].decode(), newline="")))
    assert {row["record_id"] for row in rows} == expected.keys()
    for row in rows:
        record = expected[row["record_id"]]
        assert (row["call_to"].lstrip("'"), row["recording"]) == (record.call_to, record.recording)
        assert json.loads(row["extra"]) == record.extra
    (tmp_path / "masked.parquet").write_bytes(files["parquet"])
    with duckdb.connect() as connection:
        table = connection.execute(
            "SELECT record_id, call_from FROM read_parquet($1)", [str(tmp_path / "masked.parquet")]
        )
        assert dict(table.fetchall()) == {record_id: record.call_from for record_id, record in expected.items()}
    with ZipFile(io.BytesIO(files["xlsx"])) as archive:
        text = b"".join(archive.read(name) for name in archive.namelist()).decode()
    assert all(record_id in text for record_id in expected)
    for exported in (files["csv"].decode(), files["jsonl"].decode(), text, str(table)):
        assert DIGITS not in exported
        assert "Muster" not in exported


async def test_summary_marks_numbers_reached_by_a_trunk(store: Store) -> None:
    rows = await store.summary(RecordFilter(), "call_from", "UTC", marks_outside=True)
    assert {row["call_from"]: row["calls"] for row in rows} == {
        OUTSIDE_MARK + NUMBER: 1, OUTSIDE_MARK + SHORT: 1, SHORT: 1, "1001": 1,
    }  # fmt: skip
    rows = await store.summary(RecordFilter(), "day,answered_by", "UTC", marks_outside=True)
    assert {row["answered_by"] for row in rows} == {"1001", "=1001", "1002", OUTSIDE_MARK + NUMBER}
    assert [row["call_to"] for row in await store.summary(RecordFilter(), "call_to", "UTC", top=1, marks_outside=True)]


async def test_list_numbers_are_those_of_both_sides(store: Store) -> None:
    assert {*await store.list_numbers(RecordFilter())} >= {
        SeenNumber(SN, SHORT, True), SeenNumber(SN, SHORT, False), SeenNumber(SN, NUMBER, True)
    }  # fmt: skip
    assert {*await store.list_numbers(RecordFilter(), SHORT)} == {
        SeenNumber(SN, SHORT, True),
        SeenNumber(SN, SHORT, False),
    }


@pytest.mark.parametrize("field", ["number", "call_from", "call_to", "caller", "dialled", "answered_by"])
async def test_party_conditions_match_the_side_that_shows_the_number(store: Store, field: PartyField) -> None:
    numbers = ((SN, NUMBER), (SN, SHORT), (SN, "1001"))
    calls = (await store.calls(RecordFilter(), 9)).data
    for inside, outside in product([(), numbers[:1], numbers[1:]], repeat=2):
        condition = PartyCondition(field=field, inside=inside, outside=outside)
        record_filter = RecordFilter(parties=(condition,))
        matching_ids = {call.call_id for call in (await store.calls(record_filter, 9)).data}
        assert matching_ids == {call.call_id for call in calls if record_filter.matches_call(call)}
        records = (await store.records(record_filter, 9)).data
        if condition.is_of_leg:
            assert {record.call_id for record in records} == {
                leg.call_id for call in calls for leg in call.legs if record_filter.matches(leg)
            }
        else:
            assert {record.call_id for record in records} == matching_ids
        assert sum(row["calls"] for row in await store.summary(record_filter, "day", "UTC")) == len(matching_ids)
        await store.missed_calls(record_filter, 9)
