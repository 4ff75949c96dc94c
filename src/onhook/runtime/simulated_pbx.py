"""The face of a made-up PBX: the exchange, answered from the simulator's own truth in memory.

In Python, with everything in one process:

    async with made_up_exchange(plan, visit, clock) as made_up:
        await simulate(plan, clock, face=made_up.face)
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

import msgspec

from onhook.appdb.api_behaviour import ApiBehaviour
from onhook.appdb.api_clients import CREDENTIAL_CHARACTERS_MAX, App
from onhook.cdr.call_details import CallDetails
from onhook.cdr.utc_offset import get_zone
from onhook.config import Address, Config
from onhook.lib.clock import Clock
from onhook.lib.errors import UsageError
from onhook.pbx_api.certificate import ensure_certificate
from onhook.pbx_api.fault_injection import InjectedFault
from onhook.pbx_api.memory import MemoryCalls
from onhook.pbx_api.single_app import SingleApp
from onhook.runtime.child import Tasks
from onhook.runtime.pbx_api_service import open_pbx_api
from onhook.simulator.fault_injection import FaceMischief
from onhook.simulator.office_plan import SimulationPlan


class SimulatedApiConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How an application comes to the made-up PBX: where it listens, and the credentials that it takes.

    Without `is_plain` it has TLS, with this certificate; where neither of the two files is there they are made.
    """

    address: Address
    client_id: str
    client_secret: str
    is_plain: bool = False
    certificate: Path = Path("exchange.crt")
    key: Path = Path("exchange.key")
    manner: ApiBehaviour = ApiBehaviour()

    def __post_init__(self) -> None:
        """Raises `UsageError`, never showing the secret."""
        for name, text in (("client id", self.client_id), ("client secret", self.client_secret)):
            if not text or len(text) > CREDENTIAL_CHARACTERS_MAX:
                raise UsageError(
                    f"a {name} cannot have {len(text)} characters", todo=f"use 1 to {CREDENTIAL_CHARACTERS_MAX}"
                )


class SimulatedPbx(msgspec.Struct, frozen=True):
    """It listens: what the simulator tells of its calls, where it is, and what runs for it."""

    face: "MemoryCallsObserver"
    address: Address
    tasks: Tasks


class MemoryCallsObserver:
    """What the simulator makes, known to the exchange; see the contract, `simulator.face.Face`."""

    def __init__(self, calls: MemoryCalls) -> None:
        self.calls = calls

    def made(self, details: CallDetails) -> None:
        self.calls.tell(details)

    def sent(self, details: CallDetails, body: bytes) -> None:
        self.calls.announce(details, body)


class SimulatedFaultPolicy:
    """The simulator's faults, where the exchange lets them bite; see the contract, `exchange.trouble.Trouble`."""

    def __init__(self, mischief: FaceMischief) -> None:
        self._mischief = mischief

    def token_seconds(self) -> float | None:
        return self._mischief.token_seconds()

    def fails_login(self) -> bool:
        return self._mischief.fails_login()

    def answer(self) -> InjectedFault:
        fault = self._mischief.answer()
        return InjectedFault(
            delay_seconds=fault.delay_seconds,
            is_garbage=fault.is_garbage,
            refused_forms=fault.refused_forms,
            finds_nothing=fault.finds_nothing,
            display=fault.display,
        )

    def silent_after(self) -> int | None:
        return self._mischief.silent_after()


class SkewedClock:
    """A clock that is wrong by so many seconds, as the made-up PBX's own may be."""

    def __init__(self, clock: Clock, seconds: int) -> None:
        self._clock = clock
        self._seconds = seconds

    def microseconds(self) -> int:
        return self._clock.microseconds() + self._seconds * 1_000_000

    def now(self) -> datetime:
        return self._clock.now() + timedelta(seconds=self._seconds)


@asynccontextmanager
async def open_simulated_pbx(
    plan: SimulationPlan, visit: SimulatedApiConfig, clock: Clock
) -> AsyncIterator[SimulatedPbx]:
    """The exchange over the calls of a simulation. Raises `OnhookError` where it cannot listen."""
    pbx_clock = SkewedClock(clock, plan.faults.wrong_clock)
    calls = MemoryCalls(plan.sn, get_zone(plan.zone), pbx_clock)
    app = App(name="made up", client_id=visit.client_id, pbxs=(plan.sn,), manner=visit.manner, created_at=clock.now())
    config = Config(
        exchange=visit.address,
        exchange_plain=visit.is_plain,
        exchange_certificate=str(visit.certificate),
        exchange_key=str(visit.key),
    )
    if not visit.is_plain:
        ensure_certificate(visit.certificate, visit.key, visit.address.host, clock.now())
    app_registry = SingleApp(app, visit.client_secret)
    fault_policy = SimulatedFaultPolicy(FaceMischief(plan.faults, plan.seed))
    async with open_pbx_api(config, calls, app_registry, pbx_clock, trouble=fault_policy) as (address, tasks):
        yield SimulatedPbx(MemoryCallsObserver(calls), address, tasks)
