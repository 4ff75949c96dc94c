"""`/users` and `/audit`: users, tokens, sessions, and the audit log, for administrators only.

A user is changed on a page of its own, `/users/edit`. An invitation or a token is shown once.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter, QueryParameter
from litestar.response import Redirect

from onhook.appdb import user_changes
from onhook.appdb.audit import AuditEntry
from onhook.appdb.pbxs import NAME_CHARACTERS_MAX
from onhook.appdb.permissions import Permission
from onhook.appdb.scopes import parse_scope, split_names
from onhook.appdb.sessions import Session
from onhook.appdb.tokens import Token, validate_role
from onhook.appdb.users import User
from onhook.cdr.access_scope import AccessScope
from onhook.cdr.number_masking import parse_mask
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.auth.share_tokens import parse_export_filter
from onhook.console.invitation_mails import add_invitation_mail, invitation_path
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import SEQ_MAX, ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _
from onhook.lib.timestamps import to_microseconds

AUDIT_ENTRIES_MAX = 200
"""Lines on one page."""

BeforeAuditId = Annotated[int | None, QueryParameter(ge=1, le=SEQ_MAX)]
UserNameQuery = Annotated[str, QueryParameter(min_length=1, max_length=NAME_CHARACTERS_MAX)]
SessionNumber = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]


class ScopeForm(msgspec.Struct, frozen=True):
    """Fields of a form with a scope: names and numbers are separated by commas."""

    pbxs: str = ""
    numbers: str = ""
    departments: str = ""
    sites: str = ""
    mask: str = "none"


class AccessForm(ScopeForm, frozen=True):
    """Content of the forms for a user or a token. A token is valid through the day `expires_on`. A permission
    is `yes`, or empty.
    """

    name: str = ""
    role: str = "reader"
    may_share: str = ""
    may_make_links: str = ""
    may_mail: str = ""
    is_share: bool = False
    export_filter: str = ""
    expires_on: str = ""
    email: str = ""

    @property
    def permissions(self) -> list[Permission]:
        """Return the permissions that are chosen."""
        choices: dict[Permission, str] = {
            "share": self.may_share,
            "links": self.may_make_links,
            "mail": self.may_mail,
        }
        return [name for name, text in choices.items() if text]


class ChangeUserForm(AccessForm, frozen=True):
    """Content of the form that changes a user; `user` is the name so far."""

    user: str = ""


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
    token_form: AccessForm = AccessForm()
    error: str = ""
    user_error: str = ""
    token_error: str = ""
    message: str = ""
    today: date
    invited_name: str = ""
    invitation: str = ""
    mailed_to: str = ""
    token_name: str = ""
    token: str = ""


class UserView(View, frozen=True, kw_only=True):
    """Values of the page: one user, with the values of the form, which are those entered after an error."""

    template: ClassVar = "user.html"
    user: User
    form: AccessForm
    pbx_names: Mapping[str, str]
    error: str = ""


class AuditView(View, frozen=True, kw_only=True):
    """Values of the page: the audit log, the latest first."""

    template: ClassVar = "audit.html"
    entries: Sequence[AuditEntry]
    next_before: int | None


@get("/users", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def users_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, message: Message = ""
) -> Response[str]:
    """Return the page of users, tokens and sessions."""
    return await _render_users(request, app_state, reader_zone, message=message)


@post("/users", include_in_schema=False, status_code=200)
async def add_user(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[AccessForm, FORM_BODY]
) -> Response[str]:
    """Add a user; the link of the invitation is shown this once."""
    try:
        invitation = await app_state.appdb.users.add(
            data.name,
            data.role,
            await parse_form_scope(app_state, data),
            now_us=app_state.clock.microseconds(),
            permissions=data.permissions,
            email=data.email,
        )
    except OnhookError as error:
        return await _render_users(request, app_state, reader_zone, user_error=str(error), form=data)
    return await _render_invited(request, app_state, reader_zone, data.name.strip(), invitation)


@get("/users/edit", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def user_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, name: UserNameQuery
) -> Response[str]:
    """Return the page that changes a user."""
    user = await app_state.appdb.users.get(name)
    pbx_names = await _load_pbx_names(app_state)
    return await render_page(
        request,
        app_state,
        reader_zone,
        UserView(user=user, form=_fill_form(user, pbx_names), pbx_names=pbx_names),
    )


@post("/users/edit", include_in_schema=False, status_code=200)
async def change_user(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[ChangeUserForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Change name, role, scope, mask and permissions of a user; they apply at once."""
    user = await app_state.appdb.users.get(data.user)
    try:
        changes = user_changes.UserChanges(
            name=data.name,
            role=validate_role(data.role),
            pbxs=[data.pbxs],
            numbers=[data.numbers],
            departments=split_names(data.departments),
            sites=split_names(data.sites),
            mask=parse_mask(data.mask),
            permissions=data.permissions,
            email=data.email,
        )
        user = await user_changes.change_user(app_state.appdb, user.name, changes)
    except OnhookError as error:
        pbx_names = await _load_pbx_names(app_state)
        view = UserView(user=user, form=data, pbx_names=pbx_names, error=str(error))
        return await render_page(request, app_state, reader_zone, view)
    return _redirect(_('User "{name}" changed.', name=user.name))


@post("/users/disable", include_in_schema=False, status_code=200)
async def disable_user(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[NameForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Disable a user, who cannot sign in until enabled; the sessions end."""
    try:
        await app_state.appdb.users.set_disabled(data.name, is_disabled=True)
    except UsageError as error:
        return await _render_users(request, app_state, reader_zone, error=str(error))
    return _redirect(_('User "{name}" disabled. Open sessions have ended.', name=data.name))


@post("/users/enable", include_in_schema=False, status_code=200)
async def enable_user(app_state: AppStateDep, data: Annotated[NameForm, FORM_BODY]) -> Redirect:
    """Let a disabled user sign in again, with the password as before."""
    await app_state.appdb.users.set_disabled(data.name, is_disabled=False)
    return _redirect(_('User "{name}" enabled.', name=data.name))


@post("/users/reset-factor", include_in_schema=False, status_code=200)
async def reset_second_factor(app_state: AppStateDep, data: Annotated[NameForm, FORM_BODY]) -> Redirect:
    """Remove the second factor of a user, as for a lost telephone; the sessions end."""
    user = await app_state.appdb.users.get(data.name)
    await app_state.appdb.second_factors.reset(user.name)
    return _redirect(_('Second factor of user "{name}" removed. Open sessions have ended.', name=user.name))


@post("/users/invite", include_in_schema=False, status_code=200)
async def renew_invitation(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[NameForm, FORM_BODY]
) -> Response[str]:
    """Create another invitation, as for a forgotten password."""
    try:
        invitation = await app_state.appdb.users.invite(data.name, now_us=app_state.clock.microseconds())
    except OnhookError as error:
        return await _render_users(request, app_state, reader_zone, error=str(error))
    return await _render_invited(request, app_state, reader_zone, data.name, invitation)


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
            scope=await parse_form_scope(app_state, data),
            export_filter=parse_export_filter(data.export_filter, zone=reader_zone.key, clock=app_state.clock)
            if data.is_share
            else None,
            expires_us=parse_expiry(data.expires_on, reader_zone),
        )
    except OnhookError as error:
        return await _render_users(request, app_state, reader_zone, token_error=str(error), token_form=data)
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


ROUTES = (
    *(users_page, add_user, user_page, change_user, disable_user, enable_user, renew_invitation, remove_user),
    reset_second_factor,
    *(add_token, remove_token, end_session, audit_page),
)


def parse_expiry(text: str, zone: ZoneInfo) -> int | None:
    """Return the end of a day in a zone, in microseconds since 1970; None for an empty text. Raises `UsageError`.

    >>> parse_expiry("2026-04-27", ZoneInfo("Europe/Berlin")), parse_expiry("", ZoneInfo("UTC"))
    (1777327200000000, None)
    """
    if not text.strip():
        return None
    try:
        next_day = date.fromisoformat(text.strip()) + timedelta(days=1)
        return to_microseconds(datetime(next_day.year, next_day.month, next_day.day, tzinfo=zone))
    except (ValueError, OverflowError):
        raise UsageError(
            _("{text} is not a day", text=repr(text[:40])),
            hint=_("write the last day as 2026-12-31, or leave it empty"),
        ) from None


async def parse_form_scope(app_state: AppState, form: ScopeForm) -> AccessScope | None:
    """Return the scope that a form names. Raises `UsageError`, `NotFound`."""
    departments, sites = split_names(form.departments), split_names(form.sites)
    return await parse_scope(app_state.appdb, [form.pbxs], [form.numbers], form.mask, departments, sites)


def _redirect(message: str) -> Redirect:
    return Redirect(url("/users", message=message[:MESSAGE_CHARACTERS_MAX]), status_code=303)


def _fill_form(user: User, pbx_names: Mapping[str, str]) -> AccessForm:
    """Return the form with the stored values; a PBX that was removed is shown by its serial number."""
    scope = user.scope or AccessScope()
    return AccessForm(
        name=user.name,
        role=user.role,
        pbxs=", ".join(pbx_names.get(sn, sn) for sn in scope.sns or ()),
        numbers=", ".join(scope.numbers or ()),
        departments=", ".join(scope.departments or ()),
        sites=", ".join(scope.sites or ()),
        mask=scope.mask,
        may_share="yes" if "share" in user.permissions else "",
        may_make_links="yes" if "links" in user.permissions else "",
        may_mail="yes" if "mail" in user.permissions else "",
        email=user.email,
    )


async def _load_pbx_names(app_state: AppState) -> dict[str, str]:
    return {pbx.sn: pbx.name for pbx in await app_state.appdb.pbxs()}


async def _render_invited(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, name: str, invitation: str
) -> Response[str]:
    """Return the page with the link of an invitation, which is sent by mail too where the user has an address."""
    user = await app_state.appdb.users.get(name)
    mailed_to = await add_invitation_mail(app_state.appdb, app_state.clock, user, invitation)
    link = str(request.base_url).rstrip("/") + invitation_path(invitation)
    return await _render_users(request, app_state, zone, invited_name=user.name, invitation=link, mailed_to=mailed_to)


async def _render_users(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, **extra_values: Any
) -> Response[str]:
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
            pbx_names=await _load_pbx_names(app_state),
            today=app_state.clock.now().astimezone(zone).date(),
            **extra_values,
        ),
    )
