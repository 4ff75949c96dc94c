"""Rows of the kind `files`: which folder a row belongs to, and the rows of a file as CSV or JSON lines. Pure."""

import csv
import io
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any
from urllib.parse import quote

import msgspec

from onhook.cdr.csv_injection import escape_cell, escape_json_controls
from onhook.delivery.destinations.row_columns import ColumnType

NAME_CHARACTERS_MAX = 100
"""Of a serial number in the name of a folder; a longer one is cut, and gets a hash."""


class FileRow(msgspec.Struct, frozen=True):
    """One row: its members in JSON, the folder that it belongs to, and the number of its raw event."""

    body: bytes
    partition: str
    seq: int


class _Members(msgspec.Struct, frozen=True):
    """What decides about the place of a row."""

    sn: str = ""
    started_at: datetime | None = None
    utc_offset: str = ""
    seq: int = 0


def parse_row(body: bytes) -> FileRow:
    """Return the row of a body."""
    members = msgspec.json.decode(body, type=_Members)
    return FileRow(body, f"day={_local_day(members)}/sn={_folder_name(members.sn)}", members.seq)


def split_by_partition(rows: Sequence[FileRow]) -> dict[str, list[FileRow]]:
    """Return the rows of each partition, in the order of their events."""
    partitions: dict[str, list[FileRow]] = {}
    for row in sorted(rows, key=lambda row: row.seq):
        partitions.setdefault(row.partition, []).append(row)
    return partitions


def format_json_lines(rows: Sequence[FileRow]) -> bytes:
    """Return the rows, one a line."""
    return b"".join(escape_json_controls(row.body) + b"\n" for row in rows)


def format_csv(rows: Sequence[FileRow], columns: Mapping[str, ColumnType]) -> bytes:
    """Return the rows as CSV (RFC 4180, UTF-8) with a line of names; formulas are escaped."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        members = msgspec.json.decode(row.body, type=dict[str, Any])
        writer.writerow([_cell(members.get(name), column_type) for name, column_type in columns.items()])
    return text.getvalue().encode()


def _cell(member: Any, column_type: ColumnType) -> str:
    if member is None:
        return ""
    if column_type == "boolean":
        return "true" if member else "false"
    if column_type == "json":
        return escape_json_controls(msgspec.json.encode(member)).decode()
    return escape_cell(member) if column_type == "text" else str(member)


def _local_day(members: _Members) -> str:
    """Return the day on which a call began, by the PBX's own clock."""
    if members.started_at is None:
        return "unknown"
    offset = datetime.fromisoformat(f"2000-01-01T00:00:00{members.utc_offset}").utcoffset() or timedelta()
    return (members.started_at + offset).date().isoformat()


def _folder_name(sn: str) -> str:
    name = quote(sn, safe="")
    if len(name) <= NAME_CHARACTERS_MAX:
        return name
    return f"{name[:NAME_CHARACTERS_MAX].rpartition('%')[0]}~{blake2b(sn.encode(), digest_size=8).hexdigest()}"
