"""`onhook report-schedule`: reports that are mailed at times that come again."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from onhook.appdb.report_spec import FILE_FORMATS, FileFormat, ReportSpec
from onhook.cli.commands import CommandGroup
from onhook.cli.formats import format_optional_time, print_table
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, ZoneOption, load_config, load_reader_zone
from onhook.lib.clock import SystemClock
from onhook.lib.deferred_module import DeferredModule
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.lib.recurrence import Frequency
from onhook.lib.text import UNKNOWN

if TYPE_CHECKING:
    from onhook.console.report_mails import changes, mails
else:  # with all reports and the web framework, which lists need not
    changes = DeferredModule("onhook.console.report_mails.changes")
    mails = DeferredModule("onhook.console.report_mails.mails")

app = CommandGroup(
    add_completion=False,
    help=_("Manage reports that are mailed regularly."),
    epilog="Example: onhook report-schedule list",
)

ScheduleNumber = Annotated[int, typer.Argument(metavar="NUMBER", help=_("Number in `onhook report-schedule list`"))]
NameOption = Annotated[
    str | None, typer.Option("--name", metavar="TEXT", help=_("Name, the subject of the mails"), show_default=False)
]
ReportOption = Annotated[
    str | None,
    typer.Option(
        "--report",
        metavar="NAME",
        help=_("A report of the page Reports such as queues, or calls, or missed-digest"),
        show_default=False,
    ),
]
FilterOption = Annotated[
    str | None,
    typer.Option("--filter", metavar="QUERY", help=_("Filters such as 'pbx=Office&type=inbound'"), show_default=False),
]
EveryOption = Annotated[
    Frequency | None, typer.Option("--every", help=_("daily, weekly or monthly"), show_default=False)
]
WeekdayOption = Annotated[
    int | None,
    typer.Option("--weekday", min=1, max=7, help=_("Day of a weekly report, 1 is Monday"), show_default=False),
]
DayOption = Annotated[
    int | None, typer.Option("--day", min=1, max=31, help=_("Day of a monthly report"), show_default=False)
]
HourOption = Annotated[int | None, typer.Option("--hour", min=0, max=23, help=_("Hour"), show_default=False)]
OwnZoneOption = Annotated[
    str | None,
    typer.Option("--in-zone", metavar="NAME", help=_("Time zone of the hour and of the days"), show_default=False),
]
ToOption = Annotated[
    list[str] | None,
    typer.Option("--to", metavar="ADDRESS", help=_("Another address; repeatable; '' for none"), show_default=False),
]
ToUserOption = Annotated[
    bool | None, typer.Option("--to-user/--not-to-user", help=_("Also to the user"), show_default=False)
]
FileOption = Annotated[
    list[str] | None,
    typer.Option(
        "--file",
        metavar="FORMAT",
        help=_("{formats}; repeatable; '' for none", formats=", ".join(FILE_FORMATS)),
        show_default=False,
    ),
]


class SpecChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What options say; None leaves a value as it is."""

    report: str | None
    query: str | None
    every: Frequency | None
    weekday: int | None
    day: int | None
    hour: int | None
    in_zone: str | None
    to: list[str] | None
    to_user: bool | None
    file: list[str] | None

    def apply(self, spec: ReportSpec) -> ReportSpec:
        """Return a spec with these values. Raises `UsageError`."""
        times = {
            "frequency": self.every,
            "weekday": self.weekday,
            "day": self.day,
            "hour": self.hour,
            "zone": self.in_zone,
        }
        values = {
            "report": self.report,
            "query": self.query,
            "recurrence": msgspec.structs.replace(spec.recurrence, **_given(times)),
            "to_user": self.to_user,
            "addresses": None if self.to is None else tuple(text for text in self.to if text),
            "files": None if self.file is None else _parse_files(self.file),
        }
        return msgspec.structs.replace(spec, **_given(values))


@app.command(
    "add", epilog="Example: onhook report-schedule add --user alice --report queues --every weekly --hour 7 --file xlsx"
)
async def add(
    *,
    user: Annotated[str, typer.Option("--user", metavar="NAME", help=_("User whose report it is"))],
    report: ReportOption = "missed-digest",
    name: NameOption = None,
    query: FilterOption = "",
    every: EveryOption = "daily",
    weekday: WeekdayOption = 1,
    day: DayOption = 1,
    hour: HourOption = 7,
    in_zone: OwnZoneOption = None,
    to: ToOption = None,
    to_user: ToUserOption = True,
    file: FileOption = None,
    data: DataOption = None,
) -> None:
    """Mail a report regularly, with the calls that its user may see when it is sent."""
    spec_changes = SpecChanges(
        report=report, query=query, every=every, weekday=weekday, day=day, hour=hour,
        in_zone=in_zone or load_config(data=data).zone, to=to, to_user=to_user, file=file,
    )  # fmt: skip
    spec = spec_changes.apply(ReportSpec(report=""))
    async with open_appdb(data) as appdb:
        schedule = await changes.add_schedule(appdb, SystemClock(), user, name or spec.report, spec)
    print(
        _(
            "Scheduled as number {number}: {times}.",
            number=schedule.schedule_id,
            times=mails.describe_recurrence(schedule.spec.recurrence),
        )
    )


@app.command("change", epilog="Example: onhook report-schedule change 3 --hour 8 --to boss@example.com")
async def change(
    number: ScheduleNumber,
    *,
    name: NameOption = None,
    report: ReportOption = None,
    query: FilterOption = None,
    every: EveryOption = None,
    weekday: WeekdayOption = None,
    day: DayOption = None,
    hour: HourOption = None,
    in_zone: OwnZoneOption = None,
    to: ToOption = None,
    to_user: ToUserOption = None,
    file: FileOption = None,
    data: DataOption = None,
) -> None:
    """Change a scheduled report; what is left out stays."""
    spec_changes = SpecChanges(
        report=report, query=query, every=every, weekday=weekday, day=day, hour=hour, in_zone=in_zone, to=to,
        to_user=to_user, file=file,
    )  # fmt: skip
    async with open_appdb(data) as appdb:
        schedule = await appdb.report_schedules.get(number)
        new_name = schedule.name if name is None else name
        await changes.change_schedule(appdb, SystemClock(), number, new_name, spec_changes.apply(schedule.spec))
    print(_("Scheduled report {number} changed.", number=number))


@app.command("list", epilog="Example: onhook report-schedule list")
async def list_schedules(zone: ZoneOption = None, data: DataOption = None) -> None:
    """List the scheduled reports of all users, with the results of their last runs."""
    reader_zone = load_reader_zone(data, zone)
    async with open_appdb(data) as appdb:
        rows = []
        for schedule in await appdb.report_schedules.all():
            spec = schedule.spec
            recipients = [*([schedule.user_name] if spec.to_user else []), *spec.addresses]
            next_at = _("paused") if schedule.is_paused else format_optional_time(schedule.next_at, reader_zone)
            rows.append(
                [
                    *(str(schedule.schedule_id), schedule.name, schedule.user_name, spec.report, spec.query),
                    *(spec.recurrence.frequency, ", ".join(recipients), next_at),
                    *(format_optional_time(schedule.ran_at, reader_zone), schedule.outcome, schedule.detail or UNKNOWN),
                ]
            )
    titles = ("number", "name", "user", "report", "filters", "every", "to", "next", "last run", "result", "detail")
    print_table(rows, titles)


@app.command("pause", epilog="Example: onhook report-schedule pause 3")
async def pause(number: ScheduleNumber, data: DataOption = None) -> None:
    """Send a report no longer until it is resumed."""
    async with open_appdb(data) as appdb:
        await appdb.report_schedules.set_paused(number, is_paused=True, now_us=SystemClock().microseconds())
    print(_("Scheduled report {number} paused.", number=number))


@app.command("resume", epilog="Example: onhook report-schedule resume 3")
async def resume(number: ScheduleNumber, data: DataOption = None) -> None:
    """Send a report again, from its next time on."""
    async with open_appdb(data) as appdb:
        await appdb.report_schedules.set_paused(number, is_paused=False, now_us=SystemClock().microseconds())
    print(_("Scheduled report {number} resumed.", number=number))


@app.command("test", epilog="Example: onhook report-schedule test 3")
async def send_test(number: ScheduleNumber, data: DataOption = None) -> None:
    """Have the server send a report now: to the user alone, where the user has an address."""
    async with open_appdb(data) as appdb:
        await appdb.report_schedules.request_test(number, now_us=SystemClock().microseconds())
    print(_("Scheduled report {number} is sent within seconds, while the server runs.", number=number))


@app.command("remove", epilog="Example: onhook report-schedule remove 3")
async def remove(number: ScheduleNumber, data: DataOption = None) -> None:
    """Remove a scheduled report."""
    async with open_appdb(data) as appdb:
        await appdb.report_schedules.remove(number)
    print(_("Scheduled report {number} removed.", number=number))


def _given(values: Mapping[str, object]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _parse_files(texts: Iterable[str]) -> tuple[FileFormat, ...]:
    """Return the formats of files, each once. Raises `UsageError`."""
    names = [text for text in texts if text]
    unknown = [name for name in names if name not in FILE_FORMATS]
    if unknown:
        raise UsageError(
            _("there is no file format {name}", name=repr(unknown[0][:20])),
            location="--file",
            hint=_("use {names}", names=" or ".join(FILE_FORMATS)),
        )
    return tuple(name for name in FILE_FORMATS if name in names)
