"""Names of the parties in an export, in a temporary table: each party is looked up once, by its PBX, its text, and
whether a trunk reached it.
"""

from collections.abc import Iterable

import duckdb
import msgspec

from onhook.cdr.directory import NameDirectory
from onhook.store.export.leg_source import NAME_TABLE, PARTY_SIDES, LegSource

_COLUMNS = "sn, party, is_outside, name"


def fill_names(connection: duckdb.DuckDBPyConnection, sources: Iterable[LegSource], names: NameDirectory) -> None:
    """Fill the table with the names in these rows, in place of earlier ones."""
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {NAME_TABLE} (sn VARCHAR, party VARCHAR, is_outside BOOLEAN, name VARCHAR)"
    )
    for source in sources:
        _append(connection, source, names)


def with_names(source: LegSource) -> LegSource:
    """Return a source with names, once the table has them."""
    return msgspec.structs.replace(source, has_names=True)


def _append(connection: duckdb.DuckDBPyConnection, source: LegSource, names: NameDirectory) -> None:
    parties = " UNION ".join(
        f"SELECT legs.sn, {party}, {is_outside} FROM {source.rows_sql}" for party, is_outside in PARTY_SIDES
    )
    rows = connection.execute(parties, source.values).fetchall()
    named = [
        (sn, party, is_outside, name)
        for sn, party, is_outside in rows
        if (name := names.find_shown_name(sn, party, is_outside=is_outside))
    ]
    if named:
        columns = [list(column) for column in zip(*named, strict=True)]
        selection = "SELECT unnest($1::VARCHAR[]), unnest($2::VARCHAR[]), unnest($3::BOOLEAN[]), unnest($4::VARCHAR[])"
        # A party of two time ranges has one row: the join must not repeat legs.
        connection.execute(
            f"INSERT INTO {NAME_TABLE} ({_COLUMNS}) {selection} EXCEPT SELECT {_COLUMNS} FROM {NAME_TABLE}", columns
        )
