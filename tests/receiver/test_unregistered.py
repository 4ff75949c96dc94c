"""Events with a serial number that is not registered, signed with a secret of a registered PBX."""

import json
from functools import partial
from pathlib import Path

import pytest

from onhook.ledger.contract import CounterKey
from onhook.lib.clock import SystemClock
from onhook.lib.signing import sign
from onhook.receiver.hash_budget import BODY_BYTES_MIN, BYTES_BURST, BYTES_PER_SECOND, HashBudget
from onhook.receiver.ingest import COUNTS_SECONDS, Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.unregistered import EVENTS_MAX, SERIAL_NUMBERS_MAX, UnregisteredSenders
from onhook.receiver.verdict import RESPONSES_BY_VERDICT, Verdict
from tests.receiver.harness import (
    DIALECTS,
    REGISTERED_PBXS,
    SECRET,
    SN,
    MemoryPbxRegistry,
    ReceiverHarness,
    count_hashed,
    make_raw_event,
    make_request,
    statuses,
)

PAYLOADS = Path(__file__).parents[1] / "payloads"
OTHER_SN = "3631A2199ZZZ"
EVENT = make_raw_event(1, OTHER_SN)
STRICT_PBX = RegisteredPbx(sn="STRICT", dialect="yeastar", secrets=("a secret of its own",), keeps_unregistered=False)


async def judge(receiver: ReceiverHarness, body: bytes, signature: str, counts: dict[str, int] | None = None) -> str:
    """Return the verdict of an ingestor that begins with these counts of kept events."""
    ingestor = Ingestor(
        ledger=receiver.ledger,
        registry=MemoryPbxRegistry((*REGISTERED_PBXS, STRICT_PBX)),
        dialects=DIALECTS,
        clock=SystemClock(),
        unregistered_counts=counts,
    )
    verdicts: list[Verdict] = []
    ingestor.submit_request(body, signature, "192.0.2.1", verdicts.append)
    await ingestor.close()
    return verdicts[0]


async def test_unregistered_event_is_stored_for_the_pbx_whose_secret_signs_it(receiver: ReceiverHarness) -> None:
    response = await receiver.send(make_request(EVENT))
    assert statuses(response) == [200]
    assert RESPONSES_BY_VERDICT["unregistered"].text.encode() in response
    (stored,) = await receiver.ledger.read(0, 10)
    assert (stored.sn, stored.via, stored.dialect, stored.body) == (SN, "unregistered", "yeastar", EVENT)
    assert stored.signature == sign(SECRET, EVENT)


async def test_unregistered_event_of_a_replaced_pbx_is_stored_for_the_pbx_that_it_replaces(
    receiver: ReceiverHarness,
) -> None:
    """As a PBX sent it that took over the secret, with the serial number of another machine."""
    body = (PAYLOADS / "c1_replaced_pbx_same_secret.json").read_bytes()
    assert statuses(await receiver.send(make_request(body))) == [200]
    (stored,) = await receiver.ledger.read(0, 10)
    assert (stored.sn, stored.via, stored.body) == (SN, "unregistered", body)
    assert json.loads(body)["sn"] not in [pbx.sn for pbx in REGISTERED_PBXS]


async def test_unregistered_event_is_counted_under_both_serial_numbers(receiver: ReceiverHarness) -> None:
    assert await judge(receiver, EVENT, sign(SECRET, EVENT)) == "unregistered"
    assert await judge(receiver, EVENT, sign(SECRET, EVENT)) == "duplicate"
    counters = {(counter.kind, counter.sn, counter.label) for counter in await receiver.ledger.counters()}
    assert counters == {("unregistered", OTHER_SN, SN), ("duplicate", SN, "30012")}


@pytest.mark.parametrize(
    ("body", "secret", "verdict"),
    [
        (EVENT, "a secret of no PBX", "unknown_pbx"),
        (EVENT, STRICT_PBX.secrets[0], "unknown_pbx"),
        (make_raw_event(1, SN), STRICT_PBX.secrets[0], "invalid_signature"),
        (make_raw_event(1, "STRICT"), SECRET, "invalid_signature"),
        (make_raw_event(1, "with a blank"), SECRET, "unknown_pbx"),
        (make_raw_event(1, "\N{SNOWMAN}"), SECRET, "unknown_pbx"),
    ],
)
async def test_unregistered_other_request_is_rejected(
    receiver: ReceiverHarness, body: bytes, secret: str, verdict: Verdict
) -> None:
    """Signed with no secret, or with that of a PBX that is switched off; a registered serial number is never another
    PBX's; what cannot be registered is not kept.
    """
    assert await judge(receiver, body, sign(secret, body)) == verdict
    assert await receiver.count_raw_events() == 0


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        ({OTHER_SN: EVENTS_MAX - 1}, "unregistered"),
        ({OTHER_SN: EVENTS_MAX}, "unknown_pbx"),
        ({f"S{number}": 1 for number in range(SERIAL_NUMBERS_MAX - 1)}, "unregistered"),
        ({f"S{number}": 1 for number in range(SERIAL_NUMBERS_MAX)}, "unknown_pbx"),
        ({**{f"S{number}": 1 for number in range(SERIAL_NUMBERS_MAX - 1)}, SN: 1}, "unregistered"),
    ],
)
async def test_unregistered_events_are_bounded(
    receiver: ReceiverHarness, counts: dict[str, int], verdict: Verdict
) -> None:
    """Per serial number, and by the number of serial numbers; those that were registered since do not count."""
    assert await judge(receiver, EVENT, sign(SECRET, EVENT), counts) == verdict


async def test_unregistered_events_of_one_run_are_bounded(receiver: ReceiverHarness) -> None:
    ingestor = Ingestor(
        ledger=receiver.ledger,
        registry=MemoryPbxRegistry(REGISTERED_PBXS),
        dialects=DIALECTS,
        clock=SystemClock(),
        unregistered_counts={OTHER_SN: EVENTS_MAX - 2},
    )
    verdicts: dict[int, Verdict] = {}
    for number in range(4):
        body = make_raw_event(number, OTHER_SN)
        ingestor.submit_request(body, sign(SECRET, body), "192.0.2.1", partial(verdicts.__setitem__, number))
        await ingestor.drain()
    await ingestor.close()
    assert [verdicts[number] for number in range(4)] == ["unregistered", "unregistered", "unknown_pbx", "unknown_pbx"]


async def test_unregistered_events_that_were_handled_do_not_count(receiver: ReceiverHarness) -> None:
    """The counters of the ledger are read again at a limit, once a minute."""
    now = 100.0
    ingestor = Ingestor(
        ledger=receiver.ledger,
        registry=MemoryPbxRegistry(REGISTERED_PBXS),
        dialects=DIALECTS,
        clock=SystemClock(),
        unregistered_counts={OTHER_SN: EVENTS_MAX},
        monotonic=lambda: now,
    )
    counter_key = CounterKey("unregistered", OTHER_SN, SN)
    await receiver.ledger.add_counts({counter_key: EVENTS_MAX}, 1)
    verdicts: list[Verdict] = []

    async def send(number: int) -> None:
        body = make_raw_event(number, OTHER_SN)
        ingestor.submit_request(body, sign(SECRET, body), "192.0.2.1", verdicts.append)
        await ingestor.drain()

    await send(0)
    now += COUNTS_SECONDS
    await send(1)
    await receiver.ledger.subtract_counts({counter_key: 1})
    await send(2)
    now += COUNTS_SECONDS
    await send(3)
    await send(4)
    await ingestor.close()
    assert verdicts == ["unknown_pbx"] * 3 + ["unregistered", "unknown_pbx"]


def test_find_signer_hashes_no_more_than_its_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A burst of large bodies spends what is saved; a second later there is a second's worth again."""
    now = 100.0
    pbx = RegisteredPbx(sn=SN, dialect="yeastar", secrets=(SECRET,))
    senders = UnregisteredSenders(MemoryPbxRegistry([pbx]), {}, HashBudget(lambda: now))
    body = b"x" * (1024 * 1024)
    signature = sign(SECRET, body)
    hashed = count_hashed(monkeypatch)
    while senders.find_signer(body, signature) is not None:
        assert sum(hashed) <= BYTES_BURST
    spent = sum(hashed)
    assert BYTES_BURST - 2 * len(body) <= spent <= BYTES_BURST
    now += 1.0
    assert senders.find_signer(body, signature) is not None
    while senders.find_signer(body, signature) is not None:
        assert sum(hashed) <= spent + BYTES_PER_SECOND + 2 * len(body)
    now += 10_000.0
    before = sum(hashed)
    while senders.find_signer(body, signature) is not None:
        assert sum(hashed) - before <= BYTES_BURST


def test_find_signer_short_bodies_are_bounded_in_number(monkeypatch: pytest.MonkeyPatch) -> None:
    senders = UnregisteredSenders(MemoryPbxRegistry(REGISTERED_PBXS[:1]), {}, HashBudget(lambda: 0.0))
    hashed = count_hashed(monkeypatch)
    for _ in range(2 * BYTES_BURST // BODY_BYTES_MIN // 100):
        senders.find_signer(b"x", "y" * 44)
    assert 0 < len(hashed) <= BYTES_BURST // BODY_BYTES_MIN


async def test_rejection_costs_as_many_hashes_for_a_registered_serial_number(
    receiver: ReceiverHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the time of an answer does not reveal which serial numbers are registered."""
    one_secret = make_raw_event(1, "STRICT")
    hashed = count_hashed(monkeypatch)
    assert await judge(receiver, one_secret, "z" * 44) == "invalid_signature"
    registered_count = len(hashed)
    hashed.clear()
    assert await judge(receiver, make_raw_event(1, "STRIKT"), "z" * 44) == "unknown_pbx"
    assert len(hashed) == registered_count > 0
