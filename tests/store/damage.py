"""Damage of a store's file that is found only when its calls are read."""

from pathlib import Path

import duckdb

from onhook.store.connections import HEADER_BYTES

BLOCK_BYTES = 256 * 1024
"""Of DuckDB's file."""

DAMAGED_BYTES = 4096


def damage_calls(path: Path) -> None:
    """Overwrite a page of a closed store that still opens, and whose calls cannot be read."""
    content = path.read_bytes()
    for offset in range(HEADER_BYTES, len(content) - DAMAGED_BYTES, BLOCK_BYTES):
        path.write_bytes(content[:offset] + b"\xff" * DAMAGED_BYTES + content[offset + DAMAGED_BYTES :])
        if _opens(path) and not _has_readable_calls(path):
            return
    raise AssertionError("no page of calls")


def _opens(path: Path) -> bool:
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            return bool(connection.execute("SELECT * FROM metadata").fetchall())
    except duckdb.Error:
        return False


def _has_readable_calls(path: Path) -> bool:
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            return bool(connection.execute("SELECT max(COLUMNS(*)) FROM legs").fetchall())
    except duckdb.Error:
        return False
