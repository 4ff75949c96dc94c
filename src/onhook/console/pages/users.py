"""`/users` and `/audit`: users, tokens, sessions, and the audit log, for administrators only."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter

from onhook.appdb.audit import AuditEntry
from onhook.appdb.scopes import parse_scope
from onhook.appdb.sessions import Session
from onhook.appdb.tokens import Token
from onhook.appdb.users import User
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.auth.share_tokens import parse_export_filter
from onhook.console.pages.page import FORM_BODY, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import SEQ_MAX, ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError
from onhook.lib.messages import _

AUDIT_ENTRIES_MAX = 200
"""Lines on one page."""

BeforeAuditId = Annotated[int | None, QueryParameter(ge=1, le=SEQ_MAX)]
SessionNumber = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]


class AccessForm(msgspec.Struct, frozen=True):
    """Content of the forms for a user or a token; `pbxs` and `numbers` are separated by commas."""

    name: str = ""
    role: str = "reader"
    pbxs: str = ""
    numbers: str = ""
    mask: str = "none"
    is_share: bool = False
    export_filter: str = ""


class NameForm(msgspec.Struct, frozen=True):
    """Content of a form with a name only."""

    name: str = ""


class UsersView(View, frozen=True, kw_only=True):
    """Values of the page: users, tokens and sessions; a new invitation or token is shown once."""

    template: ClassVar = "users.html"
    users: Sequence[User]
    tokens: Sequence[Token]
    sessions: Sequence[tuple[Session, str]]
    pbx_names: Mapping[str, str]
    form: AccessForm = AccessForm()
    error: str = ""
    message: str = ""
    invited_name: str = ""
    invitation: str = ""
    token_name: str = ""
    token: str = ""


class AuditView(View, frozen=True, kw_only=True):
    """Values of the page: the audit log, the latest first."""

    template: ClassVar = "audit.html"
    entries: Sequence[AuditEntry]
    next_before: int | None


@get("/users", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def users_page(request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone) -> Response[str]:
    """Return the page of users, tokens and sessions."""
    return await _render_users(request, app_state, reader_zone)


@post("/users", include_in_schema=False, status_code=200)
async def add_user(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[AccessForm, FORM_BODY]
) -> Response[str]:
    """Add a user; the link of the invitation is shown this once."""
    try:
        invitation = await app_state.appdb.users.add(
            data.name,
            data.role,
            await parse_scope(app_state.appdb, [data.pbxs], [data.numbers], data.mask),
            now_us=app_state.clock.microseconds(),
        )
    except OnhookError as error:
        return await _render_users(request, app_state, reader_zone, error=str(error), form=data)
    return await _render_users(
        request, app_state, reader_zone, invited_name=data.name.strip(), invitation=_invitation_url(request, invitation)
    )


@post("/users/invite", include_in_schema=False, status_code=200)
async def renew_invitation(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[NameForm, FORM_BODY]
) -> Response[str]:
    """Create another invitation, as for a forgotten password."""
    try:
        invitation = await app_state.appdb.users.invite(data.name, now_us=app_state.clock.microseconds())
    except OnhookError as error:
        return await _render_users(request, app_state, reader_zone, error=str(error))
    return await _render_users(
        request, app_state, reader_zone, invited_name=data.name, invitation=_invitation_url(request, invitation)
    )


@post("/users/remove", include_in_schema=False, status_code=200)
async def remove_user(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[NameForm, FORM_BODY]
) -> Response[str]:
    """Remove a user; the sessions end."""
    try:
        await app_state.appdb.users.remove(data.name)
    except OnhookError as error:
        return await _render_users(request, app_state, reader_zone, error=str(error))
    return await _render_users(request, app_state, reader_zone, message=_('User "{name}" removed.', name=data.name))


@post("/users/tokens", include_in_schema=False, status_code=200)
async def add_token(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[AccessForm, FORM_BODY]
) -> Response[str]:
    """Add a token for a program; its text is shown this once."""
    try:
        text = await app_state.appdb.tokens.add(
            data.name,
            data.role,
            now_us=app_state.clock.microseconds(),
            scope=await parse_scope(app_state.appdb, [data.pbxs], [data.numbers], data.mask),
            export_filter=parse_export_filter(data.export_filter, zone=reader_zone.key, clock=app_state.clock)
            if data.is_share
            else None,
        )
    except OnhookError as error:
        return await _render_users(request, app_state, reader_zone, error=str(error), form=data)
    return await _render_users(request, app_state, reader_zone, token_name=data.name.strip(), token=text)


@post("/users/tokens/remove", include_in_schema=False, status_code=200)
async def remove_token(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[NameForm, FORM_BODY]
) -> Response[str]:
    """Remove a token."""
    try:
        await app_state.appdb.tokens.remove(data.name)
    except OnhookError as error:
        return await _render_users(request, app_state, reader_zone, error=str(error))
    return await _render_users(request, app_state, reader_zone, message=_('Token "{name}" revoked.', name=data.name))


@post("/users/sessions/{number:int}/end", include_in_schema=False, status_code=200)
async def end_session(
    request: AnyRequest, app_state: AppStateDep, number: SessionNumber, reader_zone: ReaderZone
) -> Response[str]:
    """Sign a browser out."""
    await app_state.appdb.sessions.end_by_number(number)
    return await _render_users(request, app_state, reader_zone, message=_("Browser signed out."))


@get("/audit", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def audit_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, before: BeforeAuditId = None
) -> Response[str]:
    """Return the page of the audit log, the latest first."""
    entries = await app_state.appdb.audit.latest(AUDIT_ENTRIES_MAX, before)
    next_before = entries[-1].audit_id if len(entries) == AUDIT_ENTRIES_MAX else None
    return await render_page(request, app_state, reader_zone, AuditView(entries=entries, next_before=next_before))


ROUTES = (*(users_page, add_user, renew_invitation, remove_user, add_token, remove_token, end_session, audit_page),)


def _invitation_url(request: AnyRequest, invitation: str) -> str:
    return f"{request.base_url}invitation?invitation={invitation}"


async def _render_users(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, **extra_values: Any
) -> Response[str]:
    pbx_names = {pbx.sn: pbx.name for pbx in await app_state.appdb.pbxs()}
    sessions = [
        (session, session.user_name or _("token {name}", name=session.token_name))
        for session in await app_state.appdb.sessions.all(app_state.clock.microseconds())
    ]
    return await render_page(
        request,
        app_state,
        zone,
        UsersView(
            users=await app_state.appdb.users.all(),
            tokens=await app_state.appdb.tokens.all(),
            sessions=sessions,
            pbx_names=pbx_names,
            **extra_values,
        ),
    )
