"""`/api/v1/users` and `/api/v1/tokens`: users, tokens and their scopes, for administrators only.

An invitation and a token are returned once, when they are created.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import delete, get, patch, post, put
from litestar.params import BodyKwarg

from onhook.appdb.mail_settings import TEXT_CHARACTERS_MAX as URL_CHARACTERS_MAX
from onhook.appdb.permissions import PERMISSIONS, Permission
from onhook.appdb.scopes import GROUPS_MAX, NUMBER_CHARACTERS_MAX, parse_scope
from onhook.appdb.sign_in_settings import SignInSettings
from onhook.appdb.tokens import EXPORT_FILTER_CHARACTERS_MAX, ROLES, Role, Token
from onhook.appdb.user_changes import UserChanges
from onhook.appdb.user_changes import change_user as change
from onhook.appdb.users import SCOPE_NUMBERS_MAX, User
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.directory import TEXT_CHARACTERS_MAX
from onhook.cdr.number_masking import Mask
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.auth.share_tokens import parse_export_filter
from onhook.console.invitation_mails import add_invitation_mail, invitation_path
from onhook.console.parameters import Label, PbxNames, UserOrTokenName
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppState, AppStateDep
from onhook.lib.mail_addresses import ADDRESS_CHARACTERS_MAX
from onhook.lib.timestamps import to_microseconds

Extensions = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=NUMBER_CHARACTERS_MAX)]],
    msgspec.Meta(max_length=SCOPE_NUMBERS_MAX),
]

GroupNames = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=TEXT_CHARACTERS_MAX)]],
    msgspec.Meta(max_length=GROUPS_MAX),
]


Email = Annotated[str, msgspec.Meta(max_length=ADDRESS_CHARACTERS_MAX)]
Permissions = Annotated[list[Permission], msgspec.Meta(max_length=len(PERMISSIONS))]


class NewUserOrToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user or token to add. A reader can be limited to `pbxs` (names or serial numbers), to `numbers`, and to the
    numbers that the directory has in `departments` and at `sites`: in both where both are named, and besides
    `numbers`. External numbers are masked by `last3` without their last three digits, by `hash` as a keyed hash.
    """

    name: Label
    role: Role = "reader"
    pbxs: PbxNames = []
    numbers: Extensions = []
    departments: GroupNames = []
    sites: GroupNames = []
    mask: Mask = "none"


class NewUser(NewUserOrToken, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user to add. With the permission `share` a user who is no administrator shares dashboards and questions of
    their own with all users, with `links` makes links to wallboards. With an `email` the invitation is sent there,
    where a mail server and the address of the console are set.
    """

    permissions: Permissions = []
    email: Email = ""


class ChangedUser(UserChanges, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of a user: what is left out stays. Empty `pbxs`, `numbers`, `departments` or `sites` lift that
    limit; `permissions` are all that the user has then. A user that `is_disabled` cannot sign in.
    """

    name: Label | msgspec.UnsetType = msgspec.UNSET
    pbxs: PbxNames | msgspec.UnsetType = msgspec.UNSET
    numbers: Extensions | msgspec.UnsetType = msgspec.UNSET
    departments: GroupNames | msgspec.UnsetType = msgspec.UNSET
    sites: GroupNames | msgspec.UnsetType = msgspec.UNSET
    permissions: Permissions | msgspec.UnsetType = msgspec.UNSET
    email: Email | msgspec.UnsetType = msgspec.UNSET


class NewToken(NewUserOrToken, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A token to add. With an `export_filter`, the query of a search or an empty text, it is a share token: for exports
    alone, in their URL. It is valid until `expires_at`, or until it is removed.
    """

    export_filter: Annotated[str, msgspec.Meta(max_length=EXPORT_FILTER_CHARACTERS_MAX)] | None = None
    expires_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None


class NewSignInSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the sign-in: roles whose users need a second factor, and the address of the console, for passkeys;
    an empty one is that of the mail settings.
    """

    factor_roles: Annotated[list[Role], msgspec.Meta(max_length=len(ROLES))]
    console_url: Annotated[str, msgspec.Meta(max_length=URL_CHARACTERS_MAX)] = ""


class UserInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A user, who sees everything, or what `scope` names; `permissions` are empty for an administrator, who has all."""

    name: str
    role: Role
    scope: AccessScope | None
    has_password: bool
    created_at: datetime
    last_seen_at: datetime | None
    is_disabled: bool
    permissions: list[Permission]
    email: str
    has_second_factor: bool


class InvitedUser(msgspec.Struct, frozen=True):
    """A user, and the `path` on the console where a password is chosen, which is returned this once. `mailed_to` is the
    address to which it is sent, or empty.
    """

    user: UserInfo
    path: str
    mailed_to: str


class AddedToken(msgspec.Struct, frozen=True):
    """A token, and its text, which is returned this once."""

    token: Token
    text: str


class UserList(msgspec.Struct, frozen=True):
    """All users, by name."""

    data: list[UserInfo]
    next: None = None


class TokenList(msgspec.Struct, frozen=True):
    """All tokens, by name, without their texts."""

    data: list[Token]
    next: None = None


@get("/users", opt=FOR_ADMINISTRATORS, summary="List users", tags=["access"], responses=PROBLEMS)
async def list_users(app_state: AppStateDep) -> UserList:
    """List users by name; of a password only whether one is set."""
    return UserList([_user_info(user) for user in await app_state.appdb.users.all()])


@post("/users", summary="Add a user", tags=["access"], responses=PROBLEMS)
async def add_user(app_state: AppStateDep, data: Annotated[NewUser, BodyKwarg()]) -> InvitedUser:
    """Add a user by an invitation, which is valid once and for three days."""
    scope = await parse_scope(app_state.appdb, data.pbxs, data.numbers, data.mask, data.departments, data.sites)
    invitation = await app_state.appdb.users.add(
        data.name,
        data.role,
        scope,
        now_us=app_state.clock.microseconds(),
        permissions=data.permissions,
        email=data.email,
    )
    return await _invited_user(app_state, data.name.strip(), invitation)


@patch("/users/{name:str}", summary="Change a user", tags=["access"], responses=PROBLEMS)
async def change_user(
    app_state: AppStateDep, name: UserOrTokenName, data: Annotated[ChangedUser, BodyKwarg()]
) -> UserInfo:
    """Change a user; it applies to open sessions at once. A new name ends them, and so does disabling. The last
    administrator who can sign in stays one.
    """
    return _user_info(await change(app_state.appdb, name, data))


@post("/users/{name:str}/invitation", summary="Renew an invitation", tags=["access"], responses=PROBLEMS)
async def renew_invitation(app_state: AppStateDep, name: UserOrTokenName) -> InvitedUser:
    """Create another invitation, as for a forgotten password; earlier ones become invalid."""
    return await _invited_user(
        app_state, name, await app_state.appdb.users.invite(name, now_us=app_state.clock.microseconds())
    )


@delete("/users/{name:str}", summary="Remove a user", tags=["access"], responses=PROBLEMS)
async def remove_user(app_state: AppStateDep, name: UserOrTokenName) -> None:
    """Remove a user; sessions end. The last administrator who can sign in cannot be removed."""
    await app_state.appdb.users.remove(name)


@delete("/users/{name:str}/second-factor", summary="Remove a second factor", tags=["access"], responses=PROBLEMS)
async def reset_second_factor(app_state: AppStateDep, name: UserOrTokenName) -> None:
    """Remove the second factor of a user, as for a lost telephone; sessions end. The password is enough then."""
    user = await app_state.appdb.users.get(name)
    await app_state.appdb.second_factors.reset(user.name)


@get("/sign-in-settings", opt=FOR_ADMINISTRATORS, summary="Read sign-in settings", tags=["access"], responses=PROBLEMS)
async def read_sign_in_settings(app_state: AppStateDep) -> SignInSettings:
    """Return the roles whose users need a second factor, and the address of the console."""
    return await app_state.appdb.sign_in_settings.get()


@put("/sign-in-settings", summary="Set sign-in settings", tags=["access"], responses=PROBLEMS)
async def put_sign_in_settings(
    app_state: AppStateDep, data: Annotated[NewSignInSettings, BodyKwarg()]
) -> SignInSettings:
    """Set the roles whose users need a second factor. They can do nothing but add it, at once and in open browsers too;
    tokens are not affected.
    """
    return await app_state.appdb.sign_in_settings.put(
        SignInSettings(factor_roles=tuple(data.factor_roles), console_url=data.console_url)
    )


@get("/tokens", opt=FOR_ADMINISTRATORS, summary="List tokens", tags=["access"], responses=PROBLEMS)
async def list_tokens(app_state: AppStateDep) -> TokenList:
    """List tokens, without their texts, which are not stored."""
    return TokenList(await app_state.appdb.tokens.all())


@post("/tokens", summary="Add a token", tags=["access"], responses=PROBLEMS)
async def add_token(app_state: AppStateDep, data: Annotated[NewToken, BodyKwarg()]) -> AddedToken:
    """Add a token for a program; its text is returned this once."""
    scope = await parse_scope(app_state.appdb, data.pbxs, data.numbers, data.mask, data.departments, data.sites)
    export_filter = (
        None
        if data.export_filter is None
        else parse_export_filter(data.export_filter, zone=app_state.config.zone, clock=app_state.clock)
    )
    text = await app_state.appdb.tokens.add(
        data.name,
        data.role,
        now_us=app_state.clock.microseconds(),
        scope=scope,
        export_filter=export_filter,
        expires_us=None if data.expires_at is None else to_microseconds(data.expires_at),
    )
    token = next(candidate for candidate in await app_state.appdb.tokens.all() if candidate.name == data.name.strip())
    return AddedToken(token, text)


@delete("/tokens/{name:str}", summary="Remove a token", tags=["access"], responses=PROBLEMS)
async def remove_token(app_state: AppStateDep, name: UserOrTokenName) -> None:
    """Remove a token; sessions that began with it end too."""
    await app_state.appdb.tokens.remove(name)


ROUTES = (
    *(list_users, add_user, change_user, renew_invitation, remove_user, list_tokens, add_token, remove_token),
    *(reset_second_factor, read_sign_in_settings, put_sign_in_settings),
)


def _user_info(user: User) -> UserInfo:
    """Return the user without the password version."""
    return UserInfo(
        name=user.name,
        role=user.role,
        scope=user.scope,
        has_password=user.has_password,
        created_at=user.created_at,
        last_seen_at=user.last_seen_at,
        is_disabled=user.is_disabled,
        permissions=list(user.permissions),
        email=user.email,
        has_second_factor=user.has_second_factor,
    )


async def _invited_user(app_state: AppState, name: str, invitation: str) -> InvitedUser:
    user = await app_state.appdb.users.get(name)
    mailed_to = await add_invitation_mail(app_state.appdb, app_state.clock, user, invitation)
    return InvitedUser(_user_info(user), invitation_path(invitation), mailed_to)
