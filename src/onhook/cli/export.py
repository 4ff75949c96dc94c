"""`onhook export`: a search as one file."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal, cast, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from onhook.cdr.number_masking import Mask
from onhook.cli.commands import CommandGroup
from onhook.cli.filter_options import with_search_filters
from onhook.cli.options import DataOption, ZoneOption, load_reader_config, print_note
from onhook.cli.private_file import private_file
from onhook.cli.server_lookup import open_data_client
from onhook.config import Config
from onhook.lib.errors import UsageError
from onhook.lib.messages import _, _n
from onhook.store.contract import ExportFormat
from onhook.store.export.record_count import RecordCounter

app = CommandGroup(add_completion=False)


@app.command(epilog="Example: onhook export april.xlsx --since 2026-04-01 --until 2026-05-01 --zone Europe/Berlin")
@with_search_filters
async def export(  # noqa: PLR0917 - one for each option
    filters: Mapping[str, str],
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("Target: FILE.csv, .jsonl, .parquet or .xlsx"))],
    excel: Annotated[
        Literal["comma", "semicolon"] | None,
        typer.Option("--excel", help=_("CSV for Excel, with the separator of its locale; numbers stay texts")),
    ] = None,
    mask: Annotated[
        Mask, typer.Option("--mask", help=_("External numbers: none, last3 (three digits hidden), hash (keyed hash)"))
    ] = "none",
    names: Annotated[
        bool, typer.Option("--names", help=_("Add the columns call_from_name and call_to_name, from the directory"))
    ] = False,
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Write all matching records to a file, the earliest first. The file appears when it is complete, readable for its
    owner alone.
    """
    export_format = _parse_export_format(file)
    if excel is not None and export_format != "csv":
        raise UsageError(_("only CSV has a form for Excel"), location="--excel", hint=_("name a file FILE.csv"))
    await _export(load_reader_config(data, zone), filters, export_format, file, _form(excel, mask, has_names=names))


def _form(excel: str | None, mask: Mask, *, has_names: bool) -> dict[str, str]:
    """Return the parameters of a file besides its filters."""
    form = {"excel": excel or "", "mask": "" if mask == "none" else mask, "names": "yes" if has_names else ""}
    return {name: text for name, text in form.items() if text}


def _parse_export_format(file: Path) -> ExportFormat:
    export_format = file.suffix.removeprefix(".").lower()
    if export_format not in get_args(ExportFormat):
        raise UsageError(
            _("unknown file format {suffix}", suffix=repr(file.suffix)),
            location=str(file),
            hint=_("use .csv, .jsonl, .parquet or .xlsx"),
        )
    if not file.parent.is_dir():
        raise UsageError(_("there is no such directory"), location=str(file.parent), hint=_("create it first"))
    return cast(ExportFormat, export_format)


async def _export(
    config: Config, filters: Mapping[str, str], export_format: ExportFormat, file: Path, form: Mapping[str, str]
) -> None:
    counter = RecordCounter(export_format)
    async with await open_data_client(config) as client:
        with private_file(file) as output, _progress(file.name) as (progress, task):
            async for chunk in client.export(filters, export_format, form):
                output.write(chunk)
                counter.add(chunk)
                progress.advance(task, len(chunk))
    count = counter.total(file)
    print(_n("{count} record written to {file}.", "{count} records written to {file}.", count, count=count, file=file))
    if not count:
        print_note(_("no record matches") if filters else _("no records"))


@contextlib.contextmanager
def _progress(name: str) -> Iterator[tuple[Progress, TaskID]]:
    """Show the progress on a terminal; nothing in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(pulse_style="green"), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress, progress.add_task(name, total=None)
