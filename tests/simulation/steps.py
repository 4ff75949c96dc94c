"""The steps of a simulation. Each is chosen, with all that it does, by the random numbers of the seed."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Mapping

from onhook.cdr.record_filter import RecordFilter
from onhook.lib.errors import OnhookError
from tests.simulation.erasures import KnownErasure, has_number, list_long_numbers
from tests.simulation.pbx_steps import (
    add_listed_calls,
    disturb_api,
    disturb_push_channel,
    post_forged,
    report_calls,
)
from tests.simulation.receivers import MODES
from tests.simulation.world import World

WAIT_AFTER_FAULT_SECONDS = 5.0

FREEZE_AFTER_SECONDS_MAX = 1.0
"""The projector looks at the ledger each half a second; notifications are sent, and committed, in the next tenths."""

DESTINATIONS_MAX = 6

RETENTION_STEP_SECONDS = 26 * 3_600
"""Longer than calls are kept, and not a time of day again and again."""

Step = Callable[[World], Awaitable[None]]


# Time


async def wait(world: World) -> None:
    await asyncio.sleep(world.rng.uniform(0.1, 8.0))


async def skip_time(world: World) -> None:
    """The machine is suspended for a while, or nothing happens: all leases run out."""
    world.virtual_time.advance(world.rng.choice([60, 900, 3_600, 6 * 3_600, 30 * 3_600]))
    world.model.see_overtaking()  # from now on
    world.unsettle()
    await asyncio.sleep(3.0)


async def set_clock(world: World) -> None:
    """The clock of the machine or of the PBXs jumps: leases run out, or last longer."""
    world.model.see_overtaking()
    clock = world.rng.choice([world.clock, world.pbx_clock])
    world.model.see_time(world.clock.now())
    clock.error_seconds = world.rng.choice([0, 0, 90, -90, 3_600, -3_600])
    world.model.see_time(world.clock.now())
    world.unsettle()


# People


async def add_destination(world: World) -> None:
    if len(world.model.destinations) >= DESTINATIONS_MAX or world.machine.hub is None:
        return
    rng = world.rng
    await world.add_destination(
        f"crm-{rng.getrandbits(32):08x}",
        notifies_of=rng.choice(["records", "records", "calls"]),
        retry_policy=rng.choice(["days", "days", "original"]),
        filter=RecordFilter(sn=rng.choice([None, None, world.webhook_pbxs[0].sn, world.api_pbx.sn])),
    )


async def remove_destination(world: World) -> None:
    name = _draw_destination(world)
    if not name or len(world.model.destinations) < 2:
        return

    async def is_removed(appdb: object) -> bool:
        return not await world.has_destination(appdb, name)  # type: ignore[arg-type]

    if await world.change(f"remove destination {name}", lambda appdb: appdb.destinations.remove(name), is_removed):
        del world.model.destinations[name]


async def change_destination(world: World) -> None:
    """Pause, resume, filter, retry or discard; a change that fails may be done or not."""
    name = _draw_destination(world)
    if not name:
        return
    async with world.machine.open_appdb() as appdb:
        destination = await appdb.destinations.get(name)
        failed_ids = await world.failed_ids(appdb, name)
        known_destination = world.model.destinations[name]
        known_destination.excused_ids |= failed_ids
        now_us = world.clock.microseconds()
        match world.rng.randrange(6):
            case 0:
                await appdb.destinations.set_state(name, "paused")
            case 1 | 2:
                await appdb.destinations.set_state(name, "active")
            case 3:
                known_destination.sns.add(world.webhook_pbxs[0].sn)
                await appdb.destinations.change(name, {"filter": RecordFilter(sn=world.webhook_pbxs[0].sn)})
            case 4:
                await appdb.deliveries.retry_all(destination.destination_id, now_us=now_us)
            case _:
                await appdb.deliveries.discard_failed(destination.destination_id)


async def replay(world: World) -> None:
    name = _draw_destination(world)
    if not name or world.machine.hub is None:
        return
    until = await world.hub.store.position()
    known_destination = world.model.destinations[name]
    known_destination.replayed_until = max(known_destination.replayed_until, until)
    async with world.machine.open_appdb() as appdb:
        now_us = world.clock.microseconds()
        await appdb.destinations.replay(name, RecordFilter(), after=until // 2, until=until, now_us=now_us)


async def rotate_signing_secret(world: World) -> None:
    name = _draw_destination(world)
    if not name:
        return
    secret = f"{world.rng.getrandbits(128):032x}"
    world.model.destinations[name].receiver.secrets.append(secret)
    async with world.machine.open_appdb() as appdb:
        secrets = await appdb.destinations.secrets(name)
        if len(secrets) > 1:
            await appdb.destinations.remove_secret(name, secrets[0].secret_id)
        else:
            await appdb.destinations.add_secret(name, secret, now_us=world.clock.microseconds())


async def change_receiver(world: World) -> None:
    name = _draw_destination(world)
    if name:
        receiver = world.model.destinations[name].receiver
        receiver.mode = world.rng.choice([*MODES, "accept", "accept", "accept", "flaky", "reject", "reject"])
        world.note(f"{name}: {receiver.mode}")


async def rotate_pbx_secret(world: World) -> None:
    """Add a secret to a PBX, which uses it at once, then remove the old one."""
    pbx = world.webhook_pbxs[0]
    secret, old_secret = f"{world.rng.getrandbits(128):032x}", pbx.secret
    now_us = world.clock.microseconds()

    async def has_two(appdb: object) -> bool:
        return len(await appdb.secrets(pbx.sn)) > 1  # type: ignore[attr-defined]

    async def has_one(appdb: object) -> bool:
        return not await has_two(appdb)

    async def remove_others(appdb: object) -> None:
        """Two, where an earlier step could add one and not remove the other."""
        for older in (await appdb.secrets(pbx.sn))[:-1]:  # type: ignore[attr-defined]
            await appdb.remove_secret(pbx.sn, older.secret_id)  # type: ignore[attr-defined]

    if not await world.change("", lambda appdb: appdb.add_secret(pbx.sn, secret, now_us=now_us), has_two):
        return
    pbx.secret = secret
    await report_calls(world)
    if await world.change("", remove_others, has_one):
        await asyncio.sleep(2.0)
        body = pbx.body(pbx.make_call()[0])
        if world.is_healthy and await pbx.post(world.machine.intake_address, body, secret=old_secret) == 200:
            world.model.errors.append("a removed secret is still valid")


async def remove_or_add_pbx(world: World) -> None:
    pbx = world.webhook_pbxs[1]
    if pbx.sn not in world.registered_sns:
        await world.register(pbx)
        return

    async def is_removed(appdb: object) -> bool:
        return not await world.has_pbx(appdb, pbx.sn)  # type: ignore[arg-type]

    if await world.change(f"remove PBX {pbx.sn}", lambda appdb: appdb.remove_pbx(pbx.sn), is_removed):
        world.registered_sns.discard(pbx.sn)
        world.unsettle()


# Operation


async def run_retention(world: World) -> None:
    """A day later, delete what has expired, also while another store is behind."""
    world.model.see_overtaking()
    world.virtual_time.advance(RETENTION_STEP_SECONDS)
    world.unsettle()
    await asyncio.sleep(3.0)
    await world.check()
    if world.machine.hub is None:
        return
    other = world.machine.hubs[-1]
    if other is not world.machine.hubs[0] and world.rng.random() < 0.5:
        world.model.count_interruption()
        other.freeze()
    try:
        await world.hub.retention.run_cycle()
    finally:
        other.thaw()
    world.model.see_overtaking()


async def erase_number(world: World) -> None:
    """Erase the number of a caller or callee elsewhere from all calls so far; rather one that comes once more."""
    legs = list(world.model.legs.items())
    late_legs = [details for pbx in world.webhook_pbxs for details in pbx.late_legs if world.rng.random() < 0.8]
    details_of_some = late_legs or [leg.details for _key, leg in legs]
    numbers = sorted({number for details in details_of_some for number in list_long_numbers(details)})
    if not numbers or world.machine.hub is None:
        return
    number = world.rng.choice(numbers)
    having = {key[:2]: leg for key, leg in legs if has_number(leg.details, number)}
    erasure = KnownErasure(
        number=number,
        possible_calls=frozenset(having),
        unreadable_calls=frozenset(key for key in having if key[1] in world.model.unreadable_calls),
    )
    world.model.erasures.tried.append(erasure)
    certain_calls = frozenset(
        key
        for key, leg in having.items()
        if leg.is_acknowledged and not world.model.may_be_missing(key, leg) and number in str(leg.details)
    )
    await world.hub.eraser.erase(number)
    erasure.certain_calls = certain_calls


async def rebuild_store(world: World) -> None:
    """Rebuild the first store; with the order to read all events again the other one is outdated."""
    if world.machine.hub is not None:
        await world.note_late_seqs()
    await world.machine.rebuild(reads_again=world.rng.random() < 0.5)
    world.unsettle()


async def retry_quarantine(world: World) -> None:
    if world.machine.hub is not None:
        await world.retry_quarantine()


async def upgrade(world: World) -> None:
    if not world.is_upgraded:
        await world.upgrade()
        world.unsettle()


async def restart_hub(world: World) -> None:
    """A hub stops gracefully: another one goes on at once."""
    await world.machine.stop_hubs(world.rng.choice(world.machine.hubs))
    if len(world.machine.hubs) > 1 and world.rng.random() < 0.5:
        await asyncio.sleep(world.rng.uniform(0, 5))
    await world.machine.ensure_running()
    world.unsettle()


async def hand_over_twice(world: World) -> None:
    """The work of a destination goes to another hub and back while some notifications wait for their answer."""
    name = _draw_destination(world)
    if not name:
        return
    world.model.count_interruption()
    world.model.destinations[name].receiver.mode = "uneven"
    await report_calls(world)
    for hub in world.rng.sample(world.machine.hubs, len(world.machine.hubs)):
        await asyncio.sleep(world.rng.uniform(0, 2))
        await world.machine.stop_hubs(hub)
        await asyncio.sleep(world.rng.uniform(0, 2))
        await world.machine.ensure_running()
    world.unsettle()


async def restart_intake(world: World) -> None:
    await world.machine.stop_intake()
    await world.machine.ensure_running()
    world.unsettle()


# Faults


async def kill(world: World) -> None:
    world.model.count_interruption()
    await world.machine.die()
    world.unsettle()


async def kill_hub(world: World) -> None:
    """A hub dies, and the machine goes on; another hub goes on with its work once its leases have run out."""
    world.model.count_interruption()
    await world.machine.kill_hub(world.rng.choice(world.machine.hubs))
    if len(world.machine.hubs) > 1:
        await _continue_meanwhile(world, world.rng.uniform(0, 15))
    world.unsettle()


async def freeze_hub(world: World) -> None:
    """A hub stands still in the middle of its work, often for longer than its leases, and goes on where it was: it may
    be overtaken meanwhile.
    """
    world.model.count_interruption()
    hub = world.rng.choice(world.machine.hubs)
    calls = asyncio.create_task(world.rng.choice((report_calls, add_listed_calls))(world))
    try:
        await asyncio.sleep(world.rng.uniform(0, FREEZE_AFTER_SECONDS_MAX))
        hub.freeze()
        await _continue_meanwhile(world, world.rng.uniform(1, 25))
    finally:
        hub.thaw()
        world.model.see_overtaking()
        await calls
    world.unsettle(WAIT_AFTER_FAULT_SECONDS)


async def _continue_meanwhile(world: World, seconds: float) -> None:
    """Let something happen for so long that needs no hub."""
    until = world.virtual_time.seconds + seconds
    for step in world.rng.choices((report_calls, add_listed_calls, change_receiver), k=world.rng.randint(0, 3)):
        world.note(f"meanwhile: {step.__name__}")
        await step(world)
        await asyncio.sleep(world.rng.uniform(0, 3))
    await asyncio.sleep(max(0.0, until - world.virtual_time.seconds))


async def kill_in_operation(world: World) -> None:
    """The machine dies at some operation of the next steps."""
    world.model.count_interruption()
    world.machine.disk.die_after(world.rng.randrange(300), is_late=world.rng.random() < 0.5)


async def fail_operation(world: World) -> None:
    """One operation of the next steps fails."""
    world.model.count_interruption()
    world.machine.disk.fail_after(world.rng.randrange(300), is_late=world.rng.random() < 0.5)


async def fill_disk(world: World) -> None:
    world.model.count_interruption()
    world.machine.disk.is_full = not world.machine.disk.is_full
    world.unsettle(WAIT_AFTER_FAULT_SECONDS)


async def lock_file(world: World) -> None:
    """Another program has one of the databases locked for a while."""
    world.model.count_interruption()
    if world.lock is not None:
        world.release_lock()
        return world.unsettle(WAIT_AFTER_FAULT_SECONDS)
    config = world.machine.config
    path = world.rng.choice([config.ledger_file, config.appdb_file])
    lock = sqlite3.Connection(path, isolation_level=None, timeout=0)
    try:
        lock.execute("BEGIN IMMEDIATE")
    except sqlite3.Error:
        lock.close()
        return None
    world.lock = lock
    return None


STEPS: Mapping[Step, int] = {
    report_calls: 16,
    add_listed_calls: 10,
    wait: 10,
    skip_time: 6,
    change_receiver: 8,
    add_destination: 4,
    change_destination: 5,
    kill_in_operation: 4,
    fail_operation: 4,
    kill: 2,
    kill_hub: 4,
    freeze_hub: 4,
    fill_disk: 2,
    lock_file: 2,
    disturb_push_channel: 3,
    disturb_api: 3,
    set_clock: 2,
    run_retention: 4,
    erase_number: 4,
    rebuild_store: 1,
    retry_quarantine: 2,
    upgrade: 1,
    restart_hub: 2,
    hand_over_twice: 2,
    restart_intake: 1,
    replay: 1,
    remove_destination: 1,
    rotate_signing_secret: 1,
    rotate_pbx_secret: 1,
    remove_or_add_pbx: 1,
    post_forged: 1,
}
"""Steps, and how often each is chosen in comparison with the others."""


async def run_steps(world: World, count: int) -> None:
    """Run so many steps; compare with the model after every fifth."""
    for number in range(count):
        (step,) = world.rng.choices(list(STEPS), list(STEPS.values()))
        world.note(f"{number}: {step.__name__}")
        await run_step(world, step)
        if not await world.machine.ensure_running():
            world.note("down")
        if number % 5 == 4:
            await world.check()
        if world.model.errors:
            return


async def run_step(world: World, step: Step) -> None:
    """Run one step, which a fault of the disk may end."""
    deaths = world.machine.deaths
    try:
        await step(world)
    except Exception as error:
        is_dead = world.machine.disk.is_dead or world.machine.deaths > deaths
        if not isinstance(error, OnhookError) and not is_dead:
            raise
        world.note(f"ended by: {error}")
    if world.machine.disk.is_dead:
        world.unsettle()


def _draw_destination(world: World) -> str:
    names = sorted(world.model.destinations)
    return world.rng.choice(names) if names else ""
