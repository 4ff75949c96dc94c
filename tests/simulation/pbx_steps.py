"""Steps of the simulated PBXs: calls end, and are reported or listed."""

import asyncio
from random import Random

from onhook.cdr.call_details import CallDetails
from onhook.simulator.fault_injection import Faults, corrupt_body
from tests.simulation.pbxs import WebhookPbx, draw_api_faults
from tests.simulation.world import World

ATTEMPTS_MAX = 3
"""A PBX posts an event at most so often."""


async def report_calls(world: World) -> None:
    """Calls end on a PBX with webhooks, which posts them; some answers are lost, some bodies are damaged, and some legs
    are reported with the next calls.
    """
    pbx = world.rng.choice(world.webhook_pbxs)
    legs = [pbx.late_legs.pop(0) for _leg in range(world.rng.randint(0, len(pbx.late_legs)))]
    for _call in range(world.rng.randint(1, 5)):
        call_legs = list(pbx.make_call())
        on_time = world.rng.randint(1, len(call_legs)) if world.rng.random() < 0.6 else len(call_legs)
        legs += call_legs[:on_time]
        pbx.late_legs += call_legs[on_time:]
    if not world.is_upgraded and world.rng.random() < 0.1:
        world.model.unreadable_calls.add(legs[-1].call_id)
    await asyncio.gather(*(_report_leg(world, pbx, leg, Random(world.rng.random())) for leg in legs))


async def _report_leg(world: World, pbx: WebhookPbx, details: CallDetails, rng: Random) -> None:
    leg = world.model.add_leg(pbx.sn, details, world.clock.now())
    body = pbx.body(details)
    if rng.random() < 0.05:
        return await _report_malformed(world, pbx, corrupt_body(body, rng))
    for _attempt in range(ATTEMPTS_MAX):
        if await _post(world, pbx, body, is_answer_lost=rng.random() < 0.1) == 200:
            leg.is_acknowledged = True
            break
        await asyncio.sleep(1.0)
    if rng.random() < 0.1 and await _post(world, pbx, body) == 200:
        leg.is_acknowledged = True
    return None


async def _report_malformed(world: World, pbx: WebhookPbx, body: bytes) -> None:
    now = world.clock.now()
    if await _post(world, pbx, body, is_malformed=True) == 200:
        world.model.malformed[body] = now


async def _post(
    world: World, pbx: WebhookPbx, body: bytes, *, is_answer_lost: bool = False, is_malformed: bool = False
) -> int:
    is_registered, was_healthy = pbx.sn in world.registered_sns, world.is_healthy
    status = await pbx.post(world.machine.intake_address, body, is_answer_lost=is_answer_lost)
    if was_healthy and world.is_healthy and not is_answer_lost and not is_malformed:
        expected = 200 if is_registered else 401
        if status != expected:
            world.model.errors.append(f"the intake answered {status} to {pbx.sn}, not {expected}")
    return status


async def post_forged(world: World) -> None:
    """A body with a wrong signature is rejected, and never stored."""
    pbx = world.rng.choice(world.webhook_pbxs)
    details = pbx.make_call()[0]
    status = await pbx.post(world.machine.intake_address, pbx.body(details), secret="f" * 32)
    if status == 200:
        world.model.errors.append(f"a forged event was accepted: {details.call_id}")


async def add_listed_calls(world: World) -> None:
    """Calls end on the PBX with a web API; the push channel loses some."""
    for _call in range(world.rng.randint(1, 5)):
        for details in world.api_pbx.make_call():
            leg = world.model.add_leg(world.api_pbx.sn, details, world.clock.now())
            leg.is_listed = True
            world.api_pbx.add_leg(details, is_pushed=world.rng.random() < 0.7)
        await asyncio.sleep(world.rng.uniform(0, 1))


async def disturb_push_channel(world: World) -> None:
    world.rng.choice([world.api_pbx.cut_push_channels, world.api_pbx.forget_tokens])()


async def disturb_api(world: World) -> None:
    world.api_pbx.set_faults(draw_api_faults(world.rng) if world.rng.random() < 0.5 else Faults())
