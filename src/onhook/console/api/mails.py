"""`/api/v1/mail-settings`, `/api/v1/mail-recipients`, `/api/v1/mails`: the mail server of the installation, who gets
mails about issues, and the mails; for administrators only.
"""

from typing import Annotated

import msgspec
from litestar import delete, get, post, put
from litestar.params import BodyKwarg, PathParameter

from onhook.appdb.issue_recipients import MAILS_PER_HOUR_DEFAULT as RECIPIENT_MAILS_DEFAULT
from onhook.appdb.issue_recipients import MAILS_PER_HOUR_MAX as RECIPIENT_MAILS_MAX
from onhook.appdb.issue_recipients import TOPICS, IssueRecipient, IssueTopic
from onhook.appdb.mail_settings import (
    CERTIFICATE_CHARACTERS_MAX,
    MAILS_PER_HOUR_DEFAULT,
    MAILS_PER_HOUR_MAX,
    PORT_MAX,
    TEXT_CHARACTERS_MAX,
    MailServerTls,
    MailSettings,
)
from onhook.appdb.mails import StoredMail
from onhook.console.auth.access import FOR_ADMINISTRATORS
from onhook.console.mail_setup import put_mail_settings
from onhook.console.parameters import SEQ_MAX
from onhook.console.problem_documents import PROBLEMS
from onhook.console.state import AppStateDep
from onhook.delivery.mail_sender import MailResult
from onhook.lib.mail_addresses import ADDRESS_CHARACTERS_MAX

MAILS_LISTED = 200
"""Pending ones first, then the latest."""

MailNumber = Annotated[int, PathParameter(ge=1, le=SEQ_MAX)]
Address = Annotated[str, PathParameter(min_length=1, max_length=ADDRESS_CHARACTERS_MAX)]
Text = Annotated[str, msgspec.Meta(max_length=TEXT_CHARACTERS_MAX)]


class NewMailSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mail server to use. `starttls` requires STARTTLS, `tls` is TLS from the beginning. Port 0 is the usual one.
    Without a `password` the stored one stays, as long as server and user do.
    """

    host: Text
    port: Annotated[int, msgspec.Meta(ge=0, le=PORT_MAX)] = 0
    tls: MailServerTls = "starttls"
    user: Text = ""
    password: Text | None = None
    sender: Text
    ca_certificates: Annotated[str, msgspec.Meta(max_length=CERTIFICATE_CHARACTERS_MAX)] = ""
    allow_private: bool = False
    console_url: Text = ""
    mails_per_hour: Annotated[int, msgspec.Meta(ge=1, le=MAILS_PER_HOUR_MAX)] = MAILS_PER_HOUR_DEFAULT


class TestMail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Recipients of a test mail, separated by commas; the sender where there are none."""

    recipients: Text = ""


class RecipientInfo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who gets mails about issues of these topics, and how many an hour at most; what is beyond is in a summary."""

    address: Annotated[str, msgspec.Meta(min_length=1, max_length=ADDRESS_CHARACTERS_MAX)]
    topics: Annotated[list[IssueTopic], msgspec.Meta(min_length=1, max_length=len(TOPICS))] = msgspec.field(
        default_factory=lambda: list(TOPICS)
    )
    mails_per_hour: Annotated[int, msgspec.Meta(ge=1, le=RECIPIENT_MAILS_MAX)] = RECIPIENT_MAILS_DEFAULT


class RecipientList(msgspec.Struct, frozen=True):
    """All recipients of mails about issues, by address."""

    data: list[RecipientInfo]
    next: None = None


class MailList(msgspec.Struct, frozen=True):
    """Mails without their contents: pending ones first, then the latest."""

    data: list[StoredMail]
    next: None = None


@get("/mail-settings", opt=FOR_ADMINISTRATORS, summary="Show the mail server", tags=["mail"], responses=PROBLEMS)
async def read_mail_settings(app_state: AppStateDep) -> MailSettings:
    """Return the mail server of the installation, without its password."""
    return await app_state.appdb.mail_settings.require()


@put("/mail-settings", summary="Set the mail server", tags=["mail"], responses=PROBLEMS)
async def change_mail_settings(app_state: AppStateDep, data: Annotated[NewMailSettings, BodyKwarg()]) -> MailSettings:
    """Set all of it; what is left out has its usual value. Mails that are pending use it from now on."""
    values = msgspec.structs.asdict(data)
    password = values.pop("password")
    return await put_mail_settings(app_state.config, app_state.appdb, MailSettings(**values), password)


@delete("/mail-settings", summary="Remove the mail server", tags=["mail"], responses=PROBLEMS)
async def remove_mail_settings(app_state: AppStateDep) -> None:
    """Send nothing from now on; pending mails wait for another server, four days at most."""
    await app_state.appdb.mail_settings.remove()


@post("/mail-settings/test", summary="Send a test mail", tags=["mail"], responses=PROBLEMS, status_code=200)
async def send_test_mail(app_state: AppStateDep, data: Annotated[TestMail, BodyKwarg()]) -> MailResult:
    """Send a mail at once, and return what the server said."""
    return await app_state.actions.send_test_mail(data.recipients)


@get("/mail-recipients", opt=FOR_ADMINISTRATORS, summary="List recipients", tags=["mail"], responses=PROBLEMS)
async def list_recipients(app_state: AppStateDep) -> RecipientList:
    """List who gets mails about issues."""
    return RecipientList([_recipient_info(recipient) for recipient in await app_state.appdb.issue_recipients.all()])


@put("/mail-recipients", summary="Add or change a recipient", tags=["mail"], responses=PROBLEMS)
async def put_recipient(app_state: AppStateDep, data: Annotated[RecipientInfo, BodyKwarg()]) -> RecipientInfo:
    """Send mails about issues to an address: one when an issue begins, and one when it has ended."""
    recipient = IssueRecipient(address=data.address, topics=data.topics, mails_per_hour=data.mails_per_hour)
    return _recipient_info(await app_state.appdb.issue_recipients.put(recipient))


@delete("/mail-recipients/{address:str}", summary="Remove a recipient", tags=["mail"], responses=PROBLEMS)
async def remove_recipient(app_state: AppStateDep, address: Address) -> None:
    """Send an address no further mails about issues."""
    await app_state.appdb.issue_recipients.remove(address)


@get("/mails", opt=FOR_ADMINISTRATORS, summary="List mails", tags=["mail"], responses=PROBLEMS)
async def list_mails(app_state: AppStateDep) -> MailList:
    """List 200 mails, pending ones first, without their contents."""
    return MailList(await app_state.appdb.mails.latest(MAILS_LISTED))


@post("/mails/{number:int}/retry", summary="Try a mail now", tags=["mail"], responses=PROBLEMS, status_code=200)
async def retry_mail(app_state: AppStateDep, number: MailNumber) -> StoredMail:
    """Have a pending mail tried within seconds."""
    await app_state.appdb.mails.retry(number, now_us=app_state.clock.microseconds())
    return await app_state.appdb.mails.get(number)


@post("/mails/{number:int}/discard", summary="Discard a mail", tags=["mail"], responses=PROBLEMS, status_code=200)
async def discard_mail(app_state: AppStateDep, number: MailNumber) -> StoredMail:
    """Send a pending mail no longer."""
    await app_state.appdb.mails.discard(number, now_us=app_state.clock.microseconds())
    return await app_state.appdb.mails.get(number)


ROUTES = (
    read_mail_settings,
    change_mail_settings,
    remove_mail_settings,
    send_test_mail,
    list_recipients,
    put_recipient,
    remove_recipient,
    list_mails,
    retry_mail,
    discard_mail,
)


def _recipient_info(recipient: IssueRecipient) -> RecipientInfo:
    return RecipientInfo(
        address=recipient.address, topics=list(recipient.topics), mails_per_hour=recipient.mails_per_hour
    )
