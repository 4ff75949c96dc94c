"""Destinations with masked numbers: bodies, ids, stored deliveries, replays and samples."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import pytest

from onhook.appdb.destination_spec import DestinationSpec, PayloadFormat
from onhook.cdr.number_masking import Mask, mask_number
from onhook.cdr.record import Call
from onhook.cdr.record_filter import RecordFilter
from onhook.config import Config
from onhook.delivery.destinations.opening import destination_opener
from onhook.delivery.status import replay, send_test
from onhook.lib.clock import SystemClock
from tests.delivery.harness import WebhookReceiver, open_delivery_harness
from tests.factories import STARTED_AT
from tests.factories import call as make_call
from tests.factories import record as make_record
from tests.waiting import wait_until

NUMBER, TAIL, NAME = "+4915794638271", "94638271", "Erika Musterfrau"
FORMATS: tuple[PayloadFormat, ...] = ("p-2023", "p-2025", "p-2026", "doc", "object", "flat")
MASKS: tuple[Mask, ...] = ("last3", "hash")


def call_with_number() -> Call:
    return make_call(
        make_record(
            call_from=f"{NAME}<{NUMBER}>", call_to="1001", src_trunk_name="sip", type="Inbound",
            recording=f"0{NUMBER[3:]}.wav", extra={"ani": NUMBER},
        ),
    )  # fmt: skip


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("notifies_of", ["records", "calls"])
async def test_masked_destination_receives_no_number(tmp_path: Path, mask: Mask, notifies_of: str) -> None:
    """Its filter selects by the number itself. A replay has the same ids as the live notifications."""
    async with WebhookReceiver().listen() as receiver, open_delivery_harness(tmp_path) as harness:
        original = call_with_number()
        await harness.add_destination(
            "crm", receiver.url, mask=mask, notifies_of=notifies_of, with_standard_webhooks=True,
            filter=RecordFilter(number=NUMBER),
        )  # fmt: skip
        await harness.put_calls(original)
        harness.start()
        await wait_until(lambda: len(receiver.bodies) == 1, 30)
        since = STARTED_AT - timedelta(days=1)
        assert await replay(harness.appdb, harness.store, "crm", RecordFilter(since=since), SystemClock()) == 1
        await wait_until(lambda: len(receiver.bodies) == 2, 30)
        text = b"".join(receiver.bodies).decode() + json.dumps(receiver.headers)
        assert TAIL not in text
        assert NAME not in text
        expected = mask_number(NUMBER, mask, await harness.appdb.mask_key.get())
        assert {payload["call_from"] for payload in receiver.payloads} == {expected}
        ids = {headers["webhook-id"] for headers in receiver.headers}
        assert len(ids) == 1
        record = original.legs[0]
        assert not any(record.record_id in notification_id for notification_id in ids)
        assert not any(
            hashlib.md5(f"{record.sn}\x1f{record.call_id}\x1f{record.time_start}\x1f{number}".encode()).hexdigest()  # noqa: S324
            in notification_id
            for notification_id in ids
            for number in (NUMBER, expected, "1001")
        )


async def test_masked_destination_stores_masked_bodies(tmp_path: Path) -> None:
    async def refuse(_request: object, _body: bytes) -> int:
        return 500

    async with WebhookReceiver(refuse).listen() as receiver, open_delivery_harness(tmp_path) as harness:
        await harness.add_destination("crm", receiver.url, mask="last3")
        await harness.put_calls(call_with_number())
        harness.start()
        await wait_until(lambda: bool(receiver.bodies), 30)
        await harness.stop()
    stored = b"".join(path.read_bytes() for path in tmp_path.glob("onhook.db*") if path.is_file())
    assert b"15794638***" in stored
    assert TAIL.encode() not in stored


@pytest.mark.parametrize("payload_format", FORMATS)
async def test_masked_destination_masks_samples_in_all_formats(tmp_path: Path, payload_format: PayloadFormat) -> None:
    async with WebhookReceiver().listen() as receiver:
        open_destination = destination_opener(Config(data=tmp_path))
        for mask in MASKS:
            spec = DestinationSpec(url=receiver.url, mask=mask, payload_format=payload_format, allow_private=True)
            await send_test(open_destination(spec, ["s" * 32]), SystemClock(), is_sample=True)
        assert len(receiver.bodies) == 2
        assert all(b"15550100" not in body and b"Sample Caller" not in body for body in receiver.bodies)
        assert b"15550***" in receiver.bodies[0]
