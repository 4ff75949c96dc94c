"""A change of some settings of a user, for programs and commands: what is not given stays."""

from collections.abc import Sequence

import msgspec
from msgspec import UNSET, UnsetType

from onhook.appdb.appdb import AppDb
from onhook.appdb.scopes import parse_scope
from onhook.appdb.tokens import Role
from onhook.appdb.users import User
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.number_masking import Mask


class UserChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What changes. Empty `pbxs`, `numbers`, `departments` or `sites` lift that limit; `permissions` are all that the
    user has then.
    """

    name: str | UnsetType = UNSET
    role: Role | UnsetType = UNSET
    pbxs: Sequence[str] | UnsetType = UNSET
    numbers: Sequence[str] | UnsetType = UNSET
    departments: Sequence[str] | UnsetType = UNSET
    sites: Sequence[str] | UnsetType = UNSET
    mask: Mask | UnsetType = UNSET
    permissions: Sequence[str] | UnsetType = UNSET
    is_disabled: bool | UnsetType = UNSET
    email: str | UnsetType = UNSET


async def change_user(appdb: AppDb, name: str, changes: UserChanges) -> User:
    """Change a user, all of it or nothing, and return the user. Raises `NotFound`, `UsageError`."""
    async with appdb.transaction():
        user = await appdb.users.get(name)
        changed = await appdb.users.change(
            user.name,
            new_name=user.name if changes.name is UNSET else changes.name,
            role=user.role if changes.role is UNSET else changes.role,
            scope=await _change_scope(appdb, user.scope, changes),
            permissions=None if changes.permissions is UNSET else changes.permissions,
        )
        if changes.is_disabled is not UNSET and changes.is_disabled != user.is_disabled:
            await appdb.users.set_disabled(changed.name, is_disabled=changes.is_disabled)
        if changes.email is not UNSET:
            await appdb.users.set_email(changed.name, changes.email)
        return await appdb.users.get(changed.name)


async def _change_scope(appdb: AppDb, scope: AccessScope | None, changes: UserChanges) -> AccessScope | None:
    """Return the scope with what changes: a PBX of it that was removed stays where its PBXs do."""
    old = scope or AccessScope()
    given = (
        await parse_scope(
            appdb,
            [] if changes.pbxs is UNSET else changes.pbxs,
            [] if changes.numbers is UNSET else changes.numbers,
            "none" if changes.mask is UNSET else changes.mask,
            [] if changes.departments is UNSET else changes.departments,
            [] if changes.sites is UNSET else changes.sites,
        )
        or AccessScope()
    )
    new = AccessScope(
        old.sns if changes.pbxs is UNSET else given.sns,
        old.numbers if changes.numbers is UNSET else given.numbers,
        old.mask if changes.mask is UNSET else given.mask,
        old.departments if changes.departments is UNSET else given.departments,
        old.sites if changes.sites is UNSET else given.sites,
    )
    return None if new == AccessScope() else new
