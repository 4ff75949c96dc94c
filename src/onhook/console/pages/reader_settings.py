"""`/settings`: the forms in the header and on the page Calls, by which readers set how they see times and lists."""

from typing import Annotated, Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from litestar import post
from litestar.datastructures import Cookie
from litestar.response import Redirect

from onhook.appdb.reader_settings import Clock, ReaderSettings, Theme
from onhook.console.auth.access import PERSONAL, get_principal
from onhook.console.pages.calls import parse_columns
from onhook.console.pages.page import FORM_BODY
from onhook.console.reader import (
    COOKIE_SECONDS,
    encode_settings_cookie,
    load_reader_settings,
    settings_cookie_name,
)
from onhook.console.state import AnyRequest, AppState, AppStateDep

PATH_CHARACTERS_MAX = 4_000
"""Of the page to return to."""


class ReaderSettingsForm(msgspec.Struct, frozen=True):
    """Content of the form in the header; `next` is the page to return to."""

    zone: str = ""
    clock: str = "24"
    theme: str = "system"
    language: str = ""
    next: str = "/"


class CallColumnsForm(msgspec.Struct, frozen=True):
    """Content of the form of columns; empty ones are the usual ones."""

    columns: str = ""
    next: str = "/calls"


@post("/settings", opt=PERSONAL, include_in_schema=False, status_code=200)
async def change_reader_settings(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[ReaderSettingsForm, FORM_BODY]
) -> Redirect:
    """Set zone, clock, colours and language of the reader, and return to the page, without the zone of its URL."""
    settings = await load_reader_settings(request, app_state)
    changed = msgspec.structs.replace(
        settings,
        zone=data.zone,
        clock=cast("Clock", data.clock),
        theme=cast("Theme", data.theme),
        language=data.language,
    ).validate()
    return await _save(request, app_state, changed, local_path(data.next, without="zone"))


@post("/settings/columns", opt=PERSONAL, include_in_schema=False, status_code=200)
async def change_call_columns(
    request: AnyRequest, app_state: AppStateDep, data: Annotated[CallColumnsForm, FORM_BODY]
) -> Redirect:
    """Remember the columns of the list of calls."""
    if data.columns:
        parse_columns(data.columns)
    settings = await load_reader_settings(request, app_state)
    changed = msgspec.structs.replace(settings, call_columns=data.columns).validate()
    return await _save(request, app_state, changed, local_path(data.next, without="columns"))


async def _save(request: AnyRequest, app_state: AppState, settings: ReaderSettings, path: str) -> Redirect:
    principal = get_principal(request.scope)
    response = Redirect(path, status_code=303)
    if principal is not None and principal.is_user:
        await app_state.appdb.reader_settings.put(principal.name, settings)
        return response
    response.set_cookie(
        Cookie(
            key=settings_cookie_name(app_state),
            value=encode_settings_cookie(settings),
            max_age=COOKIE_SECONDS,
            path="/",
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    )
    return response


def local_path(text: str, *, without: str) -> str:
    r"""Return the page to return to without a parameter of its query: a path of Onhook, never another site (`//host`,
    `/\host`).
    """
    is_path = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    if not is_path or len(text) > PATH_CHARACTERS_MAX:
        return "/"
    parts = urlsplit(text)
    query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name != without])
    return f"{parts.path}?{query}" if query else parts.path


ROUTES: tuple[Any, ...] = (change_reader_settings, change_call_columns)
