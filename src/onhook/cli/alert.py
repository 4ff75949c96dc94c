"""`onhook alert`: by which ways users are notified of issues and alarms."""

from typing import TYPE_CHECKING, Annotated

import typer

from onhook.appdb.alert_channels import ALERT_KINDS
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, load_config
from onhook.lib.clock import SystemClock
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.messages import _
from onhook.lib.quiet_hours import QuietHours
from onhook.lib.text import UNKNOWN

if TYPE_CHECKING:
    from onhook.console import alert_changes
else:  # with the web framework, which lists need not
    alert_changes = DeferredModule("onhook.console.alert_changes")

app = CommandGroup(
    add_completion=False,
    help=_("Manage by which ways users are notified of issues."),
    epilog="Example: onhook alert list",
)

ChannelNumber = Annotated[int, typer.Argument(metavar="NUMBER", help=_("Number in `onhook alert list`"))]
UserOption = Annotated[str, typer.Option("--user", metavar="NAME", help=_("User who is notified"))]
KindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--kind",
        metavar="KIND",
        help=_("Issues to notify of: {kinds}; repeatable", kinds=", ".join(ALERT_KINDS)),
        show_default=False,
    ),
]


@app.command("list", epilog="Example: onhook alert list")
async def list_channels(data: DataOption = None) -> None:
    """List the alert channels of all users, with their quiet hours."""
    async with open_appdb(data) as appdb:
        names = await appdb.destinations.names()
        hours, pending_counts = await appdb.alert_channels.all_quiet_hours(), await appdb.alert_channels.count_pending()
        rows = [
            [
                *(str(channel.channel_id), channel.user_name),
                _("mail") if channel.destination_id is None else names.get(channel.destination_id, UNKNOWN),
                _("all") if tuple(channel.kinds) == ALERT_KINDS else ", ".join(channel.kinds),
                _describe_hours(hours.get(channel.user_name, QuietHours())),
                str(pending_counts.get(channel.channel_id, 0)),
            ]
            for channel in await appdb.alert_channels.all()
        ]
    print_table(rows, ("number", "user", "by", "kinds", "quiet hours", "pending"))


@app.command("add", epilog="Example: onhook alert add --user alice --destination pager --kind alarm_silence")
async def add(
    *,
    user: UserOption,
    destination: Annotated[
        str,
        typer.Option(
            "--destination",
            metavar="NAME",
            help=_("A destination that users choose; without it a mail to the user"),
            show_default=False,
        ),
    ] = "",
    kind: KindOption = None,
    data: DataOption = None,
) -> None:
    """Notify a user of issues, once when one begins and once when it has ended; without --kind of all."""
    async with open_appdb(data) as appdb:
        channel = await alert_changes.add_channel(appdb, user, destination, kind or ALERT_KINDS)
    print(_("Alert channel {number} added; `onhook alert test` sends a test by it.", number=channel.channel_id))


@app.command("change", epilog="Example: onhook alert change 3 --kind destination --kind alarm_silence")
async def change(number: ChannelNumber, *, kind: KindOption = None, data: DataOption = None) -> None:
    """Set the kinds of issues of a channel; without --kind all."""
    async with open_appdb(data) as appdb:
        await appdb.alert_channels.change(number, kind or ALERT_KINDS)
    print(_("Alert channel {number} changed.", number=number))


@app.command("test", epilog="Example: onhook alert test 3")
async def send_test(number: ChannelNumber, data: DataOption = None) -> None:
    """Have the server send a test by a channel, also in quiet hours."""
    async with open_appdb(data) as appdb:
        await alert_changes.send_test(appdb, SystemClock(), await appdb.alert_channels.get(number))
    print(_("A test is sent by alert channel {number} within seconds, while the server runs.", number=number))


@app.command("remove", epilog="Example: onhook alert remove 3")
async def remove(number: ChannelNumber, data: DataOption = None) -> None:
    """Notify a user by a channel no longer."""
    async with open_appdb(data) as appdb:
        await appdb.alert_channels.remove(number)
    print(_("Alert channel {number} removed.", number=number))


@app.command("quiet-hours", epilog="Example: onhook alert quiet-hours --user alice --begin 22 --end 7")
async def set_quiet_hours(
    *,
    user: UserOption,
    begin: Annotated[int, typer.Option("--begin", min=0, max=23, help=_("First hour"))],
    end: Annotated[int, typer.Option("--end", min=0, max=23, help=_("Hour at whose start they end; the first: none"))],
    in_zone: Annotated[
        str, typer.Option("--in-zone", metavar="NAME", help=_("Time zone of the hours"), show_default=False)
    ] = "",
    data: DataOption = None,
) -> None:
    """Set the hours in which a user is not notified; what falls into them is sent once afterwards."""
    zone = in_zone or load_config(data=data).zone
    async with open_appdb(data) as appdb:
        owner = await appdb.users.get(user)
        hours = await appdb.alert_channels.put_hours(owner.name, QuietHours(begin=begin, end=end, zone=zone))
    print(_("Quiet hours of {user}: {hours}.", user=owner.name, hours=_describe_hours(hours)))


def _describe_hours(hours: QuietHours) -> str:
    return _("none") if hours.begin == hours.end else f"{hours.begin:02}:00-{hours.end:02}:00 {hours.zone}"
