"""Cells that a spreadsheet would take for a formula are made harmless, and can be read back exactly.

A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe in front; so does one that
begins with apostrophes before such a character, so that taking one away always gives the text back. A telephone
number is no formula, and an offset from UTC neither: `+15550100` and `-03:30` stay as they are.
"""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NO_FORMULA = re.compile(r"\+[0-9]+|[+-][0-9]{2}:[0-9]{2}")


def harmless(text: str) -> str:
    """The text as a cell.

    >>> harmless("=1+1"), harmless("+15550100"), harmless("+08:00"), harmless("'tis")
    ("'=1+1", '+15550100', '+08:00', "'tis")
    """
    return "'" + text if _FORMULA.match(text) and not _NO_FORMULA.fullmatch(text) else text


def read_back(cell: str) -> str:
    """The text that was made a cell: `read_back(harmless(text)) == text` for every text."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
