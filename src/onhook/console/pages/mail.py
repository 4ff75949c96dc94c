"""`/mail`: the mail server of the installation, a test of it, and the mails; for administrators only.

The password is never shown: an empty field keeps the stored one, which is sent to no other server than its own.
"""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, cast, get_args

import msgspec
from litestar import Response, get, post
from litestar.params import PathParameter
from litestar.response import Redirect

from onhook.appdb.issue_recipients import MAILS_PER_HOUR_DEFAULT as RECIPIENT_MAILS_DEFAULT
from onhook.appdb.issue_recipients import TOPICS, IssueRecipient, IssueTopic
from onhook.appdb.mail_settings import MAILS_PER_HOUR_DEFAULT, MailServerTls, MailSettings, parse_port
from onhook.appdb.mails import StoredMail
from onhook.appdb.stored_json import RowUnreadable
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.mail_setup import put_mail_settings
from onhook.console.pages.formatting import url
from onhook.console.pages.page import FORM_BODY, MESSAGE_CHARACTERS_MAX, Message, render_page
from onhook.console.pages.rendering import View
from onhook.console.parameters import SEQ_MAX, ReaderZone
from onhook.console.state import AnyRequest, AppState, AppStateDep
from onhook.delivery.mail_sender import MailResult
from onhook.lib.errors import OnhookError, UsageError
from onhook.lib.messages import _

MAILS_SHOWN = 100
"""Pending ones first, then the latest."""

DIGITS_MAX = 6
"""Of a number in the form."""

MailNumber = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]


class MailForm(msgspec.Struct, frozen=True):
    """Content of the form: an empty port is the usual one, an empty password the stored one."""

    host: str = ""
    port: str = ""
    tls: str = "starttls"
    user: str = ""
    password: str = ""
    sender: str = ""
    ca_certificates: str = ""
    allow_private: str = ""
    console_url: str = ""
    mails_per_hour: str = ""


class TestMailForm(msgspec.Struct, frozen=True):
    """Content of the form for a test: addresses, separated by commas."""

    recipients: str = ""


class RecipientForm(msgspec.Struct, frozen=True):
    """Content of the form of a recipient of mails about issues; a topic is `yes`, or empty."""

    address: str = ""
    destination: str = ""
    alarm: str = ""
    rejected: str = ""
    check: str = ""
    mails_per_hour: str = ""


class AddressForm(msgspec.Struct, frozen=True):
    """Content of the form that removes a recipient."""

    address: str = ""


class MailView(View, frozen=True, kw_only=True):
    """Values of the page: `error` is about the field `invalid_field`, or about no field."""

    template: ClassVar = "mail.html"
    settings: MailSettings | None
    form: MailForm
    mails: Sequence[StoredMail]
    pending_count: int
    issue_recipients: Sequence[IssueRecipient]
    topics: Sequence[IssueTopic] = TOPICS
    recipient_form: RecipientForm = RecipientForm(destination="yes", alarm="yes", rejected="yes", check="yes")
    recipient_error: str = ""
    message: str = ""
    error: str = ""
    invalid_field: str = ""
    test_result: MailResult | None = None
    recipients: str = ""


@get("/mail", opt=FOR_ADMINISTRATORS, include_in_schema=False)
async def mail_page(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, message: Message = ""
) -> Response[str]:
    """Return the page of the mail server and the mails."""
    return await _render(request, app_state, reader_zone, message=message)


@post("/mail", include_in_schema=False, status_code=200)
async def change_mail(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[MailForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Set the mail server."""
    try:
        await put_mail_settings(app_state.config, app_state.appdb, _parse_form(data), data.password or None)
    except UsageError as error:
        form = msgspec.structs.replace(data, password="")
        return await _render(request, app_state, reader_zone, form=form, error=str(error), invalid_field=error.location)
    return _redirect(_("Mail server saved. Send a test mail to check it."))


@post("/mail/remove", include_in_schema=False, status_code=200)
async def remove_mail(app_state: AppStateDep) -> Redirect:
    """Remove the mail server."""
    await app_state.appdb.mail_settings.remove()
    return _redirect(_("Mail server removed. Nothing is sent."))


@post("/mail/test", include_in_schema=False, status_code=200)
async def send_test_mail(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[TestMailForm, FORM_BODY]
) -> Response[str]:
    """Send a test mail at once, and show what the server said."""
    try:
        result = await app_state.actions.send_test_mail(data.recipients)
    except OnhookError as error:
        return await _render(request, app_state, reader_zone, error=str(error), recipients=data.recipients)
    return await _render(request, app_state, reader_zone, test_result=result, recipients=data.recipients)


@post("/mail/recipients", include_in_schema=False, status_code=200)
async def put_recipient(
    request: AnyRequest, app_state: AppStateDep, reader_zone: ReaderZone, data: Annotated[RecipientForm, FORM_BODY]
) -> Response[str] | Redirect:
    """Add a recipient of mails about issues, or change the one with this address."""
    try:
        per_hour = _parse_count(data.mails_per_hour, RECIPIENT_MAILS_DEFAULT)
        topics = tuple(topic for topic in TOPICS if getattr(data, topic))
        recipient = IssueRecipient(address=data.address, topics=topics, mails_per_hour=per_hour)
        recipient = await app_state.appdb.issue_recipients.put(recipient)
    except UsageError as error:
        return await _render(request, app_state, reader_zone, recipient_form=data, recipient_error=str(error))
    return _redirect(_("{address} gets mails about issues.", address=recipient.address))


@post("/mail/recipients/remove", include_in_schema=False, status_code=200)
async def remove_recipient(app_state: AppStateDep, data: Annotated[AddressForm, FORM_BODY]) -> Redirect:
    """Remove a recipient of mails about issues."""
    await app_state.appdb.issue_recipients.remove(data.address)
    return _redirect(_("{address} gets no further mails about issues.", address=data.address))


@post("/mail/{number:int}/retry", include_in_schema=False, status_code=200)
async def retry_mail(app_state: AppStateDep, number: MailNumber) -> Redirect:
    """Have a pending mail tried now."""
    await app_state.appdb.mails.retry(number, now_us=app_state.clock.microseconds())
    return _redirect(_("The mail is tried within seconds."))


@post("/mail/{number:int}/discard", include_in_schema=False, status_code=200)
async def discard_mail(app_state: AppStateDep, number: MailNumber) -> Redirect:
    """Send a pending mail no longer."""
    await app_state.appdb.mails.discard(number, now_us=app_state.clock.microseconds())
    return _redirect(_("Mail discarded."))


ROUTES: tuple[Any, ...] = (
    mail_page,
    change_mail,
    remove_mail,
    send_test_mail,
    put_recipient,
    remove_recipient,
    retry_mail,
    discard_mail,
)


def _parse_form(form: MailForm) -> MailSettings:
    """Return the settings of a form. Raises `UsageError`."""
    if form.tls not in get_args(MailServerTls):
        raise UsageError(_("choose a kind of TLS"), location="tls")
    return MailSettings(
        host=form.host,
        port=parse_port(form.port),
        tls=cast("MailServerTls", form.tls),
        user=form.user,
        sender=form.sender,
        ca_certificates=form.ca_certificates,
        allow_private=bool(form.allow_private),
        console_url=form.console_url,
        mails_per_hour=_parse_count(form.mails_per_hour, MAILS_PER_HOUR_DEFAULT),
    )


def _parse_count(text: str, default: int) -> int:
    """Return the number of mails of a text, the default of an empty one. Raises `UsageError`."""
    text = text.strip() or str(default)
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise UsageError(_("{text} is not a number of mails", text=repr(text[:20])), location="mails_per_hour")
    return int(text)


def _redirect(message: str) -> Redirect:
    return Redirect(url("/mail", message=message[:MESSAGE_CHARACTERS_MAX]), status_code=303)


async def _render(
    request: AnyRequest, app_state: AppState, zone: ReaderZone, *, form: MailForm | None = None, **values: Any
) -> Response[str]:
    try:
        settings = await app_state.appdb.mail_settings.get()
    except RowUnreadable as error:  # it can be entered again
        settings, values = None, {"error": str(error), **values}
    view = MailView(
        settings=settings,
        form=form or _fill_form(settings, str(request.base_url).rstrip("/")),
        mails=await app_state.appdb.mails.latest(MAILS_SHOWN),
        issue_recipients=await app_state.appdb.issue_recipients.all(),
        pending_count=(await app_state.appdb.mails.backlog()).pending,
        **values,
    )
    return await render_page(request, app_state, zone, view)


def _fill_form(settings: MailSettings | None, console_url: str) -> MailForm:
    """Return the form with the stored settings; at first with the address by which this page was asked for."""
    if settings is None:
        return MailForm(console_url=console_url, mails_per_hour=str(MAILS_PER_HOUR_DEFAULT))
    return MailForm(
        host=settings.host,
        port=str(settings.port),
        tls=settings.tls,
        user=settings.user,
        sender=settings.sender,
        ca_certificates=settings.ca_certificates,
        allow_private="yes" if settings.allow_private else "",
        console_url=settings.console_url,
        mails_per_hour=str(settings.mails_per_hour),
    )
