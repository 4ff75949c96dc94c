"""Copies of a ledger in a file to NATS JetStream: whole, with its numbers, also after an interruption."""

import asyncio
import sys
from pathlib import Path

import pytest

from onhook.ledger import jetstream_copy
from onhook.ledger.contract import CounterKey, Ledger, RewrittenContent
from onhook.ledger.jetstream import JetStreamLedger
from onhook.ledger.jetstream_client import JetStreamClient, PubAck
from onhook.ledger.jetstream_copy import CopiedLedger, copy_to_jetstream
from onhook.ledger.sqlite import SqliteLedger
from onhook.ledger.sqlite_schema import create_ledger_after
from onhook.lib.errors import Unavailable, UsageError
from tests.ledger.entries import NOW, SN, entries, entry
from tests.ledger.jetstream_server import CALL_SECONDS, SERVER, JetStreamServer, create_ledger_streams

pytestmark = pytest.mark.skipif(not SERVER, reason="nats-server is not installed")

LAST_SEQ = 32


async def fill(ledger: Ledger) -> None:
    """Append 30 events and two control entries among them; delete and rewrite some."""
    await ledger.append(entries(1, 10))
    control_seq = await ledger.append_control([b"a", b"b"], last_control_seq=0, now_us=NOW)
    await ledger.append(entries(11, 30))
    await ledger.delete([1, 2, 3, 15, 16, 20])
    await ledger.rewrite({5: RewrittenContent("erased", b"nothing")})
    await ledger.set_erasure_state([control_seq - 1], "rewritten")
    await ledger.set_erasure_state([control_seq], "finished")
    await ledger.set_erasure_position(9)
    await ledger.add_counts({CounterKey("stored", SN, "30012"): 30, CounterKey("unknown_pbx", "X", ""): 2}, NOW)


@pytest.fixture
async def ledger_file(tmp_path: Path) -> Path:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await fill(ledger)
    await ledger.close()
    return tmp_path / "ledger.db"


async def check_copy(path: Path, url: str) -> None:
    """Check that all is as in the file, and that both go on alike."""
    ledgers: list[Ledger] = [SqliteLedger(path), JetStreamLedger(url, call_seconds=CALL_SECONDS)]
    states = [
        (
            await ledger.read(0, 1_000),
            await ledger.control_entries(0, 1_000),
            await ledger.last_control_seq(),
            await ledger.last_seq(),
            await ledger.erasure_states(),
            await ledger.erasure_position(),
            await ledger.counters(),
            await ledger.identity(),
            await ledger.begin_seq(),
            await ledger.append([entry(1), entry(5), entry(13), entry(30)]),
        )
        for ledger in ledgers
    ]
    assert states[0] == states[1]
    assert [result.outcome for result in states[0][-1]] == ["deleted", "duplicate", "deleted", "duplicate"]
    for ledger in ledgers:
        (result,) = await ledger.append([entry(31)])
        assert result.outcome == "new"
        assert result.seq > LAST_SEQ
        await ledger.close()


async def test_copy_has_the_numbers_and_everything_else_of_the_file(
    jetstream_server: JetStreamServer, stream_name: str, ledger_file: Path
) -> None:
    """A second copy finds that nothing is missing; one to a ledger that is in use already is refused."""
    url = jetstream_server.url(stream_name)
    for _copy in range(2):
        assert await copy_to_jetstream(ledger_file, url) == CopiedLedger(entries=26, last_seq=LAST_SEQ)
    before = ledger_file.with_name("before.db")
    before.write_bytes(ledger_file.read_bytes())
    await check_copy(ledger_file, url)
    with pytest.raises(UsageError, match="in use already"):
        await copy_to_jetstream(before, url)


@pytest.mark.parametrize("publication_count", [1, 3, 12, 20])
async def test_copy_that_is_interrupted_is_completed_by_the_next_one(
    jetstream_server: JetStreamServer,
    stream_name: str,
    ledger_file: Path,
    monkeypatch: pytest.MonkeyPatch,
    publication_count: int,
) -> None:
    url = jetstream_server.url(stream_name)
    publish = JetStreamClient.publish
    count = 0

    async def publish_some(self: JetStreamClient, subject: str, body: bytes, headers: dict[str, str]) -> PubAck:
        nonlocal count
        count += 1
        if count > publication_count:
            raise Unavailable("the server is away")
        return await publish(self, subject, body, headers)

    monkeypatch.setattr(JetStreamClient, "publish", publish_some)
    monkeypatch.setattr(jetstream_copy, "ENTRIES_AT_ONCE", 7)
    with pytest.raises(Unavailable):
        await copy_to_jetstream(ledger_file, url)
    monkeypatch.setattr(JetStreamClient, "publish", publish)
    assert (await copy_to_jetstream(ledger_file, url)).last_seq == LAST_SEQ
    await check_copy(ledger_file, url)


async def test_copy_publishes_deleted_numbers_some_at_a_time(
    jetstream_server: JetStreamServer, stream_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file may have deleted millions between two entries."""
    ledger = SqliteLedger(tmp_path / "ledger.db")
    await ledger.append(entries(1, 120))
    await ledger.delete(range(2, 119))
    await ledger.close()
    publish = JetStreamClient.publish
    current = highest = 0

    async def count(self: JetStreamClient, subject: str, body: bytes, headers: dict[str, str]) -> PubAck:
        nonlocal current, highest
        is_entry = jetstream_copy.EXPECTED_LAST_SEQUENCE in headers
        current += is_entry
        highest = max(highest, current)
        try:
            return await publish(self, subject, body, headers)
        finally:
            current -= is_entry

    monkeypatch.setattr(JetStreamClient, "publish", count)
    monkeypatch.setattr(jetstream_copy, "ENTRIES_AT_ONCE", 10)
    url = jetstream_server.url(stream_name)
    assert await copy_to_jetstream(tmp_path / "ledger.db", url) == CopiedLedger(entries=3, last_seq=120)
    assert highest == 10


async def test_copy_to_another_ledger_is_refused(
    jetstream_server: JetStreamServer, stream_name: str, ledger_file: Path
) -> None:
    ledger = await jetstream_server.create_ledger(stream_name)
    await ledger.append([entry(100)])
    with pytest.raises(UsageError, match="the streams have another ledger"):
        await copy_to_jetstream(ledger_file, jetstream_server.url(stream_name))
    assert len(await ledger.read(0, 10)) == 1
    await ledger.close()


async def test_copy_of_an_empty_file_begins_where_the_file_does(
    jetstream_server: JetStreamServer, stream_name: str, tmp_path: Path
) -> None:
    create_ledger_after(tmp_path / "ledger.db", 500)
    url = jetstream_server.url(stream_name)
    await copy_to_jetstream(tmp_path / "ledger.db", url)
    ledger = JetStreamLedger(url, call_seconds=CALL_SECONDS)
    assert await ledger.last_seq() == 500
    assert await ledger.begin_seq() == 500
    assert [result.seq for result in await ledger.append([entry(1)])] == [501]
    await ledger.close()


@pytest.mark.slow
async def test_copy_that_is_killed_is_completed_by_the_next_one(
    jetstream_server: JetStreamServer, stream_name: str, tmp_path: Path
) -> None:
    path, url = tmp_path / "ledger.db", jetstream_server.url(stream_name)
    source = SqliteLedger(path)
    await source.append(entries(1, 20_000))
    await source.delete([*range(1, 100), *range(5_000, 5_100)])
    await source.close()
    await create_ledger_streams(url, 99)
    target = JetStreamLedger(url, call_seconds=CALL_SECONDS)
    for share in (0.1, 0.4, 0.7):
        command = [sys.executable, "-m", "tests.ledger.processes", "copy", str(path), url]
        process = await asyncio.create_subprocess_exec(*command)
        while await target.last_seq() < share * 20_000:
            assert process.returncode is None
        process.kill()
        await process.wait()
    assert 0.7 * 20_000 <= await target.last_seq() < 20_000
    await target.close()
    assert await copy_to_jetstream(path, url) == CopiedLedger(entries=19_801, last_seq=20_000)
