"""Actions of the console: send a test event, run the checks of a PBX, start a simulated PBX."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp

from onhook.appdb.appdb import AppDb
from onhook.cdr.utc_offset import get_zone
from onhook.config import Address, Config
from onhook.console.addresses import intake_port
from onhook.lib.clock import Clock
from onhook.lib.errors import NotAllowed, NotFound, Unavailable
from onhook.lib.messages import _
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.ops.doctor.check import Check
from onhook.ops.doctor.host import restrict_permissions
from onhook.ops.doctor.pbx import check_pbx, load_check_target
from onhook.runtime.engines import ENGINES
from onhook.simulator.demo import get_demo_credentials, intake_url, register_demo_pbx
from onhook.simulator.office_plan import demo_plan
from onhook.simulator.sender import simulate
from onhook.sync.certificate_pinning import PeerCertificate, fetch_certificate

TEST_BODY = b'{"event":"test"}'
"""The test event of a PBX (yeastar-p-series.md 4): counted by the intake, never stored."""

TEST_SECONDS_MAX = 5.0
"""On this machine: a longer response time means none."""

CHECKS_SECONDS_MAX = 60.0
"""For all checks of one PBX; each request has a limit of its own."""

SIMULATION_SECONDS = 1_800.0
"""A simulated PBX makes calls for half an hour: long enough to look around."""


class ConsoleActionRunner:
    """See `console.actions.ConsoleActions`."""

    def __init__(self, config: Config, appdb: AppDb, clock: Clock) -> None:
        self._config = config
        self._appdb = appdb
        self._clock = clock
        self._simulation_task: asyncio.Task[None] | None = None
        self._checked_sns: set[str] = set()

    async def send_test_event(self, sn: str) -> str:
        """Post a test event to the intake, signed with the PBX's secret; return the response. Raises `NotAllowed` for a
        rejection.
        """
        credentials = next(
            (candidate for candidate in await self._appdb.webhook_credentials() if candidate.sn == sn), None
        )
        if credentials is None:
            raise NotFound(_("there is no such PBX"), hint=_("`onhook pbx list` shows them"))
        headers = {SIGNATURE_HEADER: sign(credentials.secrets[0], TEST_BODY)} if credentials.secrets else {}
        url = intake_url(self._intake_address())
        timeout = aiohttp.ClientTimeout(total=TEST_SECONDS_MAX)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.post(url, data=TEST_BODY, headers=headers) as response,
            ):
                result = _("HTTP {status}, {text}", status=response.status, text=(await response.text()).strip()[:200])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(
                _("the intake does not answer"), location=url, hint=_("start `onhook serve`, or see its log")
            ) from error
        if not response.ok:
            raise NotAllowed(_("test event rejected: {result}", result=result), hint=_("see the log of the intake"))
        return result

    async def run_pbx_checks(self, sn: str) -> list[Check]:
        """Return the checks of a PBX. One run at a time: each logs in, and a PBX counts logins."""
        if sn in self._checked_sns:
            raise Unavailable(_("the checks of this PBX are already running"), hint=_("wait a minute"))
        self._checked_sns.add(sn)
        checks: list[Check] = []
        try:
            async with asyncio.timeout(CHECKS_SECONDS_MAX):
                async for check in _run_checks(self._config, self._appdb, self._clock, sn):
                    checks.append(check)  # noqa: PERF401 - checks done before the time-out are returned
        except TimeoutError:
            checks.append(
                Check(
                    "ERROR",
                    (_("the other checks were not completed in {maximum} s", maximum=f"{CHECKS_SECONDS_MAX:.0f}")),
                    _("try again"),
                )
            )
        finally:
            self._checked_sns.discard(sn)
        return checks

    async def start_simulated_pbx(self) -> None:
        """Register the simulated PBX, and start it: a day's history, then a call every few seconds."""
        if self._simulation_task is not None and not self._simulation_task.done():
            return
        url = intake_url(self._intake_address())
        await register_demo_pbx(self._appdb, self._clock)
        sn, secret = await get_demo_credentials(self._appdb)
        plan = demo_plan(url, sn, secret, seed=self._clock.microseconds() // 1_000_000)

        async def run_simulation() -> None:
            async with asyncio.timeout(SIMULATION_SECONDS):
                await simulate(plan, self._clock)

        self._simulation_task = asyncio.create_task(run_simulation(), name="simulated PBX")

    async def fetch_certificate(self, url: str) -> PeerCertificate:
        """Return the certificate of a PBX, read in a thread. Raises `Unavailable`, `UsageError`."""
        return await asyncio.to_thread(fetch_certificate, url)

    async def restrict_permissions(self) -> list[str]:
        """Take from other users the right to read files of the data directory; return their names. Raises
        `Unavailable`.
        """
        return await asyncio.to_thread(restrict_permissions, self._config)

    async def close(self) -> None:
        """Stop the simulated PBX."""
        if self._simulation_task is not None:
            self._simulation_task.cancel()
            await asyncio.wait([self._simulation_task])

    def _intake_address(self) -> Address:
        port = intake_port(self._config)
        if not port:
            raise Unavailable(_("the intake is not running"), hint=_("start `onhook serve`"))
        return Address(self._config.intake.host, port)


async def _run_checks(config: Config, appdb: AppDb, clock: Clock, sn: str) -> AsyncIterator[Check]:
    """Yield the checks of `onhook doctor`, each with the missing lines of a file in its hint."""
    target = await load_check_target(appdb, sn, "", get_zone(config.zone))
    async for check in check_pbx(config, appdb, clock, target, ENGINES.open_ledger):
        if check.lines:
            missing_lines = _("in {file}: {lines}", file=check.file, lines=", ".join(check.lines))
            yield Check(check.status, check.detail, missing_lines)
        else:
            yield check
