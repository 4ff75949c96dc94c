"""The PBX API of a simulated PBX: the production server, with the faults of the simulator around it.

Invariant: faults change responses, logins, tokens and sockets, never what is stored. Which faults occur is the rule of
`simulator.fault_injection`.
"""

import asyncio

import msgspec
from aiohttp import web

from onhook.appdb.api_clients import App
from onhook.lib.clock import Clock
from onhook.pbx.yeastar.payload import Yeastar
from onhook.pbx_api.applications import AppRegistry
from onhook.pbx_api.calls import CallSource, NewRecord
from onhook.pbx_api.logins import MemoryLoginFailures
from onhook.pbx_api.request import ApiRequest
from onhook.pbx_api.server import PbxApiServer
from onhook.pbx_api.sockets import Listener, Sockets
from onhook.pbx_api.state import ApiState, create_api_state
from onhook.pbx_api.tokens import ACCESS_SECONDS, AppTokens, MemoryGrants
from onhook.runtime.adapters.simulated_calls import MalformedRecord
from onhook.simulator.fault_injection import ApiFault, ApiFaultInjector


class FaultyPbxApiServer(PbxApiServer):
    """Delays responses, cuts them off, and computes them with the faults of other objects."""

    def __init__(self, *, calls: CallSource, apps: AppRegistry, clock: Clock, fault_injector: ApiFaultInjector) -> None:
        grants = MemoryGrants()
        tokens = AppTokens(clock, grants, access_seconds=fault_injector.token_seconds() or ACCESS_SECONDS)
        sockets = FaultySockets(calls, clock, tokens, fault_injector)
        state = create_api_state(
            calls=calls, apps=apps, clock=clock, grants=grants, login_failures=MemoryLoginFailures()
        )
        super().__init__(msgspec.structs.replace(state, tokens=tokens, sockets=sockets))
        self._fault_injector = fault_injector

    async def compute_response(self, request: web.BaseRequest, state: ApiState) -> bytes:
        fault = self._fault_injector.response_fault()
        apps = FaultyAppRegistry(state.apps, fault, self._fault_injector)
        response = await super().compute_response(request, msgspec.structs.replace(state, apps=apps))
        if fault.delay_seconds:
            await asyncio.sleep(fault.delay_seconds)
        return response[: len(response) // 2] if fault.is_garbage else response


class FaultyAppRegistry:
    """See the contract, `pbx_api.applications.AppRegistry`. During one request: the PBX has the behaviour of its fault,
    and may reject a login.
    """

    def __init__(self, apps: AppRegistry, fault: ApiFault, fault_injector: ApiFaultInjector) -> None:
        self._apps = apps
        self._fault = fault
        self._fault_injector = fault_injector

    async def find_by_client_id(self, client_id: str) -> tuple[App, bytes] | None:
        match = await self._apps.find_by_client_id(client_id)
        if match is None:
            return None
        app, secret_hash = match
        return msgspec.structs.replace(app, behaviour=self._fault.apply_to(app.behaviour)), secret_hash

    async def find_by_credentials(self, client_id: str, client_secret: str) -> App | None:
        app = await self._apps.find_by_credentials(client_id, client_secret)
        return None if app is None or self._fault_injector.rejects_login() else app

    async def record_use(self, app: App, now_us: int) -> None:
        await self._apps.record_use(app, now_us)

    async def is_blocked(self, address: str, client_id: str, now_us: int) -> bool:
        return await self._apps.is_blocked(address, client_id, now_us)

    async def block(self, address: str, client_id: str, now_us: int) -> None:
        await self._apps.block(address, client_id, now_us)

    async def version(self) -> int:
        return await self._apps.version()


class SilentListener(Listener):
    """Socket that stays open and sends no further events after some."""

    def __init__(
        self,
        socket: web.WebSocketResponse,
        transport: asyncio.Transport,
        request: ApiRequest,
        now_us: int,
        silent_after: int,
    ) -> None:
        super().__init__(socket, transport, request, now_us)
        self._events_left = silent_after

    def send(self, frames: bytes) -> None:
        self._events_left -= count_frames(frames)
        if self._events_left >= 0:
            super().send(frames)


class FaultySockets(Sockets):
    """Sockets of which some fall silent, and whose events may be malformed."""

    def __init__(self, calls: CallSource, clock: Clock, tokens: AppTokens, fault_injector: ApiFaultInjector) -> None:
        super().__init__(calls, clock, tokens, Yeastar())
        self._fault_injector = fault_injector

    def create_listener(
        self, socket: web.WebSocketResponse, transport: asyncio.Transport, request: ApiRequest
    ) -> Listener:
        silent_after = self._fault_injector.silent_after()
        if silent_after is None:
            return super().create_listener(socket, transport, request)
        return SilentListener(socket, transport, request, self._clock.microseconds(), silent_after)

    def format_event(self, new_record: NewRecord, payload_format: str) -> bytes:
        if isinstance(new_record, MalformedRecord):
            return new_record.body
        return super().format_event(new_record, payload_format)


def count_frames(frames: bytes) -> int:
    """Return the number of concatenated messages of a server (`pbx_api.sockets.text_frame`)."""
    count = offset = 0
    while offset < len(frames):
        length, header = frames[offset + 1], 2
        if length > 125:
            header = 4 if length == 126 else 10
            length = int.from_bytes(frames[offset + 2 : offset + header], "big")
        offset += header + length
        count += 1
    return count
