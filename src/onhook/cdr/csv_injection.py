"""Escaping of cells that a spreadsheet would read as a formula; reversible.

A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe in front; so does one that
begins with apostrophes before such a character, so that removing one always restores the text. Telephone numbers and
offsets from UTC are no formulas: `+15550100` and `-03:30` stay unchanged.
"""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NOT_A_FORMULA = re.compile(r"\+[0-9]+|[+-][0-9]{2}:[0-9]{2}")


def escape_formula(text: str) -> str:
    """Return the text as a cell.

    >>> escape_formula("=1+1"), escape_formula("+15550100"), escape_formula("+08:00"), escape_formula("'tis")
    ("'=1+1", '+15550100', '+08:00', "'tis")
    """
    return "'" + text if _FORMULA.match(text) and not _NOT_A_FORMULA.fullmatch(text) else text


def unescape_formula(cell: str) -> str:
    """Return the text of a cell: `unescape_formula(escape_formula(text)) == text` for every text."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
