"""A Parquet file of rows in JSON lines, written by a DuckDB without a store."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

import duckdb

MEMORY_MAX = "64MiB"
"""Of one file, whose rows are some megabytes."""

_TYPE_NAMES: Mapping[str, str] = MappingProxyType(
    {"text": "VARCHAR", "integer": "BIGINT", "boolean": "BOOLEAN", "time": "TIMESTAMPTZ", "json": "JSON"}
)
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "threads": 1,
    "memory_limit": MEMORY_MAX,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


def write_parquet_file(rows_path: Path, path: Path, columns: Mapping[str, str]) -> None:
    """Write the rows of a file of JSON lines to another file. `columns` are their types: `text`, `integer`, `boolean`,
    `time` or `json`; a member that a row lacks is empty. Raises `OSError`.
    """
    # Texts first: the reader of JSON knows fewer forms of a time than a cast.
    read_types = {
        name: "VARCHAR" if column_type == "time" else _TYPE_NAMES[column_type] for name, column_type in columns.items()
    }
    types = ", ".join(f"\"{name}\": '{type_name}'" for name, type_name in read_types.items())
    values = ", ".join(
        f'CAST("{name}" AS {_TYPE_NAMES[column_type]}) AS "{name}"' for name, column_type in columns.items()
    )
    source = f"read_json({_quoted(rows_path)}, format='newline_delimited', columns={{{types}}})"
    try:
        with closing(duckdb.connect(":memory:", config=_SETTINGS)) as connection:
            connection.execute(f"COPY (SELECT {values} FROM {source}) TO {_quoted(path)} (FORMAT parquet)")
    except duckdb.Error as error:
        raise OSError(str(error)) from error


def _quoted(path: Path) -> str:
    text = str(path).replace("'", "''")
    return f"'{text}'"
