"""Rows about how users sign in, and what they are without them."""

import msgspec

from onhook.appdb.appdb import AppDb
from onhook.appdb.identity_provider import ProviderSettings
from onhook.appdb.sign_in_settings import SignInSettings
from onhook.appdb.users import User
from onhook.lib.totp import code_of_step


async def add_sign_in_settings(appdb: AppDb) -> None:
    """Add the rows of the installation."""
    await appdb.sign_in_settings.put(SignInSettings(factor_roles=("administrator",)))
    await appdb.identity_provider.put(ProviderSettings(issuer="https://a.example", client_id="a"), "a-client-secret")


async def add_factors(appdb: AppDb, name: str, now_us: int) -> None:
    """Add a passkey and an authenticator app of a user."""
    keys = {"credential_id": name.encode(), "user_handle": b"h", "public_key": b"k"}
    await appdb.passkeys.add(name, "laptop", **keys, sign_count=0, rp_id="a.example", now_us=now_us)
    code = code_of_step(await appdb.second_factors.begin_enrolment(name, now_us=now_us), now_us // 30_000_000)
    await appdb.second_factors.confirm_enrolment(name, code, now_us=now_us)


async def list_users_without_factors(appdb: AppDb) -> list[User]:
    """Return the users: whether they have a second factor is of other tables, whose rows may name no user."""
    return [msgspec.structs.replace(user, has_second_factor=False) for user in await appdb.users.all()]
