"""`/people` and `/audit`: who may sign in and with which tokens, who is signed in, and who changed what. Administrators
alone see them.
"""

from typing import Annotated

import msgspec
from litestar import Response, get, post
from litestar.enums import RequestEncodingType
from litestar.params import BodyKwarg, PathParameter, QueryParameter

from onhook.appdb.scopes import parse_scope
from onhook.console.api.records import SEQ_MAX
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.pages.page import AnyRequest, render_page
from onhook.console.parameters import ReaderZone
from onhook.console.state import AppState, AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.timestamps import to_datetime

AUDIT_ENTRIES_MAX = 200
"""Lines on one page."""

FORM_BODY = BodyKwarg(media_type=RequestEncodingType.URL_ENCODED)
BeforeAuditId = Annotated[int | None, QueryParameter(ge=1, le=SEQ_MAX)]
SessionNumber = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]


class AccessForm(msgspec.Struct, frozen=True):
    """What the forms for a person or a token send; `pbxs` and `numbers` are joined by commas."""

    name: str = ""
    role: str = "reader"
    pbxs: str = ""
    numbers: str = ""


class NameForm(msgspec.Struct, frozen=True):
    """What a button beside a name sends."""

    name: str = ""


@get("/people", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def users_page(request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """People, tokens and sessions."""
    return _render_users(request, rooms, reader_zone)


@post("/people", include_in_schema=False, status_code=200)
async def add_user(
    request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone, data: Annotated[AccessForm, FORM_BODY]
) -> Response[str]:
    """Somebody new; the link of the invitation is shown this once."""
    try:
        invitation = rooms.settings.people.add(
            data.name,
            data.role,
            parse_scope(rooms.settings, [data.pbxs], [data.numbers]),
            at=rooms.clock.microseconds(),
        )
    except OnhookError as error:
        return _render_users(request, rooms, reader_zone, wrong=str(error), asked=data)
    return _render_users(
        request, rooms, reader_zone, invited=data.name.strip(), invitation=_invitation_url(request, invitation)
    )


@post("/people/invite", include_in_schema=False, status_code=200)
async def renew_invitation(
    request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone, data: Annotated[NameForm, FORM_BODY]
) -> Response[str]:
    """Another invitation, as for a password that was forgotten."""
    try:
        invitation = rooms.settings.people.invite(data.name, at=rooms.clock.microseconds())
    except OnhookError as error:
        return _render_users(request, rooms, reader_zone, wrong=str(error))
    return _render_users(
        request, rooms, reader_zone, invited=data.name, invitation=_invitation_url(request, invitation)
    )


@post("/people/remove", include_in_schema=False, status_code=200)
async def remove_user(
    request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone, data: Annotated[NameForm, FORM_BODY]
) -> Response[str]:
    """Somebody is let in no more; the sessions end."""
    try:
        rooms.settings.people.remove(data.name)
    except OnhookError as error:
        return _render_users(request, rooms, reader_zone, wrong=str(error))
    return _render_users(request, rooms, reader_zone, told=f"{data.name} is let in no more.")


@post("/people/tokens", include_in_schema=False, status_code=200)
async def add_token(
    request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone, data: Annotated[AccessForm, FORM_BODY]
) -> Response[str]:
    """A token for a program; its text is shown this once."""
    try:
        text = rooms.settings.add_token(
            data.name,
            data.role,
            at=rooms.clock.microseconds(),
            limits=parse_scope(rooms.settings, [data.pbxs], [data.numbers]),
        )
    except OnhookError as error:
        return _render_users(request, rooms, reader_zone, wrong=str(error), asked=data)
    return _render_users(request, rooms, reader_zone, token_name=data.name.strip(), token=text)


@post("/people/tokens/remove", include_in_schema=False, status_code=200)
async def remove_token(
    request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone, data: Annotated[NameForm, FORM_BODY]
) -> Response[str]:
    """A token counts no more."""
    try:
        rooms.settings.remove_token(data.name)
    except OnhookError as error:
        return _render_users(request, rooms, reader_zone, wrong=str(error))
    return _render_users(request, rooms, reader_zone, told=f"The token {data.name} counts no more.")


@post("/people/sessions/{number:int}/end", include_in_schema=False, status_code=200)
async def end_session(
    request: AnyRequest, rooms: AppStateDep, number: SessionNumber, reader_zone: ReaderZone
) -> Response[str]:
    """A browser is signed out."""
    rooms.sessions.end_number(number)
    return _render_users(request, rooms, reader_zone, told="That browser is signed out.")


@get("/audit", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def audit_page(
    request: AnyRequest, rooms: AppStateDep, reader_zone: ReaderZone, before: BeforeAuditId = None
) -> Response[str]:
    """Who changed what, the latest first."""
    entries = rooms.settings.audit.latest(AUDIT_ENTRIES_MAX, before)
    next_before = entries[-1].audit_id if len(entries) == AUDIT_ENTRIES_MAX else None
    return render_page(request, rooms, reader_zone, "audit.html", lines=entries, older=next_before)


ROUTES = (*(users_page, add_user, renew_invitation, remove_user, add_token, remove_token, end_session, audit_page),)


def _invitation_url(request: AnyRequest, invitation: str) -> str:
    return f"{request.base_url}invited?invitation={invitation}"


def _render_users(request: AnyRequest, rooms: AppState, zone: ReaderZone, **told: object) -> Response[str]:
    pbx_names = {pbx.sn: pbx.name for pbx in rooms.settings.pbxs()}
    sessions = [
        (
            session,
            session.person or _token_name(rooms, session.token_text),
            to_datetime(session.begun_at),
            to_datetime(session.ends_at),
        )
        for session in rooms.sessions.all(rooms.clock.microseconds())
    ]
    defaults = dict.fromkeys(("wrong", "told", "invited", "invitation", "token_name", "token"), "")
    values = {**defaults, "asked": AccessForm(), **told}
    return render_page(
        request,
        rooms,
        zone,
        "people.html",
        people=rooms.settings.people.all(),
        tokens=rooms.settings.tokens(),
        sessions=sessions,
        pbx_names=pbx_names,
        **values,
    )


def _token_name(rooms: AppState, text: str) -> str:
    token = rooms.settings.token_for(text)
    return f"token {token.name}" if token else "a token that counts no more"
