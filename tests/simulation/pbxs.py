"""PBXs outside the simulated machine: two that post webhooks, and one with a web API and a push channel."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from random import Random

from onhook.appdb.api_clients import App
from onhook.appdb.pbx_credentials import PbxCredentials, parse_pbx_credentials
from onhook.cdr.call_details import CallDetails
from onhook.cdr.utc_offset import get_zone
from onhook.config import Address, Config
from onhook.lib.signing import SIGNATURE_HEADER, sign
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx_api.single_app import SingleApp
from onhook.pbx_api.tokens import MemoryGrants
from onhook.runtime.adapters.faulty_pbx_api import FaultyPbxApiServer
from onhook.runtime.adapters.simulated_calls import SimulatedCalls, open_simulated_calls
from onhook.runtime.pbx_api_service import open_pbx_api
from onhook.simulator.fault_injection import ApiFaultInjector, Faults
from onhook.simulator.office import Office, OfficePlan
from tests.simulation.virtual_time import SimulatedClock

ZONE = "Europe/Berlin"
CLIENT_ID, CLIENT_SECRET = "onhook", "0123456789abcdef"
RESPONSE_SECONDS_MAX = 5.0
"""A PBX gives up after some seconds."""


class SimulatedPbxOffice:
    """Calls of one PBX, which end when they are made, by the PBX's clock."""

    def __init__(self, sn: str, seed: int, clock: SimulatedClock) -> None:
        self.sn = sn
        self.clock = clock
        self._calls = Office(seed, get_zone(ZONE), OfficePlan()).live_calls(self._times())

    def make_call(self) -> Sequence[CallDetails]:
        """Return the legs of a call that has just ended."""
        return next(self._calls).legs

    def _times(self) -> Iterator[datetime]:
        while True:
            yield self.clock.now()


class WebhookPbx(SimulatedPbxOffice):
    """A PBX that posts events to the intake, signed with `secret`."""

    def __init__(self, sn: str, seed: int, clock: SimulatedClock, secret: str) -> None:
        super().__init__(sn, seed, clock)
        self.secret = secret
        self.late_legs: list[CallDetails] = []
        """Legs that have ended, and are not reported yet."""

    def body(self, details: CallDetails) -> bytes:
        return Yeastar().format(details, self.sn, "p-2026")

    async def post(self, address: str, body: bytes, *, secret: str = "", is_answer_lost: bool = False) -> int:
        """Post a body once; return the status, or 0 where there was no answer. An empty address does not listen."""
        if not address:
            return 0
        headers = f"Host: intake\r\nContent-Length: {len(body)}\r\nConnection: close\r\n"
        signature = f"{SIGNATURE_HEADER}: {sign(secret or self.secret, body)}\r\n"
        try:
            async with asyncio.timeout(RESPONSE_SECONDS_MAX):
                host, _, port = address.rpartition(":")
                reader, writer = await asyncio.open_connection(host, int(port))
                try:
                    writer.write(f"POST / HTTP/1.1\r\n{headers}{signature}\r\n".encode() + body)
                    await writer.drain()
                    if is_answer_lost:
                        return 0
                    status_line = await reader.readline()
                    return int(status_line.split()[1]) if status_line else 0
                finally:
                    writer.close()
        except (OSError, TimeoutError):
            return 0


class ApiPbx(SimulatedPbxOffice):
    """A PBX with a list of calls and a push channel."""

    def __init__(self, sn: str, seed: int, clock: SimulatedClock, calls: SimulatedCalls, injector: ApiFaultInjector):
        super().__init__(sn, seed, clock)
        self._calls_source = calls
        self._injector = injector
        self._server: FaultyPbxApiServer | None = None
        self.credentials: PbxCredentials | None = None

    def add_leg(self, details: CallDetails, *, is_pushed: bool) -> None:
        """Add a leg to the list, and send its event to open push channels."""
        self._calls_source.record_made(details)
        if is_pushed:
            self._calls_source.record_sent(details, b"")

    def set_faults(self, faults: Faults) -> None:
        self._injector._faults = faults

    def forget_tokens(self) -> None:
        """Revoke all tokens, as a restart does; this ends the push channels too."""
        assert self._server is not None
        tokens = self._server.state.tokens
        assert isinstance(tokens._grants, MemoryGrants)
        tokens._grants._grants.clear()
        tokens._valid_grants.clear()

    def cut_push_channels(self) -> None:
        """Disconnect the push channels without a word."""
        assert self._server is not None
        for listener in list(self._server.state.sockets._listeners):
            listener._transport.abort()


@asynccontextmanager
async def open_api_pbx(sn: str, seed: int, clock: SimulatedClock) -> AsyncIterator[ApiPbx]:
    """Yield a listening PBX with a web API."""
    app = App(name="simulated", client_id=CLIENT_ID, pbxs=(sn,), created_at=clock.now())
    injector = ApiFaultInjector(Faults(), seed)
    config = Config(pbx_api=Address("127.0.0.1", 0), pbx_api_plain=True)
    async with open_simulated_calls(sn, get_zone(ZONE), clock) as (calls, _task):
        pbx = ApiPbx(sn, seed, clock, calls, injector)
        server = FaultyPbxApiServer(
            calls=calls, apps=SingleApp(app, CLIENT_SECRET), clock=clock, fault_injector=injector
        )
        async with open_pbx_api(config, server) as (address, _tasks):
            pbx._server = server
            pbx.credentials = parse_pbx_credentials(f"http://{address}", CLIENT_ID, CLIENT_SECRET)
            yield pbx


def draw_api_faults(rng: Random) -> Faults:
    """Return faults of a web API."""
    return rng.choice(
        [
            Faults(failing_login=0.5),
            Faults(garbage_response=0.3),
            Faults(refused_seconds=0.5),
            Faults(refused_display=0.5),
            Faults(slow_response=20),
            Faults(silent_socket=0.5),
            Faults(zero_rows=1),
            Faults(changing_display=3),
        ]
    )
