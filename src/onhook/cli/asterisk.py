"""`onhook asterisk`: the Asterisks that we connect to, what is wrong with them, and the gaps in what we heard."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from onhook.cdr.filter import Filter, parse_moment
from onhook.cdr.offset import zone_named
from onhook.cli.formats import UNKNOWN, printable, show_table
from onhook.cli.options import DataOption, ZoneOption, configured
from onhook.cli.settings import open_settings
from onhook.clock import SystemClock
from onhook.config import Config
from onhook.errors import UsageError
from onhook.hub.asterisk_backfill import Filled, Source, back_fill
from onhook.hub.asterisk_doctor import look_at
from onhook.pbx.asterisk.advice import Advice
from onhook.settings.asterisks import AsteriskGap, Reached
from onhook.settings.settings import Settings

app = typer.Typer(
    add_completion=False, help="Asterisks that we connect to.", epilog="Example: onhook asterisk doctor Office"
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name or serial number of the PBX.")]
FILES_MAX = 100
"""As many as a rotation leaves."""

_MARKS: Mapping[str, tuple[str, str]] = {
    "right": ("ok  ", "green"),
    "look": ("look", "yellow"),
    "wrong": ("BAD ", "red"),
}


@app.command("list", epilog="Example: onhook asterisk list")
def list_asterisks(data: DataOption = None) -> None:
    """Show the Asterisks that we connect to, since when each is heard, and its gaps."""
    with open_settings(data) as settings:
        names = {pbx.sn: pbx.name for pbx in settings.pbxs()}
        rows = [
            [
                names.get(one.sn, one.sn),
                f"{one.host}:{one.port}",
                "yes" if one.is_connected else one.trouble or "not yet",
                UNKNOWN if one.covered_until is None else f"{one.covered_until:%Y-%m-%d %H:%M:%S}",
                str(len(settings.asterisks.gaps(one.sn))),
            ]
            for one in settings.asterisks.all()
        ]
    show_table(rows, ("name", "at", "heard", "all kept until (UTC)", "gaps"))


@app.command("doctor", epilog="Example: onhook asterisk doctor Office")
def doctor(name: Name, data: DataOption = None) -> None:
    """Look at an Asterisk, and print the lines that its configuration lacks. Fails when something is wrong."""
    with open_settings(data) as settings:
        reached, secret = _reached(settings, name), settings.asterisks.secret(settings.pbx(name).sn)
        gaps = settings.asterisks.gaps(reached.sn)
    advice = asyncio.run(look_at(reached, secret, SystemClock()))
    console = Console()
    with console.capture() as drawn:
        for one in advice:
            _draw(console, one)
        for gap in gaps:
            told = f"it was not heard {_stretch(gap)}: onhook asterisk backfill {name} --from FILE"
            _draw(console, Advice("look", told))
    print(drawn.get(), end="")
    raise typer.Exit(any(one.grade == "wrong" for one in advice))


@app.command("backfill", epilog="Example: onhook asterisk backfill Office --from /var/log/asterisk/cdr-csv/Master.csv")
def backfill(
    name: Name,
    *,
    files: Annotated[
        list[Path],
        typer.Option("--from", metavar="FILE", help="A CSV, JSON or SQLite file of its CDRs; may be repeated."),
    ],
    columns: Annotated[
        str | None,
        typer.Option("--columns", metavar="NAMES", help="The columns of a CSV file of your own.", show_default=False),
    ] = None,
    table: Annotated[str, typer.Option("--table", metavar="NAME", help="The table of a SQLite file.")] = "cdr",
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Read from here on.", show_default=False)
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="TIME", help="And up to here.", show_default=False)
    ] = None,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Fill the gaps of an Asterisk from what it keeps itself; with --since or --until, read that stretch."""
    config = configured(data=data, zone=zone)
    if len(files) > FILES_MAX:
        raise UsageError(f"there are more than {FILES_MAX} files", todo="name them in several runs")
    named = tuple(one.strip().lower() for one in columns.split(",")) if columns else ()
    sources = [Source(path=path, columns=named, table=table) for path in files]
    with open_settings(data) as settings, Console(stderr=True).status("reading") as status:
        stretch = _stretch_of(config, since, until)
        told: Callable[[int], None] = lambda count: status.update(f"{count} calls")  # noqa: E731 - one line of news
        filled = asyncio.run(back_fill(config, settings, name, sources=sources, stretch=stretch, told=told))
    _tell(filled)


def _reached(settings: Settings, name: str) -> Reached:
    return settings.asterisks.of(settings.pbx(name).sn)


def _stretch_of(config: Config, since: str | None, until: str | None) -> Filter | None:
    if since is None and until is None:
        return None
    zone, now = zone_named(config.zone), SystemClock().now()
    return Filter(
        since=None if since is None else parse_moment(since, zone, now, name="--since"),
        until=None if until is None else parse_moment(until, zone, now, name="--until"),
    )


def _tell(filled: Filled) -> None:
    print(f"{filled.read} calls read, {filled.new} of them new.")
    for one in filled.unread:
        print(f"not read: {one.where}: {one.why}")
    if filled.unread_count > len(filled.unread):
        print(f"not read: {filled.unread_count - len(filled.unread)} more lines")
    for gap in filled.filled:
        print(f"filled: {_stretch(gap)}")
    for gap, why in filled.left:
        print(f"left open: {_stretch(gap)}: {why}")


def _stretch(gap: AsteriskGap) -> str:
    return f"from {gap.since:%Y-%m-%d %H:%M:%S} to {gap.until:%Y-%m-%d %H:%M:%S} UTC"


def _draw(console: Console, one: Advice) -> None:
    mark, style = _MARKS[one.grade]
    console.print(Text(f"{mark} ", style=style) + Text(printable(one.what)), soft_wrap=True)
    if one.lines:
        console.print(f"     in {one.file}:", soft_wrap=True, highlight=False)
        for line in one.lines:
            console.print(Text(f"       {line}"), soft_wrap=True)
