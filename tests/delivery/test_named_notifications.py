"""Names of the parties in notifications: members of templates and of flat events; event 30012 has none."""

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from onhook.cdr.directory import NO_NAMES, DirectoryEntry
from onhook.cdr.party_names import name_record
from onhook.delivery.preview import preview_notification
from onhook.pbx.yeastar.payload import Yeastar
from tests.delivery.harness import WebhookReceiver, open_delivery_harness
from tests.factories import SN, call, record
from tests.waiting import wait_until

ENTRIES = (
    DirectoryEntry(sn=SN, number="1001", name="Alice Smith"),
    DirectoryEntry(number="+49 30 901820", kind="contact", name="Carol", company="ACME"),
)
CALL = call(record(call_from="+4930901820", call_to="1001", src_trunk_name="sip", type="Inbound"))
TEMPLATE = '{"from": "{{ call.call_from_name }}", "to": "{{ call.call_to_name }}"}'


async def test_names_are_in_flat_events_and_templates_alone(tmp_path: Path) -> None:
    """Also of a whole call, in a preview, and not those of numbers that are masked or dropped."""
    texts: dict[str, str] = {}

    async def keep(request: web.Request, body: bytes) -> int:
        texts[request.path.rpartition("/")[2]] = body.decode()
        return 200

    async with WebhookReceiver(keep).listen() as receiver, open_delivery_harness(tmp_path) as harness:
        await harness.appdb.directory.put(ENTRIES)
        destinations: dict[str, dict[str, Any]] = {
            "event": {},
            "flat": {"payload_format": "flat"},
            "call": {"payload_format": "flat", "notifies_of": "calls"},
            "template": {"kind": "http", "fields": {"body": TEMPLATE}},
            "masked": {"payload_format": "flat", "mask": "last3"},
            "dropped": {"payload_format": "flat", "transform": "drop call_from"},
        }
        for name, options in destinations.items():
            await harness.add_destination(name, f"{receiver.url}/{name}", **options)
        await harness.put_calls(CALL)
        harness.start()
        await wait_until(lambda: len(texts) == 6, 60)
        preview = await preview_notification(harness.appdb, harness.store, harness.open_destination, "flat")
    names = {
        path: (json.loads(text).get("call_from_name"), json.loads(text).get("call_to_name"))
        for path, text in texts.items()
        if path != "template"
    }
    assert names == {
        "event": (None, None),
        "flat": ("Carol, ACME", "Alice Smith"),
        "call": ("Carol, ACME", "Alice Smith"),
        "masked": ("", "Alice Smith"),
        "dropped": ("", "Alice Smith"),
    }
    assert "Alice Smith" not in texts["event"]
    assert json.loads(texts["template"]) == {"from": "Carol, ACME", "to": "Alice Smith"}
    assert json.loads(preview.text)["call_from_name"] == "Carol, ACME"


@pytest.mark.parametrize("payload_format", ["p-2023", "p-2025", "p-2026", "doc", "object"])
def test_event_of_a_named_record_is_unchanged(payload_format: str) -> None:
    from_directory = record(call_from="1001")
    assert Yeastar().format(name_record(from_directory, NO_NAMES), SN, payload_format) == Yeastar().format(
        from_directory, SN, payload_format
    )
