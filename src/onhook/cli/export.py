"""`onhook export`: a whole search as one file."""

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, cast, get_args

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from onhook.cli.options import DataOption, ZoneOption, configured, with_filters
from onhook.cli.server_lookup import reach
from onhook.config import Config
from onhook.lib.errors import Unavailable, UsageError
from onhook.store.contract import ExportFormat

app = typer.Typer(add_completion=False)


@app.command(epilog="Example: onhook export april.xlsx --since 2026-04-01 --until 2026-05-01 --zone Europe/Berlin")
@with_filters
def export(
    where: Mapping[str, str],
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to: FILE.csv, .jsonl, .parquet or .xlsx.")],
    zone: ZoneOption = None,
    data: DataOption = None,
) -> None:
    """Write all records that match to a file, the earliest first. The file appears when it is whole."""
    form = _form(file)
    asyncio.run(_export(configured(data=data, zone=zone), where, form, file))


def _form(file: Path) -> ExportFormat:
    form = file.suffix.removeprefix(".").lower()
    if form not in get_args(ExportFormat):
        raise UsageError(
            f"no form of file is called {file.suffix!r}",
            where=str(file),
            todo="end it in .csv, .jsonl, .parquet or .xlsx",
        )
    if not file.parent.is_dir():
        raise UsageError("there is no such directory", where=str(file.parent), todo="make it first")
    return cast(ExportFormat, form)


async def _export(config: Config, where: Mapping[str, str], form: ExportFormat, file: Path) -> None:
    part = file.with_name(file.name + ".part")
    try:
        async with await reach(config) as way:
            with part.open("wb") as written, _progress(file.name) as (progress, task):
                async for piece in way.export(where, form):
                    written.write(piece)
                    progress.advance(task, len(piece))
        part.replace(file)
    except OSError as error:
        raise Unavailable(
            f"cannot write: {error.strerror or error}", where=str(file), todo="choose another place"
        ) from error
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def _progress(name: str) -> Iterator[tuple[Progress, TaskID]]:
    """How much was written, on a terminal; nothing in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(pulse_style="green"), DownloadColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        yield progress, progress.add_task(name, total=None)
