"""The ledger on NATS JetStream: readers beside changes of other processes, and servers that come back otherwise, stand
still or are cut off.
"""

import asyncio
from typing import Any
from urllib.parse import urlparse

import msgspec
import pytest
from nats.aio.client import Srv
from nats.errors import OutboundBufferLimitError

from onhook.ledger import jetstream_client
from onhook.ledger.contract import RewrittenContent
from onhook.ledger.jetstream import SHORTER_SECONDS, JetStreamLedger, LedgerEnd
from onhook.ledger.jetstream_client import StoredMessage
from onhook.lib.errors import OnhookError, Unavailable, UsageError
from tests.ledger.entries import NOW, entries, entry
from tests.ledger.jetstream_server import (
    CALL_SECONDS,
    SERVER,
    JetStreamServer,
    append_until_acknowledged,
    create_ledger_streams,
    running_stalling_proxy,
)

pytestmark = pytest.mark.skipif(not SERVER, reason="nats-server is not installed")

RESTART_SECONDS = 5.0
"""Deadline of a call that is in flight while the server is killed."""


# Reading beside changes


async def test_read_beside_a_rewrite_of_a_later_entry_skips_none(
    jetstream_server: JetStreamServer, ledger: JetStreamLedger, stream_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are stored while the reader, at the end of the stream, has not asked yet what was rewritten."""
    other = JetStreamLedger(jetstream_server.url(stream_name), call_seconds=CALL_SECONDS)
    await ledger.append([entry(1)])
    read_messages = ledger._client.read_messages
    is_first = True

    async def read_and_stand_still(*arguments: Any) -> list[StoredMessage]:
        nonlocal is_first
        messages = await read_messages(*arguments)
        if is_first:
            is_first = False
            await other.append(entries(2, 3))
            await other.rewrite({3: RewrittenContent("erased", b"")})
        return messages

    monkeypatch.setattr(ledger._client, "read_messages", read_and_stand_still)
    assert [item.seq for item in await ledger.read(0, 10)] == [1, 2, 3]
    assert [item.seq for item in await ledger.read(1, 10)] == [2, 3]
    await other.close()


async def test_get_of_a_replaced_entry_from_a_replica_that_is_behind_has_the_new_content(
    jetstream_server: JetStreamServer, ledger: JetStreamLedger, stream_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a replica has the message still: what was erased must not come back, as by the parsing of old events."""
    other = JetStreamLedger(jetstream_server.url(stream_name), call_seconds=CALL_SECONDS)
    await ledger.append(entries(1, 2))
    get_many = ledger._client.get_many
    earlier_messages = await get_many(
        ledger._names.entries, seq=1, next_by_subj=ledger._names.any_entry, batch=2, max_bytes=1_000_000
    )
    await other.rewrite({1: RewrittenContent("erased", b"nothing")})

    async def get_behind(stream: str, /, **arguments: Any) -> list[StoredMessage]:
        return earlier_messages if stream == ledger._names.entries else await get_many(stream, **arguments)

    monkeypatch.setattr(ledger._client, "get_many", get_behind)
    assert [(item.seq, item.body) for item in await ledger.get([1, 2])] == [(1, b"nothing"), (2, entry(2).body)]
    await other.close()


async def test_append_control_over_a_connection_that_takes_nothing_is_unavailable(
    ledger: JetStreamLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for a batch, of which some messages wait for no answer."""
    await ledger.append([entry(1)])
    client = await ledger._client.connect()

    async def refuse(*_arguments: Any, **_options: Any) -> None:
        raise OutboundBufferLimitError

    monkeypatch.setattr(client, "publish", refuse)
    with pytest.raises(Unavailable, match="the ledger is unavailable: nats: outbound buffer limit exceeded"):
        await ledger.append_control([b"a", b"b"], last_control_seq=0, now_us=NOW)


async def test_read_by_two_tasks_of_an_entry_that_another_process_deleted_ends_for_both(
    jetstream_server: JetStreamServer, ledger: JetStreamLedger, stream_name: str
) -> None:
    other = JetStreamLedger(jetstream_server.url(stream_name), call_seconds=CALL_SECONDS)
    await ledger.append(entries(1, 3))
    await ledger.rewrite({1: RewrittenContent("erased", b"")})
    assert [item.body for item in await other.get([1])] == [b""]
    await ledger.delete([1])
    assert await asyncio.gather(*(other.get([1]) for _reader in range(5))) == [[]] * 5
    await other.close()


# Servers that are replaced, stand still or are cut off


@pytest.mark.slow
async def test_server_that_comes_back_and_confirms_before_it_writes_is_refused(
    own_server: JetStreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without a new connection, as where it is another server than the connected one; until it is set right."""
    await create_ledger_streams(own_server.checked_url("LEDGER"))
    ledger = JetStreamLedger(own_server.checked_url("LEDGER"), call_seconds=RESTART_SECONDS)
    await ledger.append([entry(1)])
    own_server.kill()
    own_server.set_sync_interval("1m")
    own_server.start()
    with pytest.raises(UsageError, match="confirms what is not on disk yet"):
        await append_until_acknowledged(ledger, entry(2))
    own_server.kill()
    own_server.set_sync_interval("always")
    own_server.start()
    await append_until_acknowledged(ledger, entry(2), ignored=OnhookError)

    async def refuse(*_arguments: object, **_options: object) -> None:
        raise UsageError("refused")

    monkeypatch.setattr(jetstream_client, "CHECK_SECONDS", 0.0)
    monkeypatch.setattr(jetstream_client, "check_sync", refuse)
    with pytest.raises(UsageError, match="refused"):
        await _read_end_again_and_again(ledger)
    await ledger.close()


async def _read_end_again_and_again(ledger: JetStreamLedger) -> None:
    while True:
        await ledger.last_seq()
        await asyncio.sleep(0.1)


async def test_append_to_a_server_that_reads_nothing_any_longer_goes_on_at_another_one(
    own_server: JetStreamServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More is to be sent than the system buffers, for which the library waits."""
    monkeypatch.setattr(jetstream_client, "PING_SECONDS", 1)
    monkeypatch.setattr(jetstream_client, "SILENCE_SECONDS_MAX", 1.0)
    monkeypatch.setattr(jetstream_client, "WATCH_SECONDS", 0.1)
    await create_ledger_streams(own_server.url("LEDGER"))
    async with running_stalling_proxy(own_server.process.port, bytes_max=200_000) as port:
        proxied_url = own_server.url("LEDGER").replace(f":{own_server.process.port}/", f":{port}/")
        ledger = JetStreamLedger(proxied_url, call_seconds=1.5)
        await ledger.append([entry(1)])
        client = await ledger._client.connect()
        client._server_pool.append(Srv(urlparse(f"nats://127.0.0.1:{own_server.process.port}")))
        large = [msgspec.structs.replace(item, body=bytes(250_000)) for item in entries(2, 41)]
        with pytest.raises(Unavailable):
            await ledger.append(large)
        results = await append_until_acknowledged(ledger, entry(50))
        assert [result.outcome for result in results] == ["new"]
        await ledger.close()


@pytest.mark.parametrize(
    ("name", "value"), [("max_age", 86_400 * 10**9 * 31), ("max_msgs", 10), ("max_bytes", 10**6), ("no_ack", True)]
)
async def test_stream_that_drops_what_it_has_confirmed_is_refused(
    jetstream_server: JetStreamServer, ledger: JetStreamLedger, stream_name: str, name: str, value: object
) -> None:
    """As after `nats stream edit`."""
    config = (await ledger._client.call(f"STREAM.INFO.{stream_name}"))["config"]
    await ledger._client.call(f"STREAM.UPDATE.{stream_name}", **(config | {name: value}))
    other = JetStreamLedger(jetstream_server.url(stream_name), call_seconds=CALL_SECONDS)
    with pytest.raises(UsageError, match=f"has {name}="):
        await other.append([entry(1)])
    await other.close()


async def test_last_seq_whose_answer_an_append_overtakes_is_the_new_end(
    ledger: JetStreamLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server answers questions about a stream in another thread than appends."""
    await ledger.append([entry(1)])
    call = ledger._client.call

    async def answer_late(*arguments: Any, **options: Any) -> Any:
        answer = await call(*arguments, **options)
        await ledger.append([entry(2)])
        return answer

    monkeypatch.setattr(ledger._client, "call", answer_late)
    assert await ledger.last_seq() == 2


async def test_stream_that_recognises_repeats_for_a_day_is_refused(
    jetstream_server: JetStreamServer, ledger: JetStreamLedger, stream_name: str
) -> None:
    config = (await ledger._client.call(f"STREAM.INFO.{stream_name}"))["config"]
    await ledger._client.call(f"STREAM.UPDATE.{stream_name}", **(config | {"duplicate_window": 86_400 * 10**9}))
    other = JetStreamLedger(jetstream_server.url(stream_name), call_seconds=CALL_SECONDS)
    with pytest.raises(UsageError, match="recognises repeats for less than 30 days"):
        await other.append([entry(1)])
    await other.close()


def test_end_of_the_ledger_that_falls_is_believed_after_some_seconds() -> None:
    now = 0.0
    end = LedgerEnd(lambda: now)
    end.note(7)
    assert [end.accepts(seq, end.highest_seq) for seq in (8, 5, 8, 6)] == [True, False, True, False]
    now = SHORTER_SECONDS
    assert [end.accepts(seq, end.highest_seq) for seq in (6, 6, 5)] == [True, True, False]
