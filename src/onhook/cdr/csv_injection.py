"""Cells that a spreadsheet would take for a formula are made harmless, and can be read back exactly.

A text that begins with `=`, `+`, `-`, `@`, a tab or a carriage return gets an apostrophe in front; so does one that
begins with apostrophes before such a character, so that taking one away always gives the text back. A telephone
number is no formula, and an offset from UTC neither: `+15550100` and `-03:30` stay as they are.
"""

import re

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NOT_A_FORMULA = re.compile(r"\+[0-9]+|[+-][0-9]{2}:[0-9]{2}")


def escape_formula(text: str) -> str:
    """The text as a cell.

    >>> escape_formula("=1+1"), escape_formula("+15550100"), escape_formula("+08:00"), escape_formula("'tis")
    ("'=1+1", '+15550100', '+08:00', "'tis")
    """
    return "'" + text if _FORMULA.match(text) and not _NOT_A_FORMULA.fullmatch(text) else text


def unescape_formula(cell: str) -> str:
    """The text that was made a cell: `read_back(harmless(text)) == text` for every text."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
