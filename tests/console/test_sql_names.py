"""Names beside the numbers of an SQL result."""

from datetime import UTC, datetime

from onhook.cdr.directory import DirectoryEntry, LearntName, NameDirectory
from onhook.console.pages.sql_names import label_parties, name_cells
from onhook.store.sql.contract import SqlResult

DIRECTORY = NameDirectory(
    [
        DirectoryEntry(sn="A", number="1001", name="Alice"),
        DirectoryEntry(sn="B", number="1001", name="Anton"),
        DirectoryEntry(number="+49 30 901820", kind="contact", name="Carol", company="ACME"),
    ],
    [LearntName(sn="A", number="1002", name="Bob")],
)
SNS = {"Office": "A", "Branch": "B"}


def test_name_cells_numbers_of_the_views_have_names() -> None:
    """A number that two PBXs name differently has none; nor has one in a column of another name, or with a name."""
    rows = [("1001", "1002", "1002", 1), ("Bob<1002>", "030901820", "x", 2), (None, "9999", "1002", 3)]
    assert name_cells(("call_from", "answered_by", "number", "calls"), rows, DIRECTORY, SNS) == {
        (0, 1): "Bob<1002>",
        (1, 1): "Carol, ACME<030901820>",
    }


def test_name_cells_row_with_its_pbx_has_the_names_of_that_pbx() -> None:
    rows = [("A", "1001"), ("B", "1001"), ("C", "1001")]
    expected = {(0, 1): "Alice<1001>", (1, 1): "Anton<1001>"}
    assert name_cells(("sn", "call_to"), rows, DIRECTORY, SNS) == expected
    rows = [("Office", "1001"), ("Branch", "1001"), ("Office", "1002")]
    expected = {(0, 1): "Alice<1001>", (1, 1): "Anton<1001>", (2, 1): "Bob<1002>"}
    assert name_cells(("pbx", "call_to"), rows, DIRECTORY, SNS) == expected


def test_label_parties_name_comes_before_the_number() -> None:
    result = SqlResult(
        columns=("answered_by", "calls"),
        rows=[("1002", 3), ("9999", 1)],
        is_truncated=False,
        data_at=datetime(2026, 4, 27, tzinfo=UTC),
    )
    parties = name_cells(result.columns, result.rows, DIRECTORY, SNS)
    assert label_parties(result, parties).rows == [["Bob (1002)", 3], ["9999", 1]]
    assert label_parties(result, {}) is result
