"""Ingest: verdicts, storing once, counters."""

import asyncio
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest

from onhook.ledger.contract import RawEvent
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.signing import sign
from onhook.pbx.dialect import Envelope
from onhook.pbx.yeastar.payload import Yeastar
from onhook.receiver.hash_budget import BYTES_BURST
from onhook.receiver.ingest import RECHECKS_MAX, Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import RESPONSES_BY_VERDICT, Verdict, is_by_webhook, is_live
from tests.receiver.harness import (
    DIALECTS,
    RAW_EVENT,
    REGISTERED_PBXS,
    RESPONSE_SECONDS_MAX,
    SECRET,
    SN,
    MemoryPbxRegistry,
    ReceiverHarness,
    count_hashed,
    make_event_body,
    make_raw_event,
    make_request,
    statuses,
)


class Other:
    """A dialect that recognises bodies which begin with `other`."""

    name = "other"

    def peek(self, body: bytes) -> Envelope:
        kind = "details" if body.startswith(b"other") else "not_json"
        sn = body.split(b" ")[1].decode() if kind == "details" else ""
        return Envelope(kind, sn, "call", body[:16].ljust(16))  # type: ignore[arg-type] # one of the kinds

    def parse(self, body: bytes) -> Sequence[object]:
        raise AssertionError("not read by this test")

    format = parse


async def judged(accept: Ingestor, *bodies: bytes, secret: str = SECRET) -> list[Verdict]:
    """Return the verdicts on webhook bodies that arrive at once, in order."""
    verdicts: dict[int, Verdict] = {}
    for number, body in enumerate(bodies):
        accept.submit_request(body, sign(secret, body), "192.0.2.1", partial(verdicts.__setitem__, number))
    await accept.drain()
    return [verdicts[number] for number in range(len(bodies))]


async def test_ingest_counters_of_other_channels_are_apart_from_webhooks(receiver: ReceiverHarness) -> None:
    """An imported file is no sign that the webhook works."""
    sender = REGISTERED_PBXS[0]
    assert await judged(receiver.ingestor, make_raw_event(1)) == ["stored"]
    for number, via in enumerate(("websocket", "import", "backfill"), 2):
        assert await receiver.ingestor.ingest(sender, make_raw_event(number), via) == "stored"
    assert await receiver.ingestor.ingest(sender, make_raw_event(2), "import") == "duplicate"
    await receiver.ingestor.close()
    counters = await receiver.ledger.counters()
    assert [(counter.kind, counter.label) for counter in counters if is_by_webhook(counter)] == [("stored", "30012")]
    assert sorted((counter.kind, counter.label) for counter in counters if is_live(counter)) == [
        ("stored", "30012"),
        ("stored", "via:websocket"),
    ]
    assert sum(counter.count for counter in counters) == 5


async def reports(receiver: ReceiverHarness) -> list[RawEvent]:
    return await receiver.ledger.read(0, 1_000)


async def test_ingest_event_is_stored_unchanged(receiver: ReceiverHarness) -> None:
    """With body, signature, sender, channel, address and time."""
    before = SystemClock().microseconds()
    await receiver.send(make_request(RAW_EVENT))
    (stored_event,) = await reports(receiver)
    assert stored_event.body == RAW_EVENT
    assert (stored_event.sn, stored_event.dialect, stored_event.via, stored_event.peer) == (
        SN,
        "yeastar",
        "webhook",
        "127.0.0.1",
    )
    assert stored_event.signature == sign(SECRET, RAW_EVENT)
    assert before <= stored_event.received_at <= SystemClock().microseconds()


async def test_ingest_repeats_are_stored_once(receiver: ReceiverHarness) -> None:
    """At once, later, with members in another order and under another signature; all are answered 200."""
    envelope = msgspec.json.decode(RAW_EVENT)
    turned = msgspec.json.encode(dict(reversed(envelope.items())))
    assert await judged(receiver.ingestor, RAW_EVENT, RAW_EVENT, turned) == ["stored", "duplicate", "duplicate"]
    assert await judged(receiver.ingestor, turned, secret=REGISTERED_PBXS[0].secrets[1]) == ["duplicate"]
    assert len(await reports(receiver)) == 1
    assert await receiver.count_verdicts() == {"stored": 1, "duplicate": 3}


async def test_ingest_event_that_was_deleted_is_counted_but_not_stored(receiver: ReceiverHarness) -> None:
    await judged(receiver.ingestor, RAW_EVENT, make_raw_event(1))
    await receiver.ledger.delete([1])
    assert await judged(receiver.ingestor, RAW_EVENT) == ["deleted"]
    assert RESPONSES_BY_VERDICT["deleted"].status == 200
    assert [event.seq for event in await reports(receiver)] == [2]
    assert await receiver.count_verdicts() == {"stored": 2, "deleted": 1}


async def test_ingest_dialect_that_raises_loses_no_event(receiver: ReceiverHarness) -> None:
    """A signed body is stored as unparsable; an unsigned one is rejected."""

    class Failing(Yeastar):
        """A dialect that breaks its contract."""

        def peek(self, body: bytes) -> Envelope:
            raise ZeroDivisionError

    accept = Ingestor(
        ledger=receiver.ledger,
        registry=MemoryPbxRegistry(REGISTERED_PBXS),
        dialects={"yeastar": Failing()},
        clock=SystemClock(),
    )
    assert await judged(accept, RAW_EVENT) == ["unparsable"]
    assert await judged(accept, RAW_EVENT, secret="unknown") == ["invalid_signature"]
    assert [report.body for report in await reports(receiver)] == [RAW_EVENT]


async def test_ingest_unknown_dialect_of_a_sender_loses_no_event(receiver: ReceiverHarness) -> None:
    """What another dialect recognises is stored under that one; anything else waits in the quarantine."""
    sender = msgspec.structs.replace(REGISTERED_PBXS[0], dialect="later")
    accept = Ingestor(
        ledger=receiver.ledger,
        registry=MemoryPbxRegistry([sender]),
        dialects=DIALECTS,
        clock=SystemClock(),
    )
    other_event = make_event_body(type=30011, sn=SN, msg="{}")
    assert await judged(accept, RAW_EVENT, other_event, other_event) == ["stored", "unparsable", "duplicate"]
    assert await accept.ingest(sender, make_raw_event(1), "websocket") == "stored"
    assert await accept.ingest(sender, b"later", "websocket") == "unparsable"
    dialects = [report.dialect for report in await reports(receiver)]
    assert dialects == ["yeastar", "later", "yeastar", "later"]
    await accept.close()
    assert await receiver.count_verdicts() == {"stored": 2, "unparsable": 2, "duplicate": 1}


async def test_ingest_repeat_over_another_channel_is_a_duplicate(receiver: ReceiverHarness) -> None:
    """First by webhook, then over a connection that Onhook opened."""
    assert await judged(receiver.ingestor, RAW_EVENT) == ["stored"]
    assert await receiver.ingestor.ingest(REGISTERED_PBXS[0], RAW_EVENT, "websocket") == "duplicate"
    assert (
        await receiver.ingestor.ingest(
            REGISTERED_PBXS[0], make_event_body(type=30012, msg="?"), "websocket", "192.0.2.7"
        )
        == "unparsable"
    )
    assert (
        await receiver.ingestor.ingest(REGISTERED_PBXS[0], make_event_body(type=30011, msg="{}"), "websocket")
        == "other_event"
    )
    assert [(report.via, report.peer) for report in await reports(receiver)] == [
        ("webhook", "192.0.2.1"),
        ("websocket", "192.0.2.7"),
    ]


async def test_ingest_body_without_sn_is_stored_for_the_pbx_whose_secret_signs_it(receiver: ReceiverHarness) -> None:
    (nameless,) = {make_event_body(type=30012, msg='{"call_id":"1.1"}')}
    assert await judged(receiver.ingestor, nameless) == ["stored"]
    assert [report.sn for report in await reports(receiver)] == [SN]


async def test_ingest_body_is_read_in_the_dialect_of_its_sender(tmp_path: Path) -> None:
    """Whichever dialect recognised it first; the key is that dialect's."""
    pbxs = [
        RegisteredPbx(sn="A", dialect="yeastar", secrets=(SECRET,)),
        RegisteredPbx(sn="B", dialect="other", secrets=(SECRET,)),
    ]
    ledger = SqliteLedger(tmp_path / "ledger.db")
    dialects = {"yeastar": Yeastar(), "other": Other()}
    accept = Ingestor(ledger=ledger, registry=MemoryPbxRegistry(pbxs), dialects=dialects, clock=SystemClock())  # type: ignore[arg-type] # it reads nothing
    assert await judged(accept, b"other B 1", make_raw_event(1, "A"), make_raw_event(1, "B")) == [
        "stored",
        "stored",
        "unparsable",
    ]
    stored_events = await ledger.read(0, 10)
    assert [(event.sn, event.dialect) for event in stored_events] == [("B", "other"), ("A", "yeastar"), ("B", "other")]
    assert stored_events[2].key == Other().peek(make_raw_event(1, "B")).key
    await accept.close()
    await ledger.close()


async def test_ingest_secret_added_while_running_is_used_at_once(tmp_path: Path) -> None:
    registry = MemoryPbxRegistry([])
    ledger = SqliteLedger(tmp_path / "ledger.db")
    accept = Ingestor(ledger=ledger, registry=registry, dialects={"yeastar": Yeastar()}, clock=SystemClock())
    assert await judged(accept, RAW_EVENT) == ["unknown_pbx"]
    registry.set_pbxs(REGISTERED_PBXS)
    assert await judged(accept, RAW_EVENT) == ["stored"]
    await accept.close()
    await ledger.close()


async def test_ingest_too_many_queued_events_are_answered_503(receiver: ReceiverHarness) -> None:
    """Every request is answered and counted."""
    bodies = [make_raw_event(number) for number in range(10_050)]
    verdicts = await judged(receiver.ingestor, *bodies)
    assert verdicts == ["stored"] * 10_000 + ["too_many"] * 50
    assert await receiver.count_verdicts() == {"stored": 10_000, "too_many": 50}


async def test_ingest_serial_numbers_of_unknown_pbxs_are_cleaned(receiver: ReceiverHarness) -> None:
    """Without control characters, and cut."""
    await receiver.send(make_request(make_event_body(sn="evil\x1b[31m\r\nname", type=30012)))
    await receiver.send(make_request(make_event_body(sn="x" * 1_000, type=30012)))
    await receiver.ingestor.close()
    named = {tally.sn for tally in await receiver.ledger.counters()}
    assert named == {"evil\ufffd[31m\ufffd\ufffdname", "x" * 64}


async def test_ingest_many_unknown_serial_numbers_share_one_counter(receiver: ReceiverHarness) -> None:
    bodies = [make_raw_event(number, f"UNKNOWN{number}") for number in range(3_000)]
    await judged(receiver.ingestor, *bodies, secret="unknown")
    assert (await receiver.count_verdicts()) == {"unknown_pbx": 3_000}
    assert len(await receiver.ledger.counters()) <= 1_000


async def test_ingest_counters_are_flushed_without_a_stop(receiver: ReceiverHarness) -> None:
    await receiver.send(make_request(RAW_EVENT))
    async with asyncio.timeout(RESPONSE_SECONDS_MAX):
        while not (tallies := await receiver.ledger.counters()):  # noqa: ASYNC110 - a ledger sets no event
            await asyncio.sleep(0.01)
    assert [(tally.kind, tally.sn, tally.label, tally.count) for tally in tallies] == [("stored", SN, "30012", 1)]


async def test_ingest_full_disk_is_answered_503_until_there_is_space(receiver: ReceiverHarness) -> None:
    """503 with `Retry-After`, nothing stored, `/healthz` fails; then it works again by itself, and the error is
    reported once.
    """
    connections = (
        receiver.ledger._loop_connection,
        receiver.ledger._append_thread._connection,
        receiver.ledger._checkpoint_thread._connection,
    )
    for connection in connections:
        connection.execute("PRAGMA max_page_count = 1")
    large = make_event_body(sn=SN, type=30012, msg="x" * 200_000)
    answer = await receiver.send(make_request(large))
    assert statuses(answer) == [503]
    assert b"\r\nRetry-After: " in answer
    health = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert statuses(await receiver.send(health)) == [503]
    for connection in connections:
        connection.execute("PRAGMA max_page_count = 1000000")
    async with asyncio.timeout(RESPONSE_SECONDS_MAX):
        while statuses(await receiver.send(health)) == [503]:  # noqa: ASYNC110 - requested over the network
            await asyncio.sleep(0.01)
    assert statuses(await receiver.send(health)) == [200]
    assert statuses(await receiver.send(make_request(large))) == [200]
    assert len(await reports(receiver)) == 1
    assert [trouble is None for trouble in receiver.ledger_errors] == [False, True]
    assert await receiver.count_verdicts() == {"unavailable": 1, "unparsable": 1}


class LaggingPbxRegistry(MemoryPbxRegistry):
    """A registry that knows the PBXs only after a refresh."""

    def __init__(self, pbxs: Sequence[RegisteredPbx]) -> None:
        super().__init__([])
        self._current_pbxs = pbxs
        self.refresh_count = 0

    async def refresh(self) -> None:
        self.refresh_count += 1
        await asyncio.sleep(0)
        self.set_pbxs(self._current_pbxs)


def create_lagging_ingestor(receiver: ReceiverHarness, registry: LaggingPbxRegistry) -> Ingestor:
    return Ingestor(
        ledger=receiver.ledger, registry=registry, dialects={"yeastar": Yeastar()}, clock=SystemClock(), has_events=True
    )


async def test_ingest_pbx_that_was_just_added_is_accepted(receiver: ReceiverHarness) -> None:
    ingestor = create_lagging_ingestor(receiver, LaggingPbxRegistry(REGISTERED_PBXS))
    assert await judged(ingestor, RAW_EVENT) == ["stored"]


class UnreadPbxRegistry(LaggingPbxRegistry):
    """A registry whose database cannot be read before the second refresh."""

    def is_loaded(self) -> bool:
        return self.refresh_count > 1

    async def refresh(self) -> None:
        if self.refresh_count:
            self.set_pbxs(self._current_pbxs)
        self.refresh_count += 1


@pytest.mark.parametrize("has_events", [True, False])
async def test_ingest_request_while_the_settings_cannot_be_read_has_a_verdict_of_its_own(
    receiver: ReceiverHarness, has_events: bool
) -> None:
    """The database is locked or damaged: nothing says that settings were lost."""
    ingestor = Ingestor(
        ledger=receiver.ledger, registry=UnreadPbxRegistry(REGISTERED_PBXS), dialects=DIALECTS, clock=SystemClock(),
        has_events=has_events,
    )  # fmt: skip
    assert not ingestor.is_working
    assert await judged(ingestor, RAW_EVENT) == ["settings_unreadable"]
    assert RESPONSES_BY_VERDICT["settings_unreadable"] == RESPONSES_BY_VERDICT["settings_lost"]
    assert await judged(ingestor, RAW_EVENT) == ["stored"]
    await ingestor.close()
    kinds = {counter.kind for counter in await receiver.ledger.counters()}
    assert kinds == {"settings_unreadable", "stored"}


async def test_ingest_request_is_rejected_after_the_registry_was_read_again(receiver: ReceiverHarness) -> None:
    registry = LaggingPbxRegistry(REGISTERED_PBXS)
    ingestor = create_lagging_ingestor(receiver, registry)
    assert await judged(ingestor, RAW_EVENT, secret="unknown") == ["invalid_signature"]
    assert registry.refresh_count == 1


async def test_ingest_bodies_without_a_sender_are_hashed_in_vain_up_to_a_limit(
    receiver: ReceiverHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with each secret, once; past the limit a sender is to try again. What a PBX signs is stored until then, and
    again as soon as there is budget.
    """
    now = 100.0
    pbxs = [RegisteredPbx(sn=f"S{number}", dialect="yeastar", secrets=(f"secret {number}",)) for number in range(50)]
    ingestor = Ingestor(
        ledger=receiver.ledger, registry=MemoryPbxRegistry(pbxs), dialects=DIALECTS, clock=SystemClock(),
        monotonic=lambda: now,
    )  # fmt: skip
    hashed = count_hashed(monkeypatch)
    bodies = [make_event_body(type=30012, msg="x" * 10_000 + str(number)) for number in range(400)]
    verdicts = [(await judged(ingestor, body, secret="unknown"))[0] for body in bodies]
    tried = verdicts.index("too_many")
    assert verdicts == ["invalid_signature"] * tried + ["too_many"] * (len(bodies) - tried)
    assert len(hashed) == tried * len(pbxs)
    assert BYTES_BURST <= sum(hashed) <= BYTES_BURST + len(pbxs) * 11_000
    body = make_event_body(type=30012, msg='{"call_id":"1.1"}')
    assert await judged(ingestor, body, secret="secret 49") == ["too_many"]
    now += 1.0
    assert await judged(ingestor, body, secret="secret 49") == ["stored"]
    await ingestor.close()


@pytest.mark.parametrize("is_small", [True, False])
async def test_ingest_bodies_of_outsiders_are_decoded_up_to_a_limit(
    receiver: ReceiverHarness, monkeypatch: pytest.MonkeyPatch, is_small: bool
) -> None:
    """A small body may unpack to a large one. What a PBX sends as usual is stored all the while."""
    now = 100.0
    body = zlib.compress(b"[" + b",".join([b"[1]"] * 250_000) + b"]") if is_small else b"[" + b"[1]," * 60_000 + b"1]"
    ingestor = Ingestor(
        ledger=receiver.ledger, registry=MemoryPbxRegistry(REGISTERED_PBXS), dialects=DIALECTS, clock=SystemClock(),
        monotonic=lambda: now,
    )  # fmt: skip
    decoded: list[bytes] = []
    peek = Yeastar.peek

    def recording_peek(dialect: Yeastar, peeked_body: bytes) -> Envelope:
        decoded.append(peeked_body)
        return peek(dialect, peeked_body)

    monkeypatch.setattr(Yeastar, "peek", recording_peek)
    verdicts = [(await judged(ingestor, body, secret="unknown"))[0] for _ in range(20)]
    decoded_count = decoded.count(body)
    assert verdicts == ["invalid_signature"] * decoded_count + ["too_many"] * (20 - decoded_count)
    assert 1 <= decoded_count <= 10
    assert await judged(ingestor, RAW_EVENT) == ["stored"]
    now += 10.0
    assert (await judged(ingestor, body, secret="unknown")) == ["invalid_signature"]
    await ingestor.close()


async def test_ingest_many_rejected_requests_wait_for_the_registry_in_part(receiver: ReceiverHarness) -> None:
    """The others are rejected at once, so that their bodies do not fill the memory."""
    registry = LaggingPbxRegistry(REGISTERED_PBXS)
    ingestor = create_lagging_ingestor(receiver, registry)
    bodies = [make_raw_event(number) for number in range(RECHECKS_MAX + 5)]
    verdicts = await judged(ingestor, *bodies, secret="unknown")
    assert verdicts[RECHECKS_MAX:] == ["settings_lost"] * 5
    assert registry.refresh_count == RECHECKS_MAX
