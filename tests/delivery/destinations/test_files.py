"""Files as a destination, in a real folder."""

import asyncio
import csv
import hashlib
import json
import os
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.config import Config
from onhook.delivery.destinations import files_folder
from onhook.delivery.destinations.contract import DeliveryResult, Notification
from onhook.delivery.destinations.files_rows import parse_row
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.destinations.row_columns import row_columns
from onhook.delivery.payloads import make_notification_id
from onhook.lib.errors import UsageError
from onhook.lib.timestamps import to_microseconds
from tests.delivery.destinations.contract import DestinationContract, durations_of, open_client
from tests.delivery.harness import DeliveryHarness, WorkerCycles, make_calls
from tests.factories import record
from tests.waiting import wait_until

TIMES = [name for name, column_type in row_columns("records").items() if column_type == "time"]
FORMATS = ("parquet", "csv", "jsonl")


def read_rows(folder: Path, file_format: str) -> list[dict[str, Any]]:
    """Return the rows of all files as another program reads them."""
    rows: list[dict[str, Any]] = []
    for path in sorted(folder.glob(f"day=*/sn=*/*.{file_format}"), key=lambda path: path.name[-20:]):
        if file_format == "jsonl":
            rows += map(json.loads, path.read_text().splitlines())
        elif file_format == "csv":
            with path.open(newline="") as file:
                rows += csv.DictReader(file)
        else:
            times = ", ".join(f"epoch_us({name}) AS {name}" for name in TIMES)
            query = f"SELECT * REPLACE ({times}) FROM read_parquet('{path}', hive_partitioning=false)"  # noqa: S608 - a path
            cursor = duckdb.execute(query)
            names = [column[0] for column in cursor.description or ()]
            rows += [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    return rows


class FilesKindServer:
    """See `contract.KindServer`: a folder that can be away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.away = folder.with_name("away")
        self.settings = self._settings(folder)

    def _settings(self, folder: Path) -> dict[str, Any]:
        fields = {"file_format": "jsonl", "batch_seconds": 0, "batch_records": 256}
        return {"kind": "files", "url": f"file://{folder}", "fields": fields}

    def dead_settings(self, port: int) -> dict[str, Any]:
        return self._settings(self.folder.with_name(f"missing-{port}"))

    def durations(self) -> dict[str, int]:
        rows = sorted(read_rows(self.folder / "records", "jsonl"), key=lambda row: row["seq"])
        return {row["call_id"]: row["talk_duration"] for row in rows}

    async def stop(self) -> None:
        self.folder.rename(self.away)

    async def start(self) -> None:
        self.away.rename(self.folder)

    def refuse(self) -> None:
        raise AssertionError("a folder refuses no record")


@pytest.fixture
def server(tmp_path: Path) -> FilesKindServer:
    (tmp_path / "calls").mkdir()
    return FilesKindServer(tmp_path / "calls")


class TestFiles(DestinationContract):
    """The contract suite for files."""

    can_refuse = False
    has_connection = False


def settings_of(server: FilesKindServer, **fields: Any) -> dict[str, Any]:
    return server.settings | {"fields": server.settings["fields"] | fields}


def notification(settings: dict[str, Any], source: Record) -> Notification:
    body = open_client(settings).format_payload(source)
    return Notification(make_notification_id(source), body, 1_777_000_000_000_000)


async def send(settings: dict[str, Any], *records: Record) -> Sequence[DeliveryResult]:
    """Send a batch with a client of its own, as after a restart."""
    client = open_client(settings)
    try:
        return await client.send([notification(settings, source) for source in records])
    finally:
        await client.close()


def call_ids(server: FilesKindServer) -> list[str]:
    return [row["call_id"] for row in read_rows(server.folder / "records", "jsonl")]


def some_records(*numbers: int) -> list[Record]:
    return [record(call_id=f"1777287876.{number}", record_id=f"r{number}", seq=number) for number in numbers]


@pytest.mark.parametrize("file_format", FORMATS)
async def test_files_rows_have_the_members_of_the_record(server: FilesKindServer, file_format: str) -> None:
    source = record(call_from="=Zoë 😀 \x85 'x'\"\\,\n", extra={"custom": [1, "a"]}, talk_duration=None)
    assert [result.detail for result in await send(settings_of(server, file_format=file_format), source)] == ["written"]
    (row,) = read_rows(server.folder / "records", file_format)
    assert list(row) == list(row_columns("records"))
    expected = msgspec.json.decode(msgspec.json.encode(source))
    if file_format == "parquet":
        times = [getattr(source, name) for name in TIMES]
        assert [row.pop(name) for name in TIMES] == [time and to_microseconds(time) for time in times]
        assert json.loads(row.pop("extra")) == source.extra
        assert row == {name: expected[name] for name in row}
    elif file_format == "csv":
        assert (row["call_from"], row["talk_duration"]) == ("'=Zoë 😀 \\x85 'x'\"\\,\n", "")
        assert (row["started_at"], row["is_shifted"]) == (expected["started_at"], "false")
    else:
        assert row == expected


async def test_files_partitions_are_by_the_clock_of_the_pbx(server: FilesKindServer) -> None:
    time = datetime(2026, 4, 27, 23, 30, tzinfo=UTC)
    first = record(time, record_id="a", seq=7, utc_offset="+02:00", sn="A/B")
    second = record(time, record_id="b", seq=9, utc_offset="-02:00", sn="A/B")
    await send(server.settings, first, second, msgspec.structs.replace(second, record_id="c", seq=8))
    names = sorted(str(path.relative_to(server.folder)) for path in server.folder.glob("*/*/*/*.jsonl"))
    assert names == [
        "records/day=2026-04-27/sn=A%2FB/000000000008-000000000009-00000001.jsonl",
        "records/day=2026-04-28/sn=A%2FB/000000000007-000000000007-00000001.jsonl",
    ]


async def test_files_late_record_is_in_a_later_file(server: FilesKindServer) -> None:
    """And the earlier file is unchanged."""
    first, late = some_records(1, 2)
    await send(server.settings, first)
    (path,) = server.folder.glob("records/day=*/sn=*/*.jsonl")
    content = path.read_bytes()
    await send(server.settings, late)
    assert (len(list(path.parent.iterdir())), path.read_bytes()) == (2, content)


async def test_files_manifest_lists_each_file(server: FilesKindServer) -> None:
    await send(server.settings, *some_records(1, 2))
    await send(server.settings, *some_records(3))
    (manifest,) = (server.folder / "records" / "_manifest").iterdir()
    entries = [json.loads(line) for line in manifest.read_text().splitlines()]
    assert [(entry["batch"], entry["records"], entry["first_seq"], entry["last_seq"]) for entry in entries] == [
        (1, 2, 1, 2),
        (2, 1, 3, 3),
    ]
    for entry in entries:
        content = (server.folder / "records" / entry["file"]).read_bytes()
        assert len(content) == entry["bytes"]
        assert hashlib.sha256(content).hexdigest() == entry["sha256"]


async def test_files_batch_whose_result_was_lost_is_not_written_again(server: FilesKindServer) -> None:
    """Also where it is sent again in another batch."""
    first, second, third = some_records(1, 2, 3)
    await send(server.settings, first, second)
    assert [result.outcome for result in await send(server.settings, second, third)] == ["accepted"] * 2
    assert [result.outcome for result in await send(server.settings, first)] == ["accepted"]
    assert call_ids(server) == [first.call_id, second.call_id, third.call_id]


def _failing(original: Any, counts: Iterator[int], number: int) -> Any:
    def call(*arguments: Any, **options: Any) -> Any:
        if next(counts) >= number:
            raise OSError("crash")
        return original(*arguments, **options)

    return call


@pytest.mark.parametrize("file_format", ["jsonl", pytest.param("parquet", marks=pytest.mark.slow)])
async def test_files_crash_at_each_step_gives_each_record_once(
    server: FilesKindServer, monkeypatch: pytest.MonkeyPatch, file_format: str
) -> None:
    """Whichever step fails: what is sent again afterwards, in other batches, is there once, in whole files."""
    settings = settings_of(server, file_format=file_format)
    seq, failures = 0, 0
    for step in range(200):
        batch = [record(record_id=f"r{seq + index}", seq=seq + index, sn=f"PBX{index}") for index in (1, 2)]
        seq += 2
        with monkeypatch.context() as patch:
            failing = iter(range(10_000))
            for owner, names in ((Path, ("rename", "replace", "unlink", "write_bytes", "chmod")), (os, ("fsync",))):
                for name in names:
                    patch.setattr(owner, name, _failing(getattr(owner, name), failing, step))
            (first_result, _second) = await send(settings, *batch)
        failures += first_result.outcome == "unreachable"
        for part in (batch[1:], batch):
            assert {result.outcome for result in await send(settings, *part)} == {"accepted"}
        if first_result.outcome == "accepted":
            break
    assert failures > 10
    rows = read_rows(server.folder / "records", file_format)
    assert sorted(row["seq"] for row in rows) == list(range(1, seq + 1))
    entries = [
        json.loads(line)
        for path in (server.folder / "records" / "_manifest").iterdir()
        for line in path.read_text().splitlines()
    ]
    paths = server.folder.glob(f"records/day=*/*/*.{file_format}")
    file_names = sorted(str(path.relative_to(server.folder / "records")) for path in paths)
    assert file_names == sorted(entry["file"] for entry in entries)
    assert not list((server.folder / "records" / "_pending").iterdir())


async def test_files_torn_line_of_the_manifest_is_replaced(server: FilesKindServer) -> None:
    await send(server.settings, *some_records(1))
    (manifest,) = (server.folder / "records" / "_manifest").iterdir()
    whole = manifest.read_bytes()
    for torn in (whole[:-10], b"", whole + b'{"batch":'):
        manifest.write_bytes(torn)
        await send(server.settings, *some_records(1))
        assert manifest.read_bytes() == whole


async def test_files_reader_may_move_files_away(server: FilesKindServer) -> None:
    await send(server.settings, *some_records(1))
    for path in server.folder.glob("records/day=*/sn=*/*.jsonl"):
        path.unlink()
    await send(server.settings, *some_records(1, 2))
    assert call_ids(server) == ["1777287876.2"]


async def test_files_second_destination_in_the_same_folder_writes_nothing(server: FilesKindServer) -> None:
    client = open_client(server.settings)
    assert (await client.send([notification(server.settings, source) for source in some_records(1)]))[0].status is None
    (result,) = await send(server.settings, *some_records(2))
    assert (result.outcome, "another destination writes to the folder" in result.detail) == ("unreachable", True)
    await client.close()
    assert call_ids(server) == ["1777287876.1"]


async def test_files_foreign_file_is_not_overwritten(server: FilesKindServer) -> None:
    await send(server.settings, *some_records(1))
    (path,) = server.folder.glob("records/day=*/sn=*/*.jsonl")
    foreign_path = path.with_name(path.name.replace("00001-00000001", "00002-00000002").replace("0001-", "0002-", 1))
    foreign_path.write_text("mine")
    (result,) = await send(server.settings, *some_records(2))
    assert (result.outcome, foreign_path.read_text()) == ("unreachable", "mine")
    foreign_path.unlink()
    await send(server.settings, *some_records(2))
    assert call_ids(server) == ["1777287876.1", "1777287876.2"]


async def test_files_unreadable_journal_stops_the_destination(server: FilesKindServer) -> None:
    (server.folder / "records").mkdir()
    for content in (b"{", b'{"version":9}', b'{"version":"\xff"}', b"[" * 10_000):
        (server.folder / "records" / "_journal.json").write_bytes(content)
        (result,) = await send(server.settings, *some_records(1))
        assert (result.outcome, "_journal.json" in result.detail) == ("unreachable", True)


async def test_files_slow_folder_ends_with_the_time_out(
    server: FilesKindServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was given up is not written twice, and nothing is queued behind it."""
    settings = server.settings | {"timeout_seconds": 1.0}
    released = threading.Event()
    original = Path.chmod
    monkeypatch.setattr(Path, "chmod", lambda path, mode: (released.wait(20), original(path, mode))[1])
    client = open_client(settings)
    batch = [notification(settings, source) for source in some_records(1, 2)]
    for _unused in range(2):
        assert {result.detail for result in await client.send(batch)} == {"not written within 1 seconds"}
    released.set()
    assert {result.detail for result in await client.send(batch)} == {"written"}
    await client.close()
    assert len(call_ids(server)) == 2


async def test_files_calls_have_a_folder_of_their_own(harness: DeliveryHarness, server: FilesKindServer) -> None:
    await harness.add_destination("calls", **server.settings, notifies_of="calls")
    harness.start()
    calls = list(make_calls(3))
    await harness.put_calls(*calls)
    await wait_until(lambda: len(read_rows(server.folder / "calls", "jsonl")) == 3)
    assert "record_id" not in read_rows(server.folder / "calls", "jsonl")[0]


async def test_files_batch_waits_for_more_records(
    harness: DeliveryHarness, server: FilesKindServer, worker_cycles: WorkerCycles
) -> None:
    """Without a busy worker, and is written once it is full."""
    await harness.add_destination("kind", **settings_of(server, batch_seconds=3600, batch_records=40))
    harness.start()
    calls = list(make_calls(40))
    await harness.put_calls(*calls[:39])
    await asyncio.sleep(0.5)
    cycles = worker_cycles._count
    await asyncio.sleep(0.5)
    assert worker_cycles._count - cycles <= 2
    assert server.durations() == {}
    await harness.put_calls(calls[39])
    await wait_until(lambda: server.durations() == durations_of(calls))
    batches = {path.name[-14:] for path in server.folder.glob("records/day=*/sn=*/*.jsonl")}
    assert batches == {"00000001.jsonl"}


def test_files_rows_without_a_start_or_with_a_long_serial_number_have_a_place() -> None:
    assert parse_row(b"{}").partition == "day=unknown/sn="
    names = {parse_row(json.dumps({"sn": text}).encode()).partition for text in ("é" * 100, "é" * 101)}
    assert len(names) == 2
    assert all(len(name) < 140 for name in names)


@pytest.mark.parametrize(
    "changes",
    [
        {"url": "file://host/folder"},
        {"url": "file:///a/../b"},
        {"url": "/folder"},
        {"notifies_of": "issues"},
        {"fields": {"batch_records": 0}},
        {"fields": {"file_format": "xlsx"}},
    ],
)
def test_files_invalid_setting_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        open_client({"kind": "files", "url": "file:///var/lib/calls"} | changes)


@pytest.mark.parametrize("path", ["data", "data/calls", ""])
def test_files_data_directory_is_refused(tmp_path: Path, path: str) -> None:
    open_destination = destination_opener(Config(data=tmp_path / "data"))
    with pytest.raises(UsageError, match="data directory"):
        open_destination(DestinationSpec(kind="files", url=f"file://{tmp_path / path}"), ())


async def test_files_drive_that_does_not_answer_ends_with_the_time_out(
    server: FilesKindServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is looked at in the thread of the destination alone."""
    released = threading.Event()
    resolve = Path.resolve
    threads: list[threading.Thread] = []

    def wait_and_resolve(path: Path, strict: bool = False) -> Path:
        threads.append(threading.current_thread())
        released.wait(20)
        return resolve(path, strict)

    monkeypatch.setattr(Path, "resolve", wait_and_resolve)
    settings = server.settings | {"timeout_seconds": 0.5}
    try:
        client = open_client(settings)
        (result,) = await client.send([notification(settings, record())])
        assert (result.outcome, result.detail) == ("unreachable", "not written within 0.5 seconds")
        assert threads
        assert threading.main_thread() not in threads
    finally:
        released.set()
    await client.close()


async def test_files_data_directory_behind_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    client = destination_opener(Config(data=tmp_path / "data"))(
        DestinationSpec(kind="files", url=f"file://{tmp_path}/link"), ()
    )
    (result,) = await client.send([Notification("test-1", client.format_test_payload(), 0, is_test=True)])
    assert (result.outcome, "is the data directory" in result.detail) == ("unreachable", True)
    await client.close()
    assert not list((tmp_path / "data").iterdir())


def test_files_docs_name_each_format_and_member_of_the_manifest() -> None:
    page = (Path(__file__).parents[3] / "docs" / "files.md").read_text()
    assert all(f"`{name}`" in page for name in FORMATS)
    entry_members = files_folder.ManifestEntry.__struct_fields__
    assert all(f"`{name}`" in page for name in entry_members)
