"""`/api/v1/people` and `/api/v1/tokens`: who may come in, and what of it each may see; for administrators alone.

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

Name = Annotated[str, PathParameter(description="The name of one", max_length=NAME_CHARACTERS_MAX)]
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
    limits: AccessScope | None
    has_password: bool
    created_at: datetime
    last_seen: datetime | None


class InvitedUser(msgspec.Struct, frozen=True):
    """Somebody, and the `path` behind the console's address where a password is chosen; told this once."""

    person: UserInfo
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


@get("/people", opt=FOR_ADMINISTRATORS, summary="The people who may sign in", tags=["access"], responses=PROBLEMS)
async def list_users(rooms: AppStateDep) -> UserList:
    """By name; of a password only whether one was chosen."""
    return UserList([_user_info(user) for user in rooms.settings.people.all()])


@post("/people", summary="Let somebody in", tags=["access"], responses=PROBLEMS)
async def add_user(rooms: AppStateDep, data: Annotated[NewUserOrToken, BodyKwarg()]) -> InvitedUser:
    """By an invitation, which counts once and for three days."""
    scope = parse_scope(rooms.settings, data.pbxs, data.numbers)
    invitation = rooms.settings.people.add(data.name, data.role, scope, at=rooms.clock.microseconds())
    return _invited_user(rooms, data.name.strip(), invitation)


@post("/people/{name:str}/invitation", summary="Invite somebody again", tags=["access"], responses=PROBLEMS)
async def renew_invitation(rooms: AppStateDep, name: Name) -> InvitedUser:
    """As for a password that was forgotten; earlier invitations count no more."""
    return _invited_user(rooms, name, rooms.settings.people.invite(name, at=rooms.clock.microseconds()))


@delete("/people/{name:str}", summary="Let somebody in no more", tags=["access"], responses=PROBLEMS)
async def remove_user(rooms: AppStateDep, name: Name) -> None:
    """Sessions end with it."""
    rooms.settings.people.remove(name)


@get("/tokens", opt=FOR_ADMINISTRATORS, summary="The tokens of programs", tags=["access"], responses=PROBLEMS)
async def list_tokens(rooms: AppStateDep) -> TokenList:
    """Without their texts, which nobody knows any more."""
    return TokenList(rooms.settings.tokens())


@post("/tokens", summary="Make a token", tags=["access"], responses=PROBLEMS)
async def add_token(rooms: AppStateDep, data: Annotated[NewUserOrToken, BodyKwarg()]) -> AddedToken:
    """For a program; its text is told this once."""
    scope = parse_scope(rooms.settings, data.pbxs, data.numbers)
    text = rooms.settings.add_token(data.name, data.role, at=rooms.clock.microseconds(), limits=scope)
    token = next(candidate for candidate in rooms.settings.tokens() if candidate.name == data.name.strip())
    return AddedToken(token, text)


@delete("/tokens/{name:str}", summary="Let a token count no more", tags=["access"], responses=PROBLEMS)
async def remove_token(rooms: AppStateDep, name: Name) -> None:
    """Sessions that began with it end too."""
    rooms.settings.remove_token(name)


ROUTES = (list_users, add_user, renew_invitation, remove_user, list_tokens, add_token, remove_token)


def _user_info(person: User) -> UserInfo:
    """Without the stamp, which is between us and the session."""
    return UserInfo(
        name=person.name,
        role=person.role,
        limits=person.limits,
        has_password=person.has_password,
        created_at=person.created_at,
        last_seen=person.last_seen,
    )


def _invited_user(rooms: AppState, name: str, invitation: str) -> InvitedUser:
    return InvitedUser(_user_info(rooms.settings.people.get(name)), f"/invited?invitation={invitation}")
