"""`/people` and `/audit`: who may sign in and with which tokens, who is signed in, and who changed what. Administrators
alone see them.
"""

from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, PathParameter, QueryParameter

from onhook.appdb.scopes import limits_named
from onhook.console.api.records import SEQ_MAX
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.pages.page import AnyRequest, page
from onhook.console.parameters import ReaderZone
from onhook.console.state import Handed, Rooms
from onhook.lib.errors import OnhookError
from onhook.lib.timestamps import moment

AUDIT_SHOWN = 200
"""Lines on one page."""

FormOf = BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)
Before = Annotated[int | None, QueryParameter(ge=1, le=SEQ_MAX)]
SessionNumber = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]


class Adding(msgspec.Struct, frozen=True):
    """What the forms for a person or a token send; `pbxs` and `numbers` are joined by commas."""

    name: str = ""
    role: str = "reader"
    pbxs: str = ""
    numbers: str = ""


class Named(msgspec.Struct, frozen=True):
    """What a button beside a name sends."""

    name: str = ""


@get("/people", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def people_page(request: AnyRequest, rooms: Handed, reader_zone: ReaderZone) -> Response[str]:
    """People, tokens and sessions."""
    return _all(request, rooms, reader_zone)


@post("/people", include_in_schema=False, status_code=200)
async def add_person(
    request: AnyRequest, rooms: Handed, reader_zone: ReaderZone, data: Annotated[Adding, FormOf]
) -> Response[str]:
    """Somebody new; the link of the invitation is shown this once."""
    try:
        invitation = rooms.settings.people.add(
            data.name,
            data.role,
            limits_named(rooms.settings, [data.pbxs], [data.numbers]),
            at=rooms.clock.microseconds(),
        )
    except OnhookError as error:
        return _all(request, rooms, reader_zone, wrong=str(error), asked=data)
    return _all(request, rooms, reader_zone, invited=data.name.strip(), invitation=_link(request, invitation))


@post("/people/invite", include_in_schema=False, status_code=200)
async def invite_again(
    request: AnyRequest, rooms: Handed, reader_zone: ReaderZone, data: Annotated[Named, FormOf]
) -> Response[str]:
    """Another invitation, as for a password that was forgotten."""
    try:
        invitation = rooms.settings.people.invite(data.name, at=rooms.clock.microseconds())
    except OnhookError as error:
        return _all(request, rooms, reader_zone, wrong=str(error))
    return _all(request, rooms, reader_zone, invited=data.name, invitation=_link(request, invitation))


@post("/people/remove", include_in_schema=False, status_code=200)
async def remove_person(
    request: AnyRequest, rooms: Handed, reader_zone: ReaderZone, data: Annotated[Named, FormOf]
) -> Response[str]:
    """Somebody is let in no more; the sessions end."""
    try:
        rooms.settings.people.remove(data.name)
    except OnhookError as error:
        return _all(request, rooms, reader_zone, wrong=str(error))
    return _all(request, rooms, reader_zone, told=f"{data.name} is let in no more.")


@post("/people/tokens", include_in_schema=False, status_code=200)
async def add_token(
    request: AnyRequest, rooms: Handed, reader_zone: ReaderZone, data: Annotated[Adding, FormOf]
) -> Response[str]:
    """A token for a program; its text is shown this once."""
    try:
        text = rooms.settings.add_token(
            data.name,
            data.role,
            at=rooms.clock.microseconds(),
            limits=limits_named(rooms.settings, [data.pbxs], [data.numbers]),
        )
    except OnhookError as error:
        return _all(request, rooms, reader_zone, wrong=str(error), asked=data)
    return _all(request, rooms, reader_zone, token_name=data.name.strip(), token=text)


@post("/people/tokens/remove", include_in_schema=False, status_code=200)
async def remove_token(
    request: AnyRequest, rooms: Handed, reader_zone: ReaderZone, data: Annotated[Named, FormOf]
) -> Response[str]:
    """A token counts no more."""
    try:
        rooms.settings.remove_token(data.name)
    except OnhookError as error:
        return _all(request, rooms, reader_zone, wrong=str(error))
    return _all(request, rooms, reader_zone, told=f"The token {data.name} counts no more.")


@post("/people/sessions/{number:int}/end", include_in_schema=False, status_code=200)
async def end_session(
    request: AnyRequest, rooms: Handed, number: SessionNumber, reader_zone: ReaderZone
) -> Response[str]:
    """A browser is signed out."""
    rooms.sessions.end_number(number)
    return _all(request, rooms, reader_zone, told="That browser is signed out.")


@get("/audit", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def audit_page(
    request: AnyRequest, rooms: Handed, reader_zone: ReaderZone, before: Before = None
) -> Response[str]:
    """Who changed what, the latest first."""
    lines = rooms.settings.audit.latest(AUDIT_SHOWN, before)
    older = lines[-1].audit_id if len(lines) == AUDIT_SHOWN else None
    return page(request, rooms, reader_zone, "audit.html", lines=lines, older=older)


ROUTES = (*(people_page, add_person, invite_again, remove_person, add_token, remove_token, end_session, audit_page),)


def _link(request: AnyRequest, invitation: str) -> str:
    return f"{request.base_url}invited?invitation={invitation}"


def _all(request: AnyRequest, rooms: Rooms, zone: ReaderZone, **told: object) -> Response[str]:
    names = {pbx.sn: pbx.name for pbx in rooms.settings.pbxs()}
    sessions = [
        (one, one.person or _token_name(rooms, one.token_text), moment(one.begun_at), moment(one.ends_at))
        for one in rooms.sessions.all(rooms.clock.microseconds())
    ]
    nothing = dict.fromkeys(("wrong", "told", "invited", "invitation", "token_name", "token"), "")
    values = {**nothing, "asked": Adding(), **told}
    return page(
        request,
        rooms,
        zone,
        "people.html",
        people=rooms.settings.people.all(),
        tokens=rooms.settings.tokens(),
        sessions=sessions,
        pbx_names=names,
        **values,
    )


def _token_name(rooms: Rooms, text: str) -> str:
    token = rooms.settings.token_for(text)
    return f"token {token.name}" if token else "a token that counts no more"
