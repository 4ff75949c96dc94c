"""`/api/v1/apps`: apps of the PBX API; a secret is returned once, when it is created."""

from typing import Annotated

import msgspec
from litestar import delete, get, patch, post
from litestar.params import BodyKwarg

from onhook.appdb.api_behaviour import ApiBehaviour, validate_behaviour
from onhook.appdb.api_clients import NETWORKS_MAX, App, BlockedAddress
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.parameters import AppNameOrId, Label, PbxNames
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep
from onhook.lib.errors import NotFound
from onhook.lib.messages import _

ADDRESS_CHARACTERS_MAX = 64
"""An IPv6 network has 43 at most."""

Networks = Annotated[
    list[Annotated[str, msgspec.Meta(max_length=ADDRESS_CHARACTERS_MAX)]], msgspec.Meta(max_length=NETWORKS_MAX)
]


class NewApp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An app to add. `pbxs` are names or serial numbers, empty is all; `networks` its allowed addresses;
    `allow_control`: it may place and end calls through its one PBX.
    """

    name: Label
    pbxs: PbxNames = []
    networks: Networks = []
    behaviour: ApiBehaviour = ApiBehaviour()
    allow_control: bool = False


class AppChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The permissions to change; those that are left out stay."""

    pbxs: PbxNames | None = None
    networks: Networks | None = None
    allow_control: bool | None = None


class AppWithSecret(msgspec.Struct, frozen=True):
    """An app with its secret, which is returned this once."""

    app: App
    client_secret: str


class AppList(msgspec.Struct, frozen=True):
    """All apps, by name, without their secrets."""

    data: list[App]
    next: None = None


class BlockedAddressList(msgspec.Struct, frozen=True):
    """The addresses whose wrong credentials are rejected after five failed logins, for which client id, until when."""

    data: list[BlockedAddress]
    next: None = None


@get(
    "/apps",
    opt=FOR_ADMINISTRATORS,
    summary="List apps",
    tags=["apps"],
    responses=PROBLEMS,
)
async def list_apps(app_state: AppStateDep) -> AppList:
    """List all apps, without their secrets."""
    return AppList(await app_state.appdb.apps.all())


@get("/apps/{name:str}", opt=FOR_ADMINISTRATORS, summary="Read an app", tags=["apps"], responses=PROBLEMS)
async def read_app(app_state: AppStateDep, name: AppNameOrId) -> App:
    """Read an app by its name or client id."""
    return await app_state.appdb.apps.get(name)


@post("/apps", summary="Add an app", tags=["apps"], responses=PROBLEMS)
async def add_app(app_state: AppStateDep, data: Annotated[NewApp, BodyKwarg()]) -> AppWithSecret:
    """Add an app. The PBX API opens with the first one."""
    app, client_secret = await app_state.appdb.apps.add(
        data.name,
        now_us=app_state.clock.microseconds(),
        pbxs=[(await app_state.appdb.pbx(pbx_name)).sn for pbx_name in data.pbxs],
        networks=data.networks,
        behaviour=validate_behaviour(data.behaviour),
        allow_control=data.allow_control,
    )
    return AppWithSecret(app, client_secret)


@patch("/apps/{name:str}", summary="Change an app", tags=["apps"], responses=PROBLEMS)
async def change_app(app_state: AppStateDep, name: AppNameOrId, data: Annotated[AppChange, BodyKwarg()]) -> App:
    """Change what an app may do; its open sockets follow within a second."""
    pbxs = None if data.pbxs is None else [(await app_state.appdb.pbx(pbx_name)).sn for pbx_name in data.pbxs]
    return await app_state.appdb.apps.change(name, pbxs=pbxs, networks=data.networks, allow_control=data.allow_control)


@delete("/apps/{name:str}", summary="Remove an app", tags=["apps"], responses=PROBLEMS)
async def remove_app(app_state: AppStateDep, name: AppNameOrId) -> None:
    """Remove an app; its credentials, tokens and sockets become invalid."""
    await app_state.appdb.apps.remove(name)


@post("/apps/{name:str}/secret", summary="Renew the secret of an app", tags=["apps"], responses=PROBLEMS)
async def renew_app_secret(app_state: AppStateDep, name: AppNameOrId) -> AppWithSecret:
    """Replace the secret; the old one and the tokens made with it become invalid."""
    app, client_secret = await app_state.appdb.apps.renew_secret(name)
    return AppWithSecret(app, client_secret)


@get(
    "/blocked-addresses",
    opt=FOR_ADMINISTRATORS,
    summary="List addresses blocked after failed logins",
    tags=["apps"],
    responses=PROBLEMS,
)
async def list_blocked_addresses(app_state: AppStateDep) -> BlockedAddressList:
    """List blocked addresses. A block lasts an hour."""
    return BlockedAddressList(await app_state.appdb.apps.blocked_addresses(app_state.clock.microseconds()))


@delete("/blocked-addresses", summary="Unblock all addresses", tags=["apps"], responses=PROBLEMS)
async def unblock_addresses(app_state: AppStateDep) -> None:
    """Unblock all addresses; 404 where none is blocked."""
    if not await app_state.appdb.apps.unblock():
        raise NotFound(_("no address is blocked"))
