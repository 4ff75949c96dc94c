"""`/api/v1/users` and `/api/v1/tokens`: who may come in, and what of it each may see; for administrators alone.

An invitation and a token are told once, when they are made.
"""

from datetime import datetime
from typing import Annotated

import msgspec
from litestar import delete, get, post
from litestar.params import BodyKwarg, PathParameter

from onhook.appdb.pbxs import NAME_CHARACTERS_MAX, PBXS_MAX
from onhook.appdb.scopes import NUMBER_CHARACTERS_MAX, parse_scope
from onhook.appdb.tokens import Role, Token
from onhook.appdb.users import SCOPE_NUMBERS_MAX, User
from onhook.cdr.access_scope import AccessScope
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppState, AppStateDep

Name = Annotated[str, PathParameter(description="Name of the user or token", max_length=NAME_CHARACTERS_MAX)]
Label = Annotated[str, msgspec.Meta(min_length=1, max_length=NAME_CHARACTERS_MAX)]
PbxNames = Annotated[list[Label], msgspec.Meta(max_length=PBXS_MAX)]
Extensions = Annotated[
    list[Annotated[str, msgspec.Meta(min_length=1, max_length=NUMBER_CHARACTERS_MAX)]],
    msgspec.Meta(max_length=SCOPE_NUMBERS_MAX),
]


class NewUserOrToken(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is to be let in. A reader can be limited to `pbxs` (names or serial numbers) and to `numbers`."""

    name: Label
    role: Role = "reader"
    pbxs: PbxNames = []
    numbers: Extensions = []


class UserInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who may sign in: what each sees is all, or what `limits` names."""

    name: str
    role: Role
    scope: AccessScope | None
    has_password: bool
    created_at: datetime
    last_seen_at: datetime | None


class InvitedUser(msgspec.Struct, frozen=True):
    """Somebody, and the `path` behind the console's address where a password is chosen; told this once."""

    user: UserInfo
    path: str


class AddedToken(msgspec.Struct, frozen=True):
    """A token, and its text, told this once."""

    token: Token
    text: str


class UserList(msgspec.Struct, frozen=True):
    """All people, by name."""

    data: list[UserInfo]
    next: None = None


class TokenList(msgspec.Struct, frozen=True):
    """All tokens, by name, without their texts."""

    data: list[Token]
    next: None = None


@get("/users", opt=FOR_ADMINISTRATORS, summary="The people who may sign in", tags=["access"], responses=PROBLEMS)
async def list_users(app_state: AppStateDep) -> UserList:
    """By name; of a password only whether one was chosen."""
    return UserList([_user_info(user) for user in app_state.appdb.users.all()])


@post("/users", summary="Let somebody in", tags=["access"], responses=PROBLEMS)
async def add_user(app_state: AppStateDep, data: Annotated[NewUserOrToken, BodyKwarg()]) -> InvitedUser:
    """By an invitation, which counts once and for three days."""
    scope = parse_scope(app_state.appdb, data.pbxs, data.numbers)
    invitation = app_state.appdb.users.add(data.name, data.role, scope, now_us=app_state.clock.microseconds())
    return _invited_user(app_state, data.name.strip(), invitation)


@post("/users/{name:str}/invitation", summary="Invite somebody again", tags=["access"], responses=PROBLEMS)
async def renew_invitation(app_state: AppStateDep, name: Name) -> InvitedUser:
    """As for a password that was forgotten; earlier invitations count no more."""
    return _invited_user(app_state, name, app_state.appdb.users.invite(name, now_us=app_state.clock.microseconds()))


@delete("/users/{name:str}", summary="Let somebody in no more", tags=["access"], responses=PROBLEMS)
async def remove_user(app_state: AppStateDep, name: Name) -> None:
    """Sessions end with it."""
    app_state.appdb.users.remove(name)


@get("/tokens", opt=FOR_ADMINISTRATORS, summary="The tokens of programs", tags=["access"], responses=PROBLEMS)
async def list_tokens(app_state: AppStateDep) -> TokenList:
    """Without their texts, which nobody knows any more."""
    return TokenList(app_state.appdb.tokens())


@post("/tokens", summary="Make a token", tags=["access"], responses=PROBLEMS)
async def add_token(app_state: AppStateDep, data: Annotated[NewUserOrToken, BodyKwarg()]) -> AddedToken:
    """For a program; its text is told this once."""
    scope = parse_scope(app_state.appdb, data.pbxs, data.numbers)
    text = app_state.appdb.add_token(data.name, data.role, now_us=app_state.clock.microseconds(), scope=scope)
    token = next(candidate for candidate in app_state.appdb.tokens() if candidate.name == data.name.strip())
    return AddedToken(token, text)


@delete("/tokens/{name:str}", summary="Let a token count no more", tags=["access"], responses=PROBLEMS)
async def remove_token(app_state: AppStateDep, name: Name) -> None:
    """Sessions that began with it end too."""
    app_state.appdb.remove_token(name)


ROUTES = (list_users, add_user, renew_invitation, remove_user, list_tokens, add_token, remove_token)


def _user_info(user: User) -> UserInfo:
    """Without the stamp, which is between us and the session."""
    return UserInfo(
        name=user.name,
        role=user.role,
        scope=user.scope,
        has_password=user.has_password,
        created_at=user.created_at,
        last_seen_at=user.last_seen_at,
    )


def _invited_user(app_state: AppState, name: str, invitation: str) -> InvitedUser:
    return InvitedUser(_user_info(app_state.appdb.users.get(name)), f"/invitation?invitation={invitation}")
