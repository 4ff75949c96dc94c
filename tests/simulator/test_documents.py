"""A simulated FreeSWITCH: documents about all legs of its calls, which are read as the calls of the office."""

from datetime import UTC, datetime
from itertools import islice

import pytest
from aiohttp import web

from onhook.cdr.identity import extract_number
from onhook.lib.clock import SystemClock
from onhook.pbx.freeswitch.payload import FreeSwitch
from onhook.simulator.office_plan import DOCUMENT_FORMATS, SimulationPlan, create_office
from onhook.simulator.sender import simulate
from tests.pbx.freeswitch.captures import calls_of

START = datetime(2026, 4, 27, 8, tzinfo=UTC)
EVENTS = 40


async def post_calls(plan: SimulationPlan) -> list[bytes]:
    """Return the bodies that a simulated PBX posts."""
    bodies: list[bytes] = []

    async def receive(request: web.Request) -> web.Response:
        bodies.append(await request.read())
        return web.Response()

    app = web.Application()
    app.router.add_post("/{path:.*}", receive)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/secret-path"
        plan = SimulationPlan(
            url=url,
            sn=plan.sn,
            payload_format=plan.payload_format,
            count=EVENTS,
            rate=None,
            start=START,
            zone=plan.zone,
        )
        result = await simulate(plan, SystemClock())
        assert (result.acknowledged, result.failed) == (EVENTS, 0)
    finally:
        await runner.cleanup()
    return bodies


@pytest.mark.parametrize("payload_format", ["fs-json", "fs-xml-form"])
async def test_simulated_freeswitch_sends_the_legs_of_its_calls(payload_format: str) -> None:
    """Each call is one, with the times of the office."""
    assert set(DOCUMENT_FORMATS) >= {payload_format}
    plan = SimulationPlan(sn="pbx1", payload_format=payload_format, start=START, zone="Europe/Berlin")
    bodies = await post_calls(plan)
    assert all(FreeSwitch().peek(body).kind == "details" for body in bodies)
    office_calls = islice(create_office(plan).calls_since(START), EVENTS)
    expected = {(call.legs[0].time_start, extract_number(call.legs[0].call_from)) for call in office_calls}
    calls = [details for details in calls_of(bodies) if details]
    assert len(calls) > EVENTS // 6
    assert len({details[0].call_id for details in calls}) == len(calls)
    assert {(details[0].time_start, extract_number(details[0].call_from)) for details in calls} <= expected
