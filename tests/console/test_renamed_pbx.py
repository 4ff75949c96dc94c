"""A PBX with a new name has all its calls under it: filters, reports with their settings, counts of today."""

import re
from datetime import timedelta

import aiohttp

from onhook.cdr.number_plan import parse_number_plan
from onhook.cdr.queue_figures import QueueTargets
from tests.console.conftest import ConsoleHarness
from tests.factories import BOB, PBX, QUEUE, SN, details

OTHER_NAME = "Head office"


async def report_rows(client: aiohttp.ClientSession, query: str) -> list[list[object]]:
    report = await (await client.get(f"/api/v1/reports?{query}")).json()
    return [[cell["value"] for cell in row] for row in report["data"]]


async def test_renamed_pbx_keeps_its_calls_and_the_settings_of_its_queues(
    harness: ConsoleHarness, client: aiohttp.ClientSession
) -> None:
    now = harness.clock.now().replace(microsecond=0)
    plan = parse_number_plan({"queue": "6400", "extension": "1001-1003"})
    await harness.appdb.change_pbx(PBX, {"number_plan": plan})
    await harness.appdb.queue_targets.put(SN, "6400", QueueTargets(service_level_seconds=33))
    await harness.publish()

    async def ingest(number: int) -> None:
        started_at = now - timedelta(seconds=60 - number)
        call_id = f"{int(started_at.timestamp())}.{number}"
        await harness.ingest_details(
            [
                details(started_at, call_id=call_id, call_from="+4930123", call_to=call_to, src_trunk_name="trunk")
                for call_to in (QUEUE, BOB)
            ]
        )

    await ingest(1)
    await harness.appdb.change_pbx(PBX, {"name": OTHER_NAME})
    await harness.publish()
    await ingest(2)
    calls = (await (await client.get("/api/v1/calls", params={"pbx": OTHER_NAME})).json())["data"]
    assert [call["pbx"] for call in calls] == [OTHER_NAME] * 2
    assert (await (await client.get("/api/v1/calls", params={"pbx": PBX})).json())["data"] == []
    queue, total = await report_rows(client, "report=queues")
    assert (queue[:3], queue[-1], total[2]) == (["6400", OTHER_NAME, 2], 33, 2)
    assert [row[:3] for row in await report_rows(client, "report=extensions")] == [["1002", OTHER_NAME, 2]]
    assert [row[:2] for row in await report_rows(client, "report=pbxs")] == [[OTHER_NAME, 2]]
    page = await (await client.get("/pbxs")).text()
    assert re.findall(r'data-label="Calls today"[^<]*<a href="[^"]*">([^<]*)</a>', page) == ["2"]
