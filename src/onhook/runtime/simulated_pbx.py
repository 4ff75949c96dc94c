"""Web API of a simulated PBX: the PBX API over the simulator's own calls.

In Python, with everything in one process:

    async with open_simulated_pbx(plan, api_config, clock) as simulated_pbx:
        await simulate(plan, clock, observer=simulated_pbx.observer)
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.appdb.api_clients import CREDENTIAL_CHARACTERS_MAX, App
from onhook.cdr.utc_offset import get_zone
from onhook.config import Address, Config
from onhook.lib.clock import Clock
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.pbx_api.certificate import ensure_certificate
from onhook.pbx_api.single_app import SingleApp
from onhook.runtime.adapters.faulty_pbx_api import FaultyPbxApiServer
from onhook.runtime.adapters.simulated_calls import SimulatedCalls, open_simulated_calls
from onhook.runtime.child import Tasks
from onhook.runtime.pbx_api_service import open_pbx_api
from onhook.simulator.fault_injection import ApiFaultInjector
from onhook.simulator.office_plan import SimulationPlan


class SimulatedApiConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Address of the simulated PBX's API, and the credentials that it accepts.

    Without `is_plain` it has TLS, with this certificate; where neither of the two files exists they are generated.
    """

    address: Address
    client_id: str
    client_secret: str
    is_plain: bool = False
    certificate: Path = Path("pbx_api.crt")
    key: Path = Path("pbx_api.key")
    behaviour: ApiBehaviour = ApiBehaviour()

    def __post_init__(self) -> None:
        """Raises `UsageError`, never showing the secret."""
        for name, text in (("client id", self.client_id), ("client secret", self.client_secret)):
            if not text or len(text) > CREDENTIAL_CHARACTERS_MAX:
                raise UsageError(
                    _("a {name} cannot have {count} characters", name=name, count=len(text)),
                    hint=_("use 1 to {maximum}", maximum=CREDENTIAL_CHARACTERS_MAX),
                )


class SimulatedPbx(msgspec.Struct, frozen=True):
    """A listening simulated PBX: the observer of the simulation, its address, and its tasks."""

    observer: SimulatedCalls
    address: Address
    tasks: Tasks


class SkewedClock:
    """A clock with a constant error in seconds, as a simulated PBX may have."""

    def __init__(self, clock: Clock, seconds: int) -> None:
        self._clock = clock
        self._seconds = seconds

    def microseconds(self) -> int:
        return self._clock.microseconds() + self._seconds * 1_000_000

    def now(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self._seconds)


@asynccontextmanager
async def open_simulated_pbx(
    plan: SimulationPlan, api_config: SimulatedApiConfig, clock: Clock
) -> AsyncIterator[SimulatedPbx]:
    """Yield the PBX API over the calls of a simulation. Raises `OnhookError` where it cannot listen."""
    pbx_clock = SkewedClock(clock, plan.faults.wrong_clock)
    app = App(
        name="simulated",
        client_id=api_config.client_id,
        pbxs=(plan.sn,),
        behaviour=api_config.behaviour,
        created_at=clock.now(),
    )
    config = Config(
        pbx_api=api_config.address,
        pbx_api_plain=api_config.is_plain,
        pbx_api_certificate=str(api_config.certificate),
        pbx_api_key=str(api_config.key),
    )
    if not api_config.is_plain:
        ensure_certificate(api_config.certificate, api_config.key, api_config.address.host, clock.now())
    async with open_simulated_calls(plan.sn, get_zone(plan.zone), pbx_clock) as (calls, task):
        server = FaultyPbxApiServer(
            calls=calls,
            apps=SingleApp(app, api_config.client_secret),
            clock=pbx_clock,
            fault_injector=ApiFaultInjector(plan.faults, plan.seed),
        )
        async with open_pbx_api(config, server) as (address, tasks):
            yield SimulatedPbx(calls, address, (*tasks, task))
