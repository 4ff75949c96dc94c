"""CSV as Excel reads it: with a byte order mark, the separator of its locale, and numbers that stay texts.

Excel reads a file without a mark in the encoding of its locale, and takes every cell that looks like a number for one:
leading zeros, `+`, and digits after the fifteenth are lost. Such a text is written as the formula `="0049"`, which is
the text. No `sep=` line: with it Excel ignores the mark.
"""

import asyncio
import csv
import io
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import cast

from onhook.cdr.call_details import NUMBER_FIELDS
from onhook.cdr.record import NAME_COLUMNS
from onhook.lib.errors import UsageError
from onhook.lib.messages import _
from onhook.store.schema import RECORD_COLUMNS

BYTE_ORDER_MARK = "\ufeff".encode()

SEPARATORS: Mapping[str, str] = {"comma": ",", "semicolon": ";"}
"""By the name of the option; Excel expects a semicolon where the decimal separator is a comma."""

_NUMBER_COLUMNS = frozenset({*NUMBER_FIELDS, "ring_duration", "seq"})
_TEXT_INDEXES = tuple(
    index for index, name in enumerate((*RECORD_COLUMNS, *NAME_COLUMNS)) if name not in _NUMBER_COLUMNS
)
"""The last are those of an export with names."""
_CELL = re.compile(r'(?:"([^"]*+(?:""[^"]*+)*+)"|([^",\r\n]*+))(,|\r\n)')
"""A cell of the export with what ends it: its text in quotation marks, or without them."""
_CHANGED_NUMBER = re.compile(r"0[0-9]+|\+[0-9]+|[0-9]{12,}|[0-9]+[.eE][0-9]+")
"""Texts that Excel would change: leading zeros, a sign, long numbers, ids with a dot."""


def parse_excel_option(text: str) -> str | None:
    """Return the separator of an `excel` option, None where it is not set. Raises `UsageError`."""
    word = text.strip().lower()
    if word in ("", "false", "no", "0"):
        return None
    separator = SEPARATORS.get("comma" if word in ("true", "yes", "1") else word)
    if separator is None:
        raise UsageError(
            _("invalid option excel: {value}", value=repr(text[:20])),
            location="excel",
            hint=_("use one of {choices}", choices=", ".join(SEPARATORS)),
        )
    return separator


def parse_names_option(text: str) -> bool:
    """Return whether an export has the names of parties. Raises `UsageError`."""
    word = text.strip().lower()
    if word in ("yes", "true", "1"):
        return True
    if word in ("", "no", "false", "0"):
        return False
    raise UsageError(
        _("invalid option names: {value}", value=repr(text[:20])),
        location="names",
        hint=_("write yes, or leave it out"),
    )


def protect_number(text: str) -> str:
    """Return a text as Excel keeps it.

    >>> protect_number("0049301234"), protect_number("Alice")
    ('="0049301234"', 'Alice')
    """
    return f'="{text}"' if _CHANGED_NUMBER.fullmatch(text) else text


async def convert_for_excel(chunks: AsyncIterator[bytes], separator: str) -> AsyncGenerator[bytes, None]:
    """Yield a CSV export for Excel; each chunk consists of whole rows, and is converted in a thread."""
    yield BYTE_ORDER_MARK
    async with aclosing(cast("AsyncGenerator[bytes, None]", chunks)) as closing_chunks:
        async for chunk in closing_chunks:
            yield await asyncio.to_thread(_convert, chunk, separator)


def _convert(chunk: bytes, separator: str) -> bytes:
    output = io.StringIO(newline="")
    writer = csv.writer(output, delimiter=separator)
    for row in _read_rows(chunk.decode()):
        for index in _TEXT_INDEXES[: None if len(row) > len(RECORD_COLUMNS) else -len(NAME_COLUMNS)]:
            row[index] = protect_number(row[index])
        writer.writerow(row)
    return output.getvalue().encode()


def _read_rows(text: str) -> Iterator[list[str]]:
    """Yield the rows of the export. Not by `csv.reader`: its limit of a cell is one for the whole process, and a cell
    may be as long as the body of an event.
    """
    row: list[str] = []
    for quoted, plain, end in _CELL.findall(text):
        row.append(quoted.replace('""', '"') if quoted else plain)
        if end != ",":
            yield row
            row = []
