"""How the reader of a request sees times, lists and texts: settings of the user, else of the browser.

A user's settings are in the application database. A session of a token and an open console have no user: there a cookie
keeps them. A program that sends a token has none: its answers depend on its parameters alone.
"""

from collections.abc import Iterable
from typing import Any, cast
from urllib.parse import parse_qs, urlencode
from zoneinfo import ZoneInfo

import msgspec
from litestar.connection import ASGIConnection
from litestar.enums import ScopeType
from litestar.handlers.base import BaseRouteHandler
from litestar.types import Scope

from onhook.appdb.reader_settings import ReaderSettings, Theme
from onhook.cdr.utc_offset import get_zone
from onhook.console.auth.access import get_principal, get_wallboard_language
from onhook.console.state import AppState
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.languages import ENGLISH, negotiate_language, set_language

COOKIE_SECONDS = 365 * 86_400

_COOKIE_PREFIX = "onhook_reader_"
_SETTINGS = "onhook_reader_settings"
_COOKIE_CHARACTERS_MAX = 400

Connection = ASGIConnection[Any, Any, Any, Any]


class TwelveHourZone(ZoneInfo):
    """A time zone whose reader has a clock of 12 hours: zone and clock go the same way to every time on a page."""


def settings_cookie_name(app_state: AppState) -> str:
    """Return the name of the cookie: browsers share cookies between ports."""
    return f"{_COOKIE_PREFIX}{app_state.config.console.port}"


def encode_settings_cookie(settings: ReaderSettings) -> str:
    """Return the settings as the text of a cookie."""
    return urlencode(msgspec.structs.asdict(settings))


def decode_settings_cookie(text: str) -> ReaderSettings:
    """Return the settings of a cookie; the usual ones for a text that is none."""
    values = {name: texts[0] for name, texts in parse_qs(text[:_COOKIE_CHARACTERS_MAX], max_num_fields=9).items()}
    try:
        return msgspec.convert(values, ReaderSettings).validate()
    except (msgspec.ValidationError, UsageError):
        return ReaderSettings()


async def load_reader_settings(connection: Connection, app_state: AppState) -> ReaderSettings:
    """Return the settings of the reader, read once for a request."""
    state = connection.scope["state"]
    if _SETTINGS not in state:
        state[_SETTINGS] = await _load_settings(connection, app_state)
    return cast("ReaderSettings", state[_SETTINGS])


async def load_settings_of_error(_error: Exception, scope: Scope) -> None:
    """Load the settings of the reader of a request that failed, for the colours of its page."""
    if scope["type"] != ScopeType.HTTP or get_principal(scope) is None:
        return
    connection = Connection(scope)
    try:
        await load_reader_settings(connection, connection.app.state.app_state)
    except OnhookError:
        return  # the page has the colours of the system


def loaded_theme(scope: Scope) -> Theme:
    """Return the colours that the reader of a request has chosen, where the settings were loaded."""
    settings = cast("ReaderSettings | None", scope["state"].get(_SETTINGS))
    return "system" if settings is None else settings.theme


async def choose_language(connection: Connection, _handler: BaseRouteHandler) -> None:
    """Guard, after `authorize`: have the texts of the response in the language of the link of a wallboard, or else in
    that of the reader's settings; without either they stay in that of the browser (`begin_language`).
    """
    settings = await load_reader_settings(connection, connection.app.state.app_state)
    if language := get_wallboard_language(connection.scope) or settings.language:
        set_language(language)


def begin_language(headers: Iterable[tuple[bytes, bytes]], default: str) -> None:
    """Have the texts of a request in the language that its browser likes best. A program that sends a token gets
    English: its answers depend on its parameters alone.
    """
    values = {name: value for name, value in headers if name in (b"accept-language", b"authorization")}
    is_program = b"authorization" in values
    accepted = values.get(b"accept-language", b"").decode("latin-1")
    set_language(ENGLISH if is_program else negotiate_language(accepted, default))


def make_reader_zone(app_state: AppState, settings: ReaderSettings, name: str = "") -> ZoneInfo:
    """Return the zone of this name, else the reader's, else the configured one; with the reader's clock. Raises
    `UsageError`.
    """
    zone = get_zone(name or settings.zone or app_state.config.zone)
    return zone if settings.clock == "24" else TwelveHourZone(zone.key)


async def _load_settings(connection: Connection, app_state: AppState) -> ReaderSettings:
    principal = get_principal(connection.scope)
    if principal is None or principal.credential in ("token", "share"):
        return ReaderSettings()
    if principal.is_user:
        return await app_state.appdb.reader_settings.get(principal.name)
    return decode_settings_cookie(connection.cookies.get(settings_cookie_name(app_state), ""))
