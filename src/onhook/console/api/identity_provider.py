"""`/api/v1/identity-provider`: the identity provider by which users sign in; for administrators only."""

from typing import Annotated

import msgspec
from litestar import delete, get, put
from litestar.params import BodyKwarg

from onhook.appdb.identity_provider import TEXT_CHARACTERS_MAX, ProviderSettings, require_provider
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.auth.provider_setup import put_provider
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep


class NewProvider(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The settings, and the client secret; without one the stored one stays, for the same issuer and client id."""

    settings: ProviderSettings
    client_secret: Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)] | None = None


@get(
    "/identity-provider",
    opt=FOR_ADMINISTRATORS,
    summary="Read the identity provider",
    tags=["access"],
    responses=PROBLEMS,
)
async def read_identity_provider(app_state: AppStateDep) -> ProviderSettings:
    """Return the settings of the identity provider, without its secret; 404 where none is set."""
    return require_provider(await app_state.appdb.identity_provider.get())


@put("/identity-provider", summary="Set the identity provider", tags=["access"], responses=PROBLEMS)
async def put_identity_provider(app_state: AppStateDep, data: Annotated[NewProvider, BodyKwarg()]) -> ProviderSettings:
    """Set the identity provider, whose configuration is read at once."""
    return await put_provider(app_state, data.settings, data.client_secret)


@delete("/identity-provider", summary="Remove the identity provider", tags=["access"], responses=PROBLEMS)
async def remove_identity_provider(app_state: AppStateDep) -> None:
    """Remove the identity provider; its users cannot sign in by it until it is set again."""
    await app_state.appdb.identity_provider.remove()


ROUTES = (read_identity_provider, put_identity_provider, remove_identity_provider)
