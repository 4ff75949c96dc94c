"""Settings of readers: how each user sees times and lists. They change nothing that others see: the audit log has
none.
"""

from typing import Literal, cast, get_args

import msgspec

from onhook.appdb.contract import ConstraintViolation, Database, Row
from onhook.appdb.pbxs import validate_zone
from onhook.appdb.stored_json import UnreadableRow, list_unreadable, read_rows
from onhook.lib.errors import NotFound, UsageError
from onhook.lib.languages import LANGUAGES, validate_language
from onhook.lib.messages import _

COLUMNS_CHARACTERS_MAX = 200
"""Of the names of all columns of a list, with the commas."""

Clock = Literal["24", "12"]
"""Hours of a clock."""

Theme = Literal["system", "light", "dark"]
"""Colours of pages: those of the system, or always light or dark."""

_SELECT = "SELECT user_name, zone, clock, call_columns, theme, language FROM reader_settings"


class ReaderSettings(msgspec.Struct, frozen=True, kw_only=True):
    """An empty `zone` is that of the installation, empty `call_columns` are the usual ones, an empty `language` is that
    of the browser.
    """

    zone: str = ""
    clock: Clock = "24"
    call_columns: str = ""
    theme: Theme = "system"
    language: str = ""

    def validate(self) -> "ReaderSettings":
        """Return the settings, without blanks around texts. Raises `UsageError`."""
        zone, columns = self.zone.strip(), self.call_columns.strip()
        if zone:
            validate_zone(zone)
        if self.clock not in get_args(Clock):
            raise UsageError(
                _("there is no clock of {hours} hours", hours=repr(self.clock[:20])),
                location="clock",
                hint=_("choose 24 or 12"),
            )
        if self.theme not in get_args(Theme):
            raise UsageError(
                _("there are no colours {theme}", theme=repr(self.theme[:20])),
                location="theme",
                hint=_("choose system, light or dark"),
            )
        validate_language(self.language)
        if len(columns) > COLUMNS_CHARACTERS_MAX or not columns.isprintable():
            raise UsageError(
                _("{value} are no columns", value=repr(columns[:40])),
                location="columns",
                hint=_("choose them on the page Calls"),
            )
        return msgspec.structs.replace(self, zone=zone, call_columns=columns)


class ReaderSettingsRepository:
    """Settings by user."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> dict[str, ReaderSettings]:
        """Return the settings of all users who have their own."""
        return dict(read_rows(await self._database.rows(f"{_SELECT} ORDER BY user_name"), _reader_settings))

    async def get(self, user_name: str) -> ReaderSettings:
        """Return the settings of a user; the usual ones where there are none, or where they cannot be read."""
        rows = await self._database.rows(f"{_SELECT} WHERE user_name = ?", (user_name,))
        return next((settings for _name, settings in read_rows(rows, _reader_settings)), ReaderSettings())

    async def list_unreadable(self) -> list[UnreadableRow]:
        """Return the rows that cannot be read."""
        return list_unreadable("reader_settings", await self._database.rows(_SELECT), _reader_settings)

    async def put(self, user_name: str, settings: ReaderSettings) -> None:
        """Set the settings of a user. Raises `UsageError`, `NotFound`."""
        settings = settings.validate()
        try:
            await self._database.write(
                "INSERT INTO reader_settings VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (user_name) DO UPDATE SET zone ="
                " excluded.zone, clock = excluded.clock, call_columns = excluded.call_columns, theme = excluded.theme,"
                " language = excluded.language",
                (user_name, *msgspec.structs.astuple(settings)),
            )
        except ConstraintViolation:
            raise NotFound(_("there is no user {name}", name=repr(user_name[:80])), hint=_("sign in again")) from None


def _reader_settings(row: Row) -> tuple[str, ReaderSettings]:
    user_name, zone, clock, call_columns, theme, language = row
    settings = ReaderSettings(
        zone=zone,
        clock=cast("Clock", clock),
        call_columns=call_columns,
        theme=cast("Theme", theme),
        # A language of a later version is none here.
        language=language if language in LANGUAGES else "",
    )
    return user_name, settings.validate()
