"""The tables of the store."""

import hashlib

from onhook.store.schema import SCHEMA_VERSION, creation_statements


def test_schema_change_requires_new_version() -> None:
    """A file with other columns must be rejected by its version, not by a query that fails."""
    tables = hashlib.sha256("\n".join(creation_statements()).encode()).hexdigest()[:16]
    assert (SCHEMA_VERSION, tables) == (11, "c7407ac8dc198706"), "increase SCHEMA_VERSION: the store is then rebuilt"
