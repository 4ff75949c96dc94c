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
from onhook.ops.doctor.asterisk import look_at
from onhook.ops.doctor.host import Finding
from onhook.ops.doctor.pbx import declared, examine_pbx
from onhook.pbx.asterisk.payload import Asterisk
from onhook.simulator.demo import declare_demo, demo_secret, demo_url
from onhook.simulator.office_plan import demo_plan
from onhook.simulator.sender import simulate

TEST_BODY = b'{"event":"test"}'
"""What a PBX sends when its test button is pressed (PROTOCOL.md 4): counted by the intake, never kept."""

TEST_SECONDS_MAX = 5.0
"""On this machine: an answer that takes longer will not come."""

EXAMINING_SECONDS_MAX = 60.0
"""For all that is asked of one PBX; each question has a limit of its own."""

SHOWN_SECONDS = 1_800.0
"""A made-up PBX calls for half an hour: long enough to look around, and then the house is quiet again."""


class Acting:
    """See `console.acts.Acts`."""

    def __init__(self, config: Config, settings: AppDb, clock: Clock) -> None:
        self._config = config
        self._settings = settings
        self._clock = clock
        self._calling: asyncio.Task[None] | None = None
        self._examined: set[str] = set()

    async def try_intake(self, sn: str) -> str:
        """Post a test to our own intake, signed as that PBX signs; what the intake said."""
        known = next((one for one in self._settings.credentials() if one.sn == sn), None)
        if known is None:
            raise NotFound("there is no such PBX", todo="`onhook pbx list` shows them")
        headers = {SIGNATURE_HEADER: sign(known.secrets[0], TEST_BODY)} if known.secrets else {}
        url = demo_url(self._intake())
        timeout = aiohttp.ClientTimeout(total=TEST_SECONDS_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, data=TEST_BODY, headers=headers) as answer,
            ):
                said = (await answer.text()).strip()
                return f"the intake answered {answer.status}: {said[:200]}"
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(
                "the intake does not answer", where=url, todo="start `onhook serve`, or look at its log"
            ) from error

    async def examine(self, sn: str) -> list[Finding]:
        """What is right with that PBX and what is not. One visit at a time: each signs in, and a PBX counts that."""
        if sn in self._examined:
            raise Unavailable("this PBX is being looked at already", todo="wait a minute")
        self._examined.add(sn)
        found: list[Finding] = []
        try:
            async with asyncio.timeout(EXAMINING_SECONDS_MAX):
                async for finding in _findings(self._config, self._settings, self._clock, sn):
                    found.append(finding)  # noqa: PERF401 - what was found until the time is up is told
        except TimeoutError:
            found.append(Finding("wrong", f"the rest was not answered in {EXAMINING_SECONDS_MAX:.0f} s", "try again"))
        finally:
            self._examined.discard(sn)
        return found

    async def show_made_up(self) -> None:
        """Declare the made-up PBX, and let it call: a day's history, then a call every few seconds."""
        if self._calling is not None and not self._calling.done():
            return
        url = demo_url(self._intake())
        declare_demo(self._settings, self._clock)
        sn, secret = demo_secret(self._settings)
        plan = demo_plan(url, sn, secret, seed=self._clock.microseconds() // 1_000_000)

        async def call() -> None:
            async with asyncio.timeout(SHOWN_SECONDS):
                await simulate(plan, self._clock)

        self._calling = asyncio.create_task(call(), name="made-up PBX")

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


async def _findings(config: Config, settings: AppDb, clock: Clock, sn: str) -> AsyncIterator[Finding]:
    """As the doctor of its dialect tells them."""
    pbx = settings.pbx(sn)
    if pbx.dialect != Asterisk.name:
        async for finding in examine_pbx(config, settings, clock, declared(settings, sn, "")):
            yield finding
        return
    try:
        for advice in await look_at(settings.asterisks.of(sn), settings.asterisks.secret(sn), clock):
            lacking = f"in {advice.file}: {', '.join(advice.lines)}" if advice.lines else ""
            yield Finding(advice.grade, advice.what, lacking)
    except OnhookError as error:
        yield Finding("wrong", error.what, error.todo)
