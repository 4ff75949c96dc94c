"""`/api/v1/apps`: the applications that may use the exchange; a secret is shown once, when it is made."""

from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import BodyKwarg, PathParameter

from onhook.appdb.api_behaviour import ApiBehaviour, validate_behaviour
from onhook.appdb.api_clients import NETWORKS_MAX, PBXS_OF_APP_MAX, App, BlockedAddress
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep
from onhook.lib.errors import NotFound

ADDRESS_CHARACTERS_MAX = 64
"""An IPv6 network has 43 at most."""

Name = Annotated[str, PathParameter(description="Name or client id of the application", max_length=NAME_CHARACTERS_MAX)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
PbxNames = Annotated[
    list[Annotated[str, msgspec.Meta(max_length=NAME_CHARACTERS_MAX)]], msgspec.Meta(max_length=PBXS_OF_APP_MAX)
]
Networks = Annotated[
    list[Annotated[str, msgspec.Meta(max_length=ADDRESS_CHARACTERS_MAX)]], msgspec.Meta(max_length=NETWORKS_MAX)
]


class NewApp(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An application to let in. `pbxs` are names or serial numbers, none is all; `networks` where it may come from."""

    name: Label
    pbxs: PbxNames = []
    networks: Networks = []
    manner: ApiBehaviour = ApiBehaviour()


class AppWithSecret(msgspec.Struct, frozen=True):
    """An application, and its secret, told this once."""

    app: App
    client_secret: str


class AppList(msgspec.Struct, frozen=True):
    """All applications, by name, without their secrets."""

    data: list[App]
    next: None = None


class BlockedAddressList(msgspec.Struct, frozen=True):
    """The addresses that are kept out after five failed logins, and until when."""

    data: list[BlockedAddress]
    next: None = None


@get(
    "/apps",
    opt=FOR_ADMINISTRATORS,
    summary="The applications that may use the exchange",
    tags=["apps"],
    responses=PROBLEMS,
)
async def list_apps(rooms: AppStateDep) -> AppList:
    """Without their secrets."""
    return AppList(rooms.settings.apps.all())


@get("/apps/{name:str}", opt=FOR_ADMINISTRATORS, summary="One application", tags=["apps"], responses=PROBLEMS)
async def read_app(rooms: AppStateDep, name: Name) -> App:
    """By its name or client id."""
    return rooms.settings.apps.get(name)


@post("/apps", summary="Let an application in", tags=["apps"], responses=PROBLEMS)
async def add_app(rooms: AppStateDep, data: Annotated[NewApp, BodyKwarg()]) -> AppWithSecret:
    """It may come from now on; the exchange begins to listen with the first."""
    app, client_secret = rooms.settings.apps.add(
        data.name,
        at=rooms.clock.microseconds(),
        pbxs=[rooms.settings.pbx(pbx_name).sn for pbx_name in data.pbxs],
        networks=data.networks,
        manner=validate_behaviour(data.manner),
    )
    return AppWithSecret(app, client_secret)


@delete("/apps/{name:str}", summary="Let an application in no more", tags=["apps"], responses=PROBLEMS)
async def remove_app(rooms: AppStateDep, name: Name) -> None:
    """Its credentials, tokens and sockets end."""
    rooms.settings.apps.remove(name)


@post("/apps/{name:str}/secret", summary="Give an application a new secret", tags=["apps"], responses=PROBLEMS)
async def renew_app_secret(rooms: AppStateDep, name: Name) -> AppWithSecret:
    """The old one counts no more, nor do the tokens that were made with it."""
    app, client_secret = rooms.settings.apps.renew(name)
    return AppWithSecret(app, client_secret)


@get(
    "/blocked",
    opt=FOR_ADMINISTRATORS,
    summary="Addresses kept out after failed logins",
    tags=["apps"],
    responses=PROBLEMS,
)
async def list_blocked_addresses(rooms: AppStateDep) -> BlockedAddressList:
    """For an hour each, unless they are let in before."""
    return BlockedAddressList(rooms.settings.apps.blocked(rooms.clock.microseconds()))


@delete("/blocked", summary="Let all addresses in again", tags=["apps"], responses=PROBLEMS)
async def unblock_addresses(rooms: AppStateDep) -> None:
    """404 where none is kept out."""
    if not rooms.settings.apps.unblock():
        raise NotFound("no address is kept out", todo="nothing")
