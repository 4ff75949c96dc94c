"""The tables of the store."""

import hashlib

from onhook.store.schema import SCHEMA_VERSION, creation_statements


def test_tables_that_change_are_another_version() -> None:
    """A file with other columns must be refused by its version, not found out by a query that fails."""
    tables = hashlib.sha256("\n".join(creation_statements()).encode()).hexdigest()[:16]
    assert (SCHEMA_VERSION, tables) == (4, "5b470f5e39623a32"), "give the new tables a new SCHEMA_VERSION"
