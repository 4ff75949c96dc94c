"""Settings of the sign-in: the roles whose users need a second factor, and the address of the console."""

from collections.abc import Iterable

import msgspec

from onhook.appdb.contract import Database, Row, transactional
from onhook.appdb.mail_settings import validate_console_url
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_row
from onhook.appdb.tokens import ROLES, Role, validate_role

_SELECT = "SELECT factor_roles, console_url FROM sign_in_settings"


class SignInSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Users with one of `factor_roles` can do nothing but add a second factor until they have one. `console_url` is the
    address of the console as people know it; where it is empty, that of the mail settings is.
    """

    factor_roles: tuple[Role, ...] = ()
    console_url: str = ""


class SignInSettingsRepository:
    """Repository of these settings; there is one row at most."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self) -> SignInSettings:
        """Return the settings. Raises `RowUnreadable`."""
        rows = await self._database.rows(_SELECT)
        return read_row(rows[0], _decode) if rows else SignInSettings()

    @transactional
    async def put(self, settings: SignInSettings) -> SignInSettings:
        """Store settings, and return them as they are stored. Raises `UsageError`."""
        settings = _validate(settings)
        await self._database.write(
            "INSERT INTO sign_in_settings (settings_id, factor_roles, console_url) VALUES (1, ?, ?)"
            " ON CONFLICT (settings_id) DO UPDATE SET factor_roles = excluded.factor_roles,"
            " console_url = excluded.console_url",
            (",".join(settings.factor_roles), settings.console_url),
        )
        return settings

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the row if it cannot be read."""
        return list_unreadable("sign_in_settings", await self._database.rows(_SELECT), _decode)


def validate_roles(names: Iterable[str]) -> tuple[Role, ...]:
    """Return the roles of these names, each once and in order. Raises `UsageError`."""
    wanted = {validate_role(name.strip()) for name in names if name.strip()}
    return tuple(role for role in ROLES if role in wanted)


def _validate(settings: SignInSettings) -> SignInSettings:
    return SignInSettings(
        factor_roles=validate_roles(settings.factor_roles),
        console_url=validate_console_url(settings.console_url.strip()),
    )


def _decode(row: Row) -> SignInSettings:
    factor_roles, console_url = row
    return _validate(SignInSettings(factor_roles=validate_roles(factor_roles.split(",")), console_url=console_url))
