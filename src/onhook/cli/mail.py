"""`onhook mail`: the mail server of the installation, and the mails."""

from pathlib import Path
from typing import Annotated

import typer

from onhook.appdb.issue_recipients import MAILS_PER_HOUR_DEFAULT as RECIPIENT_MAILS_DEFAULT
from onhook.appdb.issue_recipients import TOPICS, IssueRecipient, parse_topics
from onhook.appdb.mail_settings import MAILS_PER_HOUR_DEFAULT, TEXT_CHARACTERS_MAX, MailServerTls, MailSettings
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import format_optional_time, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_config, load_reader_zone
from onhook.cli.pbx_secrets import read_secret_file
from onhook.console.mail_setup import put_mail_settings
from onhook.delivery.mail_sender import send_test_mail
from onhook.lib.clock import SystemClock
from onhook.lib.errors import Unavailable, UsageError
from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN

MAILS_LISTED = 200
"""Pending ones first, then the latest."""

app = CommandGroup(
    add_completion=False, help=_("Manage the mail server and the mails."), epilog="Example: onhook mail test"
)

MailNumber = Annotated[int, typer.Argument(metavar="NUMBER", help=_("Number in `onhook mail list`"))]


@app.command(
    "set",
    epilog="Example: onhook mail set mail.example.com --user onhook --password-file - --from calls@example.com",
)
async def set_server(
    host: Annotated[str, typer.Argument(metavar="HOST", help=_("Name or address of the mail server"))],
    *,
    sender: Annotated[str, typer.Option("--from", metavar="ADDRESS", help=_("Sender, as ADDRESS or Name <ADDRESS>"))],
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help=_("Port; 0 is the usual one"))] = 0,
    tls: Annotated[
        MailServerTls, typer.Option("--tls", help=_("starttls, tls from the beginning, or off"))
    ] = "starttls",
    user: Annotated[str, typer.Option("--user", metavar="NAME", help=_("User; without one there is no login"))] = "",
    password: Annotated[
        str | None,
        typer.Option("--password", metavar="TEXT", help=_("Password; the stored one stays"), show_default=False),
    ] = None,
    password_file: Annotated[
        str | None,
        typer.Option(
            "--password-file", metavar="FILE", help=_("File with the password; - is standard input"), show_default=False
        ),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option("--ca-file", metavar="FILE", help=_("Authority of its certificate, in PEM"), show_default=False),
    ] = None,
    allow_private: Annotated[bool, typer.Option("--allow-private", help=_("Allow a private address"))] = False,
    console_url: Annotated[
        str, typer.Option("--console-url", metavar="URL", help=_("Address of the console, for links in mails"))
    ] = "",
    mails_per_hour: Annotated[
        int, typer.Option("--mails-per-hour", metavar="N", help=_("Mails an hour at most"))
    ] = MAILS_PER_HOUR_DEFAULT,
    data: DataOption = None,
) -> None:
    """Set the mail server, by which all mails are sent that are not those of a destination."""
    settings = MailSettings(
        host=host,
        port=port,
        tls=tls,
        user=user,
        sender=sender,
        ca_certificates=_read_certificates(ca_file),
        allow_private=allow_private,
        console_url=console_url,
        mails_per_hour=mails_per_hour,
    )
    if password is not None and password_file is not None:
        raise UsageError(_("the password is given twice"), hint=_("leave one of both out"))
    if password_file is not None:
        password = read_secret_file(password_file, TEXT_CHARACTERS_MAX)
    config = load_config(data=data)
    async with open_appdb(data, create=True) as appdb:
        await put_mail_settings(config, appdb, settings, password)
    print(_("Mail server saved; `onhook mail test` sends a test mail."))


@app.command("show", epilog="Example: onhook mail show")
async def show(data: DataOption = None) -> None:
    """Show the mail server, without its password."""
    async with open_appdb(data) as appdb:
        settings = await appdb.mail_settings.require()
    rows = [
        (_("server"), f"{settings.host}:{settings.port}"),
        (_("TLS"), settings.tls),
        (_("user"), settings.user or UNKNOWN),
        (_("sender"), settings.sender),
        (_("console"), settings.console_url or UNKNOWN),
        (_("mails an hour"), str(settings.mails_per_hour)),
        (_("private address"), _("allowed") if settings.allow_private else _("not allowed")),
    ]
    print_table(rows, ("setting", "value"))


@app.command("remove", epilog="Example: onhook mail remove")
async def remove(data: DataOption = None) -> None:
    """Remove the mail server: nothing is sent."""
    async with open_appdb(data) as appdb:
        await appdb.mail_settings.remove()
    print(_("Mail server removed."))


@app.command("test", epilog="Example: onhook mail test ann@example.com")
async def send_test(
    recipients: Annotated[
        str, typer.Argument(metavar="ADDRESSES", help=_("Recipients, separated by commas; the sender by default"))
    ] = "",
    data: DataOption = None,
) -> None:
    """Send a test mail at once, and print what the server said."""
    config = load_config(data=data)
    async with open_appdb(data) as appdb:
        result = await send_test_mail(config, appdb, SystemClock(), recipients)
    if result.outcome != "sent":
        raise Unavailable(_("the test mail was not sent: {detail}", detail=result.detail))
    print(_("Test mail accepted: {detail}", detail=result.detail))


@app.command("notify", epilog="Example: onhook mail notify ops@example.com --of destination --of check")
async def notify(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help=_("Recipient to add or change; without one all are listed"))
    ] = "",
    *,
    of: Annotated[
        list[str] | None,
        typer.Option(
            "--of", metavar="TOPIC", help=_("destination, alarm, rejected or check; repeatable; all by default")
        ),
    ] = None,
    mails_per_hour: Annotated[
        int, typer.Option("--mails-per-hour", metavar="N", help=_("Mails an hour at most"))
    ] = RECIPIENT_MAILS_DEFAULT,
    is_removed: Annotated[bool, typer.Option("--remove", help=_("Send no further mails about issues"))] = False,
    data: DataOption = None,
) -> None:
    """Send mails about issues to an address: when one begins, and when it has ended."""
    if is_removed and not address:
        raise UsageError(_("the address is missing"), hint=_("name the recipient to remove"))
    async with open_appdb(data) as appdb:
        if is_removed:
            await appdb.issue_recipients.remove(address)
        elif address:
            topics = parse_topics(of) if of else TOPICS
            await appdb.issue_recipients.put(
                IssueRecipient(address=address, topics=topics, mails_per_hour=mails_per_hour)
            )
        rows = [
            (recipient.address, ", ".join(recipient.topics), str(recipient.mails_per_hour))
            for recipient in await appdb.issue_recipients.all()
        ]
    print_table(rows, ("recipient", "of", "mails an hour"))


@app.command("list", epilog="Example: onhook mail list")
async def list_mails(zone: ZoneOption = None, data: DataOption = None) -> None:
    """List 200 mails, pending ones first, then the latest."""
    reader_zone = load_reader_zone(data, zone)
    async with open_appdb(data) as appdb:
        rows = [
            [
                *(str(mail.mail_id), format_optional_time(mail.created_at, reader_zone), mail.recipient, mail.subject),
                *(mail.state, str(mail.attempts), mail.detail),
            ]
            for mail in await appdb.mails.latest(MAILS_LISTED)
        ]
    print_table(rows, ("number", "added", "recipient", "subject", "state", "attempts", "last answer"))


@app.command("retry", epilog="Example: onhook mail retry 7")
async def retry(number: MailNumber, data: DataOption = None) -> None:
    """Have the server try a pending mail now."""
    async with open_appdb(data) as appdb:
        await appdb.mails.retry(number, now_us=SystemClock().microseconds())
    print(_("Mail {number} is tried within seconds, while the server runs.", number=number))


@app.command("discard", epilog="Example: onhook mail discard 7")
async def discard(number: MailNumber, data: DataOption = None) -> None:
    """Send a pending mail no longer."""
    async with open_appdb(data) as appdb:
        await appdb.mails.discard(number, now_us=SystemClock().microseconds())
    print(_("Mail {number} discarded.", number=number))


def _read_certificates(file: Path | None) -> str:
    try:
        return "" if file is None else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(_("cannot read the certificates: {error}", error=error), location=str(file)) from error
