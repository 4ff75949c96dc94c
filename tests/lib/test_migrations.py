"""Numbered SQL files."""

import pytest

from onhook.lib.migrations import load_migrations, split_statements


@pytest.mark.parametrize(
    ("script", "statements"),
    [
        ("", []),
        ("SELECT 1; SELECT 2;\n", ["SELECT 1;", "SELECT 2;"]),
        ("SELECT ';'; -- a comment; with one\nSELECT 2;", ["SELECT ';';", "-- a comment; with one\nSELECT 2;"]),
        (
            "CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; DELETE FROM c; END;",
            ["CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b; DELETE FROM c; END;"],
        ),
    ],
    ids=["empty", "two", "text and comment", "trigger"],
)
def test_split_statements_script_returns_its_statements(script: str, statements: list[str]) -> None:
    assert list(split_statements(script)) == statements


def test_split_statements_without_last_semicolon_is_refused() -> None:
    with pytest.raises(AssertionError, match="lacks its semicolon: SELECT 2"):
        list(split_statements("SELECT 1; SELECT 2"))


@pytest.mark.parametrize(("package", "engine", "first"), [("onhook.appdb", "sqlite", 1), ("onhook.ledger", "", 1)])
def test_load_migrations_of_a_package_are_numbered_without_gaps(package: str, engine: str, first: int) -> None:
    migrations = load_migrations(package, engine)
    assert [migration.version for migration in migrations] == list(range(first, first + len(migrations)))
    assert all(migration.name and migration.statements for migration in migrations)
