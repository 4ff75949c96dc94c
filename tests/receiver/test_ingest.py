"""The one door: what is judged how, kept once, and counted."""

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec

from onhook.ledger.contract import RawEvent
from onhook.ledger.sqlite import SqliteLedger
from onhook.lib.clock import SystemClock
from onhook.lib.signing import sign
from onhook.pbx.dialect import Glance
from onhook.pbx.yeastar.payload import Yeastar
from onhook.receiver import ingest
from onhook.receiver.counters import FLUSH_SECONDS
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import Verdict
from tests.receiver.harness import DECLARED, REPORT, SECRET, SN, ListedDoor, OpenDoor, event, post, report, statuses


class Other:
    """A dialect that knows bodies which begin with `other`."""

    name = "other"

    def glance(self, body: bytes) -> Glance:
        kind = "details" if body.startswith(b"other") else "rubbish"
        sn = body.split(b" ")[1].decode() if kind == "details" else ""
        return Glance(kind, sn, "call", body[:16].ljust(16))  # type: ignore[arg-type] # one of the kinds

    def read(self, body: bytes) -> Sequence[object]:
        raise AssertionError("nobody reads here")

    write = read


async def judged(accept: Ingestor, *bodies: bytes, secret: str = SECRET) -> list[Verdict]:
    """The verdicts on bodies that come by webhook at once, in order."""
    verdicts: dict[int, Verdict] = {}
    for number, body in enumerate(bodies):
        accept.accept(body, sign(secret, body), "192.0.2.1", partial(verdicts.__setitem__, number))
    await accept.drained()
    return [verdicts[number] for number in range(len(bodies))]


async def reports(door: OpenDoor) -> list[RawEvent]:
    return await door.ledger.read(0, 1_000)


async def test_a_report_is_kept_as_it_came(door: OpenDoor) -> None:
    """Body, signature, sender, way and address are in the ledger, and when it came."""
    before = SystemClock().microseconds()
    await door.say(post(REPORT))
    (kept,) = await reports(door)
    assert kept.body == REPORT
    assert (kept.sn, kept.dialect, kept.via, kept.peer) == (SN, "yeastar", "webhook", "127.0.0.1")
    assert kept.signature == sign(SECRET, REPORT)
    assert before <= kept.received_at <= SystemClock().microseconds()


async def test_a_repeat_is_kept_once(door: OpenDoor) -> None:
    """Repeats at once, later, with members in another order and under another signature are all answered, once kept."""
    envelope = msgspec.json.decode(REPORT)
    turned = msgspec.json.encode(dict(reversed(envelope.items())))
    assert await judged(door.accept, REPORT, REPORT, turned) == ["kept", "repeat", "repeat"]
    assert await judged(door.accept, turned, secret=DECLARED[0].secrets[1]) == ["repeat"]
    assert len(await reports(door)) == 1
    assert await door.counts() == {"kept": 1, "repeat": 3}


async def test_a_dialect_that_fails_costs_no_report(door: OpenDoor) -> None:
    """What was signed is kept as unreadable; what was not is refused."""

    class Failing(Yeastar):
        """Breaks its contract."""

        def glance(self, body: bytes) -> Glance:
            raise ZeroDivisionError

    accept = Ingestor(
        ledger=door.ledger, door=ListedDoor(DECLARED), dialects={"yeastar": Failing()}, clock=SystemClock()
    )
    assert await judged(accept, REPORT) == ["unreadable"]
    assert await judged(accept, REPORT, secret="nobody's") == ["wrong_signature"]
    assert [one.body for one in await reports(door)] == [REPORT]


async def test_both_ways_in_share_repeats(door: OpenDoor) -> None:
    """What came by webhook and comes again over a connection of ours is a repeat."""
    assert await judged(door.accept, REPORT) == ["kept"]
    assert await door.accept.keep(DECLARED[0], REPORT, "websocket") == "repeat"
    assert await door.accept.keep(DECLARED[0], event(type=30012, msg="?"), "websocket", "192.0.2.7") == "unreadable"
    assert await door.accept.keep(DECLARED[0], event(type=30011, msg="{}"), "websocket") == "other_event"
    assert [(one.via, one.peer) for one in await reports(door)] == [
        ("webhook", "192.0.2.1"),
        ("websocket", "192.0.2.7"),
    ]


async def test_a_body_without_sender_belongs_to_whose_secret_signs_it(door: OpenDoor) -> None:
    """Among many PBXs the right one is found, and the report is kept under its serial number."""
    (nameless,) = {event(type=30012, msg='{"call_id":"1.1"}')}
    assert await judged(door.accept, nameless) == ["kept"]
    assert [one.sn for one in await reports(door)] == [SN]


async def test_searching_for_a_sender_is_bounded(tmp_path: Path) -> None:
    """A large body without sender is tried with as many secrets as cost some milliseconds, a common one with all."""
    pbxs = [RegisteredPbx(sn=f"PBX{n}", dialect="yeastar", secrets=(f"secret {n}",)) for n in range(1_000)]
    ledger = SqliteLedger(tmp_path / "ledger.db")
    accept = Ingestor(ledger=ledger, door=ListedDoor(pbxs), dialects={"yeastar": Yeastar()}, clock=SystemClock())
    large = event(type=30012, filler="x" * 255 * 1024)
    assert len(large) * 30 < ingest.SENDER_SEARCH_BYTES_MAX < len(large) * 40
    assert await judged(accept, large, secret="secret 30") == ["unreadable"]
    assert await judged(accept, large, secret="secret 40") == ["wrong_signature"]
    assert await judged(accept, event(event="test"), secret="secret 999") == ["test"]
    await accept.close()
    await ledger.close()


async def test_each_sender_is_read_in_its_own_dialect(tmp_path: Path) -> None:
    """A body is kept under the sender's dialect, whichever dialect knew it first; the key is that dialect's."""
    pbxs = [
        RegisteredPbx(sn="A", dialect="yeastar", secrets=(SECRET,)),
        RegisteredPbx(sn="B", dialect="other", secrets=(SECRET,)),
    ]
    ledger = SqliteLedger(tmp_path / "ledger.db")
    dialects = {"yeastar": Yeastar(), "other": Other()}
    accept = Ingestor(ledger=ledger, door=ListedDoor(pbxs), dialects=dialects, clock=SystemClock())  # type: ignore[arg-type] # it reads nothing
    assert await judged(accept, b"other B 1", report(1, "A"), report(1, "B")) == ["kept", "kept", "unreadable"]
    kept = await ledger.read(0, 10)
    assert [(one.sn, one.dialect) for one in kept] == [("B", "other"), ("A", "yeastar"), ("B", "other")]
    assert kept[2].key == Other().glance(report(1, "B")).key
    await accept.close()
    await ledger.close()


async def test_a_secret_added_while_it_runs_counts_at_once(tmp_path: Path) -> None:
    """The look-up is asked for every report, so a PBX declared between two of them is known to the second."""
    listed = ListedDoor([])
    ledger = SqliteLedger(tmp_path / "ledger.db")
    accept = Ingestor(ledger=ledger, door=listed, dialects={"yeastar": Yeastar()}, clock=SystemClock())
    assert await judged(accept, REPORT) == ["unknown_sn"]
    listed._by_sn[SN] = DECLARED[0]
    assert await judged(accept, REPORT) == ["kept"]
    await accept.close()
    await ledger.close()


async def test_too_many_waiting_reports_are_sent_away(door: OpenDoor) -> None:
    """What waits for a commit is bounded; the rest is answered 503 and counted, and nobody is left without answer."""
    bodies = [report(number) for number in range(10_050)]
    verdicts = await judged(door.accept, *bodies)
    assert verdicts == ["kept"] * 10_000 + ["too_many"] * 50
    assert await door.counts() == {"kept": 10_000, "too_many": 50}


async def test_strangers_names_are_made_harmless(door: OpenDoor) -> None:
    """What a stranger calls itself is shown without control characters, and cut."""
    await door.say(post(event(sn="evil\x1b[31m\r\nname", type=30012)))
    await door.say(post(event(sn="x" * 1_000, type=30012)))
    await door.accept.close()
    named = {tally.sn for tally in await door.ledger.tallies()}
    assert named == {"evil\ufffd[31m\ufffd\ufffdname", "x" * 64}


async def test_many_strangers_cost_little(door: OpenDoor) -> None:
    """Thousands of serial numbers in one second share one tally once there are too many to tell apart."""
    await judged(door.accept, *[report(number, f"STRANGER{number}") for number in range(3_000)])
    assert (await door.counts()) == {"unknown_sn": 3_000}
    assert len(await door.ledger.tallies()) <= 1_000


async def test_counts_reach_the_ledger_by_themselves(door: OpenDoor) -> None:
    """Within a second or so, without anybody closing anything."""
    await door.say(post(REPORT))
    await asyncio.sleep(FLUSH_SECONDS * 1.5)
    tallies = await door.ledger.tallies()
    assert [(tally.what, tally.sn, tally.label, tally.count) for tally in tallies] == [("kept", SN, "30012", 1)]


async def test_a_full_disk_is_answered_503_until_there_is_space(door: OpenDoor) -> None:
    """503 with `Retry-After`, nothing kept, health told; then it works again by itself, and trouble is told once."""
    lanes = (door.ledger._here, door.ledger._appending._connection, door.ledger._aside._connection)
    for lane in lanes:
        lane.execute("PRAGMA max_page_count = 1")
    large = event(sn=SN, type=30012, msg="x" * 200_000)
    answer = await door.say(post(large))
    assert statuses(answer) == [503]
    assert b"\r\nRetry-After: " in answer
    health = b"GET /healthz HTTP/1.1\r\nConnection: close\r\n\r\n"
    assert statuses(await door.say(health)) == [503]
    for lane in lanes:
        lane.execute("PRAGMA max_page_count = 1000000")
    await asyncio.sleep(FLUSH_SECONDS * 1.5)
    assert statuses(await door.say(health)) == [200]
    assert statuses(await door.say(post(large))) == [200]
    assert len(await reports(door)) == 1
    assert [trouble is None for trouble in door.troubles] == [False, True]
    assert await door.counts() == {"unavailable": 1, "unreadable": 1}
