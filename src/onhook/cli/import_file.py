"""`onhook import`: import a call file that was downloaded from the PBX."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, TextIO

import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from onhook.appdb.pbxs import Pbx
from onhook.cli.commands import CommandGroup
from onhook.cli.open_appdb import open_appdb
from onhook.cli.options import DataOption, load_config
from onhook.cli.stored_calls import StoredCalls
from onhook.config import Config
from onhook.lib.clock import SystemClock
from onhook.lib.errors import ParseError, Unavailable, UsageError
from onhook.lib.messages import _, _n
from onhook.lib.text import replace_control_characters
from onhook.pbx.registry import dialects, pbx_clients
from onhook.receiver.ingest import Ingestor
from onhook.receiver.pbx_registry import RegisteredPbx
from onhook.runtime.adapters.ingest import open_ingestor
from onhook.sync.file_encoding import detect_encoding
from onhook.sync.file_import import IMPORT, FileImporter, FileOwner, ImportTotals

app = CommandGroup(add_completion=False)


class ImportOptions(msgspec.Struct, frozen=True):
    """How a file is read: the date format of the PBX's display, or empty, names of columns by their headings, and
    whether an export of another PBX is accepted.
    """

    date_format: str
    columns: Mapping[str, str]
    accepts_other_pbx: bool


ShowLineCount = Callable[[int], None]


@app.command(epilog="Example: onhook import cdr-2026-04.csv --pbx Office --date-format DD/MM/YYYY")
async def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help=_("CSV file of the PBX's page or API"))],
    *,
    pbx: Annotated[str, typer.Option("--pbx", metavar="NAME", help=_("Name or serial number of its PBX"))],
    date_format: Annotated[
        str,
        typer.Option(
            "--date-format",
            metavar="FORMAT",
            help=_("Date format of the PBX's display, such as DD/MM/YYYY"),
            show_default=False,
        ),
    ] = "",
    encoding: Annotated[
        str,
        typer.Option("--encoding", metavar="NAME", help=_("Its encoding; detected by default"), show_default=False),
    ] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option(
            "--columns",
            metavar="HEADING=NAME",
            help=_("What a column contains, such as `Hora=time`; repeatable"),
            show_default=False,
        ),
    ] = None,
    other_pbx: Annotated[
        bool, typer.Option("--other-pbx", help=_("Import an export of another PBX as calls of this one"))
    ] = False,
    data: DataOption = None,
) -> None:
    """Import a call file that was downloaded from a PBX; calls that are stored already are detected."""
    config = load_config(data=data)
    async with open_appdb(data) as appdb:
        registered_pbx = await appdb.pbx(pbx)
        if registered_pbx.dialect not in pbx_clients():
            raise UsageError(
                _("files of a PBX of the dialect {dialect} cannot be imported", dialect=registered_pbx.dialect),
                hint=_("only those of a P-Series can"),
            )
        try:
            configured = (await appdb.pbx_conventions.get(registered_pbx.sn)).encoding
            options = ImportOptions(date_format, _parse_columns(columns or []), other_pbx)
            with (
                file.open(encoding=encoding or detect_encoding(file, configured), newline="") as lines,
                _progress(file) as show_line_count,
            ):
                totals = await _import(config, registered_pbx, lines, options, show_line_count)
        except LookupError:
            raise UsageError(_("unknown encoding {name!r}", name=encoding), location="--encoding") from None
        except OSError as error:
            raise UsageError(
                _("cannot read the file: {reason}", reason=error.strerror or error), location=str(file)
            ) from error
        _print_totals(totals)
        action = f"import {totals.new} new lines of the file {file.name} for the PBX {registered_pbx.name}"
        await appdb.audit.add_action(action, now_us=SystemClock().microseconds())
    if totals.lines and totals.unreadable + totals.existing_unreadable == totals.lines:
        raise ParseError(_("no line could be parsed"), location=str(file), hint=totals.examples[0])


def _parse_columns(texts: Sequence[str]) -> Mapping[str, str]:
    """Parse `HEADING=NAME`. Raises `UsageError`."""
    pairs = [text.rpartition("=") for text in texts]
    for (heading, _separator, name), text in zip(pairs, texts, strict=True):
        if not heading or not name:
            raise UsageError(
                _("invalid column {value!r}", value=text), location="--columns", hint=_("write it as HEADING=NAME")
            )
    return {heading.strip(): name.strip() for heading, _separator, name in pairs}


async def _import(
    config: Config, pbx: Pbx, file: TextIO, options: ImportOptions, show_line_count: ShowLineCount
) -> ImportTotals:
    sender = RegisteredPbx(sn=pbx.sn, dialect=pbx.dialect)
    async with (
        StoredCalls(config, pbx.sn, SystemClock().now()) as stored_calls,
        open_ingestor(config) as ingestor,
    ):
        importer = FileImporter(
            client=pbx_clients()[pbx.dialect],
            dialect=dialects()[pbx.dialect],
            sender=sender,
            owner=FileOwner(pbx.name, (pbx.sn, *pbx.further_sns)),
            on_other_pbx=(lambda _other_pbx: None) if options.accepts_other_pbx else partial(_reject_other_pbx, pbx),
            find_calls=stored_calls.find_calls,
            find_records=stored_calls.find_records,
            date_format=options.date_format,
            columns=options.columns,
        )
        return await importer.import_file(
            file, partial(_ingest_all, ingestor, sender), lambda totals: show_line_count(totals.lines)
        )


def _reject_other_pbx(pbx: Pbx, other_pbx: str) -> None:
    """Raise `UsageError`: the calls would be those of the wrong PBX."""
    raise UsageError(
        _(
            "the file is of the PBX {other_pbx}, not of {name} ({sn})",
            other_pbx=other_pbx,
            name=pbx.name,
            sn=pbx.sn,
        ),
        location="--pbx",
        hint=_("name the PBX of the file, or import its calls as those of this PBX with --other-pbx"),
    )


async def _ingest_all(ingestor: Ingestor, sender: RegisteredPbx, bodies: Sequence[bytes]) -> Sequence[str]:
    verdicts = await asyncio.gather(*(ingestor.ingest(sender, body, IMPORT) for body in bodies))
    if "unavailable" in verdicts or "too_many" in verdicts:
        raise Unavailable(
            _("the ledger cannot be written now"), hint=_("run the command again: it continues where it was")
        )
    return verdicts


def _print_totals(totals: ImportTotals) -> None:
    print(
        _(
            "{lines} lines: {new} new, {existing} already stored, {unreadable} that could not be parsed.",
            lines=totals.lines,
            new=totals.new,
            existing=totals.existing,
            unreadable=totals.unreadable,
        )
    )
    if not totals.is_split_known and totals.new:
        print(
            _(
                "How many of the new lines are stored already from another channel is unknown: the stored calls could"
                " not be read."
            )
        )
    elif totals.stored_before or totals.completing:
        print(
            _(
                "Of the new lines {stored_before} describe records that are stored already from another channel,"
                " {completing} complete stored calls, and {fresh} are of new calls.",
                stored_before=totals.stored_before,
                completing=totals.completing,
                fresh=totals.new - totals.stored_before - totals.completing,
            )
        )
    if totals.deleted:
        print(
            _n(
                "{deleted} was deleted before and is not stored again.",
                "{deleted} were deleted before and are not stored again.",
                totals.deleted,
                deleted=totals.deleted,
            )
        )
    if totals.existing_unreadable:
        print(
            _n(
                "{count} of those already stored could not be parsed.",
                "{count} of those already stored could not be parsed.",
                totals.existing_unreadable,
                count=totals.existing_unreadable,
            )
        )
    for example in totals.examples:
        print(f"  {replace_control_characters(example)}")
    if totals.unreadable or totals.existing_unreadable:
        print(_("Those are in the quarantine: `onhook quarantine list` shows them."))


@contextlib.contextmanager
def _progress(file: Path) -> Iterator[ShowLineCount]:
    """Show the number of lines on a terminal; nothing in a pipe."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        total = sum(chunk.count(b"\n") for chunk in _chunks(file)) if console.is_terminal else None
        task = progress.add_task(file.name, total=total)
        yield lambda lines: progress.update(task, completed=lines)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as binary_file:
        while chunk := binary_file.read(1024 * 1024):
            yield chunk
