"""Copies of a ledger on NATS JetStream to a file: from several machines back to one."""

from pathlib import Path

import pytest

from onhook.ledger.contract import RawEvent
from onhook.ledger.jetstream import MESSAGE_ID, JetStreamLedger, create_ledger
from onhook.ledger.jetstream_address import parse_jetstream_address
from onhook.ledger.jetstream_client import JetStreamClient
from onhook.ledger.jetstream_copy import CopiedLedger, copy_to_jetstream
from onhook.ledger.jetstream_entries import encode_entry
from onhook.ledger.sqlite import SqliteLedger
from onhook.ledger.sqlite_copy import copy_to_file
from onhook.ledger.sqlite_schema import read_begin
from onhook.lib.errors import OnhookError
from tests.ledger.entries import entry
from tests.ledger.jetstream_server import CALL_SECONDS, SERVER, JetStreamServer
from tests.ledger.test_jetstream_copy import LAST_SEQ, check_copy, fill

pytestmark = pytest.mark.skipif(not SERVER, reason="nats-server is not installed")


@pytest.fixture
async def url(jetstream_server: JetStreamServer, stream_name: str) -> str:
    """Create a ledger with events, control entries, deleted and rewritten ones; return its address."""
    ledger = await jetstream_server.create_ledger(stream_name)
    await fill(ledger)
    await ledger.close()
    return jetstream_server.url(stream_name)


async def test_copy_to_a_file_has_the_numbers_and_everything_else(url: str, tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    progress: list[tuple[int, int]] = []
    copied, omitted_count = await copy_to_file(url, path, lambda seq, last_seq: progress.append((seq, last_seq)))
    assert (copied, omitted_count) == (CopiedLedger(entries=26, last_seq=LAST_SEQ), 0)
    assert progress == [(LAST_SEQ, LAST_SEQ)]
    assert [file.name for file in tmp_path.iterdir()] == ["ledger.db"]
    await check_copy(path, url)


async def test_copy_to_a_file_and_back_is_the_same_ledger(
    url: str, jetstream_server: JetStreamServer, stream_name: str, tmp_path: Path
) -> None:
    path = tmp_path / "ledger.db"
    await copy_to_file(url, path)
    back_url = jetstream_server.url(f"{stream_name}_BACK")
    assert await copy_to_jetstream(path, back_url) == CopiedLedger(entries=26, last_seq=LAST_SEQ)
    await check_copy(path, back_url)


async def test_copy_to_a_file_leaves_out_a_repeat_that_the_servers_did_not_recognise(
    jetstream_server: JetStreamServer, stream_name: str, tmp_path: Path
) -> None:
    """A month later they have forgotten the first one, and the file has place for one of both."""
    url = jetstream_server.url(stream_name)
    await create_ledger(url, 500)
    ledger = JetStreamLedger(url, call_seconds=CALL_SECONDS)
    await ledger.append([entry(1), entry(2)])
    client = JetStreamClient(parse_jetstream_address(url), call_seconds=CALL_SECONDS)
    await client.publish(f"{stream_name}.entry.event", encode_entry(entry(1)), {MESSAGE_ID: "forgotten"})
    await client.close()
    await ledger.append([entry(3)])
    await ledger.close()
    copied, omitted_count = await copy_to_file(url, tmp_path / "ledger.db")
    assert (copied, omitted_count) == (CopiedLedger(entries=3, last_seq=504), 1)
    assert read_begin(tmp_path / "ledger.db") == 500
    copy = SqliteLedger(tmp_path / "ledger.db")
    assert [event.seq for event in await copy.read(0, 10)] == [501, 502, 504]
    assert [result.seq for result in await copy.append([entry(4)])] == [505]
    await copy.close()


async def test_copy_to_a_file_that_differs_leaves_no_file(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = SqliteLedger.read

    async def read_less(self: SqliteLedger, after_seq: int, limit: int) -> list[RawEvent]:
        return [event for event in await read(self, after_seq, limit) if event.seq != LAST_SEQ - 1]

    monkeypatch.setattr(SqliteLedger, "read", read_less)
    with pytest.raises(OnhookError, match="differs from the original"):
        await copy_to_file(url, tmp_path / "ledger.db")
    assert list(tmp_path.iterdir()) == []
