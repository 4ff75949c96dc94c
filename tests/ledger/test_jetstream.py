"""The ledger on NATS JetStream, against real servers: what they must have, restarts, killed servers."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from onhook.ledger import jetstream
from onhook.ledger.contract import RawEvent, RewrittenContent
from onhook.ledger.jetstream import JetStreamLedger
from onhook.ledger.jetstream_address import JetStreamAddress, parse_jetstream_address
from onhook.ledger.jetstream_state import JetStreamState
from onhook.lib.errors import Unavailable, UsageError
from tests import counts
from tests.delivery.destinations.broker_servers import free_port
from tests.ledger.entries import NOW, entries, entry
from tests.ledger.jetstream_server import (
    CALL_SECONDS,
    SERVER,
    JetStreamCluster,
    JetStreamServer,
    append_until_acknowledged,
    create_ledger_streams,
)
from tests.server_certificates import create_server_certificate
from tests.waiting import wait_until

pytestmark = pytest.mark.skipif(not SERVER, reason="nats-server is not installed")

T = TypeVar("T")

SHORT_SECONDS = 0.2
RESTART_SECONDS = 5.0
"""Deadline of a call that is in flight while the server is killed."""


def test_address_is_parsed_and_shown_without_secrets() -> None:
    address = parse_jetstream_address("nats+tls://me:p%40ss@n1,n2:4333,[::1]/ONHOOK?monitor=8222&ca=/etc/ca.pem")
    assert address == JetStreamAddress(
        servers=("n1:4222", "n2:4333", "[::1]:4222"),
        stream="ONHOOK",
        has_tls=True,
        user="me",
        password="p@ss",
        replicas=3,
        monitor_port=8222,
        ca_file="/etc/ca.pem",
    )
    assert address.location == "nats+tls://n1:4222,n2:4333,[::1]:4222/ONHOOK"
    assert address.hosts == ("n1", "n2", "::1")


@pytest.mark.parametrize(
    "url",
    [
        "", "ONHOOK", "http://n1/ONHOOK", "nats://n1", "nats:///ONHOOK", "nats://n1/ONHOOK/2", "nats://n1/ON.HOOK",
        "nats://n1/ONHOOK?replicas=2", "nats://n1/ONHOOK?replicas=3", "nats://n1/ONHOOK?monitor=x&replicas=1",
        "nats://n1/ONHOOK?replica=1", "nats://n1,,n2/ONHOOK?replicas=1", "nats://[::1/ONHOOK?replicas=1",
    ],
)  # fmt: skip
def test_address_that_is_invalid_is_an_error_without_it(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_jetstream_address(url.replace("://", "://me:secret@"))
    assert "secret" not in str(caught.value)


async def test_ledger_without_streams_is_refused_and_creates_none(
    jetstream_server: JetStreamServer, stream_name: str
) -> None:
    ledger = JetStreamLedger(jetstream_server.url(stream_name), call_seconds=CALL_SECONDS)
    for _try in range(2):
        with pytest.raises(UsageError, match="no ledger of this name"):
            await ledger.append([entry(1)])
    await ledger.close()


async def test_ledger_with_fewer_replicas_than_named_is_refused(own_server: JetStreamServer) -> None:
    await create_ledger_streams(own_server.checked_url("LEDGER"))
    url = own_server.url("LEDGER", f"replicas=3&monitor={own_server.monitor_port}")
    ledger = JetStreamLedger(url, call_seconds=CALL_SECONDS)
    with pytest.raises(UsageError, match="has 1 replicas, fewer than 3"):
        await ledger.last_seq()
    await ledger.close()


async def test_server_that_confirms_before_it_writes_is_refused(
    jetstream_server: JetStreamServer, stream_name: str
) -> None:
    with pytest.raises(UsageError, match="confirms what is not on disk yet"):
        await create_ledger_streams(jetstream_server.checked_url(stream_name))


async def test_server_whose_settings_cannot_be_read_is_unavailable(
    jetstream_server: JetStreamServer, stream_name: str
) -> None:
    url = jetstream_server.url(stream_name, f"replicas=1&monitor={free_port()}")
    with pytest.raises(Unavailable, match="settings of the NATS server cannot be read"):
        await create_ledger_streams(url)


async def test_server_with_small_messages_is_refused(tmp_path: Path) -> None:
    server = JetStreamServer(tmp_path, payload_bytes=1024 * 1024)
    server.start()
    with pytest.raises(UsageError, match=r"1,048,576 bytes at most.*max_payload: 8MB"):
        await create_ledger_streams(server.url("LEDGER"))
    server.process.stop()


async def test_server_with_tls_is_trusted_by_its_authority(tmp_path: Path) -> None:
    certificate = create_server_certificate(tmp_path, "localhost")
    (tmp_path / "ca.pem").write_text(certificate.authority_pem)
    tls = f'tls {{ cert_file: "{tmp_path}/server.pem", key_file: "{tmp_path}/server.key" }}'
    server = JetStreamServer(tmp_path, more=tls)
    server.start()
    url = server.url("LEDGER", f"replicas=1&ca={tmp_path / 'ca.pem'}").replace("nats://", "nats+tls://")
    url = url.replace("127.0.0.1", "localhost")
    await create_ledger_streams(url)
    ledger = JetStreamLedger(url, call_seconds=CALL_SECONDS)
    assert [result.outcome for result in await ledger.append([entry(1)])] == ["new"]
    await ledger.close()
    untrusting = JetStreamLedger(url.partition("?")[0] + "?replicas=1", call_seconds=SHORT_SECONDS)
    with pytest.raises((Unavailable, ssl.SSLError)):
        await untrusting.last_seq()
    await untrusting.close()
    server.process.stop()


async def test_server_that_is_away_is_unavailable_within_the_deadline() -> None:
    ledger = JetStreamLedger(f"nats://127.0.0.1:{free_port()}/LEDGER?replicas=1", call_seconds=SHORT_SECONDS)
    for _try in range(2):
        with pytest.raises(Unavailable, match="the ledger is unavailable"):
            await ledger.append([entry(1)])
    await ledger.close()


async def test_ledger_that_begins_after_a_number_has_no_lower_one(
    jetstream_server: JetStreamServer, stream_name: str
) -> None:
    ledger = await jetstream_server.create_ledger(stream_name, after_seq=1_000)
    assert await ledger.last_seq() == 1_000
    assert await ledger.read(0, 10) == []
    assert [result.seq for result in await ledger.append([entry(1)])] == [1_001]
    await ledger.close()


async def test_wait_ends_by_the_append_of_another_process(
    jetstream_server: JetStreamServer, ledger: JetStreamLedger, stream_name: str
) -> None:
    """By a push of the server: not at the end of its time."""
    other = JetStreamLedger(jetstream_server.url(stream_name), call_seconds=CALL_SECONDS)
    await ledger._check()
    event = await ledger._follower.prepare()
    while event.is_set():  # set when it began to follow
        event = await ledger._follower.prepare()
    await other.append([entry(1)])
    await event.wait()
    assert await ledger.wait(0, 0)
    await other.close()


async def test_rewrite_again_by_another_process_shows_the_last_content(
    jetstream_server: JetStreamServer, ledger: JetStreamLedger, stream_name: str
) -> None:
    """And what was replaced before is no longer in the stream."""
    other = JetStreamLedger(jetstream_server.url(stream_name), call_seconds=CALL_SECONDS)
    first, second, last = (result.seq for result in await ledger.append(entries(1, 3)))
    await ledger.rewrite({first: RewrittenContent("erased", b"first"), last: RewrittenContent("erased", b"last")})
    assert [item.body for item in await other.read(0, 10)] == [b"first", entry(2).body, b"last"]
    await other.rewrite({first: RewrittenContent("erased", b"again")})
    assert [item.body for item in await ledger.read(0, 2)] == [b"again", entry(2).body]
    assert [item.body for item in await ledger.get([first, second])] == [b"again", entry(2).body]
    await other.delete([first])
    assert [item.seq for item in await ledger.read(0, 10)] == [second, last]
    subject = ledger._names.state_subject("contents", ">")
    messages = await ledger._client.read_messages(ledger._names.state, subject, 0, 10, 1_000)
    assert [message.subject.split(".")[-2] for message in messages] == [str(last)]
    assert [result.outcome for result in await other.append([entry(1), entry(3)])] == ["deleted", "duplicate"]
    await other.close()


async def test_rewrite_control_entries_keeps_their_order(ledger: JetStreamLedger) -> None:
    """The next one follows the last one also where the content of that one was replaced."""
    last_seq = await ledger.append_control([b"a", b"b"], last_control_seq=0, now_us=NOW)
    await ledger.rewrite({last_seq: RewrittenContent("control", b"c")})
    assert await ledger.last_control_seq() == last_seq
    assert await ledger.append_control([b"x"], last_control_seq=last_seq - 1, now_us=NOW) == 0
    await ledger.append_control([b"d"], last_control_seq=last_seq, now_us=NOW)
    assert [item.body for item in await ledger.control_entries(0, 10)] == [b"a", b"c", b"d"]
    assert [item.body for item in await ledger.control_entries(1, 1)] == [b"c"]


async def test_append_control_more_than_a_batch_are_in_order(
    ledger: JetStreamLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream, "CONTROL_ENTRIES_MAX", 2)
    bodies = [b"%d" % number for number in range(5)]
    assert await ledger.append_control(bodies, last_control_seq=0, now_us=NOW) == 5
    assert [item.body for item in await ledger.control_entries(0, 10)] == bodies


async def test_append_to_a_server_that_restarts_goes_on(own_server: JetStreamServer) -> None:
    """Repeats of what was stored, rewritten and deleted before are recognised, and a waiting reader is woken up."""
    await create_ledger_streams(own_server.checked_url("LEDGER"))
    ledger = JetStreamLedger(own_server.checked_url("LEDGER"), call_seconds=RESTART_SECONDS)
    first, second, last = (result.seq for result in await ledger.append(entries(1, 3)))
    await ledger.delete([first])
    await ledger.rewrite({second: RewrittenContent("erased", b"")})
    waiting = asyncio.create_task(_wait_for(ledger, last))
    await asyncio.sleep(0)
    own_server.kill()
    impatient = JetStreamLedger(own_server.url("LEDGER"), call_seconds=SHORT_SECONDS)
    with pytest.raises(Unavailable):
        await impatient.append([entry(4)])
    await impatient.close()
    own_server.start()
    results = await append_until_acknowledged(ledger, *entries(1, 4))
    assert [result.outcome for result in results] == ["deleted", "duplicate", "duplicate", "new"]
    assert [result.seq for result in results[:3]] == [0, second, last]
    await waiting
    await ledger.close()


async def _wait_for(ledger: JetStreamLedger, seq: int) -> None:
    """Wait for an entry after a number, as a reader does."""
    while True:
        try:
            if await ledger.wait(seq, CALL_SECONDS):
                return
        except Unavailable:
            await asyncio.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [counts.rounds(3, seconds_each=10)])
async def test_append_to_a_server_that_is_killed_loses_no_acknowledged_event(
    own_server: JetStreamServer, rounds: int
) -> None:
    """Two writers try each entry until it is acknowledged; both append all, so half of them are repeats."""
    await create_ledger_streams(own_server.checked_url("LEDGER"))
    await _write_during_crashes(own_server.checked_url("LEDGER"), [own_server], rounds)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[JetStreamCluster]:
    cluster = JetStreamCluster(tmp_path)
    for server in cluster.servers:
        server.start()
    yield cluster
    cluster.stop()


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [counts.rounds(6, seconds_each=30)])
async def test_append_to_a_cluster_whose_servers_are_killed_loses_no_acknowledged_event(
    cluster: JetStreamCluster, rounds: int
) -> None:
    """One after the other, also the leader. Without a quorum nothing is acknowledged."""
    await _create_when_ready(cluster.url)
    await _check_that_processes_share_a_key(cluster.url)
    await _write_during_crashes(cluster.url, cluster.servers, rounds)
    ledger = JetStreamLedger(cluster.url, call_seconds=RESTART_SECONDS)
    last_seq = await _when_available(ledger.last_seq)
    for server in cluster.servers[1:]:
        server.kill()
    for _try in range(3):
        with pytest.raises(Unavailable):
            await ledger.append([entry(10**6)])
    for server in cluster.servers[1:]:
        server.start()
    (result,) = await append_until_acknowledged(ledger, entry(10**6))
    assert result.seq == last_seq + 1
    await ledger.close()


async def _check_that_processes_share_a_key(url: str) -> None:
    """Also where all begin at once: else none recognises the repeats of another one."""
    ledgers = [JetStreamLedger(url, call_seconds=CALL_SECONDS) for _process in range(4)]
    results = await asyncio.gather(*(ledger.append([entry(0)]) for ledger in ledgers))
    assert sorted(result.outcome for (result,) in results) == ["duplicate"] * 3 + ["new"]
    assert len({result.seq for (result,) in results}) == 1
    for ledger in ledgers:
        await ledger.close()


async def _create_when_ready(url: str) -> None:
    """Create the streams when the servers have elected a leader."""
    while True:
        try:
            # Servers without a leader may not answer at all.
            await create_ledger_streams(url, call_seconds=RESTART_SECONDS)
        except Unavailable:
            await asyncio.sleep(0.5)
            continue
        return


async def _write_during_crashes(url: str, servers: Sequence[JetStreamServer], rounds: int) -> None:
    """Kill a server in each round, and start it again; then compare what was acknowledged with what is stored."""
    ledgers = [JetStreamLedger(url, call_seconds=RESTART_SECONDS) for _writer in range(2)]
    seqs: dict[bytes, set[int]] = {}
    is_ending = False

    async def write(ledger: JetStreamLedger) -> None:
        number = 0
        while not is_ending:
            number += 1
            (result,) = await append_until_acknowledged(ledger, entry(number))
            seqs.setdefault(entry(number).key, set()).add(result.seq)

    writers = [asyncio.create_task(write(ledger)) for ledger in ledgers]
    for round_number in range(rounds):
        await _wait_for_count(seqs, len(seqs) + 50)
        await asyncio.sleep(0.05 * (round_number % 4))
        server = servers[round_number % len(servers)]
        server.kill()
        await _wait_for_count(seqs, len(seqs) + (5 if len(servers) > 1 else 0))
        server.start()
    is_ending = True
    await asyncio.gather(*writers)
    stored = [event for event in await _read_all(ledgers[0]) if event.key != entry(0).key]
    assert {event.key: {event.seq} for event in stored} == seqs
    assert len({event.key for event in stored}) == len(stored) > 50 * rounds
    for ledger in ledgers:
        await ledger.close()


async def _wait_for_count(items: Collection[object], count: int) -> None:
    await wait_until(lambda: len(items) >= count, CALL_SECONDS)


async def _read_all(ledger: JetStreamLedger) -> list[RawEvent]:
    events: list[RawEvent] = []
    while page := await _when_available(partial(ledger.read, events[-1].seq if events else 0, 1_000)):
        events += page
    return events


async def _when_available(call: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a call, made again while the servers elect a leader."""
    async with asyncio.timeout(CALL_SECONDS):
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(0.05)


async def test_append_has_one_deadline_for_all_its_requests(
    jetstream_server: JetStreamServer, stream_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A PBX waits: each of them might be answered just in time."""
    await create_ledger_streams(jetstream_server.url(stream_name))
    ledger = JetStreamLedger(jetstream_server.url(stream_name), call_seconds=RESTART_SECONDS)
    await ledger.append([entry(1)])

    async def answer_never(*_arguments: object) -> dict[bytes, int]:
        await asyncio.Event().wait()
        return {}

    monkeypatch.setattr(JetStreamState, "find_fingerprints", answer_never)
    monkeypatch.setattr(ledger, "_call_seconds", SHORT_SECONDS)
    with pytest.raises(Unavailable, match="no answer in time"):
        await ledger.append([entry(2)])
    await ledger.close()


async def test_ledger_that_replaces_a_lost_one_goes_on_after_its_numbers(own_server: JetStreamServer) -> None:
    url = own_server.url("LEDGER")
    for _try in range(2):
        await jetstream.create_ledger(url, 500)
    ledger = JetStreamLedger(url, call_seconds=CALL_SECONDS)
    assert (await ledger.last_seq(), await ledger.begin_seq()) == (500, 500)
    assert [result.seq for result in await ledger.append([entry(1)])] == [501]
    await ledger.close()
    with pytest.raises(UsageError, match="the streams have a ledger already"):
        await jetstream.create_ledger(url, 501)
