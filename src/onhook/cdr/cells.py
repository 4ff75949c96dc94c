"""Cells that a spreadsheet would take for a formula are made harmless, and can be read back exactly.

A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe in front; so does one that
begins with apostrophes before such a character, so that taking one away always gives the text back. A telephone
number is no formula: `+15550100` stays as it is.
"""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_TELEPHONE_NUMBER = re.compile(r"\+[0-9]+")


def harmless(text: str) -> str:
    """The text as a cell.

    >>> harmless("=1+1"), harmless("+15550100"), harmless("'tis")
    ("'=1+1", '+15550100', "'tis")
    """
    return "'" + text if _FORMULA.match(text) and not _TELEPHONE_NUMBER.fullmatch(text) else text


def read_back(cell: str) -> str:
    """The text that was made a cell: `read_back(harmless(text)) == text` for every text."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
