"""Names beside the numbers of an SQL result: those of the directory, as on every other page. Pure.

A column is one of numbers where it has the name of one of the views: a query that renames it has it as it is. A row
with the serial number or the name of its PBX has the names of that PBX; any other number has a name where all PBXs that
have one agree.
"""

from collections.abc import Mapping, Sequence

import msgspec

from onhook.cdr.directory import NameDirectory
from onhook.cdr.identity import extract_number
from onhook.store.sql.contract import SqlCell, SqlResult

PARTY_COLUMNS = frozenset({"call_from", "call_to", "answered_by", "did_number"})
"""Columns of the views with the number of a party, or with a party as it was sent: that one has its name already."""

NamedCells = Mapping[tuple[int, int], str]
"""Parties as `Alice<1001>`, by the numbers of row and column."""


def name_cells(
    columns: Sequence[str], rows: Sequence[Sequence[SqlCell]], directory: NameDirectory, sns_by_pbx: Mapping[str, str]
) -> NamedCells:
    """Return the parties of the cells that are a number with a name; `sns_by_pbx` are serial numbers by name."""
    party_columns = [index for index, name in enumerate(columns) if name in PARTY_COLUMNS]
    sn_column, pbx_column = (columns.index(name) if name in columns else None for name in ("sn", "pbx"))
    parties: dict[tuple[int, int], str] = {}
    for row_index, row in enumerate(rows):
        sn = row[sn_column] if sn_column is not None else None
        if sn is None and pbx_column is not None:
            sn = sns_by_pbx.get(str(row[pbx_column]))
        for index in party_columns:
            number = row[index]
            # A party that was sent with a name has it already.
            if isinstance(number, str) and number == extract_number(number):
                name = directory.find_name_in(None if sn is None else [str(sn)], number)
                if name:
                    parties[row_index, index] = f"{name}<{number}>"
    return parties


def label_parties(result: SqlResult, parties: NamedCells) -> SqlResult:
    """Return the result with `Alice (1001)` in place of the numbers that have a name, for the labels of a chart."""
    if not parties:
        return result
    rows = [
        [_label(parties[row_index, index]) if (row_index, index) in parties else cell for index, cell in enumerate(row)]
        for row_index, row in enumerate(result.rows)
    ]
    return msgspec.structs.replace(result, rows=rows)


def _label(party: str) -> str:
    """Return a party for a label.

    >>> _label("Alice<1001>")
    'Alice (1001)'
    """
    name, _separator, number = party.rpartition("<")
    return f"{name} ({number.removesuffix('>')})"
