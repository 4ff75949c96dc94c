"""What a person asks of the house from a page: to try the way in, to examine a PBX, to see calls of a made-up one."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp

from onhook.appdb.appdb import AppDb
from onhook.config import Address, Config
from onhook.console.addresses import intake_port
from onhook.lib.clock import Clock
from onhook.lib.errors import NotFound, OnhookError, Unavailable
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.ops.doctor.asterisk import inspect_asterisk
from onhook.ops.doctor.host import Check
from onhook.ops.doctor.pbx import check_pbx, load_check_target
from onhook.pbx.asterisk.payload import Asterisk
from onhook.simulator.demo import get_demo_credentials, intake_url, register_demo_pbx
from onhook.simulator.office_plan import demo_plan
from onhook.simulator.sender import simulate

TEST_BODY = b'{"event":"test"}'
"""What a PBX sends when its test button is pressed (PROTOCOL.md 4): counted by the intake, never kept."""

TEST_SECONDS_MAX = 5.0
"""On this machine: an answer that takes longer will not come."""

CHECKS_SECONDS_MAX = 60.0
"""For all that is asked of one PBX; each question has a limit of its own."""

SIMULATION_SECONDS = 1_800.0
"""A made-up PBX calls for half an hour: long enough to look around, and then the house is quiet again."""


class ConsoleActionRunner:
    """See `console.acts.Acts`."""

    def __init__(self, config: Config, settings: AppDb, clock: Clock) -> None:
        self._config = config
        self._settings = settings
        self._clock = clock
        self._calling: asyncio.Task[None] | None = None
        self._examined: set[str] = set()

    async def try_intake(self, sn: str) -> str:
        """Post a test to our own intake, signed as that PBX signs; what the intake said."""
        credentials = next((candidate for candidate in self._settings.credentials() if candidate.sn == sn), None)
        if credentials is None:
            raise NotFound("there is no such PBX", todo="`onhook pbx list` shows them")
        headers = {SIGNATURE_HEADER: sign(credentials.secrets[0], TEST_BODY)} if credentials.secrets else {}
        url = intake_url(self._intake())
        timeout = aiohttp.ClientTimeout(total=TEST_SECONDS_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, data=TEST_BODY, headers=headers) as response,
            ):
                response_text = (await response.text()).strip()
                return f"the intake answered {response.status}: {response_text[:200]}"
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(
                "the intake does not answer", where=url, todo="start `onhook serve`, or look at its log"
            ) from error

    async def examine(self, sn: str) -> list[Check]:
        """What is right with that PBX and what is not. One visit at a time: each signs in, and a PBX counts that."""
        if sn in self._examined:
            raise Unavailable("this PBX is being looked at already", todo="wait a minute")
        self._examined.add(sn)
        checks: list[Check] = []
        try:
            async with asyncio.timeout(CHECKS_SECONDS_MAX):
                async for check in _run_checks(self._config, self._settings, self._clock, sn):
                    checks.append(check)  # noqa: PERF401 - what was found until the time is up is told
        except TimeoutError:
            checks.append(Check("wrong", f"the rest was not answered in {CHECKS_SECONDS_MAX:.0f} s", "try again"))
        finally:
            self._examined.discard(sn)
        return checks

    async def show_made_up(self) -> None:
        """Declare the made-up PBX, and let it call: a day's history, then a call every few seconds."""
        if self._calling is not None and not self._calling.done():
            return
        url = intake_url(self._intake())
        register_demo_pbx(self._settings, self._clock)
        sn, secret = get_demo_credentials(self._settings)
        plan = demo_plan(url, sn, secret, seed=self._clock.microseconds() // 1_000_000)

        async def run_simulation() -> None:
            async with asyncio.timeout(SIMULATION_SECONDS):
                await simulate(plan, self._clock)

        self._calling = asyncio.create_task(run_simulation(), name="made-up PBX")

    async def close(self) -> None:
        """Nobody calls any more."""
        if self._calling is not None:
            self._calling.cancel()
            await asyncio.wait([self._calling])

    def _intake(self) -> Address:
        port = intake_port(self._config)
        if not port:
            raise Unavailable("the intake does not run", todo="start `onhook serve`")
        return Address(self._config.intake.host, port)


async def _run_checks(config: Config, settings: AppDb, clock: Clock, sn: str) -> AsyncIterator[Check]:
    """As the doctor of its dialect tells them."""
    pbx = settings.pbx(sn)
    if pbx.dialect != Asterisk.name:
        async for check in check_pbx(config, settings, clock, load_check_target(settings, sn, "")):
            yield check
        return
    try:
        for advice in await inspect_asterisk(settings.asterisks.of(sn), settings.asterisks.secret(sn), clock):
            missing_lines = f"in {advice.file}: {', '.join(advice.lines)}" if advice.lines else ""
            yield Check(advice.grade, advice.what, missing_lines)
    except OnhookError as error:
        yield Check("wrong", error.what, error.todo)
