"""A captured event that is posted again after retention has deleted it, by another serial number of its PBX."""

import asyncio
from datetime import datetime

import pytest

from onhook.ledger.contract import LedgerEntry
from onhook.lib.clock import SystemClock
from onhook.lib.signing import sign
from onhook.lib.timestamps import to_datetime
from onhook.ops.retention import DAY_MICROSECONDS
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.receiver.verdict import Verdict
from onhook.runtime.adapters.ingest import running_ingestor
from tests.factories import STARTED_AT, details
from tests.ops.test_retention import YEASTAR, RetentionHarness, call_id, kept_calls, server

__all__ = ["server"]

OLD_SN, NEW_SN = "3699OLD", "3699NEW"
SECRET = "a-secret-of-two-pbxs"


class MovableClock(SystemClock):
    """The system's clock, some days off."""

    offset_days = 0

    def microseconds(self) -> int:
        return super().microseconds() + self.offset_days * DAY_MICROSECONDS

    def now(self) -> datetime:
        return to_datetime(self.microseconds())


async def post(server: RetentionHarness, body: bytes) -> Verdict:
    """Post a signed event to the intake, and project it."""
    verdict: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    async with running_ingestor(appdb=server.appdb, ledger=server.ledger, clock=server.clock) as ingestor:
        ingestor.submit_request(body, sign(SECRET, body), "198.51.100.7", verdict.set_result)
        await verdict
    await server.projector.catch_up()
    return verdict.result()


@pytest.mark.parametrize("joined", ["before the deletion", "after the deletion", "after the replay"])
async def test_retention_deleted_event_of_a_number_that_another_pbx_has_now_is_not_stored(
    server: RetentionHarness, joined: str
) -> None:
    """A device that was replaced, whose number was added to the PBX that replaced it."""
    await server.appdb.add_pbx(name="Old", sn=OLD_SN, secret=SECRET, now_us=1)
    await server.appdb.add_pbx(name="New", sn=NEW_SN, secret=SECRET, now_us=1)
    captured = YEASTAR.format(details(STARTED_AT, call_id=call_id(1)), OLD_SN, "p-2026")
    server.clock = clock = MovableClock()
    clock.offset_days = -100
    assert await post(server, captured) == "stored"
    clock.offset_days = 0
    await server.report(2, 0)
    await server.appdb.remove_pbx("Old")
    if joined == "before the deletion":
        await server.appdb.serial_numbers.add(NEW_SN, OLD_SN)
    await server.forget(90)
    assert await kept_calls(server) == [call_id(2)]
    if joined == "after the deletion":
        await server.appdb.serial_numbers.add(NEW_SN, OLD_SN)
    assert await post(server, captured) == "deleted"
    await server.appdb.serial_numbers.add(NEW_SN, OLD_SN)
    assert await post(server, captured) == "deleted"
    assert (await kept_calls(server), await server.store.quarantine(10)) == ([call_id(2)], [])


async def test_retention_deleted_event_of_a_further_number_is_not_stored_by_whichever_channel(
    server: RetentionHarness,
) -> None:
    """What a connection or a file of the PBX brings has its registered number, and the body that of the device."""
    await server.appdb.add_pbx(name="New", sn=NEW_SN, secret=SECRET, now_us=1)
    await server.appdb.serial_numbers.add(NEW_SN, OLD_SN)
    captured = YEASTAR.format(details(STARTED_AT, call_id=call_id(1)), NEW_SN, "p-2026")
    key = YEASTAR.peek(captured).key
    old = LedgerEntry(sn=OLD_SN, dialect="yeastar", via="webhook", key=key, body=captured, received_at=1)
    await server.ledger.append([old])
    await server.report(2, 0)
    await server.forget(90)
    sender = RegisteredPbx(sn=NEW_SN, dialect="yeastar")
    async with running_ingestor(appdb=server.appdb, ledger=server.ledger, clock=server.clock) as ingestor:
        assert await ingestor.ingest(sender, captured, "websocket") == "deleted"
