"""What an export reads: rows of `legs`, or the masked copy of them, with the names of their parties or without."""

import msgspec

from onhook.cdr.record import NAME_COLUMNS
from onhook.store.queries.conditions import SqlCondition
from onhook.store.schema import DERIVED, RECORD_COLUMNS

ROW_ORDER = "started_at, sn, call_id, leg_index"

MASKED_TABLE = "masked_legs"
MASKED_ID_COLUMN = "masked_record_id"
NAME_TABLE = "party_names"
"""Temporary tables of a connection."""

PARTY_SIDES = (
    ("coalesce(legs.call_from, legs.from_number)", "legs.src_trunk_name <> ''"),
    ("coalesce(legs.call_to, legs.to_number)", "legs.dst_trunk_name <> ''"),
)
"""Text and side of the parties whose names are NAME_COLUMNS."""


class LegSource(msgspec.Struct, frozen=True):
    """Rows of `legs` that match a condition, or the masked copy of them; `has_names` where NAME_TABLE has the names of
    their parties.
    """

    condition: SqlCondition
    is_masked: bool = False
    has_names: bool = False

    @property
    def rows_sql(self) -> str:
        """Return the SQL after FROM."""
        table = f"{MASKED_TABLE} AS legs" if self.is_masked else "legs"
        condition = "true" if self.is_masked else self.condition.sql
        return f"{_join_names(table) if self.has_names else table} WHERE {condition}"

    @property
    def values(self) -> dict[str, object]:
        """Return the values of the parameters in it."""
        return {} if self.is_masked else self.condition.values

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the columns of the file."""
        return (*RECORD_COLUMNS, *NAME_COLUMNS) if self.has_names else RECORD_COLUMNS

    def adapt(self, sql: str) -> str:
        """Return a query with the masked id: the id that a row gives could be used to try numbers."""
        return sql.replace(DERIVED["record_id"], MASKED_ID_COLUMN) if self.is_masked else sql


def _join_names(table: str) -> str:
    joins = "".join(
        f" LEFT JOIN {NAME_TABLE} AS {column}_of ON {column}_of.sn = legs.sn AND {column}_of.party = {party}"
        f" AND {column}_of.is_outside = ({is_outside})"
        for column, (party, is_outside) in zip(NAME_COLUMNS, PARTY_SIDES, strict=True)
    )
    columns = ", ".join(f"coalesce({column}_of.name, '') AS {column}" for column in NAME_COLUMNS)
    return f"(SELECT legs.*, {columns} FROM {table}{joins}) AS legs"
