"""Output formats: a table, JSON, or the CSV of the export."""

import csv
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table
from rich.text import Text

from onhook.cdr.call_details import DETAIL_FIELDS
from onhook.cdr.csv_injection import escape_cell, escape_json_controls
from onhook.cli.options import Format, print_note
from onhook.cli.server_lookup import Row
from onhook.lib.messages import _
from onhook.lib.text import UNKNOWN, format_duration, replace_control_characters
from onhook.lib.timestamps import format_time

PIPE_WIDTH_CHARACTERS = 10_000
PIPE_COLUMN_CHARACTERS_MAX = 200
"""In a pipe only a cell that no table is made for is cut; JSON and CSV have all of it."""

COLUMN_GAP_CHARACTERS = 2

RECORD_COLUMNS: tuple[str, ...] = (
    *DETAIL_FIELDS,
    "sn",
    "pbx",
    "record_id",
    "started_at",
    "answered_at",
    "ended_at",
    "ring_duration",
    "utc_offset",
    "offset_from",
    "is_ambiguous",
    "is_shifted",
    "via",
    "received_at",
    "seq",
    "extra",
)
"""As in the export."""

CALL_COLUMNS: tuple[str, ...] = (
    "sn",
    "pbx",
    "call_id",
    "started_at",
    "ended_at",
    "type",
    "status",
    "call_from",
    "call_to",
    "answered_by",
    "wait_duration",
    "ring_duration",
    "talk_duration",
    "call_duration",
    "did_number",
    "src_trunk_name",
    "dst_trunk_name",
    "recordings",
    "legs",
)
"""A call is one line: the number of its legs, and the names of its recordings."""

RECORD_TABLE = ("started_at", "call_from", "call_to", "status", "type", "ring_duration", "talk_duration", "pbx")
CALL_TABLE = (
    "started_at", "call_from", "call_to", "answered_by", "status", "type", "wait_duration", "talk_duration", "legs",
    "pbx",
)  # fmt: skip
"""Columns that fit on a terminal; the other formats have all."""

FOLLOWED_WIDTHS = {"started_at": 33, "call_from": 24, "call_to": 24, "status": 10, "type": 8, "legs": 4}
FOLLOWED_WIDTH_DEFAULT = 13
"""Widths of columns where the rows are not known yet."""

COUNT_COLUMNS = frozenset({"legs", "seq"})
"""Numeric columns besides the durations."""


async def print_rows(
    rows: AsyncIterator[Row],
    output_format: Format,
    zone: ZoneInfo,
    columns: Sequence[str],
    table: Sequence[str],
    *,
    is_filtered: bool = False,
) -> None:
    """Print rows: `columns` are those of the CSV, `table` those of the table. Without rows, a note on standard error
    says so; `is_filtered` where a filter may be the reason.
    """
    if output_format == "json":
        count = await _print_json(rows)
        _print_note_without_rows(count, is_filtered=is_filtered)
    elif output_format == "csv":
        count = await _print_csv(rows, zone, columns)
        _print_note_without_rows(count, is_filtered=is_filtered)
    else:
        cells = [[_format_cell(row, name, zone) for name in table] async for row in rows]
        print_table(cells, table, is_filtered=is_filtered)


async def print_followed_rows(
    rows: AsyncIterator[Row], output_format: Format, zone: ZoneInfo, columns: Sequence[str], table: Sequence[str]
) -> None:
    """Print rows as they come, each at once: a line of JSON, of CSV, or of a table whose columns have fixed widths."""
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    if output_format == "csv":
        writer.writerow(columns)
    elif output_format == "table":
        print(_format_line([name.replace("_", " ") for name in table], table), flush=True)
    async for row in rows:
        if output_format == "json":
            print(encode_json(row))
        elif output_format == "csv":
            writer.writerow([_format_csv_cell(row[name], name, zone) for name in columns])
        else:
            print(_format_line([replace_control_characters(_format_cell(row, name, zone)) for name in table], table))
        sys.stdout.flush()


def _format_line(cells: Sequence[str], names: Sequence[str]) -> str:
    """Return the cells of a line, each cut and padded to the width of its column."""
    widths = [FOLLOWED_WIDTHS.get(name, FOLLOWED_WIDTH_DEFAULT) for name in names]
    return "  ".join(map(set_cell_size, cells, widths)).rstrip()


async def _print_json(rows: AsyncIterator[Row]) -> int:
    """Print one array, an element per line, so that it can be read while it is written; return the number of rows."""
    count = 0
    async for row in rows:
        print((",\n" if count else "[\n") + encode_json(row), end="")
        count += 1
    print("\n]" if count else "[]")
    return count


async def _print_csv(rows: AsyncIterator[Row], zone: ZoneInfo, columns: Sequence[str]) -> int:
    """Print CSV by RFC 4180: lines end with CR LF, also on a terminal. Return the number of rows."""
    writer = csv.writer(sys.stdout, lineterminator="\r\n")
    writer.writerow(columns)
    count = 0
    async for row in rows:
        writer.writerow([_format_csv_cell(row[name], name, zone) for name in columns])
        count += 1
    return count


def encode_json(value: object) -> str:
    """Return a value as JSON for a terminal: without control characters."""
    return escape_json_controls(msgspec.json.encode(value)).decode()


def _print_note_without_rows(count: int, *, is_filtered: bool) -> None:
    if not count:
        print_note(_("no matches") if is_filtered else _("no rows"))


def print_table(rows: Sequence[Sequence[str]], headings: Sequence[str], *, is_filtered: bool = False) -> None:
    """Print a table; in a pipe without colours and without a width. On a terminal the widest columns are cut first.
    Without rows, a note on standard error says so; `is_filtered` where a filter may be the reason.
    """
    is_terminal = sys.stdout.isatty()
    console = Console(width=None if is_terminal else PIPE_WIDTH_CHARACTERS)
    cells = [[replace_control_characters(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(headings, *cells, strict=True)]
    gaps = COLUMN_GAP_CHARACTERS * (len(headings) - 1)
    width_max = fit_columns(widths, console.width - gaps) if is_terminal else PIPE_COLUMN_CHARACTERS_MAX
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        justify: Literal["left", "right"] = (
            "right" if heading.endswith("_duration") or heading in COUNT_COLUMNS else "left"
        )
        table.add_column(
            heading.replace("_", " "), justify=justify, no_wrap=True, overflow="ellipsis", max_width=width_max
        )
    for row in cells:
        table.add_row(*map(Text, row))
    with console.capture() as captured_output:
        console.print(table)
    # Printed here: rich treats a closed pipe as a failure.
    print(captured_output.get(), end="")
    _print_note_without_rows(len(rows), is_filtered=is_filtered)


def fit_columns(widths: Sequence[int], available_width: int) -> int:
    """Return the greatest width of a column with which all columns fit; narrower columns keep theirs.

    >>> fit_columns([4, 10, 300], 80), fit_columns([4, 10], 80)
    (66, 10)
    """
    remaining_width = available_width
    for index, width in enumerate(sorted(widths)):
        share = max(1, remaining_width // (len(widths) - index))
        if width > share:
            return share
        remaining_width -= width
    return max(widths, default=1)


def format_local_time(text: str, zone: ZoneInfo) -> str:
    """Return a time of the API in the reader's zone, to the second."""
    return format_time(datetime.fromisoformat(text), zone)


def format_optional_time(time: datetime | None, zone: ZoneInfo) -> str:
    """Return a time in the reader's zone, or that there is none."""
    return UNKNOWN if time is None else format_time(time, zone)


def _format_cell(row: Row, name: str, zone: ZoneInfo) -> str:
    value = row[name]
    if value is None:
        return UNKNOWN
    if name.endswith("_at"):
        return " ".join(filter(None, (format_local_time(value, zone), _mark_of(row) if name == "started_at" else "")))
    if name.endswith("_duration"):
        return format_duration(value)
    return str(len(value)) if name == "legs" else str(value)


def _mark_of(row: Row) -> str:
    """Return the mark of a start that is not certain, of a record or of the first leg of a call: as on pages, the zone
    of the PBX is unknown, the hour occurs twice in it, or does not exist.
    """
    leg = next(iter(row.get("legs") or (row,)))
    if leg.get("offset_from") == "assumed":
        return "UTC?"
    if leg.get("is_ambiguous"):
        return _("twice?")
    return _("shifted") if leg.get("is_shifted") else ""


def _format_csv_cell(value: object, name: str, zone: ZoneInfo) -> str:
    """Return a cell like `Store.export`: an unknown value is empty, a time ISO 8601 with the offset of the zone.

    Rows of the API have lists where those of the files have tuples.
    """
    if value is None:
        return ""
    if isinstance(value, str) and name.endswith("_at"):
        return datetime.fromisoformat(value).astimezone(zone).isoformat()
    if name == "legs" and isinstance(value, list | tuple):
        return str(len(value))
    if name == "recordings" and isinstance(value, list | tuple):
        return escape_cell(";".join(value))
    if isinstance(value, dict):
        return encode_json(value)
    if isinstance(value, bool):
        return str(value).lower()
    return escape_cell(value) if isinstance(value, str) else str(value)
